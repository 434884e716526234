//! When long work lets go of the processor between two pieces: as long as that helps another thread.
//!
//! A yield takes less than a microsecond if no thread waits for this processor, and some ten if a client of the
//! server does, which then asks and sleeps again. A process that never sleeps takes it for milliseconds, each time
//! anew. So it is measured what each yield came to, and after one that helped no thread there is none for a while.
//! Numbers only: nothing here looks at a clock.

/// A yield that takes no longer than this is as good as free, whatever came of it.
const FREE_US: u64 = 20;

/// A thread that keeps the processor for longer than this has work of its own, and is no client that asks.
const LONG_US: u64 = 500;

/// Decides about the yields of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Yielding {
    /// After a yield that was wasted there is none for so many times as long as it took.
    pause_factor: u64,
    max_pause_us: u64,
    paused_until_us: u64,
    wasted_in_a_row: u32,
    /// How long the last one took and when it was over, until it is known what it was good for.
    last: Option<(u64, u64)>,
}

impl Yielding {
    /// For the main thread, which all clients wait for: yields that are wasted take a sixteenth of its time at
    /// most, and less and less.
    pub const fn of_main_thread() -> Self {
        Self::new(16, 1_000_000)
    }

    /// For other threads, which do not know whether clients are served: beside threads with work of their own
    /// they take about their half.
    pub const fn of_worker() -> Self {
        Self::new(1, 100_000)
    }

    const fn new(pause_factor: u64, max_pause_us: u64) -> Self {
        Self {
            pause_factor,
            max_pause_us,
            paused_until_us: 0,
            wasted_in_a_row: 0,
            last: None,
        }
    }

    /// When the last yield was over.
    #[cfg_attr(
        not(has_timerfd),
        expect(dead_code, reason = "turns are not listened to there")
    )]
    pub fn last_us(&self) -> u64 {
        self.last.map_or(0, |(_, ended_us)| ended_us)
    }

    /// Whether to yield now; `has_served` says whether a client was served since the last time.
    pub fn is_due(&mut self, now_us: u64, has_served: bool) -> bool {
        if let Some((took_us, ended_us)) = self.last.take() {
            let has_helped = took_us <= FREE_US || (took_us <= LONG_US && has_served);
            if has_helped {
                self.wasted_in_a_row = 0;
            } else {
                let doubled = 1u64.checked_shl(self.wasted_in_a_row).unwrap_or(u64::MAX);
                let pause_us = took_us
                    .saturating_mul(self.pause_factor)
                    .saturating_mul(doubled)
                    .min(self.max_pause_us);
                self.paused_until_us = ended_us.saturating_add(pause_us);
                self.wasted_in_a_row = self.wasted_in_a_row.saturating_add(1);
            }
        }
        now_us >= self.paused_until_us
    }

    /// A yield was made.
    pub fn made(&mut self, began_us: u64, ended_us: u64) {
        self.last = Some((ended_us.saturating_sub(began_us), ended_us));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE_US: u64 = 250;

    /// What is lost to yields that take so long, in a second of slices.
    fn lost_us(mut yielding: Yielding, took_us: u64, has_served: bool) -> u64 {
        let (mut now_us, mut lost_us) = (5_000_000, 0);
        for _ in 0..1_000_000 / SLICE_US {
            if yielding.is_due(now_us, has_served) {
                yielding.made(now_us, now_us + took_us);
                now_us += took_us;
                lost_us += took_us;
            }
            now_us += SLICE_US;
        }
        lost_us
    }

    #[test]
    fn a_hog_gets_next_to_nothing_whether_clients_are_served_or_not() {
        for has_served in [false, true] {
            for took_us in [750, 4_000, 20_000] {
                let lost_us = lost_us(Yielding::of_main_thread(), took_us, has_served);
                let most_us = 1_000_000 / 16 + took_us;
                assert!(lost_us <= most_us, "{took_us} us each: {lost_us} us");
            }
        }
    }

    #[test]
    fn a_client_that_asks_gets_the_processor_before_each_slice() {
        let all = 1_000_000 / SLICE_US;
        assert_eq!(lost_us(Yielding::of_main_thread(), 100, true), 100 * all);
        // No thread waits for the processor.
        assert_eq!(lost_us(Yielding::of_main_thread(), 1, false), all);
    }

    #[test]
    fn a_process_that_asks_nothing_gets_a_sixteenth() {
        let lost_us = lost_us(Yielding::of_main_thread(), 100, false);
        assert!(lost_us <= 1_000_000 / 16, "{lost_us} us");
    }

    #[test]
    fn after_a_hog_yields_come_back() {
        let mut yielding = Yielding::of_main_thread();
        let mut now_us = 1;
        for _ in 0..100 {
            if yielding.is_due(now_us, false) {
                yielding.made(now_us, now_us + 4_000);
            }
            now_us += 100_000;
        }
        now_us += 2_000_000;
        assert!(yielding.is_due(now_us, false));
        yielding.made(now_us, now_us + 1);
        assert!(yielding.is_due(now_us + SLICE_US, false));
    }

    #[test]
    fn a_worker_loses_half_at_most_beside_a_hog() {
        let lost_us = lost_us(Yielding::of_worker(), 4_000, true);
        assert!(lost_us <= 1_000_000 + 4_000, "{lost_us} us");
    }
}
