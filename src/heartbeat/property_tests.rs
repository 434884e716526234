//! What holds of every heartbeat, whatever its bytes.

use proptest::prelude::*;

use super::*;

/// One JSON value, of the kinds that meet a time field in practice.
fn json_value() -> impl Strategy<Value = String> {
    let ms = NOW_MS - 2_000_000..NOW_MS + 2_000_000;
    prop_oneof![
        4 => ms.clone().prop_map(|ms| ms.to_string()),
        2 => ms.clone().prop_map(|ms| format!("\"{ms}\"")),
        2 => ms.prop_map(|ms| format!("{}.{:03}", ms / 1_000, ms % 1_000)),
        1 => any::<f64>().prop_map(|x| if x.is_finite() { x.to_string() } else { "null".into() }),
        1 => any::<i64>().prop_map(|x| x.to_string()),
        1 => prop::sample::select(vec![
            "null", "true", "\"soon\"", "[]", "{\"timestamp\":1700000000000}", "\"\\u0000\"",
        ]).prop_map(String::from),
    ]
}

fn fields() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec![
        "timestamp",
        "lastHeartbeat",
        "last_heartbeat",
        "\\u0074imestamp",
        "status",
        "",
    ]);
    let field = (name, json_value()).prop_map(|(name, json)| format!("\"{name}\":{json}"));
    prop::collection::vec(field, 0..6)
}

fn object(fields: &[String]) -> Reading {
    read_text(&format!("{{{}}}", fields.join(",")))
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value: Vec<u8>) {
        let reading = read(&value);
        let _ = verdict(reading, NOW_MS, 600);
    }

    #[test]
    fn nothing_like_json_makes_it_panic(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "{", "}", "[", "]", "\"", ":", ",", "\"timestamp\"", "\"lastHeartbeat\":", "17",
            "00000000000", ".5", "e", "-", "\\u", "d800", "null", " ", "\u{e9}", "NaN", "Infinity",
        ]), 0..20,
    )) {
        let reading = read_text(&pieces.concat());
        prop_assert!(reading.doubtful || reading.newest_ms.is_some());
    }

    #[test]
    fn milliseconds_survive_every_spelling(ms in 1_000_000_000_000_i64..2_100_000_000_000) {
        let (s, fraction) = (ms / 1_000, ms % 1_000);
        for json in [
            format!("{ms}"),
            format!("\"{ms}\""),
            format!("{ms}.0"),
            format!("{ms}999"),
            format!("{ms}000000"),
            format!("{s}.{fraction:03}"),
            format!("\"{s}.{fraction:03}\""),
            format!("{s}.{fraction:03}0000"),
        ] {
            prop_assert_eq!(field(&json), Some(ms), "{}", json);
        }
    }

    #[test]
    fn a_fresh_field_more_never_kills(
        mut fields in fields(), at: prop::sample::Index, threshold_s in 1_u32..2_000,
        name in prop::sample::select(time_fields::DEFAULT.split(' ').collect::<Vec<_>>()), ahead_ms in 0_i64..1_000_000,
    ) {
        let before = verdict(object(&fields), NOW_MS, threshold_s);
        fields.insert(
            at.index(fields.len() + 1),
            format!("\"{name}\":{}", NOW_MS + ahead_ms),
        );
        let after = verdict(object(&fields), NOW_MS, threshold_s);
        prop_assert_eq!(after, Verdict::Live, "before: {:?}", before);
    }

    #[test]
    fn the_order_of_fields_does_not_matter(
        (fields, shuffled) in fields()
            .prop_flat_map(|fields| (Just(fields.clone()), Just(fields).prop_shuffle())),
    ) {
        prop_assert_eq!(object(&fields), object(&shuffled));
    }

    #[test]
    fn doubt_never_makes_stale(ms in any::<Option<i64>>(), now_ms: i64, threshold_s: u32) {
        let reading = Reading { newest_ms: ms, doubtful: true };
        let stale = matches!(verdict(reading, now_ms, threshold_s), Verdict::Stale { .. });
        prop_assert!(!stale);
    }

    #[test]
    fn a_verdict_is_the_age_and_nothing_else(
        age_ms in -10_000_i64..10_000_000, threshold_s in 1_u32..9_000,
    ) {
        let verdict = verdict(said(NOW_MS - age_ms), NOW_MS, threshold_s);
        let stale = age_ms >= (i64::from(threshold_s) + 1) * 1_000;
        prop_assert_eq!(verdict == Verdict::Live, !stale);
    }
}
