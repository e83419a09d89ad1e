use super::*;
use crate::dataplane::decode::FlowKey;
use crate::dataplane::flow::TcpState;
use proptest::prelude::*;

/// Some whole hour.
const START: u64 = 1_700_092_800 * SECOND;

/// A flow of 10.0.0.`from` to 10.0.1.`to`, between these seconds after [`START`].
fn flow(
    from: u32,
    (to, port): (u32, u16),
    (begin, end): (u64, u64),
    payload: [u64; 2],
    state: TcpState,
) -> FlowSummary {
    let (key, originator) = FlowKey::v4(0x0a00_0000 + from, 40_000, 0x0a00_0100 + to, port, 6, 0);
    FlowSummary {
        key,
        originator,
        first_seen: Timestamp(START + begin * SECOND),
        last_seen: Timestamp(START + end * SECOND),
        ended_at: Timestamp(START + end * SECOND),
        packets: [3, 2],
        bytes: payload.map(|bytes| bytes + 200),
        payload,
        tcp_flags: [0x02, 0x14],
        state,
        ..FlowSummary::default()
    }
}

fn rows_of(flows: &[FlowSummary], settings: Settings) -> (Vec<Row>, Stats) {
    let (mut windows, mut rows) = (Windows::new(settings), Vec::new());
    flows.iter().for_each(|flow| windows.flow(flow, &mut |row| rows.push(row)));
    windows.reach(Timestamp(u64::MAX), &mut |row| rows.push(row));
    (rows, windows.stats())
}

#[test]
fn the_values_that_count_flows_stand_where_they_are_said_to() {
    let names =
        [schema::HOST[schema::HOST_FLOWS_OUT], schema::HOST[schema::HOST_FLOWS_IN], schema::PAIR[schema::PAIR_FLOWS]];
    assert_eq!(names.map(|feature| feature.name), ["flows_out", "flows_in", "flows"]);
    let mut flows: Vec<_> = (0..5).map(|to| flow(1, (to, 80), (0, 1), [10, 10], TcpState::New)).collect();
    flows.push(flow(0x101, (1, 80), (0, 1), [10, 10], TcpState::New));
    let (rows, _) = rows_of(&flows, Settings::default());
    let of = |host: u32| {
        rows.iter().find(|row| matches!(row.of, Of::Host(address, _) if address as u32 == host)).map(Row::flows)
    };
    assert_eq!([of(0x0a00_0001), of(0x0a00_0101)].map(|flows| flows.map(f32::round)), [Some(5.0), Some(3.0)]);
}

/// Value of a column.
fn value(row: &Row, name: &str) -> f32 {
    let at = |schema: &[crate::dataplane::features::Feature]| schema.iter().position(|column| column.name == name);
    match row.of {
        Of::Host(_, values) => values[at(&schema::HOST).expect("a column of hosts")],
        Of::Pair(_, values) => values[at(&schema::PAIR).expect("a column of pairs")],
    }
}

fn host_of(row: &Row) -> Option<u32> {
    match row.of {
        Of::Host(address, _) => Some(address as u32 & 0xffff),
        Of::Pair(..) => None,
    }
}

#[test]
fn a_flow_counts_for_both_hosts_by_how_it_was_met() {
    use TcpState::{Closed, Established, New};
    let met = [(1, Established), (2, New), (3, Closed), (4, Closed)];
    let mut flows = met.map(|(to, state)| flow(1, (to, 22), (0, to.into()), [10, 0], state));
    // One of the two closed ones had been answered with more than an RST.
    flows[3].tcp_flags[1] = 0x1e;
    let (rows, stats) = rows_of(&flows, Settings::default());
    assert_eq!((rows.len(), stats.flows, stats.late, stats.early), (5, 4, 0, 0));
    let client = rows.iter().find(|row| host_of(row) == Some(1)).expect("a row");
    for (name, wanted) in [
        ("flows_out", 4_f64.ln_1p()),
        ("answered_share", 0.5),
        ("refused_share", 0.25),
        ("silent_share", 0.25),
        ("tcp_share", 1.0),
        ("login_share", 1.0),
        ("web_share", 0.0),
        ("peers_out", 4_f64.ln_1p()),
        ("ports_out", 1_f64.ln_1p()),
        ("busiest_share", 0.25),
        ("reset_share", 1.0),
        ("short_share", 0.0),
        ("payload_out", 40_f64.ln_1p()),
        ("flows_in", 0.0),
    ] {
        assert_eq!(value(client, name), wanted as f32, "{name}");
    }
    let server = rows.iter().find(|row| host_of(row) == Some(0x103)).expect("a row");
    assert_eq!((value(server, "flows_out"), value(server, "answered_share_in")), (0.0, 0.0));
    assert_eq!(value(server, "payload_taken"), 10_f64.ln_1p() as f32);
}

/// Who asked is told by the first packet, as in a flow's own row, whatever its content says of it.
#[test]
fn a_turned_flow_counts_for_who_sent_the_first_packet() {
    let plain = flow(1, (1, 80), (0, 1), [10, 2000], TcpState::Established);
    let [out, into] = plain.bytes;
    let turned = FlowSummary {
        originator: plain.originator.flip(),
        is_turned: true,
        bytes: [into, out],
        payload: [2000, 10],
        tcp_flags: [0x14, 0x02],
        packets: [2, 3],
        ..plain
    };
    assert_eq!(rows_of(&[plain], Settings::default()), rows_of(&[turned], Settings::default()));
}

#[test]
fn distinct_values_are_told_apart_up_to_the_limit() {
    for (ports, distinct, busiest) in [(255, 255, 2.0 / 256.0), (256, 256, 2.0 / 257.0), (257, 256, 0.0)] {
        let mut flows: Vec<_> = (0..ports).map(|port| flow(1, (1, port), (0, 1), [0; 2], TcpState::New)).collect();
        flows.push(flows[0]);
        let (rows, _) = rows_of(&flows, Settings::default());
        let client = rows.iter().find(|row| host_of(row) == Some(1)).expect("a row");
        assert_eq!(value(client, "services_out"), f64::from(distinct).ln_1p() as f32, "{ports}");
        assert_eq!(value(client, "busiest_share"), busiest as f32, "{ports}");
    }
}

#[test]
fn a_rhythm_is_told_from_the_latest_starts() {
    // 100 flows a second apart, of which the first 36 are not among the latest, then the same but for one late one.
    let steady: Vec<_> =
        (0..100).map(|at| flow(1, (1, 443), (at, at), [if at < 36 { 5 } else { 9 }, 3], TcpState::Closing)).collect();
    let (rows, _) = rows_of(&steady, Settings::default());
    let pair = rows.iter().find(|row| host_of(row).is_none()).expect("a row of the pair");
    for (name, wanted) in [
        ("flows", 100_f64.ln_1p()),
        ("start_gap_mean", 1e6_f64.ln_1p()),
        ("start_gap_deviation", 0.0),
        ("start_regularity", 1.0),
        ("start_skew", 0.0),
        ("start_spread", 2.0 / 60.0),
        ("payload_out_same", 1.0),
        ("payload_in_mean", 3_f64.ln_1p()),
    ] {
        assert_eq!(value(pair, name), wanted as f32, "{name}");
    }
    let few = rows_of(&steady[..PAIR_FLOWS as usize - 1], Settings::default()).0;
    assert!(few.iter().all(|row| host_of(row).is_some()), "three flows have no rhythm");
}

#[test]
fn the_memory_is_bounded_and_known() {
    let mib = Settings::default().memory() >> 20;
    assert!((48..96).contains(&mib), "{mib} MiB: ARCHITECTURE.md says some 90");
}

#[test]
fn quantiles_are_interpolated() {
    use super::sums::{median_and_distance, quantile, regularity, skew};
    let numbers = [1.0, 2.0, 4.0, 8.0];
    assert_eq!((quantile(&numbers, 0.25), quantile(&numbers, 0.5), quantile(&[], 0.5)), (1.75, 3.0, 0.0));
    assert_eq!(median_and_distance(&numbers), (3.0, 1.5));
    assert_eq!((regularity((3.0, 1.5)), regularity((3.0, 9.0)), regularity((0.0, 0.0))), (0.5, 0.0, 0.0));
    assert!((skew(&numbers) - (1.75 + 5.0 - 6.0) / 3.25).abs() < 1e-12);
}

/// A flood of senders is more than the room: rows come early, and no flow is in none or in two.
#[test]
fn full_windows_give_rows_early_and_count_every_flow() {
    let settings = Settings { hosts: 64, pairs: 64 };
    let mut flows: Vec<_> = (0..1000).map(|from| flow(from, (1, 80), (0, 1), [1; 2], TcpState::New)).collect();
    let (rows, stats) = rows_of(&flows, settings);
    assert!(stats.early > 900, "{stats:?}");
    let began: f64 = rows.iter().map(|row| f64::from(value(row, "flows_out")).exp_m1()).sum();
    assert!((began - 1000.0).abs() < 1e-3, "{began}");
    // The same where it is values that have no room: one host, then others with hundreds of ports.
    flows = (0..40 * 200).map(|at| flow(at / 200, (1, (at % 200) as u16), (0, 1), [1; 2], TcpState::New)).collect();
    let (rows, stats) = rows_of(&flows, Settings { hosts: 64, pairs: 1 << 14 });
    assert!(stats.early > 0 && stats.flows == 8000, "{stats:?}");
    let began: f64 = rows.iter().map(|row| f64::from(value(row, "flows_out")).exp_m1()).sum();
    assert!((began - 8000.0).abs() < 0.1, "{began}");
}

#[test]
fn what_ends_in_a_window_that_is_over_is_late() {
    let (mut windows, mut rows) = (Windows::new(Settings::default()), Vec::new());
    let mut give = |row| rows.push(row);
    windows.flow(&flow(1, (1, 80), (0, 59), [1; 2], TcpState::New), &mut give);
    assert_eq!(windows.next(), Some(Timestamp(START + MINUTE_NS)));
    windows.reach(Timestamp(START + MINUTE_NS - 1), &mut give);
    windows.flow(&flow(1, (1, 80), (0, 59), [1; 2], TcpState::New), &mut give);
    windows.reach(Timestamp(START + MINUTE_NS), &mut give);
    windows.flow(&flow(1, (1, 80), (0, 59), [1; 2], TcpState::New), &mut give);
    windows.flow(&flow(1, (1, 80), (0, 60), [1; 2], TcpState::New), &mut give);
    assert_eq!((windows.stats().late, windows.stats().flows), (1, 3));
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.end() == Timestamp(START + MINUTE_NS) && row.is_complete));
}

/// What was lost is not known; the windows in which it may have ended are, and no others.
#[test]
fn rows_of_windows_that_flows_are_missing_of_say_so() {
    let (mut windows, mut rows) = (Windows::new(Settings::default()), Vec::new());
    for minute in 0..6 {
        let at = minute * 60 + 30;
        let seen = flow(1, (1, 80), (at, at), [1; 2], TcpState::New);
        windows.flow(&seen, &mut |row| rows.push(row));
        if minute == 2 {
            windows.lost();
            windows.lost();
        }
        windows.reach(seen.ended_at, &mut |row| rows.push(row));
    }
    windows.reach(Timestamp(u64::MAX), &mut |row| rows.push(row));
    let hosts = rows.iter().filter(|row| host_of(row) == Some(1)).map(|row| row.is_complete);
    assert_eq!(hosts.collect::<Vec<_>>(), [true, false, false, false, true, true]);
    let pair = rows.iter().find(|row| host_of(row).is_none()).expect("a row of the pair");
    assert!(!pair.is_complete && windows.stats().incomplete == 7, "{:?}", windows.stats());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Queues tell ends in the order in which they end, and nothing else is promised: the rows are the same.
    #[test]
    fn ends_in_any_order_over_any_queues_give_the_same_rows(
        seeds in prop::collection::vec((0..6_u32, 0..4_u32, 0..3_u16, 0..7000_u64, 0..200_u64, 0..5_u64), 1..300),
        queues in 1..=4_usize,
        turns in prop::collection::vec((0..4_usize, 1..20_usize), 1..200),
    ) {
        let mut flows: Vec<_> = seeds
            .iter()
            .map(|(from, to, port, begin, length, size)| {
                let state = [TcpState::New, TcpState::Closed, TcpState::Closing][(length % 3) as usize];
                flow(*from, (*to, 80 + port), (*begin, begin + length), [size * 100, *size], state)
            })
            .collect();
        flows.sort_by_key(|flow| flow.ended_at);
        let whole = rows_of(&flows, Settings::default());
        let mut lanes: Vec<std::collections::VecDeque<FlowSummary>> = vec![Default::default(); queues];
        for (at, flow) in flows.iter().enumerate() {
            lanes[(at * 7 + flow.key.low().port as usize) % queues].push_back(*flow);
        }
        let (mut windows, mut rows) = (Windows::new(Settings::default()), Vec::new());
        for (lane, count) in &turns {
            let lane = lane % queues;
            for _ in 0..*count {
                let Some(flow) = lanes[lane].pop_front() else { break };
                windows.flow(&flow, &mut |row| rows.push(row));
            }
            // Everything before the earliest end that is to come has been told.
            let reached = lanes.iter().filter_map(|lane| lane.front()).map(|flow| flow.ended_at).min();
            windows.reach(reached.unwrap_or(Timestamp(0)), &mut |row| rows.push(row));
        }
        for flow in lanes.iter().flatten() {
            windows.flow(flow, &mut |row| rows.push(row));
        }
        windows.reach(Timestamp(u64::MAX), &mut |row| rows.push(row));
        prop_assert_eq!((rows, windows.stats()), whole);
    }
}
