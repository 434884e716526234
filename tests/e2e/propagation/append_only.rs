//! An append-only file, read without a server: its commands, and the keys that they leave.
//! Must not trust the server's own loader, which is what it is compared with; knows no more commands than the tests and
//! the module make a server write, and says so of any other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

type Command = Vec<Vec<u8>>;
type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

const FOLDER: &str = "appendonlydir";

/// The commands of a server's append-only file.
pub struct AppendOnly {
    /// Since the file was last rewritten; of a transaction that was begun and not finished nothing.
    pub appended: Vec<Command>,
    /// What the last rewrite wrote, if it wrote commands (`aof-use-rdb-preamble no`).
    base: Option<Vec<Command>>,
    /// Bytes at the end that are no whole command, or belong to a transaction without an end.
    pub torn_bytes: usize,
}

impl AppendOnly {
    /// Reads the files that the manifest in a server's folder names.
    pub fn read(dir: &Path) -> Result<Self> {
        let folder = dir.join(FOLDER);
        let manifest = fs::read_to_string(folder.join("appendonly.aof.manifest"))?;
        let mut log = Self {
            appended: Vec::new(),
            base: None,
            torn_bytes: 0,
        };
        // A line is `file NAME seq NUMBER type LETTER`; newer servers add fields.
        for line in manifest.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let ["file", name, "seq", _, "type", kind, ..] = words[..] else {
                bail!("a manifest with the line {line}");
            };
            let path = folder.join(name);
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            match kind {
                "b" if bytes.starts_with(b"*") || bytes.is_empty() => {
                    let (commands, torn_bytes) = whole_commands(&bytes)?;
                    ensure!(torn_bytes == 0, "a rewrite that was cut short is in use");
                    log.base = Some(commands);
                }
                // A snapshot, which this file does not read.
                "b" => log.base = None,
                "i" => {
                    ensure!(log.torn_bytes == 0, "cut short in the middle");
                    let (commands, torn_bytes) = whole_commands(&bytes)?;
                    log.appended.extend(commands);
                    log.torn_bytes = torn_bytes;
                }
                // History, to be deleted.
                _ => {}
            }
        }
        Ok(log)
    }

    /// The keys of database 0, all of them strings, after all these commands.
    pub fn keys(&self) -> Result<Keys> {
        let base = self.base.as_ref().context("the base is a snapshot")?;
        let mut keys = Keys::new();
        for words in base.iter().chain(&self.appended) {
            apply(&mut keys, words)?;
        }
        Ok(keys)
    }
}

fn apply(keys: &mut Keys, words: &[Vec<u8>]) -> Result<()> {
    let (name, arguments) = words.split_first().context("an empty command")?;
    match (name.to_ascii_uppercase().as_slice(), arguments) {
        (b"MULTI" | b"EXEC", []) => {}
        (b"SELECT", [db]) => ensure!(db == b"0", "another database"),
        // Expiry times lie a day ahead.
        (b"PEXPIREAT", [_, _]) => {}
        // Options that follow the value give the TTL.
        (b"SET", [key, value, ..]) => drop(keys.insert(key.clone(), value.clone())),
        (b"MSET", pairs) => {
            for pair in pairs.chunks_exact(2) {
                keys.insert(pair[0].clone(), pair[1].clone());
            }
        }
        (b"DEL" | b"UNLINK", names) => names.iter().for_each(|name| drop(keys.remove(name))),
        _ => bail!("{} in the file", String::from_utf8_lossy(name)),
    }
    Ok(())
}

/// All commands up to where the file is torn, and how many bytes are beyond that.
fn whole_commands(bytes: &[u8]) -> Result<(Vec<Command>, usize)> {
    let mut commands = Vec::new();
    let mut rest = bytes;
    let mut transaction = None;
    loop {
        let here = (commands.len(), rest.len());
        let Some(words) = next_command(&mut rest)? else {
            break;
        };
        match words[0].to_ascii_uppercase().as_slice() {
            b"MULTI" => transaction = Some(here),
            b"EXEC" => transaction = None,
            _ => {}
        }
        commands.push(words);
    }
    match transaction {
        Some((length, torn_bytes)) => {
            commands.truncate(length);
            Ok((commands, torn_bytes))
        }
        None => Ok((commands, rest.len())),
    }
}

/// Takes one command off the front; `None` if there is no whole one.
fn next_command(rest: &mut &[u8]) -> Result<Option<Command>> {
    let mut ahead = *rest;
    let Some(count) = number(&mut ahead, b'*')? else {
        return Ok(None);
    };
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(length) = number(&mut ahead, b'$')? else {
            return Ok(None);
        };
        let Some((word, behind)) = ahead.split_at_checked(length) else {
            return Ok(None);
        };
        if behind.len() < 2 {
            return Ok(None);
        }
        ahead = behind.strip_prefix(b"\r\n").context("no line end")?;
        words.push(word.to_vec());
    }
    ensure!(!words.is_empty(), "a command without words");
    *rest = ahead;
    Ok(Some(words))
}

fn number(rest: &mut &[u8], sign: u8) -> Result<Option<usize>> {
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return Ok(None);
    };
    let (line, behind) = rest.split_at(end);
    let digits = line.strip_prefix(&[sign]).context("another sign")?;
    let digits = digits.strip_suffix(b"\r").context("no line end")?;
    *rest = &behind[1..];
    Ok(Some(std::str::from_utf8(digits)?.parse()?))
}

#[test]
fn a_file_cut_anywhere_has_its_whole_transactions_and_no_more() -> Result<()> {
    let text = "*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nUNLINK\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n\
        *2\r\n$3\r\nDEL\r\n$2\r\n\r\n\r\n";
    let transaction = text.find("*2\r\n$3").context("the second part")?;
    for cut in 0..=text.len() {
        let (commands, torn_bytes) = whole_commands(&text.as_bytes()[..cut])?;
        let (whole, used) = match cut {
            _ if cut < transaction => (0, 0),
            _ if cut < text.len() => (3, transaction),
            _ => (4, text.len()),
        };
        ensure!(commands.len() == whole, "{cut}: {commands:?}");
        ensure!(torn_bytes == cut - used, "{cut}: {torn_bytes} bytes torn");
    }
    Ok(())
}
