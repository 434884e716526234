//! How long to wait before the next slice: a share of the main thread on a busy server, another, usually all of it,
//! on an idle one. Pure: the caller measures, this decides.

/// Between two slices the event loop turns twice. If that cost the main thread no more than this, there was nothing
/// to do but poll, and at most one cheap command with a short sleep after it. Measured: 2 to 4 us on an idle server,
/// 10 to 30 with a PING, and 18 to 25 more with the sleep.
const QUIET_TURN_US: u64 = 60;

/// While we pause, the server counts as busy if others use more than this share of the time.
const QUIET_PERCENT: u64 = 10;

/// One busy turn is a single request, as from a monitor; two in a row are a load.
const BUSY_TURNS: u8 = 2;

/// No pause is longer than this, whatever the settings say, so that a run always gets on.
const MAX_PAUSE_US: u64 = 100_000;

/// What a slice costs clients that have work, in percent of its own time: it also adds turns of the loop, and leaves
/// their data no longer in the caches. Measured with 50 busy clients in 21 rounds: 110 at a share of a quarter, 160
/// at a twentieth; with something to spare, for the share is a limit.
const COST_PERCENT: u64 = 200;

/// What the main thread did between the end of one slice and the start of the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// CPU time of the main thread outside our slices.
    pub cpu_us: u64,
    /// Of this, what our own slice left for the loop to do.
    pub own_us: u64,
    /// Wall time, the pause we asked for included.
    pub wall_us: u64,
    /// The pause we had asked for, 0 for none.
    pub asked_us: u64,
}

/// What a slice of this length that removed keys leaves for the event loop to do: writing its UNLINKs to the AOF and
/// to replicas. Measured: 40 to 75 us after a slice of 250 us.
pub fn propagation_us(slice_us: u64) -> u64 {
    slice_us / 3
}

/// The share of the main thread that a run may use, in percent, 1 to 100.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// While others have work.
    pub busy: u64,
    /// While no client has any; a limit for the other, too.
    pub idle: u64,
}

/// Decides pauses from turn to turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    busy_turns: u8,
}

impl Pace {
    /// The pause in microseconds after a slice of `slice_us`, 0 for none.
    ///
    /// `before` is the turn that came before that slice.
    pub fn pause_us(&mut self, before: Turn, slice_us: u64, shares: Shares) -> u64 {
        let others_us = before.cpu_us.saturating_sub(before.own_us);
        let busy = if before.asked_us > 0 {
            others_us.saturating_mul(100) > before.wall_us.saturating_mul(QUIET_PERCENT)
        } else {
            others_us > QUIET_TURN_US
        };
        self.busy_turns = if busy {
            self.busy_turns.saturating_add(1)
        } else {
            0
        };
        let (percent, cost_percent) = if self.busy_turns < BUSY_TURNS {
            (shares.idle, 100)
        } else {
            (shares.busy.min(shares.idle), COST_PERCENT)
        };
        let percent = percent.clamp(1, 100);
        let rest = 100u64.saturating_sub(percent);
        let cost_us = slice_us.saturating_mul(cost_percent) / 100;
        // Rounded up: the share is a limit.
        let pause = cost_us.saturating_mul(rest).div_ceil(percent);
        // A turn full of other work comes back late; what it took beyond what we asked for was time for others, too.
        let late_us = before.wall_us.saturating_sub(before.asked_us);
        pause.saturating_sub(late_us).min(MAX_PAUSE_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults of the settings.
    const QUARTER: Shares = flat_out_or(25);

    /// Flat out, and `busy` percent while others have work.
    const fn flat_out_or(busy: u64) -> Shares {
        Shares { busy, idle: 100 }
    }

    /// A turn without a pause: whatever was done then was work.
    fn turn(cpu_us: u64) -> Turn {
        Turn {
            cpu_us,
            own_us: 0,
            wall_us: cpu_us,
            asked_us: 0,
        }
    }

    fn pause(cpu_us: u64, wall_us: u64, asked_us: u64) -> Turn {
        Turn {
            cpu_us,
            own_us: 0,
            wall_us,
            asked_us,
        }
    }

    #[test]
    fn flat_out_on_an_idle_server() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert_eq!(pace.pause_us(turn(QUIET_TURN_US), 250, QUARTER), 0);
        }
    }

    #[test]
    fn writing_out_our_own_removals_is_not_the_work_of_others() {
        let mut pace = Pace::default();
        let own_us = propagation_us(250);
        for cpu_us in [own_us, own_us + QUIET_TURN_US].repeat(10) {
            let before = Turn {
                own_us,
                ..turn(cpu_us)
            };
            assert_eq!(pace.pause_us(before, 250, QUARTER), 0);
        }
    }

    #[test]
    fn a_single_request_now_and_then_does_not_slow_a_run_down() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert_eq!(pace.pause_us(turn(200), 250, QUARTER), 0);
            assert_eq!(pace.pause_us(turn(8), 250, QUARTER), 0);
        }
    }

    #[test]
    fn a_share_under_load_and_free_again_after_it() {
        let mut pace = Pace::default();
        assert_eq!(pace.pause_us(turn(300), 250, QUARTER), 0);
        assert_eq!(pace.pause_us(turn(300), 250, QUARTER), 1_200);
        assert_eq!(pace.pause_us(pause(400, 1_200, 1_200), 250, QUARTER), 1_500);
        assert_eq!(pace.pause_us(pause(400, 1_550, 1_500), 250, QUARTER), 1_450);
        assert_eq!(pace.pause_us(pause(900, 9_000, 1_450), 250, QUARTER), 0);
        assert_eq!(pace.pause_us(pause(20, 800, 750), 250, QUARTER), 0);
        assert_eq!(pace.pause_us(turn(10), 250, QUARTER), 0);
    }

    #[test]
    fn the_share_is_a_limit() {
        for (percent, expected) in [(1, 49_500), (5, 9_500), (33, 1_016), (50, 500), (100, 0)] {
            let mut pace = Pace { busy_turns: 9 };
            let punctual = pause(300, 800, 800);
            assert_eq!(
                pace.pause_us(punctual, 250, flat_out_or(percent)),
                expected,
                "{percent}"
            );
        }
        let mut pace = Pace { busy_turns: 9 };
        let punctual = pause(300, 800, 800);
        assert_eq!(
            pace.pause_us(punctual, u64::MAX, flat_out_or(1)),
            MAX_PAUSE_US
        );
    }

    #[test]
    fn a_share_of_an_idle_server_is_a_limit_at_all_times() {
        let mut pace = Pace::default();
        let shares = Shares { busy: 25, idle: 10 };
        assert_eq!(pace.pause_us(turn(10), 250, shares), 2_240);
        assert_eq!(pace.pause_us(pause(10, 2_250, 2_240), 250, shares), 2_240);
        for _ in 0..BUSY_TURNS {
            pace.pause_us(pause(2_000, 2_240, 2_240), 250, shares);
        }
        assert_eq!(
            pace.pause_us(pause(2_000, 4_490, 4_490), 250, shares),
            4_500
        );
        let shares = Shares { busy: 5, idle: 10 };
        assert_eq!(
            pace.pause_us(pause(2_000, 4_490, 4_490), 250, shares),
            9_500
        );
    }
}
