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
//! The pattern becomes a regular expression over bytes, so that no pattern can make a match take
//! more than time linear in the id. This file must not look at anything but bytes.

use regex::bytes::Regex;

use crate::error::{Error, shown};

/// The longest pattern accepted.
pub const MAX_PATTERN_BYTES: usize = 512;

/// A glob pattern, ready to match.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Box<[u8]>,
    /// `None` if the source is an id and no glob.
    regex: Option<Regex>,
}

/// The expression follows from the source.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.regex.is_some() == other.regex.is_some()
    }
}

impl Pattern {
    pub fn new(source: &[u8]) -> Result<Self, Error> {
        if source.is_empty() || source.len() > MAX_PATTERN_BYTES {
            return Err(Error::PatternLength {
                got_bytes: source.len(),
            });
        }
        // Every glob of this length translates to a valid expression far below the size limit of
        // the regex crate; the error is there because a panic would take the server down.
        let regex = Regex::new(&translate(source)).map_err(|_| Error::BadValue {
            option: "MATCH",
            shown: shown(source),
            accepted: "a glob pattern of 1 to 512 bytes",
        })?;
        Ok(Self {
            source: source.into(),
            regex: Some(regex),
        })
    }

    /// Fits this id and no other, however long it is and whatever bytes it has.
    pub fn exactly(id: &[u8]) -> Self {
        Self {
            source: id.into(),
            regex: None,
        }
    }

    /// Whether the whole id fits the pattern. Upper and lower case differ.
    pub fn matches(&self, id: &[u8]) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(id),
            None => *self.source == *id,
        }
    }

    /// The pattern as it was given.
    pub fn source(&self) -> &[u8] {
        &self.source
    }
}

/// The regular expression that stands for a glob.
pub fn translate(glob: &[u8]) -> String {
    let mut regex = String::from(r"(?s-u)\A");
    let mut rest = glob;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' => {
                // Neighbouring stars mean one star; keeping all would only slow the matching.
                while let [b'*', after @ ..] = rest {
                    rest = after;
                }
                regex.push_str(".*");
            }
            b'?' => regex.push('.'),
            b'[' => rest = translate_class(&mut regex, rest),
            b'\\' => match rest.split_first() {
                Some((&escaped, after)) => {
                    rest = after;
                    push_byte(&mut regex, escaped);
                }
                None => push_byte(&mut regex, byte),
            },
            _ => push_byte(&mut regex, byte),
        }
    }
    regex.push_str(r"\z");
    regex
}

/// Translates what follows a `[` and returns what follows the class.
fn translate_class<'a>(regex: &mut String, glob: &'a [u8]) -> &'a [u8] {
    let (negated, mut rest) = match glob {
        [b'^', after @ ..] => (true, after),
        _ => (false, glob),
    };
    let mut members = String::new();
    loop {
        // The order of the arms is the server's: an escape before the closing bracket, and the
        // closing bracket before a range.
        rest = match rest {
            [] => break,
            [b'\\', escaped, after @ ..] => {
                push_byte(&mut members, *escaped);
                after
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [from, b'-', to, after @ ..] => {
                push_byte(&mut members, *from.min(to));
                members.push('-');
                push_byte(&mut members, *from.max(to));
                after
            }
            [byte, after @ ..] => {
                push_byte(&mut members, *byte);
                after
            }
        };
    }
    // An empty pair of brackets would be an error in a regular expression, hence the two cases
    // that are spelled differently.
    match (negated, members.is_empty()) {
        (false, true) => regex.push_str(r"[^\x00-\xff]"),
        (true, true) => regex.push('.'),
        (false, false) => regex.push_str(&format!("[{members}]")),
        (true, false) => regex.push_str(&format!("[^{members}]")),
    }
    rest
}

/// Hexadecimal for every byte: then no byte can mean anything to the regex crate.
fn push_byte(regex: &mut String, byte: u8) {
    regex.push_str(&format!("\\x{byte:02x}"));
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
    fn long_patterns_compile_and_hard_ones_stay_fast() {
        for glob in ["*a", "?*", "[^]*", "[^a]", "[]", "[z-a]*", "\\", "["] {
            let glob = glob.repeat(MAX_PATTERN_BYTES / glob.len());
            assert!(!matches(glob.as_bytes(), b""), "{glob}");
        }
        // A backtracking matcher would not finish this.
        let glob = "*a".repeat(MAX_PATTERN_BYTES / 2);
        let id = "a".repeat(255) + &"b".repeat(20_000);
        assert!(!matches(glob.as_bytes(), id.as_bytes()));
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
