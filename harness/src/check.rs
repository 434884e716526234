//! Reads keys one by one: what a run has really left.
//! Must only read.

use anyhow::Result;
use redis::Connection;

/// Commands sent before their replies are read.
pub(crate) const BATCH: usize = 1_000;

/// Which of these keys exist; every key is asked for by itself.
pub fn existing_keys(
    conn: &mut Connection,
    keys: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for batch in batches(keys) {
        let mut pipe = redis::pipe();
        for key in &batch {
            pipe.cmd("EXISTS").arg(key);
        }
        let exists: Vec<bool> = pipe.query(conn)?;
        let there = batch.into_iter().zip(exists).filter(|(_, there)| *there);
        found.extend(there.map(|(key, _)| key));
    }
    Ok(found)
}

/// Which of these keys are missing or hold another value than the one they were written with.
pub fn differing_keys(
    conn: &mut Connection,
    pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Result<Vec<Vec<u8>>> {
    let mut different = Vec::new();
    for batch in batches(pairs) {
        let mut pipe = redis::pipe();
        for (key, _) in &batch {
            pipe.cmd("GET").arg(key);
        }
        let values: Vec<Option<Vec<u8>>> = pipe.query(conn)?;
        for ((key, written), found) in batch.into_iter().zip(values) {
            if found.as_ref() != Some(&written) {
                different.push(key);
            }
        }
    }
    Ok(different)
}

/// Number of keys in the connection's database.
pub fn dbsize(conn: &mut Connection) -> Result<i64> {
    Ok(redis::cmd("DBSIZE").query(conn)?)
}

/// One number for all keys and values of all databases.
pub fn digest(conn: &mut Connection) -> Result<String> {
    Ok(redis::cmd("DEBUG").arg("DIGEST").query(conn)?)
}

/// Cuts any sequence into vectors of at most `BATCH` items.
pub(crate) fn batches<T>(items: impl IntoIterator<Item = T>) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<T> = items.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}
