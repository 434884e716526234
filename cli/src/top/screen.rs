//! The terminal: its rows, its keys, and how it was before.
//! Must leave it as it was, however the view ends.

use std::io::{self, Write, stdout};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use unicode_width::UnicodeWidthStr;

use crate::args::TopOptions;
use crate::connect::Target;
use crate::failure::Failure;
use crate::top::MOST;
use crate::top::ask::{News, watch};
use crate::top::board::{Board, Line, Look};

/// How soon news are shown.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Rows above the coordinators, before it is known how many there are.
const HEAD_ROWS: usize = 6;

/// The terminal in the view's hands; dropping it gives it back.
struct Taken;

impl Taken {
    fn new() -> io::Result<Self> {
        enable_raw_mode()?;
        let taken = Self;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Harmless a second time.
fn give_back() {
    let _ = execute!(stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

pub fn run(target: Target, options: TopOptions) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::error(format!("cannot use the terminal: {error}"));
    let rows = Arc::new(AtomicUsize::new(room(size().map_err(cannot)?.1, HEAD_ROWS)));
    let (told, heard) = channel();
    let mut board = Board::new(target.to_string());
    watch(&target, options, &rows, &told)?;
    // Signals other than Ctrl-C, which arrives as a key.
    let ended = ctrlc::set_handler(|| {
        give_back();
        std::process::exit(0);
    });
    ended.map_err(|error| Failure::error(format!("cannot listen to signals: {error}")))?;
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        give_back();
        usual(what);
    }));
    let taken = Taken::new().map_err(cannot)?;
    let mut is_new = true;
    let failure = loop {
        for news in heard.try_iter() {
            if let News::Failed(failure) = news {
                drop(taken);
                return Err(failure);
            }
            board.hear(news);
            is_new = true;
        }
        if is_new && let Err(error) = draw(&board, &rows) {
            break error;
        }
        is_new = match event::poll(LOOK_EVERY)
            .and_then(|is_there| is_there.then(event::read).transpose())
        {
            Ok(None) => false,
            Ok(Some(Event::Key(key))) if ends(&key) => return Ok(()),
            Ok(Some(event)) => matches!(event, Event::Resize(..)),
            Err(error) => break error,
        };
    };
    drop(taken);
    Err(cannot(failure))
}

fn ends(key: &KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            KeyCode::Char('c' | 'd') => is_control,
            _ => false,
        }
}

/// How many coordinators fit.
fn room(height: u16, head_rows: usize) -> usize {
    let left = usize::from(height).saturating_sub(head_rows);
    left.clamp(1, MOST)
}

fn draw(board: &Board, rows: &AtomicUsize) -> io::Result<()> {
    let (width, height) = size()?;
    let lines = board.lines(Some(width.into()));
    if let Some(shown) = board.shown() {
        let head_rows = lines.len().saturating_sub(shown);
        rows.store(room(height, head_rows), Ordering::Relaxed);
    }
    let mut out = stdout().lock();
    queue!(out, BeginSynchronizedUpdate)?;
    for (row, line) in (0..height).zip(&lines) {
        queue!(out, MoveTo(0, row))?;
        write_line(&mut out, line)?;
        // Not before what is written, so that nothing flickers. A full row is cleared by what stands in it.
        if line.text.width() < width.into() {
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
    }
    if lines.len() < height.into() {
        let row = lines.len().try_into().unwrap_or(u16::MAX);
        queue!(out, MoveTo(0, row), Clear(ClearType::FromCursorDown))?;
    }
    queue!(out, EndSynchronizedUpdate)?;
    out.flush()
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    match line.look {
        Look::Plain => {}
        Look::Title => queue!(out, SetAttribute(Attribute::Bold))?,
        Look::Heads => queue!(out, SetAttribute(Attribute::Reverse))?,
        Look::Stale => queue!(out, SetForegroundColor(Color::Red))?,
        Look::Unreadable | Look::Warning => queue!(out, SetForegroundColor(Color::Yellow))?,
    }
    queue!(
        out,
        Print(&line.text),
        SetAttribute(Attribute::Reset),
        ResetColor
    )
}
