//! What the demo saw, as claims that hold or do not, and as a page that a person reads.
//! Must not soften anything: a claim without a tick fails the demo.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use blocking_harness::{FAMILY_SIZE, Reply, Waits};
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;

const TARGET_WALL: Duration = Duration::from_secs(5);
const TARGET_PER_S: f64 = 2_000.0;
/// Names shown for a claim that does not hold.
const SHOWN: usize = 3;

/// One BLOCKING.CLEANUP and what another connection waited meanwhile.
pub struct Pass {
    pub command: String,
    pub reply: Reply,
    pub wall: Duration,
    pub waits: Waits,
}

/// What looking at every key after the run has found.
pub struct Leftovers {
    pub stale_there: Vec<Vec<u8>>,
    pub live_lost: Vec<Vec<u8>>,
    pub foreign_lost: Vec<Vec<u8>>,
    pub keys: u64,
}

/// Everything the demo saw.
pub struct Evidence {
    pub stale_ids: BTreeSet<String>,
    pub live: u64,
    pub foreign: u64,
    pub base_line: Waits,
    pub dry: Pass,
    pub run: Pass,
    pub dry_removed: u64,
    pub left: Leftovers,
}

#[derive(Clone)]
struct Claim {
    holds: bool,
    claim: &'static str,
    seen: String,
}

impl Evidence {
    /// Prints the page; yields whether every claim holds.
    pub fn print(&self) -> Result<bool> {
        let claims = [self.speed()?, self.keys()?, vec![self.dry_run()?]].concat();
        println!("\n> {}\n{}", self.dry.command, self.would_remove()?);
        println!("\n> {}\n{}", self.run.command, self.removed()?);
        println!("\n{}", claims_table(&claims).trim_fmt());
        println!("\nwhat another connection waited for PING meanwhile");
        println!("{}\n", self.waits_table().trim_fmt());
        let failed = claims.iter().filter(|claim| !claim.holds).count();
        match failed {
            0 => println!("All {} claims hold.", claims.len()),
            _ => println!("{failed} of {} claims do not hold.", claims.len()),
        }
        Ok(failed == 0)
    }

    fn would_remove(&self) -> Result<String> {
        let reply = &self.dry.reply;
        Ok(format!(
            "would remove {} coordinators, {} keys; took {:.3} s",
            number(reply.int("coordinators_removed")?),
            number(reply.int("keys_removed")?),
            self.dry.wall.as_secs_f64()
        ))
    }

    fn removed(&self) -> Result<String> {
        let reply = &self.run.reply;
        let families = reply.map("keys_by_family")?;
        let by_family: Vec<String> = families
            .names()
            .into_iter()
            .map(|name| Ok(format!("{name} {}", number(families.int(name)?))))
            .collect::<Result<_>>()?;
        Ok(format!(
            "removed {} coordinators, {} keys: {}\n{} keys looked at; {} slices, the longest {}; main thread busy for {} of {}",
            number(reply.int("coordinators_removed")?),
            number(reply.int("keys_removed")?),
            by_family.join(", "),
            number(reply.int("keys_scanned")?),
            number(reply.int("slices")?),
            milliseconds(reply.int("longest_slice_us")?.unsigned_abs()),
            milliseconds(reply.int("busy_us")?.unsigned_abs()),
            milliseconds(reply.int("elapsed_us")?.unsigned_abs()),
        ))
    }

    fn speed(&self) -> Result<Vec<Claim>> {
        let wall_s = self.run.wall.as_secs_f64();
        let per_s = self.run.reply.int("coordinators_removed")? as f64 / wall_s;
        Ok(vec![
            Claim {
                holds: self.run.wall < TARGET_WALL,
                claim: "under 5 s of wall time",
                seen: format!("{wall_s:.3} s from question to reply"),
            },
            Claim {
                holds: per_s >= TARGET_PER_S,
                claim: "at least 2,000 coordinators/s",
                seen: format!("{} coordinators/s", HumanCount(per_s as u64)),
            },
        ])
    }

    fn keys(&self) -> Result<Vec<Claim>> {
        let stale = self.stale_ids.len() as u64;
        let stale_keys = stale * FAMILY_SIZE as u64;
        let live_keys = self.live * FAMILY_SIZE as u64;
        let reply = &self.run.reply;
        let status = reply.text("status")?;
        let counted = status == "complete"
            && reply.int("coordinators_removed")? == stale as i64
            && reply.int("keys_removed")? == stale_keys as i64
            && reply.int("coordinators_checked")? == (stale + self.live) as i64;
        let left = &self.left;
        let gone = stale_keys - left.stale_there.len() as u64;
        Ok(vec![
            Claim {
                holds: left.stale_there.is_empty(),
                claim: "100 % of the stale removed",
                seen: format!(
                    "{} of {} keys gone{}",
                    HumanCount(gone),
                    HumanCount(stale_keys),
                    examples(&left.stale_there)
                ),
            },
            Claim {
                holds: left.live_lost.is_empty(),
                claim: "0 live keys lost",
                seen: format!(
                    "{} of {} keys lost or changed{}",
                    left.live_lost.len(),
                    HumanCount(live_keys),
                    examples(&left.live_lost)
                ),
            },
            Claim {
                holds: left.foreign_lost.is_empty() && left.keys == live_keys + self.foreign,
                claim: "0 foreign keys touched",
                seen: format!(
                    "{} of {} keys lost or changed{}; {} keys in all now",
                    left.foreign_lost.len(),
                    HumanCount(self.foreign),
                    examples(&left.foreign_lost),
                    HumanCount(left.keys)
                ),
            },
            Claim {
                holds: counted,
                claim: "the reply counts exactly that",
                seen: format!(
                    "{status}: {} checked, {} coordinators and {} keys removed",
                    number(reply.int("coordinators_checked")?),
                    number(reply.int("coordinators_removed")?),
                    number(reply.int("keys_removed")?)
                ),
            },
        ])
    }

    fn dry_run(&self) -> Result<Claim> {
        let (dry, run) = (&self.dry.reply, &self.run.reply);
        let ids = run.texts("stale_ids")?;
        let named: BTreeSet<&String> = ids.iter().collect();
        let mut same = dry.flag("dry_run")? && !run.flag("dry_run")?;
        for count in [
            "coordinators_checked",
            "coordinators_stale",
            "coordinators_removed",
            "keys_removed",
        ] {
            same &= dry.int(count)? == run.int(count)?;
        }
        same &= dry
            .map("keys_by_family")?
            .fields()
            .iter()
            .all(|(family, count)| {
                run.map("keys_by_family")
                    .is_ok_and(|run| run.get(family) == Some(count))
            });
        same &= dry.texts("stale_ids")? == ids;
        // One reply names a limited number of ids; with more coordinators than that the rest is compared by count.
        same &= named.len() == ids.len() && named.iter().all(|id| self.stale_ids.contains(*id));
        Ok(Claim {
            holds: same && self.dry_removed == 0,
            claim: "the dry run names what the run removes",
            seen: format!(
                "{} ids and {} keys, and removed {}",
                HumanCount(dry.list("stale_ids")?.len() as u64),
                number(dry.int("keys_removed")?),
                self.dry_removed
            ),
        })
    }

    fn waits_table(&self) -> Table {
        let mut table = plain_table();
        table.set_header(["", "longest", "99 %", "median", "asked"]);
        for (when, waits) in [
            ("base line, no run", &self.base_line),
            ("during the dry run", &self.dry.waits),
            ("during the run", &self.run.waits),
        ] {
            let times = [waits.max_us, waits.p99_us, waits.p50_us].map(milliseconds);
            let asked = HumanCount(waits.count).to_string();
            let cells = times
                .into_iter()
                .chain([asked])
                .map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
            table.add_row([Cell::new(when)].into_iter().chain(cells));
        }
        table
    }
}

fn claims_table(claims: &[Claim]) -> Table {
    let mut table = plain_table();
    for claim in claims {
        let mark = if claim.holds { "✓" } else { "✗" };
        table.add_row([mark, claim.claim, &claim.seen]);
    }
    table
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn examples(keys: &[Vec<u8>]) -> String {
    let shown = keys.iter().take(SHOWN).map(|key| key.escape_ascii());
    shown.map(|key| format!(", {key}")).collect()
}

fn milliseconds(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1_000.0)
}

/// A count of the reply; none can be negative, and one that is shall be seen.
fn number(count: i64) -> String {
    match u64::try_from(count) {
        Ok(count) => HumanCount(count).to_string(),
        Err(_) => count.to_string(),
    }
}
