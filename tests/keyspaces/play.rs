//! One keyspace on a server: written, cleaned up dry and for real, and compared with the model key by key.
//! Must not know any rule of the module's but through the model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{Connection, Pipeline, Value, cmd, pipe};
use blocking_harness::{
    Reply, Server, hears_few_writes, server_now_ms, wait_for_value, walk_removes_expired,
};

use crate::beats::{self, State};
use crate::keyspace::{Content, Key, Keyspace, Ttl, Written, shown};
use crate::model::{self, FAMILIES, Outcome, Wanted};
use crate::orphans::{Asked, possible_owners};

/// A comparison counts only if no verdict changed while it lasted; a busy machine may need some more.
const TRIES: usize = 50;
/// Where the ids are matched against the pattern by the server itself.
const PATTERN_DATABASE: i64 = 15;
/// Beats in another database, which must protect nothing.
const OTHER_DATABASE: i64 = 3;
const NO_SUCH_KEY: &str = "0000000000000000000000000000000000000000";
/// The most recent runs may find what LIMIT left over.
const ROUNDS: usize = 2;

/// Less than the shortest grace.
const FIRST_SEEN_MS: i64 = 1_500;

/// A server, and what was written to it.
pub struct Player {
    server: Server,
}

/// A coordinator became stale in the middle of a comparison.
struct TooSlow;

impl Player {
    pub fn start() -> Result<Self> {
        let server = Server::start()?;
        Ok(Self { server })
    }

    /// Plays a keyspace; an error says in what the module and the model differ.
    pub fn play(&self, keyspace: &Keyspace) -> Result<()> {
        if !self.server.is_alive() {
            self.server.restart()?;
        }
        let mut conn = self.server.client_db(keyspace.database)?;
        for _ in 0..TRIES {
            match try_once(&mut conn, keyspace) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(TooSlow)) => {}
                Err(why) if self.server.is_alive() => return Err(why),
                Err(why) => {
                    return Err(why.context(format!("THE SERVER DIED:\n{}", self.server.log())));
                }
            }
        }
        bail!(
            "the machine is too busy: in {TRIES} tries a coordinator always became stale meanwhile"
        )
    }
}

/// The keyspace as it came to be: what must be known of each key.
struct Loaded {
    /// The values of strings; `None` for the other types. Keys whose TTL has passed are not in it.
    values: BTreeMap<Key, Option<Vec<u8>>>,
    now_ms: i64,
}

fn try_once(conn: &mut Connection, keyspace: &Keyspace) -> Result<Result<(), TooSlow>> {
    let written = write(conn, keyspace)?;
    let admitted = admitted(conn, keyspace, &written)?;
    let mut values = written.values;
    let reads_all_owners = hears_few_writes(conn);
    for round in 0..ROUNDS {
        let before = Traces::of(conn, values.keys())?;
        let expected_at = |now_ms: i64| {
            let admits: &dyn Fn(&[u8]) -> bool =
                &|id| admitted.as_ref().is_none_or(|ids| ids.contains(id));
            let question = &keyspace.question;
            let wanted = Wanted {
                admits,
                limit: question.limit.map_or(usize::MAX, |limit| limit as usize),
                ids: question.ids.map_or(100, |ids| ids as usize),
                orphans: question.grace_s().map(|grace_s| Asked {
                    now_ms,
                    grace_s,
                    max_bytes: keyspace.max_heartbeat_bytes,
                    admits,
                }),
                reads_all_owners,
            };
            model::outcome(&values, &judge(&values, keyspace, now_ms), &wanted)
        };
        let expected = expected_at(written.now_ms);

        let dry = clean(conn, keyspace, &["DRYRUN"])?;
        let after_dry = Traces::of(conn, values.keys())?;
        let real = clean(conn, keyspace, &[])?;
        let after = Traces::of(conn, values.keys())?;
        let now_ms = server_now_ms(conn)?;
        // By then what was seen in the first run may be old enough.
        let too_late = now_ms - written.now_ms > FIRST_SEEN_MS;
        if expected_at(now_ms) != expected || (keyspace.question.orphans.is_some() && too_late) {
            return Ok(Err(TooSlow));
        }

        // Where the walk does not remove what has expired, a key whose TTL has passed goes when it is looked for: those
        // that would be removed or counted, and with ORPHANS heartbeats.
        let expired = before.size - before.of_keys.len();
        let expired_gone = match walk_removes_expired(conn) {
            true => expired..=expired,
            false => 0..=expired,
        };
        let compared = || -> Result<()> {
            ensure!(
                before
                    .of_keys
                    .values()
                    .all(|(digest, _)| digest != NO_SUCH_KEY),
                "not all keys were written"
            );
            ensure!(after_dry == before, "the dry run changed something");
            compare(&expected, keyspace, &dry, true, before.size).context("the dry run")?;
            let may_be_too_much = may_be_too_long(&values)
                || (reads_all_owners && may_have_too_many_readings(&values));
            if may_be_too_much && real.int("keys_over_bound").is_ok() {
                return compare_lost(&expected, &after);
            }
            compare(&expected, keyspace, &real, false, before.size).context("the run")?;
            compare_keys(&expected, &before, &after, expired_gone.clone())
        };
        compared().with_context(|| format!("in round {}", round + 1))?;
        let is_left = |name: &Key| {
            after
                .of_keys
                .get(name)
                .is_some_and(|trace| trace.0 != NO_SUCH_KEY)
        };
        values.retain(|name, _| is_left(name));
    }
    Ok(Ok(()))
}

fn clean(conn: &mut Connection, keyspace: &Keyspace, more: &[&str]) -> Result<Reply> {
    let words = keyspace.question.words();
    Ok(cmd("BLOCKING.CLEANUP").arg(words).arg(more).query(conn)?)
}

fn judge(
    values: &BTreeMap<Key, Option<Vec<u8>>>,
    keyspace: &Keyspace,
    now_ms: i64,
) -> BTreeMap<Key, State> {
    let threshold_s = keyspace.question.threshold_s();
    let heartbeats = values.iter().filter(|(name, _)| model::is_heartbeat(name));
    heartbeats
        .map(|(name, value)| {
            let max_bytes = keyspace.max_heartbeat_bytes;
            let entry = keyspace.entries.iter().find(|entry| entry.name == **name);
            let has_ttl = entry.is_some_and(|entry| entry.ttl == Ttl::Ahead);
            let value = value.as_deref();
            let state = beats::judge(value, has_ttl, max_bytes, now_ms, threshold_s);
            (name.clone(), state)
        })
        .collect()
}

/// Writes the keyspace to an empty server and waits until every TTL that should have passed has.
fn write(conn: &mut Connection, keyspace: &Keyspace) -> Result<Loaded> {
    let mut setup = pipe();
    setup.cmd("FLUSHALL").ignore();
    setup.cmd("DEBUG").arg(&["SET-ACTIVE-EXPIRE", "0"]).ignore();
    let max_bytes = keyspace.max_heartbeat_bytes;
    let config = setup
        .cmd("CONFIG")
        .arg("SET")
        .arg("blocking.max-heartbeat-bytes");
    config.arg(max_bytes).ignore();
    let () = setup.query(conn)?;

    let now_ms = server_now_ms(conn)?;
    let mut values = BTreeMap::new();
    let mut commands = pipe();
    for entry in &keyspace.entries {
        let value = write_one(&mut commands, &entry.name, &entry.content, now_ms);
        let ttl = match entry.ttl {
            Ttl::None => None,
            Ttl::Ahead => Some(("EXPIRE", 3_600)),
            Ttl::Passed => Some(("PEXPIRE", 1)),
        };
        if let Some((command, time)) = ttl {
            commands.cmd(command).arg(&entry.name).arg(time);
        }
        if entry.ttl != Ttl::Passed {
            values.insert(entry.name.clone(), value);
        }
    }
    commands.cmd("SELECT").arg(OTHER_DATABASE);
    for name in values.keys().filter(|name| model::is_heartbeat(name)) {
        commands.cmd("SET").arg(name).arg(now_ms);
    }
    commands.cmd("SELECT").arg(keyspace.database);
    let _: Vec<Value> = commands.query(conn)?;
    let written_ms = server_now_ms(conn)?;
    let passed = |now_ms: &i64| *now_ms > written_ms + 1;
    let within = Duration::from_secs(10);
    wait_for_value("TTLs to pass", within, || Ok(server_now_ms(conn)?), passed)?;
    Ok(Loaded { values, now_ms })
}

/// Yields what is read of it: the value of a string, the time in a hash.
fn write_one(
    commands: &mut Pipeline,
    name: &[u8],
    content: &Content,
    now_ms: i64,
) -> Option<Vec<u8>> {
    let elements = |size: usize| (0..size).map(|n| format!("element-{n}"));
    match content {
        Content::String { value, written } => {
            let value = value.bytes(now_ms);
            match written {
                Written::Set => commands.cmd("SET").arg(name).arg(&value),
                Written::Append => {
                    let (head, tail) = value.split_at(value.len() / 2);
                    commands.cmd("SET").arg(name).arg(head);
                    commands.cmd("APPEND").arg(name).arg(tail)
                }
            };
            return Some(value);
        }
        Content::Hash(size) => {
            let command = commands.cmd("HSET").arg(name).arg("timestamp").arg(now_ms);
            elements(*size).for_each(|element| {
                command.arg(element).arg("1");
            });
            // The one time field of a heartbeat says as much as a number alone; others' hashes are not read.
            return model::is_heartbeat(name).then(|| now_ms.to_string().into_bytes());
        }
        Content::List(size) => drop(
            commands
                .cmd("RPUSH")
                .arg(name)
                .arg(elements(*size).collect::<Vec<_>>()),
        ),
        Content::Set(size) => drop(
            commands
                .cmd("SADD")
                .arg(name)
                .arg(elements(*size).collect::<Vec<_>>()),
        ),
        Content::Zset(size) => {
            let command = commands.cmd("ZADD").arg(name);
            elements(*size).for_each(|element| {
                command.arg(now_ms).arg(element);
            });
        }
        Content::Stream(size) => elements((*size).min(10)).for_each(|element| {
            commands
                .cmd("XADD")
                .arg(name)
                .arg("*")
                .arg("timestamp")
                .arg(element);
        }),
    }
    None
}

/// The ids that the pattern admits, said by the server; `None` without a pattern.
fn admitted(
    conn: &mut Connection,
    keyspace: &Keyspace,
    written: &Loaded,
) -> Result<Option<BTreeSet<Key>>> {
    let Some(pattern) = &keyspace.question.pattern else {
        return Ok(None);
    };
    let names = written.values.keys();
    let ids = names.flat_map(|name| match model::is_heartbeat(name) {
        true => vec![model::id_of(name)],
        false => possible_owners(name)
            .into_iter()
            .map(|(_, id)| id)
            .collect(),
    });
    let mut commands = pipe();
    commands.cmd("SELECT").arg(PATTERN_DATABASE).ignore();
    for id in ids {
        commands.cmd("SET").arg(id).arg("1").ignore();
    }
    commands.cmd("KEYS").arg(pattern);
    commands.cmd("SELECT").arg(keyspace.database).ignore();
    let (ids,): (BTreeSet<Key>,) = commands.query(conn)?;
    Ok(Some(ids))
}

/// Everything that a run could change.
#[derive(PartialEq, Eq)]
struct Traces {
    /// What the server makes of type, value and having a TTL, and when that is over.
    of_keys: BTreeMap<Key, (String, i64)>,
    size: usize,
    other_size: usize,
}

impl Traces {
    /// Only keys whose TTL has not passed may be asked for: to ask for another is to remove it.
    fn of<'k>(conn: &mut Connection, names: impl Iterator<Item = &'k Key> + Clone) -> Result<Self> {
        let digests = cmd("DEBUG")
            .arg("DIGEST-VALUE")
            .arg(names.clone().collect::<Vec<_>>())
            .query(conn);
        let digests: Vec<String> = digests?;
        let mut commands = pipe();
        for name in names.clone() {
            commands.cmd("PEXPIRETIME").arg(name);
        }
        let expire_times: Vec<i64> = match commands.is_empty() {
            true => Vec::new(),
            false => commands.query(conn)?,
        };
        let info: String = cmd("INFO").arg("keyspace").query(conn)?;
        let of_keys = names
            .cloned()
            .zip(digests.into_iter().zip(expire_times))
            .collect();
        Ok(Self {
            of_keys,
            size: cmd("DBSIZE").query(conn)?,
            other_size: size_of(&info, OTHER_DATABASE),
        })
    }
}

/// The number of keys of another database, without leaving this one.
fn size_of(info: &str, database: i64) -> usize {
    let prefix = format!("db{database}:keys=");
    let line = info.lines().find_map(|line| line.strip_prefix(&prefix));
    let size = line.and_then(|line| line.split(',').next()?.parse().ok());
    size.unwrap_or_default()
}

fn compare(
    expected: &Outcome,
    keyspace: &Keyspace,
    reply: &Reply,
    dry: bool,
    size: usize,
) -> Result<()> {
    let status = if expected.limited {
        "limited"
    } else if expected.over_bound > 0 {
        "partial"
    } else {
        "complete"
    };
    ensure!(
        reply.text("status")? == status,
        "status, expected {status}: {reply:?}"
    );
    ensure!(reply.flag("dry_run")? == dry, "dry_run: {reply:?}");
    let counts = [
        ("threshold_s", keyspace.question.threshold_s() as usize),
        ("coordinators_checked", expected.checked),
        ("coordinators_stale", expected.stale),
        ("coordinators_unreadable", expected.unreadable),
        ("coordinators_removed", expected.coordinators_removed),
        ("coordinators_revived", 0),
        ("keys_removed", expected.removed.len()),
        ("keys_vetoed", expected.vetoed),
        ("keys_orphaned", expected.orphaned),
        ("orphans_removed", expected.orphans_removed),
    ];
    for (name, count) in counts {
        let said = reply.int(name)?;
        ensure!(
            said == count as i64,
            "{name} is {said}, the model says {count}: {reply:?}"
        );
    }
    let too_young = reply.get("orphans_too_young").is_some();
    ensure!(
        too_young == keyspace.question.orphans.is_some(),
        "{reply:?}"
    );
    if too_young {
        let said = reply.int("orphans_too_young")?;
        let count = expected.orphans_too_young;
        ensure!(
            said == count as i64,
            "orphans_too_young is {said}, the model says {count}"
        );
    }
    // One that the server reported twice counts twice.
    let scanned = reply.int("keys_scanned")?;
    ensure!(
        scanned >= size as i64,
        "keys_scanned is {scanned}, there are {size}"
    );
    let by_family = reply.map("keys_by_family")?;
    ensure!(by_family.names() == FAMILIES, "families: {by_family:?}");
    for (name, count) in FAMILIES.iter().zip(expected.by_family) {
        let said = by_family.int(name)?;
        ensure!(
            said == count as i64,
            "{name} keys: {said}, the model says {count}"
        );
    }
    let listed = reply.list("stale_ids")?;
    ensure!(
        listed == expected.stale_ids,
        "stale_ids are {}, the model says {}",
        shown_all(&listed),
        shown_all(&expected.stale_ids)
    );
    let reason = reply.text("reason").unwrap_or_default();
    let says_that_nothing_fits = reason.starts_with("no stale id fits MATCH");
    ensure!(
        says_that_nothing_fits == (expected.unmatched && expected.removed.is_empty()),
        "reason: {reply:?}"
    );
    let over_bound = match expected.over_bound {
        0 => String::new(),
        count => format!(
            "keys stay, and their stale owners' heartbeats: {count} over a bound, of names or of owners"
        ),
    };
    ensure!(
        says_that_nothing_fits || reason == over_bound,
        "reason, expected '{over_bound}': {reply:?}"
    );
    for name in ["keys_denied", "keys_not_owned"] {
        ensure!(reply.get(name).is_none(), "{name}: {reply:?}");
    }
    Ok(())
}

/// Whether heartbeats are so long that not all owners of a key may be read in one slice, which depends on how the
/// slices fall and on the order of the reads. More keys may stay then than the model says.
fn may_be_too_long(values: &BTreeMap<Key, Option<Vec<u8>>>) -> bool {
    const MAX_OWNERS_BYTES: usize = 64 * 1024;
    let heartbeats = values.iter().filter(|(name, _)| model::is_heartbeat(name));
    let bytes = heartbeats.map(|(_, value)| value.as_ref().map_or(0, Vec::len));
    bytes.sum::<usize>() > MAX_OWNERS_BYTES
}

/// Whether a key can be read in so many ways that not all its owners are looked up by name. It may stay then.
fn may_have_too_many_readings(values: &BTreeMap<Key, Option<Vec<u8>>>) -> bool {
    const MANY_SEGMENTS: usize = 20;
    let colons = |name: &Key| name.iter().filter(|byte| **byte == b':').count();
    values.keys().any(|name| colons(name) > MANY_SEGMENTS)
}

fn compare_lost(expected: &Outcome, after: &Traces) -> Result<()> {
    let gone = after
        .of_keys
        .iter()
        .filter(|(_, trace)| trace.0 == NO_SUCH_KEY);
    let mut lost = gone.filter(|(name, _)| !expected.removed.contains(*name));
    match lost.next() {
        Some((name, _)) => bail!("LOST, and should have been kept: {}", shown(name)),
        None => Ok(()),
    }
}

/// `expired_gone`: how many keys may have gone because their TTL had passed.
fn compare_keys(
    expected: &Outcome,
    before: &Traces,
    after: &Traces,
    expired_gone: RangeInclusive<usize>,
) -> Result<()> {
    compare_lost(expected, after)?;
    for (name, trace) in &after.of_keys {
        let is_gone = trace.0 == NO_SUCH_KEY;
        match (is_gone, expected.removed.contains(name)) {
            (false, true) => bail!("kept, and should be gone: {}", shown(name)),
            (true, _) => {}
            (false, false) => ensure!(
                before.of_keys.get(name) == Some(trace),
                "changed: {}",
                shown(name)
            ),
        }
    }
    // What was not asked for one by one: keys whose TTL has passed, and the other database.
    let gone = (before.size - expected.removed.len()).checked_sub(after.size);
    ensure!(
        gone.is_some_and(|gone| expired_gone.contains(&gone)),
        "{} keys before, {} after, {} should be gone and {expired_gone:?} expired",
        before.size,
        after.size,
        expected.removed.len()
    );
    ensure!(
        after.other_size == before.other_size,
        "another database has lost a key"
    );
    Ok(())
}

fn shown_all(ids: &[Key]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("'{}'", shown(id))).collect();
    format!("[{}]", ids.join(", "))
}
