//! Dockerfile, compose.yaml, values for Helm and workflows: they can be read, and mean the same library, health check
//! and version. `make images-check` builds and runs the images.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use saphyr::{LoadableYamlNode, Yaml};

use crate::{contrib, read};

const DOCKERFILE: &str = include_str!("../../Dockerfile");
const COMPOSE: &str = include_str!("../../compose.yaml");

/// The one document in that text.
fn yaml<'a>(name: &str, text: &'a str) -> Result<Yaml<'a>> {
    let mut documents = Yaml::load_from_str(text).with_context(|| name.to_owned())?;
    ensure!(
        documents.len() == 1,
        "{name}: {} documents",
        documents.len()
    );
    documents.pop().context("no document")
}

/// What stands at `path`: names of fields, and numbers of entries.
fn at<'a, 'b>(yaml: &'b Yaml<'a>, path: &str) -> Result<&'b Yaml<'a>> {
    path.split('/').try_fold(yaml, |node, step| {
        let next = match step.parse() {
            Ok(number) => node.as_sequence_get(number),
            Err(_) => node.as_mapping_get(step),
        };
        next.with_context(|| format!("no {path}"))
    })
}

fn text<'b>(yaml: &'b Yaml, path: &str) -> Result<&'b str> {
    let found = at(yaml, path)?.as_str();
    found.with_context(|| format!("{path} is no text"))
}

fn texts<'b>(yaml: &'b Yaml, path: &str) -> Result<Vec<&'b str>> {
    let found = at(yaml, path)?.as_sequence();
    let found = found.with_context(|| format!("{path} is no list"))?;
    found
        .iter()
        .map(|item| item.as_str().context("no text"))
        .collect()
}

/// Where the images have the library.
fn library() -> Result<String> {
    let copy = DOCKERFILE
        .lines()
        .find_map(|line| line.strip_prefix("COPY --from=builder /out/ "));
    Ok(format!(
        "{}libblocking_cleanup.so",
        copy.context("no COPY")?
    ))
}

/// One stage of the Dockerfile.
fn stage(name: &str) -> Result<&'static str> {
    let (_, from) = DOCKERFILE
        .split_once(&format!(" AS {name}\n"))
        .with_context(|| format!("no stage {name}"))?;
    Ok(from.split("\nFROM ").next().unwrap_or(from))
}

/// The last line of a stage that begins so, as a list.
fn list(stage: &str, begins: &str) -> Result<Vec<String>> {
    let mut lines = stage.lines().rev();
    let found = lines.find_map(|line| line.trim().strip_prefix(begins));
    let found = found.with_context(|| format!("no {begins}"))?;
    Ok(serde_json::from_str(found)?)
}

/// The health check is the one indented CMD, the command the other.
fn health_check(name: &str) -> Result<Vec<String>> {
    let stage = stage(name)?;
    let (_, behind) = stage.split_once("HEALTHCHECK").context("no HEALTHCHECK")?;
    let (check, _) = behind.split_once("\nCMD").context("no CMD")?;
    list(check, "CMD ")
}

#[test]
fn both_images_load_the_library_they_have() -> Result<()> {
    let library = library()?;
    // A folder of its own: Redis 8's image loads by itself what lies in /usr/local/lib/redis/modules.
    ensure!(
        library.starts_with("/usr/local/lib/blocking-cleanup/"),
        "{library}"
    );
    for name in ["redis", "valkey"] {
        let server = format!("{name}-server");
        ensure!(list(stage(name)?, "CMD ")? == [server.as_str(), "--loadmodule", &library]);
        let check = format!("timeout 3 {name}-cli -e BLOCKING.STATUS || exit 1");
        ensure!(health_check(name)? == ["sh", "-c", &check]);
        ensure!(stage(name)?.contains("\nUSER 999:999\n"));
    }
    Ok(())
}

#[test]
fn compose_runs_the_image_with_the_configuration_that_is_here() -> Result<()> {
    let compose = yaml("compose.yaml", COMPOSE)?;
    let redis = at(&compose, "services/redis")?;
    let target = text(redis, "build/target")?;
    let check = texts(redis, "healthcheck/test")?;
    ensure!(check.first() == Some(&"CMD-SHELL"));
    ensure!(check.last().copied() == health_check(target)?.last().map(String::as_str));
    // What is mounted is there, and is what the server is started with.
    let volumes = texts(redis, "volumes")?;
    let mounted = volumes.iter().find_map(|volume| volume.strip_prefix("./"));
    let parts: Vec<&str> = mounted.context("no file")?.split(':').collect();
    ensure!(parts.len() == 3 && parts[2] == "ro", "{parts:?}");
    ensure!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(parts[0])
            .is_file()
    );
    ensure!(texts(redis, "command")? == ["redis-server", parts[1]]);
    Ok(())
}

#[test]
fn the_configuration_for_containers_loads_the_library() -> Result<()> {
    let conf = read("container.conf")?;
    let line = format!("\nloadmodule {}\n", library()?);
    ensure!(conf.matches("loadmodule").count() == 1 && conf.contains(&line));
    Ok(())
}

/// The values put the library where it is in the image, so that one line loads it everywhere.
#[test]
fn values_for_helm_copy_the_library_and_load_it() -> Result<()> {
    let library = library()?;
    let folder = library
        .rsplit_once('/')
        .map(|(folder, _)| folder)
        .context("no folder")?;
    for (name, config, prefixes, init) in [
        (
            "helm-bitnami-redis.yaml",
            "commonConfiguration",
            &["master/", "replica/"][..],
            "initContainers",
        ),
        (
            "helm-bitnami-valkey.yaml",
            "commonConfiguration",
            &["primary/", "replica/"],
            "initContainers",
        ),
        (
            "helm-valkey.yaml",
            "valkeyConfig",
            &[""],
            "extraInitContainers",
        ),
    ] {
        let content = read(name)?;
        let values = yaml(name, &content)?;
        let line = format!("loadmodule {library}");
        ensure!(
            text(&values, config)?.lines().any(|l| l == line),
            "{name}: {config}"
        );
        for prefix in prefixes {
            let here = |rest: &str| format!("{prefix}{rest}");
            let copies = texts(&values, &here(&format!("{init}/0/command")))?;
            ensure!(
                copies[..2] == ["cp", &library] && copies.len() == 3,
                "{copies:?}"
            );
            let target = text(
                &values,
                &here(&format!("{init}/0/volumeMounts/0/mountPath")),
            )?;
            ensure!(copies[2].trim_end_matches('/') == target);
            ensure!(text(&values, &here("extraVolumeMounts/0/mountPath"))? == folder);
            let volume = text(&values, &here("extraVolumes/0/name"))?;
            ensure!(text(&values, &here("extraVolumeMounts/0/name"))? == volume);
            ensure!(text(&values, &here(&format!("{init}/0/volumeMounts/0/name")))? == volume);
        }
    }
    Ok(())
}

#[test]
fn every_file_that_ends_so_is_yaml() -> Result<()> {
    let mut count = 0;
    for entry in std::fs::read_dir(contrib("."))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|end| end == "yml" || end == "yaml")
        {
            let content = std::fs::read_to_string(&path)?;
            yaml(&path.display().to_string(), &content)?;
            count += 1;
        }
    }
    ensure!(count >= 5, "{count}");
    ensure!(Yaml::load_from_str("a: [1").is_err());
    Ok(())
}
