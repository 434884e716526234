//! Findings about keys: what is there, what a cleanup would do, orphans, unknown names.

use std::collections::BTreeMap;

use super::finding::{Code, Finding, Severity, count, name_or_null, pick, quoted, such_as};
use super::forecast::Forecast;
use super::unknown_keys::Group;
use super::{Facts, Measured};
use crate::keys::family::Family;
use crate::reply::value::Value;
use crate::report::hold::Hold;

/// So many names stand in a sentence; the details have all.
const TOLD_NAMES: usize = 5;

pub fn say(facts: &Facts, out: &mut Vec<Finding>) {
    let found = [
        memory(facts),
        found(facts),
        cleanup(facts),
        orphans(facts),
        unknown_names(facts),
        left_alone(facts),
    ];
    out.extend(found.into_iter().flatten());
}

fn memory(facts: &Facts) -> Option<Finding> {
    let max_bytes = facts.survey.settings.collect_max_bytes;
    let (severity, text) = match (facts.walked.is_overfull, facts.walked.is_truncated) {
        (true, _) => (
            Severity::Problem,
            "the heartbeats alone exceed blocking.collect-max-bytes",
        ),
        (false, true) => (
            Severity::Warning,
            "not all family keys fit blocking.collect-max-bytes",
        ),
        (false, false) => return None,
    };
    let left_out = match facts.walked.is_overfull {
        true => {
            "no cleanup can work, and findings about ids, orphans and what a cleanup would do are missing"
        }
        false => {
            "cleanups remove a part at a time, and findings about orphans and keys to be removed are missing"
        }
    };
    Some(Finding {
        severity,
        code: Code::Memory,
        text: format!("{text} ({max_bytes}): {left_out}"),
        advice: "Raise blocking.collect-max-bytes".into(),
        details: vec![("collect_max_bytes", max_bytes.into())],
    })
}

fn found(facts: &Facts) -> Option<Finding> {
    let settings = &facts.survey.settings;
    let counts = facts.study.at(settings.threshold_s)?.counts;
    let (checked, stale) = (counts.coordinators_checked, counts.coordinators_stale);
    let (unreadable, protected) = (
        counts.coordinators_unreadable,
        counts.coordinators_protected,
    );
    let live = checked.saturating_sub(stale).saturating_sub(unreadable);
    let keys = facts.walked.keys_scanned;
    let spared = match protected {
        0 => String::new(),
        _ => format!(", {protected} of the stale protected"),
    };
    let (database, threshold_s) = (settings.database, settings.threshold_s);
    (checked > 0).then(|| Finding {
        severity: Severity::Note,
        code: Code::Found,
        text: format!(
            "{} among {} of database {database}: {live} live, {stale} stale at the threshold of {threshold_s} s, \
             {unreadable} unreadable{spared}",
            count(checked, "coordinator", "coordinators"),
            count(keys, "key", "keys"),
        ),
        advice: "BLOCKING.LIST shows them, BLOCKING.EXPLAIN one of them".into(),
        details: vec![
            ("keys", keys.into()),
            ("in_database", u64::from(database).into()),
            ("threshold_s", u64::from(threshold_s).into()),
            ("coordinators_checked", checked.into()),
            ("coordinators_live", live.into()),
            ("coordinators_stale", stale.into()),
            ("coordinators_unreadable", unreadable.into()),
            ("coordinators_protected", protected.into()),
        ],
    })
}

fn cleanup(facts: &Facts) -> Option<Finding> {
    let forecasts = &facts.study.forecasts;
    let truncated = facts.walked.is_truncated;
    let is_worth_it = forecasts.iter().any(|f| f.counts.coordinators_checked > 0);
    let own_s = facts.survey.settings.threshold_s;
    let told = forecasts.iter().map(|forecast| {
        let Forecast {
            threshold_s,
            counts,
            ..
        } = forecast;
        let own = match *threshold_s == own_s {
            true => " (blocking.threshold-seconds)",
            false => "",
        };
        let stale = counts.coordinators_stale;
        if truncated {
            return format!("at {threshold_s} s{own} {stale} stale");
        }
        let denied = match counts.held.count(Hold::Denied) {
            0 => String::new(),
            denied => format!(", {denied} kept because you may not delete them"),
        };
        format!(
            "at {threshold_s} s{own} {stale} stale, {} and {} removed, {} vetoed{denied}",
            count(counts.coordinators_removed, "coordinator", "coordinators"),
            count(counts.keys_removed(), "key", "keys"),
            counts.keys_vetoed,
        )
    });
    let told: Vec<String> = told.collect();
    let each = forecasts.iter().map(|forecast| {
        let counts = &forecast.counts;
        let mut fields = vec![
            ("threshold_s", u64::from(forecast.threshold_s).into()),
            ("coordinators_stale", counts.coordinators_stale.into()),
        ];
        if !truncated {
            fields.extend([
                ("coordinators_removed", counts.coordinators_removed.into()),
                ("keys_removed", counts.keys_removed().into()),
                ("keys_vetoed", counts.keys_vetoed.into()),
                ("keys_denied", counts.held.count(Hold::Denied).into()),
            ]);
        }
        Value::Map(fields)
    });
    is_worth_it.then(|| Finding {
        severity: Severity::Note,
        code: Code::Cleanup,
        text: format!("what BLOCKING.CLEANUP would find now: {}", told.join("; ")),
        advice: "Where the numbers hardly differ from one threshold to the next, either will do; BLOCKING.LIST STALE \
                 shows the coordinators"
            .into(),
        details: vec![("thresholds", Value::Array(each.collect()))],
    })
}

/// About how many bytes the orphans of a family take, from those that were measured; `None` if none was.
fn bytes_of(found: u64, measured: Measured) -> Option<u64> {
    let sum = u128::from(measured.bytes).saturating_mul(u128::from(found));
    let bytes = sum.checked_div(u128::from(measured.keys))?;
    Some(u64::try_from(bytes).unwrap_or(u64::MAX))
}

fn orphans(facts: &Facts) -> Option<Finding> {
    let orphaned = facts.study.orphaned.as_ref()?;
    let families = orphaned.found.iter();
    let families: Vec<(Family, u64, Measured)> = families
        .map(|(family, found)| (family, *found, facts.seen.measured[family]))
        .filter(|(_, found, _)| *found > 0)
        .collect();
    let (number, protected) = (orphaned.all(), orphaned.protected);
    if number == 0 {
        return None;
    }
    let mut told: Vec<String> = families
        .iter()
        .map(|(family, found, measured)| {
            let about = if measured.keys < *found { "about " } else { "" };
            let bytes = bytes_of(*found, *measured);
            let bytes = bytes.map_or_else(String::new, |bytes| format!(" ({about}{bytes} bytes)"));
            format!("{} {found}{bytes}", family.name())
        })
        .collect();
    if protected > 0 {
        told.push(format!("of protected ids {protected}"));
    }
    let each = families.iter().map(|(family, found, measured)| {
        let fields = vec![
            ("keys", (*found).into()),
            ("keys_measured", measured.keys.into()),
            (
                "bytes",
                bytes_of(*found, *measured).map_or(Value::Null, Value::from),
            ),
        ];
        (family.name(), Value::Map(fields))
    });
    Some(Finding {
        severity: Severity::Warning,
        code: Code::Orphans,
        text: format!(
            "{} {} (no possible owner has a heartbeat): {}",
            count(number, "family key", "family keys"),
            pick(number, "is an orphan", "are orphans"),
            told.join(", ")
        ),
        advice: "BLOCKING.CLEANUP DRYRUN ORPHANS says how many of them it would remove; without DRYRUN it removes them"
            .into(),
        details: vec![
            ("orphans", number.into()),
            ("protected", protected.into()),
            ("families", Value::Map(each.collect())),
        ],
    })
}

/// Names with their numbers, the most frequent first.
fn by_number(groups: &BTreeMap<Vec<u8>, Group>) -> Vec<(&[u8], &Group)> {
    let mut all: Vec<(&[u8], &Group)> = groups.iter().map(|(g, n)| (g.as_slice(), n)).collect();
    all.sort_by_key(|(glob, group)| (std::cmp::Reverse(group.keys), *glob));
    all
}

fn named(groups: &[(&[u8], &Group)], others: u64) -> String {
    let told = groups.iter().take(TOLD_NAMES).map(|(glob, group)| {
        let example = group.example.as_deref();
        format!("{} {}{}", quoted(glob), group.keys, such_as(example))
    });
    let mut told: Vec<String> = told.collect();
    let rest = groups.iter().skip(TOLD_NAMES);
    let rest = rest.fold(others, |sum, (_, group)| sum.saturating_add(group.keys));
    if rest > 0 {
        told.push(format!("other names {rest}"));
    }
    told.join("; ")
}

fn details(groups: &[(&[u8], &Group)], others: u64) -> Vec<(&'static str, Value)> {
    let sum = |sum: u64, keys: u64| sum.saturating_add(keys);
    let keys = groups.iter().map(|(_, group)| group.keys).fold(others, sum);
    let rest = groups.iter().skip(TOLD_NAMES).map(|(_, group)| group.keys);
    let each = groups.iter().map(|(glob, group)| {
        Value::Map(vec![
            ("name", Value::text(*glob)),
            ("keys", group.keys.into()),
            ("example", name_or_null(group.example.as_deref())),
        ])
    });
    vec![
        ("keys", keys.into()),
        ("names", Value::Array(each.collect())),
        ("other_keys", rest.fold(others, sum).into()),
    ]
}

fn sum_of(groups: &[(&[u8], &Group)], others: u64) -> u64 {
    let add = |sum: u64, (_, group): &(&[u8], &Group)| sum.saturating_add(group.keys);
    groups.iter().fold(others, add)
}

fn unknown_names(facts: &Facts) -> Option<Finding> {
    let found = &facts.survey.unknown_keys;
    let groups = by_number(&found.unknown);
    let keys = sum_of(&groups, found.others);
    (keys > 0).then(|| Finding {
        severity: Severity::Warning,
        code: Code::UnknownNames,
        text: format!(
            "{} {} like family keys but {} no template: {}",
            count(keys, "key", "keys"),
            pick(keys, "begins", "begin"),
            pick(keys, "fits", "fit"),
            named(&groups, found.others)
        ),
        advice: "If coordinators write them, add templates to blocking.families; if not, there is nothing to do: no cleanup touches them"
            .into(),
        details: details(&groups, found.others),
    })
}

fn left_alone(facts: &Facts) -> Option<Finding> {
    let groups = by_number(&facts.survey.unknown_keys.left_alone);
    let keys = sum_of(&groups, 0);
    (keys > 0).then(|| Finding {
        severity: Severity::Note,
        code: Code::LeftAlone,
        text: format!(
            "{} {} left alone on purpose: {}",
            count(keys, "key", "keys"),
            pick(keys, "is", "are"),
            named(&groups, 0)
        ),
        advice: "Nothing to do: no cleanup removes unfinished work, escalations, spawns, retries, or names given as \
                 never= in blocking.families"
            .into(),
        details: details(&groups, 0),
    })
}
