//! The append-only file, command by command: everything that changed a server's data, in the very order in which the
//! server did it. Must not interpret a command: what it means for the data is for the test to say.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::server::Server;

/// The folder and the names that servers give to the parts of their file unless told otherwise.
const FOLDER: &str = "appendonlydir";
const MANIFEST: &str = "appendonly.aof.manifest";
/// What a line of the manifest says of a part that was appended to, and is no snapshot. Redis 8 says more behind it.
const APPENDED: &str = " type i";
/// Longer than any argument a test writes; more means that the reader has lost its way.
const LONGEST_BYTES: usize = 1 << 30;

/// Commands in the order of the file.
pub struct AofCommands {
    parts: VecDeque<PathBuf>,
    reader: Option<BufReader<File>>,
}

impl AofCommands {
    /// Reads what `server` has appended since its last rewrite. What it has answered is in the file already, as long
    /// as `appendfsync` is not `everysec`, with which a write may be held back.
    pub fn of(server: &Server) -> Result<Self> {
        let folder = server.dir().join(FOLDER);
        let manifest = folder.join(MANIFEST);
        let manifest = fs::read_to_string(&manifest)
            .with_context(|| format!("no list of parts at {}", manifest.display()))?;
        let parts = manifest.lines().filter(|line| line.contains(APPENDED));
        let parts: VecDeque<PathBuf> = parts
            .filter_map(|line| Some(folder.join(line.strip_prefix("file ")?.split(' ').next()?)))
            .collect();
        ensure!(!parts.is_empty(), "no appended part in:\n{manifest}");
        Ok(Self {
            parts,
            reader: None,
        })
    }

    fn next_command(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        loop {
            if self.reader.is_none() {
                let Some(part) = self.parts.pop_front() else {
                    return Ok(None);
                };
                let file = File::open(&part).with_context(|| part.display().to_string())?;
                self.reader = Some(BufReader::new(file));
            }
            let reader = self.reader.as_mut().context("opened above")?;
            match read_command(reader)? {
                Some(command) => return Ok(Some(command)),
                None => self.reader = None,
            }
        }
    }
}

impl Iterator for AofCommands {
    type Item = Result<Vec<Vec<u8>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_command().transpose()
    }
}

/// One command, or `None` at the end of the file. A file that ends within a command is an error.
fn read_command(reader: &mut impl BufRead) -> Result<Option<Vec<Vec<u8>>>> {
    loop {
        let Some(line) = read_line(reader)? else {
            return Ok(None);
        };
        match line.split_first() {
            // A remark, such as the server's time.
            Some((b'#', _)) => {}
            Some((b'*', count)) => {
                let count = number(count)?;
                let words = (0..count).map(|_| read_word(reader));
                return Ok(Some(words.collect::<Result<_>>()?));
            }
            _ => bail!("no command begins with {}", line.escape_ascii()),
        }
    }
}

fn read_word(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let line = read_line(reader)?.context("the file ends within a command")?;
    let length = match line.split_first() {
        Some((b'$', length)) => number(length)?,
        _ => bail!("no argument begins with {}", line.escape_ascii()),
    };
    ensure!(length <= LONGEST_BYTES, "an argument of {length} bytes");
    let mut word = vec![0; length];
    reader.read_exact(&mut word)?;
    let mut end = [0; 2];
    reader.read_exact(&mut end)?;
    ensure!(
        &end == b"\r\n",
        "an argument ends with {}",
        end.escape_ascii()
    );
    Ok(word)
}

fn read_line(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let whole = line.strip_suffix(b"\r\n");
    let whole = whole.context("the file ends within a line")?;
    Ok(Some(whole.to_vec()))
}

fn number(digits: &[u8]) -> Result<usize> {
    Ok(std::str::from_utf8(digits)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>> {
        std::iter::from_fn(|| read_command(&mut bytes).transpose()).collect()
    }

    #[test]
    fn commands_come_as_they_were_written_and_remarks_are_passed_over() {
        let file = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1700000000\r\n*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n";
        let commands = all(file).unwrap();
        let select = vec![b"SELECT".to_vec(), b"0".to_vec()];
        let set = vec![b"SET".to_vec(), b"a\r\nb".to_vec(), Vec::new()];
        assert_eq!(commands, [select, set]);
    }

    #[test]
    fn a_file_that_ends_too_early_is_not_taken_for_a_whole_one() {
        let whole = b"*1\r\n$4\r\nEXEC\r\n";
        assert_eq!(all(whole).unwrap().len(), 1);
        for end in 1..whole.len() {
            assert!(all(&whole[..end]).is_err(), "{end}");
        }
    }
}
