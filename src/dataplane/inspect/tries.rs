//! What every parser of a stream is put through in tests.

use super::facts::{Fact, Facts, Kind, number};
use super::parse::{Parse, Record, Step, feed};
use crate::dataplane::flow::Side;

pub(super) const C: Side = Side::Originator;
pub(super) const S: Side = Side::Responder;

/// A conversation, each turn made of whole units.
pub(super) type Turns<'a> = &'a [(Side, &'a [u8])];

/// Events as `name=value name=value`, and anomalies; the same for every cutting of the turns, or it panics.
pub(super) fn talk<P: Parse>(turns: Turns<'_>, facts: &[&[Fact]]) -> (Vec<String>, Vec<&'static str>) {
    let whole = run::<P>(turns, usize::MAX, facts);
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(run::<P>(turns, piece, facts), whole, "pieces of {piece}");
    }
    whole
}

fn run<P: Parse>(turns: Turns<'_>, piece: usize, facts: &[&[Fact]]) -> (Vec<String>, Vec<&'static str>) {
    let (mut parser, mut out, mut over) = (P::default(), Record::default(), [false; 2]);
    for (side, bytes) in turns {
        if !over[*side as usize] {
            match feed(&mut parser, *side, bytes, piece.min(bytes.len().max(1)), &mut out) {
                Step::Done => over[*side as usize] = true,
                Step::Broken(anomaly) => {
                    out.anomalies.push(anomaly.name);
                    over = [true; 2];
                }
                _ => {}
            }
        }
    }
    parser.end(&mut out);
    (out.events.iter().map(|event| show(event, facts)).collect(), out.anomalies)
}

/// One event as text.
pub(super) fn show(event: &Facts, facts: &[&[Fact]]) -> String {
    let values = Facts::read(event.as_bytes()).map(|one| {
        let fact =
            facts.iter().copied().flatten().find(|fact| (fact.protocol as u8, fact.index) == (one.protocol, one.index));
        let fact = fact.expect("a fact that is in the list");
        match fact.kind {
            Kind::Number => format!("{}={}", fact.name, number(one.value)),
            Kind::Text => format!("{}={}", fact.name, String::from_utf8_lossy(one.value)),
            Kind::Address | Kind::Bytes => format!("{}={:02x?}", fact.name, one.value),
        }
    });
    values.collect::<Vec<_>>().join(" ")
}

/// Cuts the conversation at every byte and spoils every byte: nothing panics, everything ends.
pub(super) fn spoil<P: Parse>(turns: Turns<'_>) {
    for (index, (side, bytes)) in turns.iter().enumerate() {
        for at in 0..bytes.len() {
            let mut cut: Vec<(Side, Vec<u8>)> = turns.iter().map(|(side, bytes)| (*side, bytes.to_vec())).collect();
            cut[index].1.truncate(at);
            drive::<P>(&cut);
            for mask in [0xff, 0x20, 0x01, 0x80] {
                cut[index] = (*side, bytes.to_vec());
                cut[index].1[at] ^= mask;
                drive::<P>(&cut);
            }
        }
    }
}

fn drive<P: Parse>(turns: &[(Side, Vec<u8>)]) {
    let (mut parser, mut out, mut over) = (P::default(), Record::default(), [false; 2]);
    let mut rest: [Vec<u8>; 2] = Default::default();
    let mut skip = [0_u64; 2];
    for (side, bytes) in turns {
        let (rest, skip) = (&mut rest[*side as usize], &mut skip[*side as usize]);
        let passed = bytes.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
        *skip -= passed as u64;
        parser.passed(*side, passed as u64, &mut out);
        rest.extend_from_slice(&bytes[passed..]);
        while !rest.is_empty() && !over[*side as usize] {
            match parser.step(*side, rest, &mut out) {
                Step::Took(count) | Step::Pass(count) => {
                    assert!(count > 0 && count <= rest.len());
                    rest.drain(..count);
                }
                Step::Skip(count) => {
                    assert!(count > 0);
                    let here = rest.len().min(usize::try_from(count).unwrap_or(usize::MAX));
                    rest.drain(..here);
                    *skip = count - here as u64;
                }
                Step::Need(count) => {
                    assert!(count > rest.len());
                    break;
                }
                Step::Done => over[*side as usize] = true,
                Step::Broken(_) => over = [true; 2],
            }
        }
    }
    parser.end(&mut out);
}

/// Indices and names of facts and anomalies are unambiguous.
pub(super) fn unambiguous(facts: &[Fact], anomalies: &[super::parse::Anomaly]) {
    for (at, one) in facts.iter().enumerate() {
        assert!(facts[..at].iter().all(|other| other.index != one.index && other.name != one.name), "{}", one.name);
    }
    for (at, one) in anomalies.iter().enumerate() {
        assert!(anomalies[..at].iter().all(|other| other.index != one.index && other.name != one.name), "{}", one.name);
    }
}
