//! What each protocol notes, from facts as its parser puts them.

use super::super::event::{About, Event, Note};
use super::super::host::NameSource;
use super::super::kinds;
use crate::dataplane::decode::FlowKey;
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::tls::{HELLO, SERVER_CERTIFICATE};
use crate::dataplane::inspect::*;
use crate::exchange::EventHead;
use crate::units::{SECOND, Timestamp};

/// 2026-11-21.
const NOW: u64 = 1_795_219_200;

fn notes(protocol: Protocol, transport: u8, anomaly: Option<Anomaly>, put: impl Fn(&mut Facts)) -> Vec<Note> {
    said(Side::Originator, protocol, transport, anomaly, put)
}

fn said(
    sender: Side,
    protocol: Protocol,
    transport: u8,
    anomaly: Option<Anomaly>,
    put: impl Fn(&mut Facts),
) -> Vec<Note> {
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 4_000, transport, 0);
    let anomaly = anomaly.map(|one| (one.protocol, one.index));
    let time = Timestamp(NOW * SECOND);
    let head = EventHead {
        time,
        told: time,
        key,
        originator,
        sender,
        first_seen: None,
        protocol,
        anomaly,
        truncated: false,
        bytes: 0,
        icmp: None,
        outer: None,
        through_proxy: false,
    };
    let mut facts = Facts::default();
    put(&mut facts);
    super::notes(&Event::new(&head, facts.as_bytes()))
}

fn found(notes: &[Note]) -> Vec<&'static str> {
    let kinds = notes.iter().filter_map(|note| match note {
        Note::Finding(kind, ..) => Some(kind.name),
        _ => None,
    });
    kinds.collect()
}

fn tls(version: u64, cipher: u64, put: impl Fn(&mut Facts)) -> Vec<Note> {
    notes(Protocol::Tls, 6, None, |facts| {
        facts.put_number(HELLO.version, version);
        facts.put_number(HELLO.cipher, cipher);
        put(facts);
    })
}

#[test]
fn tls_versions_suites_and_certificates_are_judged() {
    for (version, cipher, wanted) in [
        (0x0304, 0x1301, &[][..]),
        (0x0303, 0xc02f, &[]),
        (0x0302, 0x002f, &["tls_version"]),
        (0x0300, 0x0005, &["ssl_version", "tls_cipher_broken"]),
        (0x0303, 0x000a, &["tls_cipher_weak"]),
        (0x0002, 0x0001, &["ssl_version"]),
    ] {
        assert_eq!(found(&tls(version, cipher, |_| ())), wanted, "{version:x} {cipher:x}");
    }
    let certificate = |begin: u64, end: u64, bits: u64, key: &str, signature: &str, is_own: bool| {
        let notes = tls(0x0303, 0xc02f, |facts| {
            let facts_of = SERVER_CERTIFICATE;
            facts.put(facts_of.fingerprint, &[0xab; 20]);
            facts.put(facts_of.subject, b"C=DE, CN=www.example.org");
            facts.put(facts_of.alt_name, b"*.example.org");
            facts.put(facts_of.alt_name, b"example.org");
            facts.put_number(facts_of.not_before, begin);
            facts.put_number(facts_of.not_after, end);
            facts.put(facts_of.key_type, key.as_bytes());
            facts.put_number(facts_of.key_bits, bits);
            facts.put(facts_of.signature, signature.as_bytes());
            if is_own {
                facts.put_number(facts_of.self_signed, 1);
            }
        });
        let names = notes.iter().filter(|note| matches!(note, Note::Name(About::Server, NameSource::Certificate, _)));
        assert_eq!(names.count(), 2, "the common name and the alternative one without a wildcard");
        found(&notes)
    };
    let (before, after) = (NOW - 86_400, NOW + 86_400);
    let good = "sha256WithRSAEncryption";
    assert_eq!(certificate(before, after, 2048, "rsa", good, false), [""; 0]);
    assert_eq!(certificate(before, NOW, 2048, "rsa", good, false), [""; 0], "its last second");
    assert_eq!(certificate(before, NOW - 1, 2048, "rsa", good, false), ["certificate_expired"]);
    assert_eq!(certificate(after, after, 256, "ec", good, false), ["certificate_not_yet_valid"]);
    assert_eq!(certificate(before, after, 2047, "rsa", good, false), ["certificate_weak_key"]);
    assert_eq!(certificate(before, after, 192, "ec", good, false), ["certificate_weak_key"]);
    assert_eq!(certificate(before, after, 256, "ed25519", "ed25519", false), [""; 0]);
    assert_eq!(certificate(before, after, 2048, "rsa", "sha1WithRSAEncryption", false), ["certificate_weak_signature"]);
    assert_eq!(certificate(before, after, 2048, "rsa", "ecdsa-with-SHA1", true), ["certificate_self_signed"]);
}

#[test]
fn passwords_in_the_clear_are_told_and_never_kept() {
    let clear = ["cleartext_credentials"];
    let ftp = |user: &'static [u8], codes: &'static [u64]| {
        let notes = notes(Protocol::Ftp, 6, None, |facts| {
            facts.put(ftp::COMMAND, b"USER");
            facts.put(ftp::USERNAME, user);
            codes.iter().for_each(|code| facts.put_number(ftp::CODE, *code));
        });
        found(&notes).join(" ")
    };
    assert_eq!(ftp(b"bob", &[331, 230]), "cleartext_credentials");
    assert_eq!(ftp(b"bob", &[331, 530]), "cleartext_credentials", "wrong, and sent all the same");
    assert_eq!(ftp(b"bob", &[331]), "", "asked for, not seen");
    assert_eq!(ftp(b"anonymous", &[331, 230]), "ftp_anonymous");
    assert_eq!(ftp(b"anonymous", &[331, 530]), "");
    let http = |scheme: &'static [u8]| notes(Protocol::Http, 6, None, |facts| facts.put(http::AUTH_SCHEME, scheme));
    assert_eq!(found(&http(b"Basic")), clear);
    assert_eq!(found(&http(b"Digest")), [""; 0]);
    let parameter = |status: u64| {
        notes(Protocol::Http, 6, None, |facts| {
            facts.put_number(http::SECRET_SENT, 1);
            facts.put_number(http::STATUS, status);
        })
    };
    assert_eq!((found(&parameter(302)), found(&parameter(404))), (clear.to_vec(), vec![]));
    assert_eq!(found(&notes(Protocol::Http2, 6, None, |facts| facts.put_number(http2::SECRET_SENT, 1))), clear);
    let socks = |method: u64, user: &'static [u8]| {
        let notes = notes(Protocol::Socks, 6, None, |facts| {
            facts.put_number(socks::METHOD, method);
            facts.put(socks::USERNAME, user);
        });
        assert!(notes.iter().any(|note| matches!(note, Note::Service(About::Server, ..))));
        found(&notes).join(" ")
    };
    assert_eq!((socks(2, b"bob"), socks(0, b"")), ("cleartext_credentials".to_owned(), String::new()));
    // Refused before the password, or asked for otherwise: nothing was sent.
    for (how, is_sent, wanted) in
        [("plain", true, &clear[..]), ("LOGIN", false, &[]), ("PLAIN", false, &[]), ("CRAM-MD5", false, &[])]
    {
        let told = |protocol, mechanism: Fact, secret: Fact| {
            let notes = notes(protocol, 6, None, |facts| {
                facts.put(mechanism, how.as_bytes());
                if is_sent {
                    facts.put_number(secret, 1);
                }
            });
            assert_eq!(found(&notes), wanted, "{protocol:?} {how}");
        };
        told(Protocol::Smtp, smtp::AUTH_MECHANISM, smtp::SECRET_SENT);
        told(Protocol::Imap, imap::AUTH_MECHANISM, imap::SECRET_SENT);
        told(Protocol::Pop3, pop3::AUTH_MECHANISM, pop3::SECRET_SENT);
    }
    let imap = |is_sent: bool| {
        notes(Protocol::Imap, 6, None, |facts| {
            facts.put(imap::COMMAND, b"LOGIN");
            facts.put(imap::USERNAME, b"al");
            if is_sent {
                facts.put_number(imap::SECRET_SENT, 1);
            }
        })
    };
    assert_eq!((found(&imap(true)), found(&imap(false))), (clear.to_vec(), vec![]));
    let pop3 = |command: &'static [u8], is_sent: bool| {
        notes(Protocol::Pop3, 6, None, |facts| {
            facts.put(pop3::COMMAND, command);
            facts.put(pop3::USERNAME, b"al");
            if is_sent {
                facts.put_number(pop3::SECRET_SENT, 1);
            }
        })
    };
    assert_eq!((found(&pop3(b"user", true)), found(&pop3(b"user", false))), (clear.to_vec(), vec![]));
    assert_eq!(found(&pop3(b"APOP", false)), [""; 0]);
    let telnet = notes(Protocol::Telnet, 6, None, |facts| facts.put_number(telnet::SECRET_SENT, 1));
    assert_eq!(found(&telnet), ["telnet_in_use", "cleartext_credentials"]);
    for anomaly in [ldap::CLEARTEXT_PASSWORD, mysql::PASSWORD_IN_CLEAR, pgsql::PASSWORD_IN_CLEAR] {
        assert_eq!(found(&notes(anomaly.protocol, 6, Some(anomaly), |_| ())), clear);
    }
}

/// A proxy has not the software of those whose answers it passes on.
#[test]
fn answers_that_were_passed_on_name_no_software() {
    let products = |url: &'static [u8], is_forwarded: bool| {
        let notes = notes(Protocol::Http, 6, None, |facts| {
            facts.put(http::URL, url);
            facts.put_number(http::STATUS, 200);
            facts.put(http::SERVER, b"nginx/1.10.0 (Ubuntu)");
            facts.put(http::POWERED_BY, b"PHP/5.6.1");
            if is_forwarded {
                facts.put_number(http::FORWARDED, 1);
            }
        });
        let told = |note: &Note| match note {
            Note::Service(_, products, banner) => products.len() + banner.len(),
            Note::Os(..) => 1,
            _ => 0,
        };
        assert!(notes.iter().any(|note| matches!(note, Note::Service(..))), "it answers all the same");
        notes.iter().map(told).sum::<usize>() > 0
    };
    assert!(products(b"/", false) && products(b"*", false));
    assert!(!products(b"/", true) && !products(b"http://out.example/", false) && !products(b"out.example/", false));
}

#[test]
fn what_answers_without_a_login_is_told() {
    let redis = |command: &'static [u8], answered: u64, error: &'static [u8]| {
        let notes = notes(Protocol::Redis, 6, None, |facts| {
            facts.put(redis::COMMAND, command);
            facts.put_number(redis::ANSWERED, answered);
            if !error.is_empty() {
                facts.put(redis::ERROR, error);
            }
        });
        found(&notes).join(" ")
    };
    assert_eq!(redis(b"keys", 1, b""), "database_without_login");
    assert_eq!(redis(b"GET", 1, b"WRONGTYPE"), "database_without_login");
    assert_eq!(redis(b"GET", 1, b"NOAUTH"), "");
    assert_eq!(redis(b"GET", 2, b""), "");
    assert_eq!(redis(b"AUTH", 2, b""), "cleartext_credentials");
    let info = notes(Protocol::Redis, 6, None, |facts| {
        facts.put(redis::COMMAND, b"INFO");
        facts.put_number(redis::ANSWERED, 1);
        facts.put(redis::REDIS_VERSION, b"7.2.4");
        facts.put(redis::SERVER, b"valkey");
        facts.put(redis::SERVER_VERSION, b"8.0.1");
        facts.put(redis::SERVER_OS, b"Linux 6.1.0-9-amd64 x86_64");
    });
    let served =
        |note: &Note| matches!(note, Note::Service(_, products, _) if products[0].to_string() == "valkey 8.0.1");
    assert!(info.iter().any(served), "{info:?}");
    assert!(info.iter().any(|note| matches!(note, Note::Os(_, (name, _), _) if name == "Linux 6.1.0-9-amd64")));
    let pgsql = |method: &'static [u8]| {
        let notes = notes(Protocol::PostgreSql, 6, None, |facts| {
            facts.put(pgsql::REQUEST, b"startup_message");
            facts.put_number(pgsql::AUTHENTICATED, 1);
            facts.put(pgsql::SERVER_VERSION, b"9.6.3");
            if !method.is_empty() {
                facts.put(pgsql::AUTH_METHOD, method);
            }
        });
        found(&notes).join(" ")
    };
    assert_eq!((pgsql(b""), pgsql(b"md5")), ("database_without_login".to_owned(), String::new()));
    let store = |auth: &'static [u8], status: u64, url: &'static [u8]| {
        let notes = notes(Protocol::Http, 6, None, |facts| {
            facts.put(http::URL, url);
            facts.put_number(http::STATUS, status);
            facts.put(http::STORE, b"elasticsearch");
            facts.put(http::STORE_VERSION, b"7.17.3");
            if !auth.is_empty() {
                facts.put(http::AUTH_SCHEME, auth);
            }
        });
        assert!(notes.iter().any(|note| matches!(note, Note::Service(_, products, _)
            if products.iter().any(|one| one.to_string() == "elasticsearch 7.17.3"))));
        found(&notes).join(" ")
    };
    assert_eq!(store(b"", 200, b"/_cat/indices"), "database_without_login");
    assert_eq!((store(b"ApiKey", 200, b"/"), store(b"", 401, b"/")), (String::new(), String::new()));
    let mongodb = |command: &'static [u8], answered: u64, ok: u64| {
        let notes = notes(Protocol::MongoDb, 6, None, |facts| {
            facts.put(mongodb::COMMAND, command);
            facts.put_number(mongodb::ANSWERED, answered);
            facts.put_number(mongodb::OK, ok);
        });
        found(&notes).join(" ")
    };
    assert_eq!(mongodb(b"listDatabases", 1, 1), "database_without_login");
    for (command, answered, ok) in [(&b"listDatabases"[..], 2, 1), (b"listDatabases", 1, 0), (b"hello", 1, 1)] {
        assert_eq!(mongodb(command, answered, ok), "", "{command:?}");
    }
    let memcached =
        |transport| notes(Protocol::Memcached, transport, None, |facts| facts.put(memcached::ANSWER, b"END"));
    assert_eq!(found(&memcached(6)), ["database_without_login"]);
    assert_eq!(found(&memcached(17)), ["memcached_over_udp", "database_without_login"]);
    let mqtt = |flags: u64, code: u64| {
        notes(Protocol::Mqtt, 6, None, |facts| {
            facts.put_number(mqtt::CONNECT_FLAGS, flags);
            facts.put_number(mqtt::RETURN_CODE, code);
        })
    };
    assert_eq!(found(&mqtt(2, 0)), ["broker_without_login"]);
    assert_eq!(found(&mqtt(2, 5)), [""; 0]);
    assert_eq!(found(&mqtt(0xc2, 0)), ["cleartext_credentials"]);
    let snmp = |community: &'static [u8], version: u64, pdu: u64| {
        let notes = notes(Protocol::Snmp, 17, None, |facts| {
            facts.put_number(snmp::VERSION, version);
            facts.put(snmp::COMMUNITY, community);
            facts.put_number(snmp::PDU_TYPE, pdu);
        });
        assert!(!format!("{notes:?}").contains("hunter2"), "a community is a password");
        found(&notes).join(" ")
    };
    assert_eq!(snmp(b"public", 1, 2), "snmp_default_community");
    assert_eq!(snmp(b"hunter2", 2, 2), "snmp_cleartext_community");
    assert_eq!(snmp(b"public", 1, 0), "", "a question alone");
    assert_eq!(snmp(b"", 3, 2), "");
}

#[test]
fn old_file_servers_logins_and_tickets_are_told() {
    assert_eq!(found(&notes(Protocol::Smb, 6, Some(smb::VERSION_1), |_| ())), [kinds::SMB_1.name]);
    let smb = |dialect: &str, mode: u64| {
        notes(Protocol::Smb, 6, None, |facts| {
            facts.put(smb::DIALECT, dialect.as_bytes());
            facts.put_number(smb::SIGNING, mode);
        })
    };
    assert_eq!((found(&smb("3.11", 1)), found(&smb("3.11", 3))), (vec![kinds::SMB_SIGNING.name], vec![]));
    for (dialect, wanted) in [("3.11", "in dialect 3.11"), ("2.FF", "in the multi-protocol negotiation")] {
        let notes = format!("{:?}", smb(dialect, 1));
        assert!(notes.contains(&format!("signing is not demanded {wanted}\"")), "{notes}");
    }
    let rdp = |chosen: u64| notes(Protocol::Rdp, 6, None, |facts| facts.put_number(rdp::SELECTED, chosen));
    assert_eq!((found(&rdp(0)), found(&rdp(2))), (vec![kinds::RDP_OLD.name], vec![]));
    let ticket =
        |kind: u64| notes(Protocol::Kerberos, 6, None, |facts| facts.put_number(kerberos::TICKET_ENCRYPTION, kind));
    assert_eq!((found(&ticket(23)), found(&ticket(18))), (vec![kinds::KERBEROS.name], vec![]));
    let machine = notes(Protocol::Kerberos, 6, None, |facts| facts.put(kerberos::CLIENT, b"PC7$"));
    assert!(machine.contains(&Note::Name(About::Client, NameSource::Kerberos, "PC7".into())));
    let ntlm = notes(Protocol::Smb, 6, None, |facts| {
        facts.put(ntlm::WORKSTATION, b"PC7");
        facts.put(ntlm::TARGET_DNS, b"fs.example.org");
        facts.put(ntlm::TARGET_VERSION, b"10.0 build 17763 rev 15");
    });
    assert!(ntlm.contains(&Note::Name(About::Client, NameSource::Ntlm, "PC7".into())));
    assert!(ntlm.contains(&Note::Name(About::Server, NameSource::Ntlm, "fs.example.org".into())));
    assert!(ntlm.iter().any(|note| matches!(note, Note::Os(About::Server, (os, _), _) if os.contains("Server 2019"))));
    let old = notes(Protocol::Ssh, 6, None, |facts| {
        facts.put(ssh::SERVER_VERSION, b"1.99");
        facts.put(ssh::SERVER_SOFTWARE, b"OpenSSH_3.9p1");
        facts.put(ssh::HASSH_SERVER, b"diffie-hellman-group1-sha1;aes128-cbc;hmac-md5;none");
        facts.put(ssh::KEY_TYPE, b"ssh-dss");
    });
    assert_eq!(
        found(&old),
        ["ssh_version_1", "ssh_weak_key_exchange", "ssh_weak_cipher", "ssh_weak_mac", "ssh_weak_host_key"]
    );
}

/// Whatever bytes stand in facts, texts stay bounded and without control characters.
#[test]
fn hostile_facts_become_harmless_notes() {
    for protocol in Protocol::ALL {
        for fill in [0x1b, 0, b'"', 0xff, b'x'] {
            for transport in [6, 17] {
                let all = notes(*protocol, transport, None, |facts| {
                    let table = TABLE.iter().find(|(one, ..)| one == protocol).map(|(_, facts, _)| *facts);
                    table.unwrap_or_default().iter().for_each(|fact| facts.put(*fact, &vec![fill; fact.limit.into()]));
                });
                assert!(all.len() <= 64);
                for note in all {
                    let texts = match note {
                        Note::Name(_, _, text) | Note::Os(_, (text, _), _) | Note::Service(_, _, text) => vec![text],
                        Note::Finding(_, detail, evidence) => vec![detail, evidence],
                        _ => vec![],
                    };
                    for text in texts {
                        assert!(text.len() < 800 && !text.chars().any(char::is_control), "{protocol:?} {text:?}");
                    }
                }
            }
        }
    }
}

/// Who a thing is told of where an answer is the first that was seen, by ports that are alike, and by a port that says nothing.
#[test]
fn who_answers_serves_whatever_was_seen_first() {
    let told = |protocol: Protocol, ports: [u16; 2], sender: Side, put: &dyn Fn(&mut Facts)| {
        let (key, originator) = FlowKey::v4(0x0a00_0001, ports[0], 0x0a00_0002, ports[1], 17, 0);
        let head = EventHead {
            time: Timestamp(NOW * SECOND),
            told: Timestamp(NOW * SECOND),
            key,
            originator,
            sender,
            first_seen: None,
            protocol,
            anomaly: None,
            truncated: false,
            bytes: 0,
            icmp: None,
            outer: None,
            through_proxy: false,
        };
        let mut facts = Facts::default();
        put(&mut facts);
        let event = Event::new(&head, facts.as_bytes());
        let ends = |about| if about == About::Server { &event.server } else { &event.client };
        let notes = super::notes(&event);
        let services = notes.iter().filter_map(|note| match note {
            Note::Service(about, ..) => Some(format!("{}:{}", ends(*about).ip(), event.port_of(*about))),
            _ => None,
        });
        services.collect::<Vec<_>>().join(" ")
    };
    let number = |fact: Fact, value: u64| move |facts: &mut Facts| facts.put_number(fact, value);
    let (first, second) = (Side::Originator, Side::Responder);
    let status = |facts: &mut Facts| {
        facts.put_number(nbns::QR, 1);
        facts.put(nbns::NODE_MAC, &[2, 0, 0, 0, 0, 1]);
    };
    let chosen = |facts: &mut Facts| {
        facts.put_number(ike::VERSION_MAJOR, 1);
        facts.put(ike::RESP_SPI, &[7; 8]);
        facts.put_number(ike::PAYLOAD, 1);
    };
    let proposed = |facts: &mut Facts| {
        facts.put_number(ike::VERSION_MAJOR, 1);
        facts.put(ike::RESP_SPI, &[0; 8]);
        facts.put_number(ike::PAYLOAD, 1);
    };
    let device = |facts: &mut Facts| facts.put(ssdp::SERVER, b"Linux/3.4 UPnP/1.1 MiniUPnPd/1.4");
    type Case<'a> = (Protocol, [u16; 2], Side, &'a dyn Fn(&mut Facts), &'a str);
    let cases: [Case<'_>; 14] = [
        (Protocol::Nbns, [137, 137], first, &status, "10.0.0.1:137"),
        (Protocol::Nbns, [137, 137], second, &status, "10.0.0.2:137"),
        (Protocol::Nbns, [137, 45_558], first, &status, "10.0.0.1:137"),
        (Protocol::Ike, [500, 500], first, &chosen, "10.0.0.1:500"),
        (Protocol::Ike, [500, 500], second, &chosen, "10.0.0.2:500"),
        (Protocol::Ike, [500, 500], first, &proposed, ""),
        (Protocol::Kerberos, [88, 50_000], first, &number(kerberos::REPLY_TYPE, 30), "10.0.0.1:88"),
        (Protocol::Kerberos, [50_000, 88], second, &number(kerberos::REPLY_TYPE, 30), "10.0.0.2:88"),
        (Protocol::Ssdp, [50_002, 50_001], first, &device, "10.0.0.1:1900"),
        (Protocol::Ssdp, [50_001, 1900], second, &device, "10.0.0.2:1900"),
        (Protocol::Dnp3, [50_000, 20_000], first, &number(dnp3::FUNCTION, 1), ""),
        (Protocol::Dnp3, [20_000, 50_000], first, &number(dnp3::RESPONSE, 129), "10.0.0.1:20000"),
        (Protocol::Modbus, [50_000, 502], first, &number(modbus::FUNCTION, 3), ""),
        (Protocol::Modbus, [50_000, 502], first, &number(modbus::ANSWERED, 1), "10.0.0.2:502"),
    ];
    for (protocol, ports, sender, put, wanted) in cases {
        let put = |facts: &mut Facts| {
            put(facts);
            facts.sent_by(sender);
        };
        assert_eq!(told(protocol, ports, sender, &put), wanted, "{protocol:?} {ports:?} {sender:?}");
    }
}

/// What an agent said of itself in a notice comes back in the answer.
#[test]
fn the_answer_to_a_notice_says_nothing_of_who_answers() {
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 162, 17, 0);
    let head = EventHead {
        time: Timestamp(NOW * SECOND),
        told: Timestamp(NOW * SECOND),
        key,
        originator,
        sender: Side::Responder,
        first_seen: None,
        protocol: Protocol::Snmp,
        anomaly: None,
        truncated: false,
        bytes: 0,
        icmp: None,
        outer: None,
        through_proxy: false,
    };
    let mut facts = Facts::default();
    facts.put_number(snmp::PDU_TYPE, 2);
    facts.put(snmp::SYS_NAME, b"router");
    facts.put(snmp::SYS_DESCR, b"Linux router 3.2");
    let notes = super::notes(&Event::new(&head, facts.as_bytes()));
    assert!(notes.iter().any(|note| matches!(note, Note::Service(About::Server, ..))), "{notes:?}");
    assert!(!notes.iter().any(|note| matches!(note, Note::Name(..) | Note::Os(..))), "{notes:?}");
}

#[test]
fn software_may_be_named_on_the_last_line_of_a_greeting() {
    let product = |protocol, first: Fact, last: Fact, lines: [&'static [u8]; 2]| {
        let notes = notes(protocol, 6, None, |facts| {
            facts.put(first, lines[0]);
            facts.put(last, lines[1]);
        });
        let names = notes.iter().filter_map(|note| match note {
            Note::Service(_, products, banner) if !banner.is_empty() => {
                Some(format!("{}: {banner}", products.iter().map(ToString::to_string).collect::<String>()))
            }
            _ => None,
        });
        names.collect::<String>()
    };
    let ftp = |lines| product(Protocol::Ftp, ftp::BANNER, ftp::BANNER_LAST, lines);
    assert_eq!(ftp([b"Welcome", b"ProFTPD 1.3.3c Server"]), "proftpd 1.3.3c: ProFTPD 1.3.3c Server");
    assert_eq!(ftp([b"ProFTPD 1.3.3c Server", b"ready"]), "proftpd 1.3.3c: ProFTPD 1.3.3c Server");
    assert_eq!(ftp([b"Welcome", b"to us"]), ": Welcome");
    let lines: [&[u8]; 2] = [b"note", b"mail.example.com ESMTP Exim 4.80"];
    let smtp = product(Protocol::Smtp, smtp::BANNER, smtp::BANNER_LAST, lines);
    assert_eq!(smtp, "exim 4.80: mail.example.com ESMTP Exim 4.80");
}

/// An announcement that is passed on is about the host that its instance names.
#[test]
fn a_model_is_of_whom_the_announcement_is_about() {
    let said = |instance: &str, addresses: &[(&[u8], &[u8])]| {
        let notes = notes(Protocol::Mdns, 17, None, |facts| {
            facts.put_number(mdns::SET.qr, 1);
            let [[of, kind_of, ttl, data_of], ..] = mdns::SET.sections;
            let mut record = |name: &[u8], kind: u64, data: &[u8]| {
                facts.put(of, name);
                facts.put_number(kind_of, kind);
                facts.put_number(ttl, 120);
                facts.put(data_of, data);
            };
            record(format!("{instance}._device-info._tcp.local").as_bytes(), 16, b"model=MacBookPro18,3");
            addresses.iter().for_each(|(name, address)| record(name, 1, address));
        });
        let told = |note: &Note| match note {
            Note::Os(about, ..) => Some((*about, None)),
            Note::OsIfNamed(about, name, ..) => Some((*about, Some(name.clone()))),
            _ => None,
        };
        notes.iter().find_map(told)
    };
    let (own, other): (&[u8], &[u8]) = (b"10.0.0.1", b"10.0.0.9");
    let (client, others) = (About::Client, About::Address("10.0.0.9".parse().unwrap()));
    for (instance, addresses, wanted) in [
        ("Mac", &[][..], (client, Some("Mac".to_owned()))),
        ("Mac", &[(&b"mac.local"[..], own)], (client, None)),
        ("Mac", &[(b"mac.local", other), (b"mac.local", own)], (client, None)),
        ("Mac", &[(b"mac.local", other)], (others, None)),
        ("Mac", &[(b"gw.local", own), (b"mac.local", other)], (others, None)),
        ("Mac", &[(b"mac.local", other), (b"tv.local", b"10.0.0.8")], (others, None)),
        ("Mac", &[(b"gw.local", own)], (client, Some("Mac".to_owned()))),
        ("Ann's Mac", &[(b"gw.local", own), (b"Anns-Mac.local", other)], (others, None)),
    ] {
        assert_eq!(said(instance, addresses), Some(wanted), "{instance} {addresses:?}");
    }
}

/// A client may ask any server for any name: only one that was answered, and is a name, is the server's.
#[test]
fn a_name_that_was_refused_is_nobodys() {
    for (host, status, wanted) in [
        (&b"shop.example"[..], Some(200), true),
        (b"sh_op-1.example", Some(301), true),
        (b"shop.example", Some(404), true),
        (b"shop.example", Some(400), false),
        (b"shop.example", Some(421), false),
        (b"shop.example", None, false),
        (b"a\"b\\c", Some(200), false),
    ] {
        let notes = notes(Protocol::Http, 6, None, |facts| {
            facts.put(http::URL, b"/");
            facts.put(http::HOSTNAME, host);
            status.into_iter().for_each(|status| facts.put_number(http::STATUS, status));
        });
        let is_named = notes.iter().any(|note| matches!(note, Note::Name(About::Server, NameSource::HttpHost, _)));
        assert_eq!(is_named, wanted, "{} {status:?}", String::from_utf8_lossy(host));
    }
}

/// Who refuses a hello in TLS's own words speaks it; a client's alert tells nothing of the server.
#[test]
fn an_alert_of_the_server_is_an_answer() {
    for (sender, level, wanted) in
        [(Side::Responder, 2, true), (Side::Responder, 1, false), (Side::Originator, 2, false)]
    {
        let notes = said(sender, Protocol::Tls, 6, None, |facts| {
            facts.put_number(HELLO.client_version, 0x0303);
            facts.put_number(tls::ALERT_LEVEL, level);
        });
        let serves = notes.iter().any(|note| matches!(note, Note::Service(About::Server, ..)));
        assert_eq!(serves, wanted, "{sender:?} {level}");
    }
}
