//! CONFIG GET, SET and REWRITE of every setting.

use anyhow::Result;
use blocking_harness::{Server, module_path, redis};

use super::{SETTINGS, all, get, refusal, set};

#[test]
fn every_setting_has_its_default_and_there_are_no_others() -> Result<()> {
    let server = Server::start()?;
    let mut conn = server.client()?;
    let expected = SETTINGS.map(|(name, default, ..)| (name.to_owned(), default));
    assert_eq!(all(&mut conn)?, expected.into());
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
    let values = SETTINGS.map(|(name, default, ..)| (name.to_owned(), default / 2));
    for (name, value) in &values {
        set(&mut conn, name, value)?;
    }
    redis::cmd("CONFIG").arg("REWRITE").query::<()>(&mut conn)?;
    set(&mut conn, "blocking.slice-us", 99)?;
    server.restart()?;
    assert_eq!(all(&mut server.client()?)?, values.into());
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
