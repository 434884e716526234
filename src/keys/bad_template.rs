//! What is wrong with a template of a key layout.

use std::sync::LazyLock;

use super::family::Family;

/// What is wrong with a template of a key layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTemplate {
    Byte,
    Family,
    Placeholder,
    Beginning,
    NoId,
    Form,
    Border,
    HeartbeatStar,
    NoHeartbeat,
    Never,
    TooLong,
    TooMany,
}

/// What a template may begin with, every family by its name.
static TEMPLATE_BEGINNINGS: LazyLock<String> = LazyLock::new(|| {
    let words = Family::ALL.map(|family| format!("{}=", family.name()));
    format!("a template begins with {} or never=", words.join(", "))
});

impl BadTemplate {
    /// What is accepted instead, as the end of a sentence.
    pub fn accepted(self) -> &'static str {
        match self {
            Self::Byte => "quotes, backslashes and control characters are not accepted",
            Self::Family => &TEMPLATE_BEGINNINGS,
            Self::Placeholder => {
                "only {id} and {swarm} are accepted in braces, and a brace itself is doubled"
            }
            Self::Beginning => {
                "text that ends with a colon must come before the first {id}, {swarm} or *"
            }
            Self::NoId => "a template needs one {id}",
            Self::Form => "expected PREFIX:[{swarm}TEXT | *TEXT]{id}[TEXT][*]",
            Self::Border => {
                "{id} and {swarm} must begin after a colon and end at a colon or at the end of the key, or stand beside a *"
            }
            Self::HeartbeatStar => "a heartbeat template takes no *",
            Self::NoHeartbeat => "at least one heartbeat= is needed",
            Self::Never => "never= needs a name, which may contain *, {id} and {swarm}",
            Self::TooLong => "at most 512 bytes are accepted in one template",
            Self::TooMany => "at most 64 templates are accepted",
        }
    }
}
