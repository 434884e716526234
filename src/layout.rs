//! The table of key families: which key names belong to a coordinator, and to which one.
//!
//! This is the only file that knows key names. Bytes in, families and possible owners out; it
//! knows neither values nor clocks, and it never decides whether anything is removed.

use memchr::memmem;

/// Names longer than this (bytes) are never family: looking at one must not cost a slice.
pub const MAX_NAME_BYTES: usize = 256 * 1024;

/// The kinds of keys a coordinator owns, in the order every listing uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    Heartbeat,
    Signal,
    Ack,
    Idempotency,
    Activity,
    State,
}

impl Family {
    /// Every family, in the order of the discriminants.
    pub const ALL: [Self; 6] = [
        Self::Heartbeat,
        Self::Signal,
        Self::Ack,
        Self::Idempotency,
        Self::Activity,
        Self::State,
    ];

    /// The family's name in replies, INFO and documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Signal => "signal",
            Self::Ack => "ack",
            Self::Idempotency => "idempotency",
            Self::Activity => "activity",
            Self::State => "state",
        }
    }

    /// Its place in [`Self::ALL`] and in every array of counts by family.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The family with this place, if there is one.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

/// Where in a key, behind its fixed prefix, the coordinator's id may stand.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// `{id}`: all of the rest.
    Whole,
    /// `{id}` or `{id}:*`: the rest, or its beginning up to any colon.
    Head,
    /// Segments separated by colons, any run of which is `{id}`.
    Run,
    /// `{swarm}` marker `{id}` suffix, split at any place where the marker stands.
    Scoped {
        marker: &'static [u8],
        suffix: &'static [u8],
    },
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct Template {
    family: Family,
    prefix: &'static [u8],
    shape: Shape,
}

const SWARM_PREFIX: &[u8] = b"swarm:";

/// The table. A key may fit several lines; its family is that of the first one, its possible
/// owners are those of all of them.
const TEMPLATES: [Template; 8] = [
    // blocking:heartbeat:{id}
    Template {
        family: Family::Heartbeat,
        prefix: b"blocking:heartbeat:",
        shape: Shape::Whole,
    },
    // swarm:{swarm}:blocking:heartbeat:{id}
    Template {
        family: Family::Heartbeat,
        prefix: SWARM_PREFIX,
        shape: Shape::Scoped {
            marker: b":blocking:heartbeat:",
            suffix: b"",
        },
    },
    // blocking:signal:{id}
    Template {
        family: Family::Signal,
        prefix: b"blocking:signal:",
        shape: Shape::Whole,
    },
    // blocking:ack:{id} and blocking:ack:{id}:*
    Template {
        family: Family::Ack,
        prefix: b"blocking:ack:",
        shape: Shape::Head,
    },
    // blocking:idempotency: and segments, a run of which is {id}
    Template {
        family: Family::Idempotency,
        prefix: b"blocking:idempotency:",
        shape: Shape::Run,
    },
    // coordinator:activity:{id}
    Template {
        family: Family::Activity,
        prefix: b"coordinator:activity:",
        shape: Shape::Whole,
    },
    // swarm:{swarm}:agent:{id}:activity
    Template {
        family: Family::Activity,
        prefix: SWARM_PREFIX,
        shape: Shape::Scoped {
            marker: b":agent:",
            suffix: b":activity",
        },
    },
    // swarm:{swarm}:blocking:{id}
    Template {
        family: Family::State,
        prefix: SWARM_PREFIX,
        shape: Shape::Scoped {
            marker: b":blocking:",
            suffix: b"",
        },
    },
];

/// One way to read a key: it would belong to the coordinator `id`, of swarm `swarm` if scoped.
/// Both are byte ranges (start, end) of the key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    pub swarm: Option<(usize, usize)>,
    pub id: (usize, usize),
}

impl Reading {
    /// The bytes of the id in the name this reading was made from.
    pub fn id_of(self, name: &[u8]) -> &[u8] {
        name.get(self.id.0..self.id.1).unwrap_or_default()
    }

    /// The bytes of the swarm, if scoped, in the name this reading was made from.
    pub fn swarm_of(self, name: &[u8]) -> Option<&[u8]> {
        self.swarm
            .map(|(start, end)| name.get(start..end).unwrap_or_default())
    }
}

/// How many colon-separated segments the known ids have. An idempotency key has about n squared
/// readings; only those whose number of segments occurs among known ids can matter.
#[derive(Clone, Debug, Default)]
pub struct SegmentCounts {
    sorted: Vec<usize>,
}

impl SegmentCounts {
    /// Remember the number of segments of `id`.
    pub fn add(&mut self, id: &[u8]) {
        let count = memchr::memchr_iter(b':', id).count().saturating_add(1);
        if let Err(place) = self.sorted.binary_search(&count) {
            self.sorted.insert(place, count);
        }
    }

    /// Every number of segments up to this one: then every reading counts.
    pub fn up_to(count: usize) -> Self {
        let sorted = (1..=count).collect();
        Self { sorted }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.sorted.iter().copied()
    }

    fn contains(&self, count: usize) -> bool {
        self.sorted.binary_search(&count).is_ok()
    }
}

/// The family of a key, or `None` for a foreign key.
///
/// This runs for every key of the database, so it looks at as few bytes as it can.
pub fn family_of(name: &[u8]) -> Option<Family> {
    let fits = |template: &&Template| {
        name.strip_prefix(template.prefix)
            .is_some_and(|rest| match template.shape {
                Shape::Whole | Shape::Head | Shape::Run => !rest.is_empty(),
                Shape::Scoped { marker, suffix } => {
                    let mut any = false;
                    scoped_readings(rest, 0, marker, suffix, &mut |_| any = true);
                    any
                }
            })
    };
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let family = TEMPLATES.iter().find(fits)?.family;
    // A swarm's own state is never touched, even where its name could be read as a coordinator's.
    // A heartbeat of such a name still proves life, so it stays in the picture.
    (family == Family::Heartbeat || !is_never_touched(name)).then_some(family)
}

/// Whether a name is reserved for something that no cleanup may remove: `swarm:{swarm}:state`.
pub fn is_never_touched(name: &[u8]) -> bool {
    const SUFFIX: &[u8] = b":state";
    name.strip_prefix(SWARM_PREFIX)
        .is_some_and(|rest| rest.len() > SUFFIX.len() && rest.ends_with(SUFFIX))
}

/// Every coordinator that the heartbeat `name` could be the heartbeat of; none for other keys.
pub fn beating(name: &[u8], visit: &mut dyn FnMut(Reading)) {
    for template in TEMPLATES.iter().filter(|t| t.family == Family::Heartbeat) {
        readings_of(template, name, None, visit);
    }
}

/// Every way to read the key `name`, over all lines of the table, limited to ids whose number of
/// segments is in `known` where a line leaves the id's extent open. The same reading may come
/// more than once.
pub fn readings(name: &[u8], known: &SegmentCounts, visit: &mut dyn FnMut(Reading)) {
    for template in &TEMPLATES {
        readings_of(template, name, Some(known), visit);
    }
}

/// Every way to read a key, without knowing any id; buffers are reused from key to key.
#[derive(Clone, Debug)]
pub struct AllReadings {
    max: usize,
    lengths: SegmentCounts,
    found: Vec<Reading>,
}

impl AllReadings {
    /// A reader that gives up on keys with more than `max` readings: a name of 64 KiB full of
    /// colons has half a billion.
    pub fn up_to(max: usize) -> Self {
        Self {
            max,
            lengths: SegmentCounts {
                sorted: (1..=max.saturating_add(1)).collect(),
            },
            found: Vec::new(),
        }
    }

    /// All readings of the key `name`, each once; `None` if there are too many.
    pub fn of(&mut self, name: &[u8]) -> Option<&[Reading]> {
        let Self {
            max,
            lengths,
            found,
        } = self;
        found.clear();
        for template in &TEMPLATES {
            // Each segment begins at least one reading where the id's extent is open.
            let is_open = matches!(template.shape, Shape::Head | Shape::Run);
            let rest = name.strip_prefix(template.prefix).filter(|_| is_open);
            if rest.is_some_and(|rest| memchr::memchr_iter(b':', rest).count() > *max) {
                return None;
            }
            readings_of(template, name, Some(lengths), &mut |reading| {
                found.push(reading)
            });
        }
        found.sort_unstable();
        found.dedup();
        (found.len() <= *max).then_some(found.as_slice())
    }
}

/// The key of the heartbeat of an id, in a swarm if there is one.
pub fn heartbeat_of(swarm: Option<&[u8]>, id: &[u8]) -> Vec<u8> {
    match swarm {
        None => [b"blocking:heartbeat:", id].concat(),
        Some(swarm) => [SWARM_PREFIX, swarm, b":blocking:heartbeat:", id].concat(),
    }
}

/// The last segment of an idempotency key, where senders put the time; `None` for other keys.
pub fn idempotency_tail(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(b"blocking:idempotency:")?;
    rest.rsplit(|byte| *byte == b':').next()
}

fn readings_of(
    template: &Template,
    name: &[u8],
    known: Option<&SegmentCounts>,
    visit: &mut dyn FnMut(Reading),
) {
    let Some(rest) = name.strip_prefix(template.prefix) else {
        return;
    };
    let start = template.prefix.len();
    match (template.shape, known) {
        (Shape::Scoped { marker, suffix }, _) => {
            scoped_readings(rest, start, marker, suffix, visit);
        }
        (Shape::Head, Some(known)) => head_readings(rest, start, known, visit),
        (Shape::Run, Some(known)) => run_readings(rest, start, known, visit),
        _ if rest.is_empty() => {}
        _ => visit(Reading {
            swarm: None,
            id: (start, name.len()),
        }),
    }
}

fn head_readings(rest: &[u8], start: usize, known: &SegmentCounts, visit: &mut dyn FnMut(Reading)) {
    let ends = memchr::memchr_iter(b':', rest).chain([rest.len()]);
    for (before, end) in ends.enumerate() {
        if end > 0 && known.contains(before.saturating_add(1)) {
            let id = (start, start.saturating_add(end));
            visit(Reading { swarm: None, id });
        }
    }
}

fn run_readings(rest: &[u8], start: usize, known: &SegmentCounts, visit: &mut dyn FnMut(Reading)) {
    // Segment k reaches from just behind bounds[k] to bounds[k + 1], counted from one byte before
    // the rest, so that the first segment needs no special case.
    let mut bounds = Vec::with_capacity(16);
    bounds.push(0);
    bounds.extend(memchr::memchr_iter(b':', rest).map(|at| at.saturating_add(1)));
    bounds.push(rest.len().saturating_add(1));
    for count in known.iter() {
        let ends = bounds.iter().skip(count);
        for (from, to) in bounds.iter().zip(ends) {
            // `to` is one past the colon that ends the run.
            let end = to.saturating_sub(1);
            if *from < end {
                let id = (start.saturating_add(*from), start.saturating_add(end));
                visit(Reading { swarm: None, id });
            }
        }
    }
}

fn scoped_readings(
    rest: &[u8],
    start: usize,
    marker: &[u8],
    suffix: &[u8],
    visit: &mut dyn FnMut(Reading),
) {
    let Some(body) = rest.strip_suffix(suffix) else {
        return;
    };
    // The marker may overlap with itself (`:blocking:blocking:`), so the search goes on one byte
    // behind each find, and the swarm before it may not be empty.
    let mut from = 1;
    while let Some(found) = body
        .get(from..)
        .and_then(|tail| memmem::find(tail, marker))
        .map(|at| at.saturating_add(from))
    {
        let id_start = found.saturating_add(marker.len());
        if id_start < body.len() {
            visit(Reading {
                swarm: Some((start, start.saturating_add(found))),
                id: (
                    start.saturating_add(id_start),
                    start.saturating_add(body.len()),
                ),
            });
        }
        from = found.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(name: &str, known: &[&str]) -> Vec<String> {
        let mut counts = SegmentCounts::default();
        for id in known {
            counts.add(id.as_bytes());
        }
        let mut found = Vec::new();
        readings(name.as_bytes(), &counts, &mut |reading| {
            let id = String::from_utf8_lossy(reading.id_of(name.as_bytes())).into_owned();
            found.push(match reading.swarm_of(name.as_bytes()) {
                Some(swarm) => format!("{}/{id}", String::from_utf8_lossy(swarm)),
                None => id,
            });
        });
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn families_by_name() {
        use Family::*;
        let table: &[(&str, Option<Family>)] = &[
            ("blocking:heartbeat:c-1", Some(Heartbeat)),
            ("blocking:heartbeat:a:b", Some(Heartbeat)),
            ("blocking:heartbeat::", Some(Heartbeat)),
            ("blocking:heartbeat:", None),
            ("blocking:heartbeat", None),
            ("swarm:s:blocking:heartbeat:c", Some(Heartbeat)),
            ("swarm::blocking:heartbeat:c", None),
            ("swarm:s:blocking:heartbeat:", Some(State)),
            ("blocking:signal:c", Some(Signal)),
            ("blocking:ack:c", Some(Ack)),
            ("blocking:ack:c:s1:x", Some(Ack)),
            ("blocking:ack:", None),
            ("blocking:idempotency:a:b:t:1:9", Some(Idempotency)),
            ("coordinator:activity:c", Some(Activity)),
            ("swarm:s:agent:c:activity", Some(Activity)),
            ("swarm:s:agent::activity", None),
            ("swarm:s:agent:activity", None),
            ("swarm:s:blocking:c", Some(State)),
            ("swarm:s:state", None),
            ("swarm:s:blocking:c:state", None),
            ("swarm:s:blocking:heartbeat:c:state", Some(Heartbeat)),
            ("coordinator:work:s:c:w", None),
            ("coordinator:escalation:c", None),
            ("coordinator:spawn:c", None),
            ("blocking:retry:s1:1", None),
            ("blocking:retry:failed:s1", None),
            ("Blocking:heartbeat:c", None),
            ("user:1", None),
            ("", None),
        ];
        for (name, expected) in table {
            assert_eq!(family_of(name.as_bytes()), *expected, "{name}");
        }
        let long = [b"blocking:ack:".as_slice(), &vec![b'a'; MAX_NAME_BYTES]].concat();
        assert_eq!(family_of(&long), None);
    }

    #[test]
    fn readings_by_name() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("blocking:signal:a:b", &["x"], &["a:b"]),
            ("blocking:ack:a:b:s1", &["x"], &["a"]),
            ("blocking:ack:a:b:s1", &["x:y", "x"], &["a", "a:b"]),
            ("blocking:ack::a", &["x", "x:y"], &[":a"]),
            ("blocking:ack:a:", &["x", "x:y"], &["a", "a:"]),
            ("blocking:idempotency:a:b", &["x"], &["a", "b"]),
            (
                "blocking:idempotency:a:b",
                &["x", "x:y"],
                &["a", "a:b", "b"],
            ),
            ("blocking:idempotency:a::b", &["x:y"], &[":b", "a:"]),
            ("swarm:s:blocking:c", &[], &["s/c"]),
            (
                "swarm:s:blocking:heartbeat:c",
                &[],
                &["s/c", "s/heartbeat:c"],
            ),
            (
                "swarm:s:blocking:blocking:c",
                &[],
                &["s/blocking:c", "s:blocking/c"],
            ),
            ("swarm:s:agent:c:activity", &[], &["s/c"]),
            (
                "swarm:a:agent:b:blocking:c:activity",
                &[],
                &["a/b:blocking:c", "a:agent:b/c:activity"],
            ),
            ("user:1", &["x"], &[]),
        ];
        for (name, known, expected) in table {
            assert_eq!(ids(name, known), *expected, "{name}");
        }
    }

    /// Ids of a key by trying every byte range: slow and obviously right.
    fn every_range(rest: &[u8], only_head: bool) -> Vec<(usize, usize)> {
        let colon_or_edge = |at: Option<usize>| at.is_none_or(|at| rest.get(at) == Some(&b':'));
        let mut found = Vec::new();
        for from in 0..rest.len() {
            for to in from + 1..=rest.len() {
                let begins = colon_or_edge(from.checked_sub(1)) && !(only_head && from > 0);
                let ends = colon_or_edge(Some(to).filter(|to| *to < rest.len()));
                if begins && ends {
                    found.push((from, to));
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn readings_are_all_ranges_between_colons(rest in "[ab:]{0,9}") {
            let mut known = SegmentCounts::default();
            for count in 0..12 {
                known.add(&b":".repeat(count));
            }
            for (prefix, only_head) in [("blocking:ack:", true), ("blocking:idempotency:", false)] {
                let name = format!("{prefix}{rest}");
                let mut found = Vec::new();
                readings(name.as_bytes(), &known, &mut |reading| {
                    found.push((reading.id.0 - prefix.len(), reading.id.1 - prefix.len()));
                });
                found.sort_unstable();
                prop_assert_eq!(found, every_range(rest.as_bytes(), only_head));
            }
        }

        #[test]
        fn a_family_has_a_reading_and_a_foreign_key_has_none_that_counts(name in "[:a-c]{0,6}|(swarm:|blocking:|heartbeat:|ack:|agent:|activity|state|s:|:){0,7}") {
            let mut known = SegmentCounts::default();
            for count in 0..20 {
                known.add(&b":".repeat(count));
            }
            let mut count = 0;
            readings(name.as_bytes(), &known, &mut |_| count += 1);
            let family = family_of(name.as_bytes());
            prop_assert_eq!(family.is_some(), count > 0 && (family == Some(Family::Heartbeat) || !is_never_touched(name.as_bytes())));
        }
    }
}
