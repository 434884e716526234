//! Ids whose keys are never removed, whatever their heartbeats say: `blocking.protect`.
//!
//! Bytes only. Which coordinators and keys are spared follows from here; the plan spares them.

use crate::keys::layout::Layout;
use crate::keys::pattern::{MAX_PATTERN_BYTES, Pattern, Steps};
use crate::keys::reading::SegmentCounts;
use crate::reply::error::BadSetting;

/// More patterns than this are refused: each key that would go is held against all of them.
pub const MAX_PATTERNS: usize = 64;

/// While anything is protected, a key with a longer name, or with more segments, is kept unread: its possible owners
/// are too many, or too long, to be looked at one by one.
const MAX_NAME_BYTES: usize = 4096;
const MAX_SEGMENTS: usize = 32;
/// The same for a name, or an id, that takes longer to be held against the patterns; about a millisecond.
const MAX_STEPS: usize = 1 << 20;

/// Glob patterns, ready to match.
#[derive(Debug, Clone, Default)]
pub struct Protected(Vec<Pattern>);

impl Protected {
    /// Reads patterns separated by spaces; none at all protect nothing. The rules of a pattern are those of MATCH,
    /// without a way to escape: Valkey 8.1.1 writes quotes and backslashes into its configuration as they are, which
    /// then means something else or keeps it from starting. CONFIG REWRITE reads texts up to their first NUL byte
    /// only, and leaves out one that begins with it.
    pub fn parse(text: &[u8]) -> Result<Self, BadSetting> {
        let words = text.split(|byte| *byte == b' ');
        let patterns: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
        let longest = patterns.iter().map(|p| p.len()).max().unwrap_or_default();
        let written_wrongly = memchr::memchr3(b'"', b'\\', 0, text).is_some();
        if patterns.len() > MAX_PATTERNS || longest > MAX_PATTERN_BYTES || written_wrongly {
            return Err(BadSetting::Protect);
        }
        let patterns = patterns.into_iter().map(Pattern::new);
        let patterns = patterns.collect::<Result<_, _>>();
        patterns.map(Self).map_err(|_| BadSetting::Protect)
    }

    /// Number of patterns.
    pub fn patterns(&self) -> usize {
        self.0.len()
    }

    /// Whether no key of this id may be removed.
    pub fn matches(&self, id: &[u8]) -> bool {
        self.matches_within(id, &mut Steps::up_to(MAX_STEPS))
    }

    /// What cannot be decided in so many steps is protected.
    fn matches_within(&self, id: &[u8], steps: &mut Steps) -> bool {
        let mut patterns = self.0.iter();
        patterns.any(|pattern| pattern.matches_within(id, steps).unwrap_or(true))
    }

    /// Whether the key `name` could belong to a protected id, in whatever way it is read, be there a heartbeat of
    /// that id or not.
    pub fn covers(&self, name: &[u8], layout: &Layout) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let segments = memchr::memchr_iter(b':', name).count().saturating_add(1);
        if name.len() > MAX_NAME_BYTES || segments > MAX_SEGMENTS {
            return true;
        }
        let mut covered = false;
        let mut steps = Steps::up_to(MAX_STEPS);
        layout.readings(name, &SegmentCounts::up_to(segments), &mut |reading| {
            covered = self.matches_within(reading.id_of(name), &mut steps);
            !covered
        });
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(text: &str) -> Protected {
        Protected::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn ids_are_held_against_every_pattern() {
        let some = protected("  build-?  deploy:* [*] ");
        assert_eq!(some.patterns(), 3);
        for id in ["build-1", "deploy:", "deploy:a:b", "*"] {
            assert!(some.matches(id.as_bytes()), "{id}");
        }
        for id in ["build-10", "xbuild-1", "deploy", "a", ""] {
            assert!(!some.matches(id.as_bytes()), "{id}");
        }
        for none in ["", "   "] {
            assert_eq!(protected(none).patterns(), 0);
            assert!(!protected(none).matches(b"a"));
            assert!(!protected(none).covers(b"blocking:signal:a", &Layout::default()));
        }
        let binary = Protected::parse(b"\xff*").unwrap();
        assert!(binary.matches(b"\xff\x00") && !binary.matches(b"\xfe"));
    }

    #[test]
    fn a_key_is_covered_if_any_reading_of_it_is_protected() {
        let some = protected("a a:b");
        for key in [
            "blocking:heartbeat:a",
            "swarm:s:blocking:heartbeat:a:b",
            "blocking:signal:a",
            "blocking:ack:a:s1",
            "blocking:ack:a:b:s1",
            "blocking:idempotency:x:a:done:1:2",
            "blocking:idempotency:x:a:b",
            "coordinator:activity:a",
            "swarm:s:agent:a:activity",
            "swarm:s:blocking:a",
        ] {
            assert!(some.covers(key.as_bytes(), &Layout::default()), "{key}");
        }
        for key in [
            "blocking:signal:aa",
            "blocking:signal:a:c",
            "blocking:ack:b:a",
            "blocking:idempotency:x:b",
            "swarm:a:blocking:b",
            "session:a",
        ] {
            assert!(!some.covers(key.as_bytes(), &Layout::default()), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_looked_at_in_short_time_is_kept() {
        let long = [b"blocking:signal:".as_slice(), &[b'x'; MAX_NAME_BYTES]].concat();
        let many = format!("blocking:idempotency:{}", "x:".repeat(MAX_SEGMENTS));
        for key in [long.as_slice(), many.as_bytes()] {
            assert!(protected("nobody").covers(key, &Layout::default()));
            assert!(!protected("").covers(key, &Layout::default()));
        }
        // Each reading of the key fits each pattern but for its last byte.
        let hard = vec![format!("*a{}*z*", "?".repeat(100)); MAX_PATTERNS].join(" ");
        let segments = vec!["a".repeat(120); MAX_SEGMENTS - 2].join(":");
        let key = format!("blocking:idempotency:{segments}");
        assert!(protected(&hard).covers(key.as_bytes(), &Layout::default()));
        let few = format!("*a{}*z*", "?".repeat(100));
        assert!(!protected(&few).covers(key.as_bytes(), &Layout::default()));
        let id = vec![b'a'; 256 * 1024];
        assert!(protected(&hard).matches(&id) && !protected(&few).matches(&id));
    }

    #[test]
    fn too_many_too_long_and_unwritable_patterns_are_refused() {
        let most = vec!["a"; MAX_PATTERNS].join(" ");
        assert_eq!(protected(&most).patterns(), MAX_PATTERNS);
        let longest = "a".repeat(MAX_PATTERN_BYTES);
        assert!(protected(&longest).matches(longest.as_bytes()));
        for text in [
            format!("{most} a"),
            format!("{longest}a"),
            "\"a\"".into(),
            "a\\*".into(),
            "a\0".into(),
        ] {
            assert!(Protected::parse(text.as_bytes()).is_err());
        }
    }

    /// 64 patterns of 512 bytes are accepted; the expression they make must fit its limits.
    #[test]
    fn the_largest_value_compiles() {
        let worst = "[^a-z]?*".repeat(MAX_PATTERN_BYTES / 8);
        let text = vec![worst.as_str(); MAX_PATTERNS].join(" ");
        assert_eq!(protected(&text).patterns(), MAX_PATTERNS);
    }
}
