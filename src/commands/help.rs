//! What `BLOCKING.HELP` prints.

use std::iter;

use crate::commands::table::{ALL, Argument, Command, HELP, Kind};
use crate::reply::error::{Error, shown};

const TITLE: &str = "BLOCKING.<command> [<option> [value] ...]. Commands are:";

/// The lines for these arguments, the command's own name left out: all, or what is about one command, with or
/// without `BLOCKING.` in front of it. Anything else is an error.
pub fn help(args: &[&[u8]]) -> Result<Vec<String>, Error> {
    let asked = match args {
        [] => {
            let all = ALL.into_iter().flat_map(lines);
            return Ok(iter::once(TITLE.to_owned()).chain(all).collect());
        }
        [word] => *word,
        [_, more, ..] => more,
    };
    let is_asked = |name: &str| name.as_bytes().eq_ignore_ascii_case(asked);
    let topic = ALL
        .into_iter()
        .find(|command| is_asked(command.name) || is_asked(command.topic()))
        .filter(|_| args.len() == 1);
    let topic = topic.ok_or_else(|| Error::UnknownCommand {
        shown: shown(asked),
        accepted: HELP.accepted(),
    })?;
    Ok(lines(topic).collect())
}

/// What is about one command: how it is called, what it does, and what its options are for.
fn lines(command: &'static Command) -> impl Iterator<Item = String> {
    let arguments = command.arguments;
    let head = iter::once(command.topic().to_owned()).chain(arguments.iter().map(synopsis));
    let head = head.collect::<Vec<_>>().join(" ");
    let does = format!("    {}", command.help);
    let explained = arguments
        .iter()
        .filter(|argument| !argument.help.is_empty());
    let options = explained.map(|a| format!("    {}: {}", a.tokens().join(", "), a.help));
    [head, does].into_iter().chain(options)
}

fn synopsis(argument: &Argument) -> String {
    let Argument { token, value, .. } = argument;
    match argument.kind {
        Kind::Id => (*value).to_owned(),
        Kind::Keyword => format!("[{token}]"),
        Kind::Integer(_) | Kind::Pattern => format!("[{token} {value}]"),
        Kind::OptionalInteger(_) => format!("[{token} [{value}]]"),
        Kind::OneOf(tokens) if value.is_empty() => format!("[{}]", tokens.join(" | ")),
        Kind::OneOf(_) => format!("[{value}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_option_and_is_plain() {
        let all = help(&[]).unwrap();
        let text = all.join("\n");
        assert_eq!(all[0], TITLE);
        for (args, got) in [(&[&b"CLEAN"[..]][..], "CLEAN"), (&[b"LIST", b"me"], "me")] {
            let error = help(args).unwrap_err().to_string();
            assert!(
                error.starts_with("ERR BLOCKING.HELP takes one of CLEANUP, "),
                "{error}"
            );
            assert!(error.ends_with(&format!(", got '{got}'")), "{error}");
        }
        assert!(text.is_ascii());
        let topics = ALL.map(Command::topic).join(", ");
        assert_eq!(HELP.accepted(), topics);
        for command in ALL {
            let topic = command.topic();
            assert_eq!(command.name, format!("BLOCKING.{topic}"));
            let lines = help(&[topic.to_lowercase().as_bytes()]).unwrap();
            for name in [command.name.to_owned(), command.name.to_lowercase()] {
                assert_eq!(help(&[name.as_bytes()]).unwrap(), lines);
            }
            assert!(text.contains(&format!("\n{}", lines.join("\n"))), "{topic}");
            assert!(lines.len() > 1 && lines[0].starts_with(topic), "{topic}");
            assert!(lines[1..].iter().all(|line| line.starts_with("    ")));
            for token in command.arguments.iter().flat_map(Argument::tokens) {
                assert!(text.contains(token), "{token}");
                let explained = format!("{token}: ");
                let grouped = format!("{token}, ");
                let is_explained = text.contains(&explained) || text.contains(&grouped);
                assert!(is_explained || topics.contains(token), "{token}");
            }
        }
    }
}
