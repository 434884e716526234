//! What long work off the main thread does now and then: let go of the processor, and ask whether it is still wanted.
//!
//! A client that cancels a run waits for its worker. So every loop whose length a name, a value or a count can
//! make long takes its steps here, down to the readings of one name and the comparisons of a sort.

use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicBool};
use std::time::Instant;

use crate::util::yielding::Yielding;

/// How many records, or steps of about the same length, are worked on before the next look. Measured, a record takes
/// the plan 0.2 to 2 us.
const STEPS: usize = 64;

/// Give the processor to a thread that waits for it, unless that thread keeps it.
///
/// On a machine with few of them that may be the server itself or one of its clients, and the system would let them
/// wait for milliseconds: to it this work is as good as theirs. If no thread waits, that takes less than a
/// microsecond.
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

/// Bytes of a name that take about as long as a step.
const STEP_BYTES: usize = 256;

/// Items that are sorted in one go: each comparison may be one of long names.
const SORTED_AT_ONCE: usize = 64;

/// Counts the steps of some work.
#[derive(Debug)]
pub struct YieldCounter<'s> {
    stop: &'s AtomicBool,
    steps: Cell<usize>,
}

impl<'s> YieldCounter<'s> {
    /// Work that ends soon after `stop` becomes true.
    pub fn new(stop: &'s AtomicBool) -> Self {
        Self {
            stop,
            // The first step asks at once.
            steps: Cell::new(STEPS),
        }
    }

    /// Work that is not stopped because it is short, such as that of one slice.
    pub fn unstoppable() -> YieldCounter<'static> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        YieldCounter::new(&NEVER)
    }

    /// One step; `None` if told to stop.
    pub fn step(&self) -> Option<()> {
        self.steps(1)
    }

    /// The step of a record with this name; it is longer the longer the name.
    pub fn name(&self, name: &[u8]) -> Option<()> {
        self.steps((name.len() / STEP_BYTES).saturating_add(1))
    }

    /// What takes as long as so many steps.
    fn steps(&self, count: usize) -> Option<()> {
        let steps = self.steps.get().saturating_add(count);
        if steps < STEPS {
            self.steps.set(steps);
            return Some(());
        }
        self.steps.set(steps % STEPS);
        let_go();
        self.go_on()
    }

    /// `None` if told to stop; to be asked after what looked at less than all because of that.
    pub fn go_on(&self) -> Option<()> {
        (!self.is_told_to_stop()).then_some(())
    }

    /// Whether to stop at once, for steps too small to be counted.
    pub fn is_told_to_stop(&self) -> bool {
        #[cfg(test)]
        if gauge::look() {
            return true;
        }
        self.stop.load(atomic::Ordering::Relaxed)
    }

    /// Sort, and keep the order of equals; `None` if told to stop.
    pub fn sort_by<T: Copy>(
        &self,
        items: &mut Vec<T>,
        mut compare: impl FnMut(&T, &T) -> Ordering,
    ) -> Option<()> {
        for run in items.chunks_mut(SORTED_AT_ONCE) {
            self.steps(run.len())?;
            run.sort_by(&mut compare);
        }
        let mut merged = Vec::with_capacity(items.len());
        let mut sorted = SORTED_AT_ONCE;
        while sorted < items.len() {
            let pair = sorted.saturating_mul(2);
            for both in items.chunks(pair) {
                let (mut first, mut second) = both.split_at(sorted.min(both.len()));
                while let (Some((a, rest_a)), Some((b, rest_b))) =
                    (first.split_first(), second.split_first())
                {
                    self.step()?;
                    if compare(b, a) == Ordering::Less {
                        merged.push(*b);
                        second = rest_b;
                    } else {
                        merged.push(*a);
                        first = rest_a;
                    }
                }
                merged.extend_from_slice(first);
                merged.extend_from_slice(second);
            }
            std::mem::swap(items, &mut merged);
            merged.clear();
            sorted = pair;
        }
        Some(())
    }
}

/// How much is done between two looks at whether to stop, in records read and hashes made, and a stop at any of them.
/// Tests hold the workers to it with hostile names: time says nothing on a machine that others use.
#[cfg(test)]
pub mod gauge {
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(0) };
        static LONGEST: Cell<u64> = const { Cell::new(0) };
        static LOOKS: Cell<u64> = const { Cell::new(0) };
        static LAST_LOOK: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// A record was read, or a hash made.
    pub fn work() {
        NOW.set(NOW.get() + 1);
        LONGEST.set(LONGEST.get().max(NOW.get()));
    }

    /// Counts a look at the flag; gives whether to stop.
    pub fn look() -> bool {
        NOW.set(0);
        LOOKS.set(LOOKS.get() + 1);
        LOOKS.get() > LAST_LOOK.get()
    }

    /// Do the work on this thread, and tell it to stop after so many looks. Gives what it gives, how often it looked,
    /// and the longest stretch between two looks, or after the last.
    pub fn stop_after<T>(looks: u64, work: impl FnOnce() -> T) -> (T, u64, u64) {
        for cell in [&NOW, &LONGEST, &LOOKS] {
            cell.set(0);
        }
        LAST_LOOK.set(looks);
        let result = work();
        LAST_LOOK.set(u64::MAX);
        (result, LOOKS.get(), LONGEST.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_is_told_to_stop_hears_it_soon() {
        let stop = AtomicBool::new(false);
        let yields = YieldCounter::new(&stop);
        assert!((0..10 * STEPS).all(|_| yields.step().is_some()));
        stop.store(true, atomic::Ordering::Relaxed);
        let heard = (1..10 * STEPS).find(|_| yields.step().is_none());
        assert!(heard.is_some_and(|steps| steps <= STEPS), "{heard:?}");
        // A long name is many steps.
        assert!(yields.name(&[b'x'; STEPS * STEP_BYTES]).is_none());
    }

    #[test]
    fn a_sort_that_is_told_to_stop_compares_few_more() {
        let stop = AtomicBool::new(false);
        let mut items: Vec<u32> = (0..100_000u32)
            .map(|n| n.wrapping_mul(0x9e37_79b9))
            .collect();
        let mut after = 0usize;
        let mut all = 0usize;
        let sorted = YieldCounter::new(&stop).sort_by(&mut items, |a, b| {
            all += 1;
            if all > 700_000 {
                stop.store(true, atomic::Ordering::Relaxed);
                after += 1;
            }
            a.cmp(b)
        });
        assert!(sorted.is_none());
        assert!((1..=STEPS).contains(&after), "{after}");
    }

    proptest! {
        #[test]
        fn sorts_as_the_library_does(mut items in prop::collection::vec((0u8..9, any::<u8>()), 0..700)) {
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            let stop = AtomicBool::new(false);
            YieldCounter::new(&stop).sort_by(&mut items, |a, b| a.0.cmp(&b.0)).unwrap();
            prop_assert_eq!(items, expected);
        }
    }
}
