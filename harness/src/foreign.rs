//! Keys that are no business of the module: what else lives in a real keyspace.
//! Must be reproducible from its number alone, so that every value can be compared afterwards.

use anyhow::Result;
use redis::Connection;

use crate::check::batches;

/// The n-th foreign key and its value.
pub fn foreign_pair(n: u64) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = match n % 3 {
        0 => (
            format!("user:{n}"),
            format!(r#"{{"id":{n},"name":"user {n}","visits":{}}}"#, n % 977),
        ),
        1 => (
            format!("session:{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            format!("user={n};csrf={:08x}", n.wrapping_mul(2_654_435_761)),
        ),
        _ => (
            format!("cache:page:/item/{n}"),
            format!("<li>item {n}</li>"),
        ),
    };
    (key.into_bytes(), value.into_bytes())
}

/// Writes the foreign keys 0 to `count`; `progress` hears how many keys were written since it was last called.
pub fn load_foreign(
    conn: &mut Connection,
    count: u64,
    mut progress: impl FnMut(u64),
) -> Result<()> {
    for batch in batches((0..count).map(foreign_pair)) {
        let mut write = redis::cmd("MSET");
        for (key, value) in &batch {
            write.arg(key).arg(value);
        }
        let () = write.query(conn)?;
        progress(batch.len() as u64);
    }
    Ok(())
}
