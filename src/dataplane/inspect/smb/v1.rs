//! Version 1 (MS-CIFS, MS-SMB): the chain of ANDX commands, and those that are told.

use super::CLIENT_DIALECT;
use super::names::{command_1, disposition, open_mode};
use super::{
    ACCESS, ACCOUNT, ACCOUNT_DOMAIN, COMMAND, DIALECT, DIALECTS_MAX, DISPOSITION, FILE, GUEST, ID, NAME_MAX, NATIVE_LM,
    NATIVE_OS, Open, PIPE, Piece, RENAME_TO, RESERVED_TRANSACTION, SERVER_GUID, SERVER_LM, SERVER_OS, SERVICE, SESSION,
    SHARE, SHARE_TYPE, SIGNING, STATUS, SUBCOMMAND, State, TREE, VERSION_1, at, channel, keep_share,
};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::bytes::Reader;
use crate::dataplane::inspect::dcerpc::{self, Seen};
use crate::dataplane::inspect::facts::{Fact, Facts};
use crate::dataplane::inspect::parse::{Key, Output};
use crate::dataplane::inspect::spnego;
use crate::dataplane::inspect::wide::{guid, utf16};

/// Bytes of the header (MS-CIFS section 2.2.3.1).
const HEADER: usize = 32;
/// Commands of a chain at most.
const CHAIN_MAX: usize = 4;
const FLAG_REPLY: u8 = 0x80;
const UNICODE: u16 = 0x8000;
const NT_STATUS: u16 = 0x4000;

struct Header {
    command: u8,
    status: u32,
    is_reply: bool,
    unicode: bool,
    tree: u16,
    user: u16,
    id: u64,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = at(bytes, 4)?;
    let (command, status, flags, flags2) = (reader.u8()?, reader.le32()?, reader.u8()?, reader.le16()?);
    reader.take(12)?;
    let (tree, process, user, multiplex) = (reader.le16()?, reader.le16()?, reader.le16()?, reader.le16()?);
    let id = u64::from(process) << 16 | u64::from(multiplex);
    // Without NT status it is a DOS class and code; both are kept as they are.
    let status = if flags2 & NT_STATUS == 0 && status != 0 { status & 0xffff_00ff } else { status };
    let (is_reply, unicode) = (flags & FLAG_REPLY != 0, flags2 & UNICODE != 0);
    Some(Header { command, status, is_reply, unicode, tree, user, id })
}

/// A command's words and bytes, and where they stand in the message.
struct Block<'a> {
    message: &'a [u8],
    words: &'a [u8],
    bytes: &'a [u8],
    /// Where `bytes` begin.
    begin: usize,
}

fn block(message: &[u8], offset: usize) -> Option<Block<'_>> {
    let mut reader = at(message, offset)?;
    let count = usize::from(reader.u8()?);
    let words = reader.take(2 * count)?;
    let length = usize::from(reader.le16()?);
    let bytes = reader.rest().get(..length).unwrap_or(reader.rest());
    Some(Block { message, words, bytes, begin: offset + 3 + 2 * count })
}

/// Reads a message and the commands that are chained to it.
pub fn message(state: &mut State, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let header = header(bytes)?;
    if !state.is_old && (header.command != 0x72 || (header.is_reply && chosen(bytes) != Some(0xffff))) {
        state.is_old = header.command != 0x72 || chosen(bytes).is_some();
        if state.is_old {
            out.anomaly(VERSION_1);
        }
    }
    if header.is_reply { replies(state, &header, bytes, out) } else { requests(state, &header, bytes, out) }
}

/// Index of the dialect that the server chose.
fn chosen(bytes: &[u8]) -> Option<u16> {
    Reader::new(block(bytes, HEADER)?.words).le16()
}

/// The command and the place of the next one in the chain (MS-CIFS section 2.2.3.4); places only grow.
fn chained(command: u8, block: &Block<'_>, place: usize) -> Option<(u8, usize)> {
    if !matches!(command, 0x24 | 0x2d | 0x2e | 0x2f | 0x73 | 0x74 | 0x75 | 0xa2) {
        return None;
    }
    let mut words = Reader::new(block.words);
    let (next, _, offset) = (words.u8()?, words.u8()?, usize::from(words.le16()?));
    (next != 0xff && offset > place).then_some((next, offset))
}

fn requests(state: &mut State, header: &Header, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let (mut command, mut place) = (header.command, HEADER);
    for _ in 0..CHAIN_MAX {
        let block = block(bytes, place)?;
        if piece(command, &block).is_some_and(|piece| state.goes_on(&piece, out)) {
            // The rest of a bind; nothing is chained to a write.
            return Some(());
        }
        if is_told(command, &block) {
            if !state.waits_for(header.id) || place == HEADER {
                state.begin(header.id, out);
            }
            common(header, command, out.facts());
            if command == 0x32 {
                out.anomaly(RESERVED_TRANSACTION);
            }
            request(state, header, command, &block, out.facts());
            if matches!(command, 0x06 | 0x07 | 0x2d | 0xa2) {
                out.recall(Key::Number(header.tree.into()), SHARE);
            }
        }
        (command, place) = chained(command, &block, place)?;
    }
    out.limit();
    Some(())
}

fn common(header: &Header, command: u8, facts: &mut Facts) {
    facts.put(COMMAND, command_1(command).as_bytes());
    facts.put_number(ID, header.id & 0xffff);
    // The numbers of a session and of a tree that are asked for stand in the answer.
    let asks = matches!(command, 0x73 | 0x75);
    if !asks || header.user != 0 {
        facts.put_number(SESSION, u64::from(header.user));
    }
    if !asks {
        facts.put_number(TREE, u64::from(header.tree));
    }
}

/// Is this one of the requests that make an event?
fn is_told(command: u8, block: &Block<'_>) -> bool {
    match command {
        0x06 | 0x07 | 0x2d | 0x72 | 0x73 | 0x74 | 0x75 | 0xa0 | 0xa2 => true,
        0x2f => piece(command, block).and_then(|piece| dcerpc::header(piece.data)).is_some(),
        0x25 => setup(block).is_some(),
        // TRANS2_SESSION_SETUP
        0x32 => setup(block) == Some(0x0e),
        _ => false,
    }
}

fn request(state: &mut State, header: &Header, command: u8, block: &Block<'_>, facts: &mut Facts) -> Option<()> {
    let unicode = header.unicode;
    let mut texts = Texts { block, at: 0, unicode };
    match command {
        0x72 => dialects(block.bytes, facts),
        0x73 => session(block, &mut texts, facts),
        0x75 => {
            // The password stands in front (MS-CIFS section 2.2.4.55.1); it is passed over.
            texts.at = usize::from(at(block.words, 6)?.le16()?);
            texts.put(SHARE, facts)?;
            texts.unicode = false;
            texts.put(SERVICE, facts)
        }
        0xa2 => create(state, header, block, &mut texts, facts),
        0x2d => {
            texts.put(FILE, facts)?;
            facts.put(DISPOSITION, open_mode(at(block.words, 16)?.le16()?).as_bytes());
            Some(())
        }
        0x06 | 0x07 => {
            texts.at = 1;
            texts.put(FILE, facts)?;
            texts.at += 1;
            if command == 0x07 { texts.put(RENAME_TO, facts) } else { Some(()) }
        }
        0x2f => state.fragment(&piece(command, block)?, facts).map(|_| ()),
        0x25 => transaction(state, block, &mut texts, facts),
        0x32 | 0xa0 => {
            facts.put_number(SUBCOMMAND, u64::from(setup(block)?));
            Some(())
        }
        _ => None,
    }
}

/// Strings of a block, one after the other.
struct Texts<'a> {
    block: &'a Block<'a>,
    at: usize,
    unicode: bool,
}

impl Texts<'_> {
    /// Puts the next string, with the padding in front (MS-CIFS section 2.2.1.1.2: aligned to two bytes of the message).
    fn put(&mut self, fact: Fact, facts: &mut Facts) -> Option<()> {
        if self.unicode {
            self.at += (self.block.begin + self.at) % 2;
        }
        let rest = self.block.bytes.get(self.at..)?;
        if self.unicode {
            let units = rest.chunks_exact(2).position(|pair| pair == [0, 0]).unwrap_or(rest.len() / 2);
            let text = rest.get(..2 * units)?;
            self.at += 2 * units + 2;
            if !text.is_empty() {
                facts.put(fact, utf16::<NAME_MAX>(text).as_bytes());
            }
        } else {
            let text = rest.split(|byte| *byte == 0).next()?;
            self.at += text.len() + 1;
            if !text.is_empty() {
                facts.put(fact, text);
            }
        }
        Some(())
    }
}

/// MS-CIFS section 2.2.4.52.1.
fn dialects(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let mut reader = Reader::new(bytes);
    for _ in 0..DIALECTS_MAX {
        if reader.u8()? != 2 {
            return None;
        }
        facts.put(CLIENT_DIALECT, reader.until(0)?);
    }
    if !reader.is_empty() {
        facts.mark_truncated();
    }
    Some(())
}

/// MS-CIFS section 2.2.4.53.1 with 13 words, MS-SMB section 2.2.4.6.1 with 12.
fn session(block: &Block<'_>, texts: &mut Texts<'_>, facts: &mut Facts) -> Option<()> {
    let mut words = at(block.words, 14)?;
    match block.words.len() {
        24 => {
            texts.at = usize::from(words.le16()?);
            spnego::read(block.bytes.get(..texts.at).unwrap_or(block.bytes), facts);
        }
        26 => {
            // Passwords, passed over.
            texts.at = usize::from(words.le16()?) + usize::from(words.le16()?);
            texts.put(ACCOUNT, facts)?;
            texts.put(ACCOUNT_DOMAIN, facts)?;
        }
        _ => return None,
    }
    texts.put(NATIVE_OS, facts)?;
    texts.put(NATIVE_LM, facts)
}

/// MS-CIFS section 2.2.4.64.1.
fn create(state: &State, header: &Header, block: &Block<'_>, texts: &mut Texts<'_>, facts: &mut Facts) -> Option<()> {
    let is_pipe = state.pipes != 0 && state.pipes == u32::from(header.tree);
    texts.put(if is_pipe { PIPE } else { FILE }, facts)?;
    let mut words = at(block.words, 15)?;
    facts.put_number(ACCESS, u64::from(words.le32()?));
    words.take(16)?;
    facts.put(DISPOSITION, disposition(words.le32()?).as_bytes());
    Some(())
}

/// What a write (MS-CIFS section 2.2.4.43.1) or a transaction (section 2.2.4.33.1) brings to a pipe.
fn piece<'a>(command: u8, block: &Block<'a>) -> Option<Piece<'a>> {
    let (handle, place) = match command {
        0x2f => (4, 20),
        0x25 => (30, 22),
        _ => return None,
    };
    let handle = at(block.words, handle)?.array::<2>()?;
    let mut words = at(block.words, place)?;
    let (length, offset) = (usize::from(words.le16()?), usize::from(words.le16()?));
    if offset < HEADER { None } else { Piece::of(&handle, block.message, offset, length) }
}

/// The first word of setup: the command of a transaction.
fn setup(block: &Block<'_>) -> Option<u16> {
    // NT_TRANSACT has its function in the last word (MS-CIFS section 2.2.4.62.1).
    let place = if block.words.len() >= 38 { 36 } else { 28 };
    at(block.words, place)?.le16()
}

fn transaction(state: &mut State, block: &Block<'_>, texts: &mut Texts<'_>, facts: &mut Facts) -> Option<()> {
    let function = setup(block)?;
    facts.put_number(SUBCOMMAND, u64::from(function));
    // TRANS_TRANSACT_NMPIPE names all pipes the same.
    if function != 0x26 {
        texts.put(PIPE, facts);
    }
    state.fragment(&piece(0x25, block)?, facts).map(|_| ())
}

fn replies(state: &mut State, header: &Header, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    if header.command == 0x2e {
        return read_reply(state, bytes, out);
    }
    if !state.waits_for(header.id) {
        if state.open != Open::Nothing || !matches!(header.command, 0x72 | 0x73 | 0x75) {
            return None;
        }
        out.facts().sent_by(Side::Responder);
        common(header, header.command, out.facts());
    }
    let facts = out.facts();
    facts.put_number(STATUS, u64::from(header.status));
    facts.put_number(SESSION, u64::from(header.user)); // unless the request had one
    if header.status == 0 {
        facts.put_number(TREE, u64::from(header.tree));
    }
    reply_chain(state, header, bytes, facts);
    if header.status == 0 && matches!(header.command, 0x73 | 0x75) {
        keep_share(header.tree.into(), out);
    }
    if header.command == 0x2f && header.status == 0 {
        state.open = Open::Pipe;
    } else {
        state.close(out);
    }
    Some(())
}

fn reply_chain(state: &mut State, header: &Header, bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let (mut command, mut place) = (header.command, HEADER);
    for _ in 0..CHAIN_MAX {
        let block = block(bytes, place)?;
        reply(state, header, command, &block, facts);
        (command, place) = chained(command, &block, place)?;
    }
    facts.mark_truncated();
    Some(())
}

fn reply(state: &mut State, header: &Header, command: u8, block: &Block<'_>, facts: &mut Facts) -> Option<()> {
    let mut texts = Texts { block, at: 0, unicode: header.unicode };
    match command {
        0x72 => negotiated(block, facts),
        0x73 => {
            let action = at(block.words, 4)?.le16()?;
            if action & 1 != 0 {
                facts.put_number(GUEST, 1);
            }
            if block.words.len() == 8 {
                texts.at = usize::from(at(block.words, 6)?.le16()?);
                spnego::read(block.bytes.get(..texts.at).unwrap_or(block.bytes), facts);
            }
            texts.put(SERVER_OS, facts)?;
            texts.put(SERVER_LM, facts)
        }
        0x75 => {
            let service = block.bytes.split(|byte| *byte == 0).next()?;
            if service == b"IPC" {
                state.pipes = u32::from(header.tree);
            }
            if !service.is_empty() {
                facts.put(SHARE_TYPE, service);
            }
            Some(())
        }
        0xa2 if header.status == 0 => {
            // MS-CIFS section 2.2.4.64.2.
            let handle = at(block.words, 5)?.array::<2>()?;
            if let Some(name) = facts.get(PIPE) {
                state.calls.opened(channel(&handle), name);
            }
            Some(())
        }
        0x25 => {
            // MS-CIFS section 2.2.4.33.2: the data's place is the eighth word.
            let data = block.message.get(usize::from(at(block.words, 14)?.le16()?)..)?;
            state.calls.fragment(0, dcerpc::header(data)?, data, facts);
            Some(())
        }
        _ => None,
    }
}

/// MS-CIFS section 2.2.4.52.2, MS-SMB section 2.2.4.5.2.
fn negotiated(block: &Block<'_>, facts: &mut Facts) -> Option<()> {
    let mut words = Reader::new(block.words);
    let index = usize::from(words.le16()?);
    let name = facts.all(CLIENT_DIALECT).nth(index).map(|name| {
        let mut copy = crate::dataplane::inspect::text::Text::<32>::default();
        copy.extend(name);
        copy
    });
    if let Some(name) = name {
        facts.put(DIALECT, name.as_bytes());
    }
    if block.words.len() == 34 {
        facts.put_number(SIGNING, u64::from(words.u8()? >> 2 & 3));
        // CAP_EXTENDED_SECURITY: a GUID stands in front of the token.
        if at(block.words, 19)?.le32()? & 0x8000_0000 != 0 {
            let mut bytes = Reader::new(block.bytes);
            facts.put(SERVER_GUID, guid(bytes.array()?).as_bytes());
        }
    }
    Some(())
}

/// What is read from a pipe (MS-CIFS section 2.2.4.42.2), if a call waits for it.
fn read_reply(state: &mut State, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    if state.open != Open::Pipe {
        return None;
    }
    let offset = usize::from(at(block(bytes, HEADER)?.words, 12)?.le16()?);
    let data = bytes.get(offset..)?;
    if state.calls.fragment(0, dcerpc::header(data)?, data, out.facts()) == Seen::Answer {
        state.close(out);
    }
    Some(())
}
