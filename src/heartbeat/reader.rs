//! How a run reads a heartbeat, and what it knows of it then.

use std::sync::Arc;

use super::fingerprint::Fingerprinter;
use super::forms::Rules;
use super::time_fields::TimeFields;
use super::trouble::Reason;
use super::{Account, PRESENCE, Reading, Stored, account};
use crate::keys::layout::Layout;

/// How a run reads names and values; it keeps to what the settings said when it began.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// Whose a key may be.
    pub layout: Arc<Layout>,
    /// Which fields hold a time.
    pub fields: Arc<TimeFields>,
    /// Which times are believed.
    pub rules: Rules,
    /// A longer value is unreadable.
    pub max_bytes: usize,
    /// Take fingerprints of values, for a second look.
    pub prints: Option<Fingerprinter>,
}

/// A heartbeat, read.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    pub reading: Reading,
    /// Its fingerprint; 0 where none was asked for.
    pub print: u64,
    /// It gives no time, and would be alive all the same if its key has a TTL.
    pub may_be_presence: bool,
}

impl Beat {
    /// The same on a key that has a TTL or not, which need not be asked where it means nothing.
    pub fn with_ttl(self, has_ttl: impl FnOnce() -> bool) -> Self {
        if self.may_be_presence && has_ttl() {
            Self {
                reading: PRESENCE,
                ..self
            }
        } else {
            self
        }
    }
}

impl Reader {
    /// What is stored, in full.
    pub fn account(&self, stored: Stored) -> Account<'_> {
        let stored = match stored {
            Stored::Text(value) if value.len() > self.max_bytes => {
                Stored::Unread(Reason::TooLong, b"")
            }
            stored => stored,
        };
        account(stored, &self.fields.beats, self.rules)
    }

    /// What is stored, as far as a run needs it.
    pub fn read(&self, stored: Stored) -> Beat {
        let account = self.account(stored);
        Beat {
            reading: account.reading(),
            print: self.print(stored),
            may_be_presence: account.may_be_presence(),
        }
    }

    fn print(&self, stored: Stored) -> u64 {
        let prints = self.prints.as_ref();
        prints.map_or(0, |prints| {
            prints.of_stored(stored, self.max_bytes).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_fingerprints_only_if_asked() {
        let value = b"1700000000000";
        let mut reader = Reader {
            max_bytes: 64,
            ..Reader::default()
        };
        let read = |reader: &Reader| reader.read(Stored::Text(value));
        assert_eq!(read(&reader).print, 0);
        let prints = Fingerprinter::default();
        reader.prints = Some(prints.clone());
        assert_eq!(read(&reader).print, prints.of(value));
        assert_eq!(read(&reader).reading.newest_ms, Some(1_700_000_000_000));
        reader.max_bytes = 3;
        assert_eq!(read(&reader).print, 0);
        // Of a hash the fields that were read.
        let hash = |value: &[u8]| {
            reader
                .read(Stored::Hash(&[(1, Some(value.to_vec()))]))
                .print
        };
        assert_eq!(hash(b"1"), hash(b"1"));
        assert_ne!(hash(b"1"), hash(b"2"));
    }
}
