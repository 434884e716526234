//! What long work off the main thread does now and then: let go of the processor, and ask whether it
//! is still wanted.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::yielding::Yielding;

/// How many records, or steps of about the same length, are worked on between two breaths. Measured,
/// a record takes the plan 0.2 to 2 us.
const STEPS: usize = 64;

/// Whether work that has done so many steps is told to stop.
///
/// It also gives the processor to whoever waits for it. On a machine with few of them that may be the
/// server itself or one of its clients, and the system would let them wait for milliseconds: to it
/// this work is as good as theirs. If nobody waits, that takes less than a microsecond.
pub fn is_told_to_stop(steps: usize, stop: &AtomicBool) -> bool {
    if !steps.is_multiple_of(STEPS) {
        return false;
    }
    let_go();
    stop.load(Ordering::Relaxed)
}

/// Give the processor to whoever waits for it, unless that is somebody who keeps it.
pub fn let_go() {
    thread_local! {
        static YIELDING: Cell<(Option<Instant>, Yielding)> =
            const { Cell::new((None, Yielding::of_worker())) };
    }
    let (began, mut yielding) = YIELDING.get();
    let began = began.unwrap_or_else(Instant::now);
    let now_us = || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let before_us = now_us();
    if yielding.is_due(before_us, true) {
        std::thread::yield_now();
        yielding.made(before_us, now_us());
    }
    YIELDING.set((Some(began), yielding));
}

/// The same for work that nobody stops because it is nearly done: counts its own steps.
#[derive(Debug, Default)]
pub struct Breath {
    steps: usize,
}

impl Breath {
    pub fn step(&mut self) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS) {
            let_go();
        }
    }
}

/// The same items, with a breath now and then.
pub fn breathing<I: IntoIterator>(items: I) -> impl Iterator<Item = I::Item> {
    let mut breath = Breath::default();
    items.into_iter().inspect(move |_| breath.step())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_to_stop_hears_it_soon() {
        let stop = AtomicBool::new(false);
        assert!((0..10 * STEPS).all(|steps| !is_told_to_stop(steps, &stop)));
        stop.store(true, Ordering::Relaxed);
        let heard = (1..10 * STEPS).find(|steps| is_told_to_stop(*steps, &stop));
        assert_eq!(heard, Some(STEPS));
    }
}
