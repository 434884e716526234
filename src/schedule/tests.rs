//! Tests of the schedule: clocks and random numbers are given, servers are not needed.

use super::*;
use crate::report::Counts;
use crate::report::cost::Cost;
use crate::schedule::kept_away::{Absence, Tried};
use crate::util::cooperative::YieldCounter;

const S: u64 = US_PER_S;

fn wanted(databases: &[u32]) -> Wanted<'_> {
    Wanted {
        interval_s: 100,
        warm_up_s: 600,
        databases,
    }
}

/// A schedule, its clock in seconds, and what it was told.
struct World {
    schedule: Schedule,
    random: u64,
    busy: Busy,
}

impl World {
    fn new() -> Self {
        Self {
            schedule: Schedule::new(0, false),
            random: 0,
            busy: Busy::Idle,
        }
    }

    fn tick(&mut self, at_us: u64, wanted: Wanted) -> Option<u32> {
        let random = self.random;
        self.schedule.tick(at_us, wanted, self.busy, &mut || random)
    }

    /// Ticks ten times a second from the beginning to the end of this time, in seconds; gives the moments of the
    /// runs, in tenths of a second, and their databases. Every run ends at once.
    fn play(&mut self, from_s: u64, to_s: u64, wanted: Wanted) -> Vec<(u64, u32)> {
        let mut runs = Vec::new();
        for tenth in from_s * 10..to_s * 10 {
            if let Some(database) = self.tick(tenth * S / 10, wanted) {
                runs.push((tenth, database));
                let report = report(Status::Complete);
                self.schedule.ended(tenth * S / 10, database, &report);
            }
        }
        runs
    }
}

fn report(status: Status) -> Report {
    Report {
        planned: true,
        run: 1,
        status,
        dry_run: false,
        threshold_s: 600,
        orphan_grace_s: None,
        counts: Counts::default(),
        cost: Cost::default(),
        stale_ids: Vec::new(),
        reason: Some("why".into()),
        scheduled: Some(0),
        warm_up_left_s: 0,
    }
}

fn at_s(runs: &[(u64, u32)]) -> Vec<u64> {
    runs.iter().map(|(tenth, _)| tenth / 10).collect()
}

#[test]
fn the_first_round_comes_within_an_interval_after_the_warm_up_and_the_others_keep_it() {
    let mut early = World::new();
    assert_eq!(
        at_s(&early.play(0, 1000, wanted(&[0]))),
        [600, 700, 800, 900]
    );
    let mut late = World::new();
    late.random = 99 * S + 9 * S / 10;
    // The first is put off by nearly an interval, the others by nearly a tenth of one.
    assert_eq!(at_s(&late.play(0, 1000, wanted(&[0]))), [699, 809, 909]);
}

#[test]
fn jitter_is_at_most_a_tenth_and_does_not_add_up() {
    let mut world = World::new();
    let mut state = 1u64;
    let mut moments = Vec::new();
    for tenth in 0..1_000_000 {
        let now_us = tenth * S / 10;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 11
        };
        if world
            .schedule
            .tick(now_us, wanted(&[0]), Busy::Idle, &mut random)
            .is_some()
        {
            moments.push(tenth);
        }
    }
    let first = moments[0];
    assert!((6000..7001).contains(&first), "{first}");
    assert!(moments.len() > 900, "{}", moments.len());
    let mut jitters = std::collections::BTreeSet::new();
    for (number, moment) in moments.iter().enumerate() {
        let jitter = moment - first - number as u64 * 1000;
        assert!(jitter <= 101, "round {number}: {jitter}");
        jitters.insert(jitter);
    }
    assert!(jitters.len() > 50, "{jitters:?}");
}

#[test]
fn off_on_replicas_and_without_an_interval() {
    let off = Wanted {
        interval_s: 0,
        ..wanted(&[0])
    };
    assert_eq!(World::new().play(0, 2000, off), []);
    let mut replica = World::new();
    replica.schedule.change_role(0, true);
    assert_eq!(replica.play(0, 2000, wanted(&[0])), []);
    replica.schedule.change_role(2000 * S, false);
    assert_eq!(at_s(&replica.play(2000, 2800, wanted(&[0]))), [2600, 2700]);
    assert_eq!(replica.play(2800, 3000, off), []);
    assert_eq!(replica.schedule.next_s(3000 * S), None);
    // On again, and the warm-up is long over.
    assert_eq!(at_s(&replica.play(3000, 3200, wanted(&[0]))), [3000, 3100]);
}

#[test]
fn each_database_in_turn_and_never_two_at_once() {
    let mut world = World::new();
    let list = [3, 0, 7];
    let runs = world.play(0, 800, wanted(&list));
    let databases: Vec<u32> = runs.iter().map(|(_, database)| *database).collect();
    assert_eq!(databases, [3, 0, 7, 3, 0, 7]);
    assert_eq!(at_s(&runs), [600, 600, 600, 700, 700, 700]);
    // The next one has to wait for the one that is on.
    assert_eq!(world.tick(800 * S, wanted(&list)), Some(3));
    world.busy = Busy::Scheduled;
    assert_eq!(world.tick(801 * S, wanted(&list)), None);
    world.busy = Busy::Idle;
    assert_eq!(world.tick(802 * S, wanted(&list)), Some(0));
    // The list has become shorter meanwhile.
    assert_eq!(world.tick(803 * S, wanted(&[5])), Some(5));
    assert_eq!(world.tick(804 * S, wanted(&[5])), None);
}

#[test]
fn a_round_that_lasts_longer_than_the_interval_is_followed_by_the_next_moment_and_not_by_a_queue() {
    let mut world = World::new();
    assert_eq!(world.tick(0, wanted(&[0])), None);
    assert_eq!(world.tick(600 * S, wanted(&[0])), Some(0));
    world.busy = Busy::Scheduled;
    for s in 601..950 {
        assert_eq!(world.tick(s * S, wanted(&[0])), None);
    }
    assert_eq!(world.schedule.skipped, 3);
    world.busy = Busy::Idle;
    assert_eq!(at_s(&world.play(950, 1200, wanted(&[0]))), [1000, 1100]);
}

#[test]
fn a_manual_run_makes_rounds_skip_and_cuts_one_short() {
    let mut world = World::new();
    world.busy = Busy::Manual;
    assert_eq!(world.play(0, 950, wanted(&[0, 1])), []);
    assert_eq!(world.schedule.skipped, 4);
    world.busy = Busy::Idle;
    assert_eq!(world.play(950, 1000, wanted(&[0, 1])), []);
    assert_eq!(world.tick(1000 * S, wanted(&[0, 1])), Some(0));
    // It gives way to a manual one, and so does the rest of the round.
    world
        .schedule
        .ended(1001 * S, 0, &report(Status::Cancelled));
    world.busy = Busy::Manual;
    assert_eq!(world.tick(1001 * S, wanted(&[0, 1])), None);
    world.busy = Busy::Idle;
    let runs = world.play(1002, 1101, wanted(&[0, 1]));
    assert_eq!(runs.iter().map(|(_, db)| *db).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(at_s(&runs), [1100, 1100]);
}

#[test]
fn another_interval_counts_from_now_and_a_warm_up_that_is_over_does_not_come_back() {
    let mut world = World::new();
    assert_eq!(at_s(&world.play(0, 650, wanted(&[0]))), [600]);
    let faster = Wanted {
        interval_s: 10,
        ..wanted(&[0])
    };
    assert_eq!(at_s(&world.play(650, 675, faster)), [650, 660, 670]);
    // A setting of the past.
    let shorter = Wanted {
        warm_up_s: 1,
        ..faster
    };
    assert_eq!(at_s(&world.play(675, 695, shorter)), [680, 690]);
    // A longer one that is not over: the server has not been there for so long.
    let longer = Wanted {
        warm_up_s: 700,
        ..faster
    };
    assert_eq!(at_s(&world.play(695, 715, longer)), [700, 710]);
}

#[test]
fn a_warm_up_begins_anew_and_ends_when_its_setting_says_so() {
    let mut world = World::new();
    assert_eq!(at_s(&world.play(0, 650, wanted(&[0]))), [600]);
    world.schedule.start_warm_up(650 * S);
    assert_eq!(world.schedule.warm_up_left_s(651 * S, 600), 599);
    assert_eq!(world.play(650, 1000, wanted(&[0])), []);
    assert_eq!(world.schedule.next_s(1000 * S - 1), Some(251));
    let none = Wanted {
        warm_up_s: 0,
        ..wanted(&[0])
    };
    assert_eq!(at_s(&world.play(1000, 1150, none)), [1000, 1100]);
    assert_eq!(world.schedule.warm_up_left_s(1150 * S, 0), 0);
    assert_eq!(
        world.schedule.warm_up_left_s(0, u64::MAX),
        u64::MAX.div_ceil(S)
    );
}

#[test]
fn the_breaker_opens_once_and_closes_once() {
    let mut schedule = Schedule::new(0, false);
    let refused = report(Status::Refused);
    let table = [
        (0, &refused, Change::Opened, 1),
        (0, &refused, Change::StillOpen, 1),
        (1, &refused, Change::Opened, 2),
        (0, &report(Status::Interrupted), Change::None, 2),
        (0, &report(Status::Cancelled), Change::None, 2),
        (0, &report(Status::Truncated), Change::Closed, 1),
        (0, &report(Status::Complete), Change::None, 1),
        (1, &report(Status::Complete), Change::Closed, 0),
        (1, &refused, Change::Opened, 1),
    ];
    for (number, (database, report, change, open)) in table.into_iter().enumerate() {
        assert_eq!(
            schedule.ended(number as u64, database, report),
            change,
            "{number}"
        );
        assert_eq!(schedule.open().count(), open, "{number}");
    }
    assert_eq!((schedule.trips, schedule.runs), (3, 9));
}

/// What a run remembers that saw one stale coordinator.
fn one_fingerprint() -> Fingerprints {
    let prints = crate::heartbeat::fingerprint::Fingerprinter::default();
    let look = crate::plan::second_look::SecondLook {
        seen: {
            let mut seen = crate::scan::fingerprints::SeenFingerprints::default();
            seen.push(&prints, b"a", 1);
            seen
        },
        prints,
        before: Arc::default(),
        most: 9,
    };
    let names = [b"a".as_slice()].into_iter();
    look.remember(names, &YieldCounter::unstoppable()).unwrap()
}

#[test]
fn a_moment_after_the_first_look_is_no_second_look() {
    let mut world = World::new();
    let mut shown = Wanted {
        warm_up_s: 0,
        ..wanted(&[0])
    };
    assert_eq!(world.tick(0, shown), Some(0));
    world.schedule.remember(0, one_fingerprint());
    // Another interval, and its first round comes at once.
    shown.interval_s = 99;
    assert_eq!(world.tick(2 * S, shown), Some(0));
    let before =
        |world: &World, at_s: u64| world.schedule.fingerprints_before(0, at_s * S, 99).len();
    assert_eq!((before(&world, 2), before(&world, 49)), (0, 0));
    assert_eq!((before(&world, 50), before(&world, 99)), (1, 1));
    // EXPLAIN asks for the run that is still to come.
    assert_eq!(world.schedule.fingerprints(0).len(), 1);
    world.schedule.remember(0, one_fingerprint());
    assert_eq!((before(&world, 51), before(&world, 52)), (0, 1));
}

#[test]
fn a_flush_forgets_what_was_seen_and_not_that_the_breaker_is_open() {
    let mut schedule = Schedule::new(0, false);
    for database in [0, 1] {
        schedule.remember(database, one_fingerprint());
        schedule.ended(0, database, &report(Status::Refused));
    }
    let seen = |schedule: &Schedule| [0, 1].map(|database| schedule.fingerprints(database).len());
    assert_eq!(seen(&schedule), [1, 1]);
    schedule.forget(Some(1));
    assert_eq!(seen(&schedule), [1, 0]);
    schedule.forget(None);
    assert_eq!(seen(&schedule), [0, 0]);
    assert_eq!(schedule.open().count(), 2);
    schedule.start_warm_up(1);
    assert_eq!(schedule.open().count(), 0);
}

#[test]
fn what_it_shows_of_itself() {
    let mut world = World::new();
    let info = |world: &World, at_s: u64| {
        let fields = world.schedule.info_fields(at_s * S, wanted(&[0]));
        fields.map(|(_, value)| value)
    };
    assert_eq!(info(&world, 0), [0, 100, 0, 0, 0, 0, 0, 0, 0, 600, 0]);
    world.play(0, 100, wanted(&[0]));
    assert_eq!(info(&world, 100), [1, 100, 500, 0, 0, 0, 0, 0, 0, 500, 0]);
    world.play(100, 610, wanted(&[0]));
    assert_eq!(info(&world, 650), [1, 100, 50, 50, 1, 0, 0, 0, 0, 0, 0]);
}

/// A schedule that has taken writes for long, with a warm-up of 600 s that is over.
fn warm() -> World {
    let mut world = World::new();
    world.schedule.tried_a_write(0, Tried::Taken, 600);
    world.play(0, 610, wanted(&[0]));
    assert!(world.schedule.ended(610 * S, 0, &report(Status::Complete)) == Change::None);
    world
}

#[test]
fn while_writes_are_refused_the_warm_up_begins_anew_and_then_has_its_whole_length() {
    let mut world = warm();
    let noticed = world.schedule.tried_a_write(1_000 * S, Tried::Refused, 600);
    assert!(noticed.is_first && noticed.begins && !noticed.is_start);
    // Longer than the warm-up.
    for second in 1_001..2_000 {
        let noticed = world
            .schedule
            .tried_a_write(second * S, Tried::Refused, 600);
        assert_eq!(noticed, Noticed::default(), "{second}");
        assert_eq!(world.schedule.warm_up_left_s(second * S, 600), 600);
        assert!(world.play(second, second + 1, wanted(&[0])).is_empty());
    }
    world.schedule.tried_a_write(2_000 * S, Tried::Taken, 600);
    let absence = world.schedule.absence(2_010 * S, 600);
    assert_eq!(
        absence,
        Some(Absence {
            away_s: 1_000,
            left_s: 590
        })
    );
    assert!(world.play(2_000, 2_600, wanted(&[0])).is_empty());
    assert_eq!(at_s(&world.play(2_600, 2_650, wanted(&[0]))), [2_600]);
    assert_eq!(world.schedule.absence(2_600 * S, 600), None);
    // One more in the warm-up prolongs it, and is not told once more.
    let again = |world: &mut World, at_s: u64| {
        let noticed = world.schedule.tried_a_write(at_s * S, Tried::Refused, 600);
        world
            .schedule
            .tried_a_write(at_s * S + 1, Tried::Taken, 600);
        noticed
    };
    assert!(again(&mut world, 3_000).begins);
    let noticed = again(&mut world, 3_100);
    assert!(noticed.is_first && !noticed.begins);
}

#[test]
fn what_comes_before_the_first_write_belongs_to_the_start_and_refuses_no_run() {
    let mut schedule = Schedule::new(0, false);
    let noticed = schedule.tried_a_write(5 * S, Tried::Refused, 600);
    assert!(noticed.is_first && noticed.is_start);
    schedule.keep_away(300 * S, 200 * S, 600);
    schedule.tried_a_write(301 * S, Tried::Taken, 600);
    assert_eq!(schedule.warm_up_left_s(301 * S, 600), 600);
    assert_eq!(schedule.absence(301 * S, 600), None);
    // So it is after a promotion, and what was before is not forgotten.
    schedule.keep_away(400 * S, 30 * S, 600);
    schedule.change_role(410 * S, true);
    schedule.change_role(420 * S, false);
    schedule.tried_a_write(430 * S, Tried::Refused, 600);
    let absence = Absence {
        away_s: 30,
        left_s: 570,
    };
    assert_eq!(schedule.absence(430 * S, 600), Some(absence));
}

#[test]
fn the_outlook_is_that_of_one_database() {
    let mut schedule = Schedule::new(0, false);
    let wanted = wanted(&[0, 3]);
    schedule.tick(0, wanted, Busy::Idle, &mut || 0);
    schedule.ended(5 * S, 3, &report(Status::Refused));
    let warm_up_s = wanted.warm_up_s;
    let here = schedule.outlook(9 * S, warm_up_s, 3);
    assert_eq!(here.breaker_open_s, Some(4));
    assert_eq!(here.next_run_s, schedule.next_s(9 * S));
    assert_eq!(
        here.warm_up_left_s,
        schedule.warm_up_left_s(9 * S, warm_up_s)
    );
    assert!(!here.is_replica && here.next_run_s.is_some());
    assert_eq!(schedule.outlook(9 * S, warm_up_s, 0).breaker_open_s, None);
    schedule.change_role(10 * S, true);
    schedule.tick(11 * S, wanted, Busy::Idle, &mut || 0);
    let there = schedule.outlook(12 * S, warm_up_s, 3);
    let expected = (true, None, None);
    assert_eq!(
        (there.is_replica, there.next_run_s, there.breaker_open_s),
        expected
    );
}
