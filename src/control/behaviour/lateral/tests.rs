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

#[test]
fn a_file_and_a_call_are_more_than_either() {
    type Make = fn(&mut Wire);
    type Case<'a> = (&'a str, Make, &'a [(String, u8)]);
    let both = [("file_and_execution".to_owned(), 1)];
    let call_alone = [("remote_execution".to_owned(), 3)];
    let cases: [Case; 8] = [
        (
            "psexec",
            |wire| {
                write(wire, SECOND, (host(1), host(9)), "FILE_OVERWRITE_IF");
                call(wire, 5 * SECOND, (host(1), host(9)), "CreateServiceW");
                call(wire, 6 * SECOND, (host(1), host(9)), "StartServiceW");
            },
            &both,
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
            &call_alone,
        ),
        (
            "a file on another host",
            |wire| {
                write(wire, SECOND, (host(1), host(8)), "FILE_CREATE");
                call(wire, 2 * SECOND, (host(1), host(9)), "SchRpcRun");
            },
            &call_alone,
        ),
        ("a file alone", |wire| write(wire, SECOND, (host(1), host(9)), "FILE_CREATE"), &[]),
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
    (0..11).for_each(|turn| call(&mut wire, turn * SECOND, (host(1), host(9)), "SamrEnumerateUsersInDomain"));
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
    assert_eq!(kinds(after.show(&mut start())), [] as [&str; 0]);
    assert!(!start().restore(serde_json::from_str(&kept.replace("\"known\":[", "\"known\":[1,")).expect("JSON")));
    // A host that has just appeared has no usual yet.
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
