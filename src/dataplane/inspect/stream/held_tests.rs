use super::super::buffers::BUFFER_BYTES;
use super::*;
use crate::sys::hash::KeyedHash;

#[test]
fn a_buffer_moves_only_when_it_must_and_is_whole_wherever_it_begins() {
    let (mut buffers, mut held) = (Buffers::new(1, KeyedHash::new([1, 2, 3, 4])), Held::default());
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
    assert_eq!((buffers.used(), held.put(5, b"x", &mut buffers)), (0, Ok(Put::default())));
    assert_eq!((held.behind_hole(&buffers), held.in_order()), (Some(5), 0), "nothing is left of what was there before");
}

#[test]
fn what_outgrows_a_small_buffer_is_moved_with_its_holes() {
    let byte = |place: usize| (place * 31 / 7) as u8;
    let bytes = |from: usize, to: usize| (from..to).map(byte).collect::<Vec<u8>>();
    for dropped in [0_usize, 1, 63, 64, 1000] {
        let (mut buffers, mut held) = (Buffers::new(1, KeyedHash::new([1, 2, 3, 4])), Held::default());
        held.put(0, &bytes(0, dropped + 10), &mut buffers).expect("a small one");
        held.put(3000, &bytes(3000, 4000), &mut buffers).expect("the same");
        held.drop_front(dropped as u32, &mut buffers);
        held.put(9000, &bytes(9000 + dropped, 9100 + dropped), &mut buffers).expect("a large one");
        assert_eq!(buffers.used(), 1, "the small one is free again");
        assert_eq!((held.waiting(&buffers), held.end()), (&bytes(dropped, dropped + 10)[..], 9100));
        assert_eq!(held.behind_hole(&buffers), Some(3000 - dropped as u32));
        assert_eq!(held.count_before(9100, &buffers), 10 + 1000 + 100);
        held.put(0, &bytes(dropped, dropped + 9000), &mut buffers).expect("the same");
        assert!(held.waiting(&buffers) == bytes(dropped, dropped + 9100));
    }
}

#[test]
fn who_wrote_longest_ago_gives_way_and_first_of_the_same_source() {
    let put = |held: &mut Held, at: u32, share: u8, buffers: &mut Buffers| {
        buffers.serve(share);
        held.put(at, b"x", buffers).expect("one can be had");
    };
    // Eight small ones; two are a source's share.
    let mut buffers = Buffers::new(2, KeyedHash::new([1, 2, 3, 4]));
    let mut held: Vec<Held> = vec![Held::default(); 10];
    for (share, held) in (0..8).zip(&mut held) {
        put(held, 1, share, &mut buffers);
    }
    put(&mut held[0], 3, 0, &mut buffers);
    put(&mut held[8], 1, 8, &mut buffers);
    let lost = |held: &[Held], buffers: &Buffers| -> Vec<usize> {
        (0..held.len()).filter(|at| held[*at].is_lost(buffers)).collect()
    };
    assert_eq!((lost(&held, &buffers), buffers.taken_away()), (vec![1], 1), "the first one was written to again");
    held[1].clear(&mut buffers);
    assert_eq!(buffers.used(), 8, "what was taken away is not given back");
    put(&mut held[9], 1, 8, &mut buffers);
    assert_eq!(lost(&held, &buffers), [2], "the source of two of eight has not more than its share");
    put(&mut held[1], 1, 8, &mut buffers);
    assert_eq!(lost(&held, &buffers), [2, 8], "and then gives way to itself");
}
