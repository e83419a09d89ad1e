//! SSH up to the point where it is encrypted (RFC 4253).
//!
//! Reads the version lines of both sides, both KEXINIT messages (their lists as HASSH and HASSH-Server take them, the
//! algorithms that come out of them), and of the key exchange the host key's type and size and the size of a negotiated
//! Diffie-Hellman group. One event, when keys are taken into use. What is encrypted then is only measured, until the client is
//! in: a second event tells of passwords that were refused (`logins`).
//!
//! Deliberately not read: anything encrypted.
//!
//! The chosen cipher and MAC are those from client to server, supposing that a server offers the same in both directions,
//! which all but hand-made ones do.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `client_version`, `client_software` | `ssh.client.proto_version`, `ssh.client.software_version` |
//! | `server_version`, `server_software` | `ssh.server.proto_version`, `ssh.server.software_version` |
//! | `hassh` and its MD5 | `ssh.client.hassh.string`, `ssh.client.hassh.hash` |
//! | `hassh_server` and its MD5 | `ssh.server.hassh.string`, `ssh.server.hassh.hash` |
//! | the others | only in our own object |

mod kex;
mod logins;
pub(super) use kex::NAMES_MAX;
pub(super) use logins::TURN_MAX;

use md5::{Digest, Md5};

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Told};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Ssh;

/// Bytes of a HASSH string that are kept: twice what the longest lists of today take.
pub const HASSH_MAX: usize = 1200;

/// Protocol version of the client, as in `2.0`.
pub const CLIENT_VERSION: Fact = Fact::text(P, 1, "client_version", 16);
/// Software of the client.
pub const CLIENT_SOFTWARE: Fact = Fact::text(P, 2, "client_software", 128);
/// Comment of the client's version line.
pub const CLIENT_COMMENT: Fact = Fact::text(P, 3, "client_comment", 128);
/// Protocol version of the server.
pub const SERVER_VERSION: Fact = Fact::text(P, 4, "server_version", 16);
/// Software of the server.
pub const SERVER_SOFTWARE: Fact = Fact::text(P, 5, "server_software", 128);
/// Comment of the server's version line: often the distribution.
pub const SERVER_COMMENT: Fact = Fact::text(P, 6, "server_comment", 128);
/// Key exchanges, ciphers, MACs and compressions of the client, joined by semicolons.
pub const HASSH: Fact = Fact::text(P, 7, "hassh", HASSH_MAX as u16);
/// The same of the server.
pub const HASSH_SERVER: Fact = Fact::text(P, 8, "hassh_server", HASSH_MAX as u16);
/// Host key algorithms that the client takes.
pub const CLIENT_HOST_KEYS: Fact = Fact::text(P, 9, "client_host_keys", 1024);
/// Host key algorithms that the server has.
pub const SERVER_HOST_KEYS: Fact = Fact::text(P, 10, "server_host_keys", 1024);
/// The key exchange that is used.
pub const KEX: Fact = Fact::text(P, 11, "kex", 64);
/// The host key algorithm that is used.
pub const HOST_KEY: Fact = Fact::text(P, 12, "host_key", 64);
/// The cipher that is used.
pub const CIPHER: Fact = Fact::text(P, 13, "cipher", 64);
/// The MAC that is used; of ciphers with their own it stands for nothing.
pub const MAC: Fact = Fact::text(P, 14, "mac", 64);
/// Type of the key that the server showed.
pub const KEY_TYPE: Fact = Fact::text(P, 15, "key_type", 64);
/// Size of that key, bits; of RSA and DSA.
pub const KEY_BITS: Fact = Fact::number(P, 16, "key_bits");
/// Size of the group that the server chose for Diffie-Hellman, bits.
pub const GROUP_BITS: Fact = Fact::number(P, 17, "group_bits");

/// Requests to be let in that were refused, by their sizes and those of the answers: passwords, or what is as short.
pub const GUESSES: Fact = Fact::number(P, 18, "refused_logins");
/// 1 where the client was let in after them.
pub const LET_IN: Fact = Fact::number(P, 19, "let_in");

/// All facts.
pub const FACTS: &[Fact] = &[
    CLIENT_VERSION,
    CLIENT_SOFTWARE,
    CLIENT_COMMENT,
    SERVER_VERSION,
    SERVER_SOFTWARE,
    SERVER_COMMENT,
    HASSH,
    HASSH_SERVER,
    CLIENT_HOST_KEYS,
    SERVER_HOST_KEYS,
    KEX,
    HOST_KEY,
    CIPHER,
    MAC,
    KEY_TYPE,
    KEY_BITS,
    GROUP_BITS,
    GUESSES,
    LET_IN,
];

/// SSH 1 only.
pub const VERSION_1: Anomaly = Anomaly::new(P, 1, "version_1");
/// SSH 2, but SSH 1 too.
pub const VERSION_1_ALLOWED: Anomaly = Anomaly::new(P, 2, "version_1_allowed");
/// A version line longer than [`BANNER_MAX`].
pub const BANNER_TOO_LONG: Anomaly = Anomaly::new(P, 3, "banner_too_long");
/// A version line that is none.
pub const BANNER_INVALID: Anomaly = Anomaly::new(P, 4, "banner_invalid");
/// A packet whose lengths contradict each other.
pub const PACKET_INVALID: Anomaly = Anomaly::new(P, 5, "packet_invalid");
/// A KEXINIT that cannot be read, or a second one before keys were taken into use.
pub const KEXINIT_INVALID: Anomaly = Anomaly::new(P, 6, "kexinit_invalid");
/// Client and server have nothing in common in a list.
pub const NOTHING_IN_COMMON: Anomaly = Anomaly::new(P, 7, "nothing_in_common");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[
    VERSION_1,
    VERSION_1_ALLOWED,
    BANNER_TOO_LONG,
    BANNER_INVALID,
    PACKET_INVALID,
    KEXINIT_INVALID,
    NOTHING_IN_COMMON,
];

/// Bytes of a version line, its end included (RFC 4253 section 4.2).
pub const BANNER_MAX: usize = 255;
/// Lines that a server may send before its version.
pub(super) const LINES_MAX: u8 = 32;
/// Bytes of a packet at most (RFC 4253 section 6.1).
pub(super) const PACKET_MAX: u32 = 35_000;
/// Packets of a side before its NEWKEYS: a key exchange takes four.
pub(super) const PACKETS_MAX: u8 = 16;

/// Recognises a version line; of a server also behind lines of text (RFC 4253 section 4.2).
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let mut rest = look.bytes;
    for _ in 0..LINES_MAX {
        let found = version_line(rest);
        if found != Match::No || look.side == Side::Originator {
            return found;
        }
        match lines::split(rest, b'\n') {
            Some((line, behind)) if lines::is_text(lines::begun(line)) => rest = behind,
            None if lines::is_text(lines::begun(rest)) => return Match::Maybe,
            _ => return Match::No,
        }
    }
    Match::No
}

/// Does a stream begin with a version line?
pub(super) fn is_version(bytes: &[u8]) -> Match {
    version_line(bytes)
}

fn version_line(bytes: &[u8]) -> Match {
    match (bytes.get(..4), bytes.get(4..)) {
        (Some(b"SSH-"), Some([major, b'.', minor, ..])) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Match::Yes
        }
        (Some(b"SSH-"), Some([major, b'.'] | [major])) if major.is_ascii_digit() => Match::Maybe,
        (Some(b"SSH-"), Some([])) => Match::Maybe,
        (None, _) if b"SSH-".starts_with(bytes) => Match::Maybe,
        _ => Match::No,
    }
}

/// HASSH or HASSH-Server: the MD5 of the string. Not for the packets' way.
pub fn hassh(string: &[u8]) -> [u8; 16] {
    Md5::digest(string).into()
}

/// Where a side stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    #[default]
    Banner,
    Packets,
    Over,
}

/// One side.
#[derive(Clone, Copy, Default, Debug)]
struct Half {
    mode: Mode,
    lines: u8,
    packets: u8,
    has_kexinit: bool,
    /// It has taken its keys into use.
    has_keys: bool,
}

/// An SSH connection.
#[derive(Default, Debug)]
pub struct State {
    told: Told,
    halves: [Half; 2],
    /// Lists of the first KEXINIT that the facts do not have whole: a bit for each ([`kex::cut`]).
    cut: u8,
    is_version_1: bool,
    logins: logins::Logins,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    fn half(&mut self, side: Side) -> &mut Half {
        let [originator, responder] = &mut self.halves;
        match side {
            Side::Originator => originator,
            Side::Responder => responder,
        }
    }

    fn over(&mut self, side: Side, out: &mut dyn Output) -> Step {
        self.half(side).mode = Mode::Over;
        let [originator, responder] = self.halves;
        if originator.mode == Mode::Over && responder.mode == Mode::Over {
            out.event();
        }
        Step::Done
    }

    /// Both sides encrypt what they say, or may yet.
    fn may_log_in(&self) -> bool {
        let [originator, responder] = self.halves;
        let may = |half: Half| half.has_keys || half.mode != Mode::Over;
        may(originator) && may(responder) && !self.logins.is_over()
    }

    /// Encrypted bytes of a side.
    fn encrypted(&mut self, side: Side, bytes: usize, out: &mut dyn Output) -> Step {
        let [originator, responder] = self.halves;
        if originator.has_keys && responder.has_keys {
            self.logins.take(side, bytes);
        }
        if self.may_log_in() {
            return Step::Took(bytes);
        }
        if originator.has_keys && responder.has_keys {
            self.logins.tell(out);
        }
        Step::Done
    }

    fn banner(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let window = bytes.get(..BANNER_MAX).unwrap_or(bytes);
        let Some((line, _)) = lines::split(window, b'\n') else {
            if bytes.len() < BANNER_MAX {
                return Step::Need(bytes.len() + 1);
            }
            self.told.once(BANNER_TOO_LONG, out);
            return self.over(side, out);
        };
        let taken = line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let half = self.half(side);
        half.lines += 1;
        let Some(rest) = line.strip_prefix(b"SSH-") else {
            let may_wait = side == Side::Responder && half.lines < LINES_MAX;
            return if may_wait { Step::Took(taken) } else { self.no_banner(side, out) };
        };
        let Some((version, software)) = lines::split(rest, b'-') else { return self.no_banner(side, out) };
        half.mode = Mode::Packets;
        self.put_version(side, version, software, out);
        Step::Took(taken)
    }

    fn no_banner(&mut self, side: Side, out: &mut dyn Output) -> Step {
        self.told.once(BANNER_INVALID, out);
        self.over(side, out)
    }

    fn put_version(&mut self, side: Side, version: &[u8], software: &[u8], out: &mut dyn Output) {
        let facts = match side {
            Side::Originator => [CLIENT_VERSION, CLIENT_SOFTWARE, CLIENT_COMMENT],
            Side::Responder => [SERVER_VERSION, SERVER_SOFTWARE, SERVER_COMMENT],
        };
        let (software, comment) = lines::split(software, b' ').unwrap_or((software, &[]));
        for (fact, value) in facts.into_iter().zip([version, software, comment]) {
            if !value.is_empty() {
                out.facts().put(fact, value);
            }
        }
        if version == b"1.99" {
            self.told.once(VERSION_1_ALLOWED, out);
        } else if version.starts_with(b"1.") {
            self.told.once(VERSION_1, out);
            self.is_version_1 = true;
        }
    }

    fn packet(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let half = self.half(side);
        if half.packets >= PACKETS_MAX {
            out.limit();
        }
        if half.packets >= PACKETS_MAX || self.is_version_1 {
            return self.over(side, out);
        }
        let mut reader = Reader::new(bytes);
        let (Some(length), Some(padding)) = (reader.be32(), reader.u8()) else { return Step::Need(5) };
        if !(2..=PACKET_MAX).contains(&length) || u32::from(padding) + 1 >= length {
            self.told.once(PACKET_INVALID, out);
            return self.over(side, out);
        }
        let whole = length as usize + 4; // at most PACKET_MAX
        let Some(payload) = reader.take(length as usize - 1) else { return Step::Need(whole) };
        self.half(side).packets += 1;
        let payload = payload.get(..payload.len() - usize::from(padding)).unwrap_or_default();
        match payload.split_first() {
            Some((20, rest)) => self.kexinit(side, rest, out),
            Some((21, _)) => {
                self.half(side).has_keys = true;
                self.over(side, out);
                return Step::Took(whole);
            }
            Some((31 | 33, rest)) if side == Side::Responder => kex::reply(rest, out),
            _ => {}
        }
        Step::Took(whole)
    }

    fn kexinit(&mut self, side: Side, payload: &[u8], out: &mut dyn Output) {
        let repeated = std::mem::replace(&mut self.half(side).has_kexinit, true);
        let Some(lists) = kex::Lists::read(payload).filter(|_| !repeated) else {
            self.told.once(KEXINIT_INVALID, out);
            return;
        };
        let first_cut = std::mem::replace(&mut self.cut, kex::put(side, &lists, out));
        let [originator, responder] = self.halves;
        if originator.has_kexinit && responder.has_kexinit && !kex::choose(side, &lists, first_cut, out) {
            self.told.once(NOTHING_IN_COMMON, out);
        }
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Half { mode, has_keys, .. } = *self.half(side);
        match mode {
            Mode::Banner => self.banner(side, bytes, out),
            Mode::Packets => self.packet(side, bytes, out),
            Mode::Over if has_keys => self.encrypted(side, bytes.len(), out),
            Mode::Over => Step::Done,
        }
    }

    fn gap(&mut self, _side: Side, _hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        // What is open of the handshake stays open: nothing was counted then.
        self.logins.break_off();
        self.logins.tell(out);
        Resume::Done
    }

    fn closed(&mut self, out: &mut dyn Output) {
        out.event();
        self.logins.tell(out);
    }

    fn end(&mut self, out: &mut dyn Output) {
        out.event();
        self.logins.tell(out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tries::{C, S, spoil, talk, unambiguous};
    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let padding = 4 + (8 - (payload.len() + 9) % 8) % 8;
        let mut bytes = (payload.len() as u32 + 1 + padding as u32).to_be_bytes().to_vec();
        bytes.push(padding as u8);
        bytes.extend(payload);
        bytes.resize(bytes.len() + padding, 0);
        bytes
    }

    fn string(value: &[u8]) -> Vec<u8> {
        [&(value.len() as u32).to_be_bytes(), value].concat()
    }

    fn kexinit(lists: [&str; 8]) -> Vec<u8> {
        let mut payload = vec![20];
        payload.extend([7; 16]);
        for list in lists.into_iter().chain(["", ""]) {
            payload.extend(string(list.as_bytes()));
        }
        payload.extend([0; 5]);
        packet(&payload)
    }

    fn reply() -> Vec<u8> {
        let modulus = [&[0][..], &[0x80; 128]].concat();
        let key = [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&modulus)].concat();
        packet(&[&[31][..], &string(&key), &string(b"f"), &string(b"s")].concat())
    }

    #[test]
    fn is_recognised_by_its_version_line() {
        for (bytes, wanted) in [
            (&b"SSH-2.0-OpenSSH_9\r\n"[..], Match::Yes),
            (b"SSH-1.99-x", Match::Yes),
            (b"SS", Match::Maybe),
            (b"SSH-2", Match::Maybe),
            (b"SSH-x", Match::Maybe),
            (b"Welcome\r\nSSH-", Match::Maybe),
            (b"Welcome\r\nto X\r\nSSH-2.0-x", Match::Yes),
            (b"Welcome\x01", Match::No),
            (b"\0SSH-2.0-x", Match::No),
        ] {
            let look =
                Look { side: S, bytes, is_datagram: false, ports: [1, 2], is_multicast: false, is_begun: [true; 2] };
            assert_eq!(probe(&look), wanted);
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn a_handshake_is_one_event() {
        let lists = ["curve,dh14", "rsa,ed", "aes,cbc", "aes", "sha2,sha1", "sha2", "none,zlib", "none"];
        let client =
            [&b"SSH-2.0-PuTTY_0.70\r\n"[..], &kexinit(lists), &packet(&[30, 1]), &packet(&[21]), b"xyz"].concat();
        let lists = ["dh14", "ed", "cbc", "cbc,aes", "sha1", "sha1", "none", "none"];
        let newkeys = packet(&[21]);
        let server =
            [&b"Welcome\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..], &kexinit(lists), &reply(), &newkeys, b"?"].concat();
        let turns = [(C, &client[..]), (S, &server[..])];
        let (events, anomalies) = talk::<State>(&turns, &[FACTS]);
        let wanted = "client_version=2.0 client_software=PuTTY_0.70 hassh=curve,dh14;aes,cbc;sha2,sha1;none,zlib \
            client_host_keys=rsa,ed server_version=2.0 server_software=OpenSSH_9.2p1 server_comment=Debian-2 \
            hassh_server=dh14;cbc,aes;sha1;none server_host_keys=ed kex=dh14 host_key=ed cipher=aes mac=sha1 \
            key_type=ssh-rsa key_bits=1024";
        assert_eq!((events, anomalies), (vec![wanted.to_owned()], vec![]));
        spoil::<State>(&turns);
    }

    /// Sizes of turns after the key exchange, as programs have them, client first: what is told of passwords.
    fn told_of(turns: &[usize]) -> Vec<String> {
        let lists = ["curve", "ed", "aes", "aes", "sha2", "sha2", "none", "none"];
        let hello = [&b"SSH-2.0-x\r\n"[..], &kexinit(lists), &packet(&[21])].concat();
        let bytes: Vec<Vec<u8>> = turns.iter().map(|count| vec![0xee; *count]).collect();
        let mut all = vec![(S, &hello[..]), (C, &hello[..])];
        all.extend(bytes.iter().enumerate().map(|(turn, bytes)| (if turn % 2 == 0 { C } else { S }, &bytes[..])));
        let (mut events, anomalies) = talk::<State>(&all, &[FACTS]);
        assert_eq!(anomalies, [""; 0]);
        assert!(events[0].contains("client_version"));
        events.split_off(1)
    }

    #[test]
    fn refused_passwords_are_counted_by_the_sizes_of_the_answers() {
        let [guesses, let_in] = ["refused_logins=", " let_in=1"];
        let shell = [28, 44, 44, 60, 500, 44, 36, 36, 36, 36, 36, 36, 36, 36];
        // Asks for the service, and for the methods.
        let begin = [44, 44, 60, 76];
        let of = |parts: &[&[usize]]| told_of(&parts.concat());
        let refused = [84, 76];
        for (what, turns, wanted) in [
            ("a tool with six passwords", &[&begin[..], &[76, 76].repeat(6)][..], Some((5, false))),
            ("another, that asks for nothing before", &[&[44, 44], &[84, 76].repeat(6)], Some((4, false))),
            ("a banner before the methods", &[&[44, 44, 60, 300], &refused.repeat(5)], Some((4, false))),
            ("questions of the server's own", &[&begin, &[84, 68, 84, 76].repeat(3)], Some((2, false))),
            ("a program that may not type", &[&begin], None),
            ("a key that is taken at once", &[&begin, &[148, 132, 300], &shell], None),
            ("a password, behind a method that the server does not have", &[&begin, &refused, &[84], &shell], None),
            ("mistyped three times, and then not", &[&begin, &refused.repeat(4), &[84], &shell], Some((3, true))),
            ("mistyped three times", &[&begin, &refused.repeat(4)], Some((3, false))),
            // An agent: each of its keys is refused, and the password is right.
            ("six keys, and a password", &[&begin, &[140, 76].repeat(6), &[84], &shell], None),
            ("six keys, and no password", &[&begin, &[380, 76].repeat(6), &[84, 100]], None),
            // As OpenSSH 9.2 sends them: root, under ChaCha20.
            ("OpenSSH, six passwords", &[&begin, &[148, 76].repeat(6)], Some((5, false))),
            ("OpenSSH, a method of questions before", &[&begin, &refused, &[148, 76].repeat(3)], Some((3, false))),
            ("OpenSSH, mistyped", &[&begin, &[148, 76].repeat(3), &[148], &shell], Some((2, true))),
            ("OpenSSH, six keys", &[&begin, &[140, 76].repeat(6)], None),
            // Keys and passwords have one size: a long name, and AES of either mode.
            ("a name of nine letters", &[&[44, 44, 68, 76], &[148, 76].repeat(6)], None),
            ("AES-GCM, root, six keys", &[&[52, 52, 68, 84], &[148, 84].repeat(6)], None),
            ("AES-GCM, administrator", &[&[52, 52, 84, 84], &[148, 84].repeat(6)], None),
            ("AES-CTR, administrator", &[&[44, 44, 76, 76], &[140, 76].repeat(6)], None),
            (
                "AES-GCM, keys, questions",
                &[&[52, 52, 84, 84], &[148, 84].repeat(3), &[100, 84], &[148, 84].repeat(2)],
                None,
            ),
            ("keys, signed at once", &[&[44, 44], &[236, 76].repeat(6)], None),
            ("without a password", &[&[44, 44, 60], &shell], None),
            ("text of a server", &[&begin, &refused.repeat(4), &[84, 9000], &shell], Some((3, true))),
        ] {
            let events = of(turns);
            let told = wanted.map(|(count, is_in)| format!("{guesses}{count}{}", if is_in { let_in } else { "" }));
            assert_eq!(events, told.into_iter().collect::<Vec<_>>(), "{what}");
        }
        // What a client says at length does not let it in.
        let events = of(&[&begin, &refused.repeat(6), &[9000], &shell]);
        assert_eq!(events, [format!("{guesses}5")]);
    }

    /// The lists of OpenSSH's client have more than 400 bytes; which side's come first is chance.
    #[test]
    fn what_was_agreed_on_does_not_depend_on_what_is_kept() {
        let names = |name: &str, count: usize| {
            (0..count).map(|number| format!("{name}-{number:024}@openssh.com")).collect::<Vec<_>>().join(",")
        };
        let (host_keys, kex) = (names("key", 14) + ",ed", "curve,".to_owned() + &names("kex", 40));
        let hello = |lists| [&b"SSH-2.0-x\r\n"[..], &kexinit(lists)].concat();
        let server = hello(["curve", "rsa,ed", "aes", "aes", "sha2", "sha2", "none", "none"]);
        let none = hello(["other", "rsa", "cbc", "cbc", "md5", "md5", "none", "none"]);
        let client = |kex, host_keys| hello([kex, host_keys, "aes,cbc", "aes", "sha2", "sha2", "none", "none"]);
        let whole = client("curve,dh14", &host_keys);
        for turns in [[(C, &whole[..]), (S, &server)], [(S, &server), (C, &whole)]] {
            let (events, anomalies) = talk::<State>(&turns, &[FACTS]);
            assert!(events[0].ends_with(" kex=curve host_key=ed cipher=aes mac=sha2"), "{events:?}");
            assert_eq!(anomalies, [""; 0]);
        }
        // The list of key exchanges fills what is kept; of a name that only the cut part may have nothing is said.
        let long = client(&kex, &host_keys);
        for (turns, wanted) in [
            ([(C, &long[..]), (S, &server)], " kex=curve host_key=ed"),
            ([(S, &server), (C, &long)], " kex=curve host_key=ed cipher=aes mac=sha2"),
            ([(C, &long), (S, &none)], " server_host_keys=rsa"),
        ] {
            let (events, anomalies) = talk::<State>(&turns, &[FACTS]);
            assert!(events[0].ends_with(wanted), "{wanted}: {events:?}");
            assert_eq!(anomalies.len(), usize::from(wanted.contains("server_host")), "{anomalies:?}");
        }
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        let long = [&b"SSH-2.0-"[..], &[b'x'; 300]].concat();
        let twice = [&b"SSH-2.0-x\n"[..], &kexinit(["a"; 8]), &kexinit(["a"; 8])].concat();
        let flood = [b"SSH-2.0-x\n".to_vec(), packet(&[2]).repeat(40)].concat();
        let other = [&b"SSH-2.0-y\n"[..], &kexinit(["b"; 8])].concat();
        for (client, server, wanted) in [
            (&b"SSH-1.5-x\n\0\0\0\x05"[..], &b""[..], &["version_1"][..]),
            (b"SSH-1.99-x\n", b"", &["version_1_allowed"]),
            (&long, b"", &["banner_too_long"]),
            (b"hello\n", b"", &["banner_invalid"]),
            (b"SSH-2.0-x\n\xff\xff\xff\xff\0", b"", &["packet_invalid"]),
            (&twice, b"", &["kexinit_invalid"]),
            (&twice, &other, &["kexinit_invalid", "nothing_in_common"]),
            (&flood, b"", &[]),
        ] {
            assert_eq!(talk::<State>(&[(C, client), (S, server)], &[FACTS]).1, wanted);
        }
    }

    #[test]
    fn hassh_is_the_md5_of_its_string() {
        // RFC 1321, appendix A.5.
        let wanted = [0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72];
        assert_eq!(hassh(b"abc"), wanted);
    }
}
