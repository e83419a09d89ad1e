//! QUIC as far as anyone on the path can read it: Initial packets of versions 1 (RFC 9000, RFC 9001 section 5) and 2 (RFC
//! 9369) and of the drafts that were deployed, with the ClientHello and ServerHello in them; version negotiation and Retry;
//! Google's versions before the standard for their name and user agent.
//!
//! The keys of Initial packets follow from the client's first connection id, so they are decrypted here, on the stack.
//! Deliberately not read: anything after (0-RTT, Handshake, 1-RTT), transport parameters, connection migration.
//!
//! A ClientHello may come in pieces, out of order, over several datagrams. What must outlive a datagram is a [`Scratch`]
//! (4.6 KB), kept by whoever keeps flows: [`State::step_with`] takes one, [`State::wants_scratch`] tells whether it is still
//! wanted. [`Parse::step`] goes without: it reads hellos that come whole in one datagram, and of others what stands first.
//!
//! One event per connection: when the server answered, or at the end; anybody can seal an Initial packet, so one with another
//! connection id and its own keys begins another connection beside the first ([`HELLO_REPEATED`]). Of a hello that stayed in pieces the event has no
//! `client_version`, so that nobody takes a fingerprint of it.
//!
//! | bounded | by |
//! | --- | --- |
//! | Initial packets of the client, datagrams of the server | `PACKETS_MAX` |
//! | packets looked at in a datagram | `COALESCED_MAX` |
//! | bytes of a packet that is decrypted | `PACKET_MAX`, on the stack |
//! | bytes of a hello | `SCRATCH_BYTES` |
//!
//! | EVE | fact |
//! | --- | --- |
//! | `quic.version` | `quic_version` (1 `1`, 0x6b3343cf `2`, 0xff00001d.. `draft-29`, `Q043` as its letters) |
//! | `quic.sni` | `sni` |
//! | `quic.ua` | `user_agent` |
//! | `quic.extensions` | `client_extensions` for the types, `client_alpn` for the values of 16, `sni` of 0 |
//! | `quic.ja3`, `quic.ja3s`, `quic.ja4` | the functions of `tls::fingerprint` with [`HELLO`] |

mod frames;
mod google;
mod header;
mod keys;
mod probe;
#[cfg(test)]
mod tests;

pub use keys::seal;
pub use probe::probe;

use super::facts::Fact;
use super::parse::{Anomaly, Output, Parse, Step};
use super::protocol::Protocol;
use super::scratch::Scratch;
use super::tls::{self, HELLO_COUNT, HelloFacts, hello};
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
/// reached it. Each is an event of its own.
pub const HELLO_REPEATED: Anomaly = Anomaly::new(Protocol::Quic, 5, "hello_repeated");

/// All anomalies of QUIC.
pub const ANOMALIES: &[Anomaly] = &[BAD_HELLO, UNAUTHENTIC, DUPLICATE_EXTENSION, CIPHER_NOT_OFFERED, HELLO_REPEATED];

/// Initial packets of the client that are decrypted, and datagrams of the server that are read until its hello is whole; a
/// client's hello with a post-quantum key comes in two.
const PACKETS_MAX: u8 = 12;
/// Packets that are looked at in one datagram.
const COALESCED_MAX: usize = 8;
/// Bytes of a packet that is decrypted; Ethernet's 1500 and what jumbo frames of loopback captures have.
const PACKET_MAX: usize = 4096;

/// One QUIC connection.
#[derive(Debug, Default)]
pub struct State {
    /// Destination id of the client's first Initial packet (or of the one after Retry), from which the keys follow.
    cid: [u8; CID_MAX],
    cid_length: u8,
    version: u32,
    client: Option<Side>,
    /// Initial packets decrypted, of client and server.
    packets: [u8; 2],
    has_hello: bool,
    was_negotiated: bool,
    was_retried: bool,
    is_over: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.step_with(side, bytes, None, out)
    }
}

impl State {
    /// As [`Parse::step`], with a scratch that lasts from datagram to datagram.
    pub fn step_with(&mut self, side: Side, bytes: &[u8], scratch: Option<&mut Scratch>, out: &mut dyn Output) -> Step {
        let is_server = self.client.is_some_and(|client| client != side);
        if self.is_over {
            return Step::Done;
        }
        let mut own = None;
        let scratch = scratch.unwrap_or_else(|| own.insert(Scratch::default()));
        let is_over = match is_server {
            true => self.server(bytes, scratch, out),
            false => self.client(side, bytes, scratch, out),
        };
        if is_over {
            self.is_over = true;
            out.event();
            return Step::Done;
        }
        Step::Took(bytes.len())
    }

    /// Not all is known yet.
    pub fn wants_scratch(&self) -> bool {
        !self.is_over
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
        for (fact, _) in [(NEGOTIATION, self.was_negotiated), (RETRY, self.was_retried)].iter().filter(|one| one.1) {
            facts.put_number(*fact, 1);
        }
    }

    /// A datagram of the client. Gives whether all is known.
    fn client(&mut self, side: Side, bytes: &[u8], scratch: &mut Scratch, out: &mut dyn Output) -> bool {
        if let Some(version) = google::version(bytes).filter(|version| *version != keys::Q050) {
            (self.version, self.client) = (version, Some(side));
            self.start(out);
            return google::hello(bytes, out.facts()).is_some() || self.count(0);
        }
        let mut rest = bytes;
        for _ in 0..COALESCED_MAX {
            let Some(packet) = header::read(rest) else { break };
            let is_initial = packet.kind == Kind::Initial;
            if is_initial {
                self.begin_anew(rest, &packet, out);
            }
            let is_new = is_initial && (self.is_next_try(&packet) || !self.has_hello);
            if is_new && !self.client_initial(side, rest, &packet, scratch, out) {
                return true;
            }
            rest = rest.get(packet.total..).unwrap_or_default();
        }
        self.has_hello && self.count(0) // a server that never answers
    }

    /// An Initial packet with another connection id that its own keys open is another beginning. (Once the server has spoken
    /// the client uses an id of the server's, and the keys stay.)
    fn begin_anew(&mut self, bytes: &[u8], packet: &Packet<'_>, out: &mut dyn Output) {
        if self.cid_length == 0 || packet.dcid == self.cid() || !keys::is_known(packet.version) {
            return;
        }
        let (cid, length, version) = (self.cid, self.cid_length, self.version);
        self.version = packet.version;
        self.set_cid(packet.dcid);
        if self.open(bytes, packet, Side::Originator, &mut [0; PACKET_MAX]).is_none() {
            (self.cid, self.cid_length, self.version) = (cid, length, version);
            return;
        }
        if out.facts().get(HELLO.sni).is_some() || self.has_hello {
            out.anomaly(HELLO_REPEATED);
            out.event();
        }
        // As of a connection of which nothing was seen.
        (self.has_hello, self.cid_length) = (false, 0);
    }

    /// The client begins anew with a version that the server has.
    fn is_next_try(&mut self, packet: &Packet<'_>) -> bool {
        let is_next = self.was_negotiated && packet.version != self.version && keys::is_known(packet.version);
        if is_next {
            (self.has_hello, self.cid_length, self.packets) = (false, 0, [0; 2]);
        }
        is_next
    }

    /// Counts a packet: too many of them?
    fn count(&mut self, of: usize) -> bool {
        let Some(packets) = self.packets.get_mut(of) else { return true };
        *packets = packets.saturating_add(1);
        *packets > PACKETS_MAX
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
        if self.count(0) {
            return false;
        }
        let is_first = self.cid_length == 0;
        if is_first {
            scratch.clear();
            self.version = packet.version;
            self.set_cid(packet.dcid);
            self.start(out);
        }
        let mut place = [0; PACKET_MAX];
        let Some(plain) = self.open(bytes, packet, Side::Originator, &mut place) else {
            if keys::is_forcing(packet.version) {
                self.client = Some(side); // there is no telling how, and the server will refuse it
                return true;
            }
            if is_first {
                self.cid_length = 0; // servers drop it too, and the client's own may follow
            }
            let is_told = self.packets.first().is_some_and(|count| *count > 1);
            if is_first
                && !is_told
                && self.client.is_none()
                && side == Side::Originator
                && keys::is_known(packet.version)
            {
                out.anomaly(UNAUTHENTIC);
            }
            return true;
        };
        self.client = Some(side);
        if packet.version == keys::Q050 {
            return google::hello(plain, out.facts()).is_none();
        }
        if let Some(code) = frames::sort(plain, scratch) {
            out.facts().put_number(CLOSE, code);
        }
        self.read_hello(scratch, out)
    }

    fn open<'a>(
        &self,
        bytes: &[u8],
        packet: &Packet<'_>,
        from: Side,
        place: &'a mut [u8; PACKET_MAX],
    ) -> Option<&'a [u8]> {
        let place = place.get_mut(..packet.total)?;
        place.copy_from_slice(bytes.get(..packet.total)?);
        keys::open(place, packet.number_at, self.version, self.cid(), from)
    }

    /// Reads what there is of the hello; of one in pieces without what a fingerprint begins with. Gives whether to go on.
    fn read_hello(&mut self, scratch: &mut Scratch, out: &mut dyn Output) -> bool {
        let prefix = scratch.prefix();
        let Some(([kind, lengths @ ..], rest)) = prefix.split_first_chunk::<4>() else { return true };
        if *kind != tls::message::CLIENT_HELLO {
            out.anomaly(BAD_HELLO);
            return false;
        }
        self.start(out);
        let Some(body) = rest.get(..tls::length_of(*lengths)) else {
            let names = HelloFacts { client_version: HELLO.client_version.repeated(0), ..HELLO };
            hello::client(rest, false, &names, out.facts());
            return true;
        };
        let seen = hello::client(body, false, &HELLO, out.facts());
        self.has_hello = true;
        scratch.clear(); // for the server's
        for (_, anomaly) in
            [(seen.is_bad, BAD_HELLO), (seen.has_duplicates, DUPLICATE_EXTENSION)].iter().filter(|one| one.0)
        {
            out.anomaly(*anomaly);
        }
        true
    }

    /// A datagram of the server. Gives whether all is known.
    fn server(&mut self, bytes: &[u8], scratch: &mut Scratch, out: &mut dyn Output) -> bool {
        let mut rest = bytes;
        for _ in 0..COALESCED_MAX {
            let Some(packet) = header::read(rest) else { break };
            match packet.kind {
                Kind::Negotiation => {
                    self.was_negotiated = true;
                    out.facts().put_number(NEGOTIATION, 1);
                    return false;
                }
                Kind::Retry => {
                    self.was_retried = true;
                    out.facts().put_number(RETRY, 1);
                    self.set_cid(packet.scid);
                    return false;
                }
                Kind::Initial => {
                    if self.server_initial(rest, &packet, scratch, out) {
                        return true;
                    }
                }
                Kind::Other => return self.has_hello,
            }
            rest = rest.get(packet.total..).unwrap_or_default();
        }
        self.count(1)
    }

    /// An Initial packet of the server. Gives whether its hello is whole now, or it refuses.
    fn server_initial(
        &mut self,
        bytes: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> bool {
        let mut place = [0; PACKET_MAX];
        if !self.has_hello {
            return false; // late, or lost: the scratch is the client's
        }
        let Some(plain) = self.open(bytes, packet, Side::Responder, &mut place) else { return false };
        if let Some(code) = frames::sort(plain, scratch) {
            out.facts().put_number(CLOSE, code);
            return true;
        }
        self.read_server_hello(scratch, out)
    }

    /// Reads the server's hello, or the one after a HelloRetryRequest. Gives whether it was whole.
    fn read_server_hello(&mut self, scratch: &Scratch, out: &mut dyn Output) -> bool {
        let mut rest = scratch.prefix();
        for _ in 0..2 {
            let Some(([tls::message::SERVER_HELLO, lengths @ ..], after)) = rest.split_first_chunk::<4>() else {
                break;
            };
            let Some((body, after)) = after.split_at_checked(tls::length_of(*lengths)) else { break };
            let seen = hello::server(body, &HELLO, out.facts());
            if seen.is_cipher_odd {
                out.anomaly(CIPHER_NOT_OFFERED);
            }
            if !seen.is_retry {
                return true;
            }
            rest = after;
        }
        false
    }
}
