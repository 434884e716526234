//! The goals of this project, and what this run reached. A figure is the worst of all rounds or a median, never the
//! best. A goal that was not measured counts as not reached, and says so.

use comfy_table::Table;

use crate::contenders::{CAREFUL_CLIENT, CLIENT, LIMIT, MODULE, MODULE_AT_5, Run, SCRIPT_B};
use crate::results::{On, Results, busy_ms, charged_ms, main_ms, wall_ms};
use crate::show::{count, percent, time, times, us};
use crate::stats::Spread;
use crate::tables::{self, Form};
use crate::workloads::{CLASSIC, FOREIGN, MILLION};

/// The server that the goals are about.
const SERVER: &str = "Redis 7.0";
const BYTES_PER_KEY: f64 = 100.0;
/// By how much the memory of two servers may differ after the same removal: buffers of clients, and some 130 KB that
/// the first run after a start allocates once. A leak per key or coordinator would be far larger.
const SAME_BYTES: i64 = 256 * 1_024;

pub struct Goal {
    pub wanted: String,
    pub reached: String,
    pub met: bool,
}

/// On the server that the goals are about, or on the first one if that was not measured.
pub fn goals(results: &Results) -> Vec<Goal> {
    let servers = results.servers();
    let named = servers.iter().find(|name| name.starts_with(SERVER));
    let Some(server) = named.or(servers.first()) else {
        return Vec::new();
    };
    let classic = results.of(server, CLASSIC);
    let mut goals = vec![
        faster(classic, SCRIPT_B, 3.0),
        faster(classic, CLIENT, 5.0),
        near_limit(classic, CLASSIC, 1.25),
        near_limit(results.of(server, MILLION), MILLION, 1.25),
    ];
    for workload in results.workloads(server) {
        let on = results.of(server, workload);
        goals.extend(waits_near_base_line(on, workload));
        goals.extend(waits_shorter_than_script(on, workload));
        goals.extend(short_slices(on, workload));
    }
    goals.push(kept(classic, MODULE, "at the default settings", 0.75));
    goals.push(kept(
        classic,
        MODULE_AT_5,
        "at `blocking.cpu-percent 5`",
        0.95,
    ));
    for server in &servers {
        goals.extend(walk(results.of(server, FOREIGN), server));
    }
    if !servers
        .iter()
        .any(|server| results.of(server, FOREIGN).first().is_some())
    {
        goals.push(not_measured(format!(
            "{FOREIGN} foreign keys: as fast as the server's own SCAN, within 10 %"
        )));
    }
    for workload in results.workloads(server) {
        goals.extend(memory(results.of(server, workload), workload));
    }
    goals
}

fn goal(wanted: String, reached: String, met: bool) -> Goal {
    Goal {
        wanted,
        reached,
        met,
    }
}

fn not_measured(wanted: String) -> Goal {
    goal(wanted, "not measured".to_owned(), false)
}

fn faster(on: On<'_>, than: &str, factor: f64) -> Goal {
    let wanted = format!("{CLASSIC}, idle server: {factor} times faster than {than}");
    match on.ratio((than, wall_ms), (MODULE, wall_ms)) {
        Some(ratio) => goal(wanted, times_between(ratio), ratio.median >= factor),
        None => not_measured(wanted),
    }
}

fn near_limit(on: On<'_>, workload: &str, factor: f64) -> Goal {
    let wanted = format!("{workload}: main thread at most {factor} times the limit");
    let of_limit = |pick| on.ratio((MODULE, pick), (LIMIT, charged_ms));
    match of_limit(main_ms).zip(of_limit(busy_ms)) {
        Some((all, slices)) => {
            // The first figure includes the event loop between slices, the second does not.
            let reached = format!(
                "{}; the slices alone {}",
                times_between(all),
                times(slices.median)
            );
            goal(wanted, reached, all.median <= factor)
        }
        None => not_measured(wanted),
    }
}

fn waits_near_base_line(on: On<'_>, workload: &str) -> Option<Goal> {
    const MORE_US: u64 = 300;
    let above = |contender| {
        let probed = on.probed(contender)?;
        let more_us = probed.waits.p999_us.saturating_sub(probed.base.p999_us);
        let words = format!("{} above {}", us(more_us), us(probed.base.p999_us));
        Some((more_us, words))
    };
    let (more_us, mut reached) = above(MODULE)?;
    // For comparison: the machine and the server also delay clients beside commands in small steps.
    if let Some((_, words)) = above(CAREFUL_CLIENT) {
        reached += &format!("; beside the {CAREFUL_CLIENT} {words}");
    }
    Some(goal(
        format!("{workload}: 99.9 % of a probe's waits at most {MORE_US} µs above its base line"),
        reached,
        more_us <= MORE_US,
    ))
}

fn waits_shorter_than_script(on: On<'_>, workload: &str) -> Option<Goal> {
    const FACTOR: f64 = 50.0;
    let (script, module) = (
        on.probed(SCRIPT_B)?.waits.max_us,
        on.probed(MODULE)?.waits.max_us,
    );
    let ratio = script as f64 / module.max(1) as f64;
    Some(goal(
        format!("{workload}: longest wait at most 1/{FACTOR} of script B's"),
        format!("1/{ratio:.0}: {} and {}", us(module), us(script)),
        ratio >= FACTOR,
    ))
}

fn short_slices(on: On<'_>, workload: &str) -> Option<Goal> {
    let all = Run::together(on.runs(MODULE))?;
    let long = match all.long_ones() {
        none if none.is_empty() => none,
        some => format!(", {some}"),
    };
    Some(goal(
        format!(
            "{workload}: no slice longer than twice `blocking.slice-us`, but for one call or time off the processor"
        ),
        format!(
            "the longest {}; of {} slices {} over {}{long}",
            us(all.longest_slice_us),
            count(all.slices as f64),
            count(all.overruns as f64),
            us(all.slice_us)
        ),
        all.long_ones_are_explained(),
    ))
}

fn kept(on: On<'_>, contender: &str, how: &str, share: f64) -> Goal {
    let wanted = format!("50 busy clients keep {} {how}", percent(share));
    match on.kept(contender) {
        Some(Spread { median, min, max }) => goal(
            wanted,
            format!("{} ({} – {})", percent(median), percent(min), percent(max)),
            median >= share,
        ),
        None => not_measured(wanted),
    }
}

fn walk(on: On<'_>, server: &str) -> Option<Goal> {
    let main = on.ratio((MODULE, main_ms), (LIMIT, charged_ms))?;
    let wall = on.ratio((MODULE, wall_ms), (LIMIT, charged_ms))?;
    Some(goal(
        format!("{FOREIGN} foreign keys, {server}: as fast as the server's own SCAN, within 10 %"),
        format!(
            "main thread {}, wall time {}",
            times_between(main),
            times_between(wall)
        ),
        main.median <= 1.1,
    ))
}

fn memory(on: On<'_>, workload: &str) -> Vec<Goal> {
    let keys = on.first().map_or(1, |record| record.family_keys.max(1)) as f64;
    let Some(used) = on.memory(MODULE).map(|memory| memory.used_peak).max() else {
        return Vec::new();
    };
    let resident = on
        .memory(MODULE)
        .map(|memory| memory.resident_peak)
        .max()
        .unwrap_or_default();
    let each = |bytes: i64| bytes.max(0) as f64 / keys;
    let mut goals = vec![goal(
        format!("{workload}: at most {BYTES_PER_KEY} bytes of extra memory per family key"),
        format!("{:.0} used, {:.0} resident", each(used), each(resident)),
        each(used) <= BYTES_PER_KEY,
    )];
    // UNLINK of the same keys shows what a run should leave.
    let after = |contender| Spread::of(on.memory(contender).map(|memory| memory.used_after as f64));
    if let Some((module, limit)) = after(MODULE).zip(after(LIMIT)) {
        let left = (module.median - limit.median) as i64;
        goals.push(goal(
            format!("{workload}: nothing stays behind"),
            format!("{left} bytes more than after UNLINK of the same keys"),
            left <= SAME_BYTES,
        ));
    }
    goals
}

/// With the smallest and the largest, if there are several.
fn times_between(ratio: Spread) -> String {
    let Spread { median, min, max } = ratio;
    match min < max {
        true => format!("{} ({} – {})", times(median), times(min), times(max)),
        false => times(median),
    }
}

/// For the terminal and the page.
pub fn table(goals: &[Goal], form: Form) -> Table {
    let mut table = tables::table(form, ["goal", "reached", ""]);
    for goal in goals {
        let met = if goal.met { "yes" } else { "no" };
        table.add_row([&goal.wanted, &goal.reached, met]);
    }
    table
}

/// `12 of 19 goals reached`.
pub fn summary(goals: &[Goal]) -> String {
    let met = goals.iter().filter(|goal| goal.met).count();
    format!("{met} of {} goals reached", goals.len())
}

/// Median wall times, for the line that is printed when a workload is done.
pub fn in_short(on: On<'_>) -> String {
    let wall = |contender| {
        on.wall_ms(contender)
            .map_or("-".to_owned(), |wall| time(wall.median))
    };
    format!(
        "module {}, client {}, script B {}",
        wall(MODULE),
        wall(CLIENT),
        wall(SCRIPT_B)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::made_up::results;

    fn of<'a>(goals: &'a [Goal], words: &str) -> &'a Goal {
        let found = goals.iter().find(|goal| goal.wanted.contains(words));
        found.unwrap_or_else(|| panic!("no goal about {words}"))
    }

    #[test]
    fn goals_are_ratios_of_one_run() {
        let goals = goals(&results());
        let met: Vec<(&str, bool, &str)> = [
            ("faster than script B", true, "4.00 ×"),
            ("faster than client", true, "8.00 ×"),
            (
                "classic: main thread",
                true,
                "1.11 ×; the slices alone 1.11 ×",
            ),
            ("1,000,000 coordinators: main thread", false, "not measured"),
            ("99.9 % of a probe's waits", true, "250 µs above 200 µs"),
            ("longest wait", true, "1/320: 1.0 ms and 320 ms"),
            (
                "no slice longer",
                true,
                "the longest 400 µs; of 400 slices 3 over 250 µs",
            ),
            ("at the default settings", true, "100 % (100 % – 100 %)"),
            ("cpu-percent 5", false, "not measured"),
            ("own SCAN", false, "not measured"),
            ("extra memory", true, "80 used, 100 resident"),
            ("stays behind", true, "1000 bytes more"),
        ]
        .to_vec();
        for (words, met, reached) in met {
            let goal = of(&goals, words);
            assert!(
                goal.reached.starts_with(reached),
                "{words}: {}",
                goal.reached
            );
            assert_eq!(goal.met, met, "{words}");
        }
    }

    #[test]
    fn a_goal_that_is_missed_says_no() {
        let mut results = results();
        results.records.retain(|record| record.contender != CLIENT);
        results
            .records
            .push(crate::results::made_up::timed(CLIENT, 300.0, 100.0));
        let goals = goals(&results);
        let goal = of(&goals, "faster than client");
        assert!(!goal.met, "{}", goal.reached);
        assert!(table(&goals, Form::Markdown).to_string().contains("no"));
    }
}
