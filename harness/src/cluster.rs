//! A small cluster of primaries on loopback, each with its share of the slots.
//! Must be whole when it is handed out: every node knows every other one, and serves its slots.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::Connection;

use crate::builder::ServerBuilder;
use crate::server::Server;
use crate::wait::wait_for_value;

const SLOTS: usize = 16_384;
/// Until nodes that have just met agree on everything.
const MEET_DEADLINE: Duration = Duration::from_secs(60);

/// The nodes of a cluster; dropping it ends them all.
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts so many primaries from copies of `builder`; the slots are dealt out evenly, in order.
    pub fn start(builder: &ServerBuilder, count: usize) -> Result<Self> {
        let start = |_| builder.clone().arg("cluster-enabled", "yes").start();
        let cluster = Self {
            nodes: (0..count).map(start).collect::<Result<_>>()?,
        };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let mut conn = node.client()?;
            // Of two nodes with one epoch one has to give way, and that takes its time.
            ask(&mut conn, &["SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
            let (first, last) = (SLOTS * index / count, SLOTS * (index + 1) / count - 1);
            let range = [first.to_string(), last.to_string()];
            ask(&mut conn, &["ADDSLOTSRANGE", &range[0], &range[1]])?;
            for other in &cluster.nodes[..index] {
                let port = other.port().to_string();
                ask(&mut conn, &["MEET", "127.0.0.1", &port])?;
            }
        }
        cluster.wait_until_ok()?;
        Ok(cluster)
    }

    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The node whose slots this key belongs to, as the slots were dealt out.
    pub fn owner_of(&self, key: &str) -> Result<&Server> {
        let mut conn = self.nodes.first().context("no node")?.client()?;
        let slot: usize = redis::cmd("CLUSTER")
            .arg(&["KEYSLOT", key])
            .query(&mut conn)?;
        let count = self.nodes.len();
        let is_owner = |index: &usize| slot < SLOTS * (index + 1) / count;
        let index = (0..count).find(is_owner).context("no owner")?;
        Ok(&self.nodes[index])
    }

    /// Waits until every node says that all slots are served, by all the nodes.
    pub fn wait_until_ok(&self) -> Result<()> {
        let count = self.nodes.len();
        let wanted = [
            "cluster_state:ok".to_owned(),
            format!("cluster_slots_ok:{SLOTS}"),
            format!("cluster_known_nodes:{count}"),
            format!("cluster_size:{count}"),
        ];
        for node in &self.nodes {
            let mut conn = node.client()?;
            wait_for_value(
                "the cluster to be whole",
                MEET_DEADLINE,
                || cluster_info(&mut conn),
                |info| {
                    let has = |wanted: &String| info.lines().any(|line| line == wanted);
                    wanted.iter().all(has)
                },
            )?;
        }
        Ok(())
    }
}

fn ask(conn: &mut Connection, args: &[&str]) -> Result<()> {
    Ok(redis::cmd("CLUSTER").arg(args).exec(conn)?)
}

/// What CLUSTER INFO says.
pub fn cluster_info(conn: &mut Connection) -> Result<String> {
    Ok(redis::cmd("CLUSTER").arg("INFO").query(conn)?)
}
