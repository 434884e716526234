//! The harness against a real server without the module: what the other tests take for granted about it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use blocking_harness::{
    Ask, Fleet, Probe, Server, differing_keys, error_text, existing_keys, foreign_pair, info_field,
    load_foreign, redis, server_now_ms, wait_until,
};

fn plain() -> Result<Server> {
    Server::builder().module(false).start()
}

#[test]
fn a_dropped_server_leaves_neither_process_nor_folder() -> Result<()> {
    let server = plain()?;
    let (pid, dir) = (server.pid(), server.dir().to_owned());
    assert!(server.is_alive() && dir.exists());
    drop(server);
    assert!(!dir.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

#[test]
fn a_server_outlives_the_thread_that_started_it() -> Result<()> {
    let server = std::thread::spawn(plain).join().expect("no panic")?;
    std::thread::sleep(Duration::from_millis(50));
    let pong: String = redis::cmd("PING").query(&mut server.client()?)?;
    assert_eq!(pong, "PONG");
    Ok(())
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let started = Server::builder()
        .module(false)
        .arg("no-such-setting", "1")
        .start();
    let error = started.err().expect("an error").to_string();
    assert!(error.contains("no-such-setting"), "{error}");
}

#[test]
fn an_append_only_file_survives_kill_9() -> Result<()> {
    let server = Server::builder().module(false).aof(true).start()?;
    let () = redis::cmd("SET")
        .arg("a")
        .arg("1")
        .query(&mut server.client()?)?;
    let pid = server.pid();
    server.kill9()?;
    assert!(!server.is_alive());
    server.restart()?;
    assert_ne!(server.pid(), pid);
    let value: String = redis::cmd("GET").arg("a").query(&mut server.client()?)?;
    assert_eq!(value, "1");
    server.shutdown()?;
    assert!(!server.is_alive() && server.log().contains("ready to exit"));
    Ok(())
}

#[test]
fn a_given_configuration_is_read_and_a_copy_rewritten() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let given = folder.path().join("given.conf");
    std::fs::write(&given, "port 6379\nmaxclients 77\n")?;
    let server = Server::builder()
        .module(false)
        .config_file(&given)
        .arg("user", "alice on nopass ~* +ping")
        .start()?;
    let mut conn = server.client()?;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "hz", "20"])
        .query(&mut conn)?;
    let () = redis::cmd("CONFIG").arg("REWRITE").query(&mut conn)?;
    server.restart()?;
    let mut conn = server.client()?;
    let kept: Vec<String> = redis::cmd("CONFIG")
        .arg(&["GET", "maxclients"])
        .query(&mut conn)?;
    assert_eq!(kept, ["maxclients", "77"]);
    let kept: Vec<String> = redis::cmd("CONFIG").arg(&["GET", "hz"]).query(&mut conn)?;
    assert_eq!(kept, ["hz", "20"]);
    let () = redis::cmd("AUTH").arg(&["alice", "x"]).query(&mut conn)?;
    let denied = redis::cmd("GET").arg("a").query::<()>(&mut conn);
    assert!(error_text(&denied.expect_err("denied")).starts_with("NOPERM "));
    assert!(std::fs::read_to_string(&given)?.ends_with("maxclients 77\n"));
    Ok(())
}

#[test]
fn an_error_is_seen_as_it_went_over_the_wire() -> Result<()> {
    let mut conn = plain()?.client()?;
    let server = plain()?;
    assert!(redis::cmd("PING").query::<()>(&mut conn).is_err());
    let mut conn = server.client()?;
    let error = redis::cmd("NOPE").query::<()>(&mut conn).unwrap_err();
    assert_eq!(
        error_text(&error),
        "ERR unknown command 'NOPE', with args beginning with: "
    );
    // Connecting itself leaves no trace among the errors.
    let counted = info_field(&mut conn, "stats", "total_error_replies")?;
    assert_eq!(counted, "1");
    Ok(())
}

#[test]
fn a_replica_catches_up() -> Result<()> {
    let primary = plain()?;
    let replica = Server::builder()
        .module(false)
        .replica_of(&primary)
        .start()?;
    load_foreign(&mut primary.client()?, 3_000, |_| {})?;
    replica.wait_in_sync_with(&primary)?;
    let wrong = differing_keys(&mut replica.client()?, (0..3_000).map(foreign_pair))?;
    assert_eq!(wrong.len(), 0);
    Ok(())
}

#[test]
fn every_key_of_a_fleet_is_written_and_looked_at() -> Result<()> {
    let server = plain()?;
    let mut conn = server.client_db(3)?;
    let now_ms = server_now_ms(&mut conn)?;
    let fleet = Fleet::numbered("c", 500, now_ms).age_s(700);
    let mut written = 0;
    fleet.load(&mut conn, |keys| written += keys)?;
    assert_eq!(written, 3_000);
    let size: u64 = redis::cmd("DBSIZE").query(&mut conn)?;
    assert_eq!(size, 3_000);
    assert_eq!(existing_keys(&mut conn, fleet.keys())?.len(), 3_000);
    assert!(differing_keys(&mut conn, fleet.pairs())?.is_empty());

    let one = fleet.family_keys(7);
    let () = redis::cmd("UNLINK").arg(&one[0]).query(&mut conn)?;
    let () = redis::cmd("SET").arg(&one[1]).arg("x").query(&mut conn)?;
    assert_eq!(existing_keys(&mut conn, one.clone())?, one[1..]);
    assert_eq!(differing_keys(&mut conn, fleet.pairs())?, one[..2]);
    Ok(())
}

#[test]
fn a_probe_sees_a_stall_and_forgets_it_when_told() -> Result<()> {
    let server = plain()?;
    let mut probe = Probe::start(&server, Duration::from_millis(1), Ask::Set)?;
    let () = redis::cmd("DEBUG")
        .arg(&["SLEEP", "0.2"])
        .query(&mut server.client()?)?;
    let stalled = probe.take()?;
    assert!(stalled.max_us >= 150_000, "{stalled}");
    probe.mark()?;
    std::thread::sleep(Duration::from_millis(50));
    let calm = probe.finish()?;
    assert!(calm.count > 0 && calm.max_us < stalled.max_us, "{calm}");
    let size: u64 = redis::cmd("DBSIZE").query(&mut server.client()?)?;
    assert_eq!(size, 0);
    Ok(())
}

#[test]
fn a_probe_whose_server_is_gone_says_so() -> Result<()> {
    let server = plain()?;
    let mut probe = Probe::start(&server, Duration::from_millis(1), Ask::Ping)?;
    server.kill9()?;
    let error = wait_until("the probe to notice", Duration::from_secs(5), || {
        probe.take().err()
    })?;
    assert!(format!("{error:#}").contains("could not go on asking"));
    Ok(())
}
