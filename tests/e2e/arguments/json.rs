//! JSON replies: what existing wrappers read, in order, and ids that are anything but plain text.

use anyhow::{Context, Result, bail};
use blocking_harness::redis::{Connection, Value};
use blocking_harness::{Server, dbsize};

use super::{OLD_MS, say, start_warm, write_pair};

const CLEANUP_NAMES: [&str; 22] = [
    "totalCoordinatorsChecked",
    "staleCoordinatorsFound",
    "keysDeleted",
    "executionTimeMs",
    "staleCoordinatorIds",
    "run",
    "status",
    "dryRun",
    "thresholdS",
    "keysScanned",
    "coordinatorsUnreadable",
    "coordinatorsRemoved",
    "coordinatorsRevived",
    "keysByFamily",
    "keysVetoed",
    "keysOrphaned",
    "orphansRemoved",
    "slices",
    "longestSliceUs",
    "busyUs",
    "elapsedUs",
    "summary",
];

/// An object with its fields in the order in which they were written: a map of serde_json would sort them.
struct Ordered(Vec<(String, serde_json::Value)>);

impl<'de> serde::Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> serde::de::Visitor<'de> for Fields {
            type Value = Ordered;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Ordered, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Ordered(fields))
            }
        }

        json.deserialize_map(Fields)
    }
}

impl Ordered {
    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn get(&self, name: &str) -> Result<&serde_json::Value> {
        let field = self.0.iter().find(|(field, _)| field == name);
        field
            .map(|(_, value)| value)
            .with_context(|| format!("no {name}"))
    }

    fn object(&self, name: &str) -> Result<Ordered> {
        Ok(serde_json::from_value(self.get(name)?.clone())?)
    }
}

/// Sends a command that must answer with one bulk string.
fn bulk(conn: &mut Connection, line: &str) -> Result<Vec<u8>> {
    match say(conn, line)? {
        Value::BulkString(bytes) => Ok(bytes),
        other => bail!("{line} gave {other:?}"),
    }
}

fn object(conn: &mut Connection, line: &str) -> Result<Ordered> {
    Ok(serde_json::from_slice(&bulk(conn, line)?)?)
}

/// The bytes of an id shown in JSON, by docs/commands.md#ids-that-are-not-utf-8: `\\` is a backslash, `\xNN` a byte.
fn original(shown: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = shown.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?);
                tail
            }
            (b'\\', _) => bail!("a lone backslash in {shown}"),
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    Ok(bytes)
}

#[test]
fn cleanup_gives_wrapper_names_first_and_every_field_once() -> Result<()> {
    let server = start_warm()?;
    for mut conn in [server.client()?, server.client3()?] {
        write_pair(&mut conn, b"dead", OLD_MS)?;
        let text = String::from_utf8(bulk(&mut conn, "BLOCKING.CLEANUP JSON")?)?;
        assert!(!text.contains('\n'), "{text}");
        let reply: Ordered = serde_json::from_str(&text)?;
        assert_eq!(reply.names(), CLEANUP_NAMES);
        for (name, expected) in [
            ("totalCoordinatorsChecked", 1),
            ("staleCoordinatorsFound", 1),
            ("keysDeleted", 2),
            ("thresholdS", 600),
            ("keysScanned", 2),
            ("coordinatorsUnreadable", 0),
            ("coordinatorsRemoved", 1),
            ("coordinatorsRevived", 0),
            ("keysVetoed", 0),
            ("keysOrphaned", 0),
            ("orphansRemoved", 0),
        ] {
            assert_eq!(reply.get(name)?, expected, "{name}");
        }
        assert_eq!(reply.get("dryRun")?, false);
        assert_eq!(reply.get("status")?, "complete");
        assert_eq!(
            reply.get("staleCoordinatorIds")?,
            &serde_json::json!(["dead"])
        );
        let families = r#""keysByFamily":{"heartbeat":1,"signal":1,"ack":0,"idempotency":0,"activity":0,"state":0}"#;
        assert!(text.contains(families), "{text}");
        let elapsed_us = reply.get("elapsedUs")?.as_u64().context("elapsedUs")?;
        assert_eq!(reply.get("executionTimeMs")?, elapsed_us / 1000);
    }
    Ok(())
}

#[test]
fn a_cancelled_run_gives_its_reason_last() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for line in ["MULTI", "BLOCKING.CLEANUP ASYNC", "BLOCKING.CANCEL", "EXEC"] {
        say(&mut conn, line)?;
    }
    super::waiting::wait_until_idle(&mut conn)?;
    let last = object(&mut conn, "BLOCKING.STATUS JSON")?.object("last")?;
    assert_eq!(last.get("status")?, "cancelled");
    assert_eq!(last.get("reason")?, "cancelled by BLOCKING.CANCEL");
    Ok(())
}

#[test]
fn status_has_the_same_shape_before_and_after_a_run() -> Result<()> {
    let server = start_warm()?;
    let mut conn = server.client()?;
    let names = ["state", "current", "last", "totals", "schedule"];
    let totals = [
        "runs",
        "dryRuns",
        "runsComplete",
        "runsLimited",
        "runsCancelled",
        "runsTruncated",
        "runsInterrupted",
        "runsRefused",
        "keysScanned",
        "coordinatorsRemoved",
        "coordinatorsRevived",
        "keysRemoved",
        "slices",
        "overruns",
        "longestSliceUs",
        "busyUs",
        "orphansRemoved",
        "longSlices",
        "longPreempted",
        "longCalls",
        "longestScanUs",
        "longestReadUs",
        "longestUnlinkUs",
        "runsPartial",
    ];
    let before = bulk(&mut conn, "BLOCKING.STATUS JSON")?;
    let schedule = r#""intervalS":0,"databases":[0],"dryRun":false,"nextRunS":null,"warmUpLeftS":0,"writersAwayS":0,"writesRefused":null,"runs":0,"skipped":0,"breakersOpen":[]"#;
    let zeros: Vec<String> = totals.iter().map(|name| format!(r#""{name}":0"#)).collect();
    let expected = format!(
        r#"{{"state":"idle","current":null,"last":null,"totals":{{{}}},"schedule":{{{schedule}}}}}"#,
        zeros.join(",")
    );
    assert_eq!(String::from_utf8(before)?, expected);

    write_pair(&mut conn, b"dead", OLD_MS)?;
    let reply = bulk(&mut conn, "BLOCKING.CLEANUP JSON")?;
    let after = String::from_utf8(bulk(&mut conn, "BLOCKING.STATUS JSON")?)?;
    let parsed: Ordered = serde_json::from_str(&after)?;
    assert_eq!(parsed.names(), names);
    // The last result is the reply itself, byte for byte.
    let start = r#"{"state":"idle","current":null,"last":"#;
    let last = format!("{start}{},", String::from_utf8(reply)?);
    assert!(after.starts_with(&last), "{after}");
    assert_eq!(parsed.get("totals")?["runs"], 1);
    assert_eq!(parsed.get("totals")?["keysRemoved"], 2);
    Ok(())
}

#[test]
fn ids_of_any_bytes_survive() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let table: [(&[u8], &str); 9] = [
        (b"plain", "plain"),
        (br#"say "hi""#, r#"say "hi""#),
        (br"c:\temp", r"c:\\temp"),
        (br"\xff", r"\\xff"),
        (b"\xff", r"\xff"),
        (b"nul\0tab\tend", "nul\0tab\tend"),
        (b"cut \xe2\x82", r"cut \xe2\x82"),
        ("Zoë €".as_bytes(), "Zoë €"),
        (b"line\r\nbreak", "line\r\nbreak"),
    ];
    // One second apart, so that the order is known.
    for ((id, _), beat_ms) in table.iter().zip((OLD_MS..).step_by(1000)) {
        write_pair(&mut conn, id, beat_ms)?;
    }
    let reply = object(&mut conn, "BLOCKING.CLEANUP JSON")?;
    let shown: Vec<String> = serde_json::from_value(reply.get("staleCoordinatorIds")?.clone())?;
    let expected: Vec<&str> = table.iter().map(|(_, shown)| *shown).collect();
    assert_eq!(shown, expected);
    for ((id, _), shown) in table.iter().zip(&shown) {
        assert_eq!(original(shown)?, *id, "{shown}");
    }
    assert_eq!(dbsize(&mut conn)?, 0);
    // Outside of JSON ids are the bytes they are.
    write_pair(&mut conn, b"\xff\0\"", OLD_MS)?;
    let reply = blocking_harness::cleanup(&mut conn, &[])?;
    assert_eq!(reply.list("stale_ids")?, [b"\xff\0\""]);
    Ok(())
}
