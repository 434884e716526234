//! How much of names one reply may hold, and what a run keeps for STATUS.
//!
//! A name may be 256 KiB long, a reply is written in one piece on the main thread, and JSON may make six bytes of
//! one. So names count as long as JSON may make them, whatever the reply is written as: both show the same then.

/// All names of one reply together.
pub const MAX_BYTES: usize = 1 << 20;

/// Names of which a reply shows few are not shown if they are longer.
pub const MAX_EXAMPLE_BYTES: usize = 64 << 10;

/// The bytes that a name takes in JSON, at most: see `json::lossless`.
pub fn written_bytes(name: &[u8]) -> usize {
    let written = name.iter().map(|byte| match byte {
        b'"' => 2,
        // Doubled by us, and both escaped.
        b'\\' => 4,
        b' '..=b'~' => 1,
        0x80.. => 5,
        _ => 6,
    });
    written.fold(0, usize::saturating_add)
}

/// Room for names.
#[derive(Clone, Copy, Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_BYTES)
    }
}

impl Room {
    /// Take the room of these names, if there is as much.
    pub fn take(&mut self, names: &[&[u8]]) -> bool {
        let bytes = names.iter().map(|name| written_bytes(name));
        let left = self.0.checked_sub(bytes.fold(0, usize::saturating_add));
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::json::to_json;
    use crate::reply::value::Value;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn json_is_never_longer(name in prop::collection::vec(any::<u8>(), 0..200)) {
            let json = to_json(&Value::text(name.clone()));
            prop_assert!(json.len() <= written_bytes(&name) + 2);
        }
    }

    #[test]
    fn plain_names_count_as_they_are_and_room_is_not_taken_twice() {
        assert_eq!(written_bytes(b"swarm:s1:worker-17"), 18);
        let mut room = Room(10);
        assert!(!room.take(&[b"12345678901"]));
        assert!(room.take(&[b"1234", b"5678"]));
        assert!(!room.take(&[b"abc"]) && room.take(&[b"ab"]) && room.take(&[]));
    }
}
