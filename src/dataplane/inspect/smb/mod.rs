//! SMB 1, 2 and 3 over TCP (port 445, and NetBIOS sessions on 139): MS-CIFS, MS-SMB, MS-SMB2.
//!
//! Read are dialects offered and chosen, who logs on (NTLM or Kerberos inside SPNEGO), shares, names of files and pipes,
//! renames and deletions, DCE/RPC inside pipes, status of each. Deliberately not read: contents of files, directories,
//! anything inside SMB 3's encryption or compression, passwords and responses to challenges.
//!
//! An event is a request of those with its answer; others make none unless they fail alone. One is open at a time: the next
//! one of interest sends it up as it is. Of a message the first [`HEAD_MAX`] bytes are put together ([`DATA_HEAD_MAX`] of
//! reads and writes longer than [`PIPE_MAX`]), the rest is skipped; of a chain [`CHAIN_MAX`] commands are read.
//!
//! | fact | EVE |
//! | --- | --- |
//! | `command`, `status` ([`status_name`], and in hexadecimal) | `smb.command`, `smb.status`, `smb.status_code` |
//! | `id`, `session_id`, `tree_id` | the same below `smb` |
//! | `dialect`, `client_dialect` | `smb.dialect`, `smb.client_dialects` |
//! | `client_guid`, `server_guid`, `max_read_size`, `max_write_size` | the same below `smb` |
//! | `share`, of requests for files that of their tree, and `share_type` | `smb.share`, `smb.share_type` |
//! | `service`, `share_type` with SMB 1 | `smb.service.request`, `smb.service.response` |
//! | `filename`, `named_pipe`, `directory`, `disposition` | the same below `smb` |
//! | `rename_to` (from: `filename`) | `smb.rename.to`; `smb.set_info.class` is `FILE_INFO` |
//! | `size`, `fuid` | `smb.size`, `smb.fuid` |
//! | `function`, `subcommand` | `smb.function` (hexadecimal), `smb.subcmd` |
//! | `native_os`, `native_lm`, `server_native_os`, `server_native_lm` | `smb.request`, `smb.response`: `.native_os`, `.native_lm` |
//! | facts of NTLM, Kerberos, DCE/RPC | `smb.ntlmssp`, `smb.kerberos`, `smb.dcerpc` |

mod names;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub use names::status_name;

use super::bytes::Reader;
use super::dcerpc::{self, Calls, Seen};
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Hole, Key, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use super::remembered::TEXT_MAX;
use super::sides::Sides;
use super::text::Text;
use super::wide::utf16;
use crate::dataplane::flow::Side;

/// Bytes of a message that are put together.
pub const HEAD_MAX: usize = 4096;
/// Bytes of a message that are put together where data of files follows.
pub const DATA_HEAD_MAX: usize = 512;
/// Reads and writes up to so many bytes may be those of a pipe, and are put together like others.
pub const PIPE_MAX: usize = 6144;
/// Commands of a chain that are read at most.
pub const CHAIN_MAX: usize = 8;
/// Bytes of a name at most, in UTF-8.
pub const NAME_MAX: usize = 512;
/// Dialects that are told at most.
pub const DIALECTS_MAX: u8 = 16;

/// Command, as `SMB2_COMMAND_CREATE`.
pub const COMMAND: Fact = Fact::text(Protocol::Smb, 0, "command", 40);
/// NT status of the answer.
pub const STATUS: Fact = Fact::number(Protocol::Smb, 1, "status");
/// Number of the message.
pub const ID: Fact = Fact::number(Protocol::Smb, 2, "id");
/// Number of the session.
pub const SESSION: Fact = Fact::number(Protocol::Smb, 3, "session_id");
/// Number of the tree; where one is asked for the number that the server gave.
pub const TREE: Fact = Fact::number(Protocol::Smb, 4, "tree_id");
/// Dialect that the server chose.
pub const DIALECT: Fact = Fact::text(Protocol::Smb, 5, "dialect", 32);
/// Dialects that the client offers.
pub const CLIENT_DIALECT: Fact = Fact::text(Protocol::Smb, 6, "client_dialect", 32).repeated(DIALECTS_MAX);
/// GUID of the client.
pub const CLIENT_GUID: Fact = Fact::text(Protocol::Smb, 7, "client_guid", 36);
/// GUID of the server.
pub const SERVER_GUID: Fact = Fact::text(Protocol::Smb, 8, "server_guid", 36);
/// Path of a share, `\\server\share`.
pub const SHARE: Fact = Fact::text(Protocol::Smb, 9, "share", NAME_MAX as u16);
/// `FILE`, `PIPE` or `PRINT`; with SMB 1 the service's own word.
pub const SHARE_TYPE: Fact = Fact::text(Protocol::Smb, 10, "share_type", 16);
/// Name of a file that is opened, made, deleted or renamed.
pub const FILE: Fact = Fact::text(Protocol::Smb, 11, "filename", NAME_MAX as u16);
/// Name of a pipe that is opened.
pub const PIPE: Fact = Fact::text(Protocol::Smb, 12, "named_pipe", NAME_MAX as u16);
/// What is to be done where the file exists or not, as `FILE_OPEN_IF`.
pub const DISPOSITION: Fact = Fact::text(Protocol::Smb, 13, "disposition", 24);
/// New name of a file.
pub const RENAME_TO: Fact = Fact::text(Protocol::Smb, 14, "rename_to", NAME_MAX as u16);
/// Size of the opened file in bytes.
pub const SIZE: Fact = Fact::number(Protocol::Smb, 15, "size");
/// Identity of the opened file.
pub const FILE_ID: Fact = Fact::text(Protocol::Smb, 16, "fuid", 36);
/// Rights that were asked for (MS-SMB2 section 2.2.13.1).
pub const ACCESS: Fact = Fact::number(Protocol::Smb, 17, "access_mask");
/// 1 where a directory is asked for.
pub const DIRECTORY: Fact = Fact::number(Protocol::Smb, 18, "directory");
/// 1 where the file is to vanish when it is closed, or is deleted.
pub const DELETE: Fact = Fact::number(Protocol::Smb, 19, "delete");
/// Control code (FSCTL).
pub const FUNCTION: Fact = Fact::number(Protocol::Smb, 20, "function");
/// Number of a transaction's command (SMB 1).
pub const SUBCOMMAND: Fact = Fact::number(Protocol::Smb, 21, "subcommand");
/// Bytes of one read at most.
pub const MAX_READ: Fact = Fact::number(Protocol::Smb, 22, "max_read_size");
/// Bytes of one write at most.
pub const MAX_WRITE: Fact = Fact::number(Protocol::Smb, 23, "max_write_size");
/// 1 where the session is a guest's, 2 where nobody's.
pub const GUEST: Fact = Fact::number(Protocol::Smb, 24, "session_flags");
/// Security mode of the server: 1 signing possible, 2 demanded, both are 3.
pub const SIGNING: Fact = Fact::number(Protocol::Smb, 25, "signing");
/// Operating system of the client (SMB 1).
pub const NATIVE_OS: Fact = Fact::text(Protocol::Smb, 26, "native_os", 64);
/// LAN manager of the client (SMB 1).
pub const NATIVE_LM: Fact = Fact::text(Protocol::Smb, 27, "native_lm", 64);
/// Operating system of the server (SMB 1).
pub const SERVER_OS: Fact = Fact::text(Protocol::Smb, 28, "server_native_os", 64);
/// LAN manager of the server (SMB 1).
pub const SERVER_LM: Fact = Fact::text(Protocol::Smb, 29, "server_native_lm", 64);
/// User who logs on without NTLM's messages (SMB 1).
pub const ACCOUNT: Fact = Fact::text(Protocol::Smb, 30, "account", 128);
/// His domain.
pub const ACCOUNT_DOMAIN: Fact = Fact::text(Protocol::Smb, 31, "account_domain", 128);
/// 1 once messages are encrypted (SMB 3).
pub const ENCRYPTED: Fact = Fact::number(Protocol::Smb, 32, "encrypted");
/// NetBIOS name that is called.
pub const CALLED: Fact = Fact::text(Protocol::Smb, 33, "netbios_called", 16);
/// NetBIOS name of the caller.
pub const CALLING: Fact = Fact::text(Protocol::Smb, 34, "netbios_calling", 16);

/// Service that is wanted of a share (SMB 1): `?????` is any.
pub const SERVICE: Fact = Fact::text(Protocol::Smb, 35, "service", 16);

/// All of them.
pub const FACTS: &[Fact] = &[
    COMMAND,
    STATUS,
    ID,
    SESSION,
    TREE,
    DIALECT,
    CLIENT_DIALECT,
    CLIENT_GUID,
    SERVER_GUID,
    SHARE,
    SHARE_TYPE,
    FILE,
    PIPE,
    DISPOSITION,
    RENAME_TO,
    SIZE,
    FILE_ID,
    ACCESS,
    DIRECTORY,
    DELETE,
    FUNCTION,
    SUBCOMMAND,
    MAX_READ,
    MAX_WRITE,
    GUEST,
    SIGNING,
    NATIVE_OS,
    NATIVE_LM,
    SERVER_OS,
    SERVER_LM,
    ACCOUNT,
    ACCOUNT_DOMAIN,
    ENCRYPTED,
    CALLED,
    CALLING,
    SERVICE,
];

/// Version 1 is spoken (not only offered).
pub const VERSION_1: Anomaly = Anomaly::new(Protocol::Smb, 0, "smb1_used");
/// Not a message, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::Smb, 1, "malformed");
/// A transaction that nobody but exploits sends (TRANS2 SESSION_SETUP, MS-CIFS section 2.2.6.15: reserved).
pub const RESERVED_TRANSACTION: Anomaly = Anomaly::new(Protocol::Smb, 2, "reserved_transaction");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[VERSION_1, MALFORMED, RESERVED_TRANSACTION];

const SMB1: &[u8] = b"\xffSMB";
const SMB2: &[u8] = b"\xfeSMB";
/// Encrypted messages of a connection after which nothing in the clear is expected any more.
pub(super) const ENCRYPTED_MAX: u8 = 64;
const ENCRYPTED_SMB3: &[u8] = b"\xfdSMB";
const COMPRESSED_SMB3: &[u8] = b"\xfcSMB";

/// Is it SMB? A NetBIOS session's request for names counts too.
pub fn probe(look: &Look<'_>) -> Match {
    match look.bytes.split_first() {
        _ if look.is_datagram => Match::No,
        None => Match::Maybe,
        Some((0, rest)) => probe_message(rest),
        Some((0x81, rest)) => probe_names(rest),
        // A positive answer has no contents: what follows tells.
        Some((0x82, rest)) => match rest {
            [0, 0, 0, 0, after @ ..] => probe_message(after),
            [0, 0, 0] | [0, 0] | [0] | [] => Match::Maybe,
            _ => Match::No,
        },
        _ => Match::No,
    }
}

/// After the type: three bytes of length, the mark, the size of the header.
fn probe_message(bytes: &[u8]) -> Match {
    let mut reader = Reader::new(bytes);
    let length = reader.be24();
    if length.is_some_and(|length| length < 35) {
        return Match::No;
    }
    let rest = reader.rest();
    if length.is_none() || rest.is_empty() {
        return Match::Maybe;
    }
    let begins = |mark: &[u8]| rest.iter().zip(mark).all(|(byte, wanted)| byte == wanted);
    match rest.len() {
        0..6 if [SMB1, &[0xfe, b'S', b'M', b'B', 64, 0], ENCRYPTED_SMB3, COMPRESSED_SMB3].into_iter().any(begins) => {
            Match::Maybe
        }
        6.. if [SMB1, &[0xfe, b'S', b'M', b'B', 64, 0], ENCRYPTED_SMB3].into_iter().any(begins) => Match::Yes,
        _ => Match::No,
    }
}

/// Two names of 32 letters from A to P (RFC 1002 section 4.3.2).
fn probe_names(bytes: &[u8]) -> Match {
    let is_name = |at: usize, byte: u8| match at {
        0 => byte <= 1,
        1 => byte == 0,
        2 => byte >= 68,
        3 => byte == 32,
        _ => byte.is_ascii_uppercase() && byte <= b'P',
    };
    let fits = bytes.iter().take(36).enumerate().all(|(at, byte)| is_name(at, *byte));
    match (fits, bytes.len()) {
        (false, _) => Match::No,
        (true, 36..) => Match::Yes,
        (true, _) => Match::Maybe,
    }
}

/// What the event that is being put together waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Open {
    /// There is none.
    #[default]
    Nothing,
    /// The answer to this message.
    Message,
    /// The answer of a pipe, which a later message reads.
    Pipe,
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    /// Number of the message that is open.
    id: u64,
    calls: Calls,
    /// Rest of a long message, by side.
    skip: Sides<u32>,
    /// Tree of the share of pipes.
    pipes: u32,
    open: Open,
    /// A message of this side was read.
    in_step: Sides<bool>,
    /// Version 1 was told.
    is_old: bool,
    /// Encrypted messages met.
    encrypted: u8,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let skip = std::mem::take(self.skip.of(side));
        if skip > 0 {
            return Step::Skip(u64::from(skip));
        }
        let mut reader = Reader::new(bytes);
        let (Some(kind), Some(length)) = (reader.u8(), reader.be24().map(|length| length as usize)) else {
            return Step::Need(4);
        };
        if kind == 0 && length == 0 {
            return Step::Took(4);
        }
        let most = match (kind, reader.rest()) {
            (0, rest) if length >= 20 => match most(rest, length) {
                Ok(most) => most,
                Err(Match::Maybe) => return Step::Need(4 + 20),
                Err(_) => return self.give_up(side, out),
            },
            (0x81..=0x85, _) if length <= 256 => HEAD_MAX,
            _ => return self.give_up(side, out),
        };
        let shown = length.min(most);
        let Some(message) = reader.take(shown) else { return Step::Need(4 + shown) };
        *self.in_step.of(side) = true;
        *self.skip.of(side) = (length - shown) as u32; // of three bytes
        match kind {
            0 if message.starts_with(ENCRYPTED_SMB3) && self.encrypted >= ENCRYPTED_MAX => {
                out.limit();
                return Step::Done;
            }
            0 if message.starts_with(ENCRYPTED_SMB3) => self.encrypted(message, out),
            0 => self.message(message, out),
            0x81 => names::session_request(message, out.facts()),
            _ => {}
        }
        Step::Took(4 + shown)
    }

    fn gap(&mut self, side: Side, hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        let mut reader = Reader::new(hole.before);
        let resume = match (std::mem::take(self.skip.of(side)), reader.u8(), reader.be24()) {
            (0, Some(_), Some(length)) => hole.within(4 + u64::from(length)),
            (0, ..) => Resume::Done,
            (rest, ..) => hole.before_end(u64::from(rest)),
        };
        if resume == Resume::Done {
            out.event();
        }
        resume
    }
}

/// Bytes of a message of this length worth waiting for, from its first 20.
fn most(bytes: &[u8], length: usize) -> Result<usize, Match> {
    let mark = bytes.get(..4).ok_or(Match::Maybe)?;
    match mark {
        SMB1 => match bytes.get(4).ok_or(Match::Maybe)? {
            0x2e | 0x2f if length > PIPE_MAX => Ok(DATA_HEAD_MAX),
            _ => Ok(HEAD_MAX),
        },
        SMB2 => match bytes.get(12).ok_or(Match::Maybe)? {
            8 | 9 | 11 if length > PIPE_MAX => Ok(DATA_HEAD_MAX),
            _ => Ok(HEAD_MAX),
        },
        ENCRYPTED_SMB3 | COMPRESSED_SMB3 => Ok(64),
        _ => Err(Match::No),
    }
}

impl State {
    fn give_up(&mut self, side: Side, out: &mut dyn Output) -> Step {
        out.event();
        if *self.in_step.of(side) { Step::Broken(MALFORMED) } else { Step::Done }
    }

    fn message(&mut self, bytes: &[u8], out: &mut dyn Output) {
        if bytes.starts_with(SMB1) {
            v1::message(self, bytes, out);
        } else if bytes.starts_with(SMB2) {
            v2::messages(self, bytes, out);
        }
    }

    /// Nothing of a message that is encrypted can be read; it is told once (MS-SMB2 section 2.2.41). Shares are encrypted one
    /// by one: others of the connection may be in the clear.
    fn encrypted(&mut self, bytes: &[u8], out: &mut dyn Output) {
        out.event();
        self.open = Open::Nothing;
        if self.encrypted == 0 {
            out.facts().put_number(ENCRYPTED, 1);
            if let Some(session) = at(bytes, 44).and_then(|mut reader| reader.le64()) {
                out.facts().put_number(SESSION, session);
            }
            out.event();
        }
        self.encrypted += 1; // at most ENCRYPTED_MAX
    }

    /// Begins an event with this message; the one before goes up as it is.
    fn begin(&mut self, id: u64, out: &mut dyn Output) {
        if self.open != Open::Nothing {
            out.event();
        }
        (self.open, self.id) = (Open::Message, id);
    }

    /// Does the event that is open wait for this message?
    fn waits_for(&self, id: u64) -> bool {
        self.open == Open::Message && self.id == id
    }

    /// Is what is written to a pipe the rest of a bind? Then it is read on, and makes no event of its own.
    fn goes_on(&mut self, piece: &Piece<'_>, out: &mut dyn Output) -> bool {
        if !self.calls.goes_on(piece.channel) {
            return false;
        }
        let facts = (self.open != Open::Nothing).then(|| out.facts());
        self.calls.go_on(piece.data, facts);
        if !piece.is_whole {
            self.calls.break_off();
        }
        true
    }

    /// Reads the fragment that is written to a pipe, if one begins there.
    fn fragment(&mut self, piece: &Piece<'_>, facts: &mut Facts) -> Option<Seen> {
        let seen = self.calls.fragment(piece.channel, dcerpc::header(piece.data)?, piece.data, facts);
        if !piece.is_whole {
            self.calls.break_off();
        }
        Some(seen)
    }

    /// Ends the event.
    fn close(&mut self, out: &mut dyn Output) {
        self.open = Open::Nothing;
        out.event();
    }
}

/// What a message writes to a pipe.
struct Piece<'a> {
    channel: u16,
    data: &'a [u8],
    /// All of it is shown.
    is_whole: bool,
}

impl<'a> Piece<'a> {
    /// `length` bytes from `offset` of a message on, to the pipe of this handle.
    fn of(handle: &[u8], message: &'a [u8], offset: usize, length: usize) -> Option<Piece<'a>> {
        let rest = message.get(offset..)?;
        Some(Piece {
            channel: channel(handle),
            data: rest.get(..length).unwrap_or(rest),
            is_whole: length <= rest.len(),
        })
    }
}

/// Remembers the share of a tree that the server granted.
fn keep_share(tree: u64, out: &mut dyn Output) {
    let mut share = Text::<{ TEXT_MAX + 1 }>::default();
    share.extend(out.facts().get(SHARE).unwrap_or_default());
    if share.as_bytes().len() > TEXT_MAX {
        out.limit();
    } else if !share.is_empty() {
        out.remember(Key::Number(tree), share.as_bytes());
    }
}

/// A reader from `offset` on.
fn at(bytes: &[u8], offset: usize) -> Option<Reader<'_>> {
    bytes.get(offset..).map(Reader::new)
}

/// Puts a name in UTF-16.
fn name(fact: Fact, bytes: &[u8], facts: &mut Facts) {
    facts.put(fact, utf16::<NAME_MAX>(bytes).as_bytes());
}

/// A channel of [`Calls`] for the handle of a pipe; never 0.
fn channel(handle: &[u8]) -> u16 {
    handle.iter().fold(1_u16, |sum, byte| sum.rotate_left(5) ^ u16::from(*byte)) | 1
}
