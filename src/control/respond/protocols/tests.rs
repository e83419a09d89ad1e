//! Parameters to plans, a real server for the webhook, real programs for the command.

use super::*;
use crate::control::respond::words::{tell, tell_action};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

fn plan(protocol: &str, parameters: Value) -> Result<(Value, Vec<String>), String> {
    let registry = Registry::of_frames();
    let planned =
        registry.find(protocol).and_then(|protocol| protocol.plan(&parameters)).map_err(|cause| cause.to_string())?;
    let Work::Verdicts(verdicts) = planned.work else { panic!("verdicts") };
    let told = verdicts.iter().map(|verdict| format!("{} {}", tell_action(verdict.action), tell(&verdict.subject)));
    Ok((planned.parameters, told.collect()))
}

#[test]
fn protocols_are_known_by_one_name_each() {
    let mut registry = Registry::shipped(Vec::new(), Vec::new());
    let names: Vec<_> = registry.all().map(|protocol| protocol.name()).collect();
    assert_eq!(
        names,
        [
            "block_flow",
            "block_ip",
            "canary",
            "capture",
            "command",
            "isolate_host",
            "rate_limit",
            "reset_connection",
            "scan",
            "webhook"
        ]
    );
    assert_eq!(registry.register(Arc::new(BlockIp)), Err(ProtocolError::Duplicate("block_ip".into())));
    let message = registry.find("teleport").err().unwrap().to_string();
    assert!(message.starts_with("protocol teleport not found: there are block_flow, block_ip"), "{message}");
    assert!(registry.all().all(|protocol| protocol.about().ends_with('.')));
}

/// A configuration that is read anew knows servers and programs; what watches frames is not its.
#[test]
fn others_to_tell_leave_the_other_protocols_as_they_are() {
    let mut registry = Registry::shipped(Vec::new(), Vec::new());
    let before: BTreeMap<_, _> = registry.0.iter().map(|(name, protocol)| (*name, Arc::clone(protocol))).collect();
    registry.tell(Vec::new(), Vec::new());
    let same = |name: &&str| Arc::ptr_eq(&before[*name], &registry.0[*name]);
    let others: Vec<_> = before.keys().copied().filter(|name| !same(name)).collect();
    assert_eq!((others, registry.0.len()), (vec!["command", "webhook"], before.len()));
}

#[test]
fn the_same_asked_in_another_way_is_the_same() {
    for (protocol, ways, told) in [
        (
            "block_ip",
            vec![
                json!({ "prefix": "192.0.2.7/32" }),
                json!({ "prefixes": ["192.0.2.7", "::ffff:192.0.2.7"], "direction": "both" }),
            ],
            vec!["drop 192.0.2.7"],
        ),
        (
            "block_flow",
            vec![
                json!({ "source": "192.0.2.7", "source_port": 9, "destination": "10.0.0.1", "destination_port": 80, "protocol": "tcp" }),
                json!({ "source": "10.0.0.1", "source_port": 80, "destination": "192.0.2.7", "destination_port": 9, "protocol": 6 }),
            ],
            vec!["drop tcp 10.0.0.1:80 - 192.0.2.7:9"],
        ),
        (
            "rate_limit",
            vec![
                json!({ "destination": "10.0.0.9", "protocol": "tcp", "only_syn": true, "per_second": 5 }),
                json!({ "destination": "10.0.0.9", "protocol": 6, "port": 0, "only_syn": true, "per_second": 5, "burst": 5 }),
            ],
            vec!["limit to 5 a second (burst 5) tcp syn to 10.0.0.9"],
        ),
        (
            "isolate_host",
            vec![
                json!({ "mac": "02:00:00:00:00:0A", "addresses": ["10.0.0.6", "10.0.0.5", "10.0.0.5"], "allow": ["10.0.9.0/24"] }),
                json!({ "allow": ["10.0.9.0/24"], "addresses": ["10.0.0.5", "10.0.0.6"], "mac": "02:00:00:00:00:0a" }),
            ],
            vec!["isolate card 02:00:00:00:00:0a", "isolate 10.0.0.5", "isolate 10.0.0.6", "pass 10.0.9.0/24"],
        ),
    ] {
        let plans: Vec<_> = ways.into_iter().map(|way| plan(protocol, way).unwrap()).collect();
        assert!(plans.iter().all(|one| *one == plans[0]), "{protocol}: {plans:?}");
        assert_eq!(plans[0].1, told, "{protocol}");
        assert_eq!(plan(protocol, plans[0].0.clone()).unwrap(), plans[0], "{protocol}: its own form is read");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place_and_a_remedy() {
    for (protocol, parameters, says) in [
        ("block_ip", json!({}), "0 prefixes"),
        ("block_ip", json!({ "prefix": "10.0.0.5/24" }), "prefix: 10.0.0.5/24 has bits beyond"),
        ("block_ip", json!({ "prefix": 5 }), "prefix: invalid type"),
        ("block_ip", json!({ "prefixs": ["192.0.2.7"] }), "unknown field `prefixs`"),
        (
            "block_flow",
            json!({ "source": "::1", "destination": "10.0.0.1", "protocol": 1 }),
            "IPv4 and the other of IPv6",
        ),
        ("block_flow", json!({ "source": "10.0.0.2", "destination": "10.0.0.1", "protocol": "udp" }), "two ports"),
        ("rate_limit", json!({ "prefix": "192.0.2.7", "per_second": 0 }), "a rate of nothing"),
        ("rate_limit", json!({ "prefix": "192.0.2.7", "port": 5, "per_second": 1 }), "neither of a prefix alone"),
        (
            "rate_limit",
            json!({ "destination": "10.0.0.9", "protocol": "udp", "only_syn": true, "per_second": 1 }),
            "only_syn",
        ),
        ("isolate_host", json!({}), "neither card nor address"),
        ("isolate_host", json!({ "mac": "02:00" }), "no card's address"),
        ("isolate_host", json!({ "addresses": ["10.0.0.5"], "allow": ["10.0.0.0/8"] }), "the host itself lies"),
    ] {
        let message = plan(protocol, parameters.clone()).unwrap_err();
        assert!(
            message.contains(says) && message.contains("write {") | message.contains("write per"),
            "{parameters}: {message}"
        );
    }
}

/// Serves so many connections with these statuses; what was sent to each.
fn server(statuses: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    let serve = move || {
        let mut heard = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                head += &line;
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            heard.push(head + std::str::from_utf8(&body).unwrap());
            if !status.is_empty() {
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        }
        heard
    };
    (url, std::thread::spawn(serve))
}

fn hook(url: &str, limit: Duration) -> Box<dyn Once> {
    let url = WebhookPlan::url(url).unwrap();
    let webhook =
        Webhook::new(vec![WebhookPlan { name: "soc".into(), url, authorities: None, limit, pause: Duration::ZERO }]);
    let planned = webhook.plan(&json!({ "about": { "id": "a" } })).unwrap();
    assert_eq!(planned.parameters, json!({ "to": "soc", "about": { "id": "a" } }));
    let Work::Once(once) = planned.work else { panic!("it acts once") };
    once
}

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_webhook_is_posted_and_tried_again_where_that_may_help() {
    for (statuses, outcome) in [
        (&["204 No Content"][..], Ok("204 No Content at attempt 1")),
        (&["503 Busy", "", "200 OK"], Ok("200 OK at attempt 3")),
        (&["500 Oh", "429 Slow", "502 Bad"], Err("502 Bad Gateway, at each of 3 attempts")),
        (&["302 Found"], Err("302 Found")),
        (&["404 None"], Err("404 Not Found")),
    ] {
        let (url, serving) = server(statuses);
        let found = hook(&url, PATIENCE).run();
        let heard = serving.join().unwrap();
        assert_eq!(heard.len(), statuses.len());
        assert!(
            heard
                .iter()
                .all(|one| one.starts_with("POST /hook?x=1 HTTP/1.1\r\n") && one.ends_with("\r\n\r\n{\"id\":\"a\"}"))
        );
        match outcome {
            Ok(words) => assert!(found.as_ref().is_ok_and(|found| found.contains(words)), "{found:?}"),
            Err(words) => assert!(found.as_ref().is_err_and(|found| found.contains(words)), "{found:?}"),
        }
    }
}

/// A server that never answers: the limit ends it. Nobody waits longer than that.
#[test]
fn a_webhook_that_is_not_answered_ends_at_its_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let message = hook(&url, Duration::from_millis(20)).run().unwrap_err();
    assert!(message.contains("no answer within 0.02 s"), "{message}");
}

#[test]
fn urls_that_are_not_ours_to_ask_are_refused() {
    for bad in ["ftp://a", "a/b", "http://u@h/", "http://", ""] {
        assert!(WebhookPlan::url(bad).is_err(), "{bad}");
    }
    let none = Webhook::new(Vec::new()).plan(&json!({ "about": 1 })).err().unwrap().to_string();
    assert!(none.contains("no [[webhook]]"), "{none}");
    let unknown =
        Webhook::new(Vec::new()).plan(&json!({ "url": "http://10.0.0.1/", "about": 1 })).err().unwrap().to_string();
    assert!(unknown.contains("unknown field `url`"), "{unknown}");
}

fn command(program: &str, arguments: &[&str], limit: Duration, writable: Vec<PathBuf>) -> Command {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Command::new(vec![CommandPlan {
        name: "x".into(),
        program: program.into(),
        arguments,
        limit,
        user: 65_534,
        writable,
    }])
}

fn run(command: &Command, parameters: Value) -> Result<String, String> {
    let planned = command.plan(&parameters).map_err(|cause| cause.to_string())?;
    let Work::Once(once) = planned.work else { panic!("it acts once") };
    once.run()
}

#[test]
fn a_program_gets_its_arguments_no_environment_and_no_rights() {
    let echo = command("/bin/echo", &["--ip={source}", "{port}", "a b;$HOME", "{alert}"], PATIENCE, Vec::new());
    let parameters = json!({ "source": "2001:db8::1", "port": 22, "alert": "0123456789abcdef0123456789abcdef" });
    let said = run(&echo, parameters).unwrap();
    assert!(said.contains("--ip=2001:db8::1 22 a b;$HOME 0123456789abcdef0123456789abcdef"), "{said}");
    let said = run(&command("/usr/bin/env", &[], PATIENCE, Vec::new()), json!({})).unwrap();
    assert!(said.trim_end().ends_with(':'), "an empty environment: {said}");
    let said = run(&command("/bin/cat", &["/proc/self/status"], PATIENCE, Vec::new()), json!({})).unwrap();
    assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    assert!(!crate::sys::sandbox::is_root() || said.contains("Uid:\t65534\t65534"), "{said}");
}

#[test]
fn values_that_are_no_values_never_reach_a_program() {
    let echo = command("/bin/echo", &["{kind}", "{detector}"], PATIENCE, Vec::new());
    for kind in ["-rf", "a b", "", "A", "a;b", "../x", "{source}"] {
        let message = run(&echo, json!({ "kind": kind, "detector": "scan" })).unwrap_err();
        assert!(message.contains("kind is needed and not given, or is none"), "{kind}: {message}");
    }
    assert!(run(&echo, json!({ "detector": "scan" })).unwrap_err().contains("kind is needed"));
    assert!(
        run(&echo, json!({ "kind": "syn", "detector": "flood", "program": "/bin/sh" }))
            .unwrap_err()
            .contains("unknown field")
    );
    assert!(
        run(&echo, json!({ "kind": "syn", "detector": "flood", "run": "y" }))
            .unwrap_err()
            .contains("\"y\" is none of x")
    );
    for bad in ["{summary}", "{source", "{}"] {
        assert!(CommandPlan::check_argument(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_program_ends_at_its_limit_with_all_it_started_and_says_only_so_much() {
    let limit = Duration::from_millis(50);
    // The shell's child holds the output open: only the end of the group ends it.
    let hangs = command("/bin/sh", &["-c", "sleep 1000 & exec sleep 1000"], limit, Vec::new());
    let message = run(&hangs, json!({})).unwrap_err();
    assert!(message.contains("not done within 0.05 s: killed"), "{message}");
    // Nor does anything leave the group.
    let leaves = command("/bin/sh", &["-c", "setsid true || exit 7"], PATIENCE, Vec::new());
    let message = run(&leaves, json!({})).unwrap_err();
    assert!(message.contains("exit status: 7"), "{message}");
    let talks = command(
        "/bin/sh",
        &["-c", "i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done; exit 3"],
        PATIENCE,
        Vec::new(),
    );
    let message = run(&talks, json!({})).unwrap_err();
    assert!(message.contains("exit status: 3") && message.len() < 6000, "{}", message.len());
    let message = run(&command("/no/such/program", &[], PATIENCE, Vec::new()), json!({})).unwrap_err();
    assert!(message.contains("start /no/such/program: No such file"), "{message}");
}

#[test]
fn files_change_only_where_they_may() {
    let guards = crate::sys::sandbox::Sandbox::new(&[]).unwrap().guards_files();
    if !guards {
        eprintln!("SKIPPED files_change_only_where_they_may: this kernel has no Landlock");
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (may, may_not) = (folder.path().join("may"), folder.path().join("may_not"));
    for one in [folder.path(), &may, &may_not] {
        std::fs::create_dir_all(one).unwrap();
        // Whoever it runs as, only the sandbox is in the way.
        std::fs::set_permissions(one, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let script = format!("echo x > {}/f; echo y > {}/f", may.display(), may_not.display());
    let writes = command("/bin/sh", &["-c", &script], PATIENCE, vec![may.clone()]);
    let message = run(&writes, json!({})).unwrap_err();
    assert!(message.contains("ermission denied"), "{message}");
    assert!(may.join("f").exists() && !may_not.join("f").exists());
}

/// Only flows to documentation are shunted: nobody's traffic goes round inspection by it.
#[test]
fn canaries_fly_to_addresses_of_documentation_alone() {
    let registry = Registry::shipped(Vec::new(), Vec::new());
    let canary = registry.find("canary").unwrap();
    let planned = canary.plan(&json!({ "sources": ["192.0.2.77", "2001:db8::7", "::ffff:192.0.2.77"] })).unwrap();
    let Work::Verdicts(verdicts) = planned.work else { panic!("verdicts") };
    let told: Vec<_> =
        verdicts.iter().map(|one| format!("{} {}", tell_action(one.action), tell(&one.subject))).collect();
    let wanted = ["shunt udp 192.0.2.77:9 - 203.0.113.77:9", "shunt udp [2001:db8::7]:9 - [2001:db8:c::77]:9"];
    assert_eq!(told, wanted);
    for bad in [json!({ "sources": [] }), json!({ "sources": ["203.0.113.77"] }), json!({ "destination": "10.0.0.1" })]
    {
        assert!(canary.plan(&bad).is_err(), "{bad}");
    }
}

/// The tests' own authority and server (tests/data/tls).
fn of_tests(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// A server of TLS that answers one request; its address, and what it was told, `None` where nobody trusted it.
fn secure_server() -> (String, std::thread::JoinHandle<Option<String>>) {
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};
    let chain =
        CertificateDer::pem_file_iter(of_tests("localhost.pem")).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(of_tests("localhost.pem")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let config = Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut heard = Vec::new();
        while !heard.ends_with(b"}") {
            let mut piece = [0; 512];
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => heard.extend(&piece[..count]),
                _ => return None,
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        Some(String::from_utf8(heard).unwrap())
    };
    (format!("https://localhost:{port}/hook"), std::thread::spawn(serve))
}

#[test]
fn over_tls_a_server_is_told_only_where_it_is_who_it_should_be() {
    for (host, authorities, good) in [
        ("localhost", Some(of_tests("ca.pem")), true),
        ("127.0.0.1", Some(of_tests("ca.pem")), true),
        // A name that is not the certificate's, an authority that did not sign it, and the system's.
        ("127.0.0.2", Some(of_tests("ca.pem")), false),
        ("localhost", Some(of_tests("localhost.pem")), false),
        ("localhost", None, false),
        ("localhost", Some(of_tests("nothing.pem")), false),
    ] {
        let (url, serving) = secure_server();
        let reached = url.replace("localhost", host);
        // It listens at one address: by another name only where that is the same.
        let plan = WebhookPlan {
            name: "soc".into(),
            url: WebhookPlan::url(&reached).unwrap(),
            authorities: authorities.clone(),
            limit: PATIENCE,
            pause: Duration::ZERO,
        };
        let Work::Once(once) = Webhook::new(vec![plan]).plan(&json!({ "about": { "id": "a" } })).unwrap().work else {
            panic!("it acts once")
        };
        let outcome = once.run();
        if outcome.is_err() {
            // Nobody may have come that far.
            drop(std::net::TcpStream::connect(url.trim_start_matches("https://").trim_end_matches("/hook")));
        }
        let heard = serving.join().unwrap();
        assert_eq!((outcome.is_ok(), heard.is_some()), (good, good), "{reached} {authorities:?}: {outcome:?}");
        assert!(
            heard.is_none_or(|heard| heard.starts_with("POST /hook HTTP/1.1") && heard.ends_with("{\"id\":\"a\"}"))
        );
    }
}

/// A descriptor that somebody here forgot to close on exec is not the program's.
#[test]
fn a_program_has_no_descriptors_of_ours() {
    let file = tempfile::tempfile().unwrap();
    crate::sys::sandbox::inherit_for_tests(&file);
    let said = run(&command("/bin/ls", &["/proc/self/fd"], PATIENCE, Vec::new()), json!({})).unwrap();
    let own = std::os::fd::AsRawFd::as_raw_fd(&file).to_string();
    let listed: Vec<&str> = said.rsplit(": ").next().unwrap().split_whitespace().collect();
    // The folder that it reads is its own.
    assert!(listed.len() <= 4 && (!listed.contains(&&*own) || own == "3"), "{said}");
}
