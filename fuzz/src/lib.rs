//! The module's pure files, compiled a second time so that a fuzzer can call them, and the oracles they are compared
//! with. The module itself is a library for servers and cannot be linked; its files of the pure world can.
//! Must hold no copy of the module's code: an oracle is written from the specification.

// Much of what the module uses is not called from here.
#![allow(dead_code)]

#[path = "../../src/cluster/mod.rs"]
pub mod cluster;
#[path = "../../src/commands/mod.rs"]
pub mod commands;
#[path = "../../src/heartbeat/mod.rs"]
pub mod heartbeat;
#[path = "../../src/keys/mod.rs"]
pub mod keys;
#[path = "../../src/orphans/mod.rs"]
pub mod orphans;
#[path = "../../src/plan/mod.rs"]
pub mod plan;
#[path = "../../src/plan/plan_model.rs"]
pub mod plan_model;
#[path = "../../src/reply/mod.rs"]
pub mod reply;
#[path = "../../src/report/mod.rs"]
pub mod report;
#[path = "../../src/scan/mod.rs"]
pub mod scan;
#[path = "../../src/schedule/mod.rs"]
pub mod schedule;
#[path = "../../src/settings/mod.rs"]
pub mod settings;
#[path = "../../src/util/mod.rs"]
pub mod util;

/// A second reader of heartbeats, JSON by hand.
pub mod oracle_heartbeat;
/// A second reader of dates and numbers: exact decimals, no floats.
pub mod oracle_moment;
/// The server's own glob matcher, transcribed.
pub mod oracle_pattern;

/// What is wrong with an error text, if anything: it must be printable ASCII, one sentence, a code word first.
pub fn fault_of_error_text(text: &str) -> Option<&'static str> {
    let code = text.split(' ').next().unwrap_or_default();
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Some("not printable ASCII")
    } else if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Some("no code word")
    } else if text.ends_with(['.', ' ']) || text.len() > 400 {
        Some("not one short sentence")
    } else {
        None
    }
}
