//! CONFIG GET, SET and REWRITE of every setting.

use anyhow::Result;
use blocking_harness::{Server, module_path, redis};

use std::collections::BTreeMap;

use super::{SETTINGS, WORDS, all, get, refusal, set};

/// Every setting with a value chosen from its row.
fn every(
    number: impl Fn(i64, i64) -> i64,
    word: impl Fn(&'static str, &'static str) -> &'static str,
) -> BTreeMap<String, String> {
    let numbers = SETTINGS
        .iter()
        .map(|(name, default, min, _)| (*name, number(*default, *min).to_string()));
    let words = WORDS
        .iter()
        .map(|(name, default, other)| (*name, word(default, other).to_owned()));
    let both = numbers.chain(words);
    both.map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn every_setting_has_its_default_and_there_are_no_others() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let defaults = every(|default, _| default, |default, _| default);
    assert_eq!(all(&mut conn)?, defaults);
    Ok(())
}

#[test]
fn the_ends_of_a_range_are_taken_and_what_lies_beyond_is_refused_with_the_range() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for (name, _, min, max) in SETTINGS {
        for value in [max, min] {
            set(&mut conn, name, value)?;
            assert_eq!(get(&mut conn, name)?, value);
        }
        let range = format!("argument must be between {min} and {max} inclusive");
        for value in [min - 1, max + 1] {
            let error = refusal(&mut conn, name, &value.to_string())?;
            assert!(error.contains(&range), "{name} {value}: {error}");
            assert!(error.contains(name), "{name} {value}: {error}");
        }
        for value in ["", "abc", "1.5", "1 2", "99999999999999999999999"] {
            refusal(&mut conn, name, value)?;
        }
        assert_eq!(get(&mut conn, name)?, min, "{name} was left alone");
    }
    Ok(())
}

#[test]
fn sizes_may_carry_a_unit_and_other_settings_may_not() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    for (value, bytes) in [("64kb", 65_536), ("1gb", 1 << 30), ("1024gb", 1 << 40)] {
        set(&mut conn, "blocking.collect-max-bytes", value)?;
        assert_eq!(get(&mut conn, "blocking.collect-max-bytes")?, bytes);
    }
    set(&mut conn, "blocking.max-heartbeat-bytes", "16mb")?;
    assert_eq!(get(&mut conn, "blocking.max-heartbeat-bytes")?, 16 << 20);
    for name in ["blocking.threshold-seconds", "blocking.slice-us"] {
        refusal(&mut conn, name, "1kb")?;
    }
    Ok(())
}

#[test]
fn rewritten_values_survive_a_restart() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let values = every(|default, min| (default / 2).max(min + 1), |_, other| other);
    for (name, value) in &values {
        set(&mut conn, name, value)?;
    }
    redis::cmd("CONFIG").arg("REWRITE").query::<()>(&mut conn)?;
    set(&mut conn, "blocking.slice-us", 99)?;
    server.restart()?;
    assert_eq!(all(&mut server.client()?)?, values);
    // And once more: what was read from the file is written as it was.
    let mut conn = server.client()?;
    redis::cmd("CONFIG").arg("REWRITE").query::<()>(&mut conn)?;
    server.restart()?;
    assert_eq!(all(&mut server.client()?)?, values);
    Ok(())
}

#[test]
fn words_are_taken_and_others_refused_with_what_is_accepted() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let numbers = "one or more different numbers from 0 to 15, separated by spaces";
    let patterns = "at most 64 glob patterns of 1 to 512 bytes, separated by spaces, without double quotes, backslashes and NUL bytes";
    let (long, many) = ("a".repeat(513), "a ".repeat(65));
    let table: [(&str, &[&str], &[&str], &str); 4] = [
        (
            "dry-run",
            &["yes", "no", "YES"],
            &["", "1", "maybe"],
            "'yes' or 'no'",
        ),
        ("second-look", &["no", "yes"], &["0"], "'yes' or 'no'"),
        (
            "databases",
            &["15", "0 1 2", "  7   3 "],
            &[
                "",
                " ",
                "16",
                "-1",
                "01",
                "0,1",
                "1 1",
                "a",
                "0 99999999999",
            ],
            numbers,
        ),
        (
            "protect",
            &["*", " a  b ", "[", ""],
            &[&long, &many, "\"a\"", "a\\*", "\0 a", "a\0"],
            patterns,
        ),
    ];
    for (name, taken, refused, accepted) in table {
        let name = format!("blocking.{name}");
        for value in taken {
            set(&mut conn, &name, value)?;
            assert_eq!(all(&mut conn)?[&name], value.to_lowercase(), "{name}");
        }
        let last = all(&mut conn)?;
        for value in refused {
            let error = refusal(&mut conn, &name, value)?;
            assert!(error.contains(accepted), "{name} {value}: {error}");
            assert!(error.contains(&name), "{name} {value}: {error}");
        }
        assert_eq!(all(&mut conn)?, last, "{name} was left alone");
    }
    Ok(())
}

#[test]
fn a_text_that_is_taken_survives_a_rewrite_whatever_its_bytes() -> Result<()> {
    let texts: [(&str, &[u8]); 12] = [
        ("protect", b"\xff* \x01\n? '#$"),
        ("protect", b"\n"),
        ("protect", b"   "),
        ("protect", b"\0 deploy-*"),
        ("protect", b"a\0"),
        ("databases", b"0\0"),
        ("families", b"\0 heartbeat=a:{id}"),
        ("families", b"  heartbeat=#\xff\xfe:{id} "),
        ("time-fields", b"\0 a"),
        ("obituary-stream", b"\0a"),
        ("time-fields", b" #a "),
        ("obituary-stream", b" # \xff "),
    ];
    for (name, value) in texts {
        // A rewrite treats a setting that the file names already in another way.
        let server = Server::start()?;
        let mut conn = server.client()?;
        let name = format!("blocking.{name}");
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg(&name).arg(value);
        if command.query::<()>(&mut conn).is_err() {
            assert!(value.contains(&0), "{name} {value:?} is refused");
            continue;
        }
        redis::cmd("CONFIG").arg("REWRITE").query::<()>(&mut conn)?;
        server.restart()?;
        let mut conn = server.client()?;
        let shown: Vec<Vec<u8>> = redis::cmd("CONFIG").arg(&["GET", &name]).query(&mut conn)?;
        assert_eq!(shown[1], value, "{name}");
    }
    Ok(())
}

/// The server knows the databases of a node of a cluster better than its setting does.
#[test]
fn the_databases_of_the_server_are_counted() -> Result<()> {
    for (count, last) in [(1, "0"), (40, "39")] {
        let server = Server::builder().arg("databases", count).start()?;
        let mut conn = server.client()?;
        set(&mut conn, "blocking.databases", last)?;
        let error = refusal(&mut conn, "blocking.databases", &count.to_string())?;
        assert!(error.contains(&format!("from 0 to {last},")), "{error}");
    }
    let refused = Server::builder().arg("blocking.databases", 16).start();
    let error = format!("{:#}", refused.err().expect("the server started"));
    assert!(error.contains("numbers from 0 to 15"), "{error}");
    Ok(())
}

#[test]
fn without_a_rewrite_a_restart_brings_the_defaults_back() -> Result<()> {
    let server = Server::builder().arg("blocking.cpu-percent", 40).start()?;
    let mut conn = server.client()?;
    assert_eq!(get(&mut conn, "blocking.cpu-percent")?, 40);
    set(&mut conn, "blocking.cpu-percent", 41)?;
    set(&mut conn, "blocking.slice-us", 99)?;
    server.restart()?;
    let mut conn = server.client()?;
    assert_eq!(get(&mut conn, "blocking.cpu-percent")?, 40);
    assert_eq!(get(&mut conn, "blocking.slice-us")?, 250);
    Ok(())
}

#[test]
fn after_an_unload_a_rewrite_leaves_a_configuration_that_starts() -> Result<()> {
    let server = Server::builder().arg("blocking.slice-us", 300).start()?;
    let path = module_path(&mut server.client()?)?;
    let mut conn = server.client()?;
    redis::cmd("MODULE")
        .arg(&["UNLOAD", "blocking"])
        .query::<()>(&mut conn)?;
    redis::cmd("CONFIG").arg("REWRITE").query::<()>(&mut conn)?;
    server.restart()?;
    let mut conn = server.client()?;
    assert_eq!(all(&mut conn)?, [].into());
    // Loaded again it begins with the defaults.
    redis::cmd("MODULE")
        .arg(&["LOAD", &path])
        .query::<()>(&mut conn)?;
    assert_eq!(get(&mut conn, "blocking.slice-us")?, 250);
    Ok(())
}
