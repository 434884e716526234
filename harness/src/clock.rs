//! A server whose wall clock a test can set, while its monotonic clock goes on as it should.
//!
//! A small library, compiled here with `cc` (which linking this project needs anyway) and loaded before the
//! system's own, adds an offset to every answer about the wall clock; the offset stands in a file that both sides
//! map. Linux only.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *offset_ms;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int fd = open(getenv("TEST_CLOCK_FILE"), O_RDONLY);
    void *page = mmap(NULL, sizeof *offset_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) offset_ms = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_clock_gettime) begin();
    int result = real_clock_gettime(clock, now);
    if (offset_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + (*offset_ms % 1000) * 1000000;
        now->tv_sec += *offset_ms / 1000 + ns / 1000000000;
        now->tv_nsec = ns % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec t;
    int result = clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return result;
}

time_t time(time_t *where) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (where) *where = t.tv_sec;
    return t.tv_sec;
}
"#;

/// A wall clock for servers that are started with it.
pub struct Clock {
    dir: TempDir,
    offset: File,
}

impl Clock {
    /// A clock that is right.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("test-clock-").tempdir()?;
        let source = dir.path().join("clock.c");
        fs::write(&source, SOURCE)?;
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(dir.path().join("clock.so"))
            .arg(&source)
            .arg("-ldl")
            .status()
            .context("cannot start cc; `make setup` installs it")?;
        ensure!(status.success(), "cc could not compile the clock");
        let path = dir.path().join("offset");
        fs::write(&path, 0i64.to_ne_bytes())?;
        let offset = File::options().write(true).open(path)?;
        Ok(Self { dir, offset })
    }

    /// Sets the clock forward, to so many milliseconds ahead of the right time.
    pub fn set_ahead_ms(&self, ms: i64) -> Result<()> {
        Ok(self.offset.write_all_at(&ms.to_ne_bytes(), 0)?)
    }

    /// What a server must find in its environment.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("LD_PRELOAD", self.dir.path().join("clock.so")),
            ("TEST_CLOCK_FILE", self.dir.path().join("offset")),
        ]
    }
}
