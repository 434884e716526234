//! Whether a walk that removes what has expired gets into the way of the server's own expiry.
//!
//! The server goes through its keys in the order of SCAN, and slows down where it finds little to
//! remove. Behind a walk that removes, it finds nothing: it follows at the pace of the walk, and
//! never comes to the keys ahead of both. A quick walk is over before that matters. In a slow one
//! more and more of the keys ahead have expired, and that shows in the walk itself.

/// The share is looked at anew after so many keys.
const WINDOW_KEYS: u64 = 512;

/// If more than this share of the keys had expired, in percent, the walk leaves them to the server. Left
/// alone it goes faster only where it finds more than 10 %.
const MAX_PERCENT: u64 = 2;

/// Counts the keys of a walk.
#[derive(Debug, Default)]
pub struct ExpiredShare {
    looked_at: u64,
    expired: u64,
}

impl ExpiredShare {
    /// So many keys were looked at, and so many of them removed; says whether that is too many.
    pub fn add(&mut self, looked_at: u64, expired: u64) -> bool {
        self.looked_at = self.looked_at.saturating_add(looked_at);
        self.expired = self.expired.saturating_add(expired);
        if self.looked_at < WINDOW_KEYS {
            return false;
        }
        let Self { looked_at, expired } = std::mem::take(self);
        expired.saturating_mul(100) > looked_at.saturating_mul(MAX_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many pages of a hundred keys it is too much.
    fn pages(expired: impl Fn(u64) -> u64) -> Option<u64> {
        let mut share = ExpiredShare::default();
        (0..1_000).find(|page| share.add(100, expired(*page)))
    }

    #[test]
    fn many_expired_keys_are_too_much_and_few_are_not() {
        assert_eq!(pages(|_| 0), None);
        assert_eq!(pages(|_| 2), None);
        assert_eq!(pages(|_| 3), Some(5));
        assert_eq!(pages(|_| 100), Some(5));
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let late = pages(|page| if page < 500 { 0 } else { 100 });
        assert!(late.is_some_and(|page| page < 507), "{late:?}");
        assert_eq!(pages(|page| if page == 0 { 10 } else { 0 }), None);
    }
}
