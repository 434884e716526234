//! The last part of EXPLAIN: read the heartbeats of the id, and leave out what the caller may not
//! read.

use crate::commands::explain::{Answer, Circumstances, Read};
use crate::heartbeat::reader::Reader;
use crate::plan::explanation::{Explanation, Shown};
use crate::plan::second_look::SecondLook;
use crate::redis::api::acl::User;
use crate::redis::api::key_reader;
use crate::redis::api::{OwnString, RedisModuleCtx};
use crate::redis::runner::job::JobSlice;

/// An explanation on its way to the caller.
#[derive(Debug)]
pub struct ExplainedKeys {
    explanation: Explanation,
    around: Circumstances,
    read: Vec<Read>,
    shown: Vec<Shown>,
    /// What the schedule saw last, if it looks twice.
    second_look: Option<SecondLook>,
    reader: Reader,
}

impl ExplainedKeys {
    /// Nothing read yet.
    pub fn new(
        explanation: Explanation,
        around: Circumstances,
        second_look: Option<SecondLook>,
        reader: Reader,
    ) -> Self {
        Self {
            explanation,
            around,
            read: Vec::new(),
            shown: Vec::new(),
            second_look,
            reader,
        }
    }

    /// Read until time is up, which is asked after every name; true when all are read.
    pub fn slice(&mut self, slice: &mut JobSlice) -> bool {
        let now_ms = slice.run.now_ms();
        loop {
            if !self.step(slice.ctx, slice.user, now_ms) {
                self.explanation.shown = std::mem::take(&mut self.shown);
                return true;
            }
            if (slice.time_is_up)() {
                return false;
            }
        }
    }

    /// Deal with one name, the last first; false if there is none.
    fn step(&mut self, ctx: *mut RedisModuleCtx, user: &User, now_ms: i64) -> bool {
        let may_read = |key: &[u8]| user.may_read(OwnString::new(key).as_ptr());
        let denied = |sum: &mut u64| *sum = sum.saturating_add(1);
        if let Some(mut beating) = self.explanation.heartbeats.pop() {
            if !may_read(&beating.key) {
                denied(&mut self.around.heartbeats_denied);
                return true;
            }
            if beating.by.take_if(|by| !may_read(by)).is_some() {
                denied(&mut self.around.names_denied);
            }
            let name = OwnString::new(&beating.key);
            let look = self.second_look.as_ref();
            let prints = look.map(|look| &look.prints);
            let vitals = key_reader::vitals(ctx, &name, &self.reader, prints);
            let print = vitals.as_ref().and_then(|vitals| vitals.print);
            let seen_before = look
                .zip(print)
                .map(|(look, print)| look.before.confirm(look.prints.of(&beating.key), print));
            self.read.insert(
                0,
                Read {
                    beating,
                    vitals,
                    seen_before,
                    read_ms: now_ms,
                },
            );
            return true;
        }
        let Some(mut shown) = self.explanation.shown.pop() else {
            return false;
        };
        if !may_read(&shown.key) {
            denied(&mut self.around.names_denied);
            return true;
        }
        if shown.by.take_if(|by| !may_read(by)).is_some() {
            denied(&mut self.around.names_denied);
        }
        self.shown.insert(0, shown);
        true
    }

    /// Everything that the caller is told.
    pub fn into_answer(self) -> Answer {
        Answer {
            explanation: self.explanation,
            heartbeats: self.read,
            around: self.around,
        }
    }
}
