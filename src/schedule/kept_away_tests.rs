//! Tests of what is noticed when no client can write: clocks and answers are given.

use super::*;

const S: u64 = US_PER_S;

/// Both clocks at so many milliseconds, read at once.
fn at(monotonic_ms: u64, wall_ms: i64) -> Moment {
    let us = monotonic_ms * 1000;
    Moment {
        before_us: us,
        wall_ms,
        after_us: us,
    }
}

#[test]
fn how_long_a_server_may_stand_still() {
    // Threshold and grace in seconds, and what is allowed in milliseconds.
    let table = [
        (600, 0, 150_000),
        (600, 86_400, 150_000),
        (600, 600, 150_000),
        (600, 60, 15_000),
        (600, 1, 5_000),
        (2, 0, 5_000),
        (21, 0, 5_250),
        (u64::MAX, 0, i64::MAX),
    ];
    for (threshold_s, grace_s, allowed_ms) in table {
        assert_eq!(
            standstill_ms(threshold_s, grace_s),
            allowed_ms,
            "{threshold_s} {grace_s}"
        );
    }
}

#[test]
fn clocks_that_stood_still_together_count_above_what_is_allowed() {
    let mut clocks = Clocks::new(at(0, 1_000));
    assert_eq!(clocks.missed_us(at(100, 1_100), 150_000), None);
    assert_eq!(clocks.missed_us(at(150_100, 151_100), 150_000), None);
    let missed = clocks.missed_us(at(300_101, 301_101), 150_000);
    assert_eq!(missed, Some(150_001_000));
    // It is noticed once.
    assert_eq!(clocks.missed_us(at(300_201, 301_201), 150_000), None);
}

#[test]
fn a_clock_set_forward_counts_however_long_a_standstill_may_last() {
    for (step_ms, counts) in [(2_000, false), (2_001, true), (140_000, true)] {
        let mut clocks = Clocks::new(at(0, 1_000));
        let missed = clocks.missed_us(at(1, 1_001 + step_ms), 150_000);
        assert_eq!(missed.is_some(), counts, "{step_ms}");
    }
    // A machine that was suspended: only the wall clock went on.
    let mut clocks = Clocks::new(at(0, 1_000));
    assert_eq!(clocks.missed_us(at(10, 31_000), 150_000), Some(30_000_000));
}

#[test]
fn a_clock_set_back_and_a_process_stopped_between_the_clocks_are_no_steps() {
    let mut clocks = Clocks::new(at(100_000, 100_000));
    assert_eq!(clocks.missed_us(at(100_001, 40_001), 150_000), None);
    // Stopped for a minute behind the wall clock, and then ahead of it.
    let late = Moment {
        after_us: 160_002_000,
        ..at(100_002, 40_002)
    };
    assert_eq!(clocks.missed_us(late, 150_000), None);
    assert_eq!(clocks.missed_us(at(160_003, 100_003), 150_000), None);
    let early = Moment {
        after_us: 220_004_000,
        ..at(160_004, 160_004)
    };
    assert_eq!(clocks.missed_us(early, 150_000), None);
    assert_eq!(clocks.missed_us(at(220_005, 160_005), 150_000), None);
}

#[test]
fn a_server_that_never_took_a_write_is_still_starting() {
    let mut writes = Writes::default();
    assert!(writes.is_due(0));
    for tried in [Tried::Refused, Tried::Unknown] {
        assert_eq!(writes.tried(S, tried), Follows::StillStarting);
    }
    assert!(!writes.is_due(S + 1) && writes.is_due(2 * S));
    assert!(writes.are_refused() && !writes.has_taken());
    assert_eq!(writes.tried(2 * S, Tried::Taken), Follows::StillStarting);
    assert!(writes.has_taken() && !writes.are_refused());
    assert_eq!(writes.tried(3 * S, Tried::Taken), Follows::Nothing);
}

#[test]
fn refusals_keep_writers_away_until_a_write_is_taken_again() {
    let mut writes = Writes::default();
    writes.tried(0, Tried::Taken);
    let kept = |s: u64| Follows::KeptAway { for_us: s * S };
    assert_eq!(writes.tried(S, Tried::Refused), kept(0));
    assert_eq!(writes.tried(3 * S, Tried::Refused), kept(2));
    // It is not known, so it goes on.
    assert_eq!(writes.tried(4 * S, Tried::Unknown), kept(1));
    assert_eq!(writes.tried(5 * S, Tried::Taken), kept(1));
    assert_eq!(writes.tried(6 * S, Tried::Taken), Follows::Nothing);
    assert_eq!(writes.tried(7 * S, Tried::Unknown), Follows::Nothing);
    assert_eq!(writes.tried(9 * S, Tried::Refused), kept(0));
}

#[test]
fn an_absence_grows_while_its_warm_up_is_on_and_is_over_with_it() {
    let mut away = Away::default();
    assert_eq!(away.absence(0, 60 * S), None);
    away.add(10 * S, 0, 60 * S);
    let absence = |away_s, left_s| Some(Absence { away_s, left_s });
    assert_eq!(away.absence(10 * S, 60 * S), absence(1, 60));
    away.add(12 * S, 2 * S, 60 * S);
    away.add(40 * S, 7 * S, 60 * S);
    assert_eq!(away.absence(41 * S, 60 * S), absence(9, 59));
    assert_eq!(away.absence(99 * S + 1, 60 * S), absence(9, 1));
    assert_eq!(away.absence(100 * S, 60 * S), None);
    away.add(100 * S, 3 * S, 60 * S);
    assert_eq!(away.absence(100 * S, 60 * S), absence(3, 60));
    // Without a warm-up there is none to wait for, and what is over does not come back.
    assert_eq!(away.absence(100 * S, 0), None);
    away.forget_if_over(100 * S, 60 * S);
    assert_eq!(away.absence(100 * S, 60 * S), absence(3, 60));
    away.forget_if_over(100 * S, 0);
    assert_eq!(away.absence(100 * S, 60 * S), None);
}

#[test]
fn a_run_that_removes_is_refused_after_an_absence_and_while_the_cluster_is_down() {
    let absence = Some(Absence {
        away_s: 17,
        left_s: 590,
    });
    let refused = Err(Error::WarmUp {
        away_s: 17,
        left_s: 590,
    });
    assert_eq!(objection(None, None, false), Ok(()));
    assert_eq!(objection(None, absence, false), refused);
    assert_eq!(
        objection(Some("OOM the memory is full"), absence, false),
        refused
    );
    assert_eq!(objection(None, absence, true), Ok(()));
    for no_warm_up in [false, true] {
        let down = objection(Some(CLUSTER_DOWN), absence, no_warm_up);
        assert_eq!(down, Err(Error::ClusterDown));
    }
}
