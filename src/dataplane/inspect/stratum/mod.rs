//! Mining of crypto-currencies: Stratum (JSON-RPC with `mining.*`, XMRig's `login`, `eth_submitLogin`), and the peers'
//! protocols of Bitcoin and Ethereum, which are recognised and hardly read.
//!
//! Reads of Stratum what a miner says first: its agent, its user (a wallet, mostly with a worker's name) and the algorithms
//! it offers; an event each for subscription, login and the first share. Of Bitcoin the version message. Deliberately not
//! read: passwords, jobs and shares, anything of Ethereum (it is encrypted).
//!
//! There is no object in EVE for it: all facts are only in our own.

mod peers;

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Lines, Told};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::sides::Sides;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Stratum;

/// `stratum`, `bitcoin` or `ethereum`.
pub const KIND: Fact = Fact::text(P, 1, "kind", 16);
/// Method of the call.
pub const METHOD: Fact = Fact::text(P, 2, "method", 48);
/// Who mines: wallet or account, often with the name of a worker behind a dot.
pub const USERNAME: Fact = Fact::text(P, 3, "username", 192);
/// Software of the miner.
pub const AGENT: Fact = Fact::text(P, 4, "agent", 128);
/// Name of the worker where it is apart from the user.
pub const WORKER: Fact = Fact::text(P, 5, "worker", 64);
/// Algorithms that the miner offers, as it lists them.
pub const ALGORITHMS: Fact = Fact::text(P, 6, "algorithms", 256);
/// Version of the peers' protocol of Bitcoin.
pub const VERSION: Fact = Fact::number(P, 7, "version");

/// All facts.
pub const FACTS: &[Fact] = &[KIND, METHOD, USERNAME, AGENT, WORKER, ALGORITHMS, VERSION];

/// A line longer than [`LINE_MAX`].
pub const LINE_TOO_LONG: Anomaly = Anomaly::new(P, 1, "line_too_long");
/// A line that is no JSON object.
pub const LINE_INVALID: Anomaly = Anomaly::new(P, 2, "line_invalid");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[LINE_TOO_LONG, LINE_INVALID];

/// Bytes of a line: a job with its branches stays below.
pub const LINE_MAX: usize = 8 * 1024;
/// Lines of a client that are read: its logins and first shares stand there.
pub(super) const LINES_MAX: u8 = 32;
/// Bytes that a probe looks at.
const PROBE_MAX: usize = 2048;

/// Recognises calls by their names, peers of Bitcoin by their magic number and of Ethereum by their framing.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return peers::discovery(look.bytes);
    }
    match look.bytes.first() {
        None => Match::Maybe,
        Some(b'{') => probe_call(look.bytes),
        Some(_) => match peers::bitcoin(look.bytes) {
            Match::No => peers::ethereum(look),
            other => other,
        },
    }
}

fn probe_call(bytes: &[u8]) -> Match {
    let window = bytes.get(..PROBE_MAX).unwrap_or(bytes);
    let line = lines::split(window, b'\n').map_or(window, |(line, _)| line);
    let is_whole = line.len() < window.len() || window.len() >= PROBE_MAX;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let own: [&[u8]; 5] =
        [b"\"mining.", b"\"eth_submitLogin\"", b"\"eth_submitWork\"", b"\"eth_getWork\"", b"\"keepalived\""];
    let is_call = own.iter().any(|own| lines::find(line, own).is_some());
    let has = |key: &[u8]| lines::find(line, key).is_some();
    let is_login = value(line, b"method") == Some(b"login") && has(b"\"pass\"");
    let is_job = has(b"\"job_id\"") && has(b"\"blob\"") && has(b"\"target\"");
    match (is_call || is_login || is_job, is_whole) {
        // Also where it is a call: without it, what is told would depend on how much of the line is there.
        _ if !lines::is_text(line) => Match::No,
        (true, _) => Match::Yes,
        (false, false) => Match::Maybe,
        (false, true) => Match::No,
    }
}

/// The string behind `"key":`. Not aware of nesting: keys of Stratum stand once in a call.
fn value<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let rest = member(line, key)?.strip_prefix(b"\"")?;
    rest.get(..end_of_string(rest)?)
}

/// What follows `"key":`.
fn member<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut rest = line;
    // At most once round for each quote of the line.
    loop {
        let (_, after) = lines::split(rest, b'"')?;
        let behind = after.strip_prefix(key).and_then(|behind| behind.strip_prefix(b"\""));
        if let Some(value) = behind.and_then(|behind| behind.trim_ascii_start().strip_prefix(b":")) {
            return Some(value.trim_ascii_start());
        }
        rest = after;
    }
}

/// The first string of the array behind `"params":`.
fn first_parameter(line: &[u8]) -> Option<&[u8]> {
    let rest = member(line, b"params")?.strip_prefix(b"[")?.trim_ascii_start().strip_prefix(b"\"")?;
    rest.get(..end_of_string(rest)?)
}

/// The quote that ends a string: one that no backslash stands before.
fn end_of_string(rest: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    rest.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })
}

/// What is spoken.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Kind {
    #[default]
    Unknown,
    Stratum,
    Bitcoin,
    Over,
}

/// A connection of a miner, or of a peer.
#[derive(Default, Debug)]
pub struct State {
    told: Told,
    lines: Sides<Lines>,
    read: Sides<u8>,
    kind: Kind,
    has_share: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// Tells what is spoken; not before the name of Bitcoin's first message is there, if it is one.
    fn tell(&mut self, bytes: &[u8], out: &mut dyn Output) {
        let (kind, name): (_, &[u8]) = match (bytes.first(), peers::bitcoin(bytes)) {
            (Some(b'{'), _) => (Kind::Stratum, b"stratum"),
            (_, Match::Maybe) => return,
            (_, Match::Yes) => (Kind::Bitcoin, b"bitcoin"),
            (_, Match::No) => (Kind::Over, b"ethereum"),
        };
        self.kind = kind;
        out.facts().put(KIND, name);
    }

    fn stratum(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let line = match self.lines.of(side).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(step) => return step,
        };
        if line.is_cut {
            self.told.once(LINE_TOO_LONG, out);
        }
        let read = self.read.of(side);
        *read += 1;
        if *read > LINES_MAX {
            out.limit();
            return Step::Done;
        }
        let text = line.text.trim_ascii();
        match text.first() {
            None => {}
            Some(b'{') => self.call(text, out),
            Some(_) => self.told.once(LINE_INVALID, out),
        }
        Step::Took(line.taken)
    }

    fn call(&mut self, line: &[u8], out: &mut dyn Output) {
        let Some(method) = value(line, b"method") else { return };
        match method {
            b"mining.subscribe" => self.put(method, [(AGENT, first_parameter(line))], out),
            b"mining.authorize" => self.put(method, [(USERNAME, first_parameter(line))], out),
            b"login" => {
                out.facts().put(METHOD, method);
                put_algorithms(line, out);
                let values = [(USERNAME, value(line, b"login")), (AGENT, value(line, b"agent"))];
                self.put(method, values, out);
            }
            b"eth_submitLogin" | b"eth_login" => {
                let values = [(USERNAME, first_parameter(line)), (WORKER, value(line, b"worker"))];
                self.put(method, values, out);
            }
            b"mining.submit" | b"submit" | b"eth_submitWork" if !self.has_share => {
                self.has_share = true;
                self.put(method, [], out);
            }
            _ => {}
        }
    }

    fn put<const N: usize>(&self, method: &[u8], values: [(Fact, Option<&[u8]>); N], out: &mut dyn Output) {
        out.facts().put(METHOD, method);
        for (fact, value) in values {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                out.facts().put(fact, value);
            }
        }
        out.event();
    }
}

fn put_algorithms(line: &[u8], out: &mut dyn Output) {
    let list = member(line, b"algo").and_then(|rest| lines::split(rest.strip_prefix(b"[")?, b']'));
    if let Some((list, _)) = list {
        out.facts().put(ALGORITHMS, list);
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.kind == Kind::Unknown {
            self.tell(bytes, out);
        }
        match self.kind {
            Kind::Stratum => self.stratum(side, bytes, out),
            Kind::Bitcoin => match peers::version(bytes, out) {
                Ok(()) => {
                    self.kind = Kind::Over;
                    Step::Done
                }
                Err(step) => step,
            },
            Kind::Unknown => Step::Need(bytes.len() + 1),
            Kind::Over => Step::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::{datagram, stream};
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    const SUBSCRIBE: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"EWBF \\\"0.3\\\"\",null]}\n";
    const LOGIN: &[u8] =
        b"{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"login\",\"params\":{\"login\":\"44Af\",\"pass\":\"hunter2\",\
        \"agent\":\"XMRig/6\",\"algo\":[\"rx/0\",\"cn/2\"]}}\n";

    fn version() -> Vec<u8> {
        let mut payload = vec![0x7f, 0x11, 1, 0];
        payload.resize(80, 0);
        payload.extend(b"\x10/Satoshi:0.18.0/\0\0\0\0");
        let mut bytes = b"\xf9\xbe\xb4\xd9version\0\0\0\0\0".to_vec();
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn is_recognised_by_its_calls() {
        let mut ethereum = vec![1, 0xab, 4];
        ethereum.resize(0x1ab + 2, 7);
        for (bytes, port, wanted) in [
            (SUBSCRIBE, 9, Match::Yes),
            (LOGIN, 9, Match::Yes),
            (&SUBSCRIBE[..10], 9, Match::Maybe),
            (b"{\"method\":\"login\"}\n", 9, Match::No),
            (b"{\"a\":1}\n", 9, Match::No),
            (b"{\"method\":\"mining.subscribe\"}\r\n", 9, Match::Yes),
            (b"{\"a\":\"\0\",\"method\":\"mining.subscribe\"}\n", 9, Match::No),
            (b"[", 9, Match::No),
            (&version(), 9, Match::Yes),
            (&version()[..6], 9, Match::Maybe),
            (&ethereum, 30303, Match::Yes),
            (&ethereum[..200], 30303, Match::Maybe),
            (&ethereum[..3], 9, Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{}", String::from_utf8_lossy(bytes));
        }
        let mut ping = vec![9; 96];
        ping.extend([1, 1, 0xc3, 1, 2, 3]);
        assert_eq!(probe(&datagram(&ping, [30303, 30303])), Match::Yes);
        assert_eq!(probe(&datagram(&ping[..99], [30303, 30303])), Match::No);
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn logins_are_events_without_passwords() {
        let authorize = b"{\"params\": [\"t1f.rig4\",\"hunter2\"], \"id\":2, \"method\": \"mining.authorize\"}\n\
            {\"id\":4,\"method\":\"mining.submit\",\"params\":[\"a\"]}\n{\"id\":5,\"method\":\"mining.submit\",\"params\":[]}\n";
        let eth = b"{\"worker\":\"w1\",\"method\":\"eth_submitLogin\",\"params\":[\"0xab\",\"hunter2\"]}\n";
        let turns: Turns<'_> =
            &[(C, SUBSCRIBE), (S, b"{\"id\":1,\"result\":[],\"error\":null}\n"), (C, authorize), (C, eth), (C, LOGIN)];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "kind=stratum method=mining.subscribe agent=EWBF \\\"0.3\\\"",
            "method=mining.authorize username=t1f.rig4",
            "method=mining.submit",
            "method=eth_submitLogin username=0xab worker=w1",
            "method=login algorithms=\"rx/0\",\"cn/2\" username=44Af agent=XMRig/6",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
        spoil::<State>(turns);
        let (events, _) = talk::<State>(&[(C, &version())], &[FACTS]);
        assert_eq!(events, ["kind=bitcoin version=70015 agent=/Satoshi:0.18.0/"]);
        spoil::<State>(&[(C, &version())]);
    }

    #[test]
    fn bombs_stay_bounded() {
        let quotes = [&b"{"[..], &[b'"'; 20_000], b"\n"].concat();
        assert_eq!(talk::<State>(&[(C, &quotes)], &[FACTS]).1, ["line_too_long"]);
        let many = b"{\"method\":\"mining.authorize\",\"params\":[\"a\"]}\n".repeat(500);
        assert_eq!(talk::<State>(&[(C, &many)], &[FACTS]).0.len(), usize::from(LINES_MAX));
        assert_eq!(talk::<State>(&[(C, LOGIN), (S, b"what\n")], &[FACTS]).1, ["line_invalid"]);
    }
}
