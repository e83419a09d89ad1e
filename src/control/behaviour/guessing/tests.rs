//! Guesses and what only looks like them, by protocol.

use super::super::tests::{Wire, host, outside};
use crate::dataplane::inspect::{
    Facts, Protocol, ftp, http, imap, kerberos, ldap, mongodb, mqtt, mysql, ntlm, pgsql, pop3, redis, smb, smtp, snmp,
    socks, ssh, telnet,
};
use crate::units::{MILLISECOND, SECOND};

/// One login of a user, and whether it is let in.
type Put = fn(&mut Facts, &str, bool);

const IMAP: (Protocol, u16, Put) = (Protocol::Imap, 143, |facts, user, is_in| {
    facts.put(imap::COMMAND, b"LOGIN");
    facts.put(imap::USERNAME, user.as_bytes());
    facts.put(imap::STATUS, if is_in { b"OK" } else { b"NO" });
});

/// Every protocol of which the answer is read, and the kind it is told as.
const PROTOCOLS: [(&str, (Protocol, u16, Put)); 13] = [
    ("imap", IMAP),
    (
        "ftp",
        (Protocol::Ftp, 21, |facts, user, is_in| {
            facts.put(ftp::USERNAME, user.as_bytes());
            facts.put_number(ftp::CODE, 331);
            facts.put_number(ftp::CODE, if is_in { 230 } else { 530 });
        }),
    ),
    (
        "smtp",
        (Protocol::Smtp, 587, |facts, user, is_in| {
            facts.put(smtp::AUTH_MECHANISM, b"PLAIN");
            facts.put(smtp::USERNAME, user.as_bytes());
            facts.put_number(smtp::CODE, if is_in { 235 } else { 535 });
        }),
    ),
    (
        "pop3",
        (Protocol::Pop3, 110, |facts, user, is_in| {
            facts.put(pop3::COMMAND, b"USER");
            facts.put(pop3::USERNAME, user.as_bytes());
            facts.put_number(pop3::SUCCESS, u64::from(is_in));
        }),
    ),
    (
        "http",
        (Protocol::Http, 80, |facts, user, is_in| {
            facts.put(http::AUTH_SCHEME, b"Basic");
            facts.put(http::USERNAME, user.as_bytes());
            facts.put_number(http::STATUS, if is_in { 200 } else { 401 });
        }),
    ),
    (
        "database",
        (Protocol::MySql, 3306, |facts, user, is_in| {
            facts.put(mysql::USER, user.as_bytes());
            facts.put_number(mysql::AUTHENTICATED, u64::from(is_in));
            facts.put_number(mysql::CODE, 1045);
            facts.put(mysql::MESSAGE, b"Access denied for user '' (using password: YES)");
        }),
    ),
    (
        "database",
        (Protocol::PostgreSql, 5432, |facts, user, is_in| {
            facts.put(pgsql::USER, user.as_bytes());
            facts.put_number(pgsql::AUTHENTICATED, u64::from(is_in));
            if !is_in {
                facts.put(pgsql::CODE, b"28P01");
            }
        }),
    ),
    (
        "database",
        (Protocol::MongoDb, 27017, |facts, user, is_in| {
            facts.put(mongodb::COMMAND, b"saslContinue");
            facts.put(mongodb::USERNAME, user.as_bytes());
            if is_in { facts.put_number(mongodb::OK, 1) } else { facts.put_number(mongodb::CODE, 18) }
        }),
    ),
    (
        "redis",
        (Protocol::Redis, 6379, |facts, user, is_in| {
            facts.put(redis::COMMAND, b"AUTH");
            facts.put(redis::USERNAME, user.as_bytes());
            if is_in { facts.put(redis::STATUS, b"OK") } else { facts.put(redis::ERROR, b"WRONGPASS") }
        }),
    ),
    (
        "ldap",
        (Protocol::Ldap, 389, |facts, user, is_in| {
            facts.put(ldap::OPERATION, b"bind_request");
            facts.put(ldap::AUTHENTICATION, b"simple");
            facts.put(ldap::NAME, user.as_bytes());
            facts.put_number(ldap::RESULT, if is_in { 0 } else { 49 });
        }),
    ),
    (
        "smb",
        (Protocol::Smb, 445, |facts, user, is_in| {
            facts.put(smb::COMMAND, b"SMB2_COMMAND_SESSION_SETUP");
            facts.put(ntlm::USER, user.as_bytes());
            facts.put_number(smb::STATUS, if is_in { 0 } else { 0xc000_006d });
        }),
    ),
    (
        "mqtt",
        (Protocol::Mqtt, 1883, |facts, user, is_in| {
            facts.put(mqtt::USERNAME, user.as_bytes());
            facts.put_number(mqtt::RETURN_CODE, if is_in { 0 } else { 5 });
        }),
    ),
    (
        "socks",
        (Protocol::Socks, 1080, |facts, user, is_in| {
            facts.put(socks::USERNAME, user.as_bytes());
            facts.put_number(socks::LOGIN_STATUS, u64::from(!is_in));
        }),
    ),
];

/// `count` logins, one each `pause`, of users that `user` names; `is_in` says which are let in.
fn logins(
    (protocol, port, put): (Protocol, u16, Put),
    (count, pause): (u64, u64),
    user: impl Fn(u64) -> String,
    is_in: impl Fn(u64) -> bool,
) -> Wire {
    let mut wire = Wire::default();
    add(&mut wire, (host(1), host(9), port), (protocol, put), (count, pause), user, is_in);
    wire
}

fn add(
    wire: &mut Wire,
    ends: (u32, u32, u16),
    (protocol, put): (Protocol, Put),
    (count, pause): (u64, u64),
    user: impl Fn(u64) -> String,
    is_in: impl Fn(u64) -> bool,
) {
    for number in 0..count {
        wire.event(number * pause, ends, (protocol, 6), |facts| put(facts, &user(number), is_in(number)));
    }
}

/// Kinds of guessing; others may tell that passwords go in the clear.
fn kinds(wire: &Wire) -> Vec<String> {
    let of = |kind: String| kind.strip_prefix("brute_force/").map(str::to_owned);
    wire.kinds().into_iter().filter_map(of).collect()
}

#[test]
fn every_protocol_tells_guesses_from_logins() {
    let one = |_: u64| "anna".to_owned();
    let many = |number: u64| format!("user{number}");
    for (kind, protocol) in PROTOCOLS {
        let name = protocol.0.name();
        let pace = (30, 700 * MILLISECOND);
        assert_eq!(kinds(&logins(protocol, pace, one, |_| false)), [kind], "{name}: refused");
        assert_eq!(kinds(&logins(protocol, (300, 700 * MILLISECOND), one, |_| true)), [""; 0], "{name}: let in");
        assert_eq!(kinds(&logins(protocol, (4, SECOND), one, |_| false)), [""; 0], "{name}: mistyped");
        assert_eq!(
            kinds(&logins(protocol, pace, many, |number| number % 2 == 1)),
            [""; 0],
            "{name}: a host of many users"
        );
        let users = format!("{kind}_users");
        assert_eq!(kinds(&logins(protocol, (6, 20 * SECOND), many, |_| false)), [users], "{name}: many users");
        let found = kinds(&logins(protocol, (31, SECOND), one, |number| number == 30));
        assert_eq!(found, [kind.to_owned(), format!("{kind}_success")], "{name}: fitted");
    }
}

/// Sessions of SSH: when, how many passwords they were refused, and whether they were let in then.
fn sessions(sessions: &[(u64, u64, bool)]) -> Vec<String> {
    let mut wire = Wire::default();
    for (second, guesses, is_in) in sessions {
        wire.event(second * SECOND, (host(1), host(9), 22), (Protocol::Ssh, 6), |facts| {
            facts.put_number(ssh::GUESSES, *guesses);
            if *is_in {
                facts.put_number(ssh::LET_IN, 1);
            }
        });
    }
    kinds(&wire)
}

#[test]
fn refusals_of_ssh_count_by_the_session() {
    let tool = [(0, 5, false), (33, 5, false)];
    assert_eq!(sessions(&tool), ["ssh"], "one after the other");
    assert_eq!(sessions(&[(0, 5, false); 4]), ["ssh"], "side by side");
    assert_eq!(sessions(&[(0, 5, false); 1]), [""; 0], "one session");
    assert_eq!(sessions(&[tool[0], tool[1], (60, 2, true)]), ["ssh", "ssh_success"], "one fitted");
    // People, and programs with an old password.
    assert_eq!(sessions(&[(0, 1, false), (2, 1, false), (5, 1, false)]), [""; 0], "mistyped, and gave up");
    let mistyped: Vec<_> = (0..20).map(|turn| (turn * 10, 3, true)).collect();
    assert_eq!(sessions(&mistyped), [""; 0], "mistyped again and again");
    let old: Vec<_> = (0..120).map(|turn| (turn * 60, 1, false)).collect();
    assert_eq!(sessions(&old), [""; 0], "an old password each minute");
}

#[test]
fn evidence_says_how_many_and_who() {
    let wire = logins(IMAP, (31, SECOND), |_| "anna".into(), |number| number == 30);
    let all: Vec<_> = wire.evidence().into_iter().filter(|one| one.detector.name() == "brute_force").collect();
    let (first, last) = (&all[0], &all[all.len() - 1]);
    assert_eq!((first.severity, last.severity), (2, 1));
    assert_eq!((first.port, first.terms[0].threshold), (Some(143), Some(5.0)));
    assert!(first.terms[0].relation.unwrap().holds(first.terms[0].value, first.terms[0].threshold.unwrap()));
    assert!(first.flow.as_ref().is_some_and(|flow| flow.is_example) && !last.flow.as_ref().unwrap().is_example);
    assert!(last.summary.contains("let in as anna"), "{}", last.summary);
    // Told again when there are twice as many.
    assert_eq!(all.len(), 4, "{all:?}");
}

/// Slow ones, one after the other in one connection or not.
#[test]
fn slow_guesses_are_told_by_the_slow_bucket() {
    let slow = logins(IMAP, (80, 25 * SECOND), |_| "anna".into(), |_| false);
    assert_eq!(kinds(&slow), ["imap_failing_login", "imap"], "what may be a program first");
    assert!(slow.evidence().iter().filter(|one| one.kind == "imap").all(|one| one.severity == 3));
    // A program that was never told the new password, or somebody who guesses one user's: told low.
    let steady = logins(IMAP, (200, 60 * SECOND), |_| "anna".into(), |_| false);
    assert_eq!(kinds(&steady), ["imap_failing_login"]);
    assert!(steady.evidence().iter().filter(|one| one.kind.contains("failing")).all(|one| one.severity == 4));
    // Somebody who takes his time with several users.
    for pause in [30, 120, 300] {
        let slow = logins(IMAP, (60, pause * SECOND), |number| format!("user{}", number % 3), |_| false);
        let told = slow.evidence().into_iter().find(|one| one.kind == "imap_users").expect("told");
        assert_eq!((told.severity, told.technique.as_deref()), (3, Some("T1110")), "each {pause} s");
    }
    // Who is let in each second time works.
    assert_eq!(kinds(&logins(IMAP, (200, 60 * SECOND), |_| "anna".into(), |number| number % 2 == 0)), [""; 0]);
}

/// Two guesses of each of many hosts; and an office in the morning, of which everybody mistypes once and is let in then.
#[test]
fn guesses_that_many_share_are_told_and_an_office_is_not() {
    let (protocol, port, put) = IMAP;
    let run = |clients: u64, count: u64, pause: u64, is_in: fn(u64) -> bool| {
        let mut wire = Wire::default();
        for number in 0..count {
            let ends = (host(1 + (number % clients) as u32), host(100), port);
            wire.event(number * pause, ends, (protocol, 6), |facts| put(facts, "anna", is_in(number)));
        }
        kinds(&wire)
    };
    assert_eq!(run(60, 120, 30 * SECOND, |_| false), ["imap_distributed"]);
    assert_eq!(run(15, 30, 60 * SECOND, |_| false), [""; 0], "a few");
    assert_eq!(run(60, 60, SECOND, |_| false), [""; 0], "once each, at the same time");
    let mut office = Wire::default();
    for number in 0..600_u64 {
        let ends = (host(1 + (number / 2 % 90) as u32), host(100), port);
        office.event(number * 10 * SECOND, ends, (protocol, 6), |facts| put(facts, "anna", number % 2 == 1));
    }
    assert_eq!(kinds(&office), [""; 0], "mistyped");
}

#[test]
fn one_client_at_many_servers_and_many_at_one() {
    let (protocol, port, put) = IMAP;
    let run = |clients: u32, servers: u32, rounds: u64, is_in: fn(u64) -> bool| {
        let mut wire = Wire::default();
        for number in 0..u64::from(clients.max(servers)) * rounds {
            let ends = (host(1 + number as u32 % clients), host(100 + number as u32 % servers), port);
            wire.event(number * 900 * MILLISECOND, ends, (protocol, 6), |facts| put(facts, "anna", is_in(number)));
        }
        kinds(&wire)
    };
    assert_eq!(run(1, 12, 1, |_| false), ["imap_spraying"]);
    assert_eq!(run(12, 1, 3, |_| false), ["imap_distributed"]);
    assert_eq!(run(12, 1, 20, |number| number % 3 != 0), [""; 0], "a busy server");
}

#[test]
fn what_refuses_nobody_is_quiet() {
    const PING: Put = |facts, user, _| {
        facts.put(mysql::USER, user.as_bytes());
        facts.put_number(mysql::AUTHENTICATED, 0);
        facts.put_number(mysql::CODE, 1045);
        facts.put(mysql::MESSAGE, b"Access denied for user '' (using password: NO)");
    };
    const READY: Put = |facts, user, _| {
        facts.put(pgsql::USER, user.as_bytes());
        facts.put(pgsql::AUTH_METHOD, b"sasl");
    };
    const HELLO: Put = |facts, _, _| {
        facts.put(smtp::HELO, b"monitor");
        facts.put(smtp::BANNER, b"ready");
    };
    const POST: Put = |facts, _, _| {
        facts.put(http::METHOD, b"POST");
        facts.put(http::URL, b"/api/measurements");
        facts.put(http::REQUEST_TYPE, b"application/x-www-form-urlencoded");
        facts.put_number(http::REQUEST_LENGTH, 40);
        facts.put_number(http::STATUS, 200);
    };
    const CHALLENGE: Put = |facts, _, _| facts.put_number(http::STATUS, 401);
    const BEARER: Put = |facts, _, _| {
        facts.put(http::AUTH_SCHEME, b"Bearer");
        facts.put_number(http::STATUS, 401);
    };
    const BUSY: Put = |facts, user, _| {
        facts.put(pop3::COMMAND, b"USER");
        facts.put(pop3::USERNAME, user.as_bytes());
        facts.put_number(pop3::SUCCESS, 0);
        facts.put(pop3::REPLY, b"[IN-USE] Do you have another POP session running?");
    };
    const GUEST: Put = |facts, user, _| {
        facts.put(smb::COMMAND, b"SMB2_COMMAND_SESSION_SETUP");
        facts.put(ntlm::USER, user.as_bytes());
        facts.put_number(smb::STATUS, 0);
        facts.put_number(smb::GUEST, 1);
    };
    const POLL: Put = |facts, _, _| {
        facts.put(snmp::COMMUNITY, b"public");
        facts.put_number(snmp::PDU_TYPE, 0);
    };
    const NOT_ASKED: Put = |facts, _, _| {
        facts.put(redis::COMMAND, b"PING");
        facts.put(redis::ERROR, b"NOAUTH");
    };
    const TELNET: Put = |facts, user, _| {
        facts.put(telnet::USERNAME, user.as_bytes());
        facts.put_number(telnet::ATTEMPT, 1);
        facts.put_number(telnet::SECRET_SENT, 1);
    };
    const PREAUTH: Put = |facts, user, _| {
        facts.put(kerberos::CLIENT, user.as_bytes());
        facts.put_number(kerberos::ERROR, 25);
    };
    for (what, protocol, port, put) in [
        ("mysqladmin ping", Protocol::MySql, 3306, PING),
        ("pg_isready", Protocol::PostgreSql, 5432, READY),
        ("EHLO and QUIT", Protocol::Smtp, 25, HELLO),
        ("small POSTs", Protocol::Http, 80, POST),
        ("pages that ask for a login", Protocol::Http, 80, CHALLENGE),
        ("a token that has run out", Protocol::Http, 80, BEARER),
        ("a mailbox in use", Protocol::Pop3, 110, BUSY),
        ("one community", Protocol::Snmp, 161, POLL),
        ("Redis before its login", Protocol::Redis, 6379, NOT_ASKED),
        ("first attempts, whatever came of them", Protocol::Telnet, 23, TELNET),
        ("the usual first answer of a KDC", Protocol::Kerberos, 88, PREAUTH),
    ] {
        let wire = logins((protocol, port, put), (300, 200 * MILLISECOND), |_| "nobody".into(), |_| false);
        assert_eq!(kinds(&wire), [""; 0], "{what}");
    }
    let guest = |pause| kinds(&logins((Protocol::Smb, 445, GUEST), (100, pause), |_| "anna".into(), |_| false));
    assert_eq!(guest(10 * SECOND), [""; 0], "a guest of a file server");
    assert_eq!(guest(200 * MILLISECOND), ["smb"], "a guest that comes too often");
    for (what, protocol, port, put, kind) in [
        ("guests of many names", Protocol::Smb, 445, GUEST, "smb_users"),
        ("many users of a database without a password", Protocol::MySql, 3306, PING, "database_users"),
    ] {
        let wire = logins((protocol, port, put), (9, SECOND), |number| format!("user{number}"), |_| false);
        assert_eq!(kinds(&wire), [kind], "{what}");
    }
}

/// Forms: what says no, and what says the same over and over, and then something else.
#[test]
fn forms_are_read_as_far_as_they_say() {
    fn form(facts: &mut Facts, path: &str, status: u64) {
        facts.put(http::METHOD, b"POST");
        facts.put(http::URL, path.as_bytes());
        facts.put(http::REQUEST_TYPE, b"application/x-www-form-urlencoded");
        facts.put_number(http::REQUEST_LENGTH, 40);
        facts.put_number(http::STATUS, status);
    }
    const REFUSED: Put = |facts, _, is_in| form(facts, "/form", if is_in { 302 } else { 403 });
    const PAGE: Put = |facts, _, is_in| {
        form(facts, "/wp-login.php", if is_in { 302 } else { 200 });
        facts.put(http::CONTENT_TYPE, b"text/html; charset=utf-8");
        facts.put_number(http::LENGTH, 4711);
        if is_in {
            facts.put(http::LOCATION, b"/wp-admin/");
        }
    };
    const BACK: Put = |facts, _, is_in| {
        form(facts, "/login", 302);
        facts.put(http::LOCATION, if is_in { b"/home" } else { b"/login?error" });
    };
    let run = |put: Put, count: u64, is_in: fn(u64) -> bool| {
        kinds(&logins((Protocol::Http, 80, put), (count, 500 * MILLISECOND), |_| String::new(), is_in))
    };
    for (what, put) in [("403", REFUSED), ("a page", PAGE), ("back to the login", BACK)] {
        assert_eq!(run(put, 60, |_| false), ["http"], "{what}");
        assert_eq!(run(put, 10, |_| false), [""; 0], "{what}: a few");
        assert_eq!(run(put, 200, |_| true), [""; 0], "{what}: let in");
    }
    assert_eq!(run(PAGE, 60, |number| number == 59), ["http", "http_success"]);
    assert_eq!(run(BACK, 60, |number| number == 59), ["http", "http_success"]);
}

/// Whoever is outside is as any other.
#[test]
fn networks_do_not_matter() {
    let (protocol, port, put) = IMAP;
    let mut wire = Wire::default();
    add(&mut wire, (outside(1), host(9), port), (protocol, put), (30, SECOND), |_| "anna".into(), |_| false);
    assert_eq!(kinds(&wire), ["imap"]);
}
