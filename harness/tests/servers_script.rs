//! scripts/servers.sh where nothing can be fetched: which sources it derives, what counts as there, what it reports.
//! Must not ask the network: the apt-get that the script finds here is one of our own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// An apt-get that shows the sources it was given, and then fails.
const UNREACHABLE: &str = r#"cat "$(sed -n 's/^Dir::Etc::sourcelist "\(.*\)";$/\1/p' "$3")" > "$SEEN"
echo "E: nothing answers"; exit 100"#;
/// Lists of packages arrive, packages do not.
const BREAKS_OFF: &str = r#"case $* in *install*) echo "E: half of it"; exit 100 ;; esac"#;
/// What arrives is no package.
const BRINGS_RUBBISH: &str = r#"case $* in *install*)
    archives=$(sed -n 's/^Dir::Cache "\(.*\)";$/\1/p' "$3")/archives
    echo rubbish > "$archives/valkey-server.deb" ;;
esac"#;

/// A machine of its own for one run of the script.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new(list: &str, apt_get: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("apt/sources.list.d"))?;
        fs::create_dir_all(dir.path().join("bin"))?;
        let machine = Self { dir };
        machine.write("list", list)?;
        machine.program("bin/apt-get", apt_get)?;
        machine.write(
            "apt/sources.list",
            "deb http://archive.test/debian old main\n",
        )?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        Ok(fs::write(path, text)?)
    }

    fn program(&self, name: &str, script: &str) -> Result<()> {
        self.write(name, &format!("#!/bin/sh\n{script}\n"))?;
        Ok(fs::set_permissions(
            self.path(name),
            PermissionsExt::from_mode(0o755),
        )?)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/servers.sh");
        let path = std::env::var("PATH")?;
        let output = Command::new(script)
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("SEEN", self.path("seen"))
            .env("BLOCKING_SERVERS_LIST", self.path("list"))
            .env("BLOCKING_SERVERS_DIR", self.path("servers"))
            .env("BLOCKING_APT_SOURCES", self.path("apt"))
            .env("BLOCKING_RETRY_PAUSE_S", "0")
            .output()?;
        Ok(output)
    }

    fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.path(name)).with_context(|| format!("no {name}"))
    }

    /// What is in the folder of servers, hidden names aside from the lock's included.
    fn made(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path("servers"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name != ".lock");
        names.sort();
        Ok(names)
    }
}

#[test]
fn a_suite_that_cannot_be_reached_is_reported_and_fails_only_where_all_are_required() -> Result<()>
{
    let machine = Machine::new("redis 8.0 new\nvalkey 9 newer\n", UNREACHABLE)?;
    for (arguments, succeeds) in [(&[][..], true), (&["--require-all"][..], false)] {
        let output = machine.run(arguments)?;
        assert_eq!(output.status.success(), succeeds, "{output:?}");
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains("redis-8.0 is not tested: Debian new cannot be reached"));
        assert!(said.contains("valkey-9 is not tested: Debian newer cannot be reached"));
        assert_eq!(machine.made()?, ["redis-8.0", "valkey-9"]);
        let why = machine.read("servers/valkey-9/missing")?;
        assert_eq!(why, "Debian newer cannot be reached\nE: nothing answers\n");
    }
    Ok(())
}

#[test]
fn a_server_that_is_there_is_kept_without_asking_the_network() -> Result<()> {
    let machine = Machine::new("valkey 9 newer\n", UNREACHABLE)?;
    machine.program(
        "servers/valkey-9/valkey-server",
        "echo Valkey server v=9.1.2 sha=0",
    )?;
    let output = machine.run(&["--require-all"])?;
    assert!(output.status.success(), "{output:?}");
    assert!(!machine.path("seen").exists(), "apt-get was called");
    assert!(!machine.path("servers/valkey-9/missing").exists());
    Ok(())
}

#[test]
fn one_of_another_series_or_that_does_not_run_does_not_count_as_there() -> Result<()> {
    // 90 begins with 9, and is another series all the same.
    for server in ["echo Valkey server v=90.1.2 sha=0", "exit 1"] {
        let machine = Machine::new("valkey 9 newer\n", UNREACHABLE)?;
        machine.program("servers/valkey-9/valkey-server", server)?;
        let output = machine.run(&["--require-all"])?;
        assert!(!output.status.success(), "{output:?}");
        assert!(machine.path("seen").exists(), "apt-get was not called");
        assert!(!machine.path("servers/valkey-9/valkey-server").exists());
        assert!(machine.path("servers/valkey-9/missing").exists());
    }
    Ok(())
}

#[test]
fn a_fetch_that_breaks_off_leaves_no_server_behind() -> Result<()> {
    for (apt_get, why) in [
        (BREAKS_OFF, "does not give valkey-server\nE: half of it\n"),
        (BRINGS_RUBBISH, "cannot be unpacked\n"),
    ] {
        let machine = Machine::new("valkey 9 newer\n", apt_get)?;
        machine.write("servers/.new.killed/valkey-9/valkey-server", "half of it")?;
        let output = machine.run(&[])?;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(machine.made()?, ["valkey-9"]);
        let said = machine.read("servers/valkey-9/missing")?;
        assert!(said.contains(why), "{said}");
        assert_eq!(fs::read_dir(machine.path("servers/valkey-9"))?.count(), 1);
    }
    Ok(())
}

/// What apt-get is given when the machine has these sources.
fn derived(sources: &[(&str, &str)]) -> Result<String> {
    let machine = Machine::new("valkey 9 newer\n", UNREACHABLE)?;
    fs::remove_file(machine.path("apt/sources.list"))?;
    for (name, text) in sources {
        machine.write(&format!("apt/{name}"), text)?;
    }
    machine.run(&[])?;
    machine.read("seen")
}

#[test]
fn the_source_is_the_machines_own_with_another_suite() -> Result<()> {
    let lines = "\
# deb http://comment.test/debian old main
deb cdrom:[Disk]/ old main
deb-src http://archive.test/debian old main
deb http://security.test/debian-security old main
deb http://archive.test/debian old-security main
deb http://archive.test/debian old-updates main
deb http://archive.test/debian old contrib
deb [arch=any signed-by=/keys/a.gpg] http://archive.test/debian old main contrib # ours
";
    let seen = derived(&[("sources.list", lines)])?;
    let words: Vec<&str> = seen.split_whitespace().collect();
    let expected =
        "deb [ signed-by=/keys/a.gpg target=Packages] http://archive.test/debian newer main";
    assert_eq!(words, expected.split_whitespace().collect::<Vec<_>>());

    let stanzas = "\
Types: deb
URIs: http://security.test/debian-security
Suites: old-security
Components: main

Types: deb-src
URIs: http://archive.test/debian
Suites: old
Components: main

Enabled: no
Types: deb
URIs: http://disabled.test/debian
Suites: old
Components: main

Types: deb deb-src
# A comment in the middle.
URIs: http://archive.test/debian
Suites: old old-updates
Components: main
 contrib
Architectures: any
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
";
    let expected = "\
Types: deb
Suites: newer
Components: main
Targets: Packages
URIs: http://archive.test/debian
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
";
    let debian = ("sources.list.d/debian.sources", stanzas);
    assert_eq!(derived(&[debian])?, expected);
    // Packages of another source, first by the alphabet, and a list in which everything is a comment.
    let other = "Types: deb\nURIs: http://other.test/debian\nSuites: old\nComponents: main\n";
    let other = ("sources.list.d/another.sources", other);
    let moved = ("sources.list", "# see sources.list.d\n");
    assert_eq!(derived(&[moved, other, debian])?, expected);
    Ok(())
}

#[test]
fn a_machine_without_such_a_source_is_told_so() -> Result<()> {
    let machine = Machine::new("valkey 9 newer\n", UNREACHABLE)?;
    fs::remove_file(machine.path("apt/sources.list"))?;
    assert!(machine.run(&[])?.status.success());
    let why = machine.read("servers/valkey-9/missing")?;
    assert!(why.contains("no source of Debian's packages"), "{why}");
    assert!(!machine.path("seen").exists(), "apt-get was called");
    Ok(())
}
