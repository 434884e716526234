//! The value of `blocking.obituary-stream`.

use crate::reply::error::BadSetting;

/// The longest name of the stream.
pub const MAX_STREAM_BYTES: usize = 512;

/// The value of `blocking.obituary-stream`: the name of a key; none while it is empty.
#[derive(Clone, Debug, Default)]
pub struct Stream(pub Vec<u8>);

impl Stream {
    /// Reads the setting. A family key is refused: it could be removed like any other.
    pub fn parse(text: &[u8]) -> Result<Self, BadSetting> {
        let is_refused = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\\' | 0..=31 | 127);
        let is_family = super::FAMILIES.get().family_of(text).is_some();
        if text.len() > MAX_STREAM_BYTES || text.iter().any(is_refused) || is_family {
            return Err(BadSetting::ObituaryStream);
        }
        Ok(Self(text.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_may_be_any_key_that_no_run_removes() {
        for name in [
            "",
            "dead",
            "blocking:obituaries",
            "swarm:s:state",
            "with space \u{e9}",
        ] {
            assert!(Stream::parse(name.as_bytes()).is_ok(), "{name}");
        }
        for name in [
            "blocking:signal:dead",
            "blocking:heartbeat:dead",
            "swarm:s:blocking:x",
            "\"dead\"",
            "it's",
            "de\\ad",
            "de\nad",
            &"x".repeat(MAX_STREAM_BYTES + 1),
        ] {
            assert!(Stream::parse(name.as_bytes()).is_err(), "{name}");
        }
    }
}
