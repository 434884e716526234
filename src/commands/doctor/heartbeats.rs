//! Findings about heartbeats: those that can never be judged or become stale, clocks, ids.

use super::finding::{Code, Finding, Severity, count, name_or_null, pick, quoted, such_as};
use super::survey::Lives;
use super::{Facts, Ids};
use crate::plan::heartbeats;
use crate::reply::error::shown;
use crate::reply::value::Value;

pub fn say(facts: &Facts, out: &mut Vec<Finding>) {
    let found = [
        none(facts),
        denied(facts),
        unreadable(facts),
        presence(facts),
        never_stale(facts),
        short_window(facts),
        future(facts),
        no_ttl(facts),
        time_fields(facts),
        ambiguous(facts),
        colons(facts),
    ];
    out.extend(found.into_iter().flatten());
}

fn none(facts: &Facts) -> Option<Finding> {
    let survey = &facts.survey;
    if survey.heartbeats > 0 || survey.heartbeats_denied > 0 {
        return None;
    }
    let (keys, database) = (facts.walked.keys_scanned, survey.settings.database);
    let orphaned = facts.study.orphaned.as_ref();
    let left = orphaned.map_or(0, |orphaned| orphaned.all());
    let all = count(keys, "key", "keys");
    let left_behind = match left {
        0 => String::new(),
        _ => format!(
            ", but there {} {}",
            pick(left, "is", "are"),
            count(left, "family key", "family keys")
        ),
    };
    Some(Finding {
        severity: Severity::Problem,
        code: Code::NoCoordinators,
        text: format!("found no coordinators among {all} of database {database}: there is no heartbeat{left_behind}"),
        advice: match left {
            0 => "Check the database number and the templates in blocking.families",
            _ => "Either all heartbeats have expired and the rest are orphans, or their names fit no template of \
                  blocking.families",
        }
        .into(),
        details: vec![
            ("keys", keys.into()),
            ("in_database", u64::from(database).into()),
            ("orphans", left.into()),
        ],
    })
}

fn denied(facts: &Facts) -> Option<Finding> {
    let heartbeats = facts.survey.heartbeats_denied;
    let unknown = facts.survey.unknown_denied;
    let orphans = facts.seen.orphans_denied;
    let all = [
        (heartbeats, "heartbeat", "heartbeats"),
        (orphans, "orphan to be measured", "orphans to be measured"),
        (
            unknown,
            "key that looks like a family key",
            "keys that look like family keys",
        ),
    ];
    let told: Vec<String> = all
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| count(number, one, many))
        .collect();
    (!told.is_empty()).then(|| Finding {
        severity: Severity::Warning,
        code: Code::Denied,
        text: format!(
            "you may not read {}: they are in the counts of a cleanup, and in no other finding",
            told.join(", ")
        ),
        advice: "Run BLOCKING.DOCTOR as a user that may read every family key".into(),
        details: vec![
            ("heartbeats_denied", heartbeats.into()),
            ("orphans_denied", orphans.into()),
            ("names_denied", unknown.into()),
        ],
    })
}

fn unreadable(facts: &Facts) -> Option<Finding> {
    let survey = &facts.survey;
    let all = survey.troubles.values();
    let number = all.fold(0u64, |sum, trouble| sum.saturating_add(trouble.heartbeats));
    let id_of = |name: &Vec<u8>| heartbeats::shown_id(name, &facts.survey.layout);
    let reasons = || {
        let troubles = survey.troubles.iter();
        troubles.map(|(why, alike)| (why, alike, alike.example.as_ref().map(id_of)))
    };
    let told = reasons().map(|(why, alike, id)| {
        let example = match such_as(id.as_deref()) {
            example if example.is_empty() => example,
            example => format!("{example},"),
        };
        let bytes = match alike.bytes.as_slice() {
            [] => String::new(),
            bytes => format!(": {}", quoted(bytes)),
        };
        format!("{}{example} because {why}{bytes}", alike.heartbeats)
    });
    let told: Vec<String> = told.collect();
    (number > 0).then(|| Finding {
        severity: Severity::Problem,
        code: Code::Unreadable,
        text: format!(
            "{number} of {} can never be judged and {} every key that {} could own: {}",
            count(survey.heartbeats, "heartbeat", "heartbeats"),
            pick(number, "protects", "protect"),
            pick(number, "it", "they"),
            told.join("; ")
        ),
        advice: "Fix their writers, name the time field in blocking.time-fields, or delete those that no client writes \
                 any more; BLOCKING.LIST UNREADABLE shows them"
            .into(),
        details: vec![
            ("heartbeats", survey.heartbeats.into()),
            ("unreadable", number.into()),
            (
                "reasons",
                Value::Array(
                    reasons()
                        .map(|(why, alike, id)| {
                            Value::Map(vec![
                                ("reason", Value::text(why.as_bytes())),
                                ("heartbeats", alike.heartbeats.into()),
                                ("example", name_or_null(id.as_deref())),
                                ("bytes", Value::text(alike.bytes.as_slice())),
                            ])
                        })
                        .collect(),
                ),
            ),
        ],
    })
}

/// How long they last after the beat, in words: `300 s` or `120-300 s`.
fn life(lives: &Lives) -> String {
    let (min, max) = lives.range_s.unwrap_or_default();
    match min == max {
        true => format!("{min} s"),
        false => format!("{min}-{max} s"),
    }
}

fn life_details(lives: &Lives) -> [(&'static str, Value); 3] {
    let (min, max) = lives.range_s.unwrap_or_default();
    [
        ("life_min_s", min.into()),
        ("life_max_s", max.into()),
        (
            "life_usual_s",
            lives.usual_s().map_or(Value::Null, Value::from),
        ),
    ]
}

fn never_stale(facts: &Facts) -> Option<Finding> {
    let survey = &facts.survey;
    let (never, all) = (&survey.never, survey.heartbeats);
    let settings = &survey.settings;
    let threshold_s = settings.threshold_s;
    let number = never.heartbeats;
    if number == 0 {
        return None;
    }
    let which = match (number == all, all) {
        (true, 1) => "the only heartbeat".to_owned(),
        (true, _) => format!("all {all} heartbeats"),
        (false, _) => format!("{number} of {all} heartbeats"),
    };
    // At the threshold itself, and less than a second behind it, a heartbeat is still live.
    let (_, max_s) = never.range_s.unwrap_or_default();
    let before = match max_s < u64::from(threshold_s) {
        true => "before",
        false if number == 1 => "before it is older than",
        false => "before they are older than",
    };
    let text = format!(
        "{which} {} ({}) {before} the {threshold_s} s threshold, so {} become stale",
        pick(number, "expires", "expire"),
        life(never),
        match number == all {
            true => pick(number, "it cannot", "none can"),
            false => pick(number, "it cannot", "they cannot"),
        },
    );
    let grace_s = settings.orphan_grace_s;
    let are_elsewhere = facts
        .locality
        .as_ref()
        .is_some_and(|here| !here.trusts_tags());
    let is_handled = facts.is_served() && grace_s > 0 && !are_elsewhere;
    let advice = if is_handled {
        format!(
            "Nothing to do: the schedule removes the keys left behind as orphans \
             (blocking.orphan-grace-seconds is {grace_s})"
        )
    } else if are_elsewhere {
        format!(
            "Give heartbeats a TTL well above {threshold_s} s, or choose a shorter threshold: orphans that could have \
             an owner on another node of the cluster stay; see blocking.cluster-tags"
        )
    } else {
        format!(
            "Keys left behind become orphans: remove them with BLOCKING.CLEANUP ORPHANS, or by the schedule \
             with blocking.orphan-grace-seconds; or give heartbeats a TTL well above {threshold_s} s"
        )
    };
    let mut details = vec![
        ("heartbeats", all.into()),
        ("never_stale", number.into()),
        ("threshold_s", u64::from(threshold_s).into()),
        ("orphan_grace_s", grace_s.into()),
    ];
    details.extend(life_details(never));
    Some(Finding {
        severity: if is_handled {
            Severity::Note
        } else {
            Severity::Problem
        },
        code: Code::NeverStale,
        text,
        advice,
        details,
    })
}

fn short_window(facts: &Facts) -> Option<Finding> {
    let survey = &facts.survey;
    let settings = &survey.settings;
    let (brief, interval_s) = (&survey.brief, settings.interval_s);
    // What the schedule does not meet in time it removes as orphans.
    if brief.heartbeats == 0 || settings.orphan_grace_s > 0 {
        return None;
    }
    let number = brief.heartbeats;
    let twice = if settings.second_look {
        "twice in a row, as blocking.second-look requires, "
    } else {
        ""
    };
    let (threshold_s, window_s) = (settings.threshold_s, settings.window_s());
    let mut details = vec![
        ("heartbeats", survey.heartbeats.into()),
        ("short_window", number.into()),
        ("threshold_s", u64::from(threshold_s).into()),
        ("interval_s", interval_s.into()),
        ("window_s", window_s.into()),
    ];
    details.extend(life_details(brief));
    Some(Finding {
        severity: Severity::Warning,
        code: Code::ShortWindow,
        text: format!(
            "{number} of {} {} {} after the beat, less than {window_s} s after the {threshold_s} s threshold: the \
             schedule runs every {interval_s} s and may not find {} stale {twice}before {}",
            count(survey.heartbeats, "heartbeat", "heartbeats"),
            pick(number, "expires", "expire"),
            life(brief),
            pick(number, "it", "them"),
            pick(number, "it expires", "they expire"),
        ),
        advice: "Shorten blocking.interval-seconds or the threshold, give heartbeats a longer TTL, or set \
                 blocking.orphan-grace-seconds"
            .into(),
        details,
    })
}

fn future(facts: &Facts) -> Option<Finding> {
    let survey = &facts.survey;
    let (ahead, max_s) = (survey.ahead, survey.ahead_max_s);
    let threshold_s = survey.settings.threshold_s;
    (ahead > 0).then(|| Finding {
        severity: Severity::Warning,
        code: Code::FutureBeats,
        text: format!(
            "{ahead} of {} {} up to {max_s} s in the future: {} as live until then, and for {threshold_s} s more",
            count(survey.heartbeats, "heartbeat", "heartbeats"),
            pick(ahead, "is", "are"),
            pick(ahead, "it counts", "they count"),
        ),
        advice: "Compare the writers' clocks with this server's clock, and check the unit of their times".into(),
        details: vec![
            ("heartbeats", survey.heartbeats.into()),
            ("future_beats", ahead.into()),
            ("ahead_max_s", max_s.into()),
            ("threshold_s", u64::from(threshold_s).into()),
        ],
    })
}

fn presence(facts: &Facts) -> Option<Finding> {
    let survey = &facts.survey;
    let number = survey.presences;
    (number > 0).then(|| Finding {
        severity: Severity::Note,
        code: Code::Presence,
        text: format!(
            "{number} of {} {} no time and {} a TTL: {}",
            count(survey.heartbeats, "heartbeat", "heartbeats"),
            pick(number, "gives", "give"),
            pick(number, "has", "have"),
            pick(number, "it is live until it expires", "they are live until they expire"),
        ),
        advice: "Keys left behind become orphans: BLOCKING.CLEANUP ORPHANS removes them, and so does the schedule \
                 with blocking.orphan-grace-seconds"
            .into(),
        details: vec![
            ("heartbeats", survey.heartbeats.into()),
            ("presences", number.into()),
        ],
    })
}

fn no_ttl(facts: &Facts) -> Option<Finding> {
    let survey = &facts.survey;
    let number = survey.without_ttl;
    let unreadable = survey.unreadable_without_ttl;
    let readable = number.saturating_sub(unreadable);
    let is_handled = facts.is_served() && unreadable == 0;
    // No run removes what cannot be judged.
    let mend = "fix their writers, or delete those that no client writes any more";
    let run = match facts.is_served() {
        true => "The schedule removes those that become stale",
        false => "Run BLOCKING.CLEANUP from time to time, or let the schedule do it",
    };
    let advice = match (readable, unreadable) {
        (_, 0) if is_handled => {
            "Nothing to do: the schedule removes those that become stale".to_owned()
        }
        (_, 0) => run.to_owned(),
        (0, _) => format!("No cleanup removes unreadable heartbeats: {mend}"),
        _ => format!(
            "{run}; no cleanup removes the {unreadable} that {} unreadable: {mend}",
            pick(unreadable, "is", "are")
        ),
    };
    (number > 0).then(|| Finding {
        severity: if is_handled {
            Severity::Note
        } else {
            Severity::Warning
        },
        code: Code::NoTtl,
        text: format!(
            "{number} of {} {} no TTL and {} removed",
            count(survey.heartbeats, "heartbeat", "heartbeats"),
            pick(number, "has", "have"),
            pick(number, "stays until it is", "stay until they are"),
        ),
        advice,
        details: vec![
            ("heartbeats", survey.heartbeats.into()),
            ("no_ttl", number.into()),
            ("unreadable_no_ttl", unreadable.into()),
        ],
    })
}

fn time_fields(facts: &Facts) -> Option<Finding> {
    let forms = &facts.survey.forms;
    let told = forms.iter().map(|((field, unit), number)| {
        let heartbeats = count(*number, "heartbeat", "heartbeats");
        format!(
            "in '{}' as '{unit}' ({heartbeats})",
            shown(field.as_bytes())
        )
    });
    let told: Vec<String> = told.collect();
    let each = forms.iter().map(|((field, unit), number)| {
        Value::Map(vec![
            ("field", Value::text(field.as_bytes())),
            ("unit", Value::Status(unit)),
            ("heartbeats", (*number).into()),
        ])
    });
    (!forms.is_empty()).then(|| Finding {
        severity: Severity::Note,
        code: Code::TimeFields,
        text: format!("the newest time is {}", told.join(", ")),
        advice: if forms.len() == 1 {
            "Nothing to do"
        } else {
            "Check that the writers intend this; blocking.time-fields says which fields count"
        }
        .into(),
        details: vec![("fields", Value::Array(each.collect()))],
    })
}

fn ids(facts: &Facts) -> Option<&Ids> {
    facts.study.ids.as_ref()
}

fn ambiguous(facts: &Facts) -> Option<Finding> {
    let ids = ids(facts).filter(|ids| ids.ambiguous > 0)?;
    let id_of = |name: &[u8]| heartbeats::id_of(name, &facts.survey.layout).to_vec();
    let pair = facts.seen.pair.as_ref();
    let pair = pair.map(|(one, other)| (id_of(one), id_of(other)));
    let example = pair.as_ref().map_or_else(String::new, |(one, other)| {
        format!(", such as {} with {}", quoted(one), quoted(other))
    });
    let (one, other) = pair.unzip();
    let number = ids.ambiguous;
    Some(Finding {
        severity: Severity::Warning,
        code: Code::AmbiguousIds,
        text: format!(
            "{number} of {} {} with another id and a colon{example}: a key can belong to both, and while one is live it \
             protects keys of the other",
            count(ids.ids, "id", "ids"),
            pick(number, "begins", "begin"),
        ),
        advice: "Choose ids without colons, or ids of which none begins with another; BLOCKING.EXPLAIN shows which \
                 heartbeat protects a key"
            .into(),
        details: vec![
            ("ids", ids.ids.into()),
            ("ambiguous_ids", number.into()),
            ("example", name_or_null(one.as_deref())),
            ("begins_with", name_or_null(other.as_deref())),
        ],
    })
}

fn colons(facts: &Facts) -> Option<Finding> {
    let ids = ids(facts).filter(|ids| ids.with_colon > 0)?;
    let name = facts.seen.colon.as_ref();
    let example = name.map(|name| heartbeats::id_of(name, &facts.survey.layout).to_vec());
    let number = ids.with_colon;
    Some(Finding {
        severity: Severity::Note,
        code: Code::ColonIds,
        text: format!(
            "{number} of {} {} a colon{}: some of their keys can belong to several ids, and every possible owner counts",
            count(ids.ids, "id", "ids"),
            pick(number, "contains", "contain"),
            such_as(example.as_deref()),
        ),
        advice: "Nothing to do while no id begins with another".into(),
        details: vec![
            ("ids", ids.ids.into()),
            ("colon_ids", number.into()),
            ("example", name_or_null(example.as_deref())),
        ],
    })
}
