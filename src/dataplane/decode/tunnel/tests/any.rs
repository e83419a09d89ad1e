use super::*;

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let packets = packets().into_iter().filter(|(_, ip)| flow(&frame_of(ip)).0.tunnel == Tunnel::None);
    proptest::sample::select(packets.map(|(_, ip)| ip).collect::<Vec<_>>())
}

fn any_stack() -> impl Strategy<Value = Vec<Around>> {
    let wraps: Vec<_> = wraps()
        .into_iter()
        .filter(|wrap| ![" in gre", " in vxlan"].iter().any(|two| wrap.name.ends_with(two)))
        .map(|wrap| wrap.wrap)
        .collect();
    proptest::collection::vec(proptest::sample::select(wraps), 1..=LEVELS_MAX)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_of_tunnels_change_nothing_about_the_packet(ip in any_packet(), stack in any_stack(), padding in 0_usize..40) {
        let (alone, _) = flow(&frame_of(&ip));
        let mut frame = frame_of(&stack.iter().fold(ip, |ip, wrap| wrap(&ip)));
        frame.resize(frame.len() + padding, 0);
        let (packet, layers) = flow(&frame);
        prop_assert_eq!(tuple(&packet.key, &packet), tuple(&alone.key, &alone));
        prop_assert_eq!((packet.payload_bytes, layers.fault), (alone.payload_bytes, None));
        prop_assert_eq!(layers.outer.depth(), stack.len());
    }

    #[test]
    fn flipped_bytes_and_ends_are_answered(
        ip in any_packet(),
        stack in any_stack(),
        flips in proptest::collection::vec((0_usize..400, any::<u8>()), 0..4),
        end in 0_usize..600,
        beyond in 0_usize..40,
    ) {
        let mut frame = frame_of(&stack.iter().fold(ip, |ip, wrap| wrap(&ip)));
        for (at, value) in flips {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(end.max(20));
        let (decoded, packet, layers) = decode(view(&frame, frame.len() + beyond, LinkType::Ethernet));
        if matches!(decoded, Decoded::Flow | Decoded::FirstFragment | Decoded::LaterFragment) {
            prop_assert!(u32::from(packet.payload_offset) + packet.payload_bytes <= packet.wire_bytes);
            prop_assert!(packet.key.low() <= packet.key.high());
            prop_assert!(packet.key.is_tunnelled() <= (layers.outer.depth() > 0));
            let _ = quoted_flow(ethernet(&frame), &packet);
        }
    }
}
