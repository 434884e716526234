//! How far replicas are behind, and how far a run may let them fall: pure reading of what the server says of them.
//!
//! What a replica has not yet taken waits in its output buffer, and at `client-output-buffer-limit` the server cuts
//! the replica off. It then copies the whole data set anew, which is far worse than a slow cleanup.

/// Whatever the server's limit is, or if it has none: more than this is memory the server should not have to spend.
const MAX_ALLOWED_BYTES: u64 = 32 << 20;

/// Least that is removed between two looks at the replicas; a look costs as much as removing some ten keys.
const MIN_BETWEEN_LOOKS_BYTES: u64 = 64 << 10;

/// Bytes a replica may be behind before a run waits: half of the lower limit, so that others have room, too.
///
/// Takes the value of the server's setting `client-output-buffer-limit` as CONFIG GET shows it: for each class of
/// clients its name, a hard limit, a soft limit (both in bytes, 0 for none) and a time.
pub fn allowed_bytes(limits: &[u8]) -> u64 {
    let words: Vec<&[u8]> = limits.split(|b| *b == b' ').collect();
    let is_replica = |class: &[u8]| class == b"slave" || class == b"replica";
    let class = words
        .chunks(4)
        .find(|class| class.first().is_some_and(|name| is_replica(name)));
    let bytes = class
        .into_iter()
        .flatten()
        .skip(1)
        .take(2)
        .filter_map(|word| number(word));
    let lowest = bytes.filter(|bytes| *bytes > 0).min();
    lowest.map_or(MAX_ALLOWED_BYTES, |bytes| {
        (bytes / 2).min(MAX_ALLOWED_BYTES)
    })
}

/// How many bytes may be removed before the next look, with the farthest replica this far behind.
pub fn until_next_look_bytes(allowed: u64, behind: u64) -> u64 {
    (allowed.saturating_sub(behind) / 4).max(MIN_BETWEEN_LOOKS_BYTES)
}

/// Bytes that a replica has not yet said it has: an upper bound of what waits for it, cheap to get. `None` while it
/// is being sent the data set, when it says nothing.
///
/// Takes a line of INFO replication without its name, `ip=...,state=online,offset=123,lag=0`, and the offset up to
/// which the server has written.
pub fn unacknowledged_bytes(line: &[u8], written: u64) -> Option<u64> {
    let field = |name: &[u8]| {
        line.split(|b| *b == b',')
            .find_map(|pair| pair.strip_prefix(name))
    };
    if field(b"state=") != Some(b"online") {
        return None;
    }
    Some(written.saturating_sub(number(field(b"offset=")?)?))
}

/// Bytes that wait for the farthest replica: what the server itself holds against the limit.
///
/// Takes the reply of CLIENT LIST TYPE replica. No value in it can hold a blank, so a client cannot forge the field.
pub fn buffered_bytes(clients: &[u8]) -> u64 {
    let words = clients.split(|b| b.is_ascii_whitespace());
    words
        .filter_map(|word| number(word.strip_prefix(b"omem=")?))
        .max()
        .unwrap_or_default()
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_lower_limit_is_allowed() {
        let limits = |replica: &str| {
            allowed_bytes(format!("normal 1 1 1 {replica} pubsub 2 2 60").as_bytes())
        };
        assert_eq!(limits("slave 268435456 67108864 60"), 32 << 20);
        assert_eq!(limits("slave 16777216 67108864 60"), 8 << 20);
        assert_eq!(limits("replica 16777216 0 0"), 8 << 20);
        assert_eq!(limits("slave 0 1000 60"), 500);
        assert_eq!(limits("slave 0 0 0"), MAX_ALLOWED_BYTES);
        assert_eq!(limits("slave 18446744073709551615 0 0"), MAX_ALLOWED_BYTES);
    }

    #[test]
    fn an_unknown_form_of_the_limit_leaves_our_own() {
        for text in [
            "",
            "slave",
            "slave x y z",
            "normal 0 0 0",
            " slave 10 10 10",
        ] {
            assert_eq!(allowed_bytes(text.as_bytes()), MAX_ALLOWED_BYTES, "{text}");
        }
    }

    #[test]
    fn the_closer_to_the_limit_the_sooner_the_next_look() {
        assert_eq!(until_next_look_bytes(32 << 20, 0), 8 << 20);
        assert_eq!(until_next_look_bytes(32 << 20, 28 << 20), 1 << 20);
        assert_eq!(
            until_next_look_bytes(32 << 20, 33 << 20),
            MIN_BETWEEN_LOOKS_BYTES
        );
        assert_eq!(until_next_look_bytes(0, 0), MIN_BETWEEN_LOOKS_BYTES);
    }

    #[test]
    fn an_online_replica_says_what_it_has() {
        let line = |state: &str, offset: &str| {
            format!("ip=::1,port=1,state={state},offset={offset},lag=0")
        };
        let behind = |line: String| unacknowledged_bytes(line.as_bytes(), 1_000);
        assert_eq!(behind(line("online", "400")), Some(600));
        // It can have acknowledged what was written since the offset was asked for.
        assert_eq!(behind(line("online", "1001")), Some(0));
        assert_eq!(behind(line("online", "-1")), None);
        assert_eq!(behind(line("wait_bgsave", "0")), None);
        assert_eq!(behind(line("send_bulk", "0")), None);
        assert_eq!(behind(String::new()), None);
    }

    #[test]
    fn the_farthest_replica_counts() {
        let clients =
            b"id=1 name=omem=99 obl=0 omem=20 tot-mem=3\nid=2 obl=0 omem=70000 tot-mem=1\n";
        assert_eq!(buffered_bytes(clients), 70_000);
        assert_eq!(buffered_bytes(b""), 0);
        assert_eq!(buffered_bytes(b"omem= omem=x omem=-1"), 0);
    }
}
