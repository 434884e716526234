//! LIST: a walk over heartbeats only, each read when it is met, none kept that is not among the oldest.

use std::sync::Arc;

use crate::commands::listing::Listing;
use crate::commands::query::ListOptions;
use crate::keys::family::Family;
use crate::keys::layout::Layout;
use crate::redis::api::RedisModuleCtx;
use crate::redis::runner::job::{Job, JobSlice, Next, RunContext, View};
use crate::redis::source::{Cursor, ServerKeys};
use crate::scan::source::{KeySource, ScannedKey, Visitor};

/// A LIST under way.
#[derive(Debug)]
pub struct List {
    cursor: Cursor,
    /// Taken when it is over.
    listing: Option<Box<Listing>>,
    found: Found,
    is_over: bool,
}

/// What the walk has found.
#[derive(Debug)]
struct Found {
    layout: Arc<Layout>,
    now_ms: i64,
    keys_scanned: u64,
    /// Heartbeats of one step of the walk, to be read when it is over.
    to_read: Vec<Vec<u8>>,
}

impl Visitor for Found {
    fn visit(&mut self, key: &impl ScannedKey) {
        self.keys_scanned = self.keys_scanned.saturating_add(1);
        let family = self.layout.family_of(key.name());
        // A key whose TTL has passed does not exist, even while the server still holds it.
        if family == Some(Family::Heartbeat) && !key.is_expired(self.now_ms) {
            self.to_read.push(key.name().to_vec());
        }
    }
}

impl List {
    /// At the beginning of its walk.
    pub fn begin(ctx: *mut RedisModuleCtx, run: &mut RunContext, options: ListOptions) -> Self {
        let layout = Arc::clone(&run.reader.layout);
        let threshold_s = run.request.asked.threshold_s;
        let listing = Listing::new(options, threshold_s, Arc::clone(&layout));
        Self {
            cursor: Cursor::new(ctx, true),
            listing: Some(Box::new(listing)),
            found: Found {
                layout,
                now_ms: 0,
                keys_scanned: 0,
                to_read: Vec::new(),
            },
            is_over: false,
        }
    }

    /// Walk until time is up, which is asked after every step and every heartbeat; true when all is seen.
    fn walk(&mut self, listing: &mut Listing, slice: &mut JobSlice) -> bool {
        slice.kind.walked = true;
        let reader = &slice.run.reader;
        self.found.now_ms = slice.run.now_ms();
        let mut keys = ServerKeys {
            ctx: slice.ctx,
            user: slice.user,
            replicas: &mut slice.run.replicas,
            cursor: &mut self.cursor,
        };
        loop {
            while let Some(bytes) = self.found.to_read.pop() {
                let name = keys.name(&bytes);
                if !keys.may_read(&name) {
                    listing.deny();
                } else if let Some(details) = keys.details(&name, reader) {
                    listing.add(&bytes, details, self.found.now_ms);
                }
                if (slice.time_is_up)() {
                    return false;
                }
            }
            if self.is_over {
                return true;
            }
            self.is_over = !keys.step(&mut self.found).more;
            if (slice.time_is_up)() {
                return false;
            }
        }
    }
}

impl Job for List {
    fn slice(&mut self, slice: &mut JobSlice) -> Next {
        let Some(mut listing) = self.listing.take() else {
            return Next::Slice;
        };
        if !self.walk(&mut listing, slice) {
            self.listing = Some(listing);
            return Next::Slice;
        }
        let locality = slice.run.locality();
        listing.note = locality.map(|here| format!("{}: ask every primary", here.view()));
        let keys_scanned = self.found.keys_scanned;
        Next::Answer(Box::new(move |cost| listing.to_value(keys_scanned, cost)))
    }

    fn view(&self) -> View {
        View::of_walk(self.found.keys_scanned)
    }

    /// The oldest alone are kept.
    fn into_heavy(self: Box<Self>) -> Option<Box<dyn Send>> {
        None
    }
}
