//! The program through `BPF_PROG_TEST_RUN`, and its pins.

use super::*;
use crate::dataplane::capture::xdp::counters::{Cell, CounterMaps, CounterReader, QueueAccount};
use crate::dataplane::capture::xdp::settings::Management;
use crate::sys::bpffs;

const DROP_NOTHING: u32 = 2; // XDP_PASS

/// The program of a shared or unshared interface, loaded but attached nowhere, with its books.
struct Loaded {
    program: Program,
    maps: CounterMaps,
    root: PathBuf,
}

impl Loaded {
    fn new(name: &str, shared: bool) -> Loaded {
        let root = PathBuf::from(format!("/run/shrike/bpf/unit-{}-{name}", std::process::id()));
        bpffs::ensure(&root).unwrap();
        let settings = InterfaceSettings {
            management: Management {
                ports: vec![(Transport::Tcp, 22), (Transport::Udp, 68)],
                addresses: vec![("192.0.2.128".parse().unwrap(), 25), ("2001:db8:1::".parse().unwrap(), 48)],
            },
            ..InterfaceSettings::new(name)
        };
        let program = Program::load(&settings, &root.join(name), 2, shared).unwrap();
        if shared {
            program.mirror(0).unwrap();
        }
        let maps = CounterMaps::map(&program.xdp, &program.worker, 2).unwrap();
        Loaded { program, maps, root }
    }

    fn run(&self, frame: &[u8]) -> QueueAccount {
        let before = self.maps.account(0);
        assert_eq!(test_run(&self.program, frame), DROP_NOTHING);
        let after = self.maps.account(0);
        assert!(after.program_closes(), "{after:?}");
        assert_eq!(after.seen, before.seen + 1);
        QueueAccount {
            passed_arp: after.passed_arp - before.passed_arp,
            passed_neighbour: after.passed_neighbour - before.passed_neighbour,
            passed_management: after.passed_management - before.passed_management,
            passed_no_socket: after.passed_no_socket - before.passed_no_socket,
            copied: after.copied - before.copied,
            ..QueueAccount::default()
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.program.detach();
        bpffs::remove(&self.root).unwrap();
    }
}

/// Runs the program on a frame through `BPF_PROG_TEST_RUN`, as if it came on queue 0; gives its action.
fn test_run(program: &Program, frame: &[u8]) -> u32 {
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: frame.as_ptr().cast(),
        data_size_in: u32::try_from(frame.len()).unwrap(),
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: `data_in` points to a live slice of the length given; no output buffers are set.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.program.as_raw_fd(), &mut options) };
    assert_eq!(result, 0, "{}", io::Error::from_raw_os_error(-result));
    options.retval
}

/// Root, or the test is skipped aloud (a failure where `SHRIKE_REQUIRE` names root).
fn may_load(test: &str) -> bool {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return true;
    }
    let required = std::env::var("SHRIKE_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word == "root"), "{test}: SHRIKE_REQUIRE names root");
    eprintln!("SKIPPED {test}: needs root");
    false
}

fn ethernet(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.extend_from_slice(&[0, 7]);
    }
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn ipv4(protocol: u8, source: [u8; 4], fragment: u16, options: usize, port: u16) -> Vec<u8> {
    let mut packet = vec![0x45 + (options / 4) as u8, 0, 0, 60, 0, 1];
    packet.extend_from_slice(&fragment.to_be_bytes());
    packet.extend_from_slice(&[64, protocol, 0, 0]);
    packet.extend_from_slice(&source);
    packet.extend_from_slice(&[198, 51, 100, 7]);
    packet.resize(packet.len() + options, 1);
    packet.extend_from_slice(&40_000u16.to_be_bytes());
    packet.extend_from_slice(&port.to_be_bytes());
    packet.resize(packet.len() + 36, 0);
    packet
}

fn ipv6(next: u8, source: [u16; 8], first: u16, port: u16) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 40, next, 64];
    source.iter().for_each(|part| packet.extend_from_slice(&part.to_be_bytes()));
    packet.extend_from_slice(&[0xfd; 16]);
    packet.extend_from_slice(&first.to_be_bytes());
    packet.extend_from_slice(&port.to_be_bytes());
    packet.resize(packet.len() + 36, 0);
    packet
}

#[derive(Debug, PartialEq)]
enum Fate {
    Arp,
    Neighbour,
    Management,
    Worker,
}

#[test]
fn live_a_shared_interface_keeps_what_the_host_needs_and_copies_it() {
    if !may_load("live_a_shared_interface_keeps_what_the_host_needs_and_copies_it") {
        return;
    }
    let loaded = Loaded::new("shared", true);
    let far = [203, 0, 113, 1];
    let six = [0x2001, 0xdb8, 2, 0, 0, 0, 0, 1];
    let cases = [
        ("arp", ethernet(&[], 0x0806, &[0; 28]), Fate::Arp),
        ("arp in a vlan", ethernet(&[0x8100], 0x0806, &[0; 46]), Fate::Arp),
        ("arp in two vlans", ethernet(&[0x88a8, 0x8100], 0x0806, &[0; 46]), Fate::Arp),
        ("arp in three vlans", ethernet(&[0x88a8, 0x8100, 0x8100], 0x0806, &[0; 46]), Fate::Worker),
        ("ssh", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 22)), Fate::Management),
        ("ssh in a vlan", ethernet(&[0x8100], 0x0800, &ipv4(6, far, 0, 0, 22)), Fate::Management),
        ("ssh behind options", ethernet(&[], 0x0800, &ipv4(6, far, 0, 40, 22)), Fate::Management),
        ("first fragment", ethernet(&[], 0x0800, &ipv4(6, far, 0x2000, 0, 22)), Fate::Management),
        ("later fragment", ethernet(&[], 0x0800, &ipv4(6, far, 0x2001, 0, 22)), Fate::Worker),
        ("udp 22", ethernet(&[], 0x0800, &ipv4(17, far, 0, 0, 22)), Fate::Worker),
        ("dhcp answer", ethernet(&[], 0x0800, &ipv4(17, far, 0, 0, 68)), Fate::Management),
        ("https", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 443)), Fate::Worker),
        ("listed prefix", ethernet(&[], 0x0800, &ipv4(6, [192, 0, 2, 129], 0, 0, 443)), Fate::Management),
        ("beside the prefix", ethernet(&[], 0x0800, &ipv4(6, [192, 0, 2, 127], 0, 0, 443)), Fate::Worker),
        (
            "header length 4 words",
            {
                let mut packet = ipv4(6, far, 0, 0, 22);
                packet[0] = 0x44;
                ethernet(&[], 0x0800, &packet)
            },
            Fate::Worker,
        ),
        ("cut before the port", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 22)[..21]), Fate::Worker),
        ("cut in the ip header", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 22)[..12]), Fate::Worker),
        ("ssh over ipv6", ethernet(&[], 0x86dd, &ipv6(6, six, 40_000, 22)), Fate::Management),
        (
            "listed ipv6 prefix",
            ethernet(&[], 0x86dd, &ipv6(6, [0x2001, 0xdb8, 1, 9, 0, 0, 0, 1], 1, 2)),
            Fate::Management,
        ),
        ("neighbour solicitation", ethernet(&[], 0x86dd, &ipv6(58, six, 135 << 8, 0)), Fate::Neighbour),
        ("echo request", ethernet(&[], 0x86dd, &ipv6(58, six, 128 << 8, 0)), Fate::Worker),
        ("lldp", ethernet(&[], 0x88cc, &[0; 46]), Fate::Worker),
        (
            "large ssh frame",
            ethernet(&[], 0x0800, &{
                let mut packet = ipv4(6, far, 0, 0, 22);
                packet.resize(1500, 0);
                packet
            }),
            Fate::Management,
        ),
    ];
    for (name, frame, fate) in cases {
        let counted = loaded.run(&frame);
        let got =
            match (counted.passed_arp, counted.passed_neighbour, counted.passed_management, counted.passed_no_socket) {
                (1, 0, 0, 0) => Fate::Arp,
                (0, 1, 0, 0) => Fate::Neighbour,
                (0, 0, 1, 0) => Fate::Management,
                (0, 0, 0, 1) => Fate::Worker,
                other => panic!("{name}: {other:?}"),
            };
        assert_eq!(got, fate, "{name}");
        assert_eq!(counted.copied, u64::from(fate != Fate::Worker), "{name}");
    }
}

#[test]
fn live_copies_are_what_was_on_the_wire_and_a_full_ring_is_counted() {
    if !may_load("live_copies_are_what_was_on_the_wire_and_a_full_ring_is_counted") {
        return;
    }
    use crate::dataplane::capture::xdp::mirror::{MIRROR_BURST, Mirror};
    let loaded = Loaded::new("copies", true);
    let mut mirror = Mirror::open(loaded.program.mirror(0).unwrap()).unwrap();
    let frame = |bytes: usize| {
        let mut frame = ethernet(&[], 0x0806, &[]);
        frame.extend((frame.len()..bytes).map(|at| at as u8));
        frame
    };
    // Many rounds, so that positions wrap round the ring's end.
    for round in 0..60 {
        for bytes in [42, 119, 120, 121, 1514, 2040] {
            assert_eq!(loaded.run(&frame(bytes)).copied, 1);
        }
        assert_eq!(mirror.take(MIRROR_BURST), 6, "round {round}");
        for (index, bytes) in [42, 119, 120, 121, 1514, 2040].into_iter().enumerate() {
            assert_eq!(mirror.frame(index), (&frame(bytes)[..], bytes as u32), "round {round}");
        }
        assert_eq!(mirror.frame(6), (&[][..], 0));
        mirror.release();
        assert!(mirror.is_empty());
    }
    loaded.run(&frame(3000));
    assert_eq!(mirror.take(1), 1);
    assert_eq!(mirror.frame(0), (&frame(3000)[..2040], 3000));
    mirror.release();
    for _ in 0..MIRROR_BYTES / 128 + 10 {
        test_run(&loaded.program, &frame(60));
    }
    let account = loaded.maps.account(0);
    assert!(account.copy_lost >= 10 && account.program_closes(), "{account:?}");
    let mut read = 0;
    while mirror.take(7) > 0 {
        read += mirror.held() as u64;
        mirror.release();
    }
    assert_eq!(account.copied, 60 * 6 + 1 + read);
}

#[test]
fn live_an_unshared_interface_leaves_nothing_to_the_kernel_but_what_has_no_socket() {
    if !may_load("live_an_unshared_interface_leaves_nothing_to_the_kernel_but_what_has_no_socket") {
        return;
    }
    let loaded = Loaded::new("tap", false);
    for frame in [ethernet(&[], 0x0806, &[0; 46]), ethernet(&[], 0x0800, &ipv4(6, [1, 2, 3, 4], 0, 0, 22))] {
        let counted = loaded.run(&frame);
        assert_eq!((counted.passed_no_socket, counted.copied), (1, 0));
    }
}

#[test]
fn live_pins_of_another_shape_are_replaced_and_of_the_same_taken_over() {
    if !may_load("live_pins_of_another_shape_are_replaced_and_of_the_same_taken_over") {
        return;
    }
    let mut loaded = Loaded::new("again", false);
    loaded.run(&ethernet(&[], 0x0806, &[0; 46]));
    let directory = loaded.root.join("again");
    let settings = InterfaceSettings::new("again");
    let second = Program::load(&settings, &directory, 2, true).unwrap();
    assert!(second.taken_over);
    assert_eq!(CounterMaps::map(&second.xdp, &second.worker, 2).unwrap().account(0).seen, 1);
    let third = Program::load(&settings, &directory, 3, false).unwrap();
    assert!(!third.taken_over);
    assert_eq!(CounterMaps::map(&third.xdp, &third.worker, 3).unwrap().account(0).seen, 0);
    loaded.program = third;
}

/// The same sizes say nothing of what lies in which cell: of another version nothing is read, and nothing is taken over.
#[test]
fn live_pins_of_another_layout_are_replaced() {
    if !may_load("live_pins_of_another_layout_are_replaced") {
        return;
    }
    for layout in [LAYOUT ^ 1, 0] {
        let mut loaded = Loaded::new("layout", false);
        loaded.run(&ethernet(&[], 0x0806, &[0; 46]));
        loaded.maps.set_cell(0, Cell::Deaths, 7);
        loaded.program.note(Note::NapiSaved, 1);
        let directory = loaded.root.join("layout");
        assert_eq!(CounterReader::open(&directory).unwrap().accounts()[0].deaths, 7);
        loaded.program.note(Note::Layout, layout);
        let refused = CounterReader::open(&directory).map(|reader| reader.accounts());
        assert_eq!(refused.unwrap_err().to_string(), "counter maps of another version of shrike");
        let next = Program::load(&InterfaceSettings::new("layout"), &directory, 2, false).unwrap();
        assert!(!next.taken_over && next.begun_anew);
        let account = CounterReader::open(&directory).unwrap().accounts().swap_remove(0);
        assert_eq!((account.seen, account.deaths), (0, 0));
        assert_eq!(next.noted(Note::NapiSaved), 1, "what must be restored is no count");
        let again = Program::load(&InterfaceSettings::new("layout"), &directory, 2, false).unwrap();
        assert!(again.taken_over && !again.begun_anew);
        loaded.program = again;
    }
}

/// What a killed process has yet to restore survives its pins, also where these are of another shape.
#[test]
fn live_what_must_be_restored_outlives_the_process() {
    if !may_load("live_what_must_be_restored_outlives_the_process") {
        return;
    }
    let mut loaded = Loaded::new("restore", false);
    let directory = loaded.root.join("restore");
    let settings = InterfaceSettings::new("restore");
    assert_eq!(loaded.program.kept_rss(), None);
    let mut bytes = vec![0; rss::SAVED_BYTES];
    // Toeplitz, two entries in the table, a key of four bytes, no flow types.
    let words = [1u32, 2, 4, 0, 0, 1, 0x0403_0201];
    bytes[..28].copy_from_slice(&words.map(u32::to_ne_bytes).concat());
    let saved = rss::Saved::from_bytes(&bytes);
    assert!(saved.is_some());
    loaded.program.keep_rss(saved.as_ref());
    for (note, value) in [(Note::NapiSaved, 1), (Note::DeferHardIrqs, 7), (Note::GroFlushTimeout, 9)] {
        loaded.program.note(note, value);
    }
    for queues in [2, 3] {
        let next = Program::load(&settings, &directory, queues, false).unwrap();
        assert_eq!(next.taken_over, queues == 2);
        assert_eq!(next.kept_rss(), saved, "{queues} queues");
        assert_eq!((next.noted(Note::NapiSaved), next.noted(Note::DeferHardIrqs)), (1, 7), "{queues} queues");
        loaded.program = next;
    }
    loaded.program.forget();
    assert_eq!((loaded.program.kept_rss(), loaded.program.noted(Note::NapiSaved)), (None, 0));
}

#[test]
fn prefixes_of_ipv4_lie_under_the_mapped_ones() {
    let key = prefix_key("192.0.2.0".parse().unwrap(), 24);
    assert_eq!(&key[..4], &120u32.to_ne_bytes());
    assert_eq!(&key[14..20], &[0xff, 0xff, 192, 0, 2, 0]);
}
