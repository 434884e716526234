//! `blocking`: a module for Redis and Valkey that removes dead coordinators, and the families of
//! keys they leave behind, inside the server.
//!
//! Two worlds. The files of this folder know bytes, numbers and their own types only. The folder
//! `redis` alone may name `redis_module` or use `unsafe`; `tests/border.rs` enforces it.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::todo
    )
)]

mod acl_rules;
mod breath;
mod census;
mod chunked;
mod claims;
mod collection;
mod commands;
mod cost;
mod databases;
mod doctor;
mod error;
mod evidence;
mod expired_share;
mod explanation;
mod families;
mod family;
mod first_seen;
mod heartbeat;
mod hold;
mod json;
mod kept_away;
mod layout;
mod linger;
mod listing;
mod locality;
mod look;
mod name_bounds;
mod name_hash;
mod named_enum;
mod obituary;
mod options;
mod orphans;
mod owners;
mod pace;
mod pattern;
mod plan;
#[cfg(test)]
mod plan_model;
mod progress;
mod protect;
mod redis;
mod replica_lag;
mod report;
mod room;
mod safety;
#[cfg(test)]
mod scenario_tests;
mod schedule;
mod second_look;
mod settings;
mod slots;
mod template;
mod time_fields;
mod value;
mod vitals;
mod watch;
mod yielding;
