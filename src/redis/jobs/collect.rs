//! The first part of a run: walk the keyspace and keep the names of family keys and the beats.
//!
//! Only what needs the main thread happens here; nothing is judged.

use crate::commands::doctor::Survey;
use crate::heartbeat::UNREADABLE;
use crate::heartbeat::reader::{Beat, Reader};
use crate::keys::family::Family;
use crate::keys::name_bounds;
use crate::plan::Sieve;
use crate::plan::second_look::Seen;
use crate::redis::api::acl::User;
use crate::redis::api::key_reader;
use crate::redis::api::keyspace;
use crate::redis::api::replicas::Replicas;
use crate::redis::api::{OwnString, RedisModuleCtx};
use crate::redis::source::{Cursor, SeenKey};
use crate::scan::scanned_keys::{Record, ScannedKeys};

/// What limits a walk.
#[derive(Clone, Debug)]
pub struct Limits {
    pub reader: Reader,
    pub collect_max_bytes: usize,
}

/// Share of the memory that keys other than heartbeats may fill in a first walk, in percent. The rest is kept
/// for heartbeats: without all of them no key of anybody could be judged.
const OTHERS_PERCENT: usize = 75;

impl Limits {
    /// Keys other than heartbeats are left out when what [`bytes_in_the_way`] says is more than this.
    fn others_max_bytes(&self, sieve: Option<&Sieve>) -> usize {
        match sieve {
            Some(sieve) => sieve.others_max_bytes(self.collect_max_bytes),
            None => self.collect_max_bytes / 100 * OTHERS_PERCENT,
        }
    }
}

/// What takes the memory for keys other than heartbeats: everything, unless it is known what heartbeats take.
fn bytes_in_the_way(kept: &ScannedKeys, seen: &Seen, sieve: Option<&Sieve>) -> usize {
    match sieve {
        Some(_) => kept.bytes().saturating_sub(kept.heartbeat_bytes()),
        None => kept.bytes().saturating_add(seen.bytes()),
    }
}

/// A piece of work ends early when it has come to more bytes of names than this.
const PIECE_BYTES: usize = 512;

/// To look up whose a key could be by one reading of its name takes about as long as so many bytes.
const TRY_BYTES: usize = 8;

/// What the keys are gathered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A dry run or a look: nothing may change.
    Telling,
    /// The keys of the stale go.
    Removing,
    /// And those without an owner, which are evidence, too.
    RemovingOrphans,
}

/// How a slice of the walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// There is more to see.
    Unfinished,
    Finished,
    /// Replicas are too far behind to be told of more expired keys.
    WaitForReplicas,
    /// The heartbeats do not fit the memory that the run may take.
    TooManyHeartbeats,
    /// It begins anew: [`Collect::forgotten`] has what a worker has to free before it goes on.
    StartsOver,
}

impl Purpose {
    /// Whether it is noted of each key that the user may not delete it. Who removes finds that out
    /// in time, when the key is to go; who only tells has no other occasion.
    fn notes_denied(self) -> bool {
        self == Self::Telling
    }

    /// Whether strings are asked for their TTL, too. It takes 6 % of the main thread's time of a run, for it is
    /// another look into a large table. UNLINK looks there anyway, and of the few keys that stay it is asked
    /// when the plan is known. What is not a string may be so large that its removal must not be left to
    /// UNLINK, which would free it on the spot, like everything that has expired.
    fn asks_strings_for_ttl(self) -> bool {
        self != Self::Removing
    }
}

/// A walk under way.
#[derive(Debug)]
pub struct Collect {
    cursor: Cursor,
    pub collection: ScannedKeys,
    /// Fingerprints of every heartbeat, if the reader takes them.
    pub seen: Seen,
    /// What was gathered before the walk began anew. To free it takes long.
    pub forgotten: (ScannedKeys, Seen),
    pub keys_scanned: u64,
    /// Family keys were left out for lack of memory.
    pub truncated: bool,
    /// The walk is for heartbeats alone.
    without_others: bool,
    /// If not everything fits, there will be a second walk.
    pub walks_twice: bool,
    /// In a second walk: what it keeps.
    pub sieve: Option<Box<Sieve>>,
    pub limits: Limits,
    /// For DOCTOR: what it counts beside what is collected. Then every heartbeat is read in full.
    pub survey: Option<Box<Survey>>,
    /// For DOCTOR, which goes on counting: the heartbeats alone did not fit.
    pub is_overfull: bool,
    /// Heartbeats to be read by name, when the step that found them is over.
    to_read: Vec<Vec<u8>>,
    /// The walk is over, but for heartbeats still to be read.
    is_over: bool,
    /// The walk has removed expired keys, of which replicas have to be told.
    has_written: bool,
    purpose: Purpose,
    asks_strings_for_ttl: bool,
    /// There may be keys among the collected whose TTL had passed.
    pub has_expired: bool,
}

impl Collect {
    /// At the beginning of the keyspace.
    pub fn new(ctx: *mut RedisModuleCtx, limits: Limits, purpose: Purpose) -> Self {
        Self {
            cursor: Cursor::new(ctx, purpose == Purpose::Telling),
            collection: ScannedKeys::default(),
            seen: Seen::default(),
            forgotten: Default::default(),
            keys_scanned: 0,
            truncated: false,
            without_others: false,
            walks_twice: false,
            sieve: None,
            limits,
            survey: None,
            is_overfull: false,
            to_read: Vec::new(),
            is_over: false,
            has_written: false,
            purpose,
            asks_strings_for_ttl: purpose.asks_strings_for_ttl(),
            has_expired: false,
        }
    }

    /// Walk until `time_is_up`, which is asked after every piece of work.
    pub fn slice(
        &mut self,
        ctx: *mut RedisModuleCtx,
        user: &User,
        now_ms: i64,
        replicas: &mut Replicas,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Walk {
        if self.has_written && replicas.are_too_far_behind_now(ctx) {
            return Walk::WaitForReplicas;
        }
        self.has_written = false;
        // A step goes through many buckets while the server moves a large table into a small one. All steps
        // of a slice do or none does, so pieces begin small and grow while there is time.
        let mut steps = 1u32;
        loop {
            // The last step may have found some too, so this comes before the test for the end.
            while let Some(name) = self.to_read.pop() {
                self.read_by_name(ctx, user, now_ms, &name);
                // A page may be all heartbeats, and each as large as a heartbeat may be.
                if time_is_up() {
                    return Walk::Unfinished;
                }
            }
            let bytes = self.collection.bytes().saturating_add(self.seen.bytes());
            let sieve = self.sieve.as_deref();
            // Where that is only for what has expired, a second walk finds that everything fits.
            let others_max = self.limits.others_max_bytes(sieve);
            let in_the_way = bytes_in_the_way(&self.collection, &self.seen, sieve);
            self.truncated = self.truncated || in_the_way > others_max;
            if bytes > self.limits.collect_max_bytes {
                if self.survey.is_none() {
                    return Walk::TooManyHeartbeats;
                }
                self.is_overfull = true;
            }
            if self.is_over {
                return Walk::Finished;
            }
            if self.walk(ctx, user, now_ms, steps) {
                return Walk::StartsOver;
            }
            steps = steps.saturating_mul(2).min(self.cursor.max_steps());
            if time_is_up() {
                return Walk::Unfinished;
            }
        }
    }

    /// So many steps, as long as they come to no heartbeat and to short names. Says whether the walk begins anew.
    fn walk(&mut self, ctx: *mut RedisModuleCtx, user: &User, now_ms: i64, steps: u32) -> bool {
        let mut found = Found {
            collection: &mut self.collection,
            seen: &mut self.seen,
            keys_scanned: &mut self.keys_scanned,
            to_read: &mut self.to_read,
            survey: self.survey.as_deref_mut(),
            truncated: self.truncated,
            reader: &self.limits.reader,
            others_max_bytes: self.limits.others_max_bytes(self.sieve.as_deref()),
            sieve: self.sieve.as_deref_mut(),
            purpose: self.purpose,
            asks_strings_for_ttl: self.asks_strings_for_ttl,
            has_expired: &mut self.has_expired,
            user,
            now_ms,
            bytes: 0,
            has_read: false,
        };
        for _ in 0..steps {
            let step = self.cursor.step(ctx, &mut |key| found.visit(&key));
            self.is_over = !step.more;
            self.has_written = self.has_written || step.expired > 0;
            if step.starts_over {
                self.forget();
                return true;
            }
            *found.keys_scanned = found.keys_scanned.saturating_add(step.expired);
            if self.is_over || found.has_read || found.bytes > PIECE_BYTES {
                break;
            }
        }
        false
    }

    /// Not everything fitted: walk again, and keep what this lets through, without what has expired.
    pub fn begin_again_with(&mut self, ctx: *mut RedisModuleCtx, sieve: Box<Sieve>) {
        self.without_others = false;
        self.begin_again(ctx);
        self.cursor.shorten_pages();
        self.sieve = Some(sieve);
    }

    /// Whether heartbeats have no room because other keys take it, of which a second walk will know which to
    /// keep.
    pub fn can_do_without_others(&self) -> bool {
        self.walks_twice && self.sieve.is_none() && !self.without_others && self.has_others()
    }

    /// Whether keys other than heartbeats are kept.
    pub fn has_others(&self) -> bool {
        self.collection.bytes() > self.collection.heartbeat_bytes()
    }

    /// Walk again, and keep heartbeats alone.
    pub fn begin_again_without_others(&mut self, ctx: *mut RedisModuleCtx) {
        self.without_others = true;
        self.begin_again(ctx);
    }

    fn begin_again(&mut self, ctx: *mut RedisModuleCtx) {
        self.asks_strings_for_ttl = true;
        self.has_expired = false;
        self.is_over = false;
        self.cursor = self.cursor.anew(ctx, self.purpose == Purpose::Telling);
        self.forget();
    }

    /// The walk begins anew.
    fn forget(&mut self) {
        self.forgotten = (
            std::mem::take(&mut self.collection),
            std::mem::take(&mut self.seen),
        );
        self.keys_scanned = 0;
        self.truncated = self.without_others;
        if let Some(sieve) = &mut self.sieve {
            sieve.forget_counts();
        }
        self.to_read.clear();
    }

    fn read_by_name(&mut self, ctx: *mut RedisModuleCtx, user: &User, now_ms: i64, name: &[u8]) {
        let string = OwnString::new(name);
        let reader = &self.limits.reader;
        let beat = match &mut self.survey {
            // The plan must know every living coordinator, even where the caller may not read its heartbeat.
            Some(survey) if !user.may_read(string.as_ptr()) => {
                survey.deny_heartbeat();
                keyspace::read_heartbeat(ctx, &string, reader)
            }
            Some(survey) => key_reader::vitals(ctx, &string, reader, None).map(|vitals| {
                survey.add(name, &vitals, now_ms);
                Beat {
                    reading: vitals.reading,
                    print: 0,
                    may_be_presence: false,
                }
            }),
            None => keyspace::read_heartbeat(ctx, &string, reader),
        };
        if let Some(beat) = beat.filter(|_| !self.is_overfull) {
            if let Some(prints) = &reader.prints {
                self.seen.push(prints, name, beat.print);
            }
            let denied = self.purpose.notes_denied() && !user.may_delete(string.as_ptr());
            push_heartbeat(&mut self.collection, name, denied, beat);
        }
    }
}

fn push_heartbeat(collection: &mut ScannedKeys, name: &[u8], denied: bool, beat: Beat) {
    collection.push(Record {
        name,
        family: Family::Heartbeat,
        denied,
        is_large: false,
        beat: Some(beat.reading),
    });
}

/// What a visit to a key may look at and add to.
struct Found<'c> {
    collection: &'c mut ScannedKeys,
    seen: &'c mut Seen,
    keys_scanned: &'c mut u64,
    to_read: &'c mut Vec<Vec<u8>>,
    reader: &'c Reader,
    survey: Option<&'c mut Survey>,
    truncated: bool,
    sieve: Option<&'c mut Sieve>,
    /// Asked for each key, so that a dry run and a run leave out the same.
    others_max_bytes: usize,
    purpose: Purpose,
    asks_strings_for_ttl: bool,
    has_expired: &'c mut bool,
    user: &'c User,
    now_ms: i64,
    /// Bytes of names that were visited.
    bytes: usize,
    /// Whether a heartbeat was visited, which may have taken long.
    has_read: bool,
}

impl Found<'_> {
    fn is_full(&self) -> bool {
        let sieve = self.sieve.as_deref();
        bytes_in_the_way(self.collection, self.seen, sieve) > self.others_max_bytes
    }

    #[inline]
    fn is_denied(&self, key: &SeenKey) -> bool {
        self.purpose.notes_denied() && !key.may_be_deleted_by(self.user)
    }

    /// Whether a key does not exist, for its TTL has passed, even while the server still holds it.
    fn is_gone(&mut self, key: &SeenKey, is_plain_string: bool) -> bool {
        if is_plain_string && !self.asks_strings_for_ttl {
            *self.has_expired = true;
            return false;
        }
        key.is_expired(self.now_ms)
    }

    /// Whether this walk is for a key like this one, which is no heartbeat.
    fn is_wanted(&mut self, name: &[u8]) -> bool {
        let Some(sieve) = &mut self.sieve else {
            return true;
        };
        let tried_bytes = sieve.tries(name).saturating_mul(TRY_BYTES);
        self.bytes = self.bytes.saturating_add(tried_bytes);
        sieve.keeps(name)
    }

    /// It is not read, for it can never be judged dead; what its end spells is protected.
    fn add_long_heartbeat(&mut self, name: &[u8]) {
        let name = name_bounds::shortened(name);
        self.collection.push(Record {
            name: &name,
            family: Family::Heartbeat,
            denied: false,
            is_large: false,
            beat: Some(UNREADABLE),
        });
    }

    fn visit(&mut self, key: &SeenKey) {
        *self.keys_scanned = self.keys_scanned.saturating_add(1);
        self.bytes = self.bytes.saturating_add(key.name.len());
        let Some(family) = self.reader.layout.family_of(key.name) else {
            if self.reader.layout.is_long_heartbeat(key.name) {
                self.add_long_heartbeat(key.name);
            }
            if let Some(survey) = &mut self.survey
                && survey.concerns(key.name)
                && !key.is_expired(self.now_ms)
            {
                survey.add_stranger(key.name, key.may_be_read_by(self.user));
            }
            return;
        };
        let is_plain_string = family != Family::Heartbeat && key.is_string();
        if self.is_gone(key, is_plain_string) {
            return;
        }
        if family == Family::Heartbeat {
            self.has_read = true;
            let at_once = match self.survey {
                Some(_) => None,
                None => key.heartbeat(self.reader),
            };
            match at_once {
                Some(beat) => {
                    if let Some(prints) = &self.reader.prints {
                        self.seen.push(prints, key.name, beat.print);
                    }
                    let denied = self.is_denied(key);
                    push_heartbeat(self.collection, key.name, denied, beat);
                }
                None => self.to_read.push(key.name.to_vec()),
            }
        } else if self.is_wanted(key.name) && !self.truncated && !self.is_full() {
            self.collection.push(Record {
                name: key.name,
                family,
                denied: self.is_denied(key),
                is_large: is_plain_string && key.is_long(),
                beat: None,
            });
        }
    }
}
