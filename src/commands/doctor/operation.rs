//! Findings about how the module is run: schedule, breaker, warm-up, last runs, and settings that do not go together.

use super::Facts;
use super::finding::{Code, Finding, Severity, count, pick};
use crate::keys::slots::SLOTS;
use crate::plan::safeguards::Share;
use crate::reply::value::Value;
use crate::report::Status;
use crate::report::history::{LastRun, LastRuns};
use crate::report::hold::Hold;
use crate::schedule::kept_away;

/// A server's own words are cut behind so many bytes.
const MAX_REASON_BYTES: usize = 200;

pub fn say(facts: &Facts, out: &mut Vec<Finding>) {
    let found = [
        cluster(facts),
        replica(facts),
        schedule(facts),
        dry_run(facts),
        grace_off(facts),
        breaker(facts),
        warm_up(facts),
        last_runs(facts),
    ];
    out.extend(found.into_iter().flatten());
}

fn finding(
    severity: Severity,
    code: Code,
    text: impl Into<String>,
    advice: impl Into<String>,
    details: Vec<(&'static str, Value)>,
) -> Option<Finding> {
    Some(Finding {
        severity,
        code,
        text: text.into(),
        advice: advice.into(),
        details,
    })
}

fn cluster(facts: &Facts) -> Option<Finding> {
    let locality = facts.locality.as_ref()?;
    let mut details = vec![
        ("slots_here", u64::from(locality.here.len()).into()),
        ("slots_open", u64::from(locality.open).into()),
        ("slots", u64::from(SLOTS).into()),
        ("cluster_tags", Value::Status(locality.tags.word())),
    ];
    let forecast = facts.study.at(facts.survey.settings.threshold_s);
    let keys = forecast.map(|forecast| forecast.counts.held.count(Hold::Elsewhere));
    details.extend(keys.map(|keys| ("keys_elsewhere", keys.into())));
    let view = locality.view();
    let stay = keys.map_or_else(String::new, |keys| {
        let keys = count(keys, "key stays", "keys stay");
        format!(": {keys} because they may belong to coordinators there")
    });
    finding(
        Severity::Warning,
        Code::Cluster,
        format!("{view}, and keys of other nodes cannot be seen from here{stay}"),
        format!("Ask every primary; {}", locality.advice()),
        details,
    )
}

fn replica(facts: &Facts) -> Option<Finding> {
    if !facts.outlook.is_replica {
        return None;
    }
    finding(
        Severity::Note,
        Code::Replica,
        "this server is a replica: cleanups run on its primary, and the schedule here does nothing until a promotion",
        "Run BLOCKING.DOCTOR on the primary, too; settings are not replicated",
        Vec::new(),
    )
}

fn list(numbers: &[u32]) -> Value {
    Value::Array(numbers.iter().map(|n| u64::from(*n).into()).collect())
}

fn numbers(numbers: &[u32]) -> String {
    let words: Vec<String> = numbers.iter().map(u32::to_string).collect();
    words.join(", ")
}

fn schedule(facts: &Facts) -> Option<Finding> {
    let settings = &facts.survey.settings;
    let (interval_s, database) = (settings.interval_s, settings.database);
    let mut details = vec![("interval_s", Value::from(interval_s))];
    if interval_s == 0 {
        return finding(
            Severity::Warning,
            Code::ScheduleOff,
            "the schedule is off: keys are removed only when a client calls BLOCKING.CLEANUP",
            "Set blocking.interval-seconds, for a trial together with blocking.dry-run yes",
            details,
        );
    }
    let databases = &settings.databases;
    details.push(("databases", list(databases)));
    if !settings.is_scheduled() {
        details.push(("in_database", u64::from(database).into()));
        return finding(
            Severity::Warning,
            Code::NotListed,
            format!(
                "the schedule runs every {interval_s} s in {} {}, but not in this database, {database}",
                pick(databases.len() as u64, "database", "databases"),
                numbers(databases)
            ),
            "If it should, add this number to blocking.databases",
            details,
        );
    }
    let next = facts.outlook.next_run_s;
    let due = match next {
        Some(next_s) => format!(", next in {next_s} s"),
        None => ", no run due".to_owned(),
    };
    let grace_s = settings.orphan_grace_s;
    let orphans = match grace_s {
        0 => "orphans stay".to_owned(),
        _ => format!("orphans go after {grace_s} s"),
    };
    let switch = |on: bool| if on { "on" } else { "off" };
    details.extend([
        ("next_run_s", next.map_or(Value::Null, Value::from)),
        ("dry_run", settings.dry_run.into()),
        ("second_look", settings.second_look.into()),
        ("orphan_grace_s", grace_s.into()),
        (
            "max_stale_percent",
            u64::from(settings.max_stale_percent).into(),
        ),
    ]);
    finding(
        Severity::Note,
        Code::Schedule,
        format!(
            "the schedule runs every {interval_s} s in {} {}{due}: dry run {}, second look {}, {orphans}, breaker above \
             {} percent",
            pick(databases.len() as u64, "database", "databases"),
            numbers(databases),
            switch(settings.dry_run),
            switch(settings.second_look),
            settings.max_stale_percent,
        ),
        "BLOCKING.STATUS shows its runs",
        details,
    )
}

fn dry_run(facts: &Facts) -> Option<Finding> {
    let settings = &facts.survey.settings;
    if !settings.is_scheduled() || !settings.dry_run {
        return None;
    }
    finding(
        Severity::Warning,
        Code::DryRun,
        "the schedule removes nothing: blocking.dry-run is yes",
        "When the trial is over, CONFIG SET blocking.dry-run no and CONFIG REWRITE",
        Vec::new(),
    )
}

fn grace_off(facts: &Facts) -> Option<Finding> {
    let settings = &facts.survey.settings;
    let never = facts.survey.never.heartbeats;
    let heartbeats = facts.survey.heartbeats;
    if !settings.is_scheduled() || settings.orphan_grace_s > 0 || never == 0 {
        return None;
    }
    finding(
        Severity::Warning,
        Code::GraceOff,
        format!(
            "{never} of {} {} before becoming stale, and the schedule does not remove the orphans that {}: \
             blocking.orphan-grace-seconds is 0",
            count(heartbeats, "heartbeat", "heartbeats"),
            pick(never, "expires", "expire"),
            pick(never, "it leaves", "they leave"),
        ),
        "Set blocking.orphan-grace-seconds; in doubt take a day, 86400",
        vec![
            ("heartbeats", heartbeats.into()),
            ("never_stale", never.into()),
            ("orphan_grace_s", settings.orphan_grace_s.into()),
            ("grace_in_doubt_s", 86_400_u64.into()),
        ],
    )
}

fn share_details(share: &Share) -> Vec<(&'static str, Value)> {
    vec![
        ("coordinators_stale", share.stale.into()),
        ("coordinators_judged", share.judged.into()),
        ("max_stale_percent", u64::from(share.percent).into()),
    ]
}

fn breaker(facts: &Facts) -> Option<Finding> {
    let settings = &facts.survey.settings;
    let now = facts.study.at(settings.threshold_s).and_then(|f| f.share);
    let told = now.map(|share| {
        format!(
            "{} of {} are stale, more than {} percent",
            share.stale,
            count(share.judged, "coordinator", "coordinators"),
            share.percent
        )
    });
    let mut details = now.as_ref().map(share_details).unwrap_or_default();
    let look_first = "Find out why so many look dead: clocks, network, a new writer";
    if let Some(open_s) = facts.outlook.breaker_open_s {
        details.push(("open_s", open_s.into()));
        let is_known = facts.study.at(settings.threshold_s).is_some();
        let smaller = "; now the share is smaller, and the next run will close it";
        let now = match told {
            Some(told) => format!("; now {told}"),
            None if is_known => smaller.to_owned(),
            None => String::new(),
        };
        return finding(
            Severity::Problem,
            Code::BreakerOpen,
            format!(
                "the breaker of this database has been open for {open_s} s, and the schedule removes nothing here{now}"
            ),
            format!("{look_first}; if they are dead, run BLOCKING.CLEANUP once by hand"),
            details,
        );
    }
    let is_due = settings.is_scheduled() && !facts.outlook.is_replica;
    let told = told.filter(|_| is_due)?;
    finding(
        Severity::Warning,
        Code::BreakerWouldOpen,
        format!("the next scheduled run will find the breaker open and remove nothing: {told}"),
        format!("{look_first}; if they are dead, run BLOCKING.CLEANUP once by hand"),
        details,
    )
}

fn warm_up(facts: &Facts) -> Option<Finding> {
    let left_s = facts.outlook.warm_up_left_s;
    if left_s == 0 || facts.outlook.is_replica {
        return None;
    }
    finding(
        Severity::Note,
        Code::WarmUp,
        kept_away::sentence(left_s, facts.outlook.writers_away_s),
        "Do not rely on verdicts before it is over",
        vec![
            ("warm_up_left_s", left_s.into()),
            ("writers_away_s", facts.outlook.writers_away_s.into()),
        ],
    )
}

fn last_runs(facts: &Facts) -> Option<Finding> {
    let LastRuns { scheduled, manual } = &facts.last_runs;
    let scheduled = scheduled.as_ref().map(|run| ("scheduled run", run));
    let manual = manual.as_ref().map(|run| ("run by hand", run));
    let runs: Vec<(&str, &LastRun)> = [scheduled, manual].into_iter().flatten().collect();
    if runs.is_empty() {
        return None;
    }
    let ago_s = |run: &LastRun| facts.now_us.saturating_sub(run.ended_us) / 1_000_000;
    let told = runs.iter().map(|(which, run)| {
        let ago_s = ago_s(run);
        format!(
            "the last {which} of this database ended {ago_s} s ago: {}",
            told(run)
        )
    });
    let told: Vec<String> = told.collect();
    let whole = [Status::Complete, Status::Partial, Status::Limited];
    let is_cut_short = |run: &LastRun| !whole.contains(&run.status);
    let is_bad = runs.iter().any(|(_, run)| is_cut_short(run));
    let each = |run: &Option<LastRun>| {
        run.as_ref().map_or(Value::Null, |run| {
            let reason = run.reason.as_ref();
            Value::Map(vec![
                ("run", run.run.into()),
                ("ended_s_ago", ago_s(run).into()),
                ("status", Value::Status(run.status.word())),
                ("dry_run", run.dry_run.into()),
                ("coordinators_removed", run.coordinators_removed.into()),
                ("keys_removed", run.keys_removed.into()),
                (
                    "reason",
                    reason.map_or(Value::Null, |why| Value::text(why.as_bytes())),
                ),
            ])
        })
    };
    let (severity, advice) = match is_bad {
        true => (
            Severity::Warning,
            "Look the reason up in docs/commands.md, and run again when its cause is over",
        ),
        false => (Severity::Note, "Nothing to do; BLOCKING.STATUS has more"),
    };
    finding(
        severity,
        Code::LastRun,
        told.join("; "),
        advice,
        vec![
            ("scheduled_run", each(&facts.last_runs.scheduled)),
            ("manual_run", each(&facts.last_runs.manual)),
        ],
    )
}

fn told(run: &LastRun) -> String {
    let reason = run.reason.as_deref();
    let removed = match run.dry_run {
        true => "a dry run that would have removed",
        false => "removed",
    };
    format!(
        "run {}, {}{}, {removed} {} and {}",
        run.run,
        run.status.word(),
        reason.map_or_else(String::new, |why| format!(" ('{}')", plain(why))),
        count(run.coordinators_removed, "coordinator", "coordinators"),
        count(run.keys_removed, "key", "keys"),
    )
}

/// Words of ours or of the server, fit for a sentence.
fn plain(text: &str) -> String {
    let is_plain = |c: &char| matches!(c, ' '..='~') && *c != '\'';
    text.chars()
        .filter(is_plain)
        .take(MAX_REASON_BYTES)
        .collect()
}
