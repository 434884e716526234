//! The oracle for globs: `stringmatchlen` of Redis 7.0 (src/util.c), line by line, for the exact case.
//! Must stay a transcription, goto-like index arithmetic included. Two things differ on purpose: reading past the end
//! gives the NUL that ends every C string there, and bytes compare unsigned, where the server's `char` is signed on
//! some machines and unsigned on others.

/// Whether the pattern fits the whole text.
pub fn stringmatchlen(pattern: &[u8], text: &[u8]) -> bool {
    let mut skip_longer_matches = false;
    matches(pattern, text, &mut skip_longer_matches)
}

fn matches(pattern: &[u8], text: &[u8], skip_longer_matches: &mut bool) -> bool {
    let (mut p, mut s) = (0, 0);
    let at = |p: usize| pattern.get(p).copied().unwrap_or(0);
    while p < pattern.len() && s < text.len() {
        match at(p) {
            b'*' => {
                while p < pattern.len() && at(p + 1) == b'*' {
                    p += 1;
                }
                if pattern.len() - p == 1 {
                    return true;
                }
                while s < text.len() {
                    if matches(&pattern[p + 1..], &text[s..], skip_longer_matches) {
                        return true;
                    }
                    if *skip_longer_matches {
                        return false;
                    }
                    s += 1;
                }
                *skip_longer_matches = true;
                return false;
            }
            b'?' => s += 1,
            b'[' => {
                p += 1;
                let not = at(p) == b'^';
                if not {
                    p += 1;
                }
                let mut found = false;
                loop {
                    let left = pattern.len().saturating_sub(p);
                    if at(p) == b'\\' && left >= 2 {
                        p += 1;
                        found |= at(p) == text[s];
                    } else if at(p) == b']' {
                        break;
                    } else if left == 0 {
                        p -= 1;
                        break;
                    } else if left >= 3 && at(p + 1) == b'-' {
                        let (mut start, mut end) = (at(p), at(p + 2));
                        if start > end {
                            std::mem::swap(&mut start, &mut end);
                        }
                        p += 2;
                        found |= start <= text[s] && text[s] <= end;
                    } else {
                        found |= at(p) == text[s];
                    }
                    p += 1;
                }
                if found == not {
                    return false;
                }
                s += 1;
            }
            byte => {
                let mut byte = byte;
                if byte == b'\\' && pattern.len() - p >= 2 {
                    p += 1;
                    byte = at(p);
                }
                if byte != text[s] {
                    return false;
                }
                s += 1;
            }
        }
        p += 1;
        if s == text.len() {
            while at(p) == b'*' {
                p += 1;
            }
            break;
        }
    }
    p >= pattern.len() && s == text.len()
}
