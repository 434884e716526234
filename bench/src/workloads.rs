//! What there is to clean up: how many coordinators, how many of them dead, among how many other keys. fixture.rs
//! makes the keys.

/// One keyspace, and how often each kind of measurement is taken on it.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: String,
    pub stale: usize,
    pub live: usize,
    pub foreign: u64,
    /// Acks that the first stale coordinator has besides its own six keys.
    pub acks: usize,
    pub rounds: Rounds,
}

/// How often each kind is measured. A probe slows down a run, so timed rounds have none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rounds {
    /// On an idle server.
    pub timed: u32,
    /// Beside a client that keeps sending PING.
    pub probed: u32,
    /// Beside fifty busy clients.
    pub crowded: u32,
    /// The server's memory is watched.
    pub memory: u32,
}

impl Rounds {
    /// At most `most` of each kind.
    pub fn limited_to(self, most: u32) -> Self {
        Self {
            timed: self.timed.min(most),
            probed: self.probed.min(most),
            crowded: self.crowded.min(most),
            memory: self.memory.min(most),
        }
    }
}

impl Workload {
    fn new(name: &str, coordinators: usize, stale_percent: usize, rounds: Rounds) -> Self {
        let stale = coordinators * stale_percent / 100;
        Self {
            name: name.to_owned(),
            stale,
            live: coordinators - stale,
            foreign: 0,
            acks: 0,
            rounds,
        }
    }

    fn foreign(self, foreign: u64) -> Self {
        Self { foreign, ..self }
    }

    pub fn coordinators(&self) -> usize {
        self.stale + self.live
    }

    /// Whether it belongs on a line of a picture: all workloads there have 99 % dead coordinators and no more acks.
    pub fn has_usual_share(&self) -> bool {
        self.acks == 0 && self.live * 99 == self.stale
    }
}

const fn rounds(timed: u32, probed: u32, crowded: u32, memory: u32) -> Rounds {
    Rounds {
        timed,
        probed,
        crowded,
        memory,
    }
}

pub const CLASSIC: &str = "classic";
pub const MILLION: &str = "1,000,000 coordinators";
pub const FOREIGN: &str = "among 10,000,000";

/// `make bench`: the classic case on every server, and what the pictures show on the first one.
pub fn usual(first_server: bool) -> Vec<Workload> {
    if !first_server {
        return vec![Workload::new(CLASSIC, 10_000, 99, rounds(3, 2, 1, 1))];
    }
    vec![
        Workload::new("1,000 coordinators", 1_000, 99, rounds(5, 0, 0, 0)),
        Workload::new(CLASSIC, 10_000, 99, rounds(13, 12, 7, 2)),
        Workload::new("100,000 coordinators", 100_000, 99, rounds(3, 3, 0, 0)),
        Workload::new(MILLION, 1_000_000, 99, rounds(1, 0, 0, 0)),
        Workload::new("among 1,000,000", 10_000, 99, rounds(3, 0, 0, 0)).foreign(1_000_000),
        Workload::new(FOREIGN, 10_000, 99, rounds(1, 0, 0, 0)).foreign(10_000_000),
    ]
}

/// `make profile`: mostly a walk, over as many keys as valgrind can walk in reasonable time.
pub fn walk() -> Workload {
    Workload::new("walk", 100, 99, rounds(0, 0, 0, 0)).foreign(200_000)
}

/// `make bench-full`: everything.
pub fn all() -> Vec<Workload> {
    let one_with_acks = Workload {
        name: "one with 1,000,000 acks".to_owned(),
        stale: 1,
        live: 99,
        foreign: 0,
        acks: 1_000_000,
        rounds: rounds(3, 2, 0, 1),
    };
    vec![
        Workload::new("1,000 coordinators", 1_000, 99, rounds(7, 0, 0, 0)),
        Workload::new(CLASSIC, 10_000, 99, rounds(13, 15, 7, 3)),
        Workload::new("1 % stale", 10_000, 1, rounds(7, 5, 0, 1)),
        Workload::new("50 % stale", 10_000, 50, rounds(7, 5, 0, 1)),
        Workload::new("100,000 coordinators", 100_000, 99, rounds(5, 3, 3, 1)),
        Workload::new(MILLION, 1_000_000, 99, rounds(3, 2, 0, 1)),
        Workload::new("among 100,000", 10_000, 99, rounds(5, 0, 0, 0)).foreign(100_000),
        Workload::new("among 1,000,000", 10_000, 99, rounds(3, 0, 0, 0)).foreign(1_000_000),
        Workload::new(FOREIGN, 10_000, 99, rounds(3, 2, 0, 1)).foreign(10_000_000),
        one_with_acks,
    ]
}

/// `--quick`: small enough for a test.
pub fn tiny() -> Vec<Workload> {
    // More acks than `unpack` can hand over.
    let acks = Workload {
        acks: 9_000,
        foreign: 300,
        ..Workload::new("acks", 100, 1, rounds(1, 0, 0, 0))
    };
    vec![
        Workload::new(CLASSIC, 200, 99, rounds(2, 1, 1, 1)),
        Workload::new("among others", 100, 50, rounds(1, 1, 0, 0)).foreign(2_000),
        acks,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_case_is_ten_thousand_coordinators_of_which_99_percent_are_dead() {
        for workloads in [usual(true), usual(false), all()] {
            let classic = workloads
                .iter()
                .find(|workload| workload.name == CLASSIC)
                .unwrap();
            assert_eq!(
                (classic.stale, classic.live, classic.foreign),
                (9_900, 100, 0)
            );
            assert!(classic.has_usual_share());
        }
        let workloads = all();
        let of = |name: &str| {
            workloads
                .iter()
                .find(|workload| workload.name == name)
                .unwrap()
        };
        assert_eq!(of(MILLION).coordinators(), 1_000_000);
        assert_eq!(of(FOREIGN).foreign, 10_000_000);
        assert!(!of("1 % stale").has_usual_share());
        let least = of(CLASSIC).rounds.limited_to(1);
        assert_eq!(
            (least.timed, least.probed, least.crowded, least.memory),
            (1, 1, 1, 1)
        );
        assert_eq!(of("among 100,000").rounds.limited_to(9).probed, 0);
    }
}
