use super::*;
use crate::dataplane::decode::Tunnel;
use proptest::prelude::*;
use std::collections::HashMap;

fn fragment(v6: bool, source: u8, destination: u8, ports: (u16, u16), protocol: u8, id: u32, vlan: u32) -> Packet {
    let (key, direction) = if v6 {
        let net = 0x2001_0db8_u128 << 96;
        FlowKey::v6(net | u128::from(source), ports.0, net | u128::from(destination), ports.1, protocol, vlan)
    } else {
        FlowKey::v4(source.into(), ports.0, destination.into(), ports.1, protocol, vlan)
    };
    Packet { key, direction, fragment: true, fragment_id: id, ..Packet::default() }
}

#[test]
fn memory_ends_with_the_time_out_and_the_oldest_gives_way() {
    let settings = FragmentSettings { capacity: WAYS, timeout_ns: 100 };
    let mut table = FragmentTable::new(settings, 7);
    let resolve = |table: &mut FragmentTable, id, now| {
        let mut later = fragment(false, 1, 2, (0, 0), 17, id, 0);
        table.resolve(Decoded::LaterFragment, &mut later, Timestamp(now)).map(|()| later.key.high().port)
    };
    for id in 0..WAYS as u32 {
        let mut first = fragment(false, 1, 2, (1000, 4789), 17, id, 0);
        table.resolve(Decoded::FirstFragment, &mut first, Timestamp(u64::from(id))).unwrap();
    }
    assert_eq!(resolve(&mut table, 0, 100), Ok(4789));
    assert_eq!(resolve(&mut table, 0, 101), Err(Counter::DropFragmentUnknown));
    assert_eq!(resolve(&mut table, 1, 101), Ok(4789));
    // The set is full: one more takes the place of the oldest, and only its place.
    let mut first = fragment(false, 1, 2, (1000, 4789), 17, 99, 0);
    table.resolve(Decoded::FirstFragment, &mut first, Timestamp(50)).unwrap();
    assert_eq!(resolve(&mut table, 0, 50), Err(Counter::DropFragmentUnknown));
    assert!((1..WAYS as u32).chain([99]).all(|id| resolve(&mut table, id, 50).is_ok()));
}

#[test]
fn later_fragments_inherit_the_tunnels_name() {
    let mut table = FragmentTable::new(FragmentSettings::default(), 7);
    let mut first = fragment(false, 9, 2, (1000, 4789), 17, 1, 0);
    first.tunnel = Tunnel::Vxlan;
    table.resolve(Decoded::FirstFragment, &mut first, Timestamp(1)).unwrap();
    let mut later = fragment(false, 9, 2, (0, 0), 17, 1, 0);
    table.resolve(Decoded::LaterFragment, &mut later, Timestamp(1)).unwrap();
    assert_eq!((later.tunnel, later.direction), (Tunnel::Vxlan, Direction::Reverse));
}

#[test]
fn whole_packets_pass_untouched() {
    let mut table = FragmentTable::new(FragmentSettings { capacity: 0, timeout_ns: 1 }, 7);
    let mut packet = fragment(false, 9, 2, (1, 2), 6, 0, 0);
    let key = packet.key;
    table.resolve(Decoded::Flow, &mut packet, Timestamp(0)).unwrap();
    assert_eq!(packet.key, key);
}

#[test]
fn sets_fill_evenly() {
    let table = FragmentTable::new(FragmentSettings { capacity: 64 * WAYS, timeout_ns: 1 }, 3);
    let mut seen = [0_u32; 64];
    for id in 0..6400 {
        let identity = Identity::of(&fragment(false, 1, 2, (0, 0), 17, id, 0));
        seen[identity.hash(&table.secrets) as usize & 63] += 1;
    }
    assert!(seen.iter().all(|count| (50..150).contains(count)), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a plain map: within a set's capacity nothing is forgotten early, and never is a wrong answer given.
    #[test]
    fn answers_are_those_of_a_plain_map(
        seed in any::<u64>(),
        // 2 versions, 4 x 4 hosts, 2 protocols, 8 identifications, 2 VLANs: collisions of all parts are frequent.
        steps in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), 0_u8..4, 0_u8..4, any::<bool>(), 0_u32..8, 0_u32..2, 0_u64..40), 1..300),
    ) {
        let timeout_ns = 500;
        let mut table = FragmentTable::new(FragmentSettings { capacity: 1 << 12, timeout_ns }, seed);
        let mut model: HashMap<_, (FlowKey, Direction, u64)> = HashMap::new();
        let mut now = 0;
        for (is_first, v6, source, destination, udp, id, vlan, pause) in steps {
            now += pause;
            let protocol = if udp { 17 } else { 6 };
            // What RFC 791 and RFC 8200 tell datagrams apart by.
            let identity = (v6, source, destination, if v6 { 0 } else { protocol }, id, vlan);
            if is_first {
                let mut first = fragment(v6, source, destination, (1000 + id as u16, 53), protocol, id, vlan);
                table.resolve(Decoded::FirstFragment, &mut first, Timestamp(now)).unwrap();
                model.insert(identity, (first.key, first.direction, now + timeout_ns));
            } else {
                let mut later = fragment(v6, source, destination, (0, 0), protocol, id, vlan);
                let found = table.resolve(Decoded::LaterFragment, &mut later, Timestamp(now));
                match model.get(&identity).filter(|entry| entry.2 >= now) {
                    Some((key, direction, _)) => {
                        prop_assert_eq!(found, Ok(()));
                        prop_assert_eq!((later.key, later.direction), (*key, *direction));
                    }
                    None => prop_assert_eq!(found, Err(Counter::DropFragmentUnknown)),
                }
            }
        }
    }

    /// Far beyond its capacity the table may forget, but what it says is what the map says.
    #[test]
    fn beyond_capacity_it_forgets_and_never_lies(seed in any::<u64>(), steps in proptest::collection::vec((any::<bool>(), 0_u32..200), 1..400)) {
        let mut table = FragmentTable::new(FragmentSettings { capacity: 16, timeout_ns: 1 << 40 }, seed);
        let mut model = HashMap::new();
        for (now, (is_first, id)) in steps.into_iter().enumerate() {
            let now = Timestamp(now as u64);
            if is_first {
                let mut first = fragment(false, 1, 2, (id as u16, 53), 17, id, 0);
                table.resolve(Decoded::FirstFragment, &mut first, now).unwrap();
                model.insert(id, first.key);
            } else {
                let mut later = fragment(false, 1, 2, (0, 0), 17, id, 0);
                if table.resolve(Decoded::LaterFragment, &mut later, now).is_ok() {
                    prop_assert_eq!(Some(&later.key), model.get(&id));
                }
            }
        }
    }
}
