//! What a command does in its slices.

mod cleanup;
mod doctor;
mod explain;
mod explained_keys;
mod list;
mod orphan_sample;
mod planning;
mod server_keyspace;
mod walk;

use crate::commands::request::Task;
use crate::redis::api::RedisModuleCtx;
use crate::redis::runner::job::{Job, RunContext};

/// Begin what a run was asked for: nothing is looked at before the first slice.
pub fn begin(ctx: *mut RedisModuleCtx, run: &mut RunContext) -> Box<dyn Job> {
    match run.request.asked.task.clone() {
        Task::Cleanup(options) => Box::new(cleanup::Cleanup::begin(ctx, run, options)),
        Task::List(options) => Box::new(list::List::begin(ctx, run, options)),
        Task::Explain(options) => Box::new(explain::Explain::begin(ctx, run, options)),
        Task::Doctor(options) => Box::new(doctor::Doctor::begin(ctx, run, options)),
    }
}
