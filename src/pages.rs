//! The pages that unit tests hold against the code.

pub const COMMANDS: &str = include_str!("../docs/commands.md");
pub const KEYS: &str = include_str!("../docs/keys.md");
pub const OPERATIONS: &str = include_str!("../docs/operations.md");
