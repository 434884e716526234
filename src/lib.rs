//! `blocking`: a module for Redis and Valkey that removes dead coordinators, and the families of
//! keys they leave behind, inside the server.
//!
//! Two worlds. All folders but one know bytes, numbers and their own types only. The folder `redis` alone may
//! name `redis_module` or use `unsafe`; `tests/border/` enforces it.

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

mod cluster;
mod commands;
mod heartbeat;
mod keys;
mod orphans;
#[cfg(test)]
mod pages;
mod plan;
mod redis;
mod removal;
mod reply;
mod report;
mod scan;
mod schedule;
mod settings;
mod util;
