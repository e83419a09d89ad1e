//! For tests: what every parser must stand, and short ways to show it messages.

use super::parse::{Look, Match, Parse, Record, Step, feed};
use crate::dataplane::flow::Side;

/// A look at a datagram of the originator between `ports`.
pub fn datagram(bytes: &[u8], ports: [u16; 2]) -> Look<'_> {
    Look { side: Side::Originator, bytes, is_datagram: true, ports, is_multicast: false, is_begun: [true; 2] }
}

/// A look at the first bytes of a stream of the originator between `ports`.
pub fn stream(bytes: &[u8], ports: [u16; 2]) -> Look<'_> {
    Look { is_datagram: false, ..datagram(bytes, ports) }
}

/// What a fresh parser says to these datagrams.
pub fn show<P: Parse>(datagrams: &[(Side, &[u8])]) -> Record {
    let (mut parser, mut out) = (P::default(), Record::default());
    for (side, bytes) in datagrams {
        if !matches!(parser.step(*side, bytes, &mut out), Step::Took(_) | Step::Pass(_)) {
            break;
        }
    }
    parser.end(&mut out);
    out
}

/// What a fresh parser says to one datagram of the originator.
pub fn show_one<P: Parse>(bytes: &[u8]) -> Record {
    show::<P>(&[(Side::Originator, bytes)])
}

/// Cuts a datagram at every byte, and flips every byte in three ways: probe and parser must come to an end.
pub fn torment_datagram<P: Parse>(bytes: &[u8], ports: [u16; 2], probe: fn(&Look<'_>) -> Match) {
    for end in 0..=bytes.len() {
        probe(&datagram(&bytes[..end], ports));
        show_one::<P>(&bytes[..end]);
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] ^= flip;
            probe(&datagram(&changed, ports));
            show_one::<P>(&changed);
        }
    }
}

/// Events as bytes, to compare.
pub fn plain(out: &Record) -> (Vec<Vec<u8>>, Vec<&'static str>) {
    (out.events.iter().map(|event| event.as_bytes().to_vec()).collect(), out.anomalies.clone())
}

/// Shows a stream in pieces of several sizes, which must all give the same; then cut and flipped at every byte. The probe
/// must not say `No` to any beginning.
pub fn torment_stream<P: Parse>(
    make: fn() -> P,
    bytes: &[u8],
    ports: [u16; 2],
    probe: fn(&Look<'_>) -> Match,
) -> Record {
    let run = |bytes: &[u8], piece: usize| {
        let (mut parser, mut out) = (make(), Record::default());
        feed(&mut parser, Side::Originator, bytes, piece, &mut out);
        parser.end(&mut out);
        out
    };
    let whole = run(bytes, bytes.len().max(1));
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(plain(&run(bytes, piece)), plain(&whole), "pieces of {piece}");
    }
    for end in 1..bytes.len() {
        assert_ne!(probe(&stream(&bytes[..end], ports)), Match::No, "the first {end} bytes");
        run(&bytes[..end], 5);
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0xff;
        probe(&stream(&changed, ports));
        run(&changed, 9);
    }
    whole
}
