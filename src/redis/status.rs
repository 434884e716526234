//! The reply of STATUS and the fields of INFO that go with it, put together from the modules that keep them.

use crate::redis::runner::registry;
use crate::redis::schedule;
use crate::redis::writers;
use crate::reply::value::Value;
use crate::report::progress::{Activity, Progress};
use crate::report::{Report, Status};

/// The reply of STATUS.
pub fn value(json: bool) -> Value {
    let progress = registry::progress();
    let schedule = schedule::status(writers::refusal().as_deref());
    let word = progress.as_ref().map_or("idle", |p| p.job.activity.word());
    let to_value = if json {
        Report::to_wrapper_value
    } else {
        Report::to_value
    };
    let (last, totals) = registry::with_reports(|last, totals| (last.map(to_value), *totals));
    Value::Map(vec![
        ("state", Value::text(word)),
        ("current", progress.map_or(Value::Null, |p| p.to_value())),
        ("last", last.unwrap_or(Value::Null)),
        (
            "totals",
            Value::Map(
                totals
                    .fields()
                    .map(|(name, sum)| (name, sum.into()))
                    .collect(),
            ),
        ),
        ("schedule", schedule),
    ])
}

/// The fields of INFO, without the module's name.
pub fn info_fields() -> Vec<(String, u64)> {
    let progress = registry::progress();
    let now = |read: fn(&Progress) -> u64| progress.as_ref().map(read).unwrap_or_default();
    let mut fields = vec![
        ("running".to_owned(), u64::from(progress.is_some())),
        ("current_run".to_owned(), now(|p| p.run)),
        (
            "current_progress_percent".to_owned(),
            now(Progress::percent),
        ),
        (
            "current_paused".to_owned(),
            now(|p| u64::from(matches!(p.job.activity, Activity::Paused(_)))),
        ),
    ];
    let (last, totals) = registry::with_reports(|last, totals| (last.map(last_fields), *totals));
    fields.extend(last.into_iter().flatten());
    fields.extend(
        totals
            .fields()
            .map(|(name, value)| (format!("total_{name}"), value)),
    );
    fields
}

fn last_fields(last: &Report) -> Vec<(String, u64)> {
    let run = [
        ("run", last.run),
        ("dry_run", u64::from(last.dry_run)),
        ("scheduled", u64::from(last.scheduled.is_some())),
        ("complete", u64::from(last.status == Status::Complete)),
    ];
    let cost = [
        ("longest_slice_us", last.cost.longest_slice_us),
        ("busy_us", last.cost.busy_us),
        ("elapsed_us", last.cost.elapsed_us),
    ];
    let all = run.into_iter().chain(last.counts.fields()).chain(cost);
    all.map(|(name, value)| (format!("last_{name}"), value))
        .collect()
}
