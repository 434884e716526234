//! redis_exporter and Prometheus beside a private server: what INFO says arrives, alerts fire, every panel has data.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocking_harness::redis::{self, Connection};
use blocking_harness::{Server, cleanup, command, spawn_bound, wait_for_value, wait_until};

use crate::{DEADLINE, contrib, output, read, said, tool};

/// Another process may take a port between our choosing it and the program's binding it.
const TRIES: usize = 3;

/// Fields that go on by themselves.
const MOVING: [&str; 4] = [
    "blocking_since_complete_s",
    "blocking_schedule_idle_s",
    "blocking_schedule_next_run_s",
    "blocking_warm_up_left_s",
];

/// A program that ends with the test.
struct Bound(Child);

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that listens on a free port, which `arguments` get, and waits until it does.
fn listening(
    name: &str,
    folder: &Path,
    arguments: impl Fn(u16) -> Result<Vec<String>>,
) -> Result<(Bound, u16)> {
    let log_path = folder.join(format!("{name}.log"));
    for _ in 0..TRIES {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = File::create(&log_path)?;
        let mut command = Command::new(tool(name));
        command
            .args(arguments(port)?)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = spawn_bound(command);
        let mut bound =
            Bound(child.with_context(|| format!("cannot run {name}; `make contrib` brings it"))?);
        // It has ended, or a program answers; if that is another one, this one has ended as well.
        let answers = wait_until(name, DEADLINE, || {
            let ended = !matches!(bound.0.try_wait(), Ok(None));
            let answers = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            (ended || answers).then_some(answers)
        })?;
        if answers && matches!(bound.0.try_wait(), Ok(None)) {
            return Ok((bound, port));
        }
    }
    let log = std::fs::read_to_string(&log_path).unwrap_or_default();
    bail!("{name} does not start:\n{log}")
}

/// The configuration of Prometheus on the page, and what in it differs from machine to machine.
fn documented_config() -> Result<String> {
    let page = include_str!("../../docs/monitoring.md");
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).collect();
    ensure!(blocks.len() == 1, "{} blocks", blocks.len());
    let (block, _) = blocks[0].split_once("```").context("no end")?;
    Ok(block.to_owned())
}

const RULES: &str = "/etc/prometheus/prometheus-rules.yml";
const SERVER: &str = "redis://localhost:6379";
const EXPORTER: &str = "localhost:9121";

/// What the exporter is asked for, and what its series are called by.
fn target(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

/// A server with its exporter and a Prometheus that asks it every second.
struct Watched {
    prometheus: u16,
    _programs: [Bound; 2],
    server: Server,
}

impl Watched {
    fn start(server: Server) -> Result<Self> {
        let (exporting, exporter) = listening("prometheus-redis-exporter", server.dir(), |port| {
            Ok(vec![
                format!("-script={}", contrib("redis-exporter.lua").display()),
                // Another server than it is asked for, so that its answer cannot be about this one.
                "-redis.addr=redis://127.0.0.1:1".to_owned(),
                "-redis.user=exporter".to_owned(),
                "-redis.password=secret".to_owned(),
                format!("-web.listen-address=127.0.0.1:{port}"),
            ])
        })?;
        let config = server.dir().join("prometheus.yml");
        let mut text = documented_config()?;
        for (there, here) in [
            (RULES, contrib("prometheus-rules.yml").display().to_string()),
            (SERVER, target(&server)),
            (EXPORTER, format!("127.0.0.1:{exporter}")),
            ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
        ] {
            ensure!(text.matches(there).count() == 1, "{there}");
            text = text.replace(there, &here);
        }
        text += "global: {evaluation_interval: 1s}\n";
        std::fs::write(&config, text)?;
        let (watching, prometheus) = listening("prometheus", server.dir(), |port| {
            Ok(vec![
                format!("--config.file={}", config.display()),
                format!(
                    "--storage.tsdb.path={}",
                    server.dir().join("tsdb").display()
                ),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ])
        })?;
        let watched = Self {
            prometheus,
            _programs: [watching, exporting],
            server,
        };
        // It listens before it answers.
        let ready = || watched.query("vector(1)").ok();
        wait_until("Prometheus to be ready", DEADLINE, ready)?;
        Ok(watched)
    }

    /// What Prometheus answers to an expression: for each series its labels and its value. An expression that it does
    /// not understand is an error.
    fn query(&self, expression: &str) -> Result<Vec<(BTreeMap<String, String>, f64)>> {
        let address = format!("http://127.0.0.1:{}", self.prometheus);
        let mut promtool = Command::new(tool("promtool"));
        promtool.args(["query", "-o", "json", "instant", &address, expression]);
        let output = output(&mut promtool)?;
        ensure!(output.status.success(), "{expression}: {}", said(&output));
        let series: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
        let read = |one: serde_json::Value| {
            let labels = serde_json::from_value(one["metric"].clone())?;
            let value = one["value"][1].as_str().context("no value")?;
            Ok((labels, value.parse()?))
        };
        series.into_iter().map(read).collect()
    }

    /// The fields of INFO as Prometheus last heard of them.
    fn heard(&self) -> Result<BTreeMap<String, f64>> {
        let series = self.query("redis_script_values")?.into_iter();
        let ours = target(&self.server);
        series
            .map(|(mut labels, value)| {
                ensure!(labels.get("instance") == Some(&ours), "{labels:?}");
                Ok((labels.remove("key").context("no key")?, value))
            })
            .collect()
    }

    /// Waits until Prometheus has heard what INFO says now, and yields it.
    fn in_step(&self, conn: &mut Connection) -> Result<BTreeMap<String, f64>> {
        let steady = |mut fields: BTreeMap<String, f64>| {
            fields.retain(|name, _| !MOVING.contains(&name.as_str()));
            fields
        };
        // Asked anew every time, for a round of the schedule may come in between.
        let look = || {
            let mut said = info(conn)?;
            said.insert("blocking_module_loaded".to_owned(), 1.0);
            Ok((said, self.heard()?))
        };
        let pair = wait_for_value("what INFO says", DEADLINE, look, |(said, heard)| {
            steady(said.clone()) == steady(heard.clone())
        })?;
        Ok(pair.1)
    }

    /// Waits for an alert in this state.
    fn alert(&self, name: &str, state: &str) -> Result<()> {
        let expression = format!("ALERTS{{alertname='{name}'}}");
        let look = || self.query(&expression);
        wait_for_value(name, DEADLINE, look, |alerts| {
            let mut alerts = alerts.iter();
            alerts.any(|(labels, _)| labels["alertstate"] == state)
        })
        .map(drop)
    }
}

fn info(conn: &mut Connection) -> Result<BTreeMap<String, f64>> {
    let info: String = redis::cmd("INFO").arg("blocking").query(conn)?;
    let pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| Ok((name.to_owned(), value.trim().parse()?)))
        .collect()
}

fn set(conn: &mut Connection, key: &str, value: impl ToString) -> Result<()> {
    let mut command = redis::cmd("SET");
    Ok(command.arg(key).arg(value.to_string()).exec(conn)?)
}

fn configure(conn: &mut Connection, name: &str, value: &str) -> Result<()> {
    Ok(redis::cmd("CONFIG").arg(&["SET", name, value]).exec(conn)?)
}

/// A server, and a user for the exporter that may do what the head of the script says and what the exporter itself
/// needs.
fn server() -> Result<Server> {
    let server = Server::builder()
        .arg("blocking.warm-up-seconds", 0)
        .start()?;
    redis::cmd("ACL")
        .arg(&["SETUSER", "exporter", "on", ">secret", "+eval", "+info"])
        .arg(&["+ping", "+config|get", "+slowlog", "+latency", "+client"])
        .exec(&mut server.client()?)?;
    Ok(server)
}

#[test]
fn numbers_arrive_alerts_fire_and_every_panel_shows_something() -> Result<()> {
    let watched = Watched::start(server()?)?;
    let mut conn = watched.server.client()?;
    // Before the first run there is no last one.
    let heard = watched.in_step(&mut conn)?;
    ensure!(!heard.contains_key("blocking_last_run") && heard["blocking_total_runs"] == 0.0);

    for n in 0..7 {
        set(
            &mut conn,
            &format!("blocking:heartbeat:dead-{n}"),
            1_700_000_000_000i64,
        )?;
        set(&mut conn, &format!("blocking:signal:nobody-{n}"), "x")?;
    }
    set(&mut conn, "blocking:heartbeat:odd", "no time")?;
    cleanup(&mut conn, &["DRYRUN"])?;
    let reply = cleanup(&mut conn, &["ORPHANS"])?;
    let heard = watched.in_step(&mut conn)?;
    for (name, expected) in [
        ("blocking_last_run", 2.0),
        ("blocking_last_keys_removed", 7.0),
        ("blocking_total_dry_runs", 1.0),
        ("blocking_total_coordinators_removed", 7.0),
        ("blocking_left_orphans", 7.0),
        ("blocking_left_orphans_too_young", 7.0),
        ("blocking_left_unreadable", 1.0),
    ] {
        ensure!(heard[name] == expected, "{name}: {}", heard[name]);
    }
    ensure!(heard["blocking_last_longest_slice_us"] == reply.int("longest_slice_us")? as f64);
    watched.alert("BlockingUnreadableHeartbeats", "pending")?;

    // A run that is interrupted.
    let (_, _): (i64, String) = redis::pipe()
        .atomic()
        .cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .cmd("FLUSHALL")
        .query(&mut conn)?;
    watched.alert("BlockingCleanupCutShort", "firing")?;

    // All coordinators dead at once.
    for n in 0..20 {
        set(
            &mut conn,
            &format!("blocking:heartbeat:dead-{n}"),
            1_700_000_000_000i64,
        )?;
    }
    configure(&mut conn, "blocking.interval-seconds", "1")?;
    watched.alert("BlockingBreakerOpen", "firing")?;
    // The schedule stays, and its next round is far away.
    configure(&mut conn, "blocking.interval-seconds", "3600")?;
    let idle = |status: &blocking_harness::Reply| status.text("state").is_ok_and(|s| s == "idle");
    let look = || Ok(command(&mut conn, "BLOCKING.STATUS", &[])?);
    wait_for_value("the end of the run", DEADLINE, look, idle)?;
    watched.in_step(&mut conn)?;

    for expression in expressions()? {
        let expression = expression
            .replace("$instance", ".+")
            .replace("$__rate_interval", "1m");
        let look = || watched.query(&expression);
        wait_for_value(&expression, DEADLINE, look, |series| !series.is_empty())?;
    }
    // Nothing else goes off. On a busy machine a slice may be long.
    let expected = [
        "BlockingBreakerOpen",
        "BlockingCleanupCutShort",
        "BlockingLongSlice",
    ];
    let look = || watched.query("ALERTS{alertstate='firing'}");
    wait_for_value("no other alert", DEADLINE, look, |alerts| {
        let mut alerts = alerts.iter();
        alerts.all(|(labels, _)| expected.contains(&labels["alertname"].as_str()))
    })?;
    Ok(())
}

/// What the panels of the dashboard ask Prometheus.
fn expressions() -> Result<Vec<String>> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana-dashboard.json")?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut found = Vec::new();
    for panel in panels {
        let targets = panel["targets"].as_array().context("no targets")?;
        ensure!(!targets.is_empty(), "{panel}");
        for target in targets {
            found.push(target["expr"].as_str().context("no expr")?.to_owned());
        }
    }
    ensure!(found.len() >= 12, "{found:?}");
    Ok(found)
}

/// With the rules where they lie here; whether the rules are right is another test.
#[test]
fn promtool_takes_the_configuration_on_the_page() -> Result<()> {
    let folder = Server::builder().module(false).start()?;
    let config = folder.dir().join("prometheus.yml");
    let check = |text: &str| -> Result<std::process::Output> {
        std::fs::write(&config, text)?;
        output(
            Command::new(tool("promtool"))
                .args(["check", "config"])
                .arg(&config),
        )
    };
    let rules = contrib("prometheus-rules.yml").display().to_string();
    let text = documented_config()?.replace(RULES, &rules);
    let checked = check(&text)?;
    ensure!(checked.status.success(), "{}", said(&checked));
    ensure!(
        said(&checked).contains("SUCCESS: 8 rules found"),
        "{}",
        said(&checked)
    );
    ensure!(
        !check(&text.replace("metrics_path", "metric_path"))?
            .status
            .success()
    );
    Ok(())
}

/// The exporter runs a script; one that could write would wait while writes are paused, and be refused on replicas.
#[test]
fn the_script_works_on_a_replica_and_while_writes_are_paused_and_without_the_module() -> Result<()>
{
    let script = read("redis-exporter.lua")?;
    let ask = |conn: &mut Connection| -> Result<BTreeMap<String, f64>> {
        let pairs: Vec<(String, String)> =
            redis::cmd("EVAL").arg(&script).arg(0).arg(0).query(conn)?;
        let parsed = pairs
            .into_iter()
            .map(|(name, value)| Ok((name, value.parse()?)));
        parsed.collect()
    };
    let server = Server::start()?;
    let replica = Server::builder().replica_of(&server).start()?;
    replica.wait_in_sync_with(&server)?;
    let mut conn = server.client()?;
    redis::cmd("CLIENT")
        .arg(&["PAUSE", "60000", "WRITE"])
        .exec(&mut conn)?;
    // What would wait would wait for a minute.
    conn.set_read_timeout(Some(blocking_harness::stretched(Duration::from_secs(20))))?;
    ensure!(ask(&mut conn)?["blocking_module_loaded"] == 1.0);
    // Its primary is away, and it does not serve stale data.
    let mut there = replica.client()?;
    configure(&mut there, "replica-serve-stale-data", "no")?;
    server.kill9()?;
    let down = || blocking_harness::info_field(&mut there, "replication", "master_link_status");
    wait_for_value("the link to go down", DEADLINE, down, |link| link == "down")?;
    let fields = ask(&mut there)?;
    ensure!(fields["blocking_module_loaded"] == 1.0 && fields["blocking_since_complete_s"] == 0.0);
    let bare = Server::builder().module(false).start()?;
    let fields = ask(&mut bare.client()?)?;
    ensure!(
        fields.len() == 1 && fields["blocking_module_loaded"] == 0.0,
        "{fields:?}"
    );
    Ok(())
}
