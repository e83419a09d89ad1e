use super::encrypted::PACKETS;
use super::*;
use crate::dataplane::decode::{FlowKey, Packet, TcpWord};
use crate::units::{MICROSECOND, SECOND};
use proptest::prelude::*;

fn value(row: &FeatureRow, name: &str) -> f32 {
    row[FEATURES.iter().position(|feature| feature.name == name).expect(name)]
}

fn packet(back: bool, flags: u8, wire: u32, payload: u32, time: u64) -> Packet {
    let (key, forward) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 22, 6, 0);
    Packet {
        key,
        time: Timestamp(time),
        wire_bytes: wire,
        payload_bytes: payload,
        tcp: TcpWord::new(flags, 64_240),
        direction: if back { forward.flip() } else { forward },
        ..Packet::default()
    }
}

#[test]
fn names_are_unique_and_fit_the_row() {
    let names: std::collections::BTreeSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
    assert_eq!(names.len(), COUNT);
    assert!(FEATURES.iter().all(|feature| !feature.unit.is_empty() && feature.meaning.ends_with('.')));
    let json: serde_json::Value = serde_json::from_str(&FLOW.json()).unwrap();
    assert_eq!(json["name"], "flow");
    assert_eq!(json["version"], SCHEMA_VERSION);
    assert_eq!(json["features"].as_array().unwrap().len(), COUNT);
}

#[test]
fn a_connection_in_numbers() {
    use tcp_flags::{ACK, PSH, SYN};
    let start = SECOND;
    let script = [
        packet(false, SYN, 74, 0, start),
        packet(true, SYN | ACK, 74, 0, start + 100 * MICROSECOND),
        packet(false, ACK, 66, 0, start + 200 * MICROSECOND),
        packet(true, ACK | PSH, 106, 40, start + 10_000 * MICROSECOND),
        packet(false, ACK | PSH, 98, 32, start + 10_100 * MICROSECOND),
    ];
    let mut record = FlowRecord::new(script[0].key, script[0].time);
    for packet in &script {
        record.update(packet);
    }
    let mut row = [0.0; COUNT];
    write_row(&record, None, Timestamp(start + 10_100 * MICROSECOND), Moment::Milestone, &mut row);
    let near = |name: &str, expected: f32| {
        let found = value(&row, name);
        assert!((found - expected).abs() < 0.01, "{name}: {found}, not {expected}");
    };
    near("duration", 10_101_f32.ln());
    near("packets_out", 4_f32.ln());
    near("packets_in", 3_f32.ln());
    near("bytes_out", 239_f32.ln());
    near("payload_in", 41_f32.ln());
    near("length_deviation_out", (1.0 + 13.597_f32).ln());
    near("gap_mean", 2_526_f32.ln());
    near("gap_deviation", (1.0 + 4_214.0_f32).ln());
    near("gap_max", 9_801_f32.ln());
    near("response", 101_f32.ln());
    near("silence", 0.0);
    near("first_payload_out", 33_f32.ln());
    near("first_payload_in", 49_f32.ln());
    near("window_out", 13.875);
    near("syn_count", 1.0);
    near("payload_share", 72.0 / 418.0);
    near("byte_balance", (238.0 - 180.0) / 418.0);
    near("unanswered", 0.0);
    near("established", 1.0);
    near("tcp", 1.0);
    near("port_class", 1.0);
    near("login_service", 1.0);
}

#[test]
fn a_refused_contact_is_unanswered() {
    let mut record = FlowRecord::new(packet(false, 0, 0, 0, 0).key, Timestamp(0));
    record.update(&packet(false, tcp_flags::SYN, 60, 0, 0));
    record.update(&packet(true, tcp_flags::RST | tcp_flags::ACK, 60, 0, 5_000));
    let mut row = [0.0; COUNT];
    write_row(&record, None, Timestamp(5_000), Moment::End, &mut row);
    for (name, expected) in
        [("unanswered", 1.0), ("reset_in", 1.0), ("established", 0.0), ("ended", 1.0), ("closed", 1.0)]
    {
        assert_eq!(value(&row, name), expected, "{name}");
    }
    assert_eq!((value(&row, "refused"), value(&row, "responder_closed")), (1.0, 1.0));
    assert!(row[LOGARITHMS + NUMBERS + MARKS..COUNT - LIFE].iter().all(|value| *value == 0.0), "no talk");
}

#[test]
fn the_fast_logarithm_is_one() {
    for step in 0..40_000 {
        // From what is lost in 1 + x to what overflows, and 0.
        let x = ((f64::from(step) * 0.0026 - 18.5).exp() - (-18.5_f64).exp()) as f32;
        let [found, ..] = ln_1p([x; 16]);
        let exact = f64::from(x).ln_1p();
        let off = (f64::from(found) - exact).abs();
        assert!(off <= 3e-7 * exact.max(1.0), "ln(1 + {x}) is {exact}, not {found}: {off} off");
    }
    assert_eq!(ln_1p([0.0; 16]), [0.0; 16]);
    assert!(ln_1p([f32::MAX])[0].is_finite());
}

proptest! {
    #[test]
    fn rows_are_finite_and_moderate_whatever_came(
        packets in proptest::collection::vec(
            (any::<bool>(), any::<u8>(), any::<u32>(), any::<u32>(), any::<u64>()), 1..100),
        now in any::<u64>(),
    ) {
        let mut record = FlowRecord::new(packet(false, 0, 0, 0, 0).key, Timestamp(packets[0].4));
        let mut row = [f32::NAN; COUNT];
        for (back, flags, wire, payload, time) in packets {
            record.update(&packet(back, flags, wire, payload, time));
            write_row(&record, None, Timestamp(now), Moment::End, &mut row);
            prop_assert!(row.iter().all(|value| value.is_finite() && value.abs() <= 64.0), "{row:?}");
        }
    }

    #[test]
    fn talks_are_finite_and_moderate_whatever_came(
        sizes in proptest::collection::vec((any::<bool>(), any::<u16>(), any::<u32>()), 0..=PACKETS),
        payload in any::<u32>(),
    ) {
        let mut shape = Shape { packets: sizes.len() as u8, ..Shape::default() };
        for (at, (back, length, gap)) in sizes.into_iter().enumerate() {
            (shape.lengths[at], shape.gaps_us[at]) = (length, gap);
            shape.responder |= u16::from(back) << at;
        }
        let values = talk(&shape, payload.into());
        prop_assert!(values.iter().all(|value| (0.0..=25.0).contains(value)), "{values:?}");
    }

    #[test]
    fn rows_of_plausible_flows_stay_between_minus_5_and_25(
        packets in proptest::collection::vec(
            (any::<bool>(), any::<u8>(), 60_u32..9_000, 0_u64..600 * SECOND), 1..100),
    ) {
        let mut time = SECOND;
        let mut record = FlowRecord::new(packet(false, 0, 0, 0, 0).key, Timestamp(time));
        let mut row = [f32::NAN; COUNT];
        for (back, flags, wire, gap) in packets {
            time += gap;
            record.update(&packet(back, flags, wire, wire - 60, time));
        }
        write_row(&record, None, Timestamp(time), Moment::End, &mut row);
        prop_assert!(row.iter().all(|value| (-5.0..=25.0).contains(value)), "{row:?}");
    }

    /// Addresses and client ports do not show in the row.
    #[test]
    fn rows_know_no_identities(a in any::<u32>(), b in any::<u32>(), port in 32_768_u16..) {
        let row_of = |source: u32, source_port: u16, destination: u32| {
            let (key, forward) = FlowKey::v4(source, source_port, destination, 443, 6, 0);
            let mut record = FlowRecord::new(key, Timestamp(7));
            record.update(&Packet { key, direction: forward, ..packet(false, tcp_flags::SYN, 60, 0, 7) });
            let mut row = [0.0; COUNT];
            write_row(&record, None, Timestamp(7), Moment::End, &mut row);
            row
        };
        prop_assert_eq!(row_of(a, port, b), row_of(1, 50_000, 2));
    }
}
