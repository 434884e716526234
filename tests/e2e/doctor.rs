//! BLOCKING.DOCTOR: each finding is there with its numbers when its cause is, and is not when it is not.

/// Each cause, one by one, on a server that is otherwise without a fault.
mod causes;
/// Many keys, large keys, little memory, and an end in the middle.
mod sizes;
/// What it sees, and where: replicas, users, layouts, databases, nodes.
mod views;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, Connection, cmd};
use blocking_harness::{Fleet, Server, cleanup, command, digest, error_text, server_now_ms};

/// A server that has been there for long: in the warm-up, that would be told first.
fn start() -> Result<Server> {
    Server::builder().arg("blocking.warm-up-seconds", 0).start()
}

/// The answer in sentences.
fn lines(conn: &mut Connection) -> Result<Vec<String>> {
    Ok(cmd("BLOCKING.DOCTOR").query(conn)?)
}

/// The answer as JSON, in which every number of a sentence is a number.
fn json(conn: &mut Connection) -> Result<serde_json::Value> {
    let text: Vec<u8> = cmd("BLOCKING.DOCTOR").arg("JSON").query(conn)?;
    let json: serde_json::Value = serde_json::from_slice(&text)?;
    for finding in findings(&json)? {
        let mut known = BTreeSet::new();
        leaves(finding, &mut known);
        for name in ["finding", "advice"] {
            let sentence = finding[name].as_str().context("no sentence")?;
            let plain: Vec<&str> = sentence.split('\'').step_by(2).collect();
            let plain = plain.join("_");
            let digits = plain.split(|c: char| !c.is_ascii_digit());
            for number in digits.filter(|word| !word.is_empty()) {
                ensure!(known.contains(&number.parse()?), "{number} in {finding:#}");
            }
        }
    }
    Ok(json)
}

fn leaves(json: &serde_json::Value, out: &mut BTreeSet<i64>) {
    match json {
        serde_json::Value::Number(number) => out.extend(number.as_i64()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        serde_json::Value::Object(fields) => fields.values().for_each(|item| leaves(item, out)),
        _ => {}
    }
}

fn findings(json: &serde_json::Value) -> Result<&Vec<serde_json::Value>> {
    json["findings"].as_array().context("no findings")
}

fn codes(json: &serde_json::Value) -> Result<Vec<String>> {
    let code = |finding: &serde_json::Value| finding["code"].as_str().map(str::to_owned);
    findings(json)?
        .iter()
        .map(|finding| code(finding).context("no code"))
        .collect()
}

/// The finding with this code.
fn finding<'j>(json: &'j serde_json::Value, code: &str) -> Result<&'j serde_json::Value> {
    let mut all = findings(json)?.iter();
    let found = all.find(|finding| finding["code"] == code);
    found.with_context(|| format!("no {code} in {json:#}"))
}

fn set(conn: &mut Connection, key: &str, value: &str, options: &[&str]) -> Result<()> {
    let () = cmd("SET").arg(key).arg(value).arg(options).query(conn)?;
    Ok(())
}

/// A heartbeat of this age that lasts so long after its beat; 0 for ever.
fn beat(conn: &mut Connection, key: &str, age_s: i64, life_s: i64) -> Result<()> {
    let beat_ms = server_now_ms(conn)? - age_s * 1000;
    let value = format!(r#"{{"lastHeartbeat":{beat_ms}}}"#);
    let expires = (beat_ms + life_s * 1000).to_string();
    match life_s {
        0 => set(conn, key, &value, &[]),
        _ => set(conn, key, &value, &["PXAT", &expires]),
    }
}

fn config(conn: &mut Connection, pairs: &[&str]) -> Result<()> {
    let () = cmd("CONFIG").arg("SET").arg(pairs).query(conn)?;
    Ok(())
}

/// A fleet as the real writer leaves it: heartbeats for 300 s, signals and idempotency for a day, acks for an hour. Of
/// the dead there is everything but the heartbeat.
fn write_real_fleet(conn: &mut Connection, live: usize, dead: usize) -> Result<()> {
    let now_ms = server_now_ms(conn)?;
    for n in 0..live + dead {
        let id = format!("coordinator-{n:03}");
        let next = format!("coordinator-{:03}", n + 1);
        if n < live {
            beat(conn, &format!("blocking:heartbeat:{id}"), 3, 300)?;
        }
        let day = ["EX", "86400"];
        set(conn, &format!("blocking:signal:{id}"), "{}", &day)?;
        set(
            conn,
            &format!("blocking:ack:{id}:s1"),
            "{}",
            &["EX", "3600"],
        )?;
        let message = format!("blocking:idempotency:{id}:{next}:completion:1:{now_ms}");
        set(conn, &message, "1", &day)?;
    }
    Ok(())
}

#[test]
fn on_day_one_the_first_sentence_says_why_nothing_becomes_stale() -> Result<()> {
    let server = start()?;
    write_real_fleet(&mut server.client()?, 40, 0)?;
    for mut conn in [server.client()?, server.client3()?] {
        let before = digest(&mut conn)?;
        let told = lines(&mut conn)?;
        assert_eq!(
            told[0],
            "problem: all 40 heartbeats expire (300 s) before the 600 s threshold, so none can become stale. Keys \
             left behind become orphans: remove them with BLOCKING.CLEANUP ORPHANS, or by the schedule with \
             blocking.orphan-grace-seconds; or give heartbeats a TTL well above 600 s."
        );
        ensure!(
            told[1].starts_with("warning: the schedule is off: "),
            "{told:#?}"
        );
        assert_eq!(digest(&mut conn)?, before, "a query changed something");
    }
    let mut conn = server.client()?;
    let never = finding(&json(&mut conn)?, "never-stale")?.clone();
    for (name, expected) in [
        ("heartbeats", 40),
        ("neverStale", 40),
        ("thresholdS", 600),
        ("lifeMinS", 300),
        ("lifeMaxS", 300),
        ("lifeUsualS", 300),
    ] {
        assert_eq!(never[name], expected, "{name}");
    }
    // A day later: most are gone, and orphans are all that is left of them.
    write_real_fleet(&mut conn, 40, 25)?;
    let json = json(&mut conn)?;
    assert_eq!(codes(&json)?[0], "never-stale");
    let orphans = finding(&json, "orphans")?;
    // The first message of the dead names the last that lives.
    assert_eq!(orphans["families"]["signal"]["keys"], 25);
    assert_eq!(orphans["families"]["ack"]["keys"], 25);
    assert_eq!(orphans["families"]["idempotency"]["keys"], 25);
    Ok(())
}

#[test]
fn an_empty_database_is_named() -> Result<()> {
    let server = start()?;
    let mut conn = server.client_db(5)?;
    let told = lines(&mut conn)?;
    let expected = "problem: found no coordinators among 0 keys of database 5: there is no heartbeat. Check the \
                    database number and the templates in blocking.families.";
    assert_eq!(told[0], expected);
    set(&mut conn, "session:1", "x", &[])?;
    set(&mut conn, "blocking:signal:ghost", "x", &[])?;
    let json = json(&mut conn)?;
    let none = finding(&json, "no-coordinators")?;
    assert_eq!(
        (&none["keys"], &none["inDatabase"], &none["orphans"]),
        (&2.into(), &5.into(), &1.into())
    );
    assert_eq!(json["database"], 5);
    assert_eq!(json["keysScanned"], 2);
    Ok(())
}

#[test]
fn the_most_serious_comes_first_and_json_says_the_same() -> Result<()> {
    let server = start()?;
    let mut conn = server.client()?;
    beat(&mut conn, "blocking:heartbeat:a", 5_000, 0)?;
    beat(&mut conn, "blocking:heartbeat:a:\u{e9}\\'\r\n", 10, 300)?;
    set(&mut conn, "blocking:heartbeat:mute", "{}", &[])?;
    set(&mut conn, "blocking:signal:ghost", "x", &[])?;
    set(&mut conn, "blocking:beat:1", "x", &[])?;
    let (told, json) = (lines(&mut conn)?, json(&mut conn)?);
    let expected = [
        "unreadable",
        "never-stale",
        "schedule-off",
        "orphans",
        "ambiguous-ids",
        "unknown-names",
        "no-ttl",
        "found",
        "cleanup",
        "time-fields",
        "colon-ids",
    ];
    assert_eq!(codes(&json)?, expected);
    let text = |finding: &serde_json::Value, name: &str| -> Result<String> {
        // Every backslash is doubled in JSON.
        let text = finding[name].as_str().context("no text")?;
        Ok(text.replace("\\\\", "\\"))
    };
    for (line, finding) in told.iter().zip(findings(&json)?) {
        let [severity, found, advice] = ["severity", "finding", "advice"].map(|n| text(finding, n));
        assert_eq!(*line, format!("{}: {}. {}.", severity?, found?, advice?));
        ensure!(
            line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line}"
        );
    }
    // Escaped as everywhere in a sentence, and whole in JSON.
    let ambiguous = finding(&json, "ambiguous-ids")?;
    ensure!(
        text(ambiguous, "finding")?
            .contains("such as 'a:\\xc3\\xa9\\x5c\\x27\\x0d\\x0a' with 'a':"),
        "{ambiguous:#}"
    );
    assert_eq!(ambiguous["example"], "a:\u{e9}\\\\'\r\n");
    let names: Vec<&String> = json.as_object().context("no object")?.keys().collect();
    let cost = ["slices", "longestSliceUs", "busyUs", "elapsedUs"];
    let first = ["findings", "database", "thresholdS", "keysScanned"];
    let expected: BTreeSet<&str> = first.into_iter().chain(cost).collect();
    assert_eq!(
        names
            .into_iter()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        expected
    );
    Ok(())
}

/// What it says of cleanups is what dry runs say.
#[test]
fn cleanups_are_foretold_exactly() -> Result<()> {
    let server = start()?;
    let mut conn = server.client()?;
    let now_ms = server_now_ms(&mut conn)?;
    for (prefix, count, age_s) in [
        ("a", 7, 400),
        ("b", 5, 700),
        ("c", 4, 1_000),
        ("d", 3, 90_000),
        ("e", 6, 5),
    ] {
        Fleet::numbered(prefix, count, now_ms)
            .age_s(age_s)
            .load(&mut conn, |_| ())?;
    }
    let ids: Vec<String> = Fleet::numbered("e", 1, now_ms).ids().to_vec();
    let dead = Fleet::numbered("d", 1, now_ms).ids().to_vec();
    // A message between a living one and a dead one.
    let message = format!(
        "blocking:idempotency:{}:{}:completion:1:{now_ms}",
        dead[0], ids[0]
    );
    set(&mut conn, &message, "1", &[])?;
    for own_s in [600, 800] {
        config(
            &mut conn,
            &["blocking.threshold-seconds", &own_s.to_string()],
        )?;
        let json = json(&mut conn)?;
        let told = finding(&json, "cleanup")?["thresholds"]
            .as_array()
            .context("no array")?
            .clone();
        let mut thresholds = vec![300, 600, 900, 3600, own_s];
        thresholds.sort_unstable();
        thresholds.dedup();
        assert_eq!(told.len(), thresholds.len(), "{told:#?}");
        for (told, threshold_s) in told.iter().zip(thresholds) {
            let reply = cleanup(
                &mut conn,
                &["DRYRUN", "THRESHOLD", &threshold_s.to_string()],
            )?;
            assert_eq!(told["thresholdS"], threshold_s);
            for (name, field) in [
                ("coordinatorsStale", "coordinators_stale"),
                ("coordinatorsRemoved", "coordinators_removed"),
                ("keysRemoved", "keys_removed"),
                ("keysVetoed", "keys_vetoed"),
            ] {
                assert_eq!(told[name], reply.int(field)?, "{threshold_s} {name}");
            }
        }
        let mut all = told.iter();
        let at_600 = all
            .find(|told| told["thresholdS"] == 600)
            .context("no 600")?;
        assert_eq!(
            (&at_600["coordinatorsRemoved"], &at_600["keysVetoed"]),
            (&12.into(), &1.into())
        );
    }
    Ok(())
}

#[test]
fn what_cannot_be_asked() -> Result<()> {
    let server = start()?;
    let mut conn = server.client()?;
    let table: [(&[&str], &str); 3] = [
        (
            &["THRESHOLD", "5"],
            "ERR unknown option 'THRESHOLD' for BLOCKING.DOCTOR; accepted is JSON",
        ),
        (
            &["\u{e9}"],
            "ERR unknown option '\\xc3\\xa9' for BLOCKING.DOCTOR; accepted is JSON",
        ),
        (
            &["JSON", "json"],
            "ERR JSON is given more than once; each option is accepted at most once",
        ),
    ];
    for (args, text) in table {
        let error = command(&mut conn, "BLOCKING.DOCTOR", args).unwrap_err();
        assert_eq!(error_text(&error), text, "{args:?}");
    }
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("BLOCKING.DOCTOR").arg("JSON");
    let error = pipe
        .query::<redis::Value>(&mut conn)
        .unwrap_err()
        .to_string();
    let text = "BLOCKING.DOCTOR cannot wait inside MULTI; call it outside of MULTI";
    ensure!(error.contains(text), "{error}");
    let status = command(&mut conn, "BLOCKING.STATUS", &[])?;
    assert_eq!(status.text("state")?, "idle");
    Ok(())
}
