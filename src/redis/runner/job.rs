//! What a command does in its slices, as the runner sees it.

use crate::cluster::locality::Locality;
use crate::heartbeat::reader::Reader;
use crate::redis::api::acl::User;
use crate::redis::api::cluster::Ground;
use crate::redis::api::replicas::Replicas;
use crate::redis::api::system;
use crate::redis::api::{self, RedisModuleCtx};
use crate::redis::runner::observer::RunObserver;
use crate::redis::runner::request::RunRequest;
use crate::redis::runner::stop::StopReason;
use crate::redis::runner::wakeup::Wakeup;
use crate::redis::runner::worker::Worker;
use crate::reply::value::Value;
use crate::report::cost::Cost;
use crate::report::progress::{JobProgress, Waiting};
use crate::report::{Counts, Status};

/// The work of one command.
pub trait Job: std::fmt::Debug {
    /// Do what fits one slice. The database is selected, and the user exists.
    fn slice(&mut self, slice: &mut JobSlice) -> Next;

    /// How far it is, for STATUS and the report.
    fn view(&self) -> View;

    /// The stale ids for the report; they are given once.
    fn take_stale_ids(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// What takes long to free, so that a worker does it; `None` if nothing does.
    fn into_heavy(self: Box<Self>) -> Option<Box<dyn Send>>;
}

/// Memory that is freed on the spot; more is freed by a worker, for it takes long.
pub const FREED_AT_ONCE_BYTES: usize = 1 << 20;

/// What a query answers, when the cost of its run is known.
pub type QueryAnswer = Box<dyn FnOnce(&Cost) -> Value>;

/// What a job asks for after a slice.
pub enum Next {
    /// Another slice.
    Slice,
    /// A slice when the worker is done.
    WaitForWorker,
    /// A slice when there may be nothing to wait for any more.
    Later(Waiting),
    /// It is over.
    End(Status, Option<String>),
    /// It is over before it is done.
    Stop(StopReason),
    /// A query is over.
    Answer(QueryAnswer),
}

/// What is known of a job between two slices.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    pub counts: Counts,
    pub progress: JobProgress,
    /// Whether it is known what is stale.
    pub is_planned: bool,
}

impl View {
    /// Of a walk that has seen so many keys.
    pub fn of_walk(keys_scanned: u64) -> Self {
        Self {
            counts: Counts {
                keys_scanned,
                ..Counts::default()
            },
            ..Self::default()
        }
    }
}

/// What a run has, whatever its job.
#[derive(Debug)]
pub struct RunContext {
    pub request: RunRequest,
    pub observer: &'static dyn RunObserver,
    pub wakeup: Wakeup,
    pub ground: Ground,
    pub reader: Reader,
    pub replicas: Replicas,
    /// When it began, in milliseconds since 1970.
    pub started_wall_ms: i64,
    /// When it began, by a clock that never steps.
    pub started_us: u64,
}

impl RunContext {
    /// Milliseconds since 1970, as seen from the start of the run: a clock set forward meanwhile
    /// makes no heartbeat look older, and one set back counts at once.
    pub fn now_ms(&self) -> i64 {
        let elapsed_ms = i64::try_from(self.elapsed_us() / 1000).unwrap_or(i64::MAX);
        api::wall_ms().min(self.started_wall_ms.saturating_add(elapsed_ms))
    }

    /// How long the run has been on.
    pub fn elapsed_us(&self) -> u64 {
        system::monotonic_us().saturating_sub(self.started_us)
    }

    /// In a cluster: what of the keys can be judged here; `None` if all can.
    pub fn locality(&self) -> Option<Locality> {
        self.ground.locality(&self.reader.layout)
    }

    /// Have a worker do this; without one, the job ends as the second value says.
    pub fn start_work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> (Option<Worker<T>>, Next) {
        match Worker::start(self.wakeup.waker(), work) {
            Some(worker) => (Some(worker), Next::WaitForWorker),
            None => {
                let why = "the system gave no thread";
                (None, Next::End(Status::Interrupted, Some(why.into())))
            }
        }
    }
}

/// What a job may use in a slice, and what it says of the slice.
pub struct JobSlice<'s> {
    pub ctx: *mut RedisModuleCtx,
    pub user: &'s User,
    pub run: &'s mut RunContext,
    /// Asked after every piece of work.
    pub time_is_up: &'s mut dyn FnMut() -> bool,
    pub in_cluster: bool,
    /// Its number; never 0, which stands for never.
    pub number: u64,
    pub kind: SliceKind,
}

/// What kind of work a slice did, for the accounts of its time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceKind {
    /// It walked.
    pub walked: bool,
    /// It removed keys.
    pub removed: bool,
    /// How long its longest piece of work took.
    pub longest_piece_us: u64,
    /// How long the longest reading of a heartbeat took.
    pub longest_read_us: u64,
}
