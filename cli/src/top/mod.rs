//! The view: coordinators, the oldest first, and what the module does.
//! Must not disturb the server: it walks the keyspace for each table, so there is one walk at a time, and ten times its
//! length of rest behind it.

/// What is asked, and how often.
mod ask;
/// What was heard, as lines of text.
mod board;
/// The terminal: its rows, its keys, and how it was before.
mod screen;

use std::io::{IsTerminal, stdin, stdout};

use crate::args::TopOptions;
use crate::connect::Target;
use crate::failure::Failure;
use crate::reply::print;

use ask::{list, look};
use board::Board;

/// What the server lists at most.
const MOST: usize = 1_000;

pub fn top(target: Target, options: TopOptions) -> Result<(), Failure> {
    if !options.once && stdout().is_terminal() && stdin().is_terminal() {
        return screen::run(target, options);
    }
    let mut link = target.connect()?;
    let mut board = Board::new(target.to_string());
    board.hear(look(&mut link)?);
    board.hear(list(&mut link, options.words(MOST))?);
    let lines = board.lines(None);
    print(
        &lines
            .iter()
            .map(|line| line.text.as_bytes())
            .collect::<Vec<_>>(),
    )
}
