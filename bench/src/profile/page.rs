//! `docs/profile.md`, written anew by every run. Must hold nothing but what was counted and how.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::Table;

use super::Taken;
use crate::ground::Ground;
use crate::machine::Machine;
use crate::show::{count, percent, times};
use crate::tables::{Form, table};
use crate::ways::{LIMIT, MODULE, SCRIPT_B};

/// Functions that are listed by themselves.
const LISTED: usize = 15;

/// Parts of a run of the module, each with the functions whose instructions, callees included, are added and those that
/// are taken away again.
const PARTS: [(&str, &[&str], &[&str]); 8] = [
    ("the server's own UNLINK", &["unlinkCommand"], &[]),
    (
        "the server's walk over its tables, and the object it makes of each name (RedisModule_Scan)",
        &["RM_Scan"],
        &["blocking_cleanup::redis::scan::on_key"],
    ),
    (
        "whether the key's TTL has passed (RedisModule_GetAbsExpire), as SCAN asks, too",
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

pub fn write(
    path: &Path,
    machine: &Machine,
    server: &str,
    ground: &Ground,
    all: &[Taken],
) -> Result<()> {
    let of = |way: &str| {
        let taken = all.iter().find(|taken| taken.way == way);
        taken.with_context(|| format!("{way} was not measured"))
    };
    let (limit, script, module) = (of(LIMIT)?, of(SCRIPT_B)?, of(MODULE)?);
    let mut text = format!(
        "# Profile

Written by `make profile`; every figure on this page comes from one run of it.

- machine: {machine}
- server: {server}, under valgrind's callgrind
- work: {} coordinators of six keys, {} of them stale

What is counted are the instructions of the server's main thread, divided by the {} keys that are removed. They hardly differ
between a busy machine and a quiet one, but they are not time: an instruction that waits for memory counts as much as one
that does not. The limit is what the commands SCAN and UNLINK take by themselves; the other ways are all that the main
thread does meanwhile, but for the server's regular work.

",
        count(ground.work.coordinators() as f64),
        count(ground.stale.len() as f64),
        count(ground.doomed() as f64),
    );
    let mut table = table(
        Form::Markdown,
        ["way", "instructions a key", "of the limit"],
    );
    for taken in all {
        table.add_row([
            taken.way.to_owned(),
            count(taken.per_key),
            times(taken.per_key / limit.per_key),
        ]);
    }
    writeln!(text, "{table}\n")?;
    writeln!(
        text,
        "So nobody who has the server walk its keys and remove them can be more than {} as fast as script B on an idle server,\n\
         and that only by doing nothing else.\n",
        times(script.per_key / limit.per_key)
    )?;
    text += "## What a run of the module consists of\n\n";
    text += &parts(module)?.to_string();
    text += "\n\n## The functions that take the most by themselves\n\n";
    text += &functions(module).to_string();
    Ok(fs::write(path, text.trim_end().to_owned() + "\n")?)
}

fn parts(module: &Taken) -> Result<Table> {
    let mut table = table(Form::Markdown, ["part", "instructions a key", "share"]);
    let mut row = |part: &str, instructions: f64| {
        let share = percent(instructions / module.per_key);
        table.add_row([part.to_owned(), count(instructions), share]);
    };
    let sum = |names: &[&str]| {
        names
            .iter()
            .map(|name| module.counts.inclusive(name))
            .sum::<u64>()
    };
    let mut rest = module.per_key;
    for (part, with, without) in PARTS {
        let (with, without) = (sum(with), sum(without));
        let own = with.checked_sub(without).filter(|_| with > 0);
        let own = module.per_key(own.with_context(|| format!("nothing was counted for: {part}"))?);
        rest -= own;
        row(part, own);
    }
    row(
        "everything else: reading names, keeping them, the plan's order, the server's loop",
        rest,
    );
    Ok(table)
}

fn functions(module: &Taken) -> Table {
    let mut table = table(
        Form::Markdown,
        ["function", "in", "instructions a key", "share"],
    );
    for function in module.counts.own.iter().take(LISTED) {
        let per_key = module.per_key(function.instructions);
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
