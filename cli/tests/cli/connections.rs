//! Who may, and where the server is: users and passwords, TLS, sockets, addresses.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, ensure};
use blocking_harness::redis::{self, ConnectionLike};
use blocking_harness::{Server, dbsize};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{
    OLD_MS, client, client_of, ends_with, ran, ran_as_janitor, run, server, set, user, warned,
};

#[test]
fn a_wrong_password_runs_nothing_as_another_user() -> Result<()> {
    let server = server()?;
    let mut conn = server.client()?;
    user(&mut conn, "janitor", "+blocking.cleanup")?;
    for (name, password) in [("janitor", "wrong"), ("janitor", ""), ("nobody", "secret")] {
        let mut client = client_of(&server, &["--user", name]);
        let failed = client.env("REDISCLI_AUTH", password).output()?;
        ends_with(&failed, 3, "AUTH failed: WRONGPASS")?;
        ensure!(failed.stdout.is_empty() && dbsize(&mut conn)? == 2);
    }
    // Nor with one that cannot be sent, nor without any.
    let mut client = client_of(&server, &[]);
    client.env("REDISCLI_AUTH", OsStr::from_bytes(b"\xff"));
    ends_with(&client.output()?, 3, "AUTH failed")?;
    ends_with(&ran(&server, &["--user", "janitor"])?, 3, "AUTH failed")?;
    ends_with(
        &ran(&server, &["--user", "janitor", "top"])?,
        3,
        "AUTH failed",
    )?;
    let right = ran_as_janitor(&server, "secret", &["--json"])?;
    ends_with(&right, 0, r#""keysDeleted":2"#)?;
    // It asked for nothing that this user may not have.
    let log: redis::Value = run(&mut conn, "ACL LOG")?;
    let redis::Value::Array(entries) = log else {
        anyhow::bail!("{log:?}");
    };
    let text = format!("{entries:?}");
    ensure!(!text.contains(r#""command""#), "{text}");
    Ok(())
}

#[test]
fn a_password_that_is_asked_for_must_be_given() -> Result<()> {
    let server = Server::builder().arg("requirepass", "secret").start()?;
    let none = ran(&server, &[])?;
    ends_with(&none, 3, "blocking-cleanup: NOAUTH: ")?;
    ensure!(warned(&none).contains("REDISCLI_AUTH"));
    let wrong = client_of(&server, &[])
        .env("REDISCLI_AUTH", "no")
        .output()?;
    ends_with(&wrong, 3, "AUTH failed: WRONGPASS")?;
    let right = client_of(&server, &[])
        .env("REDISCLI_AUTH", "secret")
        .output()?;
    ends_with(&right, 0, "removed 0 of 0 stale coordinators")?;
    let uri = format!("redis://:secret@127.0.0.1:{}", server.port());
    ends_with(&client(&["-u", &uri]).output()?, 0, "removed 0 of 0")
}

#[test]
fn a_server_that_is_not_there_is_an_error() -> Result<()> {
    let gone = client(&["-p", "1"]).output()?;
    ends_with(
        &gone,
        1,
        "blocking-cleanup: cannot connect to 127.0.0.1:1: ",
    )?;
    ensure!(gone.stdout.is_empty() && warned(&gone).lines().count() == 1);
    ends_with(
        &client(&["-s", "/no/such/socket"]).output()?,
        1,
        "cannot connect to /no/such/socket",
    )?;
    ends_with(&client(&["-p", "1", "top"]).output()?, 1, "cannot connect")
}

#[test]
fn a_server_is_found_by_socket_address_and_database() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("server.sock");
    let socket = socket.to_str().context("a path that is not UTF-8")?;
    let server = Server::builder().arg("unixsocket", socket).start()?;
    let unix = format!("unix://{socket}?db=3");
    let tcp = format!("redis://127.0.0.1:{}/3", server.port());
    let port = server.port().to_string();
    let mut conn = server.client_db(3)?;
    for (options, is_there) in [
        (&["-s", socket][..], false),
        (&["-s", socket, "-n", "3"], true),
        (&["-u", &unix], true),
        (&["-u", &tcp], true),
        (&["-h", "localhost", "-p", &port, "-n", "3"], true),
    ] {
        set(&mut conn, b"blocking:heartbeat:dead", OLD_MS)?;
        let removed = if is_there {
            "removed 1 of 1"
        } else {
            "removed 0 of 0"
        };
        ends_with(&client(options).output()?, 0, removed)?;
        ensure!((dbsize(&mut conn)? == 0) == is_there, "{options:?}");
    }
    Ok(())
}

/// Whether that server can speak TLS at all.
fn has_tls(server: &Server) -> Result<bool> {
    let mut conn = server.client()?;
    let mut config = redis::cmd("CONFIG");
    let found = conn.req_command(config.arg("GET").arg("tls-port"))?;
    Ok(!matches!(found, redis::Value::Array(pairs) if pairs.is_empty()))
}

#[test]
fn tls_is_checked_unless_it_is_told_not_to_be() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let authority = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(DnType::CommonName, "authority");
    fs::write(path("ca.pem"), parameters.self_signed(&authority)?.pem())?;
    let issuer = Issuer::new(parameters, authority);
    for name in ["server", "client"] {
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        fs::write(path(&format!("{name}.pem")), certificate.pem())?;
        fs::write(path(&format!("{name}.key")), key.serialize_pem())?;
    }
    if !has_tls(&Server::start()?)? {
        eprintln!("this server was built without TLS");
        return Ok(());
    }
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port().to_string();
    drop(listener);
    let server = Server::builder()
        .arg("tls-port", &port)
        .arg("tls-cert-file", path("server.pem"))
        .arg("tls-key-file", path("server.key"))
        .arg("tls-ca-cert-file", path("ca.pem"))
        .start()?;
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let ours = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let uri = format!("rediss://localhost:{port}");
    let mut conn = server.client()?;
    for options in [
        &["-p", &port, "--tls"][..],
        &["-h", "localhost", "-p", &port, "--tls"],
        &["-u", &uri],
    ] {
        set(&mut conn, b"blocking:heartbeat:dead", OLD_MS)?;
        let all = client(options).args(ours).output()?;
        ends_with(&all, 0, "removed 1 of 1")?;
        let top = client(options).args(ours).arg("top").output()?;
        ends_with(&top, 0, "coordinators: 0 live")?;
        // The system's authorities do not know this one.
        let unknown = client(options).args(&ours[2..]).output()?;
        ends_with(&unknown, 1, "cannot connect to ")?;
        let any = client(options)
            .args(&ours[2..])
            .arg("--insecure")
            .output()?;
        ends_with(&any, 0, "removed 0 of 0")?;
        // The server wants to know who comes.
        let nobody = client(options).args(&ours[..2]).output()?;
        ends_with(&nobody, 1, "cannot connect to ")?;
    }
    // A server without TLS there.
    let plain = ran(&server, &["--tls", "--cacert", &ca])?;
    ends_with(&plain, 1, "cannot connect to ")
}
