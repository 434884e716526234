//! Which databases the schedule cleans up: `blocking.databases`, numbers separated by spaces.

use std::collections::BTreeSet;

use crate::reply::error::BadSetting;

/// Reads the list. `count` is how many databases the server has.
pub fn parse(text: &[u8], count: u32) -> Result<Vec<u32>, BadSetting> {
    let refused = || BadSetting::Databases {
        last: count.saturating_sub(1),
    };
    let mut databases = Vec::new();
    let mut known = BTreeSet::new();
    for word in text.split(|byte| *byte == b' ').filter(|w| !w.is_empty()) {
        let number = std::str::from_utf8(word).ok().filter(|word| {
            let digits = word.bytes().all(|byte| byte.is_ascii_digit());
            digits && (word.len() == 1 || !word.starts_with('0'))
        });
        let number: u32 = number.and_then(|n| n.parse().ok()).ok_or_else(refused)?;
        if number >= count || !known.insert(number) {
            return Err(refused());
        }
        databases.push(number);
    }
    if databases.is_empty() {
        return Err(refused());
    }
    Ok(databases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (text, expected) in [
            ("0", vec![0]),
            ("15", vec![15]),
            ("0 1 2", vec![0, 1, 2]),
            ("  7   3 ", vec![7, 3]),
        ] {
            assert_eq!(parse(text.as_bytes(), 16), Ok(expected), "{text}");
        }
        for text in [
            "",
            " ",
            "16",
            "-1",
            "+1",
            "01",
            "a",
            "0,1",
            "1 1",
            "0\t1",
            "0 x",
            "0x1",
            "4294967296",
            "99999999999999999999",
        ] {
            let refused = Err(BadSetting::Databases { last: 15 });
            assert_eq!(parse(text.as_bytes(), 16), refused, "{text}");
        }
        assert_eq!(parse(b"\xff", 16), Err(BadSetting::Databases { last: 15 }));
        assert_eq!(parse(b"1", 1), Err(BadSetting::Databases { last: 0 }));
    }
}
