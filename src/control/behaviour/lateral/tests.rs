//! Programs on other hosts, and paths nobody took before.

use super::super::tests::{Wire, host, outside};
use crate::control::hosts;
use crate::control::inventory::network::home;
use crate::dataplane::detect::Evidence;
use crate::dataplane::inspect::{Facts, Protocol, dcerpc, smb};
use crate::units::SECOND;

const HOUR: u64 = 3600 * SECOND;

fn found(wire: &Wire) -> Vec<(String, u8)> {
    let lateral = wire.evidence().into_iter().filter(|one| one.detector.name() == "lateral_movement");
    lateral.map(|one| (one.kind, one.severity)).collect()
}

fn smb_event(wire: &mut Wire, at: u64, (client, server): (u32, u32), put: impl FnOnce(&mut Facts)) {
    wire.event(at, (client, server, 445), (Protocol::Smb, 6), put);
}

fn connect(wire: &mut Wire, at: u64, ends: (u32, u32), share: &str) {
    smb_event(wire, at, ends, |facts| {
        facts.put(smb::COMMAND, b"SMB2_COMMAND_TREE_CONNECT");
        facts.put(smb::SHARE, share.as_bytes());
        facts.put_number(smb::STATUS, 0);
    });
}

fn write(wire: &mut Wire, at: u64, ends: (u32, u32), disposition: &str) {
    smb_event(wire, at, ends, |facts| {
        facts.put(smb::COMMAND, b"SMB2_COMMAND_CREATE");
        facts.put(smb::SHARE, b"\\\\10.0.0.9\\ADMIN$");
        facts.put(smb::FILE, b"PSEXESVC.exe");
        facts.put(smb::DISPOSITION, disposition.as_bytes());
        facts.put_number(smb::STATUS, 0);
    });
}

fn call(wire: &mut Wire, at: u64, (client, server): (u32, u32), operation: &str) {
    wire.event(at, (client, server, 49_153), (Protocol::DceRpc, 6), |facts| {
        facts.put(dcerpc::REQUEST, b"REQUEST");
        facts.put(dcerpc::RESPONSE, b"RESPONSE");
        facts.put(dcerpc::OPERATION, operation.as_bytes());
    });
}

/// A program that is opened to be written by a command of version 1, and a call over a pipe whose bind nobody read.
#[test]
fn commands_of_version_1_and_names_of_pipes_tell_as_much() {
    let mut wire = Wire::default();
    smb_event(&mut wire, SECOND, (host(1), host(9)), |facts| {
        facts.put(smb::COMMAND, b"SMB1_COMMAND_OPEN_ANDX");
        facts.put(smb::SHARE, b"\\\\10.0.0.9\\ADMIN$");
        facts.put(smb::FILE, b"\\LFkViWXf.exe");
        facts.put(smb::DISPOSITION, b"FILE_OVERWRITE_IF");
        facts.put_number(smb::STATUS, 0);
    });
    smb_event(&mut wire, 2 * SECOND, (host(1), host(9)), |facts| {
        facts.put(dcerpc::REQUEST, b"REQUEST");
        facts.put(dcerpc::RESPONSE, b"RESPONSE");
        facts.put(dcerpc::INTERFACE, b"svcctl");
        facts.put(dcerpc::OPERATION, b"CreateServiceW");
        facts.put_number(dcerpc::BY_PIPE, 1);
    });
    let found: Vec<_> = wire.evidence().into_iter().filter(|one| one.detector.name() == "lateral_movement").collect();
    let kinds: Vec<(&str, u8)> = found.iter().map(|one| (one.kind.as_str(), one.severity)).collect();
    assert_eq!(kinds, [("program_copied", 3), ("file_and_execution", 1)]);
    assert!(found[1].summary.ends_with("called CreateServiceW (by the pipe's name)"), "{}", found[1].summary);
}

/// A call of an interface whose bind nobody saw.
fn unnamed(wire: &mut Wire, at: u64, (client, server): (u32, u32), number: u64) {
    wire.event(at, (client, server, 49_153), (Protocol::DceRpc, 6), |facts| {
        facts.put(dcerpc::REQUEST, b"REQUEST");
        facts.put(dcerpc::RESPONSE, b"RESPONSE");
        facts.put_number(dcerpc::OPERATION_NUMBER, number);
    });
}

#[test]
fn a_file_and_a_call_are_more_than_either() {
    type Make = fn(&mut Wire);
    type Case<'a> = (&'a str, Make, &'a [(String, u8)]);
    let both = [("file_and_execution".to_owned(), 1)];
    let call_alone = [("remote_execution".to_owned(), 3)];
    let copied = [("program_copied".to_owned(), 3)];
    let copied_then_called = [copied[0].clone(), call_alone[0].clone()];
    let copied_and_called = [copied[0].clone(), both[0].clone()];
    let cases: [Case; 13] = [
        (
            "psexec",
            |wire| {
                write(wire, SECOND, (host(1), host(9)), "FILE_OVERWRITE_IF");
                call(wire, 5 * SECOND, (host(1), host(9)), "CreateServiceW");
                call(wire, 6 * SECOND, (host(1), host(9)), "StartServiceW");
            },
            &copied_and_called,
        ),
        ("a driver for printers", |wire| call(wire, SECOND, (host(1), host(9)), "RpcAddPrinterDriverEx"), &call_alone),
        (
            "WMI over a connection that was there before",
            |wire| {
                call(wire, SECOND, (host(1), host(9)), "RemoteCreateInstance");
                unnamed(wire, 2 * SECOND, (host(1), host(9)), 20);
                unnamed(wire, 3 * SECOND, (host(1), host(9)), 24);
            },
            &call_alone,
        ),
        ("questions by WMI", |wire| call(wire, SECOND, (host(1), host(9)), "RemoteCreateInstance"), &[]),
        ("anything with that number", |wire| unnamed(wire, SECOND, (host(1), host(9)), 24), &[]),
        (
            "the same on another host",
            |wire| {
                call(wire, SECOND, (host(1), host(8)), "RemoteCreateInstance");
                unnamed(wire, 2 * SECOND, (host(1), host(9)), 24);
            },
            &[],
        ),
        ("a call alone", |wire| call(wire, SECOND, (host(1), host(9)), "ExecMethod"), &call_alone),
        (
            "a file that is only read",
            |wire| {
                write(wire, SECOND, (host(1), host(9)), "FILE_OPEN");
                call(wire, 2 * SECOND, (host(1), host(9)), "SchRpcRun");
            },
            &call_alone,
        ),
        (
            "a file long before",
            |wire| {
                write(wire, SECOND, (host(1), host(9)), "FILE_CREATE");
                call(wire, 700 * SECOND, (host(1), host(9)), "SchRpcRun");
            },
            &copied_then_called,
        ),
        (
            "a file on another host",
            |wire| {
                write(wire, SECOND, (host(1), host(8)), "FILE_CREATE");
                call(wire, 2 * SECOND, (host(1), host(9)), "SchRpcRun");
            },
            &copied_then_called,
        ),
        ("a program alone", |wire| write(wire, SECOND, (host(1), host(9)), "FILE_CREATE"), &copied),
        ("a look at a service", |wire| call(wire, SECOND, (host(1), host(9)), "QueryServiceStatus"), &[]),
        ("outside", |wire| call(wire, SECOND, (host(1), outside(9)), "CreateServiceW"), &[]),
    ];
    for (what, make, wanted) in cases {
        let mut wire = Wire::default();
        make(&mut wire);
        assert_eq!(found(&wire), wanted, "{what}");
    }
}

#[test]
fn shares_and_lists_are_told_in_steps_of_five() {
    let shares = |count: u64, pause: u64, share: &str| {
        let mut wire = Wire::default();
        (0..count).for_each(|turn| connect(&mut wire, turn * pause, (host(1), host(9 + turn as u32)), share));
        found(&wire).len()
    };
    for (count, pause, share, wanted) in [
        (4, SECOND, "\\\\pc\\ADMIN$", 0),
        (5, SECOND, "\\\\pc\\ADMIN$", 1),
        (12, SECOND, "\\\\pc\\c$", 2),
        (12, 90 * SECOND, "\\\\pc\\C$", 0),
        (50, SECOND, "\\\\pc\\IPC$", 0),
        (50, SECOND, "\\\\pc\\files$", 0),
        (50, SECOND, "\\\\pc\\public", 0),
    ] {
        assert_eq!(shares(count, pause, share), wanted, "{count} of {share}");
    }
    let mut wire = Wire::default();
    (0..11).for_each(|turn| call(&mut wire, turn * SECOND, (host(1), host(9)), "NetrSessionEnum"));
    // What every logon does.
    (0..50).for_each(|turn| call(&mut wire, turn * SECOND, (host(2), host(9)), "LsarLookupSids2"));
    assert_eq!(found(&wire), [("discovery".to_owned(), 3), ("discovery".to_owned(), 3)]);
}

#[test]
fn controllers_replicate_and_others_do_not() {
    let mut wire = Wire::default();
    call(&mut wire, SECOND, (host(66), host(9)), "DRSGetNCChanges");
    assert_eq!(found(&wire), [("replication".to_owned(), 2)]);
    let mut wire = Wire::default();
    // Each is asked: both are controllers. The first exchange alone cannot tell.
    call(&mut wire, SECOND, (host(7), host(8)), "DRSBind");
    call(&mut wire, SECOND, (host(8), host(7)), "DRSBind");
    for turn in 2..20 {
        call(&mut wire, turn * SECOND, (host(8), host(9)), "DRSGetNCChanges");
        call(&mut wire, turn * SECOND, (host(7), host(8)), "DRSGetNCChanges");
    }
    assert_eq!(found(&wire), []);
}

/// A week of an administrator who goes to the same hosts, and some new ones, and then to forty.
#[test]
fn new_paths_are_held_against_what_is_usual() {
    let mut wire = Wire::default();
    for hour in 0..6 * 24_u64 {
        for turn in 0..8 {
            let server = if turn < 6 { host(100 + turn as u32) } else { host(200 + (hour * 2 + turn) as u32 % 300) };
            wire.flow(hour * HOUR + turn * SECOND, (host(1), server, 22), [500, 500], (SECOND, SECOND));
            // Web servers are no remote administration.
            wire.flow(
                hour * HOUR + turn * SECOND,
                (host(2), host(1000 + (hour * 8 + turn) as u32), 443),
                [500, 500],
                (SECOND, SECOND),
            );
        }
    }
    assert_eq!(found(&wire), []);
    for turn in 0..40_u64 {
        let at = 6 * 24 * HOUR + turn * SECOND;
        wire.flow(at, (host(1), host(2000 + turn as u32), 3389), [500, 500], (SECOND, SECOND));
    }
    let told = found(&wire);
    assert!(!told.is_empty() && told.iter().all(|(kind, severity)| kind == "new_paths" && *severity == 2), "{told:?}");
    // The same with a restart before the last hour, and with one that forgets.
    let (before, after) = wire.parted(6 * 24 * HOUR);
    let settings = hosts::Settings::default();
    let start = || settings.behaviour(&home()).expect("wanted");
    let mut first = start();
    assert_eq!(before.show(&mut first), []);
    let kept = serde_json::to_string(&first.snapshot()).expect("numbers and texts");
    let mut second = start();
    assert!(second.restore(serde_json::from_str(&kept).expect("its own")));
    let kinds = |found: Vec<Evidence>| found.into_iter().map(|one| one.kind).collect::<Vec<_>>();
    assert_eq!(kinds(after.show(&mut second)), told.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>());
    assert!(!kinds(after.show(&mut start())).contains(&"new_paths".to_owned()));
    assert!(!start().restore(serde_json::from_str(&kept.replace("\"known\":[", "\"known\":[1,")).expect("JSON")));
    // A host that has just appeared has no usual yet; these are no sessions.
    let mut wire = Wire::default();
    (0..40_u64).for_each(|turn| {
        wire.flow(turn * SECOND, (host(1), host(2000 + turn as u32), 22), [500, 500], (SECOND, SECOND))
    });
    assert_eq!(found(&wire), []);
}

#[test]
fn who_is_turned_down_at_administrative_shares_is_told() {
    const ACCESS_DENIED: u64 = 0xc000_0022;
    const BAD_NETWORK_NAME: u64 = 0xc000_00cc;
    let tried = |pause: u64, tries: &[(&str, u64)]| {
        let mut wire = Wire::default();
        for (turn, (share, status)) in tries.iter().enumerate() {
            smb_event(&mut wire, turn as u64 * pause, (host(1), host(9)), |facts| {
                facts.put(smb::COMMAND, b"SMB2_COMMAND_TREE_CONNECT");
                facts.put(smb::SHARE, share.as_bytes());
                facts.put_number(smb::STATUS, *status);
            });
        }
        found(&wire)
    };
    let both = [("\\\\10.0.0.9\\ADMIN$", ACCESS_DENIED), ("\\\\10.0.0.9\\C$", BAD_NETWORK_NAME)];
    assert_eq!(tried(SECOND, &both), [("refused_shares".to_owned(), 3)]);
    assert_eq!(tried(SECOND, &both[..1]), [], "one");
    assert_eq!(tried(400 * SECOND, &both), [], "now and then");
    assert_eq!(tried(SECOND, &[("\\\\10.0.0.9\\files", ACCESS_DENIED); 9]), [], "a share of files");
}

/// What is enough by itself: a client's number of letters, secrets, a log.
#[test]
fn some_things_are_told_at_once() {
    let hello = |guid: &'static str| {
        move |wire: &mut Wire, at: u64| {
            smb_event(wire, at, (host(1), host(9)), |facts| {
                facts.put(smb::COMMAND, b"SMB2_COMMAND_NEGOTIATE_PROTOCOL");
                facts.put(smb::CLIENT_GUID, guid.as_bytes());
            });
        }
    };
    let calls = |name: &'static str| move |wire: &mut Wire, at: u64| call(wire, at, (host(1), host(9)), name);
    type Make<'a> = &'a dyn Fn(&mut Wire, u64);
    let cases: [(Make, &str); 9] = [
        (&hello("62434974-666b-4b78-6944-4f796648426d"), "attack_library"),
        (&hello("893503ef-bbc0-11eb-9830-0800272aba35"), ""),
        (&hello("62434974-666b-4b78-6944-4f796648426"), ""),
        (&hello("00000000-0000-0000-0000-000000000000"), ""),
        (&calls("BaseRegSaveKey"), "secrets"),
        (&calls("LsarRetrievePrivateData"), "secrets"),
        (&calls("BaseRegQueryValue"), ""),
        (&calls("ElfrClearELFW"), "log_cleared"),
        (&calls("ElfrReadELW"), ""),
    ];
    for (number, (make, wanted)) in cases.into_iter().enumerate() {
        let mut wire = Wire::default();
        (0..5).for_each(|turn| make(&mut wire, turn * SECOND));
        let wanted: Vec<_> = Some((wanted.to_owned(), 2)).filter(|(kind, _)| !kind.is_empty()).into_iter().collect();
        assert_eq!(found(&wire), wanted, "case {number}");
    }
}

#[test]
fn lists_of_accounts_need_two() {
    for (calls, pause, wanted) in [
        (&["SamrEnumerateUsersInDomain"; 1][..], SECOND, 0),
        (&["SamrEnumerateUsersInDomain", "SamrQueryDisplayInformation"], SECOND, 1),
        (&["SamrGetMembersInGroup", "LsarEnumerateAccounts"], 400 * SECOND, 0),
        (&["SamrEnumerateUsersInDomain", "NetrShareEnum"], SECOND, 0),
        (&["SamrLookupNamesInDomain"; 20], SECOND, 0),
    ] {
        let mut wire = Wire::default();
        calls
            .iter()
            .enumerate()
            .for_each(|(turn, name)| call(&mut wire, turn as u64 * pause, (host(1), host(9)), name));
        let told = found(&wire);
        assert_eq!(told.len(), wanted, "{calls:?}: {told:?}");
        assert!(told.iter().all(|(kind, severity)| kind == "discovery" && *severity == 3));
    }
}

/// A shell (or desktop) of `length` seconds.
fn session(wire: &mut Wire, at: u64, (client, server): (u32, u32), (how, port): (Protocol, u16), length: u64) {
    wire.flow_of(how, at * SECOND, (client, server, port), [2_500, 3_000], (length * SECOND, SECOND));
    wire.later_answer(1200);
}

/// Sessions of SSH by what the server said after the key exchange and how long they were: shells are those that were let in.
#[test]
fn who_is_turned_down_at_many_hosts_sprays_and_has_no_shells() {
    let run = |hosts: u64, rounds: u64, later: u64, length: u64| {
        let mut wire = Wire::default();
        for turn in 0..hosts * rounds {
            let ends = (host(1), host(9 + (turn % hosts) as u32), 22);
            wire.flow_of(Protocol::Ssh, turn * 5 * SECOND, ends, [2_500, 3_000], (length * SECOND, SECOND));
            wire.later_answer(later);
        }
        wire.kinds()
            .into_iter()
            .filter(|kind| kind.starts_with("lateral") || kind.starts_with("brute"))
            .collect::<Vec<_>>()
    };
    for (what, hosts, rounds, later, length, wanted) in [
        ("passwords at three hosts", 3, 4, 300, 7, &["brute_force/ssh_spraying"][..]),
        ("one password at ten hosts", 10, 1, 120, 2, &["brute_force/ssh_spraying"]),
        ("six guesses in a session", 3, 4, 700, 13, &["brute_force/ssh_spraying"]),
        ("a key that three hosts do not know", 3, 1, 120, 1, &[]),
        ("an old password at one host", 1, 60, 120, 2, &[]),
        ("one command at each", 3, 1, 580, 1, &["lateral_movement/fan_out"]),
        ("a shell at each", 3, 1, 5_000, 60, &["lateral_movement/fan_out"]),
        ("keys of hosts that are looked at", 9, 1, 0, 1, &[]),
    ] {
        assert_eq!(run(hosts, rounds, later, length), wanted, "{what}");
    }
    // Whoever was there before has mistyped.
    let mut wire = Wire::default();
    for turn in 0..12_u64 {
        let ends = (host(1), host(9 + (turn % 2) as u32), 22);
        session(&mut wire, turn * 5, (ends.0, ends.1), (Protocol::Ssh, 22), 30);
        wire.flow_of(Protocol::Ssh, (60 + turn * 5) * SECOND, ends, [2_500, 3_000], (SECOND, SECOND));
        wire.later_answer(120);
    }
    assert_eq!(found(&wire), []);
}

#[test]
fn shells_of_host_after_host_are_told() {
    const SSH: (Protocol, u16) = (Protocol::Ssh, 2222);
    const RDP: (Protocol, u16) = (Protocol::Rdp, 3389);
    // Who, how long between, to how many hosts in turn.
    for (what, how, pause, hosts, turns, wanted) in [
        ("three shells", SSH, 5, 3, 3, &[3][..]),
        ("three desktops", RDP, 5, 3, 3, &[3]),
        ("two, again and again", SSH, 5, 2, 40, &[]),
        ("three within an hour", SSH, 900, 3, 3, &[]),
        ("nine, while nobody knows what is usual", SSH, 5, 9, 9, &[3, 3]),
        ("files of servers", (Protocol::Smb, 445), 5, 9, 9, &[]),
        ("pages", (Protocol::Http, 80), 5, 9, 9, &[]),
    ] {
        let mut wire = Wire::default();
        (0..turns).for_each(|turn| {
            session(&mut wire, turn * pause, (host(1), host(9 + (turn % hosts) as u32)), how, 2);
        });
        let told = found(&wire);
        assert!(told.iter().all(|(kind, _)| kind == "fan_out"), "{what}: {told:?}");
        assert_eq!(told.iter().map(|(_, severity)| *severity).collect::<Vec<_>>(), wanted, "{what}");
    }
    // Greetings alone are a scan's.
    let mut wire = Wire::default();
    (0..20).for_each(|turn| {
        wire.flow_of(Protocol::Ssh, turn * SECOND, (host(1), host(9 + turn as u32), 22), [40, 1100], (SECOND, SECOND));
    });
    assert_eq!(found(&wire), []);
}

#[test]
fn who_goes_on_from_where_he_logged_in_is_told_once() {
    const SSH: (Protocol, u16) = (Protocol::Ssh, 22);
    let run = |legs: &[((u32, u32), u64, u64)]| {
        let mut wire = Wire::default();
        for (ends, at, length) in legs {
            session(&mut wire, *at, (host(ends.0), host(ends.1)), SSH, *length);
        }
        found(&wire)
    };
    let told = [("pivot".to_owned(), 3)];
    assert_eq!(run(&[((1, 2), 10, 60), ((2, 3), 20, 10)]), told, "the second within the first");
    assert_eq!(run(&[((1, 2), 10, 60), ((2, 3), 20, 200)]), told, "the second lives on");
    assert_eq!(
        run(&[((1, 2), 10, 60), ((2, 3), 20, 10), ((1, 2), 100, 60), ((2, 4), 110, 10)]),
        [told[0].clone(), told[0].clone()],
        "again, elsewhere"
    );
    assert_eq!(run(&[((2, 3), 5, 200), ((1, 2), 10, 60)]), [], "was there before");
    assert_eq!(run(&[((1, 2), 10, 60), ((2, 3), 80, 10)]), [], "after it");
    assert_eq!(run(&[((1, 2), 10, 60), ((2, 1), 20, 10)]), [], "back");
    assert_eq!(run(&[((2, 3), 5, 1), ((1, 2), 10, 60), ((2, 3), 20, 10)]), [], "where it went before");
}
