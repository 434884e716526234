//! `docs/profile.md`, which every run writes anew: what was counted, and how.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use comfy_table::Table;

use super::callgrind::Function;
use super::{Cost, WalkCost};
use crate::contenders::{LIMIT, MODULE, SCRIPT_B};
use crate::fixture::Fixture;
use crate::machine::Machine;
use crate::show::{count, percent, times};
use crate::tables::{Form, table};

/// How many functions the page lists.
const LISTED: usize = 15;

/// A function of a walk is listed if it has this share of the cache misses, in SCAN's walk or in the module's.
const WALK_SHARE: f64 = 0.03;

/// Parts of a run of the module, each with functions whose instructions, callees included, are added, and functions
/// whose instructions are subtracted.
const PARTS: [(&str, &[&str], &[&str]); 8] = [
    ("the server's own UNLINK", &["unlinkCommand"], &[]),
    (
        "the server's walk over its tables, and the object it makes of each name (RedisModule_Scan)",
        &["RM_Scan"],
        &["blocking_cleanup::redis::source::module_scan::on_key"],
    ),
    (
        "whether a heartbeat's TTL has passed (RedisModule_GetAbsExpire); SCAN asks of every key",
        &["RM_GetAbsExpire"],
        &[],
    ),
    (
        "calling UNLINK (RedisModule_Call)",
        &["RM_Call"],
        &["unlinkCommand"],
    ),
    (
        "names as the server's objects, made and given back",
        &["RM_CreateString", "RM_FreeString"],
        &[],
    ),
    (
        "whether the user may delete the key",
        &["RM_ACLCheckKeyPermissions"],
        &[],
    ),
    (
        "opening heartbeats again, in the slice that removes",
        &["RM_OpenKey", "RM_CloseKey"],
        &[],
    ),
    (
        "what heartbeats say, at the walk and again in the slice that removes",
        &["blocking_cleanup::heartbeat::account"],
        &[],
    ),
];

/// What each contender cost, and the module in detail.
pub fn of_contenders(
    machine: &Machine,
    server: &str,
    fixture: &Fixture,
    all: &[Cost],
) -> Result<String> {
    let of = |contender: &str| {
        let cost = all.iter().find(|cost| cost.contender == contender);
        cost.with_context(|| format!("{contender} was not measured"))
    };
    let (limit, script, module) = (of(LIMIT)?, of(SCRIPT_B)?, of(MODULE)?);
    let mut text = format!(
        "# Profile

Written by `make profile`; every figure on this page comes from one run of it.

- machine: {machine}
- server: {server}, under valgrind's callgrind
- workload: {} coordinators of six keys, {} of them stale

These are instructions of the server's main thread, divided by the {} keys that are removed. They hardly differ between a
busy machine and a quiet one, but they are not time: an instruction that waits for memory counts as much as one that does
not. The limit is what the commands SCAN and UNLINK take by themselves. The figures of the other contenders are all that the
main thread does meanwhile, but for the server's regular work.

",
        count(fixture.workload.coordinators() as f64),
        count(fixture.stale.len() as f64),
        count(fixture.doomed() as f64),
    );
    let mut table = table(
        Form::Markdown,
        ["contender", "instructions a key", "of the limit"],
    );
    for cost in all {
        table.add_row([
            cost.contender.to_owned(),
            count(cost.per_key),
            times(cost.per_key / limit.per_key),
        ]);
    }
    writeln!(text, "{table}\n")?;
    writeln!(
        text,
        "So no contender that has the server walk its keys and remove them can be more than {} as fast as script B on an\n\
         idle server, and that only by doing nothing else.\n",
        times(script.per_key / limit.per_key)
    )?;
    text += "## What a run of the module consists of\n\n";
    text += &parts(module)?.to_string();
    text += "\n\n## The functions that take the most by themselves\n\n";
    writeln!(text, "{}\n", functions(module))?;
    Ok(text)
}

/// A walk by SCAN, and one by the module.
pub fn of_walks(fixture: &Fixture, scan: &WalkCost, module: &WalkCost) -> Result<String> {
    let mut text = format!(
        "## A walk over foreign keys

{} coordinators among {} foreign keys, so that nearly all of it is the walk. Misses are reads of the main thread that a
last-level cache of 1 MiB would not hold, so that it has to wait for memory. The cache is smaller than a real one, because
valgrind can walk only a part of the keys of a real database. SCAN's figures are what the command takes by itself, the
module's all that the main thread does, but for the server's regular work.

",
        count(fixture.workload.coordinators() as f64),
        count(fixture.workload.foreign as f64),
    );
    let head = ["contender", "instructions a key", "misses a key"];
    let mut sums = table(Form::Markdown, head);
    for (contender, walk) in [("SCAN", scan), (MODULE, module)] {
        sums.add_row([
            contender.to_owned(),
            count(walk.instructions_per_key),
            format!("{:.2}", walk.misses_per_key),
        ]);
    }
    writeln!(text, "{sums}\n")?;
    text += "RedisModule_Scan reads the type of each value, and mostly waits for memory there; SCAN does not need the type. The functions
in which most reads miss:\n\n";
    let head = [
        "function",
        "in",
        "SCAN: misses a key",
        "module: misses a key",
    ];
    let mut functions = table(Form::Markdown, head);
    for Missing {
        function,
        scan,
        module,
    } in missing(scan, module)
    {
        let object = Path::new(&function.object).file_name().unwrap_or_default();
        functions.add_row([
            format!("`{}`", function.name),
            object.to_string_lossy().into_owned(),
            format!("{scan:.2}"),
            format!("{module:.2}"),
        ]);
    }
    writeln!(text, "{functions}")?;
    Ok(text)
}

/// A function, and how many of its own reads miss the cache, for a key.
struct Missing<'w> {
    function: &'w Function,
    scan: f64,
    module: f64,
}

/// The functions that have a share in the misses, the largest first.
fn missing<'w>(scan: &'w WalkCost, module: &'w WalkCost) -> Vec<Missing<'w>> {
    let all = scan.misses.own.iter().chain(&module.misses.own);
    let mut rows: Vec<Missing> = Vec::new();
    for function in all {
        let is_same = |f: &Function| f.name == function.name && f.object == function.object;
        if !rows.iter().any(|row| is_same(row.function)) {
            let of = |walk: &WalkCost| {
                let own = walk.misses.own.iter().filter(|f| is_same(f));
                own.map(|f| f.count).sum::<u64>() as f64 / walk.keys as f64
            };
            rows.push(Missing {
                function,
                scan: of(scan),
                module: of(module),
            });
        }
    }
    rows.retain(|row| {
        row.scan >= scan.misses_per_key * WALK_SHARE
            || row.module >= module.misses_per_key * WALK_SHARE
    });
    rows.sort_by(|a, b| (b.scan + b.module).total_cmp(&(a.scan + a.module)));
    rows
}

fn parts(module: &Cost) -> Result<Table> {
    let mut table = table(Form::Markdown, ["part", "instructions a key", "share"]);
    let mut row = |part: &str, instructions: f64| {
        let share = percent(instructions / module.per_key);
        table.add_row([part.to_owned(), count(instructions), share]);
    };
    // A function that was renamed would count as nothing, and its part as another's.
    let one = |name: &&str| match module.counts.inclusive(name) {
        0 => Err(anyhow!("nothing was counted for the function {name}")),
        counted => Ok(counted),
    };
    let sum = |names: &[&str]| names.iter().map(one).sum::<Result<u64>>();
    let mut rest = module.per_key;
    for (part, with, without) in PARTS {
        let own = sum(with)?.checked_sub(sum(without)?);
        let own = own.with_context(|| format!("less than nothing was counted for: {part}"))?;
        let own = module.per_key(own);
        rest -= own;
        row(part, own);
    }
    row(
        "everything else: reading names, keeping them, the plan's order, the server's loop",
        rest,
    );
    Ok(table)
}

fn functions(module: &Cost) -> Table {
    let mut table = table(
        Form::Markdown,
        ["function", "in", "instructions a key", "share"],
    );
    for function in module.counts.own.iter().take(LISTED) {
        let per_key = module.per_key(function.count);
        let object = Path::new(&function.object).file_name().unwrap_or_default();
        table.add_row([
            format!("`{}`", function.name),
            object.to_string_lossy().into_owned(),
            count(per_key),
            percent(per_key / module.per_key),
        ]);
    }
    table
}
