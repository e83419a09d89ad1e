//! Attackers are found, look-alikes are not, and how the wire was cut up leaves no trace.

use super::lab::{Port, Run, Wire, host};
use super::*;
use crate::dataplane::detect::TunnelMark;
use crate::units::{MILLISECOND, SECOND};
use proptest::prelude::*;

mod floods;
mod scans;

const MS: u64 = MILLISECOND;

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_syn_scan_of_one_host_is_vertical_and_names_it() {
    let mut wire = Wire::default();
    for port in 1..=1000 {
        let state = match port {
            22 | 80 => Port::Open,
            _ if port % 3 == 0 => Port::Silent,
            _ => Port::Closed,
        };
        wire.probe(u64::from(port) * MS, host(66), (host(5), port), state);
    }
    let evidence = wire.evidence();
    let first = &evidence[0];
    assert_eq!((first.detector.name(), first.kind.as_str()), ("scan", "vertical"));
    assert_eq!(first.source.unwrap().to_string(), "10.0.0.66");
    assert_eq!(first.target.unwrap().to_string(), "10.0.0.5");
    assert!(first.terms.iter().any(|term| term.name == "trw_log_likelihood" && term.value >= term.threshold.unwrap()));
    assert!(first.confidence > 0.9, "{first:?}");
    assert_eq!(evidence.iter().map(|found| found.severity).min(), Some(2));
    assert!(evidence.iter().all(|found| found.detector.name() == "scan"));
}

#[test]
fn scans_of_other_shapes_are_found() {
    let sweep = |wire: &mut Wire, step: u64| {
        for number in 0..60_u32 {
            let state = if number % 10 == 0 { Port::Open } else { Port::Silent };
            wire.probe(u64::from(number) * step, host(66), (host(1000 + number), 445), state);
        }
    };
    let mut wire = Wire::default();
    sweep(&mut wire, 10 * MS);
    assert_eq!(wire.kinds(), ["scan/horizontal"]);
    assert_eq!(wire.evidence()[0].port, Some(445));

    let mut slow = Wire::default();
    sweep(&mut slow, 4 * SECOND);
    assert_eq!(slow.kinds(), ["scan/horizontal"], "four seconds between probes");

    let mut ping = Wire::default();
    (0..60).for_each(|number| ping.ping(u64::from(number) * 5 * MS, host(66), host(1000 + number), number % 20 == 0));
    assert_eq!(ping.kinds(), ["scan/ping_sweep"]);

    let mut pings = Wire::default();
    (0..30).for_each(|number| pings.ping(u64::from(number) * 5 * MS, host(66), host(1000 + number), number % 3 != 0));
    assert_eq!(pings.kinds(), ["scan/ping_sweep"]);
    assert!(pings.evidence().iter().all(|found| found.severity == 4), "most hosts answered");

    let mut single = Wire::default();
    (0..18).for_each(|number| single.ping(u64::from(number) * 90 * MS, host(66), host(1000 + number), number % 3 != 0));
    assert_eq!(single.kinds(), ["scan/ping_sweep"], "a third of a small network is empty");

    let mut udp = Wire::default();
    for port in 1..=100_u16 {
        udp.datagram(u64::from(port) * 50 * MS, host(66), (host(5), port * 7), 0, (port == 53).then_some(80));
    }
    udp.session(0, host(7), (host(8), 80), 200, 4000, 80 * MS);
    assert_eq!(udp.kinds(), ["scan/vertical"]);

    let mut block = Wire::default();
    for number in 0..400_u32 {
        block.probe(
            u64::from(number) * MS,
            host(66),
            (host(1000 + number % 20), 20 + (number / 20) as u16),
            Port::Closed,
        );
    }
    assert_eq!(block.kinds(), ["scan/block"]);

    for (flags, answers) in [(0, 2), (0x01, 2), (0x29, 2), (0x29, 1), (0x10, 1), (0x10, 2)] {
        let mut stealth = Wire::default();
        for port in 1..=100_u16 {
            stealth.packet(u64::from(port) * MS, (host(66), 55_555), (host(5), port), 6, flags, 0);
            if port % answers == 0 {
                stealth.packet(u64::from(port) * MS + 1, (host(5), port), (host(66), 55_555), 6, 0x14, 0);
            }
        }
        stealth.session(0, host(7), (host(8), 80), 200, 4000, 80 * MS);
        assert_eq!(stealth.kinds(), ["scan/vertical"], "flags {flags}");
    }
}

/// As nmap -T0 does, over hours; and a hundred hosts that try four ports each.
#[test]
fn scans_that_take_hours_and_scans_that_many_share_are_found() {
    for state in [Port::Closed, Port::Silent] {
        let mut wire = Wire::default();
        for number in 0..30_u32 {
            wire.probe(u64::from(number) * 300 * SECOND, host(66), (host(5), 20 + number as u16), state);
            // Somebody is there, who works.
            wire.session(u64::from(number) * 300 * SECOND, host(7), (host(8), 80), 200, 4000, 80 * MS);
        }
        assert_eq!(wire.kinds(), ["scan/slow_vertical"]);
        let found = wire.evidence().remove(0);
        assert_eq!((found.severity, found.target.unwrap().to_string().as_str()), (3, "10.0.0.5"));
        assert!(found.terms[0].value >= found.terms[0].threshold.unwrap());
    }
    let mut wire = Wire::default();
    for number in 0..400_u32 {
        let at = u64::from(number) * 7 * SECOND;
        wire.probe(at, host(2000 + number / 4), (host(5), 20 + number as u16), Port::Closed);
        wire.session(at, host(7), (host(8), 80), 200, 4000, 80 * MS);
    }
    assert_eq!(wire.kinds(), ["scan/distributed"]);
}

#[test]
fn a_connect_scan_of_open_ports_only_is_found() {
    let mut wire = Wire::default();
    for number in 0..60_u32 {
        wire.session(u64::from(number) * 20 * MS, host(66), (host(1000 + number), 22), 0, 0, 8 * MS);
    }
    assert_eq!(wire.kinds(), ["scan/horizontal"]);
}

#[test]
fn one_way_visibility_switches_trw_off_and_is_said() {
    let mut wire = Wire::default();
    for port in 1..=200 {
        wire.probe(u64::from(port) * MS, host(66), (host(5), port), Port::Silent);
    }
    let evidence = wire.evidence();
    let terms = &evidence[0].terms;
    assert!(terms.iter().any(|term| term.name == "one_way_visibility"));
    assert!(!terms.iter().any(|term| term.name == "trw_log_likelihood"));
    // A resolver seen one way: silence, but nothing that is a probe by itself.
    let mut resolver = Wire::default();
    for number in 0..300_u32 {
        resolver.datagram(u64::from(number) * 10 * MS, host(53), (host(5000 + number), 53), 60, None);
    }
    assert_eq!(resolver.kinds(), none());
}

#[test]
fn a_monitor_that_pings_its_hosts_is_no_sweep() {
    // All answer; one in twenty is down.
    for down in [u32::MAX, 20] {
        let mut monitor = Wire::default();
        for number in 0..600_u32 {
            let at = u64::from(number) * 500 * MS;
            monitor.ping(at, host(9), host(1000 + number % 120), number % 120 % down != 7);
        }
        assert_eq!(monitor.kinds(), none(), "one in {down} down");
    }
    // Half of them are gone, and it asks again every half minute for a quarter of an hour.
    let mut outage = Wire::default();
    for round in 0..30_u64 {
        for number in 0..60_u32 {
            let at = round * 30 * SECOND + u64::from(number) * 10 * MS;
            outage.ping(at, host(9), host(1000 + number), round < 4 || number % 2 == 0);
        }
    }
    assert_eq!(outage.kinds(), none(), "outage");
}

#[test]
fn benign_hosts_are_not_called_scanners() {
    let mut browser = Wire::default();
    for number in 0..400_u32 {
        let at = u64::from(number) * 50 * MS;
        browser.datagram(at, host(1), (host(53), 53), 40, Some(120));
        browser.session(at + MS, host(1), (host(2000 + number % 120), 443), 600, 20_000 + number * 13, 400 * MS);
        if number % 20 == 0 {
            browser.probe(at, host(1), (host(9000 + number), 443), Port::Silent);
        }
    }
    assert_eq!(browser.kinds(), none(), "browser");

    let mut dead = Wire::default();
    for number in 0..2000_u64 {
        dead.probe(
            number * 200 * MS,
            host(1),
            (host(2), 5432),
            if number % 2 == 0 { Port::Closed } else { Port::Silent },
        );
    }
    assert_eq!(dead.kinds(), none(), "server that went down");

    let mut peer = Wire::default();
    for number in 0..300_u32 {
        let to = (host(3000 + number), 1024 + (number * 131 % 50_000) as u16);
        let at = u64::from(number) * 30 * MS;
        match number % 5 {
            0 | 1 => peer.datagram(at, host(1), to, 100, Some(200)),
            2 => peer.session(at, host(1), to, 300, 5000, 200 * MS),
            _ => peer.datagram(at, host(1), to, 100, None),
        }
    }
    assert_eq!(peer.kinds(), none(), "peer to peer");

    let mut resolver = Wire::default();
    for number in 0..3000_u32 {
        let answer = (number % 12 != 0).then_some(150);
        resolver.datagram(u64::from(number) * 3 * MS, host(53), (host(4000 + number % 700), 53), 50, answer);
    }
    assert_eq!(resolver.kinds(), none(), "resolver");

    let mut balancer = Wire::default();
    for number in 0..1000_u32 {
        balancer.session(u64::from(number) * 100 * MS, host(1), (host(10 + number % 8), 8080), 0, 0, 4 * MS);
    }
    assert_eq!(balancer.kinds(), none(), "health checks");

    // Lost its uplink: every application tries its servers one after the other, and TCP repeats its SYN.
    let mut lost = Wire::default();
    lost.session(0, host(7), (host(8), 80), 200, 4000, 80 * MS);
    for number in 0..60_u32 {
        let (from, to) = ((host(1), lost.port()), (host(6000 + number), 443));
        for wait in [0, 1000, 3000, 7000] {
            lost.packet(u64::from(number) * 1500 * MS + wait * MS, from, to, 6, 0x02, 0);
        }
    }
    assert_eq!(lost.kinds(), none(), "without an uplink");

    let mut nearest = Wire::default();
    for number in 0..50_u32 {
        let answer = (number % 4 == 0).then_some(16);
        nearest.datagram(u64::from(number) * SECOND, host(1), (host(6000 + number), 6000), 16, answer);
    }
    assert_eq!(nearest.kinds(), none(), "looks for the nearest of many servers");

    let mut monitor = Wire::default();
    (0..3000_u32).for_each(|number| monitor.ping(u64::from(number) * 300 * MS, host(1), host(10 + number % 12), true));
    assert_eq!(monitor.kinds(), none(), "pings a dozen hosts all day");

    let mut traceroute = Wire::default();
    traceroute.session(0, host(7), (host(8), 80), 200, 4000, 80 * MS);
    (0..90).for_each(|probe| {
        traceroute.datagram(u64::from(probe) * 20 * MS, host(1), (host(2), 33_434 + probe), 32, None)
    });
    assert_eq!(traceroute.kinds(), none(), "traceroute");

    let mut late = Wire::default();
    late.session(0, host(7), (host(8), 80), 200, 4000, 80 * MS);
    for port in 0..200_u16 {
        late.packet(u64::from(port) * MS, (host(80), 443), (host(1), 50_000 + port), 6, 0x11, 0);
        late.packet(u64::from(port) * MS, (host(80), 53), (host(1), 50_000 + port), 17, 0, 100);
    }
    assert_eq!(late.kinds(), none(), "answers whose questions have expired");
}

fn value(evidence: &Evidence, name: &str) -> f64 {
    evidence.terms.iter().find(|term| term.name == name).unwrap_or_else(|| panic!("{name}: {evidence:?}")).value
}

/// What is counted is told exactly, what is estimated is said to be, and a repeat tells what came since the beginning.
#[test]
fn scans_are_told_in_numbers_that_are_true() {
    for ports in [20_u16, 500, 1000, 20_000] {
        let mut wire = Wire::default();
        for port in 0..ports {
            wire.probe(u64::from(port) * MS, host(66), (host(5), 1 + port), Port::Closed);
        }
        let found = wire.evidence();
        let last = found.last().expect("a scan");
        assert_eq!(value(last, "failed_contacts_since_start"), f64::from(ports), "{}", last.summary);
        assert!(last.summary.contains(&format!("; {ports} contacts failed, 0 were answered")), "{}", last.summary);
        for evidence in &found {
            let contacts = value(evidence, "failed_contacts");
            for name in ["distinct_failed_ports", "distinct_failed_hosts", "distinct_failed_contacts"] {
                assert!(value(evidence, name) <= contacts, "{name} {}", evidence.summary);
            }
            let totals = value(evidence, "failed_contacts_since_start");
            assert!(totals >= contacts, "{}", evidence.summary);
            for term in &evidence.terms {
                let Some(threshold) = term.threshold else { continue };
                assert!(term.relation.unwrap().holds(term.value, threshold), "{term:?}");
            }
        }
        let told: Vec<_> = found.iter().map(|one| value(one, "failed_contacts_since_start")).collect();
        assert!(told.is_sorted(), "{told:?}");
    }
    // One contact every fifteen seconds: generations come and go, the sum stays.
    let mut slow = Wire::default();
    for port in 0..200_u16 {
        slow.probe(u64::from(port) * 15 * SECOND, host(66), (host(5), 1 + port), Port::Closed);
    }
    let found = slow.evidence();
    assert_eq!(value(found.last().unwrap(), "failed_contacts_since_start"), 200.0);
}

#[test]
fn password_guessing_is_found_by_service() {
    let cases: [(u16, u32, u32, u64, &str); 5] = [
        (22, 1750, 1850, 2000, "brute_force/ssh"),
        (21, 40, 160, 900, "brute_force/ftp"),
        (445, 360, 150, 30, "brute_force/smb"),
        (3306, 90, 180, 20, "brute_force/database"),
        (902, 1750, 1850, 2000, "brute_force/login"),
    ];
    for (port, request, answer, length_ms, kind) in cases {
        let mut wire = Wire::default();
        for number in 0..60_u64 {
            wire.session(
                number * 100 * MS,
                host(66),
                (host(5), port),
                request + number as u32 % 8,
                answer,
                length_ms * MS,
            );
        }
        assert_eq!(wire.kinds(), [kind]);
        let first = &wire.evidence()[0];
        assert_eq!((first.port, first.target.unwrap().to_string()), (Some(port), "10.0.0.5".to_owned()));
    }
    let mut http = Wire::default();
    for number in 0..120_u64 {
        http.session(number * 30 * MS, host(66), (host(5), 80), 180 + 4 * (number as u32 % 4), 381, 8 * MS);
    }
    assert_eq!(http.kinds(), ["brute_force/http"]);

    let mut flat = Wire::default();
    (0..1500_u64).for_each(|number| flat.session(number * 15 * MS, host(66), (host(5), 80), 138, 375, 100 * MS));
    assert_eq!(flat.kinds(), ["brute_force/http"]);
    assert_eq!(flat.evidence()[0].severity, 3);

    // A tool that ends after the sessions that the server lets it begin at once.
    let mut brief = Wire::default();
    (0..5_u64).for_each(|number| brief.session(number * 80 * MS, host(66), (host(5), 22), 1600, 2240, 230 * MS));
    assert_eq!(brief.kinds(), ["brute_force/ssh"]);

    let mut spraying = Wire::default();
    for number in 0..40_u32 {
        spraying.session(u64::from(number) * 200 * MS, host(66), (host(100 + number), 22), 1750, 1850, 2000 * MS);
    }
    assert_eq!(spraying.kinds(), ["brute_force/ssh_spraying"]);
}

#[test]
fn success_after_failures_escalates() {
    let mut wire = Wire::default();
    for number in 0..30_u64 {
        wire.session(number * 300 * MS, host(66), (host(5), 22), 1750, 1850, 2000 * MS);
    }
    wire.session(12 * SECOND, host(66), (host(5), 22), 9000, 40_000, 5000 * MS);
    let evidence = wire.evidence();
    let last = evidence.last().unwrap();
    assert_eq!((last.kind.as_str(), last.severity), ("ssh_success", 1));
}

#[test]
fn benign_sessions_are_no_guesses() {
    let mut automation = Wire::default();
    for number in 0..60_u64 {
        automation.session(number * 500 * MS, host(1), (host(5), 22), 4200, 6000, 700 * MS);
    }
    // Banner grabs of a monitor, and one failing job a minute.
    for number in 0..200_u64 {
        automation.session(number * 500 * MS, host(2), (host(5), 22), 20, 40, 20 * MS);
        automation.session(number * 61 * SECOND, host(3), (host(5), 22), 1750, 1850, 2000 * MS);
    }
    assert_eq!(automation.kinds(), ["brute_force/ssh_failing_login"], "automation over ssh: the failing job, low");
    assert!(automation.evidence().iter().all(|found| found.severity == 4));
    // A connection for each kind of key, left when the server has shown it.
    let mut keys = Wire::default();
    for number in 0..10_u64 {
        let (from, to) = ((host(1), keys.port()), (host(5), 22));
        let talk = [(false, 21), (true, 40), (false, 1500), (true, 1080), (false, 1200), (true, 1500), (false, 16)];
        keys.talk(number * 20 * MS, from, to, &talk);
    }
    assert_eq!(keys.kinds(), none(), "ssh-keyscan");

    let mut web = Wire::default();
    for number in 0..6000_u32 {
        let at = u64::from(number) * 20 * MS;
        // Polling five times a second: one request, one answer. Browsing: many answers. A crawler: both vary.
        if number % 10 == 0 {
            web.session(at, host(1), (host(5), 80), 200, 300, 10 * MS);
        }
        web.session(at, host(2), (host(5), 80), 300 + number % 40, 500 + number * 3 % 900, 10 * MS);
        web.session(at, host(3), (host(6), 443), 700 + number % 60, 3000 + number * 37 % 3000, 40 * MS);
    }
    // Three programs that poll, all answered alike, together faster than the bucket leaks.
    for number in 0..600_u64 {
        web.session(number * 100 * MS, host(4), (host(5), 80), 150 + 30 * (number as u32 % 3), 240, 10 * MS);
    }
    assert_eq!(web.kinds(), none(), "web");

    let mut backend = Wire::default();
    for number in 0..2000_u32 {
        let at = u64::from(number) * 5 * MS;
        backend.session(at, host(1), (host(5), 3306), 300 + number % 100, 800, 3 * MS);
        backend.session(at, host(1), (host(6), 9000), 300, 500, 4 * MS);
        // A small file that is fetched again and again.
        if number % 20 == 0 {
            backend.session(at, host(1), (host(9), 21), 70, 220 + number / 20 % 2, 60 * MS);
        }
        // A cache that is asked over a new connection each time, and says little.
        backend.session(at, host(1), (host(8), 6379), 40 + number % 30, 5, 2 * MS);
        backend.session(at, host(1), (host(7), 25), 5000, 400, 30 * MS);
    }
    assert_eq!(backend.kinds(), none(), "backend");
}

/// A bit of everything, with the attackers' packets on every queue.
fn mixture(seed: u32) -> Wire {
    let mut wire = Wire::default();
    for number in 0..600_u32 {
        let at = u64::from(number) * 17 * MS + u64::from(seed % 1000) * MS;
        let odd = (number ^ seed) % 4;
        wire.probe(
            at,
            host(66),
            (host(5), (number * 13 + seed % 7) as u16 + 1),
            [Port::Closed, Port::Silent, Port::Open, Port::Closed][odd as usize],
        );
        wire.probe(at, host(67), (host(1000 + number), 445), Port::Silent);
        wire.session(at, host(68), (host(5), 22), 1750 + odd, 1850, 1500 * MS);
        wire.session(at, host(1), (host(80 + number % 9), 443), 700, 4000 + number * 31, 90 * MS);
        wire.datagram(at, host(1), (host(53), 53), 40, (odd != 1).then_some(90));
        for burst in 0..4 {
            let spoofed = 0x2000_0000 + (number * 4 + burst).wrapping_mul(0x9e37_79b9) % 0x1000_0000;
            wire.packet(at + u64::from(burst), (spoofed, 1024), (host(5), 80), 6, 0x02, 0);
        }
    }
    wire
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn how_the_wire_is_cut_up_leaves_no_trace(
        wire in any::<u32>(),
        seed in any::<u64>(),
        queues in 1_usize..=4,
        burst in 1_usize..300,
        budget in 4_usize..200,
        capacity in prop::sample::select(vec![8_usize, 64, 4096]),
    ) {
        let mut wire = mixture(wire);
        let expected = wire.evidence();
        prop_assert!(expected.len() > 10);
        let run = Run { queues, burst, budget, capacity, seed, ..Run::default() };
        prop_assert_eq!(wire.run(&run), expected);
    }
}

#[test]
fn late_and_surplus_entries_are_counted() {
    let mut merger = Merger::new(2, Settings { pending_entries: 3, ..Settings::default() });
    let entry = |start: u64, address: u128| {
        Up::Window(WindowEntry {
            start: Timestamp(start * SECOND),
            entity: Entity::Source(address),
            counts: Counts { sums: [1; 16], ..Counts::ZERO },
            mark: TunnelMark(0),
        })
    };
    for address in 0..5 {
        merger.push(QueueId(0), &entry(10, address));
    }
    assert_eq!(merger.stats().lost, 2);
    merger.push(QueueId(0), &Up::Watermark(QueueId(0), Timestamp(20 * SECOND)));
    assert_eq!(merger.stats().watermark, Timestamp(0), "queue 1 has not come so far");
    merger.push(QueueId(1), &Up::Watermark(QueueId(1), Timestamp(11 * SECOND)));
    assert_eq!((merger.stats().entries, merger.stats().watermark), (3, Timestamp(11 * SECOND)));
    merger.push(QueueId(1), &entry(10, 9));
    assert_eq!(merger.stats().late, 1);
    // A queue that ends holds nobody up, and one that speaks again is waited for again.
    merger.push(QueueId(1), &Up::Ended(QueueId(1)));
    assert_eq!(merger.stats().watermark, Timestamp(20 * SECOND));
    merger.push(QueueId(1), &Up::Watermark(QueueId(1), Timestamp(21 * SECOND)));
    merger.push(QueueId(0), &Up::Watermark(QueueId(0), Timestamp(30 * SECOND)));
    assert_eq!(merger.stats().watermark, Timestamp(21 * SECOND));
}

#[test]
fn a_silent_queue_is_left_out_until_it_speaks_again() {
    let mut merger = Merger::new(2, Settings::default());
    let mark = |queue: u16, at: u64| Up::Watermark(QueueId(queue), Timestamp(at * SECOND));
    let mut clock = Timestamp(1_000 * SECOND);
    let mut look = |merger: &mut Merger, times: u32| {
        for _ in 0..times {
            clock = clock.after(250 * MS);
            merger.look(clock);
        }
    };
    merger.push(QueueId(0), &mark(0, 10));
    merger.push(QueueId(1), &mark(1, 10));
    // One that speaks every second is never left out, whatever the others do.
    for second in 11..30 {
        merger.push(QueueId(0), &mark(0, second));
        look(&mut merger, 4);
        let silent: Vec<QueueId> = merger.silent().map(|(queue, _)| queue).collect();
        assert_eq!(silent, if second < 16 { vec![] } else { vec![QueueId(1)] });
    }
    assert_eq!(merger.stats().watermark, Timestamp(29 * SECOND), "decided without the silent one");
    // It comes back behind the others: what was decided stays decided, and it is waited for again.
    merger.push(QueueId(1), &mark(1, 12));
    merger.push(QueueId(0), &mark(0, 40));
    assert_eq!((merger.silent().count(), merger.stats().watermark), (0, Timestamp(29 * SECOND)));
    merger.push(QueueId(1), &mark(1, 35));
    assert_eq!(merger.stats().watermark, Timestamp(35 * SECOND));
    // The program itself stood still for an hour: nobody is blamed for that.
    clock = clock.after(3_600 * SECOND);
    merger.look(clock);
    assert_eq!(merger.silent().count(), 0);
    // All of them silent: nothing is decided, and nothing is lost when they speak again.
    (0..40).for_each(|_| {
        clock = clock.after(250 * MS);
        merger.look(clock);
    });
    assert_eq!((merger.silent().count(), merger.stats().watermark), (2, Timestamp(35 * SECOND)));
}
