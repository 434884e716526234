//! What went wrong, in one sentence, and the exit status that says so.
//! Must keep every text of the server escaped: it goes to a terminal or into a log.

use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::escape::escaped;

/// Error, wrong arguments, no server.
const ERROR: u8 = 1;
/// Cut short, refused or partial.
const CUT_SHORT: u8 = 2;
/// A wrong user or password, or none.
const LOGIN: u8 = 3;

#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    pub fn error(text: impl Into<String>) -> Self {
        Self::with(ERROR, text)
    }

    pub fn cut_short(text: impl Into<String>) -> Self {
        Self::with(CUT_SHORT, text)
    }

    pub fn login(text: impl Into<String>) -> Self {
        Self::with(LOGIN, text)
    }

    fn with(status: u8, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.status
    }

    pub fn is_login(&self) -> bool {
        self.status == LOGIN
    }

    /// What a command of the module was answered with.
    pub fn of_command(name: &str, error: &RedisError) -> Self {
        let text = server_text(error);
        if text.starts_with("ERR unknown command") {
            return Self::error(format!(
                "the module is not loaded: the server does not know {name}"
            ));
        }
        match error.code() {
            _ if is_lost(error) => Self::error(format!("the connection was lost: {text}")),
            Some("NOAUTH") => no_password(),
            // The wait was ended from outside, and the run with it.
            Some("CANCELLED" | "UNBLOCKED") => Self::cut_short(text),
            _ => Self::error(text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Nothing runs as a user that was not asked for.
pub fn no_password() -> Failure {
    Failure::login(
        "NOAUTH: the server asks for a password, which belongs in the environment variable REDISCLI_AUTH",
    )
}

/// An error as the server sent it, code word first, or what else went wrong.
pub fn server_text(error: &RedisError) -> String {
    let text = match (error.kind(), error.code(), error.detail()) {
        (ErrorKind::Io, ..) | (_, None, _) => error.to_string(),
        (_, Some(code), Some(detail)) => format!("{code} {detail}"),
        (_, Some(code), None) => code.to_owned(),
    };
    escaped(text.trim_end())
}

/// Whether the connection is of no use any more, or never was.
pub fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}
