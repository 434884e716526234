//! Obituaries: what is written into a stream about each coordinator that a run has removed.
//!
//! Bytes and numbers only. What counts is what was removed, not what should have been: the removal says whose each
//! key was, and then how many really went.

use crate::keys::family::{Family, FamilyMap};

/// More of an id, a swarm or a heartbeat than this is cut off: ten thousand entries are kept.
pub const MAX_VALUE_BYTES: usize = 1024;

/// Why the keys went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The heartbeat was older than the threshold.
    Stale,
    /// There was no heartbeat, and the newest evidence was older than the grace.
    Orphan,
}

impl Rule {
    fn word(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Orphan => "orphan",
        }
    }
}

/// The coordinator that is gone, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub struct Dead<'d> {
    pub rule: Rule,
    /// Empty if the keys could be of several.
    pub id: &'d [u8],
    pub swarm: Option<&'d [u8]>,
    /// Of the heartbeat, or of the newest evidence.
    pub age_s: i64,
    /// What the heartbeat held.
    pub beat: &'d [u8],
}

/// What is known so far of one dead coordinator.
#[derive(Debug)]
struct Draft {
    rule: Rule,
    id: Vec<u8>,
    swarm: Vec<u8>,
    age_s: i64,
    beat: Vec<u8>,
    keys: FamilyMap<u64>,
}

fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes.get(..MAX_VALUE_BYTES).unwrap_or(bytes).to_vec()
}

impl Draft {
    fn is_finished(&self) -> bool {
        match self.rule {
            // The heartbeat goes last.
            Rule::Stale => self.keys[Family::Heartbeat] > 0,
            Rule::Orphan => self.keys.values().any(|count| *count > 0),
        }
    }

    /// Names and values of the entry.
    fn fields(self, run: u64) -> Vec<Vec<u8>> {
        let number = |number: u64| number.to_string().into_bytes();
        let sum = self
            .keys
            .values()
            .fold(0u64, |sum, count| sum.saturating_add(*count));
        let mut fields = vec![
            ("id", self.id),
            ("swarm", self.swarm),
            ("rule", self.rule.word().into()),
            ("run", number(run)),
            ("age_s", self.age_s.to_string().into_bytes()),
            ("beat", self.beat),
            ("keys", number(sum)),
        ];
        let families = self.keys.iter();
        fields.extend(families.map(|(family, count)| (family.name(), number(*count))));
        let words = fields
            .into_iter()
            .flat_map(|(name, value)| [name.into(), value]);
        words.collect()
    }
}

/// The obituaries of one run.
#[derive(Debug)]
pub struct Obituaries {
    pub stream: Vec<u8>,
    /// By the layout of the run the stream is a family key: nothing may be written to it.
    pub is_family: bool,
    maxlen: u64,
    run: u64,
    drafts: Vec<Draft>,
}

impl Obituaries {
    /// None written yet.
    pub fn new(stream: Vec<u8>, is_family: bool, maxlen: u64, run: u64) -> Self {
        Self {
            stream,
            is_family,
            maxlen,
            run,
            drafts: Vec::new(),
        }
    }

    /// Keys of this one are about to go; gives the number under which to say how many went. Said again of the same
    /// one it gives the same number, until the next call of [`Self::finished`].
    pub fn open(&mut self, dead: Dead) -> usize {
        let (id, swarm) = (cut(dead.id), cut(dead.swarm.unwrap_or_default()));
        let same =
            |draft: &Draft| draft.rule == dead.rule && draft.id == id && draft.swarm == swarm;
        if let Some(place) = self.drafts.iter().position(same) {
            return place;
        }
        self.drafts.push(Draft {
            rule: dead.rule,
            id,
            swarm,
            age_s: dead.age_s,
            beat: cut(dead.beat),
            keys: Default::default(),
        });
        self.drafts.len().saturating_sub(1)
    }

    /// So many keys of this family and of the one with this number went.
    pub fn removed(&mut self, number: usize, family: Family, count: u64) {
        if let Some(draft) = self.drafts.get_mut(number) {
            let sum = &mut draft.keys[family];
            *sum = sum.saturating_add(count);
        }
    }

    /// For each one that is wholly gone, the arguments of XADD. The one that was opened last may go in parts, and is
    /// kept until it is over.
    pub fn finished(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut written = Vec::new();
        let mut under_way = None;
        for draft in std::mem::take(&mut self.drafts) {
            if draft.is_finished() {
                let trim = ["MAXLEN", "~"].map(|word| word.as_bytes().to_vec());
                let length = self.maxlen.to_string().into_bytes();
                let mut words = vec![self.stream.clone()];
                words.extend(trim.into_iter().chain([length, b"*".to_vec()]));
                words.extend(draft.fields(self.run));
                written.push(words);
                under_way = None;
            } else if draft.rule == Rule::Stale {
                under_way = Some(draft);
            }
        }
        self.drafts.extend(under_way);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale<'d>(id: &'d [u8], swarm: Option<&'d [u8]>) -> Dead<'d> {
        Dead {
            rule: Rule::Stale,
            id,
            swarm,
            age_s: 700,
            beat: b"{}",
        }
    }

    fn texts(entries: Vec<Vec<Vec<u8>>>) -> Vec<String> {
        let text = |words: Vec<Vec<u8>>| String::from_utf8(words.join(&b' ')).unwrap();
        entries.into_iter().map(text).collect()
    }

    #[test]
    fn an_entry_says_which_coordinator_and_why_and_what_went() {
        let mut all = Obituaries::new(b"dead".to_vec(), false, 10, 7);
        let a = all.open(stale(b"a", None));
        let b = all.open(stale(b"a", Some(b"s")));
        let c = all.open(Dead {
            rule: Rule::Orphan,
            beat: b"",
            ..stale(b"a", None)
        });
        assert_eq!(all.open(stale(b"a", None)), a);
        all.removed(a, Family::Ack, 3);
        all.removed(a, Family::Heartbeat, 1);
        all.removed(b, Family::Heartbeat, 1);
        all.removed(c, Family::State, 2);
        all.removed(99, Family::State, 2);
        let head = "dead MAXLEN ~ 10 *";
        let zeros = "signal 0 ack 0 idempotency 0 activity 0 state";
        assert_eq!(
            texts(all.finished()),
            [
                format!(
                    "{head} id a swarm  rule stale run 7 age_s 700 beat {{}} keys 4 heartbeat 1 signal 0 ack 3 idempotency 0 activity 0 state 0"
                ),
                format!(
                    "{head} id a swarm s rule stale run 7 age_s 700 beat {{}} keys 1 heartbeat 1 {zeros} 0"
                ),
                format!(
                    "{head} id a swarm  rule orphan run 7 age_s 700 beat  keys 2 heartbeat 0 {zeros} 2"
                ),
            ]
        );
        assert!(all.finished().is_empty());
    }

    #[test]
    fn a_family_that_goes_in_parts_has_one_entry_at_its_end() {
        let mut all = Obituaries::new(b"dead".to_vec(), false, 10, 7);
        // Its heartbeat stays.
        let kept = all.open(stale(b"kept", None));
        all.removed(kept, Family::Ack, 5);
        let large = all.open(stale(b"large", None));
        all.removed(large, Family::Ack, 60);
        assert!(all.finished().is_empty());
        let large = all.open(stale(b"large", None));
        all.removed(large, Family::Ack, 4);
        assert!(all.finished().is_empty());
        let large = all.open(stale(b"large", None));
        all.removed(large, Family::Heartbeat, 1);
        let [entry] = &texts(all.finished())[..] else {
            panic!("not one");
        };
        assert!(
            entry.contains(" id large ") && entry.contains(" keys 65 "),
            "{entry}"
        );
        assert!(all.finished().is_empty() && all.drafts.is_empty());
    }

    #[test]
    fn long_values_are_cut() {
        let long = vec![b'x'; MAX_VALUE_BYTES + 1];
        let mut all = Obituaries::new(b"dead".to_vec(), false, 10, 7);
        let number = all.open(Dead {
            beat: &long,
            ..stale(&long, Some(&long))
        });
        all.removed(number, Family::Heartbeat, 1);
        let [words] = &all.finished()[..] else {
            panic!("not one");
        };
        let longest = words.iter().map(Vec::len).max();
        assert_eq!(longest, Some(MAX_VALUE_BYTES));
        assert_eq!(
            words
                .iter()
                .filter(|word| Some(word.len()) == longest)
                .count(),
            3
        );
    }
}
