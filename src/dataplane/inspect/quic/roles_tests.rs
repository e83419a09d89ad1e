use super::super::facts::Facts;
use super::super::inspector::{Event, Inspector, Payload, Settings, Sink};
use super::tests::{answer_to, crypto, hello_to, initial};
use super::*;
use crate::dataplane::decode::{Direction, FlowKey};
use crate::units::Timestamp;

const NAME: &[u8; 14] = b"shrike.example";
const DECOY: &[u8; 14] = b"decoys.example";
const OWN: [u8; 8] = [1; 8];
const OTHER: [u8; 8] = [2; 8];

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Client,
    Server,
}
use By::{Client, Server};

/// The name in a hello.
type Name = Option<Vec<u8>>;
/// An event: the name, the cipher, and who is said to be the originator.
type Told = (Name, Option<u64>, By);

/// What was told: whether an anomaly, and as in [`Told`].
#[derive(Default)]
struct Kept(Vec<(bool, Name, Option<u64>, Direction)>);

impl Sink for Kept {
    fn event(&mut self, event: &Event<'_>) {
        let facts = Facts::from_bytes(event.facts, event.truncated);
        let name = facts.get(HELLO.sni).map(<[u8]>::to_vec);
        self.0.push((event.anomaly.is_some(), name, facts.number(HELLO.cipher), event.originator));
    }
}

/// Shows the datagrams, of which the first makes its sender the flow's originator.
fn run(ports: [u16; 2], datagrams: &[(By, Vec<u8>)]) -> (Vec<Told>, Vec<Name>) {
    let (key, of_client) = FlowKey::v4(0x0a00_0001, ports[0], 0x0a00_0002, ports[1], 17, 0);
    let begins = datagrams[0].0;
    let originator = if begins == Client { of_client } else { of_client.flip() };
    let settings = Settings { flows: 4, buffers: 4, facts: 4, depth: 1 << 16, ..Settings::default() };
    let (mut inspector, mut kept) = (Inspector::new(settings, 4, [1, 2, 3, 4]), Kept::default());
    let (first_seen, time) = (Timestamp(1), Timestamp(5));
    for (by, bytes) in datagrams {
        let side = if *by == begins { Side::Originator } else { Side::Responder };
        let payload = Payload {
            slot: 1,
            key: &key,
            originator,
            first_seen,
            side,
            tcp: None,
            bytes,
            before: &[],
            is_cut: false,
            time,
        };
        let wants = inspector.payload(&payload, &mut kept);
        assert!(wants.payload.iter().all(|wanted| *wanted) || inspector.is_turned(1) == (begins == Server));
    }
    assert_eq!(inspector.is_turned(1), begins == Server, "the flow too is told as it is");
    inspector.end(1, &key, originator, [first_seen, time], &mut kept);
    assert_eq!(inspector.inspected(), 0);
    let by = |direction: Direction| if direction == of_client { Client } else { Server };
    let events = kept.0.iter().filter(|told| !told.0).map(|told| (told.1.clone(), told.2, by(told.3))).collect();
    (events, kept.0.into_iter().filter(|told| told.0).map(|told| told.1).collect())
}

/// A server, or somebody in its name, seals as clients do, in front of the client's hello or behind it: the client is whom the
/// server answers, and until then the one without a server's port, or who came first.
#[test]
fn a_server_that_speaks_as_a_client_is_not_taken_for_one() {
    let seal = |id: &[u8], frames: &[u8]| initial(1, id, b"", Side::Originator, frames, true);
    let pieces = |name: &[u8; 14], id: &[u8], by: By| {
        let hello = hello_to(name);
        [crypto(0, &hello[..60]), crypto(60, &hello[60..])].map(|frames| (by, seal(id, &frames)))
    };
    let hello = (Client, seal(&OWN, &crypto(0, &hello_to(NAME))));
    let [a, b] = pieces(NAME, &OWN, Client);
    let decoy = (Server, seal(&OTHER, &crypto(0, &hello_to(DECOY))));
    let [c, d] = pieces(DECOY, &OTHER, Server);
    let answer = (Server, answer_to(&OWN));
    // The decoy and the answer in one datagram.
    let both = (
        Server,
        [&initial(1, &OTHER, b"", Side::Originator, &crypto(0, &hello_to(DECOY)), false)[..], &answer.1].concat(),
    );
    let (told, other) = (Some(NAME.to_vec()), Some(DECOY.to_vec()));
    let whole = vec![(told.clone(), Some(0x1301), Client)];
    let unanswered = vec![(told.clone(), None, Client)];
    let (known, unknown) = ([50_000, 443], [50_000, 8443]);
    for (name, ports, datagrams, events, anomalies) in [
        ("behind", known, vec![&hello, &decoy, &answer], &whole, vec![&other]),
        ("behind, ports of none", unknown, vec![&hello, &decoy, &answer], &whole, vec![&other]),
        ("in one with the answer", unknown, vec![&hello, &both], &whole, vec![&other]),
        ("in front", known, vec![&decoy, &hello, &answer], &whole, vec![&other]),
        ("in front, ports of none", unknown, vec![&decoy, &hello, &answer], &whole, vec![&told, &other]),
        ("in front of halves", known, vec![&decoy, &a, &b, &answer], &whole, vec![&other]),
        ("in front of halves, ports of none", unknown, vec![&decoy, &a, &b, &answer], &whole, vec![&told, &other]),
        ("between halves", known, vec![&a, &decoy, &b, &answer], &whole, vec![&other]),
        ("halves between", known, vec![&hello, &c, &d, &answer], &whole, vec![&other]),
        ("halves behind each other", known, vec![&c, &a, &d, &b, &answer], &whole, vec![&other]),
        ("again and again", unknown, vec![&decoy, &hello, &decoy, &hello, &answer], &whole, vec![&told, &other]),
        ("no answer", known, vec![&decoy, &hello], &unanswered, vec![&other]),
        ("no answer, behind", unknown, vec![&hello, &decoy], &unanswered, vec![&other]),
        ("the answer first", known, vec![&answer, &hello, &answer], &whole, vec![]),
    ] {
        let datagrams: Vec<_> = datagrams.into_iter().cloned().collect();
        let (found, odd) = run(ports, &datagrams);
        assert_eq!((&found, odd), (events, anomalies.into_iter().cloned().collect()), "{name}");
    }
}

/// Up to three decoys of the server's, whole or in halves, in any order with the client's hello: once the server answers, that is
/// told once, the right way round and with the answer, and no decoy has one.
#[test]
fn no_order_of_decoys_hides_the_client() {
    let seal = |id: u8, frames: &[u8]| initial(1, &[id; 8], b"", Side::Originator, frames, true);
    let forms = |id: u8, name: &[u8; 14]| {
        let hello = hello_to(name);
        [vec![crypto(0, &hello)], vec![crypto(0, &hello[..60]), crypto(60, &hello[60..])]]
            .map(|pieces| pieces.iter().map(|frames| seal(id, frames)).collect::<Vec<_>>())
    };
    let own = forms(OWN[0], NAME);
    let decoys: Vec<_> = (2..5).map(|id| forms(id, DECOY)).collect();
    let mut random = 1_u32;
    let mut below = |count: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize % count
    };
    for round in 0..250 {
        let mut datagrams: Vec<_> = own[below(2)].iter().map(|bytes| (Client, bytes.clone())).collect();
        for decoy in &decoys[..1 + below(3)] {
            datagrams.extend(decoy[below(2)].iter().map(|bytes| (Server, bytes.clone())));
        }
        for at in (1..datagrams.len()).rev() {
            datagrams.swap(at, below(at + 1));
        }
        let order: Vec<_> = datagrams.iter().map(|one| one.0).collect();
        datagrams.push((Server, answer_to(&OWN)));
        let (events, _) = run([50_000, [443, 8443][below(2)]], &datagrams);
        let (of_client, others): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| event.0.as_deref() == Some(&NAME[..]));
        assert_eq!(of_client, [(Some(NAME.to_vec()), Some(0x1301), Client)], "{round}: {order:?}");
        assert!(others.iter().all(|(_, cipher, by)| cipher.is_none() && *by == Server), "{round}: {order:?}");
    }
}
