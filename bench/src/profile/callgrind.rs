//! Starts and stops callgrind's counting, and reads what it counted in the main thread.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use blocking_harness::Server;

/// One function of the server or of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// The file of the program or library that it is in.
    pub object: String,
    pub count: u64,
}

/// Events that are counted, by callgrind's names.
const INSTRUCTIONS: &str = "Ir";
const MISSES: &str = "DLmr";

/// What the main thread executed, and its reads that missed the last-level cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub instructions: Counts,
    pub misses: Counts,
}

/// Events of one kind in the main thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: u64,
    /// Functions with everything they call.
    inclusive: Vec<Function>,
    /// Functions by themselves, the most expensive first.
    pub own: Vec<Function>,
}

impl Counts {
    /// The count of the function of exactly this name with everything it calls; 0 if it was never called. A function
    /// into which others are inlined has a row for each of their files, and the largest of them includes the rest.
    pub fn inclusive(&self, name: &str) -> u64 {
        let named = self
            .inclusive
            .iter()
            .filter(|function| function.name == name);
        named
            .map(|function| function.count)
            .max()
            .unwrap_or_default()
    }
}

/// Counts while `work` runs.
pub fn counted<T>(server: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, Profile)> {
    let pid = server.pid().to_string();
    tell(&["-i", "on", &pid])?;
    let done = work();
    tell(&["-i", "off", &pid])?;
    tell(&["-d", &pid])?;
    // The first dump of this process, for its first thread.
    let file = server.dir().join(format!("{pid}.1-01"));
    ensure!(file.exists(), "callgrind has left no {}", file.display());
    let profile = Profile {
        instructions: counts(&file, INSTRUCTIONS)?,
        misses: counts(&file, MISSES)?,
    };
    Ok((done?, profile))
}

fn counts(file: &Path, event: &str) -> Result<Counts> {
    let (total, inclusive) = read(file, event, "yes")?;
    let (_, own) = read(file, event, "no")?;
    Ok(Counts {
        total,
        inclusive,
        own,
    })
}

fn tell(words: &[&str]) -> Result<()> {
    let output = Command::new("callgrind_control").args(words).output();
    let output = output.context("callgrind_control, which comes with valgrind")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.contains("OK"),
        "callgrind_control {words:?}: {said}"
    );
    Ok(())
}

fn read(file: &Path, event: &str, inclusive: &str) -> Result<(u64, Vec<Function>)> {
    let output = Command::new("callgrind_annotate")
        .args(["--auto=no", "--threshold=100"])
        .arg(format!("--inclusive={inclusive}"))
        .args([format!("--show={event}"), format!("--sort={event}")])
        .arg(file)
        .output()
        .context("callgrind_annotate, which comes with valgrind")?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).with_context(|| format!("cannot read what callgrind_annotate says: {text}"))
}

/// The total and the functions of its table.
fn parse(text: &str) -> Option<(u64, Vec<Function>)> {
    let mut rows = text.lines().filter_map(row);
    let total = rows.find(|(_, what)| *what == "PROGRAM TOTALS")?.0;
    let functions = rows.filter_map(|(count, what)| function(count, what));
    Some((total, functions.collect()))
}

/// `13,296,031 (26.22%)  ???:unlinkCommand [/usr/bin/redis-server]`: the number, and the text after the share.
fn row(line: &str) -> Option<(u64, &str)> {
    let (number, rest) = line.trim_start().split_once(" (")?;
    let (_, what) = rest.split_once("%)")?;
    Some((number.replace(',', "").parse().ok()?, what.trim()))
}

/// File, name and object. Rust's names hold colons too, but no file's does.
fn function(count: u64, what: &str) -> Option<Function> {
    let (_, rest) = what.split_once(':')?;
    let (name, object) = match rest.rsplit_once(" [") {
        Some((name, object)) => (name, object.trim_end_matches(']')),
        None => (rest, ""),
    };
    Some(Function {
        name: name.trim().to_owned(),
        object: object.to_owned(),
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Events recorded:  Ir
--------------------------------------------------------------------------------
50,703 (100.0%)  PROGRAM TOTALS

--------------------------------------------------------------------------------
Ir              file:function
--------------------------------------------------------------------------------
13,296 (26.22%)  ???:unlinkCommand [/usr/bin/redis-server]
 9,686 (19.10%)  /src/scan.rs:blocking::scan::on_key [/lib/module.so]
    90 ( 0.18%)  /src/inlined.c:unlinkCommand [/usr/bin/redis-server]
";

    #[test]
    fn a_table_is_read_line_by_line() {
        let (total, inclusive) = parse(TABLE).unwrap();
        let counts = Counts {
            total,
            own: inclusive.clone(),
            inclusive,
        };
        assert_eq!(counts.total, 50_703);
        assert_eq!(counts.inclusive("unlinkCommand"), 13_296);
        assert_eq!(counts.inclusive("blocking::scan::on_key"), 9_686);
        assert_eq!(counts.inclusive("unlink"), 0);
        assert_eq!(counts.own[1].object, "/lib/module.so");
        assert_eq!(parse("nothing at all"), None);
    }
}
