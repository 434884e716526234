//! Every finding with a cause, for the tests of findings and of the page that lists them.

use std::sync::Arc;

use super::super::{Code, Facts};
use crate::cluster::locality::{ClusterTags, Locality};
use crate::commands::doctor::finding::Severity;
use crate::commands::doctor::forecast::Forecast;
use crate::commands::doctor::{Ids, Measured, Orphaned, Settings, Survey, Walked};
use crate::heartbeat::PRESENCE;
use crate::heartbeat::details::HeartbeatDetails;
use crate::heartbeat::forms::Form;
use crate::heartbeat::trouble::{Reason, Trouble};
use crate::keys::family::Family;
use crate::keys::slots::Slots;
use crate::plan::safeguards::Share;
use crate::report::history::LastRun;
use crate::report::{Counts, Status};
use crate::scan::visit::Observer;

const NOW_MS: i64 = 1_700_000_000_000;

/// Nothing is wrong: one coordinator without a fault, on a server whose schedule works.
pub fn healthy() -> Facts {
    let settings = Settings {
        database: 3,
        threshold_s: 600,
        interval_s: 300,
        databases: vec![0, 3],
        second_look: true,
        orphan_grace_s: 86_400,
        max_stale_percent: 50,
        collect_max_bytes: 1 << 29,
        ..Settings::default()
    };
    let mut facts = Facts {
        survey: Survey::new(settings, Arc::default(), Vec::new()),
        walked: Walked {
            keys_scanned: 77,
            ..Walked::default()
        },
        study: Default::default(),
        seen: Default::default(),
        outlook: Default::default(),
        last_runs: Default::default(),
        now_us: 100_000_000,
        locality: None,
    };
    beat(&mut facts, b"blocking:heartbeat:a", 10, Some(5_000));
    let counts = Counts {
        coordinators_checked: 1,
        ..Counts::default()
    };
    facts.study.forecasts = [300, 600, 900, 3600]
        .map(|threshold_s| Forecast {
            threshold_s,
            counts,
            share: None,
        })
        .to_vec();
    facts.study.ids = Some(Ids::default());
    facts.study.orphaned = Some(Orphaned::default());
    facts.outlook.next_run_s = Some(42);
    facts
}

fn beat(facts: &mut Facts, name: &[u8], age_s: i64, ttl_s: Option<i64>) {
    let vitals = HeartbeatDetails {
        reading: crate::heartbeat::Reading {
            newest_ms: Some(NOW_MS - age_s * 1000),
            doubtful: false,
        },
        told: Some(("timestamp".into(), Form::Milliseconds)),
        expires_ms: ttl_s.map(|ttl_s| NOW_MS + ttl_s * 1000),
        trouble: None,
        print: None,
    };
    facts.survey.add(name, &vitals, NOW_MS);
}

fn mute(facts: &mut Facts, name: &[u8]) {
    mute_until(facts, name, Some(NOW_MS + 1000));
}

fn mute_for_ever(facts: &mut Facts, name: &[u8]) {
    mute_until(facts, name, None);
}

fn mute_until(facts: &mut Facts, name: &[u8], expires_ms: Option<i64>) {
    let vitals = HeartbeatDetails {
        reading: crate::heartbeat::UNREADABLE,
        told: None,
        expires_ms,
        trouble: Some(Trouble::new(Reason::NoDate, None, b"soon")),
        print: None,
    };
    facts.survey.add(name, &vitals, NOW_MS);
}

fn at_600(facts: &mut Facts) -> &mut Forecast {
    facts
        .study
        .forecasts
        .iter_mut()
        .find(|f| f.threshold_s == 600)
        .unwrap()
}

fn run(status: Status) -> LastRun {
    LastRun {
        run: 12,
        status,
        dry_run: false,
        coordinators_removed: 3,
        keys_removed: 18,
        ended_us: 38_500_000,
        reason: (status != Status::Complete).then(|| "breaker: 38 of 40 'x' \u{e9}".to_owned()),
    }
}

/// A change to a healthy server.
pub type Cause = fn(&mut Facts);

/// Every finding with a cause that brings it up, how serious it is then, and its sentence.
pub const CAUSES: &[(Code, Severity, Cause, &str)] = &[
    (
        Code::Memory,
        Severity::Problem,
        |f| f.walked.is_overfull = true,
        "problem: the heartbeats alone exceed blocking.collect-max-bytes (536870912): no cleanup can work, and \
         findings about ids, orphans and what a cleanup would do are missing. Raise blocking.collect-max-bytes.",
    ),
    (
        Code::Memory,
        Severity::Warning,
        |f| f.walked.is_truncated = true,
        "warning: not all family keys fit blocking.collect-max-bytes (536870912): cleanups remove a part at a time, \
         and findings about orphans and keys to be removed are missing. Raise blocking.collect-max-bytes.",
    ),
    (
        Code::NoCoordinators,
        Severity::Problem,
        |f| f.survey.heartbeats = 0,
        "problem: found no coordinators among 77 keys of database 3: there is no heartbeat. Check the database number \
         and the templates in blocking.families.",
    ),
    (
        Code::NoCoordinators,
        Severity::Problem,
        |f| {
            f.survey.heartbeats = 0;
            f.study.orphaned.as_mut().unwrap().found[Family::Signal] = 4;
        },
        "problem: found no coordinators among 77 keys of database 3: there is no heartbeat, but there are 4 family \
         keys. Either all heartbeats have expired and the rest are orphans, or their names fit no template of \
         blocking.families.",
    ),
    (
        Code::Unreadable,
        Severity::Problem,
        |f| mute(f, b"blocking:heartbeat:\xffm"),
        "problem: 1 of 2 heartbeats can never be judged and protects every key that it could own: 1, such as \
         '\\xffm', because it is neither a number nor a date: 'soon'. Fix their writers, name the time field in \
         blocking.time-fields, or delete those that no client writes any more; BLOCKING.LIST UNREADABLE shows them.",
    ),
    (
        Code::NeverStale,
        Severity::Problem,
        |f| {
            f.survey.settings.orphan_grace_s = 0;
            beat(f, b"h", 10, Some(290));
        },
        "problem: 1 of 2 heartbeats expires (300 s) before the 600 s threshold, so it cannot become stale. Keys left \
         behind become orphans: remove them with BLOCKING.CLEANUP ORPHANS, or by the schedule with \
         blocking.orphan-grace-seconds; or give heartbeats a TTL well above 600 s.",
    ),
    (
        Code::NeverStale,
        Severity::Note,
        |f| {
            f.survey.heartbeats = 0;
            beat(f, b"h", 10, Some(290));
            beat(f, b"h", 10, Some(290));
            beat(f, b"h", 0, Some(120));
        },
        "note: all 3 heartbeats expire (120-300 s) before the 600 s threshold, so none can become stale. Nothing to \
         do: the schedule removes the keys left behind as orphans (blocking.orphan-grace-seconds is 86400).",
    ),
    (
        Code::BreakerOpen,
        Severity::Problem,
        |f| f.outlook.breaker_open_s = Some(90),
        "problem: the breaker of this database has been open for 90 s, and the schedule removes nothing here; now the share \
         is smaller, and the next run will close it. Find out why so many look dead: clocks, network, a new writer; if \
         they are dead, run BLOCKING.CLEANUP once by hand.",
    ),
    (
        Code::Denied,
        Severity::Warning,
        |f| {
            f.survey.deny_heartbeat();
            f.seen.orphans_denied = 2;
        },
        "warning: you may not read 1 heartbeat, 2 orphans to be measured: they are in the counts of a cleanup, and in \
         no other finding. Run BLOCKING.DOCTOR as a user that may read every family key.",
    ),
    (
        Code::Cluster,
        Severity::Warning,
        |f| {
            let layout = Arc::default();
            let here = Slots::default();
            f.locality = Some(Locality::new(&layout, here, 2, ClusterTags::Unknown));
        },
        "warning: this node has 0 of the 16384 slots of its cluster, and 2 slots are on the move, and keys of other \
         nodes cannot be seen from here: 0 keys stay because they may belong to coordinators there. Ask every \
         primary; give every id the hash tag of its partners, and set blocking.cluster-tags to ids; 2 slots are on \
         the move: run again when they have arrived.",
    ),
    (
        Code::FutureBeats,
        Severity::Warning,
        |f| beat(f, b"h", -70, Some(5_000)),
        "warning: 1 of 2 heartbeats is up to 70 s in the future: it counts as live until then, and for 600 s more. \
         Compare the writers' clocks with this server's clock, and check the unit of their times.",
    ),
    (
        Code::ScheduleOff,
        Severity::Warning,
        |f| f.survey.settings.interval_s = 0,
        "warning: the schedule is off: keys are removed only when a client calls BLOCKING.CLEANUP. Set \
         blocking.interval-seconds, for a trial together with blocking.dry-run yes.",
    ),
    (
        Code::NotListed,
        Severity::Warning,
        |f| f.survey.settings.databases = vec![0, 7],
        "warning: the schedule runs every 300 s in databases 0, 7, but not in this database, 3. If it should, add \
         this number to blocking.databases.",
    ),
    (
        Code::DryRun,
        Severity::Warning,
        |f| f.survey.settings.dry_run = true,
        "warning: the schedule removes nothing: blocking.dry-run is yes. When the trial is over, CONFIG SET \
         blocking.dry-run no and CONFIG REWRITE.",
    ),
    (
        Code::GraceOff,
        Severity::Warning,
        |f| {
            f.survey.settings.orphan_grace_s = 0;
            beat(f, b"h", 10, Some(290));
        },
        "warning: 1 of 2 heartbeats expires before becoming stale, and the schedule does not remove the orphans that \
         it leaves: blocking.orphan-grace-seconds is 0. Set blocking.orphan-grace-seconds; in doubt take a day, \
         86400.",
    ),
    (
        Code::ShortWindow,
        Severity::Warning,
        |f| {
            f.survey.settings.orphan_grace_s = 0;
            beat(f, b"h", 0, Some(700));
        },
        "warning: 1 of 2 heartbeats expires 700 s after the beat, less than 630 s after the 600 s threshold: the \
         schedule runs every 300 s and may not find it stale twice in a row, as blocking.second-look requires, before \
         it expires. Shorten blocking.interval-seconds or the threshold, give heartbeats a longer TTL, or set \
         blocking.orphan-grace-seconds.",
    ),
    (
        Code::BreakerWouldOpen,
        Severity::Warning,
        |f| {
            at_600(f).share = Some(Share {
                stale: 38,
                judged: 40,
                percent: 50,
            });
        },
        "warning: the next scheduled run will find the breaker open and remove nothing: 38 of 40 coordinators are stale, \
         more than 50 percent. Find out why so many look dead: clocks, network, a new writer; if they are dead, run \
         BLOCKING.CLEANUP once by hand.",
    ),
    (
        Code::LastRun,
        Severity::Warning,
        |f| f.last_runs.scheduled = Some(run(Status::Refused)),
        "warning: the last scheduled run of this database ended 61 s ago: run 12, refused ('breaker: 38 of 40 x '), removed 3 \
         coordinators and 18 keys. Look the reason up in docs/commands.md, and run again when its cause is over.",
    ),
    (
        Code::LastRun,
        Severity::Note,
        |f| {
            f.last_runs.manual = Some(LastRun {
                dry_run: true,
                keys_removed: 1,
                ..run(Status::Complete)
            });
        },
        "note: the last run by hand of this database ended 61 s ago: run 12, complete, a dry run that would have removed 3 coordinators and 1 key. Nothing \
         to do; BLOCKING.STATUS has more.",
    ),
    (
        Code::Orphans,
        Severity::Warning,
        |f| {
            let orphaned = f.study.orphaned.as_mut().unwrap();
            orphaned.found = [0, 5_000, 3, 2, 0, 0].into();
            orphaned.protected = 1;
            f.seen.measured[Family::Signal] = Measured {
                keys: 1_000,
                bytes: 120_000,
            };
            f.seen.measured[Family::Ack] = Measured {
                keys: 3,
                bytes: 250,
            };
        },
        "warning: 5006 family keys are orphans (no possible owner has a heartbeat): signal 5000 (about 600000 bytes), \
         ack 3 (250 bytes), idempotency 2, of protected ids 1. BLOCKING.CLEANUP DRYRUN ORPHANS says how many of them \
         it would remove; without DRYRUN it removes them.",
    ),
    (
        Code::AmbiguousIds,
        Severity::Warning,
        |f| {
            let ids = f.study.ids.as_mut().unwrap();
            (ids.ids, ids.ambiguous) = (5, 2);
            f.seen.pair = Some((
                b"blocking:heartbeat:a:'\n".to_vec(),
                b"blocking:heartbeat:a".to_vec(),
            ));
        },
        "warning: 2 of 5 ids begin with another id and a colon, such as 'a:\\x27\\x0a' with 'a': a key can belong to \
         both, and while one is live it protects keys of the other. Choose ids without colons, or ids of which none \
         begins with another; BLOCKING.EXPLAIN shows which heartbeat protects a key.",
    ),
    (
        Code::UnknownNames,
        Severity::Warning,
        |f| {
            for n in 0..7 {
                for key in 0..=n {
                    f.survey
                        .add_unknown(format!("blocking:x{n}:{key}").as_bytes(), true);
                }
            }
        },
        "warning: 28 keys begin like family keys but fit no template: 'blocking:x6:*' 7, such as 'blocking:x6:0'; \
         'blocking:x5:*' 6, such as 'blocking:x5:0'; 'blocking:x4:*' 5, such as 'blocking:x4:0'; 'blocking:x3:*' 4, \
         such as 'blocking:x3:0'; 'blocking:x2:*' 3, such as 'blocking:x2:0'; other names 3. If coordinators write \
         them, add templates to blocking.families; if not, there is nothing to do: no cleanup touches them.",
    ),
    (
        Code::NoTtl,
        Severity::Note,
        |f| beat(f, b"h", 10, None),
        "note: 1 of 2 heartbeats has no TTL and stays until it is removed. Nothing to do: the schedule removes those \
         that become stale.",
    ),
    (
        Code::NoTtl,
        Severity::Warning,
        |f| {
            f.survey.settings.interval_s = 0;
            beat(f, b"h", 10, None);
        },
        "warning: 1 of 2 heartbeats has no TTL and stays until it is removed. Run BLOCKING.CLEANUP from time to time, \
         or let the schedule do it.",
    ),
    (
        Code::NoTtl,
        Severity::Warning,
        |f| {
            mute_for_ever(f, b"h");
            mute_for_ever(f, b"g");
        },
        "warning: 2 of 3 heartbeats have no TTL and stay until they are removed. No cleanup removes unreadable \
         heartbeats: fix their writers, or delete those that no client writes any more.",
    ),
    (
        Code::NoTtl,
        Severity::Warning,
        |f| {
            f.survey.settings.interval_s = 0;
            beat(f, b"h", 10, None);
            mute_for_ever(f, b"g");
        },
        "warning: 2 of 3 heartbeats have no TTL and stay until they are removed. Run BLOCKING.CLEANUP from time to \
         time, or let the schedule do it; no cleanup removes the 1 that is unreadable: fix their writers, or delete \
         those that no client writes any more.",
    ),
    (
        Code::Presence,
        Severity::Note,
        |f| {
            let vitals = HeartbeatDetails {
                reading: PRESENCE,
                told: Some(("(presence)".into(), Form::Presence)),
                expires_ms: Some(NOW_MS + 30_000),
                trouble: None,
                print: None,
            };
            f.survey.add(b"h", &vitals, NOW_MS);
        },
        "note: 1 of 2 heartbeats gives no time and has a TTL: it is live until it expires. Keys left behind become \
         orphans: BLOCKING.CLEANUP ORPHANS removes them, and so does the schedule with blocking.orphan-grace-seconds.",
    ),
    (
        Code::Found,
        Severity::Note,
        |f| {
            at_600(f).counts = Counts {
                coordinators_checked: 9,
                coordinators_stale: 3,
                coordinators_unreadable: 1,
                coordinators_protected: 2,
                ..Counts::default()
            };
        },
        "note: 9 coordinators among 77 keys of database 3: 5 live, 3 stale at the threshold of 600 s, 1 unreadable, 2 of \
         the stale protected. BLOCKING.LIST shows them, BLOCKING.EXPLAIN one of them.",
    ),
    (
        Code::Cleanup,
        Severity::Note,
        |f| {
            let counts = &mut at_600(f).counts;
            counts.coordinators_stale = 2;
            counts.coordinators_removed = 1;
            counts.keys_by_family = [1, 2, 0, 0, 0, 4].into();
            counts.keys_vetoed = 5;
            (0..6).for_each(|_| counts.held.add(crate::report::hold::Hold::Denied));
        },
        "note: what BLOCKING.CLEANUP would find now: at 300 s 0 stale, 0 coordinators and 0 keys removed, 0 vetoed; \
         at 600 s (blocking.threshold-seconds) 2 stale, 1 coordinator and 7 keys removed, 5 vetoed, 6 kept because \
         you may not delete them; at 900 s 0 stale, 0 coordinators and 0 keys removed, 0 vetoed; at 3600 s 0 stale, 0 \
         coordinators and 0 keys removed, 0 vetoed. Where the numbers hardly differ from one threshold to the next, \
         either will do; BLOCKING.LIST STALE shows the coordinators.",
    ),
    (
        Code::Cleanup,
        Severity::Note,
        |f| f.walked.is_truncated = true,
        "note: what BLOCKING.CLEANUP would find now: at 300 s 0 stale; at 600 s (blocking.threshold-seconds) 0 stale; \
         at 900 s 0 stale; at 3600 s 0 stale. Where the numbers hardly differ from one threshold to the next, either \
         will do; BLOCKING.LIST STALE shows the coordinators.",
    ),
    (
        Code::TimeFields,
        Severity::Note,
        |f| {
            let told = ("caf\u{e9}".to_owned(), Form::Rfc3339.word());
            f.survey.forms.insert(told, 2);
        },
        "note: the newest time is in 'caf\\xc3\\xa9' as 'rfc3339' (2 heartbeats), in 'timestamp' as 'milliseconds' (1 \
         heartbeat). Check that the writers intend this; blocking.time-fields says which fields count.",
    ),
    (
        Code::ColonIds,
        Severity::Note,
        |f| {
            let ids = f.study.ids.as_mut().unwrap();
            (ids.ids, ids.with_colon) = (5, 1);
            f.seen.colon = Some(b"swarm:s:blocking:heartbeat:a:1".to_vec());
        },
        "note: 1 of 5 ids contains a colon, such as 'a:1': some of their keys can belong to several ids, and every \
         possible owner counts. Nothing to do while no id begins with another.",
    ),
    (
        Code::LeftAlone,
        Severity::Note,
        |f| f.survey.add_unknown(b"coordinator:work:17", true),
        "note: 1 key is left alone on purpose: 'coordinator:work:*' 1, such as 'coordinator:work:17'. Nothing to do: \
         no cleanup removes unfinished work, escalations, spawns, retries, or names given as never= in \
         blocking.families.",
    ),
    (
        Code::WarmUp,
        Severity::Note,
        |f| f.outlook.warm_up_left_s = 17,
        "note: warm-up: for 17 s more no scheduled run begins, because living coordinators may look dead. Do not rely \
         on verdicts before it is over.",
    ),
    (
        Code::Schedule,
        Severity::Note,
        |_| {},
        "note: the schedule runs every 300 s in databases 0, 3, next in 42 s: dry run off, second look on, orphans go \
         after 86400 s, breaker above 50 percent. BLOCKING.STATUS shows its runs.",
    ),
    (
        Code::Replica,
        Severity::Note,
        |f| f.outlook.is_replica = true,
        "note: this server is a replica: cleanups run on its primary, and the schedule here does nothing until a \
         promotion. Run BLOCKING.DOCTOR on the primary, too; settings are not replicated.",
    ),
];
