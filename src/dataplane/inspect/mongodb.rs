//! MongoDB's wire protocol: OP_MSG, OP_QUERY and OP_REPLY, and the older messages of clients.
//!
//! Reads which command is sent to which database and collection, what the client's driver says of itself, who logs in, how
//! the server answered, and its version where it was asked. Of a message the first [`READ_MAX`] bytes are looked at, of a
//! document [`ELEMENTS_MAX`] elements. Deliberately not read: documents, filters, passwords and proofs, error texts (which
//! quote), and compressed messages (greeting and login never are).
//!
//! There is no object in EVE for it: all facts are only in our own.

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Told};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::MongoDb;

/// The command; `query`, `insert` and so on of the messages that are none.
pub const COMMAND: Fact = Fact::text(P, 1, "command", 48);
/// Database that it is for.
pub const DATABASE: Fact = Fact::text(P, 2, "database", 64);
/// Collection that it is for.
pub const COLLECTION: Fact = Fact::text(P, 3, "collection", 128);
/// Name that the application gave itself.
pub const APPLICATION: Fact = Fact::text(P, 4, "application", 128);
/// The client's driver.
pub const DRIVER: Fact = Fact::text(P, 5, "driver", 64);
/// Its version.
pub const DRIVER_VERSION: Fact = Fact::text(P, 6, "driver_version", 48);
/// The client's operating system.
pub const CLIENT_OS: Fact = Fact::text(P, 7, "client_os", 64);
/// User name of a login.
pub const USERNAME: Fact = Fact::text(P, 8, "username", 128);
/// How the login proves who it is.
pub const MECHANISM: Fact = Fact::text(P, 9, "mechanism", 32);
/// A reply came: 1 where the connection has sent no login so far, 2 where it has.
pub const ANSWERED: Fact = Fact::number(P, 10, "answered");
/// 1: the command succeeded.
pub const OK: Fact = Fact::number(P, 11, "ok");
/// Number of the error.
pub const CODE: Fact = Fact::number(P, 12, "code");
/// Name of the error.
pub const CODE_NAME: Fact = Fact::text(P, 13, "code_name", 48);
/// Version of the server.
pub const SERVER_VERSION: Fact = Fact::text(P, 14, "server_version", 32);
/// Name of the replica set.
pub const REPLICA_SET: Fact = Fact::text(P, 15, "replica_set", 64);
/// Highest version of the protocol that the server speaks.
pub const WIRE_VERSION: Fact = Fact::number(P, 16, "wire_version");

/// All facts.
pub const FACTS: &[Fact] = &[
    COMMAND,
    DATABASE,
    COLLECTION,
    APPLICATION,
    DRIVER,
    DRIVER_VERSION,
    CLIENT_OS,
    USERNAME,
    MECHANISM,
    ANSWERED,
    OK,
    CODE,
    CODE_NAME,
    SERVER_VERSION,
    REPLICA_SET,
    WIRE_VERSION,
];

/// A message that is none.
pub const MALFORMED: Anomaly = Anomaly::new(P, 1, "malformed");
/// A login that sends the password itself (PLAIN).
pub const PASSWORD_IN_CLEAR: Anomaly = Anomaly::new(P, 2, "password_in_clear");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, PASSWORD_IN_CLEAR];

/// Commands of a connection that are told; then nothing more of it is of interest.
pub const COMMANDS_MAX: u8 = 64;
/// Bytes of a message that are looked at.
pub const READ_MAX: usize = 2048;
/// Elements of a document that are looked at.
pub const ELEMENTS_MAX: usize = 64;
/// Length of a message at most: the server's own limit.
const MESSAGE_MAX: u32 = 48_000_000;
const HEADER_BYTES: usize = 16;

const REPLY: u32 = 1;
const UPDATE: u32 = 2001;
const INSERT: u32 = 2002;
const QUERY: u32 = 2004;
const GET_MORE: u32 = 2005;
const DELETE: u32 = 2006;
const KILL_CURSORS: u32 = 2007;
const COMPRESSED: u32 = 2012;
const MESSAGE: u32 = 2013;

/// Length, number, number of what it answers, kind.
struct Head {
    length: u32,
    code: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let mut reader = Reader::new(bytes);
        let (length, _, _, code) = (reader.le32()?, reader.le32()?, reader.le32()?, reader.le32()?);
        let is_known = matches!(code, REPLY | UPDATE | INSERT | QUERY..=KILL_CURSORS | COMPRESSED | MESSAGE);
        (is_known && (HEADER_BYTES as u32 + 4..=MESSAGE_MAX).contains(&length)).then_some(Head { length, code })
    }
}

/// MongoDB? A header with a length and a kind that exist, and what must follow it.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let bytes = look.bytes;
    let Some(head) = Head::read(bytes) else {
        let length = Reader::new(bytes).le32().is_none_or(|length| length > 16 && length <= MESSAGE_MAX);
        return if bytes.len() < HEADER_BYTES && length { Match::Maybe } else { Match::No };
    };
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    match head.code {
        QUERY if look.side == Side::Originator => {
            let mut reader = Reader::new(body);
            let (Some(flags), name) = (reader.le32(), reader.rest()) else { return Match::Maybe };
            let name = name.get(..NAME_MAX).unwrap_or(name);
            match name.iter().position(|byte| *byte == 0) {
                _ if flags > 0xff => Match::No,
                Some(end) if is_name(name.get(..end).unwrap_or_default()) => Match::Yes,
                None if name.len() < NAME_MAX && lines::is_text(name) => Match::Maybe,
                _ => Match::No,
            }
        }
        MESSAGE => {
            let mut reader = Reader::new(body);
            let (Some(flags), Some(kind), Some(size)) = (reader.le32(), reader.u8(), reader.le32()) else {
                return Match::Maybe;
            };
            // Checksum present, more to come, exhaust allowed.
            let is = flags & !0x1_0003 == 0 && kind <= 1 && (5..head.length).contains(&size);
            if is { Match::Yes } else { Match::No }
        }
        REPLY if look.side == Side::Responder => {
            let mut reader = Reader::new(body);
            let (Some(flags), Some(_)) = (reader.le32(), reader.le64()) else { return Match::Maybe };
            let (Some(_), Some(count)) = (reader.le32(), reader.le32()) else { return Match::Maybe };
            if flags <= 15 && count <= head.length { Match::Yes } else { Match::No }
        }
        _ => Match::No,
    }
}

/// Bytes of a collection's name with its database at most.
const NAME_MAX: usize = 256;

/// `database.collection`.
fn is_name(name: &[u8]) -> bool {
    lines::is_text(name)
        && lines::split(name, b'.').is_some_and(|(database, rest)| !database.is_empty() && !rest.is_empty())
}

/// An element of a document (bsonspec.org): its type, name and value, the last cut where what is there ends.
struct Element<'a> {
    kind: u8,
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Element<'a> {
    fn text(&self) -> Option<&'a [u8]> {
        let text = Some(self.value).filter(|_| self.kind == 2)?;
        Some(text.strip_suffix(b"\0").unwrap_or(text))
    }

    fn document(&self) -> Option<&'a [u8]> {
        Some(self.value).filter(|_| self.kind == 3)
    }

    /// Of a number or a truth value.
    fn number(&self) -> Option<i64> {
        match (self.kind, self.value) {
            (1, value) => value.first_chunk().map(|bytes| f64::from_le_bytes(*bytes) as i64), // saturates
            (8, [value]) => Some((*value).into()),
            (16, value) => value.first_chunk().map(|bytes| i32::from_le_bytes(*bytes).into()),
            (18, value) => value.first_chunk().map(|bytes| i64::from_le_bytes(*bytes)),
            _ => None,
        }
    }
}

/// The elements of a document, as many as are there and as [`ELEMENTS_MAX`] allows.
fn elements(document: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut reader = Reader::new(document.get(4..).unwrap_or_default());
    let next = move || {
        let kind = reader.u8().filter(|kind| *kind != 0)?;
        let name = reader.until(0)?;
        let value = match kind {
            1 | 9 | 17 | 18 => reader.take(8)?,
            2 | 13 | 14 => {
                let size = reader.le32()?;
                reader.take(size as usize)?
            }
            // Its length counts, too, and it may end behind what is there.
            3 | 4 | 15 => {
                let size = Reader::new(reader.rest()).le32()? as usize;
                reader.take(size.max(4).min(reader.len()))?
            }
            5 => {
                let (size, _) = (reader.le32()?, reader.u8()?);
                reader.take(size as usize)?
            }
            6 | 10 | 127 | 255 => &[],
            7 => reader.take(12)?,
            8 => reader.take(1)?,
            11 => {
                reader.until(0)?;
                reader.until(0)?
            }
            12 => {
                let size = reader.le32()?;
                reader.take((size as usize).checked_add(12)?)?
            }
            16 => reader.take(4)?,
            19 => reader.take(16)?,
            _ => return None,
        };
        Some(Element { kind, name, value })
    };
    std::iter::from_fn(next).take(ELEMENTS_MAX)
}

/// The first document of a message behind its flags: of the section that has one, which may come behind lists of others.
fn body_of(mut reader: Reader<'_>) -> Option<&[u8]> {
    for _ in 0..4 {
        match reader.u8()? {
            0 => return Some(reader.rest()),
            _ => {
                let size = Reader::new(reader.rest()).le32()?;
                reader.take(size as usize)?;
            }
        }
    }
    None
}

/// Commands whose value is a collection. Of others it may be a secret or a script.
const OF_COLLECTIONS: [&[u8]; 19] = [
    b"find",
    b"insert",
    b"update",
    b"delete",
    b"aggregate",
    b"count",
    b"distinct",
    b"findAndModify",
    b"findandmodify",
    b"create",
    b"drop",
    b"listIndexes",
    b"createIndexes",
    b"dropIndexes",
    b"mapReduce",
    b"mapreduce",
    b"collStats",
    b"validate",
    b"convertToCapped",
];

/// What the latest command asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum About {
    #[default]
    Other,
    /// Its answer has the server's version.
    Version,
    /// A greeting.
    Hello,
}

/// A connection of MongoDB.
#[derive(Default, Debug)]
pub struct State {
    /// Commands without a reply.
    pending: u16,
    commands: u8,
    about: About,
    has_login: bool,
    is_over: bool,
    told: Told,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    fn begins(&mut self, out: &mut dyn Output) {
        out.event();
        self.commands = self.commands.saturating_add(1);
        self.about = About::Other;
    }

    fn client(&mut self, code: u32, body: &[u8], out: &mut dyn Output) {
        let mut reader = Reader::new(body);
        let flags = reader.le32().unwrap_or(0);
        if code == COMPRESSED {
            // Nothing is known of it but that it is answered.
            out.event();
            self.pending = self.pending.saturating_add(1);
            return;
        }
        self.begins(out);
        // More to come: no reply.
        let has_reply = match code {
            MESSAGE => flags & 2 == 0,
            _ => matches!(code, QUERY | GET_MORE),
        };
        self.pending = self.pending.saturating_add(u16::from(has_reply));
        if code == MESSAGE {
            if let Some(document) = body_of(reader) {
                self.command(document, out);
            }
            return;
        }
        let name = reader.until(0).unwrap_or_default();
        let (database, collection) = lines::split(name, b'.').unwrap_or((name, &[]));
        if code == KILL_CURSORS {
            return out.facts().put(COMMAND, b"killCursors");
        }
        out.facts().put(DATABASE, database);
        if code == QUERY && collection == b"$cmd" {
            reader.take(8);
            return self.command(reader.rest(), out);
        }
        let command: &[u8] = match code {
            UPDATE => b"update",
            INSERT => b"insert",
            GET_MORE => b"getMore",
            DELETE => b"delete",
            _ => b"query",
        };
        out.facts().put(COMMAND, command);
        out.facts().put(COLLECTION, collection);
    }

    fn command(&mut self, document: &[u8], out: &mut dyn Output) {
        let Some(first) = elements(document).next() else { return };
        if let (b"$query" | b"query", Some(inner)) = (first.name, first.document()) {
            if let Some(first) = elements(inner).next() {
                self.named(&first, inner, out);
            }
            return;
        }
        self.named(&first, document, out);
    }

    fn named(&mut self, first: &Element<'_>, document: &[u8], out: &mut dyn Output) {
        let is = |names: &[&[u8]]| names.iter().any(|name| first.name.eq_ignore_ascii_case(name));
        out.facts().put(COMMAND, first.name);
        if let Some(collection) = first.text().filter(|_| OF_COLLECTIONS.contains(&first.name)) {
            out.facts().put(COLLECTION, collection);
        }
        self.about = match () {
            () if is(&[b"buildInfo", b"serverStatus"]) => About::Version,
            () if is(&[b"hello", b"isMaster"]) => About::Hello,
            () => About::Other,
        };
        let is_login = is(&[b"saslStart", b"authenticate"]);
        self.has_login |= is_login;
        for element in elements(document) {
            match (element.name, element.text(), element.document()) {
                (b"$db", Some(name), _) => out.facts().put(DATABASE, name),
                (b"collection", Some(name), _) if is(&[b"getMore"]) => out.facts().put(COLLECTION, name),
                (b"client", _, Some(client)) if self.about == About::Hello => put_client(client, out),
                (b"speculativeAuthenticate", _, Some(login)) => {
                    self.has_login = true;
                    self.login(login, out);
                }
                _ => {}
            }
        }
        if is_login {
            self.login(document, out);
        }
    }

    /// Who logs in, and how; never with what.
    fn login(&mut self, document: &[u8], out: &mut dyn Output) {
        let mut mechanism: &[u8] = &[];
        for element in elements(document) {
            match (element.name, element.text()) {
                (b"mechanism", Some(name)) => {
                    mechanism = name;
                    out.facts().put(MECHANISM, name);
                }
                (b"user", Some(name)) => out.facts().put(USERNAME, name),
                _ => {}
            }
        }
        let payload = elements(document).find(|element| element.name == b"payload" && element.kind == 5);
        let Some(payload) = payload.map(|element| element.value) else { return };
        if mechanism == b"PLAIN" {
            // Identity, user and password, with zeros between.
            out.facts().put(USERNAME, payload.split(|byte| *byte == 0).nth(1).unwrap_or_default());
            self.told.once(PASSWORD_IN_CLEAR, out);
        } else if mechanism.starts_with(b"SCRAM-") {
            // RFC 5802: `n,,n=user,r=nonce`.
            let name = payload.split(|byte| *byte == b',').find_map(|part| part.strip_prefix(b"n="));
            name.into_iter().for_each(|name| out.facts().put(USERNAME, name));
        }
    }

    fn server(&mut self, code: u32, body: &[u8], out: &mut dyn Output) {
        let is_own = self.pending == 1;
        self.pending = self.pending.saturating_sub(1);
        let mut reader = Reader::new(body);
        let flags = reader.le32().unwrap_or(0);
        let document = match code {
            MESSAGE => body_of(reader),
            REPLY => reader.take(16).map(|_| reader.rest()),
            _ => None,
        };
        if let Some(document) = document.filter(|_| is_own) {
            out.facts().put_number(ANSWERED, if self.has_login { 2 } else { 1 });
            let is_query = out.facts().get(COMMAND) == Some(b"query");
            if is_query {
                // Cursor not found, or the query failed.
                out.facts().put_number(OK, u64::from(flags & 3 == 0));
            }
            self.answer(document, is_query, out);
        }
        if self.pending == 0 {
            out.event();
        }
    }

    fn answer(&mut self, document: &[u8], is_query: bool, out: &mut dyn Output) {
        // What answers a query of the old kind are documents of people.
        for element in elements(document).take(if is_query { 0 } else { ELEMENTS_MAX }) {
            match (element.name, element.text(), element.number()) {
                (b"ok", _, Some(ok)) => out.facts().put_number(OK, u64::from(ok == 1)),
                (b"code", _, Some(code)) => out.facts().put_number(CODE, u64::try_from(code).unwrap_or(0)),
                (b"codeName", Some(name), _) => out.facts().put(CODE_NAME, name),
                (b"version", Some(version), _) if self.about == About::Version => {
                    out.facts().put(SERVER_VERSION, version);
                }
                (b"setName", Some(name), _) if self.about == About::Hello => out.facts().put(REPLICA_SET, name),
                (b"maxWireVersion", _, Some(version)) if self.about == About::Hello => {
                    out.facts().put_number(WIRE_VERSION, u64::try_from(version).unwrap_or(0));
                }
                _ => {}
            }
        }
    }
}

/// What a driver says of itself: `{application: {name}, driver: {name, version}, os: {type, name, ...}}`.
fn put_client(client: &[u8], out: &mut dyn Output) {
    for element in elements(client) {
        let Some(inner) = element.document() else { continue };
        for part in elements(inner) {
            match (element.name, part.name, part.text()) {
                (b"application", b"name", Some(text)) => out.facts().put(APPLICATION, text),
                (b"driver", b"name", Some(text)) => out.facts().put(DRIVER, text),
                (b"driver", b"version", Some(text)) => out.facts().put(DRIVER_VERSION, text),
                (b"os", b"name", Some(text)) => out.facts().put(CLIENT_OS, text),
                _ => {}
            }
        }
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_over {
            return Step::Done;
        }
        if bytes.len() < HEADER_BYTES {
            return Step::Need(HEADER_BYTES);
        }
        let Some(head) = Head::read(bytes) else {
            self.is_over = true;
            return Step::Broken(MALFORMED);
        };
        let wanted = (head.length as usize).min(READ_MAX);
        let Some(body) = bytes.get(HEADER_BYTES..wanted) else { return Step::Need(wanted) };
        match side {
            Side::Originator => self.client(head.code, body, out),
            Side::Responder => self.server(head.code, body, out),
        }
        if self.commands >= COMMANDS_MAX && self.pending == 0 {
            self.is_over = true;
        }
        Step::Skip(head.length.into())
    }

    fn gap(&mut self, _side: Side, hole: &Hole<'_>, _out: &mut dyn Output) -> Resume {
        self.pending = 0;
        let length = Head::read(hole.before).map_or(0, |head| u64::from(head.length));
        hole.within(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::stream;
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    fn text(name: &str, value: &str) -> Vec<u8> {
        let size = (value.len() as u32 + 1).to_le_bytes();
        [&[2], name.as_bytes(), &[0], &size, value.as_bytes(), &[0]].concat()
    }

    fn number(name: &str, value: i32) -> Vec<u8> {
        [&[16], name.as_bytes(), &[0], &value.to_le_bytes()[..]].concat()
    }

    fn double(name: &str, value: f64) -> Vec<u8> {
        [&[1], name.as_bytes(), &[0], &value.to_le_bytes()[..]].concat()
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        [&[5], name.as_bytes(), &[0], &(value.len() as u32).to_le_bytes(), &[0], value].concat()
    }

    fn document(parts: &[Vec<u8>]) -> Vec<u8> {
        let inner = parts.concat();
        [&(inner.len() as u32 + 5).to_le_bytes()[..], &inner, &[0]].concat()
    }

    fn inner(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
        [&[3], name.as_bytes(), &[0], &document(parts)[..]].concat()
    }

    fn whole(code: u32, answers: u32, body: &[u8]) -> Vec<u8> {
        let length = (HEADER_BYTES + body.len()) as u32;
        [&[length, 7, answers, code].map(u32::to_le_bytes).concat()[..], body].concat()
    }

    /// OP_MSG.
    fn message(answers: u32, parts: &[Vec<u8>]) -> Vec<u8> {
        whole(MESSAGE, answers, &[&[0; 5][..], &document(parts)].concat())
    }

    fn query(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
        let count = [0, -1_i32].map(i32::to_le_bytes).concat();
        whole(QUERY, 0, &[&[0; 4][..], name.as_bytes(), &[0], &count, &document(parts)].concat())
    }

    fn reply(parts: &[Vec<u8>]) -> Vec<u8> {
        let head = [0, 0, 0, 0, 1_u32].map(u32::to_le_bytes).concat();
        whole(REPLY, 7, &[&head[..], &document(parts)].concat())
    }

    fn ok() -> Vec<u8> {
        double("ok", 1.0)
    }

    #[test]
    fn is_recognised_by_its_messages_alone() {
        let hello = query("admin.$cmd", &[number("isMaster", 1)]);
        let find = message(0, &[text("find", "users"), text("$db", "shop")]);
        for (bytes, wanted) in [
            (&hello[..], Match::Yes),
            (&find[..], Match::Yes),
            (&hello[..20], Match::Maybe),
            (&hello[..3], Match::Maybe),
            (b"GET / HTTP/1.1\r\n\r\n", Match::No),
            (&[0x3a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xd4, 7, 0, 0, 0, 0, 0, 0, 1, 2, 0], Match::No),
            (&[0; 40], Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40_000, 9])), wanted, "{bytes:02x?}");
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn commands_are_events_with_what_they_are_for_and_how_they_ended() {
        let client = inner(
            "client",
            &[
                inner("application", &[text("name", "shop")]),
                inner("driver", &[text("name", "PyMongo"), text("version", "4.6.1")]),
                inner("os", &[text("type", "Linux"), text("name", "Linux")]),
            ],
        );
        let rights = [double("ok", 0.0), text("errmsg", "command find 'Hunter2PW'"), number("code", 13)];
        let turns: Turns<'_> = &[
            (C, &query("admin.$cmd", &[number("isMaster", 1), client])),
            (S, &reply(&[text("setName", "rs0"), number("maxWireVersion", 21), ok()])),
            (C, &message(0, &[number("buildInfo", 1), text("$db", "admin")])),
            (S, &message(7, &[text("version", "4.4.6"), text("gitVersion", "x"), ok()])),
            (
                C,
                &message(
                    0,
                    &[text("find", "users"), inner("filter", &[text("pin", "Hunter2PW")]), text("$db", "shop")],
                ),
            ),
            (S, &message(7, &[inner("cursor", &[text("version", "9")]), ok()])),
            (C, &message(0, &[text("drop", "users"), text("$db", "shop")])),
            (S, &message(7, &[&rights[..], &[text("codeName", "Unauthorized")]].concat())),
            (C, &message(0, &[text("createUser", "bob"), text("pwd", "Hunter2PW"), text("$db", "shop")])),
            (S, &message(7, &[ok()])),
            (C, &query("shop.users", &[text("name", "Hunter2PW")])),
            (S, &reply(&[text("version", "Hunter2PW"), double("ok", 0.0)])),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "database=admin command=isMaster application=shop driver=PyMongo driver_version=4.6.1 client_os=Linux answered=1 \
             replica_set=rs0 wire_version=21 ok=1",
            "command=buildInfo database=admin answered=1 server_version=4.4.6 ok=1",
            "command=find collection=users database=shop answered=1 ok=1",
            "command=drop collection=users database=shop answered=1 ok=0 code=13 code_name=Unauthorized",
            "command=createUser database=shop answered=1 ok=1",
            "database=shop command=query collection=users answered=1 ok=1",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
        for turn in turns.chunks(2) {
            spoil::<State>(turn);
        }
    }

    #[test]
    fn who_logs_in_is_told_and_never_with_what() {
        let start = |mechanism: &str, payload: &[u8]| {
            let parts = [number("saslStart", 1), text("mechanism", mechanism), binary("payload", payload)];
            message(0, &[&parts[..], &[text("$db", "admin")]].concat())
        };
        let speculative = inner(
            "speculativeAuthenticate",
            &[number("saslStart", 1), text("mechanism", "SCRAM-SHA-256"), binary("payload", b"n,,n=eve,r=Hunter2PW")],
        );
        let turns: Turns<'_> = &[
            (C, &start("SCRAM-SHA-1", b"n,,n=alice,r=Hunter2PW")),
            (S, &message(7, &[ok()])),
            (C, &start("PLAIN", b"\0bob\0Hunter2PW")),
            (S, &message(7, &[ok()])),
            (C, &message(0, &[number("hello", 1), speculative, text("$db", "admin")])),
            (S, &message(7, &[ok()])),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "command=saslStart database=admin mechanism=SCRAM-SHA-1 username=alice answered=2 ok=1",
            "command=saslStart database=admin mechanism=PLAIN username=bob answered=2 ok=1",
            "command=hello mechanism=SCRAM-SHA-256 username=eve database=admin answered=2 ok=1",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec!["password_in_clear"]));
        spoil::<State>(turns);
    }

    #[test]
    fn no_secret_is_told() {
        let secret = "x7Hq2LpZ9v";
        for parts in [
            &[text("createUser", "bob"), text("pwd", secret), text("$db", "shop")][..],
            &[text("updateUser", "bob"), text("pwd", secret), text("$db", "shop")],
            &[number("authenticate", 1), text("user", "bob"), text("nonce", secret), text("key", secret)],
            &[number("saslContinue", 1), binary("payload", secret.as_bytes())],
            &[text("copydb", secret), text("fromhost", secret), text("key", secret)],
        ] {
            let (events, _) = talk::<State>(&[(C, &message(0, parts)), (S, &message(7, &[ok()]))], &[FACTS]);
            assert!(events[0].starts_with("command=") && !events[0].contains(secret), "{events:?}");
        }
    }

    #[test]
    fn long_and_compressed_messages_are_passed_over() {
        let long = message(0, &[text("insert", "big"), text("$db", "shop"), text("x", &"y".repeat(9000))]);
        let compressed = whole(COMPRESSED, 0, &[0xdd, 7, 0, 0, 9, 0, 0, 0, 2, 1, 2, 3]);
        let turns: Turns<'_> =
            &[(C, &long), (S, &message(7, &[ok()])), (C, &compressed), (S, &compressed), (C, &long[..100])];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        assert_eq!(events, ["command=insert collection=big database=shop answered=1 ok=1"]);
        assert_eq!(anomalies, [""; 0]);
        let many = message(0, &[number("ping", 1)]).repeat(500);
        assert!(talk::<State>(&[(C, &many)], &[FACTS]).0.len() <= 500);
        assert_eq!(talk::<State>(&[(C, &[0xff; 64])], &[FACTS]).1, ["malformed"]);
    }
}
