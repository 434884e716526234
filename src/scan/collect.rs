//! The first part of a run: walk the keyspace and keep the names of family keys and the beats.
//!
//! Only what needs the main thread happens here; nothing is judged.

use super::fingerprints::SeenFingerprints;
use super::scanned_keys::ScannedKeys;
use super::source::KeySource;
use super::visit::{Filter, Observer, Purpose, Visit, bytes_in_the_way, push_heartbeat};
use crate::heartbeat::reader::{Beat, Reader};

/// What limits a walk.
#[derive(Clone, Debug)]
pub struct Limits {
    pub reader: Reader,
    pub collect_max_bytes: usize,
}

/// Share of the memory that keys other than heartbeats may fill in a first walk, in percent. The rest is kept
/// for heartbeats: without all of them no key could be judged.
const OTHERS_PERCENT: usize = 75;

impl Limits {
    /// Keys other than heartbeats are left out when what [`bytes_in_the_way`] says is more than this.
    fn others_max_bytes<F: Filter>(&self, filter: Option<&F>) -> usize {
        match filter {
            Some(filter) => filter.others_max_bytes(self.collect_max_bytes),
            None => self.collect_max_bytes / 100 * OTHERS_PERCENT,
        }
    }
}

/// A piece of work ends early when it has come to more bytes of names than this.
const PIECE_BYTES: usize = 512;

/// How a slice of the walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
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

/// A walk under way.
#[derive(Debug)]
pub struct Collect<F, O> {
    pub collection: ScannedKeys,
    /// Fingerprints of every heartbeat, if the reader takes them.
    pub seen: SeenFingerprints,
    /// What was gathered before the walk began anew. To free it takes long.
    pub forgotten: (ScannedKeys, SeenFingerprints),
    pub keys_scanned: u64,
    /// Family keys were left out for lack of memory.
    pub truncated: bool,
    /// The walk is for heartbeats alone.
    without_others: bool,
    /// If not everything fits, there will be a second walk.
    pub walks_twice: bool,
    /// In a second walk: what it keeps.
    pub filter: Option<Box<F>>,
    pub limits: Limits,
    /// What counts beside what is collected, if anything does.
    pub observer: Option<Box<O>>,
    /// With an observer, which goes on counting: the heartbeats alone did not fit.
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

impl<F: Filter, O: Observer> Collect<F, O> {
    /// At the beginning of the keyspace.
    pub fn new(limits: Limits, purpose: Purpose) -> Self {
        Self {
            collection: ScannedKeys::default(),
            seen: SeenFingerprints::default(),
            forgotten: Default::default(),
            keys_scanned: 0,
            truncated: false,
            without_others: false,
            walks_twice: false,
            filter: None,
            limits,
            observer: None,
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
        source: &mut impl KeySource,
        now_ms: i64,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Progress {
        if self.has_written && source.must_wait() {
            return Progress::WaitForReplicas;
        }
        self.has_written = false;
        // A step goes through many buckets while the server moves a large table into a small one. All steps
        // of a slice do or none does, so pieces begin small and grow while there is time.
        let mut steps = 1u32;
        loop {
            // The last step may have found some too, so this comes before the test for the end.
            while let Some(name) = self.to_read.pop() {
                self.read_by_name(source, now_ms, &name);
                // A page may be all heartbeats, and each as large as a heartbeat may be.
                if time_is_up() {
                    return Progress::Unfinished;
                }
            }
            let bytes = self.bytes();
            let filter = self.filter.as_deref();
            // Where that is only for what has expired, a second walk finds that everything fits.
            let others_max = self.limits.others_max_bytes(filter);
            let in_the_way = bytes_in_the_way(&self.collection, &self.seen, filter);
            self.truncated = self.truncated || in_the_way > others_max;
            if bytes > self.limits.collect_max_bytes {
                if self.observer.is_none() {
                    return Progress::TooManyHeartbeats;
                }
                self.is_overfull = true;
            }
            if self.is_over {
                return Progress::Finished;
            }
            if self.walk(source, now_ms, steps) {
                return Progress::StartsOver;
            }
            steps = steps.saturating_mul(2).min(source.max_steps());
            if time_is_up() {
                return Progress::Unfinished;
            }
        }
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.collection.bytes().saturating_add(self.seen.bytes())
    }

    /// So many steps, as long as they come to no heartbeat and to short names. Says whether the walk begins anew.
    fn walk(&mut self, source: &mut impl KeySource, now_ms: i64, steps: u32) -> bool {
        let mut found = Visit {
            collection: &mut self.collection,
            seen: &mut self.seen,
            keys_scanned: &mut self.keys_scanned,
            to_read: &mut self.to_read,
            observer: self.observer.as_deref_mut(),
            truncated: self.truncated,
            reader: &self.limits.reader,
            others_max_bytes: self.limits.others_max_bytes(self.filter.as_deref()),
            filter: self.filter.as_deref_mut(),
            purpose: self.purpose,
            asks_strings_for_ttl: self.asks_strings_for_ttl,
            has_expired: &mut self.has_expired,
            now_ms,
            bytes: 0,
            has_read: false,
        };
        for _ in 0..steps {
            let step = source.step(&mut found);
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
    pub fn begin_again_with(&mut self, source: &mut impl KeySource, filter: Box<F>) {
        self.without_others = false;
        self.begin_again(source, true);
        self.filter = Some(filter);
    }

    /// Whether keys were left out, of which a second walk will know which to keep.
    pub fn is_worth_a_second_walk(&self) -> bool {
        self.truncated && self.walks_twice && self.filter.is_none()
    }

    /// Whether heartbeats have no room because other keys take it, of which a second walk will know which to
    /// keep.
    pub fn can_do_without_others(&self) -> bool {
        self.walks_twice && self.filter.is_none() && !self.without_others && self.has_others()
    }

    /// Whether keys other than heartbeats are kept.
    pub fn has_others(&self) -> bool {
        self.collection.bytes() > self.collection.heartbeat_bytes()
    }

    /// Walk again, and keep heartbeats alone.
    pub fn begin_again_without_others(&mut self, source: &mut impl KeySource) {
        self.without_others = true;
        self.begin_again(source, false);
    }

    fn begin_again(&mut self, source: &mut impl KeySource, is_slow: bool) {
        self.asks_strings_for_ttl = true;
        self.has_expired = false;
        self.is_over = false;
        source.begin_again(is_slow);
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
        if let Some(filter) = &mut self.filter {
            filter.forget_counts();
        }
        self.to_read.clear();
    }

    fn read_by_name(&mut self, source: &mut impl KeySource, now_ms: i64, bytes: &[u8]) {
        let name = source.name(bytes);
        let reader = &self.limits.reader;
        let beat = match &mut self.observer {
            // The plan must know every living coordinator, even where the user may not read its heartbeat.
            Some(observer) if !source.may_read(&name) => {
                observer.deny_heartbeat();
                source.heartbeat(&name, reader)
            }
            Some(observer) => source.details(&name, reader).map(|details| {
                observer.add(bytes, &details, now_ms);
                Beat {
                    reading: details.reading,
                    print: 0,
                    may_be_presence: false,
                }
            }),
            None => source.heartbeat(&name, reader),
        };
        if let Some(beat) = beat.filter(|_| !self.is_overfull) {
            if let Some(prints) = &reader.prints {
                self.seen.push(prints, bytes, beat.print);
            }
            let denied = self.purpose.notes_denied() && !source.may_delete(&name);
            push_heartbeat(&mut self.collection, bytes, denied, beat);
        }
    }
}
