//! What two readings say together, and what a reading means at a moment.

use super::*;

#[test]
fn merging() {
    let table = [
        (said(1), said(2), said(2)),
        (said(2), said(2), said(2)),
        (said(2), doubted(1), doubted(2)),
        (said(2), UNREADABLE, doubted(2)),
        (UNREADABLE, UNREADABLE, UNREADABLE),
    ];
    for (one, other, expected) in table {
        assert_eq!(one.merged(other), expected);
        assert_eq!(other.merged(one), expected);
    }
}

#[test]
fn verdicts() {
    let table = [
        (said(NOW_MS), 600, Verdict::Live),
        (said(NOW_MS + 1), 600, Verdict::Live),
        (said(NOW_MS + 1_000_000_000), 1, Verdict::Live),
        (said(i64::MAX), 1, Verdict::Live),
        // Exactly 600 s is kept, 601 s goes.
        (said(NOW_MS - 600_000), 600, Verdict::Live),
        (said(NOW_MS - 600_999), 600, Verdict::Live),
        (said(NOW_MS - 601_000), 600, Verdict::Stale { age_s: 601 }),
        (said(NOW_MS - 601_999), 600, Verdict::Stale { age_s: 601 }),
        (said(NOW_MS - 1_999), 1, Verdict::Live),
        (said(NOW_MS - 2_000), 1, Verdict::Stale { age_s: 2 }),
        (
            said(i64::MIN),
            u32::MAX,
            Verdict::Stale {
                age_s: i64::MAX / 1_000,
            },
        ),
        // Doubt protects, but does not hide a fresh beat.
        (doubted(NOW_MS - 600_000), 600, Verdict::Live),
        (doubted(NOW_MS - 601_000), 600, Verdict::Unreadable),
        (UNREADABLE, 600, Verdict::Unreadable),
    ];
    for (reading, threshold_s, expected) in table {
        assert_eq!(
            verdict(reading, NOW_MS, threshold_s),
            expected,
            "{reading:?}"
        );
    }
}
