//! Where the module thinks that a key lies, and where the server says that it does.

use anyhow::{Result, ensure};
use blocking_harness::redis::cmd;

/// Names with their slots; a unit test holds the module's own rule against the same list.
const SLOTS: &str = include_str!("../../slots.txt");

#[test]
fn the_server_puts_every_name_of_the_list_into_its_slot() -> Result<()> {
    let cluster = super::one_node()?;
    let mut conn = cluster.nodes()[0].client()?;
    let mut names = 0;
    for line in SLOTS.lines() {
        let (slot, name) = line.split_once(' ').unwrap_or((line, ""));
        let told: u16 = cmd("CLUSTER").arg(&["KEYSLOT", name]).query(&mut conn)?;
        ensure!(told.to_string() == slot, "{name} {told}");
        names += 1;
    }
    ensure!(names > 300);
    Ok(())
}
