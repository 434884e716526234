//! Whether a user of the server has a rule that names a command of this module.
//!
//! Unloading a module while an ACL rule names one of its commands aborts Redis from 7.2 on and older Valkey
//! (valkey#2797). No server starts with such a rule if the module is missing.

use crate::reply::error::shown;

/// How the names of our commands begin.
const PREFIX: &[u8] = b"blocking.";

/// The user that this line of ACL LIST is about, made fit for a log, if a rule names a command of
/// ours: `+blocking.cleanup`, and `-blocking.cleanup` as well.
pub fn user_with_our_command(line: &[u8]) -> Option<String> {
    let mut words = line.split(|byte| *byte == b' ').skip(1);
    let name = words.next()?;
    words.any(names_ours).then(|| shown(name))
}

fn names_ours(rule: &[u8]) -> bool {
    // A selector stands in parentheses.
    let rule = rule.strip_prefix(b"(").unwrap_or(rule);
    let command = rule.strip_prefix(b"+").or_else(|| rule.strip_prefix(b"-"));
    let head = command.and_then(|command| command.get(..PREFIX.len()));
    head.is_some_and(|head| head.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_name_our_commands() {
        let table = [
            ("user a on nopass ~* +blocking.cleanup", true),
            (
                "user a on #1f ~blocking:* -@all +get +BLOCKING.Status",
                true,
            ),
            ("user a on ~* +@all -blocking.cancel", true),
            (
                "user a on -@all (~* resetchannels -@all +blocking.help)",
                true,
            ),
            ("user a on -@all (+blocking.help ~*)", true),
            ("user a on ~* +@all", false),
            ("user a on ~+blocking.cleanup -@all", false),
            ("user +blocking.cleanup on -@all +get", false),
            ("user a on +@blocking -@dangerous", false),
            ("user a on +blocking", false),
            ("user a", false),
            ("", false),
        ];
        for (line, expected) in table {
            let found = user_with_our_command(line.as_bytes());
            assert_eq!(found, expected.then(|| "a".to_owned()), "{line}");
        }
        let odd = user_with_our_command(b"user caf\xe9 on +blocking.cleanup");
        assert_eq!(odd.as_deref(), Some(r"caf\xe9"));
    }
}
