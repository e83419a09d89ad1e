use super::*;

#[test]
fn a_buffer_moves_only_when_it_must_and_is_whole_wherever_it_begins() {
    let (mut buffers, mut held) = (Buffers::new(1), Held::default());
    let byte = |place: usize| (place * 31 / 7) as u8;
    let bytes = |from: usize, to: usize| (from..to).map(byte).collect::<Vec<u8>>();
    let mut first = 0;
    for dropped in [1_usize, 63, 64, 65, 5000, 11_000, 16_000, 127] {
        // The last byte of what a buffer can hold, a stretch in its middle, then all.
        let last = first + BUFFER_BYTES;
        assert_eq!(held.put(BUFFER_BYTES as u32 - 1, &bytes(last - 1, last), &mut buffers), Ok(Put::default()));
        assert_eq!(held.behind_hole(&buffers).is_some(), held.in_order() as usize != BUFFER_BYTES);
        assert_eq!(held.count_before(BUFFER_BYTES as u32, &buffers), held.in_order() + u32::from(held.has_hole()));
        let put = held.put(0, &bytes(first, last), &mut buffers).expect("a buffer");
        assert!(!put.differs && put.common > 0);
        assert!(held.waiting(&buffers) == bytes(first, last), "from {first} on");
        held.drop_front(dropped as u32, &mut buffers);
        let half = dropped as u32 / 2;
        assert_eq!(held.count_before(half, &buffers), half.min((BUFFER_BYTES - dropped) as u32));
        first += dropped;
        assert_eq!((held.in_order(), held.has_hole()), ((BUFFER_BYTES - dropped) as u32, false));
    }
    held.clear(&mut buffers);
    assert_eq!((buffers.free(), held.put(5, b"x", &mut buffers)), (1, Ok(Put::default())));
    assert_eq!((held.behind_hole(&buffers), held.in_order()), (Some(5), 0), "nothing is left of what was there before");
}
