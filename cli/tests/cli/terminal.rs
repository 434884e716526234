//! On a terminal: the bar of a run, Ctrl-C, and the view.

use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, spawn};

use anyhow::{Context, Result, ensure};
use blocking_harness::{Server, wait_until};
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use super::{
    DEADLINE, OLD_MS, ends_with, hurry, ran, run, server, set, slow_server, status, user,
    wait_for_run, wait_until_idle,
};

/// The client on a terminal of its own, and what stands on its screen.
struct Terminal {
    screen: Arc<Mutex<vt100::Parser>>,
    /// Ends with the last that the client printed.
    reader: JoinHandle<()>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    pty: Box<dyn MasterPty + Send>,
}

const SIZE: PtySize = PtySize {
    rows: 16,
    cols: 100,
    pixel_width: 0,
    pixel_height: 0,
};

fn rows(size: PtySize) -> Result<NonZero<u16>> {
    NonZero::new(size.rows).context("no rows")
}

fn columns(size: PtySize) -> Result<NonZero<u16>> {
    NonZero::new(size.cols).context("no columns")
}

impl Terminal {
    fn start(server: &Server, arguments: &[&str]) -> Result<Self> {
        let pair = native_pty_system().openpty(SIZE)?;
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_blocking-cleanup"));
        command.args(["-p", &server.port().to_string()]);
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        if arguments.contains(&"--user") {
            command.env("REDISCLI_AUTH", "secret");
        }
        let child = pair.slave.spawn_command(command)?;
        let screen = Arc::new(Mutex::new(vt100::Parser::new(
            rows(SIZE)?,
            columns(SIZE)?,
            0,
        )));
        let (mut output, seen) = (pair.master.try_clone_reader()?, Arc::clone(&screen));
        let reader = spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let mut screen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                screen.process(&bytes[..length]);
            }
        });
        Ok(Self {
            screen,
            reader,
            keys: pair.master.take_writer()?,
            child,
            pty: pair.master,
        })
    }

    fn see<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        look(screen.screen())
    }

    fn text(&self) -> String {
        self.see(|screen| screen.contents())
    }

    fn wait_for(&self, words: &str) -> Result<String> {
        let seen = wait_until(words, DEADLINE, || {
            Some(self.text()).filter(|text| text.contains(words))
        });
        seen.map_err(|error| error.context(self.text()))
    }

    fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        Ok(self.keys.flush()?)
    }

    /// Waits for the end of the client, and until all that it printed is on the screen.
    fn end(&mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        let ended = wait_until("the end", DEADLINE, || child.try_wait().transpose());
        let status = ended.map_err(|error| error.context("it does not end"))??;
        let is_read = || self.reader.is_finished().then_some(());
        wait_until("the end of what it printed", DEADLINE, is_read)?;
        Ok(status)
    }
}

/// A client that a failed test left waiting.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[test]
fn a_run_has_a_bar_that_is_gone_at_the_end() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    run(&mut conn, "CONFIG SET blocking.warm-up-seconds 0")?;
    let mut terminal = Terminal::start(&server, &[])?;
    let text = terminal.wait_for("collecting, ")?;
    ensure!(
        text.contains("% collecting, ") && text.contains(" keys looked at"),
        "{text}"
    );
    run(&mut conn, "CLIENT PAUSE 600000 WRITE")?;
    terminal.wait_for("paused, waiting for writes, ")?;
    run(&mut conn, "CLIENT UNPAUSE")?;
    hurry(&mut conn)?;
    ensure!(terminal.end()?.success());
    let text = terminal.wait_for("removed 1 of 1 stale coordinator and 2 keys")?;
    ensure!(
        !text.contains('%') && !text.contains("collecting"),
        "{text}"
    );
    Ok(())
}

#[test]
fn where_there_is_no_status_there_is_no_bar_and_no_error() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    user(&mut conn, "janitor", "+blocking.cleanup")?;
    for options in [&["--user", "janitor"][..], &["-q"]] {
        set(&mut conn, b"blocking:heartbeat:dead", OLD_MS)?;
        let mut terminal = Terminal::start(&server, options)?;
        wait_for_run(&mut conn)?;
        if options.contains(&"janitor") {
            // It has been refused, and asks no more.
            let refused = || {
                let log = run(&mut conn, "ACL LOG").ok()?;
                format!("{log:?}").contains("blocking.status").then_some(())
            };
            wait_until("the refusal", DEADLINE, refused)?;
        }
        hurry(&mut conn)?;
        ensure!(terminal.end()?.success());
        let text = terminal.text();
        ensure!(!text.contains('%') && !text.contains("NOPERM"), "{text}");
        ensure!(options.contains(&"-q") == text.trim().is_empty(), "{text}");
        run(
            &mut conn,
            "CONFIG SET blocking.slice-us 50 blocking.idle-cpu-percent 1",
        )?;
    }
    Ok(())
}

#[test]
fn control_c_ends_the_run_and_clears_the_bar() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let mut terminal = Terminal::start(&server, &[])?;
    terminal.wait_for("collecting, ")?;
    terminal.press("\x03")?;
    ensure!(terminal.end()?.exit_code() == 2);
    let text = terminal.wait_for("the run ended as cancelled: the caller went away")?;
    ensure!(
        text.contains("removed nothing") && !text.contains("collecting"),
        "{text}"
    );
    ensure!(wait_until_idle(&mut conn)?.text("status")? == "cancelled");
    Ok(())
}

/// A second Ctrl-C does not wait for a server that does not answer.
#[test]
fn a_second_control_c_leaves_at_once() -> Result<()> {
    let server = slow_server()?;
    let mut conn = server.client()?;
    let mut terminal = Terminal::start(&server, &[])?;
    wait_for_run(&mut conn)?;
    terminal.wait_for("collecting, ")?;
    server.while_frozen(|| {
        terminal.press("\x03")?;
        terminal.wait_for("^C")?;
        terminal.press("\x03")?;
        ensure!(terminal.end()?.exit_code() == 2);
        Ok(())
    })
}

#[test]
fn the_view_shows_coordinators_and_gives_the_terminal_back() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    set(&mut conn, b"blocking:heartbeat:\x1b[2Jred", OLD_MS + 1)?;
    set(&mut conn, b"blocking:heartbeat:odd", "no time")?;
    let mut terminal = Terminal::start(&server, &["top", "--interval", "0.2"])?;
    terminal.wait_for("module: idle")?;
    let text = terminal.wait_for("dead  ")?;
    ensure!(text.contains("coordinators: 0 live, 2 stale"), "{text}");
    ensure!(
        text.contains(r"\x1b[2Jred") && text.contains("unreadable"),
        "{text}"
    );
    ensure!(
        text.contains("module: idle") && text.contains("schedule: off"),
        "{text}"
    );
    ensure!(terminal.see(|screen| screen.alternate_screen() && screen.hide_cursor()));
    // It follows.
    set(
        &mut conn,
        b"blocking:heartbeat:living",
        4_102_444_800_000_i64,
    )?;
    terminal.wait_for("living")?;
    // A run is on; the table stays.
    run(&mut conn, "DEBUG POPULATE 300000")?;
    run(
        &mut conn,
        "CONFIG SET blocking.slice-us 50 blocking.idle-cpu-percent 1",
    )?;
    run(&mut conn, "BLOCKING.CLEANUP ASYNC DRYRUN")?;
    let text = terminal.wait_for("INPROGRESS a cleanup is running")?;
    ensure!(
        text.contains("the table is ") && text.contains("dead  "),
        "{text}"
    );
    terminal.wait_for("module: a dry run, run ")?;
    hurry(&mut conn)?;
    wait_until("the table to be new", DEADLINE, || {
        (!terminal.text().contains("INPROGRESS")).then_some(())
    })?;
    // Fewer fit, and there are more.
    for n in 0..30 {
        set(
            &mut conn,
            format!("blocking:heartbeat:many-{n:02}").as_bytes(),
            OLD_MS + 10 + n,
        )?;
    }
    terminal.wait_for(" of 34 shown")?;
    terminal.pty.resize(PtySize { rows: 12, ..SIZE })?;
    terminal.wait_for("; 5 of 34 shown")?;
    terminal.press("q")?;
    ensure!(terminal.end()?.success());
    let is_back = || {
        let is_back = |screen: &vt100::Screen| !screen.alternate_screen() && !screen.hide_cursor();
        terminal.see(is_back).then_some(())
    };
    wait_until("the terminal to be as it was", DEADLINE, is_back)
}

#[test]
fn the_view_ends_by_control_c_and_by_signals() -> Result<()> {
    let server = server()?;
    for end in ["\x03", "\x1b", "SIGTERM"] {
        let mut terminal = Terminal::start(&server, &["top"])?;
        terminal.wait_for("dead  ")?;
        match (end, terminal.child.process_id()) {
            ("SIGTERM", Some(id)) => {
                let id = nix::unistd::Pid::from_raw(id.try_into()?);
                nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM)?;
            }
            _ => terminal.press(end)?,
        }
        ensure!(terminal.end()?.success(), "{end:?}");
        let is_back = || {
            let is_back = |screen: &vt100::Screen| !screen.alternate_screen();
            terminal.see(is_back).then_some(())
        };
        wait_until("the terminal to be as it was", DEADLINE, is_back)?;
    }
    Ok(())
}

/// What cannot get better ends it; what can is shown.
#[test]
fn the_view_says_what_is_wrong() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    let mut wrong = Terminal::start(&server, &["top", "--threshold", "0"])?;
    ensure!(wrong.end()?.exit_code() == 1);
    wrong.wait_for("ERR THRESHOLD must be an integer")?;
    // A user that may see the list and no more.
    let rights = "+blocking.list";
    user(&mut conn, "janitor", rights)?;
    let mut blind = Terminal::start(&server, &["--user", "janitor", "top", "--interval", "0.2"])?;
    blind.wait_for("dead  ")?;
    blind.wait_for("module: NOPERM")?;
    server.kill9()?;
    blind.wait_for("no answer: ")?;
    ensure!(blind.text().contains("dead  "));
    server.restart()?;
    set(&mut server.client()?, b"blocking:heartbeat:again", OLD_MS)?;
    // The user went with the server.
    blind.wait_for("AUTH failed")?;
    blind.press("q")?;
    ensure!(blind.end()?.success());
    Ok(())
}

#[test]
fn without_a_terminal_it_prints_one_table() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    set(&mut conn, b"blocking:heartbeat:\x1b[2Jred", OLD_MS + 1)?;
    for options in [&["top"][..], &["top", "--once", "--state", "stale"]] {
        let output = ran(&server, options)?;
        ends_with(&output, 0, "\ndead ")?;
        ends_with(&output, 0, r"\x1b[2Jred")?;
        ends_with(&output, 0, "ID ")?;
        ensure!(!output.stdout.contains(&0x1b) && output.stderr.is_empty());
    }
    let none = ran(&server, &["top", "--match", "living"])?;
    ends_with(&none, 0, "no id fits MATCH")?;
    let mut once = Terminal::start(&server, &["top", "--once"])?;
    ensure!(once.end()?.success());
    once.wait_for("dead  ")?;
    ensure!(!once.see(vt100::Screen::alternate_screen));
    ensure!(status(&mut conn)?.map("totals")?.int("runs")? == 0);
    Ok(())
}
