//! Why a key that a stale coordinator would have taken stays, although no living coordinator could own it.
//!
//! Such a key can be found again only through the heartbeats of its owners. So these stay with it, all of them, and
//! the run says how many keys there are and what the next run needs.

/// Why a key stays without a living owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The caller's ACL user may not delete it. Only the heartbeat that leads to it stays.
    Denied,
    /// Its name, or the number of its owners, is more than can be looked at in one slice.
    OverBound,
    /// It could belong to an id that `blocking.protect` names, which has no heartbeat.
    Protected,
    /// In a cluster an owner may beat on another node, or other keys of the family may lie there.
    Elsewhere,
    /// An owner's heartbeat went away during the run, and not by the run.
    OwnerGone,
}

impl Hold {
    /// Every one, in the order of the discriminants.
    pub const ALL: [Self; 5] = [
        Self::Denied,
        Self::OverBound,
        Self::Protected,
        Self::Elsewhere,
        Self::OwnerGone,
    ];

    /// The name of its count in replies and INFO.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Denied => "keys_denied",
            Self::OverBound => "keys_over_bound",
            Self::Protected => "keys_protected",
            Self::Elsewhere => "keys_elsewhere",
            Self::OwnerGone => "keys_unsettled",
        }
    }

    /// What the reply says of it, behind the number of keys.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Denied => "that the user may not delete",
            Self::OverBound => "over a bound, of names or of owners",
            Self::Protected => "that blocking.protect may cover",
            Self::Elsewhere => "that may belong to coordinators of other nodes",
            Self::OwnerGone => "of which an owner's heartbeat went away meanwhile; run again",
        }
    }
}

/// Keys that stay, by the cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held([u64; Hold::ALL.len()]);

impl Held {
    pub fn add(&mut self, hold: Hold) {
        if let Some(count) = self.0.get_mut(hold as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// One that was counted does not exist any more.
    pub fn take_back(&mut self, hold: Hold) {
        if let Some(count) = self.0.get_mut(hold as usize) {
            *count = count.saturating_sub(1);
        }
    }

    /// How many keys stay for this cause.
    pub fn count(&self, hold: Hold) -> u64 {
        self.0.get(hold as usize).copied().unwrap_or_default()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Every cause with its count, 0 included.
    pub fn iter(&self) -> impl Iterator<Item = (Hold, u64)> {
        Hold::ALL.into_iter().zip(self.0)
    }

    /// The same under the names that replies and INFO use.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.iter().map(|(hold, count)| (hold.field(), count))
    }

    /// What the reply gives as the reason; `None` if no key is held.
    pub fn reason(&self) -> Option<String> {
        let told = self.iter().filter(|(_, count)| *count > 0);
        let told: Vec<String> = told
            .map(|(hold, count)| format!("{count} {}", hold.why()))
            .collect();
        let list = told.join(", ");
        (!told.is_empty()).then(|| format!("keys stay, and their stale owners' heartbeats: {list}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_the_reason_go_together() {
        let mut held = Held::default();
        assert!(held.is_empty() && held.reason().is_none());
        for (place, hold) in Hold::ALL.into_iter().enumerate() {
            assert_eq!(hold as usize, place);
            (0..=place).for_each(|_| held.add(hold));
        }
        assert!(!held.is_empty());
        let reason = held.reason().unwrap();
        for (hold, count) in held.iter() {
            assert!(reason.contains(&format!("{count} {}", hold.why())));
        }
        for (hold, count) in Held(held.0).iter() {
            (0..count).for_each(|_| held.take_back(hold));
            held.take_back(hold);
        }
        assert_eq!(held, Held::default());
    }
}
