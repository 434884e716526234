//! Why a heartbeat gives no time, or none that can be relied on: one reason each, and the bytes that are to blame.

use crate::reply::error::shown;

/// So many of the bytes to blame are kept.
pub const BYTES_MAX: usize = 32;

/// A reason; the words belong behind "it" or "its field 'x'".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    OtherType,
    Unavailable,
    TooLong,
    Empty,
    Binary,
    BrokenJson,
    NoField,
    NoDate,
    Nested,
    NoScalar,
    Null,
    Zero,
    Small,
    Large,
    NotFinite,
    TooOld,
    Zoneless,
}

impl Reason {
    /// What is wrong, as the end of a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::OtherType => "is neither a string nor a hash",
            Self::Unavailable => "cannot be read from the server",
            Self::TooLong => "is longer than blocking.max-heartbeat-bytes",
            Self::Empty => "is empty",
            Self::Binary => "is not text",
            Self::BrokenJson => "begins like a JSON object but is not one",
            Self::NoField => "has none of the fields that blocking.time-fields names",
            Self::NoDate => "is neither a number nor a date",
            Self::Nested => {
                "is an object of which blocking.time-fields must name a field, such as stats.updatedAt"
            }
            Self::NoScalar => "is a list or a boolean",
            Self::Null => "is null",
            Self::Zero => "is zero",
            Self::Small => "is a number too small for a date",
            Self::Large => "is a number too large for a date",
            Self::NotFinite => "is not a finite number",
            Self::TooOld => "is older than blocking.beat-window-days",
            Self::Zoneless => "is a date without a zone, and blocking.zoneless is refuse",
        }
    }

    /// Whether a whole value of this kind, on a key with a TTL, proves life by being there: what is neither an object
    /// nor a date was never meant to give a time.
    pub const fn may_be_presence(self) -> bool {
        match self {
            Self::Empty
            | Self::Binary
            | Self::NoDate
            | Self::NoScalar
            | Self::Null
            | Self::Zero
            | Self::Small
            | Self::Large
            | Self::NotFinite => true,
            Self::OtherType
            | Self::Unavailable
            | Self::TooLong
            | Self::BrokenJson
            | Self::NoField
            | Self::Nested
            | Self::TooOld
            | Self::Zoneless => false,
        }
    }
}

/// What is wrong with a heartbeat, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub reason: Reason,
    /// The time field, unless it is the whole value.
    pub field: Option<String>,
    /// The beginning of what stands there.
    pub bytes: Vec<u8>,
}

impl Trouble {
    /// Trouble with a field, or with the whole value.
    pub fn new(reason: Reason, field: Option<&str>, bytes: &[u8]) -> Self {
        Self {
            reason,
            field: field.map(str::to_owned),
            bytes: bytes.get(..BYTES_MAX).unwrap_or(bytes).to_vec(),
        }
    }

    /// What is wrong, without the bytes.
    pub fn cause(&self) -> String {
        match &self.field {
            None => format!("it {}", self.reason.words()),
            Some(field) => format!(
                "its field '{}' {}",
                shown(field.as_bytes()),
                self.reason.words()
            ),
        }
    }

    /// What is wrong, with the bytes where there are any.
    pub fn sentence(&self) -> String {
        match self.bytes.as_slice() {
            [] => self.cause(),
            bytes => format!("{}: '{}'", self.cause(), shown(bytes)),
        }
    }
}
