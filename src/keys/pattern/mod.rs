//! Glob patterns over coordinator ids, with the server's own rules.
//!
//! | pattern | matches |
//! |---|---|
//! | `*` | any bytes, also none |
//! | `?` | any one byte |
//! | `[abc]`, `[a-z]` | one byte of the class; a reversed range is swapped |
//! | `[^abc]` | one byte outside the class |
//! | `\x` | the byte `x` itself, in a class as well |
//!
//! A class that is never closed ends with the pattern; a backslash at the very end is a backslash;
//! `[]` matches nothing and `[^]` any byte. In a range the second byte is taken as it stands, a `]`
//! or a backslash included. Bytes compare as unsigned numbers.
//!
//! An id can also be asked for exactly, without any rules.
//!
//! This file must not look at anything but bytes. What a match costs is in `glob.rs`.

mod glob;

use std::sync::Arc;

pub use glob::Steps;

use glob::{Glob, Unit};

use crate::reply::error::{Error, shown};

/// The longest pattern accepted.
pub const MAX_PATTERN_BYTES: usize = 512;

/// A glob pattern, ready to match.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Box<[u8]>,
    /// `None` if the source is an id and no glob.
    glob: Option<Arc<Glob>>,
}

/// The glob follows from the source.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.glob.is_some() == other.glob.is_some()
    }
}

impl Pattern {
    pub fn new(source: &[u8]) -> Result<Self, Error> {
        if source.is_empty() || source.len() > MAX_PATTERN_BYTES {
            return Err(Error::PatternLength {
                got_bytes: source.len(),
            });
        }
        Ok(Self {
            source: source.into(),
            glob: Some(Arc::new(parse(source))),
        })
    }

    /// Fits this id and no other, however long it is and whatever bytes it has.
    pub fn exactly(id: &[u8]) -> Self {
        Self {
            source: id.into(),
            glob: None,
        }
    }

    /// Whether the whole id fits the pattern. Upper and lower case differ. Takes no more steps than the id has bytes,
    /// for each 64 bytes of the pattern.
    pub fn matches(&self, id: &[u8]) -> bool {
        self.matches_within(id, &mut Steps::up_to(usize::MAX))
            .unwrap_or_default()
    }

    /// The same; `None` if that takes more steps than there are.
    pub fn matches_within(&self, id: &[u8], steps: &mut Steps) -> Option<bool> {
        match &self.glob {
            Some(glob) => glob.fits(id, steps),
            None => Some(*self.source == *id),
        }
    }

    /// The pattern as it was given; an id may be long.
    pub fn source(&self) -> &[u8] {
        &self.source
    }
}

/// What a reply says when a pattern fits no id: no `what` fits it, with an id as an example.
pub fn nothing_fits(what: &str, id: &[u8]) -> String {
    format!(
        "no {what} fits MATCH, which compares ids such as '{}'",
        shown(id)
    )
}

fn parse(glob: &[u8]) -> Glob {
    let mut between_stars = Vec::new();
    let mut run = Vec::new();
    let mut rest = glob;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' => between_stars.push(std::mem::take(&mut run)),
            b'?' => run.push(Unit::Any),
            b'[' => {
                let (class, after) = parse_class(rest);
                run.push(class);
                rest = after;
            }
            b'\\' => match rest.split_first() {
                Some((&escaped, after)) => {
                    rest = after;
                    run.push(Unit::Byte(escaped));
                }
                None => run.push(Unit::Byte(byte)),
            },
            _ => run.push(Unit::Byte(byte)),
        }
    }
    between_stars.push(run);
    Glob::new(between_stars)
}

/// Reads what follows a `[`, and gives what follows the class.
fn parse_class(glob: &[u8]) -> (Unit, &[u8]) {
    let (negated, mut rest) = match glob {
        [b'^', after @ ..] => (true, after),
        _ => (false, glob),
    };
    let mut members = Box::new([negated; 256]);
    let mut set = |from: u8, to: u8| {
        let range = usize::from(from.min(to))..=usize::from(from.max(to));
        members.get_mut(range).unwrap_or_default().fill(!negated);
    };
    loop {
        // The order of the arms is the server's: an escape before the closing bracket, and the closing bracket before
        // a range.
        rest = match rest {
            [] => break,
            [b'\\', escaped, after @ ..] => {
                set(*escaped, *escaped);
                after
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [from, b'-', to, after @ ..] => {
                set(*from, *to);
                after
            }
            [byte, after @ ..] => {
                set(*byte, *byte);
                after
            }
        };
    }
    (Unit::Class(members), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(glob: &[u8], id: &[u8]) -> bool {
        Pattern::new(glob).unwrap().matches(id)
    }

    #[test]
    fn rules_by_example() {
        type Row = (
            &'static [u8],
            &'static [&'static [u8]],
            &'static [&'static [u8]],
        );
        let table: [Row; 33] = [
            (b"c-1", &[b"c-1"], &[b"c-10", b"c-", b"xc-1", b"C-1"]),
            (b"c-*", &[b"c-", b"c-1", b"c-10\n\xff"], &[b"c", b"xc-1"]),
            (b"*", &[b"a", b"a:b", b"\n", b"\xff\0"], &[]),
            (b"***", &[b"a", b"abc"], &[]),
            (b"*a*", &[b"a", b"ba", b"ab", b"bab"], &[b"b", b"A"]),
            (b"a*b*c", &[b"abc", b"aXbYc", b"abcbc"], &[b"ab", b"acb"]),
            (b"?", &[b"a", b"\n", b"\xff", b"*"], &[b"ab", b""]),
            (b"a?c", &[b"abc", b"a?c"], &[b"ac", b"abbc"]),
            (b"\xc3?", &[b"\xc3\xa9"], &[b"\xc3"]),
            (b"[abc]", &[b"a", b"b", b"c"], &[b"d", b"ab", b"]"]),
            (b"[a-c]x", &[b"ax", b"bx", b"cx"], &[b"dx", b"-x"]),
            (b"[c-a]", &[b"a", b"b", b"c"], &[b"d", b"-"]),
            (
                b"[^a-c]",
                &[b"d", b"-", b"\n", b"\xff"],
                &[b"a", b"b", b"c"],
            ),
            (b"[a^]", &[b"a", b"^"], &[b"b"]),
            (b"[^^]", &[b"a"], &[b"^"]),
            (b"[]", &[], &[b"a", b"]", b"[", b"[]"]),
            (b"[]a]", &[], &[b"a", b"]", b"a]"]),
            (b"[^]", &[b"a", b"]", b"\n", b"\xff"], &[b"", b"ab"]),
            (b"[^]a]", &[b"xa]"], &[b"x", b"a"]),
            (b"[ab", &[b"a", b"b"], &[b"[ab", b"c"]),
            (b"[", &[], &[b"[", b"a"]),
            (b"[^", &[b"a", b"["], &[b"ab"]),
            (b"[a-", &[b"a", b"-"], &[b"b"]),
            // The bracket is the end of a range here, so the class is never closed.
            (b"[a-]", &[b"]", b"^", b"_", b"a"], &[b"-", b"b", b"\\"]),
            (b"[--0]", &[b"-", b".", b"0"], &[b"1", b","]),
            (br"\*", &[b"*"], &[b"a", br"\*"]),
            (br"a\", &[br"a\"], &[b"a"]),
            (br"\a\\", &[br"a\"], &[br"\a\\"]),
            (br"[\]a]", &[b"]", b"a"], &[br"\", b"]a]"]),
            // An escaped byte starts no range.
            (br"[\a-c]", &[b"a", b"-", b"c"], &[b"b", br"\"]),
            // A range may end in a backslash; it escapes nothing then.
            (br"[Z-\]x", &[b"Zx", b"[x", br"\x"], &[b"]x", b"Z]x"]),
            (br"[a\", &[b"a", br"\"], &[b"["]),
            (
                b"a.c+(d)|$^{1}&&~~#",
                &[b"a.c+(d)|$^{1}&&~~#"],
                &[b"abc+(d)"],
            ),
        ];
        for (glob, fits, others) in table {
            for id in fits {
                assert!(matches(glob, id), "{} {}", shown(glob), shown(id));
            }
            for id in others {
                assert!(!matches(glob, id), "{} {}", shown(glob), shown(id));
            }
        }
    }

    #[test]
    fn ranges_compare_bytes_as_unsigned() {
        assert!(matches(b"[a-\xff]", b"\x80"));
        assert!(!matches(b"[a-\xff]", b"A"));
        assert!(!matches(b"[^\x01-\xff]", b"\x80"));
        assert!(matches(b"[^\x01-\xff]", b"\0"));
        assert!(!matches(b"[^\x00-\xff]", b"a"));
    }

    #[test]
    fn length_is_checked() {
        for (bytes, accepted) in [(0, false), (1, true), (512, true), (513, false)] {
            let result = Pattern::new(&vec![b'a'; bytes]);
            assert_eq!(result.is_ok(), accepted, "{bytes}");
            if let Err(error) = result {
                assert_eq!(error, Error::PatternLength { got_bytes: bytes });
            }
        }
    }

    #[test]
    fn the_source_is_kept() {
        assert_eq!(Pattern::new(b"a\\[\xff").unwrap().source(), b"a\\[\xff");
    }

    #[test]
    fn a_match_takes_a_step_for_each_byte_and_each_64_of_the_pattern() {
        let long = |begin: &str| {
            let mut glob = begin.as_bytes().to_vec();
            glob.resize(MAX_PATTERN_BYTES - 2, b'?');
            glob
        };
        let repeated = |part: &str| part.repeat(MAX_PATTERN_BYTES / part.len()).into_bytes();
        let globs = [
            // A backtracking matcher would not finish these.
            repeated("*a"),
            repeated("*a?"),
            repeated("*[a-c]b"),
            [long("*a"), b"*".to_vec()].concat(),
            [long("*a"), b"*z".to_vec()].concat(),
            [long("*[ab]"), b"z*".to_vec()].concat(),
            long("*a"),
            repeated("[^b]"),
            repeated("?*"),
            repeated("[]"),
            repeated("\\"),
            repeated("["),
        ];
        let bytes = 256 * 1024;
        let end = [vec![b'a'; bytes - 600], vec![b'b'; 600]].concat();
        let ids = [vec![b'a'; bytes], repeated("ab").repeat(512), end];
        let most = bytes * MAX_PATTERN_BYTES.div_ceil(64) + 2 * MAX_PATTERN_BYTES;
        for glob in globs {
            let pattern = Pattern::new(&glob).unwrap();
            for id in &ids {
                let fits = pattern.matches_within(id, &mut Steps::up_to(most));
                assert_eq!(fits, Some(pattern.matches(id)), "{}", shown(&glob));
            }
        }
    }

    #[test]
    fn a_match_that_takes_more_steps_than_it_may_has_no_result() {
        let pattern = Pattern::new(b"*a?b*").unwrap();
        let id = [b'a'; 1000];
        assert_eq!(pattern.matches_within(&id, &mut Steps::up_to(900)), None);
        let mut steps = Steps::up_to(2100);
        let twice = || [(); 2].map(|()| pattern.matches_within(&id, &mut steps));
        let mut twice = twice;
        assert_eq!(twice(), [Some(false); 2]);
        assert_eq!(pattern.matches_within(&id, &mut steps), None);
    }

    /// The rules written down a second time, as plainly as possible: does the glob fit the id?
    fn model(glob: &[u8], id: &[u8]) -> bool {
        let Some(&first) = glob.first() else {
            return id.is_empty();
        };
        if first == b'*' {
            return (0..=id.len()).any(|taken| model(&glob[1..], &id[taken..]));
        }
        let Some(&byte) = id.first() else {
            return false;
        };
        let (fits, used) = match first {
            b'?' => (true, 1),
            b'[' => model_class(glob, byte),
            b'\\' if glob.len() > 1 => (glob[1] == byte, 2),
            _ => (first == byte, 1),
        };
        fits && model(&glob[used..], &id[1..])
    }

    /// Whether the class at the head of the glob holds the byte, and how long the class is.
    fn model_class(glob: &[u8], byte: u8) -> (bool, usize) {
        let negated = glob.get(1) == Some(&b'^');
        let mut at = if negated { 2 } else { 1 };
        let mut held = false;
        while at < glob.len() {
            let left = glob.len() - at;
            if glob[at] == b'\\' && left >= 2 {
                held |= glob[at + 1] == byte;
                at += 2;
            } else if glob[at] == b']' {
                return (held != negated, at + 1);
            } else if left >= 3 && glob[at + 1] == b'-' {
                let (from, to) = (glob[at], glob[at + 2]);
                held |= (from <= byte && byte <= to) || (to <= byte && byte <= from);
                at += 3;
            } else {
                held |= glob[at] == byte;
                at += 1;
            }
        }
        (held != negated, at)
    }

    fn special(bytes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(br"abc*?[]^-\:".to_vec()), bytes)
    }

    /// Pieces that make classes and stars likely, where single bytes rarely do.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"*".to_vec()),
            Just(b"?".to_vec()),
            (any::<bool>(), special(0..4)).prop_map(|(negated, members)| {
                let mut class = if negated {
                    b"[^".to_vec()
                } else {
                    b"[".to_vec()
                };
                class.extend(members);
                class.push(b']');
                class
            }),
            special(1..3),
        ];
        prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn equals_the_model(
            glob in prop_oneof![special(1..10), pieces()],
            ids in prop::collection::vec(special(1..6), 1..8),
        ) {
            let pattern = Pattern::new(&glob).unwrap();
            for id in ids {
                prop_assert_eq!(
                    pattern.matches(&id), model(&glob, &id), "{} {}", shown(&glob), shown(&id)
                );
            }
        }

        #[test]
        fn equals_the_model_on_any_bytes(
            glob in prop::collection::vec(any::<u8>(), 1..6),
            id in prop::collection::vec(any::<u8>(), 1..6),
        ) {
            prop_assert_eq!(matches(&glob, &id), model(&glob, &id));
        }

        #[test]
        fn an_escaped_id_matches_itself_and_nothing_else(
            id in prop::collection::vec(any::<u8>(), 1..200), other: Vec<u8>,
        ) {
            let glob: Vec<u8> = id.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(matches(&glob, &id));
            prop_assert_eq!(matches(&glob, &other), id == other);
        }
    }
}
