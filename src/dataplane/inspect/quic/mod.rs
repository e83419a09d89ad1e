//! QUIC as far as anyone on the path can read it: Initial packets of versions 1 (RFC 9000, RFC 9001 section 5) and 2 (RFC
//! 9369) and of the drafts that were deployed, with the ClientHello and ServerHello in them; version negotiation and Retry;
//! Google's versions before the standard for their name and user agent.
//!
//! The keys of Initial packets follow from the client's first connection id, so they are decrypted here, on the stack.
//! Deliberately not read: anything after (0-RTT, Handshake, 1-RTT), transport parameters, connection migration.
//!
//! A ClientHello may come in pieces, out of order, over several datagrams. It is read from front to back as it comes, whatever
//! its length; what comes ahead of a hole, or again, waits in a [`Scratch`], kept by whoever keeps flows: [`State::step_with`]
//! takes one, [`State::wants_scratch`] tells whether it is still wanted. [`Parse::step`] goes without: it reads what comes in
//! order. Of bytes that contradict each other the first stay, as at servers that do not end the connection, and that is told.
//!
//! One event per connection: when the server answered, or at the end; anybody can seal an Initial packet, so one with another
//! connection id and its own keys belongs to another connection beside the first ([`HELLO_REPEATED`]), as at a receiver (RFC 9000
//! section 5.2): their handshake bytes are held apart, and the one whose hello is whole is told. Who seals as clients do need not
//! be the client: where both sides do ([`HELLO_OF_BOTH_SIDES`]), he is whom the other one answers (`roles`). Of a hello that
//! stayed in pieces the event is `truncated` and has no `client_version`, so that nobody takes a fingerprint of it.
//!
//! | bounded | by |
//! | --- | --- |
//! | Initial packets of the client until its hello is whole | `INITIALS_MAX`: `too_many_packets` |
//! | datagrams after it until the server's is | `ANSWERS_MAX` |
//! | packets of the server's in a datagram that are tried as a client's | `TRIES` |
//! | packets looked at in a datagram | `COALESCED_MAX`: `too_many_packets` |
//! | bytes of a packet that is decrypted | `PACKET_MAX`, on the stack: `packet_too_long` |
//! | bytes of a hello ahead of a hole | `SCRATCH_BYTES` without `BEHIND_MAX`: `crypto_too_far_ahead` |
//! | connections whose hellos are held apart | four, 4 KiB of each: `hello_given_up` |
//!
//! | EVE | fact |
//! | --- | --- |
//! | `quic.version` | `quic_version` (1 `1`, 0x6b3343cf `2`, 0xff00001d.. `draft-29`, `Q043` as its letters) |
//! | `quic.sni` | `sni` |
//! | `quic.ua` | `user_agent` |
//! | `quic.extensions` | `client_extensions` for the types, `client_alpn` for the values of 16, `sni` of 0 |
//! | `quic.ja3`, `quic.ja3s`, `quic.ja4` | the functions of `tls::fingerprint` with [`HELLO`] |

mod answer;
mod frames;
mod google;
mod header;
mod keys;
mod others;
mod probe;
mod roles;
#[cfg(test)]
mod roles_tests;
#[cfg(test)]
pub(super) mod tests;

pub(super) use google::TAGS_MAX;
pub use keys::seal;
pub use probe::probe;
pub(super) use roles::TRIES;

use super::facts::Fact;
use super::parse::{Anomaly, Look, Output, Parse, Step};
use super::protocol::Protocol;
use super::scratch::Scratch;
use super::tls::walk::{PIECE_MAX, Walk};
use super::tls::{self, HELLO_COUNT, HelloFacts};
use crate::dataplane::flow::Side;
use header::{CID_MAX, Kind, Packet};

/// What the hellos said.
pub const HELLO: HelloFacts = HelloFacts::of(Protocol::Quic);
/// Version field of the client's packets.
pub const QUIC_VERSION: Fact = Fact::number(Protocol::Quic, 40, "quic_version");
/// User agent in Google's handshake.
pub const USER_AGENT: Fact = Fact::text(Protocol::Quic, 41, "user_agent", 128);
/// 1: the server refused the version and named others.
pub const NEGOTIATION: Fact = Fact::number(Protocol::Quic, 42, "version_negotiation");
/// 1: the server asked for the hello again with a token.
pub const RETRY: Fact = Fact::number(Protocol::Quic, 43, "retry");
/// Error code of a CONNECTION_CLOSE in an Initial packet; 0x100 and an alert of TLS where the handshake failed.
pub const CLOSE: Fact = Fact::number(Protocol::Quic, 44, "close_code");

const OTHERS: [Fact; 5] = [QUIC_VERSION, USER_AGENT, NEGOTIATION, RETRY, CLOSE];

/// All facts of QUIC.
pub const FACTS: &[Fact] = &{
    let mut all = [QUIC_VERSION; HELLO_COUNT as usize + OTHERS.len()];
    let (head, tail) = all.split_at_mut(HELLO_COUNT as usize);
    head.copy_from_slice(&HELLO.all());
    tail.copy_from_slice(&OTHERS);
    all
};

/// The client's handshake bytes are no ClientHello, or lengths within do not fit.
pub const BAD_HELLO: Anomaly = Anomaly::new(Protocol::Quic, 1, "bad_hello");
/// The client's first packet is no Initial packet of its version: its tag is wrong.
pub const UNAUTHENTIC: Anomaly = Anomaly::new(Protocol::Quic, 2, "unauthentic_initial");
/// The same extension twice in a hello.
pub const DUPLICATE_EXTENSION: Anomaly = Anomaly::new(Protocol::Quic, 3, "duplicate_extension");
/// The server chose a cipher suite that the client did not offer.
pub const CIPHER_NOT_OFFERED: Anomaly = Anomaly::new(Protocol::Quic, 4, "cipher_not_offered");

/// The client begins once more, with another connection id, before the server answered: one of the two may be a decoy that never
/// reached it. Each whose hello is whole is an event of its own.
pub const HELLO_REPEATED: Anomaly = Anomaly::new(Protocol::Quic, 5, "hello_repeated");

/// Handshake bytes contradict those that came before at the same place: the first stay.
pub const OVERLAP_DIFFERENT: Anomaly = Anomaly::new(Protocol::Quic, 6, "overlap_different_data");
/// A ClientHello longer than a record of TLS can be, as no client sends one.
pub const HELLO_TOO_LONG: Anomaly = Anomaly::new(Protocol::Quic, 7, "hello_too_long");
/// Handshake bytes further ahead of a hole than are kept.
pub const TOO_FAR_AHEAD: Anomaly = Anomaly::new(Protocol::Quic, 8, "crypto_too_far_ahead");
/// More packets in a datagram, or of the client without a whole hello, than are read.
pub const TOO_MANY_PACKETS: Anomaly = Anomaly::new(Protocol::Quic, 9, "too_many_packets");
/// An Initial packet longer than is decrypted.
pub const PACKET_TOO_LONG: Anomaly = Anomaly::new(Protocol::Quic, 10, "packet_too_long");
/// What cannot stand in an Initial packet: its receiver ends the connection (RFC 9000 section 12.4).
pub const BAD_FRAME: Anomaly = Anomaly::new(Protocol::Quic, 11, "bad_frame");
/// A hello was left unread for others with other connection ids.
pub const HELLO_GIVEN_UP: Anomaly = Anomaly::new(Protocol::Quic, 12, "hello_given_up");
/// A Retry whose tag is wrong (RFC 9001 section 5.8): clients drop it, and it is not believed here.
pub const UNAUTHENTIC_RETRY: Anomaly = Anomaly::new(Protocol::Quic, 13, "unauthentic_retry");

/// Both sides sent a ClientHello, of which one is a decoy: the facts are those of the one that is held to be it.
pub const HELLO_OF_BOTH_SIDES: Anomaly = Anomaly::new(Protocol::Quic, 14, "hello_of_both_sides");

/// All anomalies of QUIC.
pub const ANOMALIES: &[Anomaly] = &[
    BAD_HELLO,
    UNAUTHENTIC,
    DUPLICATE_EXTENSION,
    CIPHER_NOT_OFFERED,
    HELLO_REPEATED,
    OVERLAP_DIFFERENT,
    HELLO_TOO_LONG,
    TOO_FAR_AHEAD,
    TOO_MANY_PACKETS,
    PACKET_TOO_LONG,
    BAD_FRAME,
    HELLO_GIVEN_UP,
    UNAUTHENTIC_RETRY,
    HELLO_OF_BOTH_SIDES,
];

/// Initial packets of the client that are decrypted until its hello is whole. A hello with a post-quantum key comes in two; the
/// others are of those who want to hide it: as much of them as of a stream of TCP is read.
pub(super) const INITIALS_MAX: u16 = 1024;
/// Datagrams of both sides that are looked at after the client's hello until the server's is whole.
pub(super) const ANSWERS_MAX: u16 = 64;
/// Packets that are looked at in one datagram; the shortest Initial packet has 38 bytes.
pub(super) const COALESCED_MAX: usize = 64;
/// Bytes of the hello that were read and are still compared with what comes again.
const BEHIND_MAX: usize = 4096;
/// Bytes of a packet that is decrypted; Ethernet's 1500 and what jumbo frames of loopback captures have.
pub(super) const PACKET_MAX: usize = 4096;

/// One QUIC connection.
#[derive(Debug, Default)]
pub struct State {
    /// Destination id of the client's first Initial packet (or of the one after Retry), from which the keys follow.
    cid: [u8; CID_MAX],
    cid_length: u8,
    version: u32,
    /// Who is the client, as far as is known; sides are the ones of the flow's beginning.
    client: Option<Side>,
    /// The client's hello, and how much of its handshake bytes was read.
    walk: Walk,
    read: u32,
    /// Digest of them, once the hello was whole: what comes again is compared with it. 0: there is none.
    digest: u32,
    /// Initial packets of the client, until its hello was whole; then datagrams.
    packets: u16,
    /// Anomalies that were told: a bit for each.
    told: u16,
    /// What happened: a bit for each of [`mark`].
    marks: u16,
}

const _: () = assert!(size_of::<State>() <= 68 && ANOMALIES.len() < 16);

/// Bits of [`State::marks`].
mod mark {
    pub const NEGOTIATED: u16 = 1;
    pub const RETRIED: u16 = 1 << 1;
    /// The scratch is for the server's hello.
    pub const SERVERS: u16 = 1 << 2;
    pub const KEEPS_SCRATCH: u16 = 1 << 3;
    pub const OVER: u16 = 1 << 4;
    /// The client's hello was whole.
    pub const HELLO: u16 = 1 << 5;
    /// The server answered it, and that was told; others are still unread.
    pub const TOLD: u16 = 1 << 6;
    /// [`super::HELLO_REPEATED`] was told.
    pub const REPEATED: u16 = 1 << 7;
    /// A hello of the side that is not the client is kept beside.
    pub const BESIDE: u16 = 1 << 8;
    /// The originator is the responder to whoever shows the datagrams.
    pub const TURNED: u16 = 1 << 9;
    /// By its port, and the other's, this side is the server.
    pub const ORIGINATOR_SERVES: u16 = 1 << 10;
    pub const RESPONDER_SERVES: u16 = 1 << 11;
}

/// How a datagram was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Read<'a> {
    /// All is known.
    Over,
    /// Others may follow.
    On,
    /// The side has another role from here on.
    Turned(&'a [u8]),
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        let serves = look.ports.map(|port| (1..1024).contains(&port)); // system ports (RFC 6335 section 6)
        self.mark(mark::ORIGINATOR_SERVES, serves == [true, false]);
        self.mark(mark::RESPONDER_SERVES, serves == [false, true]);
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.step_with(side, bytes, None, out)
    }

    fn end(&mut self, out: &mut dyn Output) {
        self.event(out);
    }
}

impl State {
    /// As [`Parse::step`], with a scratch that lasts from datagram to datagram.
    pub fn step_with(&mut self, side: Side, bytes: &[u8], scratch: Option<&mut Scratch>, out: &mut dyn Output) -> Step {
        let side = if self.is(mark::TURNED) { side.other() } else { side };
        if self.is(mark::OVER) {
            return Step::Done;
        }
        let mut own = None;
        let scratch = scratch.unwrap_or_else(|| own.insert(Scratch::passing()));
        let read = match self.read(side, bytes, scratch, out) {
            Read::Turned(rest) => self.read(side, rest, scratch, out), // once a datagram
            read => read,
        };
        let is_over = read == Read::Over;
        if is_over && scratch.has_others() {
            self.tell_once(HELLO_GIVEN_UP, out);
        }
        let is_unread = if self.is(mark::HELLO) { !scratch.is_empty() } else { scratch.is_used() };
        let is_one_of_many = scratch.has_alias() || scratch.is_split(); // it says which
        self.mark(mark::KEEPS_SCRATCH, !is_over && (is_unread || is_one_of_many));
        if is_over {
            self.mark(mark::OVER, true);
            self.event(out);
            return Step::Done;
        }
        Step::Took(bytes.len())
    }

    fn read<'a>(&mut self, side: Side, bytes: &'a [u8], scratch: &mut Scratch, out: &mut dyn Output) -> Read<'a> {
        if self.client.is_none_or(|client| client == side) {
            return self.client(side, bytes, scratch, out);
        }
        match self.server(side, bytes, scratch, out) {
            Read::Over if self.waits_for_others(scratch, out) => Read::On,
            read => read,
        }
    }

    /// There is something in it that was not read, or it tells several connections apart.
    pub fn wants_scratch(&self) -> bool {
        self.is(mark::KEEPS_SCRATCH)
    }

    fn is(&self, mark: u16) -> bool {
        self.marks & mark != 0
    }

    fn mark(&mut self, mark: u16, is_so: bool) {
        self.marks = self.marks & !mark | if is_so { mark } else { 0 };
    }

    /// Tells what is known; of a hello that was not seen whole as what it is.
    fn event(&self, out: &mut dyn Output) {
        let is_of_tls = self.version != keys::Q050 && !keys::is_forcing(self.version);
        if !self.is(mark::HELLO) && self.cid_length > 0 && is_of_tls {
            out.facts().mark_truncated();
        }
        out.event();
    }

    /// Once a connection.
    #[cold]
    fn tell_once(&mut self, anomaly: Anomaly, out: &mut dyn Output) {
        let bit = 1 << anomaly.index; // below 16
        if self.told & bit == 0 {
            self.told |= bit;
            out.anomaly(anomaly);
        }
    }

    fn cid(&self) -> &[u8] {
        self.cid.get(..usize::from(self.cid_length)).unwrap_or_default()
    }

    fn set_cid(&mut self, cid: &[u8]) {
        if let Some(place) = self.cid.get_mut(..cid.len()) {
            place.copy_from_slice(cid);
            self.cid_length = cid.len() as u8; // at most CID_MAX
        }
    }

    /// Forgets what was read of a hello, and begins its event.
    fn start(&self, out: &mut dyn Output) {
        let facts = out.facts();
        facts.clear();
        facts.put_number(QUIC_VERSION, u64::from(self.version));
        for (fact, _) in
            [(NEGOTIATION, self.is(mark::NEGOTIATED)), (RETRY, self.is(mark::RETRIED))].iter().filter(|one| one.1)
        {
            facts.put_number(*fact, 1);
        }
    }

    /// A datagram of the client.
    fn client<'a>(&mut self, side: Side, bytes: &'a [u8], scratch: &mut Scratch, out: &mut dyn Output) -> Read<'a> {
        let over = |is_over: bool| if is_over { Read::Over } else { Read::On };
        if let Some(version) = google::version(bytes).filter(|version| *version != keys::Q050) {
            return over(self.google(side, version, bytes, out));
        }
        let mut rest = bytes;
        for at in 0..COALESCED_MAX {
            let Some(packet) = header::read(rest) else { break };
            let is_initial = packet.kind == Kind::Initial;
            if is_initial && at == 0 && self.is(mark::BESIDE) && self.is_answer(side, rest, &packet, scratch, out) {
                return Read::Turned(rest);
            }
            let is_next = is_initial && self.is_next_try(&packet);
            let is_own = is_initial && (is_next || !self.is_of_another(side, rest, &packet, scratch, out));
            if is_own && !self.is(mark::HELLO) {
                if !self.client_initial(side, rest, &packet, scratch, out) {
                    return Read::Over;
                }
            } else if is_own {
                self.compare_packet(rest, &packet, scratch, out);
            }
            rest = rest.get(packet.total..).unwrap_or_default();
        }
        let is_too_many = self.packets > INITIALS_MAX;
        if (header::read(rest).is_some() || is_too_many) && !self.is(mark::HELLO) {
            self.tell_once(TOO_MANY_PACKETS, out);
        }
        over(is_too_many || self.is(mark::HELLO) && self.count_answer(out)) // a server that never answers
    }

    /// Google's handshake in the clear, unless there is one of QUIC.
    fn google(&mut self, side: Side, version: u32, bytes: &[u8], out: &mut dyn Output) -> bool {
        if self.cid_length == 0 && !self.is(mark::HELLO) {
            self.version = version;
            self.set_client(side, out);
            self.start(out);
            let is_whole = google::hello(bytes, out.facts()).is_some();
            self.mark(mark::HELLO, is_whole);
        }
        self.count_answer(out)
    }

    /// An Initial packet of the client behind its whole hello.
    fn compare_packet(&mut self, bytes: &[u8], packet: &Packet<'_>, scratch: &mut Scratch, out: &mut dyn Output) {
        if self.is(mark::SERVERS) || packet.dcid != self.cid() {
            return;
        }
        let mut place = [0; PACKET_MAX];
        if let Some(plain) = self.open(bytes, packet, Side::Originator, &mut place) {
            self.compare(plain, scratch, out);
        }
    }

    /// What comes behind the whole hello: the same again, or else one of the two was a decoy.
    fn compare(&mut self, plain: &[u8], scratch: &mut Scratch, out: &mut dyn Output) {
        if self.is(mark::SERVERS) {
            return;
        }
        let mut is_different = frames::sort(plain, scratch).put.is_different;
        if let (true, Some(digest)) = (self.digest != 0, scratch.digest(self.read as usize)) {
            is_different |= digest != self.digest;
            scratch.clear_lane();
        }
        if is_different {
            self.tell_once(OVERLAP_DIFFERENT, out);
        }
    }

    /// The client begins anew with a version that the server has.
    fn is_next_try(&mut self, packet: &Packet<'_>) -> bool {
        let is_next = self.is(mark::NEGOTIATED) && packet.version != self.version && keys::is_known(packet.version);
        if is_next {
            self.cid_length = 0;
            self.mark(mark::SERVERS | mark::HELLO | mark::TOLD, false);
        }
        is_next
    }

    /// Counts a datagram in which there may be an answer: too many of them?
    fn count_answer(&mut self, out: &mut dyn Output) -> bool {
        self.packets = self.packets.saturating_add(1);
        let is_over = self.packets > ANSWERS_MAX;
        if is_over {
            out.limit();
        }
        is_over
    }

    /// An Initial packet of the client. Gives whether to go on.
    fn client_initial(
        &mut self,
        side: Side,
        bytes: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> bool {
        self.packets = self.packets.saturating_add(1);
        if self.packets > INITIALS_MAX {
            self.tell_once(TOO_MANY_PACKETS, out);
            return false;
        }
        let is_first = self.cid_length == 0;
        if is_first {
            scratch.restart(others::label(packet.version, packet.dcid, side));
            (self.version, self.read) = (packet.version, 0);
            self.set_cid(packet.dcid);
            self.start(out);
        }
        if packet.total > PACKET_MAX {
            self.tell_once(PACKET_TOO_LONG, out);
        }
        let mut place = [0; PACKET_MAX];
        let Some(plain) = self.open(bytes, packet, Side::Originator, &mut place) else {
            if keys::is_forcing(packet.version) {
                self.set_client(side, out); // there is no telling how, and the server will refuse it
                return true;
            }
            if is_first {
                self.cid_length = 0; // servers drop it too, and the client's own may follow
            }
            if is_first
                && self.packets == 1
                && packet.total <= PACKET_MAX
                && self.client.is_none()
                && side == Side::Originator
                && !self.is(mark::ORIGINATOR_SERVES)
                && keys::is_known(packet.version)
            {
                out.anomaly(UNAUTHENTIC);
            }
            return true;
        };
        self.set_client(side, out);
        if packet.version == keys::Q050 {
            return google::hello(plain, out.facts()).is_none();
        }
        self.handshake(plain, scratch, out);
        true
    }

    /// Frames of the client's packet.
    fn handshake(&mut self, plain: &[u8], scratch: &mut Scratch, out: &mut dyn Output) {
        self.forget(scratch);
        let sorted = frames::sort(plain, scratch);
        if let Some(code) = sorted.close {
            out.facts().put_number(CLOSE, code);
        }
        let found = [
            (sorted.put.is_different, OVERLAP_DIFFERENT),
            (sorted.put.is_beyond, TOO_FAR_AHEAD),
            (sorted.is_bad, BAD_FRAME),
        ];
        for (_, anomaly) in found.iter().filter(|one| one.0) {
            self.tell_once(*anomaly, out);
        }
        self.read_hello(scratch, out);
    }

    /// Moves the window of the scratch on to what was read.
    fn forget(&self, scratch: &mut Scratch) {
        scratch.forget((self.read as usize).saturating_sub(BEHIND_MAX));
    }

    fn open<'a>(
        &self,
        bytes: &[u8],
        packet: &Packet<'_>,
        from: Side,
        place: &'a mut [u8; PACKET_MAX],
    ) -> Option<&'a [u8]> {
        open_as(bytes, packet, (self.version, self.cid()), from, place)
    }

    /// Reads on in the hello, as far as there is no hole. Once it is whole a digest of its bytes is enough. (Of one that is longer
    /// than what is kept of it the last bytes stay.)
    fn read_hello(&mut self, scratch: &mut Scratch, out: &mut dyn Output) {
        match self.walk_on(scratch, out) {
            Some(is_whole) => {
                self.digest = if is_whole { scratch.digest(self.read as usize).unwrap_or(0) } else { 0 };
                if self.digest != 0 {
                    scratch.clear_lane();
                }
            }
            None => {
                // Its receiver drops the connection, and the client's own may follow.
                self.tell_once(BAD_HELLO, out);
                (self.cid_length, self.read) = (0, 0);
                scratch.clear_lane();
            }
        }
    }

    /// Gives whether the hello is whole now; `None`: it is none.
    fn walk_on(&mut self, scratch: &mut Scratch, out: &mut dyn Output) -> Option<bool> {
        if self.read == 0 {
            let mut head = [0; tls::MESSAGE_HEADER];
            if !scratch.copy(0, &mut head) {
                return Some(false);
            }
            let [tls::message::CLIENT_HELLO, lengths @ ..] = head else { return None };
            let length = tls::length_of(lengths);
            if length > tls::CLEAR_MAX {
                self.tell_once(HELLO_TOO_LONG, out);
            }
            (self.walk, self.read) = (Walk::new(length, false), head.len() as u32);
        }
        let mut piece = [0; PIECE_MAX];
        while let Some(wanted) = self.walk.wants() {
            let Some(piece) = piece.get_mut(..wanted) else { break };
            if !scratch.copy(self.read as usize, piece) {
                return Some(false);
            }
            let behind = self.walk.read(piece, &HELLO, out.facts());
            self.read += (wanted + behind) as u32; // at most the length, 24 bits
            self.forget(scratch);
        }
        self.end_hello(out);
        Some(true)
    }

    fn end_hello(&mut self, out: &mut dyn Output) {
        // Where facts were sent in parts for want of room there is no fingerprint of the last.
        let is_whole = out.facts().get(QUIC_VERSION).is_some();
        let seen = self.walk.end(!is_whole, &HELLO, out.facts());
        self.mark(mark::HELLO, true);
        self.packets = 0;
        for (_, anomaly) in
            [(seen.is_bad, BAD_HELLO), (seen.has_duplicates, DUPLICATE_EXTENSION)].iter().filter(|one| one.0)
        {
            out.anomaly(*anomaly);
        }
    }
}

/// Takes the protection off with the keys of this version and id.
fn open_as<'a>(
    bytes: &[u8],
    packet: &Packet<'_>,
    (version, cid): (u32, &[u8]),
    from: Side,
    place: &'a mut [u8; PACKET_MAX],
) -> Option<&'a [u8]> {
    let place = place.get_mut(..packet.total)?;
    place.copy_from_slice(bytes.get(..packet.total)?);
    keys::open(place, packet.number_at, version, cid, from)
}
