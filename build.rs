//! Generates the C declarations that `src/redis/` needs from the system's own headers, so that no source file holds a
//! hand-written one: clocks everywhere, timerfd and eventfd where the system has them.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(has_timerfd)");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    let has_timerfd = is_linux && std::env::var_os("CARGO_FEATURE_TIMERS_ONLY").is_none();
    let mut headers = "#include <time.h>\n".to_owned();
    if has_timerfd {
        println!("cargo:rustc-cfg=has_timerfd");
        headers += "#include <sys/eventfd.h>\n#include <sys/timerfd.h>\n#include <unistd.h>\n";
    }
    let bindings = bindgen::Builder::default()
        .header_contents("system.h", &headers)
        .allowlist_function("clock_gettime|timerfd_create|timerfd_settime|eventfd|read|write|close")
        .allowlist_var("CLOCK_MONOTONIC|CLOCK_THREAD_CPUTIME_ID|TFD_NONBLOCK|TFD_CLOEXEC|EFD_NONBLOCK|EFD_CLOEXEC")
        .merge_extern_blocks(true)
        .layout_tests(false)
        .generate()
        .expect("libclang must be able to read the system's headers");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings
        .write_to_file(out.join("system.rs"))
        .expect("OUT_DIR must be writable");
}
