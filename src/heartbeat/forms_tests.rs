//! Tests of `heartbeat/forms.rs`.

use super::super::{Stored, account};
use super::*;
use crate::heartbeat::time_fields::TimeFields;
use crate::pages::KEYS;

/// 2026-11-30T18:12:00Z, which every example of the table is, but for a fraction of a second.
const EXAMPLE_MS: i64 = 1_796_062_320_000;

const UTC: Rules = Rules {
    zoneless: Zoneless::Utc,
    earliest_ms: EARLIEST_MS,
};

/// What a whole value says.
fn told(value: &str, rules: Rules) -> Option<(i64, Form)> {
    let names = TimeFields::default().beats;
    let account = account(Stored::Text(value.as_bytes()), &names, rules);
    let ms = account.reading().newest_ms?;
    Some((ms, account.told()?.1))
}

#[test]
fn every_example_of_the_table_is_read_as_a_value_and_as_a_field() {
    let zoneless = TABLE.last().unwrap().example;
    for Line { example, form, .. } in &TABLE {
        let inner = example.trim_matches('"');
        // A date without seconds is that of the last second of its minute.
        let more_ms = match inner {
            "2026-11-30T18:12Z" => 59_000,
            inner if inner.contains("123") => 123,
            _ => 0,
        };
        let expected = Some((EXAMPLE_MS + more_ms, *form));
        let values = [
            (*example).to_owned(),
            format!("{inner}\n"),
            format!("\"{inner}\""),
            format!("{{\"timestamp\":\"{inner}\"}}"),
        ];
        for value in values {
            assert_eq!(told(&value, UTC), expected, "{value}");
            let refused = *example == zoneless;
            let expected = expected.filter(|_| !refused);
            assert_eq!(told(&value, Rules::default()), expected, "{value}");
        }
    }
}

#[test]
fn the_page_prints_the_table() {
    let mut page = String::from("| form | example | `unit` |\n|---|---|---|\n");
    for Line {
        what,
        example,
        form,
    } in &TABLE
    {
        page.push_str(&format!("| {what} | `{example}` | `{}` |\n", form.word()));
    }
    assert!(KEYS.contains(&page), "docs/keys.md should have:\n{page}");
}

#[test]
fn dates() {
    let at = |text: &str| match Rules::default().text(text) {
        Moment::At(time) => Ok(time.ms - EXAMPLE_MS),
        Moment::Absent(why) | Moment::Not(why) => Err(why),
    };
    let table = [
        ("2026-11-30T18:12:00.5+0000", Ok(500)),
        ("2026-11-30T20:12:00+02", Ok(0)),
        ("2026-11-30T12:42:00-0530", Ok(0)),
        ("2026-11-30 18:12:00 +00:00", Ok(0)),
        ("2026-11-30 18:12 GMT", Ok(59_000)),
        ("2026-11-30 18:12:00UTC", Ok(0)),
        ("20261130T201200+0200", Ok(0)),
        ("20261130t1812z", Ok(59_000)),
        ("30 Nov 2026 18:12:00 +0000", Ok(0)),
        ("Mon, 30 Nov 2026 18:12 GMT", Ok(59_000)),
        // Two words for the zone must say the same.
        ("2026-11-30 20:12:00 +0200 UTC", Err(Reason::NoDate)),
        // Not a time of day, or one good to the hour.
        ("2026-11-30", Err(Reason::NoDate)),
        ("2026-11-30T18Z", Err(Reason::NoDate)),
        ("2026-11-30T18.5Z", Err(Reason::NoDate)),
        ("2026-W49-1T18:12:00Z", Err(Reason::NoDate)),
        ("2026-334T18:12:00Z", Err(Reason::NoDate)),
        ("20261130T18:12:00Z", Err(Reason::NoDate)),
        ("2026-13-30T18:12:00+0000", Err(Reason::NoDate)),
        ("2026-11-31T18:12Z", Err(Reason::NoDate)),
        ("2026-11-30T24:12Z", Err(Reason::NoDate)),
        // A military letter, and a zone that is a name only.
        ("Mon, 30 Nov 2026 18:12:00 A", Err(Reason::NoDate)),
        ("2026-11-30 18:12:00 CET", Err(Reason::NoDate)),
        ("2026-11-30T18:12:00[Europe/Paris]", Err(Reason::NoDate)),
        ("30.11.2026 18:12", Err(Reason::NoDate)),
        ("11/30/2026 18:12:00", Err(Reason::NoDate)),
        ("2026-11-30T18:12:00\u{e9}", Err(Reason::NoDate)),
        // No zone.
        ("2026-11-30T18:12:00", Err(Reason::Zoneless)),
        ("2026-11-30 18:12", Err(Reason::Zoneless)),
        ("20261130T181200,5", Err(Reason::Zoneless)),
    ];
    for (text, expected) in table {
        assert_eq!(at(text), expected, "{text}");
    }
}

/// printf's `%g`, C++ and awk write a number of six digits and an exponent, whatever the number.
#[test]
fn a_rounded_number_is_never_older_than_the_beat() {
    let names = TimeFields::default().beats;
    let mut random = 1u64;
    for _ in 0..20_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let beat_ms = EXAMPLE_MS - i64::try_from(random >> 34).unwrap();
        let digits = usize::try_from(random >> 20 & 15).unwrap();
        for (per_s, form) in [
            (1e0, Form::Seconds),
            (1e3, Form::Milliseconds),
            (1e6, Form::Microseconds),
            (1e9, Form::Nanoseconds),
        ] {
            let number = format!("{:.*e}", digits, beat_ms as f64 / 1e3 * per_s);
            let (mantissa, exponent) = number.split_once('e').unwrap();
            let texts = [
                number.clone(),
                format!("{mantissa}E+{exponent}"),
                format!("\"{number}\""),
                format!("{{\"timestamp\":{number}}}"),
                format!("{{\"timestamp\":\"{number}\",\"x\":[{{}}]}}"),
            ];
            for text in texts {
                let account = account(Stored::Text(text.as_bytes()), &names, Rules::default());
                let ms = account.reading().newest_ms.expect(&text);
                assert!(ms >= beat_ms, "{text}: {} ms too old", beat_ms - ms);
                assert_eq!(account.told(), Some((account.told().unwrap().0, form)));
                // With all its digits it is no younger either.
                assert!(
                    digits < 13 || ms <= beat_ms + 1,
                    "{text}: {ms} for {beat_ms}"
                );
            }
        }
    }
}

#[test]
fn what_is_written_now_in_another_unit_or_epoch_is_never_an_old_date() {
    let now_ms = EXAMPLE_MS;
    let since = |epoch_s: i64| i128::from(now_ms) * 10_000 + i128::from(epoch_s) * 10_000_000;
    let numbers = [
        ("ticks of .NET", since(62_135_596_800)),
        ("FILETIME", since(11_644_473_600)),
        ("the time of a UUID", since(12_219_292_800)),
        ("a hybrid logical clock", i128::from(now_ms) << 16),
        ("centiseconds", i128::from(now_ms / 10)),
        (
            "seconds since 1980",
            i128::from(now_ms / 1000 - 315_964_800),
        ),
        (
            "seconds since 2001",
            i128::from(now_ms / 1000 - 978_307_200),
        ),
        (
            "milliseconds since 2001",
            i128::from(now_ms - 978_307_200_000),
        ),
        ("days", i128::from(now_ms / 86_400_000)),
        ("minutes", i128::from(now_ms / 60_000)),
        ("deciseconds", i128::from(now_ms / 100)),
        ("tenths of a millisecond", i128::from(now_ms * 10)),
    ];
    let rules = Rules::new(Zoneless::Refuse, now_ms, 3650);
    for (what, number) in numbers {
        for moment in [rules.integer(number), rules.text(&number.to_string())] {
            // Not read, or in the future.
            let is_live = match moment {
                Moment::At(time) => time.ms >= now_ms,
                Moment::Absent(_) | Moment::Not(_) => true,
            };
            assert!(is_live, "{what}: {number} {moment:?}");
        }
    }
}

#[test]
fn every_form_has_the_same_window() {
    const DAY_MS: i64 = 86_400_000;
    // Ten days before the example is the 20th.
    let rules = Rules::new(Zoneless::Utc, EXAMPLE_MS, 10);
    assert_eq!(rules.earliest_ms, EXAMPLE_MS - 10 * DAY_MS);
    let (first_ms, before_ms) = (rules.earliest_ms, rules.earliest_ms - 1_000);
    let number = |moment_ms: i64| {
        let ms = i128::from(moment_ms);
        [ms / 1000, ms, ms * 1000, ms * 1_000_000].map(|n| n.to_string())
    };
    let first = [
        "2026-11-20T18:12:00Z",
        "2026-11-20 18:12 UTC",
        "Fri, 20 Nov 2026 18:12:00 GMT",
    ];
    let before = [
        "2026-11-20T18:11:59Z",
        "20261120T181159,9Z",
        "Fri, 20 Nov 2026 18:11:59 GMT",
        "2026-11-20T18:11:59",
    ];
    for text in number(first_ms).iter().map(String::as_str).chain(first) {
        assert!(matches!(rules.text(text), Moment::At(_)), "{text}");
    }
    for text in number(before_ms).iter().map(String::as_str).chain(before) {
        assert_eq!(rules.text(text), Moment::Not(Reason::TooOld), "{text}");
    }
    // The future has no end.
    assert!(matches!(rules.text("9999-12-31T23:59:59Z"), Moment::At(_)));
    assert!(matches!(rules.integer(99_999_999_999), Moment::At(_)));
}
