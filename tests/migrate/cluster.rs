//! Two nodes of a cluster, each contender run on both, as a script without `redis-cli -c` is.

use anyhow::Result;
use blocking_harness::{Cluster, ServerBuilder, existing_keys, redis};

use crate::case::{Contender, End, Outcome, RIGHT, Row, family, left, write};

/// Names decide the slots, and they hold times: these must be the same in every run.
const OLD_MS: i64 = 1_700_000_000_000;

pub const PLAIN: Row = Row {
    title: "in a cluster of two nodes, on each of them",
    shell: left(4).ending(End::Claims(4)),
    lua: left(5).ending(End::Fails("attempted to access")),
    module: left(5).ending(End::Fails("partial")),
};

pub const TAGGED: Row = Row {
    title: "the same with hash tags in ids, and `blocking.cluster-tags ids`",
    shell: RIGHT,
    lua: RIGHT,
    module: RIGHT,
};

fn hold(row: &Row, id: &str, builder: &ServerBuilder) -> Result<()> {
    let cluster = Cluster::start(builder, 2)?;
    let home = cluster.owner_of(&format!("blocking:heartbeat:{id}"))?;
    let dead = family(id, OLD_MS);
    for contender in Contender::ALL {
        let expected = contender.expected(row);
        for node in cluster.nodes() {
            redis::cmd("FLUSHALL").exec(&mut node.client()?)?;
        }
        for pair in &dead {
            let owner = cluster.owner_of(&pair.0)?;
            write(&mut owner.client()?, [pair])?;
        }
        // How it ended counts where it has a heartbeat to judge.
        let mut end = End::Well;
        for node in cluster.nodes() {
            let said = contender.run(node, &[])?;
            if node.port() == home.port() {
                end = contender.end(&said, expected.end)?;
            }
        }
        let mut left = 0;
        for (key, _) in &dead {
            let mut conn = cluster.owner_of(key)?.client()?;
            left += existing_keys(&mut conn, [key.clone().into_bytes()])?.len();
        }
        assert_eq!(Outcome { end, left, lost: 0 }, expected, "{contender:?}");
    }
    Ok(())
}

#[test]
fn nodes_that_share_the_keys_of_an_id() -> Result<()> {
    hold(&PLAIN, "build-7", &crate::builder())
}

#[test]
fn a_node_that_has_all_keys_of_an_id() -> Result<()> {
    let tags = crate::builder().arg("blocking.cluster-tags", "ids");
    hold(&TAGGED, "{team-a}build-7", &tags)
}
