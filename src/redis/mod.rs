//! The border to the server: the only folder that names `redis_module` or uses `unsafe`.
//!
//! What every `SAFETY` comment in this folder refers to by number:
//!
//! 1. Every API pointer reached through `rm!` is in `api::REQUIRED` and was found at load.
//! 2. Server functions are called on the server's main thread only. Worker threads touch nothing
//!    of the server but its allocator and, through `wakeup::Waker`, an eventfd.
//! 3. Contexts, keys, strings and replies that the server passes in are valid until the callback
//!    returns, and nothing here keeps one longer.
//! 4. What this folder creates (strings, replies, cursors, opened keys, users) is owned by one
//!    Rust value and freed once, by its `Drop`.
//! 5. No panic crosses into the server: the body of every callback runs inside `api::guard`.
//! 6. The keyspace is touched by commands, by module timers and by the server's cron only. The file descriptor's
//!    callback also runs in the middle of scripts and of loading, so it only arms the timer.
//! 7. Every blocked client is unblocked exactly once, by the `BlockedClient` that owns its handle.

mod announcement;
mod api;
mod cron;
mod events;
mod first_seen;
mod handlers;
mod history;
mod info;
mod jobs;
mod load;
mod obituaries;
mod runner;
mod runs;
mod schedule;
mod settings;
mod source;
mod start;
mod status;
mod writers;
