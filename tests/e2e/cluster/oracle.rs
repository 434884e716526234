//! Three primaries beside one server with the same keys: what a run on each of the three removes is some of what
//! one server removes, and leads to nothing that stays. Where ids have the hash tag of their partners, it is all of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{Connection, cmd, pipe};
use blocking_harness::{Cluster, Server, cleanup, seed, server_now_ms};

const COORDINATORS: usize = 120;

const ORPHANS: [&str; 2] = ["ORPHANS", "600"];

/// Where braces stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tags {
    None,
    /// Each id has one of its own.
    Own,
    /// An id has that of its partners.
    Shared,
}

/// How a coordinator beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beats {
    Never,
    Alone,
    InSwarm,
    Both,
}

struct Coordinator {
    id: String,
    beats: Beats,
    is_alive: bool,
}

/// Keys and values, the same for the same seed.
fn world(tags: Tags, now_ms: i64) -> Result<Vec<(String, String)>> {
    let mut random = fastrand::Rng::with_seed(seed()?);
    let all: Vec<Coordinator> = (0..COORDINATORS)
        .map(|n| Coordinator {
            id: match tags {
                Tags::None => format!("c-{n}"),
                Tags::Own => format!("{{c-{n}}}"),
                Tags::Shared => format!("{{g-{}}}c-{n}", n % 12),
            },
            beats: [Beats::Never, Beats::Alone, Beats::InSwarm, Beats::Both][random.usize(..4)],
            is_alive: random.usize(..5) < 2,
        })
        .collect();
    let mut keys = Vec::new();
    for (n, coordinator) in all.iter().enumerate() {
        let Coordinator {
            id,
            beats,
            is_alive,
        } = coordinator;
        let ms = now_ms - if *is_alive { 1_000 } else { 9_000_000 };
        let value = format!(r#"{{"timestamp":{ms}}}"#);
        // Of its own group, where there are groups.
        let partner = &all[(n + 12 * (1 + random.usize(..9))) % COORDINATORS].id;
        let mut names = vec![
            format!("blocking:signal:{id}"),
            format!("blocking:ack:{id}:s-{n}"),
            format!("blocking:idempotency:{id}:init"),
            format!("blocking:idempotency:op1:{id}"),
            format!("blocking:idempotency:{id}:{partner}:completion:1:{ms}"),
            format!("coordinator:activity:{id}"),
            format!("swarm:s-1:agent:{id}:activity"),
            format!("swarm:s-1:blocking:{id}"),
        ];
        if matches!(beats, Beats::Alone | Beats::Both) {
            names.push(format!("blocking:heartbeat:{id}"));
        }
        if matches!(beats, Beats::InSwarm | Beats::Both) {
            names.push(format!("swarm:s-1:blocking:heartbeat:{id}"));
        }
        keys.extend(names.into_iter().map(|name| (name, value.clone())));
    }
    Ok(keys)
}

fn load<'k>(
    conn: &mut Connection,
    keys: impl IntoIterator<Item = &'k (String, String)>,
) -> Result<()> {
    let mut all = pipe();
    for (key, value) in keys {
        all.set(key, value).ignore();
    }
    Ok(all.query(conn)?)
}

fn all_keys(conn: &mut Connection) -> Result<BTreeSet<String>> {
    Ok(cmd("KEYS").arg("*").query(conn)?)
}

/// What is there after runs of this kind on every server, and the statuses.
fn cleaned(servers: &[Server], options: &[&str]) -> Result<(BTreeSet<String>, Vec<String>)> {
    let (mut left, mut statuses) = (BTreeSet::new(), Vec::new());
    for server in servers {
        let mut conn = server.client()?;
        let before = all_keys(&mut conn)?.len() as i64;
        let dry = cleanup(&mut conn, &[&["DRYRUN"], options].concat())?;
        let reply = cleanup(&mut conn, options)?;
        for count in ["keys_removed", "keys_vetoed", "keys_orphaned"] {
            ensure!(dry.int(count)? == reply.int(count)?, "{dry:?} {reply:?}");
        }
        ensure!(dry.int("keys_elsewhere").ok() == reply.int("keys_elsewhere").ok());
        let now = all_keys(&mut conn)?;
        ensure!(now.len() as i64 == before - reply.int("keys_removed")?);
        // A second run finds nothing that the first one left.
        let again = cleanup(&mut conn, options)?;
        ensure!(again.int("keys_removed")? == 0, "{again:?}");
        let elsewhere = reply.int("keys_elsewhere").unwrap_or_default();
        let is_partial = reply.text("status")? == "partial";
        ensure!(is_partial == (elsewhere > 0), "{reply:?}");
        statuses.push(reply.text("status")?);
        left.extend(now);
    }
    Ok((left, statuses))
}

struct Outcome {
    /// Removed by one server, and by the three.
    one: BTreeSet<String>,
    three: BTreeSet<String>,
    statuses: Vec<String>,
}

fn compare(tags: Tags, word: &str, options: &[&str]) -> Result<Outcome> {
    let builder = Server::builder().arg("blocking.cluster-tags", word);
    let cluster = Cluster::start(&builder, 3)?;
    let one = [Server::start()?];
    let mut conn = one[0].client()?;
    let keys = world(tags, server_now_ms(&mut conn)?)?;
    load(&mut conn, &keys)?;
    let mut by_node: BTreeMap<u16, Vec<&(String, String)>> = BTreeMap::new();
    for key in &keys {
        let port = cluster.owner_of(&key.0)?.port();
        by_node.entry(port).or_default().push(key);
    }
    for node in cluster.nodes() {
        let keys = by_node.remove(&node.port()).context("no keys")?;
        load(&mut node.client()?, keys)?;
    }
    let names: BTreeSet<String> = keys.into_iter().map(|(name, _)| name).collect();
    let (left_by_one, _) = cleaned(&one, options)?;
    let (left_by_three, statuses) = cleaned(cluster.nodes(), options)?;
    let outcome = Outcome {
        one: &names - &left_by_one,
        three: &names - &left_by_three,
        statuses,
    };
    let lost: Vec<&String> = outcome.three.difference(&outcome.one).collect();
    ensure!(lost.is_empty(), "one server keeps these: {lost:?}");
    ensure!(outcome.one.len() > names.len() / 4, "{}", outcome.one.len());
    Ok(outcome)
}

#[test]
fn where_a_swarm_may_decide_the_slot_nothing_goes() -> Result<()> {
    for tags in [Tags::None, Tags::Own, Tags::Shared] {
        let outcome = compare(tags, "unknown", &ORPHANS)?;
        ensure!(outcome.three.is_empty(), "{tags:?} {:?}", outcome.three);
        ensure!(outcome.statuses == ["partial"; 3], "{:?}", outcome.statuses);
    }
    Ok(())
}

#[test]
fn where_partners_share_a_tag_in_their_ids_exactly_that_goes_which_one_server_removes() -> Result<()>
{
    let outcome = compare(Tags::Shared, "ids", &ORPHANS)?;
    let kept: Vec<&String> = outcome.one.difference(&outcome.three).collect();
    ensure!(kept.is_empty(), "{kept:?}");
    ensure!(
        outcome.statuses == ["complete"; 3],
        "{:?}",
        outcome.statuses
    );
    Ok(())
}

#[test]
fn a_message_between_two_tags_stays_and_so_does_its_senders_heartbeat() -> Result<()> {
    // What speaks for orphans may be a message of another tag, so these are left out.
    let outcome = compare(Tags::Own, "ids", &[])?;
    ensure!(outcome.statuses.iter().any(|status| status == "partial"));
    let kept: BTreeSet<&String> = outcome.one.difference(&outcome.three).collect();
    let is_message = |key: &&&String| key.contains(":completion:");
    let messages: Vec<&&String> = kept.iter().filter(is_message).collect();
    ensure!(!messages.is_empty() && !outcome.three.is_empty());
    let mut heartbeats = 0;
    for message in messages {
        let sender = message.split(':').nth(2).context("no sender")?;
        for heartbeat in ["blocking:heartbeat:", "swarm:s-1:blocking:heartbeat:"] {
            let heartbeat = format!("{heartbeat}{sender}");
            ensure!(!outcome.three.contains(&heartbeat), "{message} {heartbeat}");
            heartbeats += usize::from(kept.contains(&heartbeat));
        }
    }
    ensure!(heartbeats > 0);
    // Nothing else stays: messages, and the heartbeats that lead to them.
    let others = |key: &&&String| !is_message(key) && !key.contains(":heartbeat:");
    let others: Vec<&&String> = kept.iter().filter(others).collect();
    ensure!(others.is_empty(), "{others:?}");
    Ok(())
}

#[test]
fn ids_without_a_tag_stay_whatever_the_operator_says() -> Result<()> {
    let outcome = compare(Tags::None, "ids", &ORPHANS)?;
    ensure!(outcome.three.is_empty(), "{:?}", outcome.three);
    Ok(())
}
