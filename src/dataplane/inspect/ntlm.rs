//! NTLM messages (MS-NLMP 2.2.1) wherever they travel: SMB, DCE/RPC, HTTP, LDAP, mail.
//!
//! Read are the kind of message, names (domain, user, workstation, target) and the version of the operating system. The
//! responses to the challenge and the session key are never looked at, but for whether there is a response at all.
//!
//! A shared helper, no parser of a flow: the carrier calls [`read`] with the message, or [`find`] first where the message
//! stands inside SPNEGO (RFC 4178).
//!
//! | fact | EVE |
//! | --- | --- |
//! | `domain`, `user`, `workstation` | `smb.ntlmssp.domain`, `.user`, `.host` |
//! | `version` | `smb.ntlmssp.version` |

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::protocol::Protocol;
use super::wide::{printed, utf16};

/// Bytes of a name at most, after its change to UTF-8.
pub const NAME_MAX: usize = 128;
/// Bytes that are searched for the begin of a message inside another's token.
pub const SEARCH_MAX: usize = 512;

/// Kinds of messages seen: 1 negotiate, 2 challenge, 3 authenticate.
pub const MESSAGE: Fact = Fact::number(Protocol::Ntlm, 0, "message_type").repeated(3);
/// Domain of the user.
pub const DOMAIN: Fact = Fact::text(Protocol::Ntlm, 1, "domain", NAME_MAX as u16);
/// Name of the user; absent where he is anonymous.
pub const USER: Fact = Fact::text(Protocol::Ntlm, 2, "user", NAME_MAX as u16);
/// Name of the client's machine.
pub const WORKSTATION: Fact = Fact::text(Protocol::Ntlm, 3, "workstation", NAME_MAX as u16);
/// The server or domain that asks.
pub const TARGET: Fact = Fact::text(Protocol::Ntlm, 4, "target_name", NAME_MAX as u16);
/// DNS name of the server, of its domain.
pub const TARGET_DNS: Fact = Fact::text(Protocol::Ntlm, 5, "target_dns_name", NAME_MAX as u16);
/// DNS name of the server's domain.
pub const TARGET_DOMAIN: Fact = Fact::text(Protocol::Ntlm, 6, "target_dns_domain", NAME_MAX as u16);
/// Version of the client's operating system.
pub const VERSION: Fact = Fact::text(Protocol::Ntlm, 7, "version", 32);
/// Version of the server's operating system.
pub const TARGET_VERSION: Fact = Fact::text(Protocol::Ntlm, 8, "target_version", 32);
/// 1 where a user logs on without name and response.
pub const ANONYMOUS: Fact = Fact::number(Protocol::Ntlm, 9, "anonymous");

/// All of them.
pub const FACTS: &[Fact] =
    &[MESSAGE, DOMAIN, USER, WORKSTATION, TARGET, TARGET_DNS, TARGET_DOMAIN, VERSION, TARGET_VERSION, ANONYMOUS];

const SIGNATURE: &[u8] = b"NTLMSSP\0";
const UNICODE: u32 = 0x0000_0001;
const HAS_VERSION: u32 = 0x0200_0000;
/// Pairs of the target's description that are read at most.
pub(super) const PAIRS_MAX: usize = 16;

/// The message inside `token`, if one begins within [`SEARCH_MAX`] bytes.
pub fn find(token: &[u8]) -> Option<&[u8]> {
    let searched = token.get(..SEARCH_MAX).unwrap_or(token);
    let at = searched.windows(SIGNATURE.len()).position(|window| window == SIGNATURE)?;
    token.get(at..)
}

/// Reads a message that begins with `NTLMSSP`; false where it is none.
pub fn read(message: &[u8], facts: &mut Facts) -> bool {
    fields(message, facts).is_some()
}

fn fields(message: &[u8], facts: &mut Facts) -> Option<()> {
    let mut reader = Reader::new(message.strip_prefix(SIGNATURE)?);
    let kind = reader.le32()?;
    if !(1..=3).contains(&kind) {
        return None;
    }
    facts.put_number(MESSAGE, u64::from(kind));
    match kind {
        1 => negotiate(message, reader, facts),
        2 => challenge(message, reader, facts),
        _ => authenticate(message, reader, facts),
    };
    Some(())
}

fn negotiate(message: &[u8], mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let flags = reader.le32()?;
    // Names here are in the OEM character set (MS-NLMP 2.2.1.1).
    let (domain, workstation) = (buffer(message, &mut reader)?, buffer(message, &mut reader)?);
    name(DOMAIN, domain, false, facts);
    name(WORKSTATION, workstation, false, facts);
    version(VERSION, flags, reader, facts)
}

fn challenge(message: &[u8], mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let target = buffer(message, &mut reader)?;
    let flags = reader.le32()?;
    reader.take(16)?;
    let about = buffer(message, &mut reader)?;
    name(TARGET, target, flags & UNICODE != 0, facts);
    version(TARGET_VERSION, flags, reader, facts);
    let mut about = Reader::new(about);
    for pair in 0..=PAIRS_MAX {
        if pair == PAIRS_MAX {
            facts.mark_truncated();
            break;
        }
        let (id, length) = (about.le16()?, about.le16()?);
        let value = about.take(usize::from(length))?;
        match id {
            0 => break,
            3 => name(TARGET_DNS, value, true, facts),
            4 => name(TARGET_DOMAIN, value, true, facts),
            _ => {}
        }
    }
    Some(())
}

fn authenticate(message: &[u8], mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
    reader.take(8)?;
    let (response, _) = (reader.le16()?, reader.take(6)?);
    let (domain, user) = (buffer(message, &mut reader)?, buffer(message, &mut reader)?);
    let workstation = buffer(message, &mut reader)?;
    reader.take(8)?;
    let flags = reader.le32()?;
    let unicode = flags & UNICODE != 0;
    name(DOMAIN, domain, unicode, facts);
    name(USER, user, unicode, facts);
    name(WORKSTATION, workstation, unicode, facts);
    if user.is_empty() && response == 0 {
        facts.put_number(ANONYMOUS, 1);
    }
    version(VERSION, flags, reader, facts)
}

/// What a length and an offset point at (MS-NLMP 2.2.1: both from the begin of the message); empty where it is cut off.
fn buffer<'a>(message: &'a [u8], reader: &mut Reader<'_>) -> Option<&'a [u8]> {
    let (length, _, offset) = (usize::from(reader.le16()?), reader.le16()?, reader.le32()? as usize);
    Some(message.get(offset..offset.saturating_add(length)).unwrap_or_default())
}

fn name(fact: Fact, value: &[u8], unicode: bool, facts: &mut Facts) {
    match (value.is_empty(), unicode) {
        (true, _) => {}
        (false, true) => facts.put(fact, utf16::<NAME_MAX>(value).as_bytes()),
        (false, false) => facts.put(fact, value),
    }
}

fn version(fact: Fact, flags: u32, mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
    if flags & HAS_VERSION != 0 {
        let (major, minor, build) = (reader.u8()?, reader.u8()?, reader.le16()?);
        reader.take(3)?;
        let revision = reader.u8()?;
        if (major, minor, build) != (0, 0, 0) {
            let text = printed::<32>(format_args!("{major}.{minor} build {build} rev {revision}"));
            facts.put(fact, text.as_bytes());
        }
    }
    Some(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// A message of the kind 3.
    pub fn authenticate_message(domain: &str, user: &str, workstation: &str) -> Vec<u8> {
        let mut head = [SIGNATURE, &3u32.to_le_bytes()].concat();
        let mut tail: Vec<u8> = Vec::new();
        let nt = if user.is_empty() { Vec::new() } else { vec![0xaa; 24] };
        for part in [vec![0xbb; 24], nt, wide(domain), wide(user), wide(workstation), vec![0xcc; 16]] {
            head.extend((part.len() as u16).to_le_bytes());
            head.extend((part.len() as u16).to_le_bytes());
            head.extend((72 + tail.len() as u32).to_le_bytes());
            tail.extend(part);
        }
        head.extend((UNICODE | HAS_VERSION).to_le_bytes());
        head.extend([10, 0, 0x63, 0x45, 0, 0, 0, 15]);
        [head, tail].concat()
    }

    /// A message of the kind 2.
    pub fn challenge_message(target: &str, dns: &str) -> Vec<u8> {
        let (target, dns) = (wide(target), wide(dns));
        let mut about = [&[3, 0][..], &(dns.len() as u16).to_le_bytes(), &dns, &[0, 0, 0, 0]].concat();
        let mut message = [SIGNATURE, &2u32.to_le_bytes()].concat();
        let mut field = |length: usize, offset: usize| {
            message.extend((length as u16).to_le_bytes());
            message.extend((length as u16).to_le_bytes());
            message.extend((offset as u32).to_le_bytes());
            if message.len() == 20 {
                message.extend((UNICODE | HAS_VERSION).to_le_bytes());
                message.extend([0x11; 16]);
            }
        };
        field(target.len(), 56);
        field(about.len(), 56 + target.len());
        message.extend([6, 1, 0xb1, 0x1d, 0, 0, 0, 15]);
        message.extend(target);
        message.append(&mut about);
        message
    }

    #[test]
    fn names_and_version_are_read_and_responses_are_not() {
        let token = [&[0x60, 0x48, 0x06][..], &authenticate_message("CORP", "bär", "PC7")].concat();
        let mut facts = Facts::default();
        assert!(read(find(&token).unwrap(), &mut facts));
        let text = |fact| facts.get(fact).map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(text(DOMAIN).as_deref(), Some("CORP"));
        assert_eq!(text(USER).as_deref(), Some("bär"));
        assert_eq!(text(WORKSTATION).as_deref(), Some("PC7"));
        assert_eq!(text(VERSION).as_deref(), Some("10.0 build 17763 rev 15"));
        assert_eq!(facts.number(ANONYMOUS), None);
        for secret in [[0xaa; 8], [0xbb; 8], [0xcc; 8]] {
            assert!(!facts.as_bytes().windows(8).any(|window| window == secret));
        }
    }

    #[test]
    fn a_challenge_names_the_server() {
        let mut facts = Facts::default();
        assert!(read(&challenge_message("CORP", "dc1.corp.example"), &mut facts));
        assert_eq!(facts.get(TARGET), Some(&b"CORP"[..]));
        assert_eq!(facts.get(TARGET_DNS), Some(&b"dc1.corp.example"[..]));
        assert_eq!(facts.get(TARGET_VERSION), Some(&b"6.1 build 7601 rev 15"[..]));
        facts.clear();
        assert!(read(&authenticate_message("", "", ""), &mut facts));
        assert_eq!((facts.number(ANONYMOUS), facts.get(USER)), (Some(1), None));
    }

    #[test]
    fn cut_and_bent_messages_do_no_harm() {
        for message in [authenticate_message("CORP", "user", "PC"), challenge_message("CORP", "dc.corp")] {
            for cut in 0..message.len() {
                read(&message[..cut], &mut Facts::default());
            }
            for at in 0..message.len() {
                for bit in 0..8 {
                    let mut bent = message.clone();
                    bent[at] ^= 1 << bit;
                    read(&bent, &mut Facts::default());
                    find(&bent);
                }
            }
        }
        assert!(!read(b"NTLMSSP\0\x04\0\0\0", &mut Facts::default()));
        assert_eq!(find(&[0; 2000]), None);
    }
}
