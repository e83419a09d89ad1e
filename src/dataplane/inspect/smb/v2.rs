//! Versions 2 and 3 (MS-SMB2): the chain of commands, and those that are told.

use super::names::{command_2, disposition};
use super::{
    ACCESS, CHAIN_MAX, CLIENT_DIALECT, CLIENT_GUID, COMMAND, DELETE, DIALECT, DIALECTS_MAX, DIRECTORY, DISPOSITION,
    FILE, FILE_ID, FUNCTION, GUEST, ID, MAX_READ, MAX_WRITE, Open, PIPE, Piece, RENAME_TO, SERVER_GUID, SESSION, SHARE,
    SHARE_TYPE, SIGNING, SIZE, STATUS, State, TREE, at, channel, keep_share, name,
};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::dcerpc::{self, Seen};
use crate::dataplane::inspect::facts::Facts;
use crate::dataplane::inspect::parse::{Key, Output};
use crate::dataplane::inspect::spnego;
use crate::dataplane::inspect::text::Text;
use crate::dataplane::inspect::wide::{guid, printed};

/// Bytes of the header (section 2.2.1).
const HEADER: usize = 64;
const FLAG_RESPONSE: u32 = 1;
const FLAG_ASYNC: u32 = 2;
const PENDING: u32 = 0x103;
/// FSCTL_PIPE_TRANSCEIVE (MS-FSCC section 2.3).
const TRANSCEIVE: u32 = 0x0011_c017;

const SESSION_SETUP: u16 = 1;
const TREE_CONNECT: u16 = 3;

struct Header {
    status: u32,
    command: u16,
    flags: u32,
    next: u32,
    id: u64,
    tree: u32,
    session: u64,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = at(bytes, 8)?;
    let (status, command) = (reader.le32()?, reader.le16()?);
    reader.take(2)?;
    let (flags, next, id) = (reader.le32()?, reader.le32()?, reader.le64()?);
    reader.take(4)?;
    let (tree, session) = (reader.le32()?, reader.le64()?);
    Some(Header { status, command, flags, next, id, tree, session })
}

/// Reads a chain of commands (section 3.2.5.1.9).
pub fn messages(state: &mut State, bytes: &[u8], out: &mut dyn Output) {
    let mut rest = bytes;
    for number in 0..CHAIN_MAX {
        let Some(header) = header(rest) else {
            if number > 0 {
                out.limit(); // further on than is shown
            }
            return;
        };
        let next = header.next as usize;
        let one = if next == 0 { rest } else { rest.get(..next).unwrap_or(rest) };
        if header.flags & FLAG_RESPONSE == 0 {
            request(state, &header, one, out);
        } else if header.status != PENDING {
            response(state, &header, one, out);
        }
        if next < HEADER {
            return;
        }
        rest = rest.get(next..).unwrap_or_default();
    }
    out.limit();
}

fn common(header: &Header, facts: &mut Facts) {
    facts.put(COMMAND, command_2(header.command).as_bytes());
    facts.put_number(ID, header.id);
    // The numbers of a session and of a tree that are asked for stand in the answer.
    if header.command != SESSION_SETUP || header.session != 0 {
        facts.put_number(SESSION, header.session);
    }
    if header.flags & FLAG_ASYNC == 0 && header.command != TREE_CONNECT {
        facts.put_number(TREE, u64::from(header.tree));
    }
}

fn request(state: &mut State, header: &Header, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    match header.command {
        0..=3 | 5 => {}
        9 | 11 => return pipe_request(state, header, bytes, out),
        17 if matches!(at(bytes, HEADER + 2)?.array()?, [1, 10 | 13]) => {}
        _ => return None,
    }
    state.begin(header.id, out);
    if matches!(header.command, 5 | 17) && header.flags & FLAG_ASYNC == 0 {
        out.recall(Key::Number(u64::from(header.tree)), SHARE);
    }
    let facts = out.facts();
    common(header, facts);
    match header.command {
        0 => negotiate_request(bytes, facts),
        1 => token(bytes, HEADER + 12, facts),
        3 => {
            let path = buffer(bytes, HEADER + 4)?;
            name(SHARE, path, facts);
            Some(())
        }
        5 => create_request(header.tree == state.pipes && state.pipes != 0, bytes, facts),
        17 => set_info(bytes, facts),
        _ => None,
    }
}

/// What an offset and a length, both of two bytes, at `place` point at.
fn buffer(bytes: &[u8], place: usize) -> Option<&[u8]> {
    let mut reader = at(bytes, place)?;
    let (offset, length) = (usize::from(reader.le16()?), usize::from(reader.le16()?));
    let from = bytes.get(offset..)?;
    Some(from.get(..length).unwrap_or(from))
}

fn token(bytes: &[u8], place: usize, facts: &mut Facts) -> Option<()> {
    spnego::read(buffer(bytes, place)?, facts).then_some(())
}

fn dialect(number: u16) -> Text<16> {
    match number {
        0x02ff => printed(format_args!("2.FF")),
        // 0x0311 is 3.1.1, and written as Suricata does.
        _ => printed(format_args!("{}.{:02x}", number >> 8, number & 0xff)),
    }
}

/// Section 2.2.3.
fn negotiate_request(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let mut reader = at(bytes, HEADER + 2)?;
    let count = reader.le16()?;
    reader.take(8)?;
    facts.put(CLIENT_GUID, guid(reader.array()?).as_bytes());
    reader.take(8)?;
    if count > u16::from(DIALECTS_MAX) {
        facts.mark_truncated();
    }
    for _ in 0..count.min(u16::from(DIALECTS_MAX)) {
        facts.put(CLIENT_DIALECT, dialect(reader.le16()?).as_bytes());
    }
    Some(())
}

/// Section 2.2.13.
fn create_request(is_pipe: bool, bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let mut reader = at(bytes, HEADER + 24)?;
    let access = reader.le32()?;
    reader.take(8)?;
    let (kind, options) = (reader.le32()?, reader.le32()?);
    name(if is_pipe { PIPE } else { FILE }, buffer(bytes, HEADER + 44)?, facts);
    facts.put_number(ACCESS, u64::from(access));
    facts.put(DISPOSITION, disposition(kind).as_bytes());
    if options & 0x0000_0001 != 0 {
        facts.put_number(DIRECTORY, 1);
    }
    if options & 0x0000_1000 != 0 {
        facts.put_number(DELETE, 1);
    }
    Some(())
}

/// Section 2.2.39 with FileRenameInformation or FileDispositionInformation (MS-FSCC sections 2.4.37, 2.4.11).
fn set_info(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let mut reader = at(bytes, HEADER + 3)?;
    let class = reader.u8()?;
    reader.take(4)?;
    let mut data = at(bytes, usize::from(reader.le16()?))?;
    reader.take(6)?;
    facts.put(FILE_ID, guid(reader.array()?).as_bytes());
    if class == 13 {
        facts.put_number(DELETE, u64::from(data.u8()?));
        return Some(());
    }
    data.take(16)?;
    let length = data.le32()? as usize;
    name(RENAME_TO, data.rest().get(..length).unwrap_or(data.rest()), facts);
    Some(())
}

/// A write (section 2.2.21) or a control (2.2.31) that carries DCE/RPC.
fn pipe_request(state: &mut State, header: &Header, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let (mut handle, offset, length) = match header.command {
        9 => {
            let mut fields = at(bytes, HEADER + 2)?;
            (at(bytes, HEADER + 16)?, u32::from(fields.le16()?), fields.le32()?)
        }
        _ => {
            let mut fields = at(bytes, HEADER + 24)?;
            (at(bytes, HEADER + 8)?, fields.le32()?, fields.le32()?)
        }
    };
    let function = (header.command == 11).then(|| at(bytes, HEADER + 4)?.le32()).flatten();
    if function.is_some_and(|function| function != TRANSCEIVE) {
        return None;
    }
    let handle: [u8; 16] = handle.array()?;
    let piece = Piece::of(&handle, bytes, offset as usize, length as usize)?;
    if state.goes_on(&piece, out) {
        return Some(());
    }
    dcerpc::header(piece.data)?;
    state.begin(header.id, out);
    let facts = out.facts();
    common(header, facts);
    if let Some(function) = function {
        facts.put_number(FUNCTION, u64::from(function));
    }
    facts.put(FILE_ID, guid(handle).as_bytes());
    state.fragment(&piece, facts).map(|_| ())
}

fn response(state: &mut State, header: &Header, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    if header.command == 8 {
        return pipe_answer(state, bytes, HEADER + 2, out);
    }
    // Version 2 may answer the negotiation of version 1 (section 3.3.5.3.1), which had another number.
    let waits = state.waits_for(header.id) || (header.command == 0 && state.open == Open::Message);
    if !waits {
        // An answer whose request was not seen stands alone, if nothing else is open and it says something.
        let says = matches!(header.command, 0 | 1 | 3) || (header.command == 5 && header.status != 0);
        if state.open != Open::Nothing || !says {
            return None;
        }
        out.facts().sent_by(Side::Responder);
        common(header, out.facts());
    }
    let facts = out.facts();
    facts.put_number(STATUS, u64::from(header.status));
    if facts.get(SESSION).is_none() {
        facts.put_number(SESSION, header.session);
    }
    if header.command == TREE_CONNECT && header.status == 0 {
        facts.put_number(TREE, u64::from(header.tree));
    }
    match header.command {
        0 => negotiate_response(bytes, facts),
        1 => session_response(bytes, facts),
        3 if header.status == 0 => tree_response(state, header, bytes, facts),
        5 if header.status == 0 => create_response(state, bytes, facts),
        9 if header.status == 0 => {
            state.open = Open::Pipe;
            return Some(());
        }
        11 => control_response(state, bytes, facts),
        _ => None,
    };
    if header.command == TREE_CONNECT && header.status == 0 {
        keep_share(header.tree.into(), out);
    }
    state.close(out);
    Some(())
}

/// Section 2.2.4.
fn negotiate_response(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let mut reader = at(bytes, HEADER + 2)?;
    let (mode, number) = (reader.le16()?, reader.le16()?);
    reader.take(2)?;
    facts.put(DIALECT, dialect(number).as_bytes());
    facts.put(SERVER_GUID, guid(reader.array()?).as_bytes());
    reader.take(8)?;
    facts.put_number(MAX_READ, u64::from(reader.le32()?));
    facts.put_number(MAX_WRITE, u64::from(reader.le32()?));
    facts.put_number(SIGNING, u64::from(mode & 3));
    Some(())
}

/// Section 2.2.6.
fn session_response(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let flags = at(bytes, HEADER + 2)?.le16()?;
    if flags & 3 != 0 {
        facts.put_number(GUEST, u64::from(flags & 3));
    }
    token(bytes, HEADER + 4, facts)
}

/// Section 2.2.10.
fn tree_response(state: &mut State, header: &Header, bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let kind = match at(bytes, HEADER + 2)?.u8()? {
        1 => "FILE",
        2 => "PIPE",
        3 => "PRINT",
        _ => return None,
    };
    if kind == "PIPE" {
        state.pipes = header.tree;
    }
    facts.put(SHARE_TYPE, kind.as_bytes());
    Some(())
}

/// Section 2.2.14.
fn create_response(state: &mut State, bytes: &[u8], facts: &mut Facts) -> Option<()> {
    facts.put_number(SIZE, at(bytes, HEADER + 48)?.le64()?);
    let handle = at(bytes, HEADER + 64)?.array()?;
    facts.put(FILE_ID, guid(handle).as_bytes());
    if let Some(name) = facts.get(PIPE) {
        state.calls.opened(channel(&handle), name);
    }
    Some(())
}

/// Section 2.2.32.
fn control_response(state: &mut State, bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let data = bytes.get(at(bytes, HEADER + 32)?.le32()? as usize..)?;
    state.calls.fragment(0, dcerpc::header(data)?, data, facts);
    Some(())
}

/// What is read from a pipe (section 2.2.20), if a call waits for it.
fn pipe_answer(state: &mut State, bytes: &[u8], place: usize, out: &mut dyn Output) -> Option<()> {
    if state.open != Open::Pipe {
        return None;
    }
    let data = bytes.get(usize::from(at(bytes, place)?.u8()?)..)?;
    if state.calls.fragment(0, dcerpc::header(data)?, data, out.facts()) == Seen::Answer {
        state.close(out);
    }
    Some(())
}
