//! The border of the crate, read from its sources: one folder alone speaks to the server, and asks at load for every
//! function that it uses. Must not judge style.

/// Which folder and which file uses which.
mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file below `folder`, relative to `src`, with its code: comments left out.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let code = code_of(&fs::read_to_string(&path).unwrap());
            found.push((path.strip_prefix(root()).unwrap().to_owned(), code));
        }
    }
    found
}

/// The text without its comments. A string that holds `//` loses its end, which hides no word of Rust.
fn code_of(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

fn is_word_byte(byte: char) -> bool {
    byte.is_ascii_alphanumeric() || byte == '_'
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_word_byte(c))
        .filter(|word| !word.is_empty())
}

fn is_border(path: &Path) -> bool {
    path.starts_with("redis")
}

#[test]
fn the_sources_are_found() {
    let all = sources(&root());
    let border = all.iter().filter(|(path, _)| is_border(path)).count();
    assert!(
        border >= 5 && all.len() - border >= 5,
        "{border} of {}",
        all.len()
    );
    let uses_it = |(path, code): &(PathBuf, String)| is_border(path) && code.contains("unsafe {");
    assert!(all.iter().any(uses_it), "the words are looked for in vain");
}

#[test]
fn only_the_border_names_the_server_or_is_unsafe() {
    let forbidden = ["redis_module", "unsafe", "extern", "libc"];
    let mut found = Vec::new();
    for (path, code) in sources(&root()) {
        let mut here: BTreeSet<&str> = words(&code).collect();
        here.retain(|word| forbidden.contains(word) || word.starts_with("RedisModule"));
        if !is_border(&path) && !here.is_empty() {
            found.push(format!("{}: {here:?}", path.display()));
        }
    }
    assert!(found.is_empty(), "outside src/redis: {found:#?}");
}

#[test]
fn nothing_pure_depends_on_the_border() {
    let paths = [
        "crate::redis::",
        "super::redis::",
        "self::redis::",
        "use redis::",
    ];
    for (path, code) in sources(&root()) {
        let used = paths.iter().find(|path| code.contains(*path));
        assert!(
            is_border(&path) || used.is_none(),
            "{}: {used:?}",
            path.display()
        );
    }
}

/// The names between `required![` and `];` in `src/redis/api/mod.rs`.
fn required() -> BTreeSet<String> {
    let api = code_of(&fs::read_to_string(root().join("redis/api/mod.rs")).unwrap());
    let (_, list) = api.split_once("required![").expect("the list");
    let (list, _) = list.split_once("];").expect("its end");
    let names: BTreeSet<String> = words(list).map(str::to_owned).collect();
    assert!(names.iter().all(|name| name.starts_with("RedisModule_")));
    names
}

/// The functions called through `rm!`.
fn used() -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (_, code) in sources(&root()) {
        // A call may be broken over lines after the bracket.
        for call in code.split("rm!").skip(1) {
            let name = words(call).next().unwrap_or_default();
            if name.starts_with("RedisModule_") {
                used.insert(name.to_owned());
            }
        }
    }
    assert!(used.len() > 20, "rm! is looked for in vain: {used:?}");
    used
}

#[test]
fn every_function_that_is_called_unchecked_was_found_at_load() {
    let unchecked: Vec<String> = used().difference(&required()).cloned().collect();
    assert!(unchecked.is_empty(), "not in required!: {unchecked:?}");
}

/// A function that is never called would keep the module from loading on a server that lacks it.
#[test]
fn nothing_is_asked_for_that_is_not_used() {
    let unused: Vec<String> = required().difference(&used()).cloned().collect();
    assert!(unused.is_empty(), "required but not called: {unused:?}");
}

/// `rm!`, or a check by hand: code that takes a pointer from the table in another way must check that it is there.
#[test]
fn pointers_taken_by_hand_are_tested() {
    for (path, code) in sources(&root()) {
        for (at, _) in code.match_indices("raw::RedisModule_") {
            let name = words(&code[at + "raw::".len()..])
                .next()
                .unwrap_or_default();
            let before: String = code[..at].chars().rev().take(80).collect();
            let before: String = before.chars().rev().collect();
            let after: String = code[at + "raw::".len() + name.len()..]
                .chars()
                .take(60)
                .collect();
            let tested = before.contains("let Some(")
                || before.contains("match ")
                || after.contains("is_some")
                || after.contains("is_none")
                || after.trim_start().starts_with('?')
                || after.contains(".ok_or")
                || after.contains(".map");
            assert!(tested, "{}: {name} is taken untested", path.display());
        }
    }
}
