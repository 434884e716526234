//! Cluster mode: which slots this node has, and how that changes while a run is on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis_module::raw;

use crate::cluster::locality::{ClusterTags, Locality};
use crate::keys::layout::Layout;
use crate::keys::slots::{self, Own};
use crate::redis::api::system;
use crate::redis::api::{self, Answer, OwnString, RedisModuleCtx, rm};
use crate::settings;

/// Least time between two looks at the slots during a removal.
const LOOK_EVERY_US: u64 = 10_000;

/// And at least so many times as long as the last look took, which grows with the cluster.
const LOOK_SHARE: u64 = 20;

/// Whether the server moves slots in jobs of its own, which CLUSTER NODES does not show.
static HAS_JOBS: AtomicBool = AtomicBool::new(true);

/// What a run sees of its cluster: only slots that were here at every look. A slot that came meanwhile
/// may have brought keys that the walk has not seen.
#[derive(Debug, Default)]
pub struct Ground {
    /// None outside of cluster mode.
    own: Option<Own>,
    pub tags: ClusterTags,
    next_look_us: u64,
}

impl Ground {
    /// The first look.
    pub fn begin(ctx: *mut RedisModuleCtx) -> Self {
        let is_cluster = api::context_flags(ctx) & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0;
        let mut ground = Self {
            own: is_cluster.then(|| Own {
                here: slots::Slots::all(),
                ..Own::default()
            }),
            tags: *settings::CLUSTER_TAGS.get(),
            next_look_us: 0,
        };
        ground.look(ctx);
        ground
    }

    /// Look again; says whether something is not here any more.
    pub fn look(&mut self, ctx: *mut RedisModuleCtx) -> bool {
        let Some(own) = &mut self.own else {
            return false;
        };
        let began_us = system::monotonic_us();
        let before = own.here.len();
        // What the server does not say is elsewhere.
        let now = ask(ctx).unwrap_or_default();
        own.here.intersect(&now.here);
        own.open = now.open;
        let now_us = system::monotonic_us();
        let took_us = now_us.saturating_sub(began_us);
        let pause_us = LOOK_EVERY_US.max(took_us.saturating_mul(LOOK_SHARE));
        self.next_look_us = now_us.saturating_add(pause_us);
        own.here.len() < before
    }

    /// The same, if the last look is long enough ago.
    pub fn look_if_due(&mut self, ctx: *mut RedisModuleCtx) -> bool {
        let is_due = || system::monotonic_us() >= self.next_look_us;
        self.own.is_some() && is_due() && self.look(ctx)
    }

    /// What of this layout's keys can be judged here; `None` if all can.
    pub fn locality(&self, layout: &Arc<Layout>) -> Option<Locality> {
        let own = self.own.as_ref().filter(|own| !own.here.are_all())?;
        let open = own.open.len();
        Some(Locality::new(layout, own.here.clone(), open, self.tags))
    }
}

/// What the server says of its slots.
fn ask(ctx: *mut RedisModuleCtx) -> Option<Own> {
    let answer = call(ctx, c"NODES")?;
    let mut own = slots::own(answer.string()?)?;
    if HAS_JOBS.load(Ordering::Relaxed) {
        add_jobs(ctx, &mut own)?;
    }
    Some(own)
}

fn add_jobs(ctx: *mut RedisModuleCtx, own: &mut Own) -> Option<()> {
    let answer = call(ctx, c"GETSLOTMIGRATIONS")?;
    if let Some(text) = answer.error() {
        let is_unknown = memchr::memmem::find(text, b"unknown subcommand").is_some();
        HAS_JOBS.store(!is_unknown, Ordering::Relaxed);
        return is_unknown.then_some(());
    }
    for index in 0.. {
        let Some(job) = answer.child(index) else {
            break;
        };
        let (mut ranges, mut state) = (None, None);
        for index in (0..).step_by(2) {
            let Some(name) = job.child(index) else {
                break;
            };
            let value = || job.element(index.saturating_add(1));
            match name.string() {
                Some(b"slot_ranges") => ranges = value(),
                Some(b"state") => state = value(),
                _ => {}
            }
        }
        own.add_job(&ranges?, &state?)?;
    }
    Some(())
}

fn call(ctx: *mut RedisModuleCtx, subcommand: &std::ffi::CStr) -> Option<Answer> {
    // SAFETY: 1, 2, 3; the format takes one C string, which outlives the call.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"CLUSTER".as_ptr(),
            c"Ec".as_ptr(),
            subcommand.as_ptr(),
        )
    };
    Answer::new(reply)
}

/// Whether a key exists, or may exist on a node that its slot is moving to.
pub fn may_exist(ctx: *mut RedisModuleCtx, name: &OwnString) -> bool {
    // SAFETY: 1, 2, 3; the format takes one string, which outlives the call.
    let reply =
        unsafe { rm!(RedisModule_Call)(ctx, c"EXISTS".as_ptr(), c"Es".as_ptr(), name.as_ptr()) };
    Answer::new(reply).and_then(|answer| answer.integer()) != Some(0)
}
