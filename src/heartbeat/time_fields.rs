//! The value of `blocking.time-fields`: which fields of a heartbeat hold a time.

use crate::reply::error::BadSetting;

/// The fields of the writers that are known.
pub const DEFAULT: &str = "timestamp lastHeartbeat last_heartbeat";

/// The field that activity keys have.
const ACTIVITY: &str = "lastActivity";

/// More names, and longer ones, are refused: every field of every heartbeat is held against all.
pub const MAX_FIELDS: usize = 16;
pub const MAX_FIELD_BYTES: usize = 64;

/// Names of fields. One with a dot is also a way into an object: `stats.updatedAt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub all: Vec<String>,
    /// Whether one of them may be such a way.
    pub nested: bool,
}

impl Names {
    fn new(all: Vec<String>) -> Self {
        let nested = all.iter().any(|name| name.contains('.'));
        Self { all, nested }
    }

    /// Some fields of a hash as the text of a JSON object, as far as `most` bytes.
    pub fn json_of(&self, fields: &[(usize, Option<Vec<u8>>)], most: usize) -> Vec<u8> {
        let mut object = serde_json::Map::new();
        for (place, value) in fields {
            if let (Some(name), Some(value)) = (self.all.get(*place), value) {
                let text = String::from_utf8_lossy(value).into_owned();
                object.insert(name.clone(), text.into());
            }
        }
        let mut text = serde_json::Value::Object(object).to_string().into_bytes();
        text.truncate(most);
        text
    }
}

/// Which fields are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFields {
    /// Those of heartbeats.
    pub beats: Names,
    /// Those that say of any other key when it was written. The known ones always do, whatever heartbeats have: the
    /// more is heard, the younger a key can be.
    pub evidence: Names,
}

impl Default for TimeFields {
    fn default() -> Self {
        Self::new(DEFAULT.split(' ').map(str::to_owned).collect())
    }
}

impl TimeFields {
    fn new(beats: Vec<String>) -> Self {
        let mut evidence = beats.clone();
        for known in DEFAULT.split(' ').chain([ACTIVITY]) {
            if !evidence.iter().any(|name| name == known) {
                evidence.push(known.to_owned());
            }
        }
        Self {
            beats: Names::new(beats),
            evidence: Names::new(evidence),
        }
    }

    /// Reads names separated by spaces, at least one.
    pub fn parse(text: &[u8]) -> Result<Self, BadSetting> {
        let text = std::str::from_utf8(text).map_err(|_| BadSetting::TimeFields)?;
        // Some servers write quotes and backslashes into their configuration as they are.
        let is_refused = |c: char| matches!(c, '"' | '\'' | '\\') || c.is_control();
        let names: Vec<String> = text
            .split(' ')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let longest = names.iter().map(String::len).max().unwrap_or_default();
        let fits = (1..=MAX_FIELDS).contains(&names.len()) && longest <= MAX_FIELD_BYTES;
        if !fits || text.contains(is_refused) {
            return Err(BadSetting::TimeFields);
        }
        Ok(Self::new(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Vec<String>> {
        TimeFields::parse(text.as_bytes()).ok().map(|f| f.beats.all)
    }

    #[test]
    fn names_are_separated_by_spaces() {
        assert_eq!(
            TimeFields::parse(DEFAULT.as_bytes()),
            Ok(TimeFields::default())
        );
        assert_eq!(parsed("  a  b.c "), Some(vec!["a".into(), "b.c".into()]));
        assert_eq!(parsed("z\u{fc}letzt"), Some(vec!["z\u{fc}letzt".into()]));
        let most = vec!["a"; MAX_FIELDS].join(" ");
        assert_eq!(parsed(&most).map(|names| names.len()), Some(MAX_FIELDS));
        assert!(parsed(&"a".repeat(MAX_FIELD_BYTES)).is_some());
        for refused in [
            "",
            "   ",
            "\"a\"",
            "it's",
            "a\\b",
            "a\nb",
            "a\tb",
            &format!("{most} a"),
            &"a".repeat(MAX_FIELD_BYTES + 1),
        ] {
            assert_eq!(parsed(refused), None, "{refused:?}");
        }
        assert!(TimeFields::parse(b"\xff").is_err());
    }

    #[test]
    fn some_fields_of_a_hash_as_json() {
        let names = TimeFields::default().beats;
        let fields = [
            (1, Some(b"2026-11-30T18:12:00Z".to_vec())),
            (0, None),
            (2, Some(b"\"\xff".to_vec())),
            (9, Some(Vec::new())),
        ];
        let text = names.json_of(&fields, 1000);
        let expected =
            "{\"lastHeartbeat\":\"2026-11-30T18:12:00Z\",\"last_heartbeat\":\"\\\"\u{fffd}\"}";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert_eq!(names.json_of(&fields, 3), b"{\"l");
    }

    #[test]
    fn the_known_fields_are_always_evidence() {
        let fields = TimeFields::parse(b"beat timestamp").unwrap();
        assert_eq!(fields.beats.all, ["beat", "timestamp"]);
        let all = [
            "beat",
            "timestamp",
            "lastHeartbeat",
            "last_heartbeat",
            "lastActivity",
        ];
        assert_eq!(fields.evidence.all, all);
        assert!(!fields.evidence.nested);
        assert!(TimeFields::parse(b"stats.updatedAt").unwrap().beats.nested);
    }
}
