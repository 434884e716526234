//! Random keyspaces built to collide: few ids that are parts of one another and of the key layout's own words, values
//! of every shape, keys of every type.
//! Must draw everything from the given generator, so that a seed is a keyspace, and must not judge what it draws.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use crate::keyspace::{
    Content, Entry, Form, Key, Keyspace, Part, Question, Time, Ttl, Value, Written,
};

type Rng = Xoshiro256PlusPlus;

/// What ids and swarms are made of.
const WORDS: [&[u8]; 33] = [
    b"a",
    b"b",
    b"ab",
    b"ba",
    b"a:b",
    b"b:a",
    b":",
    b"::",
    b"*",
    b"?",
    b"[a-b]",
    b"[^a]",
    b"a*",
    b"\\",
    b"\\*",
    b"c-1",
    b"c-10",
    b"heartbeat",
    b"blocking",
    b"blocking:heartbeat",
    b"agent",
    b"activity",
    b"state",
    b"swarm",
    b"signal",
    b"ack",
    b"idempotency",
    b"\0",
    b"\xff",
    b"\xe9\0",
    b" ",
    b"{a}",
    b"A",
];

/// The keyspace of a seed.
pub fn keyspace(seed: u64) -> Keyspace {
    let rng = &mut Rng::seed_from_u64(seed);
    let question = question(rng);
    let pools = Pools {
        ids: ids(rng),
        swarms: ids(rng),
    };
    // From keyspaces without a living coordinator to those where every second one lives.
    let living = [0.0, 0.1, 0.3, 0.6];
    let mood = Mood {
        threshold_s: question.grace_s().unwrap_or(question.threshold_s()),
        living: *pick(rng, &living),
        odd: *pick(rng, &[0.0, 0.0, 0.1, 0.4]),
    };
    let others_read = if question.orphans.is_some() { 0.7 } else { 0.0 };
    let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
    for _ in 0..rng.random_range(0..=60) {
        let (name, is_heartbeat) = name(rng, &pools);
        // With ORPHANS the values of others are read as well.
        let is_read = if is_heartbeat { 0.96 } else { others_read };
        let content = if rng.random_bool(is_read) {
            let value = value(rng, &mood);
            string(rng, value)
        } else {
            content(rng)
        };
        let ttl = *pick_weighted(rng, &[(Ttl::None, 8), (Ttl::Ahead, 2), (Ttl::Passed, 1)]);
        entries.insert(name.clone(), Entry { name, content, ttl });
    }
    if rng.random_bool(0.03) {
        for entry in crowd(rng, &pools, &mood) {
            entries.insert(entry.name.clone(), entry);
        }
    }
    let mut entries: Vec<Entry> = entries.into_values().collect();
    entries.shuffle(rng);
    let question = Question {
        pattern: rng.random_bool(0.3).then(|| pattern(rng, &pools)),
        ..question
    };
    Keyspace {
        entries,
        question,
        max_heartbeat_bytes: *pick_weighted(rng, &[(64, 1), (200, 2), (4_096, 3), (65_536, 6)]),
        database: *pick(rng, &[0, 0, 7]),
    }
}

fn pick<'t, T>(rng: &mut Rng, from: &'t [T]) -> &'t T {
    from.choose(rng).expect("nothing to choose from")
}

fn pick_weighted<'t, T>(rng: &mut Rng, from: &'t [(T, u32)]) -> &'t T {
    let mut left = rng.random_range(0..from.iter().map(|(_, weight)| weight).sum());
    let chosen = from.iter().find(|(_, weight)| {
        let is_here = left < *weight;
        left = left.saturating_sub(*weight);
        is_here
    });
    &chosen.expect("weights that add up").0
}

fn question(rng: &mut Rng) -> Question {
    let thresholds_s = [None, None, Some(1), Some(60), Some(600), Some(86_400)];
    Question {
        threshold_s: *pick(rng, &thresholds_s),
        orphans: *pick(rng, &[None, None, Some(None), Some(None), Some(Some(60))]),
        pattern: None,
        limit: rng.random_bool(0.3).then(|| rng.random_range(1..=5)),
        ids: rng.random_bool(0.4).then(|| rng.random_range(0..=6)),
    }
}

/// The ids, or swarms, of one keyspace: some made of words, some made of each other.
struct Pools {
    ids: Vec<Key>,
    swarms: Vec<Key>,
}

fn ids(rng: &mut Rng) -> Vec<Key> {
    let mut pool: Vec<Key> = (0..rng.random_range(1..=3)).map(|_| phrase(rng)).collect();
    for _ in 0..rng.random_range(0..=4) {
        let (one, other) = (pick(rng, &pool).clone(), pick(rng, &pool).clone());
        let cut = rng.random_range(0..=one.len());
        pool.push(match rng.random_range(0..6) {
            0 => [one, other].join(b":".as_slice()),
            1 => [one, other].concat(),
            2 => one[..cut].to_vec(),
            3 => one[cut..].to_vec(),
            4 => [one.as_slice(), b":"].concat(),
            _ => [b":", one.as_slice()].concat(),
        });
    }
    pool.retain(|id| !id.is_empty());
    pool
}

/// Up to three words, with colons between them or without.
fn phrase(rng: &mut Rng) -> Key {
    let words: Vec<&[u8]> = (0..rng.random_range(1..=3))
        .map(|_| *pick(rng, &WORDS))
        .collect();
    let glue: &[u8] = if rng.random_bool(0.7) { b":" } else { b"" };
    words.join(glue)
}

/// Last segments of messages: old, young for ever, and no times.
const NAMED_TIMES: [&[u8]; 8] = [
    b"1600000000000",
    b"1600000000000",
    b"1600000000",
    b"1600000000000000",
    b"4102444800000",
    b"1600000",
    b"-1600000000000",
    b"",
];

/// The name of a key, and whether it is meant as a heartbeat's.
fn name(rng: &mut Rng, pools: &Pools) -> (Key, bool) {
    let id = pick(rng, &pools.ids).as_slice();
    let other = pick(rng, &pools.ids).as_slice();
    let swarm = pick(rng, &pools.swarms).as_slice();
    let word = *pick(rng, &WORDS);
    let parts: Vec<&[u8]> = match rng.random_range(0..100) {
        0..26 => return ([b"blocking:heartbeat:", id].concat(), true),
        26..42 => {
            return (
                [b"swarm:", swarm, b":blocking:heartbeat:", id].concat(),
                true,
            );
        }
        42..49 => vec![b"blocking:signal:", id],
        49..52 => vec![b"blocking:ack:", id],
        52..57 => vec![b"blocking:ack:", id, b":", word],
        57..60 => vec![b"blocking:ack:", id, b":", other, b":", word],
        60..63 => vec![b"blocking:idempotency:", id],
        63..69 => vec![b"blocking:idempotency:", id, b":", other, b":", word],
        69..73 => vec![b"blocking:idempotency:", word, b":", id, b":", other],
        73..76 => vec![b"blocking:idempotency:", id, other, b":init"],
        76..81 => vec![b"coordinator:activity:", id],
        81..86 => vec![b"swarm:", swarm, b":agent:", id, b":activity"],
        86..92 => vec![b"swarm:", swarm, b":blocking:", id],
        92..95 => {
            let time = *pick(rng, &NAMED_TIMES);
            vec![
                b"blocking:idempotency:",
                id,
                b":",
                other,
                b":",
                word,
                b":1:",
                time,
            ]
        }
        _ => return (foreign(rng, id, swarm), false),
    };
    (parts.concat(), false)
}

/// Names that are nearly a family's, or reserved.
fn foreign(rng: &mut Rng, id: &[u8], swarm: &[u8]) -> Key {
    let shapes: [&[&[u8]]; 22] = [
        &[b"blocking:heartbeat"],
        &[b"blocking:heartbeat:"],
        &[b"blocking:signal:"],
        &[b"blocking:ack:"],
        &[b"blocking:idempotency:"],
        &[b"coordinator:activity:"],
        &[b"blocking:retry:", id],
        &[b"coordinator:work:", id],
        &[b"coordinator:escalation:", id],
        &[b"coordinator:spawn:", id],
        &[b"swarm:", swarm, b":state"],
        &[b"swarm:", swarm, b":blocking:", id, b":state"],
        &[b"swarm:", swarm, b":blocking:heartbeat:", id, b":state"],
        &[b"swarm:", swarm, b":blocking:heartbeat:"],
        &[b"swarm:", swarm, b":blocking:"],
        &[b"swarm::blocking:", id],
        &[b"swarm::blocking:heartbeat:", id],
        &[b"swarm:", swarm, b":agent:", id],
        &[b"swarm:", swarm, b":agent::activity"],
        &[b"x", b"blocking:heartbeat:", id],
        &[b"BLOCKING:HEARTBEAT:", id],
        &[id],
    ];
    let name = pick(rng, &shapes).concat();
    if name.is_empty() { b"x".to_vec() } else { name }
}

/// One id that beats in so many swarms that its keys have about as many possible owners as a run looks up.
fn crowd(rng: &mut Rng, pools: &Pools, mood: &Mood) -> Vec<Entry> {
    let id = pick(rng, &pools.ids).clone();
    let entry = |name: Key, content: Content| Entry {
        name,
        content,
        ttl: Ttl::None,
    };
    let swarms = rng.random_range(62..=66);
    let mut entries: Vec<Entry> = (0..swarms)
        .map(|n: i64| {
            let time = Part::Time(Time {
                age_ms: (mood.threshold_s + 1 + n) * 1_000,
                form: Form::Milliseconds,
                quoted: false,
            });
            let value = Value {
                parts: vec![time],
                padded_to: 0,
            };
            let name = [format!("swarm:w{n}:blocking:heartbeat:").as_bytes(), &id].concat();
            entry(name, string(rng, value))
        })
        .collect();
    let signal = [b"blocking:signal:", id.as_slice()].concat();
    entries.push(entry(signal, content(rng)));
    entries
}

fn string(rng: &mut Rng, value: Value) -> Content {
    let written = *pick_weighted(rng, &[(Written::Set, 4), (Written::Append, 1)]);
    Content::String { value, written }
}

/// A value of a key that no run reads.
fn content(rng: &mut Rng) -> Content {
    // So many that the server changes to its large form of the type.
    let size = *pick(rng, &[1, 2, 3, 700]);
    match rng.random_range(0..10) {
        0 => Content::Hash(size),
        1 => Content::List(size),
        2 => Content::Set(size),
        3 => Content::Zset(size),
        4 => Content::Stream(size),
        _ => {
            let value = Value {
                parts: vec![Part::Bytes(b"1".to_vec())],
                padded_to: *pick(rng, &[0, 0, 5_000]),
            };
            string(rng, value)
        }
    }
}

/// How the coordinators of one keyspace are.
struct Mood {
    threshold_s: i64,
    /// Share of beats that are not old.
    living: f64,
    /// Share of values that are not what a writer writes.
    odd: f64,
}

fn age_ms(rng: &mut Rng, mood: &Mood) -> i64 {
    const YEARS_10_MS: i64 = 10 * 365 * 86_400_000;
    let threshold_ms = mood.threshold_s * 1_000;
    if rng.random_bool(mood.living) {
        let ages_ms = [
            0,
            threshold_ms / 2,
            threshold_ms - 1,
            threshold_ms,
            threshold_ms + 400,
            -1_000,
            -YEARS_10_MS,
        ];
        *pick(rng, &ages_ms)
    } else {
        let ages_ms = [
            1_000,
            1_001,
            1_002,
            2_000,
            50_000,
            50_001,
            10_000_000,
            YEARS_10_MS,
        ];
        threshold_ms + *pick(rng, &ages_ms)
    }
}

/// The numbers on both sides of each border between two units: one is of 1973 or 2001, the other of a year to come.
const BORDERS: [&str; 10] = [
    "1000000000",
    "99999999999",
    "100000000000",
    "99999999999999",
    "100000000000000",
    "99999999999999999",
    "100000000000000000",
    "18446744073709551616",
    "99999999999.5",
    "100000000000.5",
];

fn time(rng: &mut Rng, mood: &Mood) -> Part {
    if rng.random_bool(0.04) {
        let quote = *pick(rng, &["", "\""]);
        return bytes(format!("{quote}{}{quote}", pick(rng, &BORDERS)));
    }
    let offset_minutes = *pick(rng, &[0, 0, 120, -300, 345]);
    let forms = [
        (Form::Milliseconds, 6),
        (Form::Seconds, 2),
        (Form::Microseconds, 1),
        (Form::Nanoseconds, 1),
        (Form::FloatSeconds, 1),
        (Form::FloatMilliseconds, 1),
        (Form::Exponent, 1),
        (Form::Plus, 1),
        (Form::Date { offset_minutes }, 2),
    ];
    Part::Time(Time {
        age_ms: age_ms(rng, mood),
        form: *pick_weighted(rng, &forms),
        quoted: rng.random_bool(0.2),
    })
}

fn bytes(text: impl AsRef<[u8]>) -> Part {
    Part::Bytes(text.as_ref().to_vec())
}

/// JSON that is no time, whatever field it stands in.
const NO_TIMES: [&str; 34] = [
    "0",
    "-0",
    "-0.0",
    "1",
    "-1",
    "-1700000000000",
    "-1700000000.5",
    "999999999",
    "999999999.9",
    "1e300",
    "1e30",
    "1e-9",
    "100000000000000000000",
    "12345678901234567890123",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[1700000000000]",
    r#"{"timestamp":1700000000000}"#,
    r#""""#,
    r#""now""#,
    r#"" 1700000000000""#,
    r#""1700000000000\n""#,
    r#""0x18bcfe56800""#,
    r#""1_700_000_000_000""#,
    r#""inf""#,
    r#""NaN""#,
    r#""2023-11-14""#,
    r#""2023-11-14T22:13:20""#,
    r#""2023-02-30T22:13:20Z""#,
    r#""1999-12-31T23:59:59Z""#,
    r#""-1700000000000""#,
];

/// Names that are the known ones once their escapes are read.
const KNOWN: [&str; 5] = [
    "timestamp",
    "lastHeartbeat",
    "last_heartbeat",
    r"\u0074imest\u0061mp",
    r"last\u005Fheartbeat",
];

/// Names that are not.
const UNKNOWN: [&str; 8] = [
    "coordinatorId",
    "Timestamp",
    "timestamp ",
    "",
    r"\\u0074imestamp",
    r"timestamp\u0000",
    "lastActivity",
    r"\uD83D\uDE00",
];

/// The value of a heartbeat.
fn value(rng: &mut Rng, mood: &Mood) -> Value {
    let mut parts = match rng.random_range(0..10) {
        0 => vec![time(rng, mood)],
        _ => object(rng, mood),
    };
    if rng.random_bool(mood.odd / 2.0) {
        parts = broken(rng, parts);
    }
    // Around the lengths at which servers store and the module reads strings in another way.
    let lengths = [
        43, 44, 45, 63, 64, 65, 191, 192, 193, 199, 200, 201, 4_096, 4_097, 65_536, 65_537,
    ];
    let is_padded = rng.random_bool(0.3);
    let padded_to = if is_padded { *pick(rng, &lengths) } else { 0 };
    Value { parts, padded_to }
}

/// Fields and what stands between them.
fn object(rng: &mut Rng, mood: &Mood) -> Vec<Part> {
    let mut fields = Vec::new();
    let none = rng.random_bool(mood.odd / 4.0);
    let known = if none {
        0
    } else {
        *pick_weighted(rng, &[(1, 6), (2, 3), (3, 1)])
    };
    for _ in 0..known {
        let value = if rng.random_bool(mood.odd / 2.0) {
            bytes(pick(rng, &NO_TIMES))
        } else {
            time(rng, mood)
        };
        fields.push((*pick(rng, &KNOWN), vec![value]));
    }
    for _ in 0..rng.random_range(0..3) {
        let value = match rng.random_range(0..6) {
            0 => vec![bytes(r#"{"timestamp":"#), time(rng, mood), bytes("}")],
            1 => vec![bytes(r#"[{"lastHeartbeat":"#), time(rng, mood), bytes("}]")],
            2 => vec![bytes(r#""\"timestamp\":5,""#)],
            3 => vec![bytes(nested(rng))],
            4 => vec![time(rng, mood)],
            _ => vec![bytes(pick(rng, &NO_TIMES))],
        };
        fields.push((*pick(rng, &UNKNOWN), value));
    }
    fields.shuffle(rng);
    let gap = *pick(rng, &["", "", " ", "\r\n\t"]);
    let mut parts = vec![bytes(format!("{gap}{{{gap}"))];
    for (at, (name, value)) in fields.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        parts.push(bytes(format!("{comma}{gap}\"{name}\"{gap}:{gap}")));
        parts.extend(value);
    }
    parts.push(bytes(format!("{gap}}}{gap}")));
    parts
}

/// Brackets about as deep as a JSON reader follows them.
fn nested(rng: &mut Rng) -> String {
    let depths = [
        (1, 4),
        (100, 4),
        (125, 2),
        (126, 2),
        (127, 1),
        (128, 1),
        (129, 1),
        (1_000, 1),
    ];
    let depth = *pick_weighted(rng, &depths);
    "[".repeat(depth) + &"]".repeat(depth)
}

/// Something about the value is wrong.
fn broken(rng: &mut Rng, mut parts: Vec<Part>) -> Vec<Part> {
    match rng.random_range(0..10) {
        0 => parts.clear(),
        1 => parts = vec![bytes(pick(rng, &NO_TIMES))],
        2 => drop(parts.pop()),
        3 => parts.push(bytes("x")),
        4 => parts.push(bytes("\0")),
        5 => parts.insert(0, bytes("\u{feff}")),
        6 => {
            parts.insert(0, bytes(b"{\"x\":\"\xff\",\"timestamp\":"));
            parts.push(bytes("}"));
        }
        7 => {
            parts.insert(0, bytes("["));
            parts.push(bytes("]"));
        }
        8 => parts = vec![bytes(r#"{"x":"\ud800","timestamp":1600000000000}"#)],
        _ => {
            parts = vec![bytes(
                b"{\"x\":\"\xc3\x28\xff\",\"timestamp\":1600000000000}",
            )]
        }
    }
    parts
}

/// A pattern that fits some of the ids, or is no proper pattern.
fn pattern(rng: &mut Rng, pools: &Pools) -> Key {
    const PIECES: [&[u8]; 18] = [
        b"*", b"*", b"**", b"?", b"[a-b]", b"[b-a]", b"[^a]", b"[^a", b"[", b"[]", b"[a", b"\\",
        b"\\*", b"\\a", b"[\\]]", b"]", b"a", b":",
    ];
    let id = pick(rng, &pools.ids).clone();
    let at = rng.random_range(0..id.len());
    let piece = *pick(rng, &PIECES);
    match rng.random_range(0..5) {
        0 => b"*".to_vec(),
        1 => id,
        2 => [&id[..at], piece].concat(),
        3 => [&id[..at], piece, &id[at + 1..]].concat(),
        _ => (0..rng.random_range(1..=4))
            .flat_map(|_| pick(rng, &PIECES).to_vec())
            .collect(),
    }
}
