//! The module's pure files, compiled a second time so that a fuzzer can call them, and the oracles they are compared
//! with. The module itself is a library for servers and cannot be linked; its files of the pure world can.
//! Must hold no copy of the module's code: an oracle is written from the specification.

// Much of what the module uses is not called from here.
#![allow(dead_code)]

#[path = "../../src/breath.rs"]
pub mod breath;
#[path = "../../src/census.rs"]
pub mod census;
#[path = "../../src/chunked.rs"]
pub mod chunked;
#[path = "../../src/claims.rs"]
pub mod claims;
#[path = "../../src/collection.rs"]
pub mod collection;
#[path = "../../src/cost.rs"]
pub mod cost;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/evidence.rs"]
pub mod evidence;
#[path = "../../src/explanation.rs"]
pub mod explanation;
#[path = "../../src/families.rs"]
pub mod families;
#[path = "../../src/family.rs"]
pub mod family;
#[path = "../../src/first_seen.rs"]
pub mod first_seen;
#[path = "../../src/heartbeat.rs"]
pub mod heartbeat;
#[path = "../../src/hold.rs"]
pub mod hold;
#[path = "../../src/kept_away.rs"]
pub mod kept_away;
#[path = "../../src/layout.rs"]
pub mod layout;
#[path = "../../src/locality.rs"]
pub mod locality;
#[path = "../../src/look.rs"]
pub mod look;
#[path = "../../src/name_bounds.rs"]
pub mod name_bounds;
#[path = "../../src/name_hash.rs"]
pub mod name_hash;
#[path = "../../src/named_enum.rs"]
mod named_enum;
#[path = "../../src/options.rs"]
pub mod options;
#[path = "../../src/orphans.rs"]
pub mod orphans;
#[path = "../../src/owners.rs"]
pub mod owners;
#[path = "../../src/pattern.rs"]
pub mod pattern;
#[path = "../../src/plan.rs"]
pub mod plan;
#[path = "../../src/plan_model.rs"]
pub mod plan_model;
#[path = "../../src/protect.rs"]
pub mod protect;
#[path = "../../src/report.rs"]
pub mod report;
#[path = "../../src/room.rs"]
pub mod room;
#[path = "../../src/safety.rs"]
pub mod safety;
#[path = "../../src/second_look.rs"]
pub mod second_look;
#[path = "../../src/slots.rs"]
pub mod slots;
#[path = "../../src/template.rs"]
pub mod template;
#[path = "../../src/time_fields.rs"]
pub mod time_fields;
#[path = "../../src/value.rs"]
pub mod value;
#[path = "../../src/vitals.rs"]
pub mod vitals;
#[path = "../../src/yielding.rs"]
pub mod yielding;

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
