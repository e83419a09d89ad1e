//! Application protocols, recognised by what the first bytes say and read as far as people search for it.
//!
//! Untrusted input, every byte. A parser is plain data without memory of its own; it is shown bytes, and answers with facts
//! and how to go on. It never allocates, never panics, reads no clock, and its work is bounded by what it is shown. It
//! deliberately does not: decide what is bad (detectors do), keep payload, keep passwords.
//!
//! | file | owns |
//! | --- | --- |
//! | `protocol` | the list of protocols |
//! | `bytes` | the checked reader |
//! | `facts` | what was found, bounded, in one piece |
//! | `parse` | what a parser is |
//! | `parsers` | all of them as one value, and what recognises each |
//! | `counts` | what happened, in numbers |
//! | `inspector`, `session` | the inspected flows of a queue; one packet of such a flow at its parser |
//! | `nbns` | NetBIOS names and datagrams |
//! | `dhcp` | DHCP, both versions |
//! | `ntp`, `snmp`, `ssdp` | time, management, discovery |
//! | `stun`, `tftp`, `radius`, `syslog` | STUN and TURN, TFTP, RADIUS, syslog |
//! | `sip`, `rtp` | calls, and their media with reports |
//! | `wireguard`, `openvpn`, `ike` | tunnels, as far as they are in the clear |
//! | `memcached` | memcached, text and binary |
//! | `bittorrent` | handshakes, uTP, the table of peers, trackers |
//! | `hostile` | for tests: what every parser must stand |
//! | `text` | text put together in a fixed place |
//! | `dns`, `mdns`, `llmnr` | DNS over UDP and TCP, and its two local relatives |
//! | `der` | the bounded reader of BER and DER |
//! | `scratch` | pieces of a handshake over datagrams, for QUIC and DTLS |
//! | `sides` | a value for each side |
//! | `wide` | UTF-16 and GUIDs |
//! | `kerberos` | Kerberos 5 |
//! | `ntlm` | NTLM messages, inside others |
//! | `smb` | SMB 1, 2 and 3 |
//! | `ldap` | LDAP and CLDAP |
//! | `rdp`, `tpkt` | RDP, and the packets it shares with S7 |
//! | `modbus`, `dnp3`, `iec104`, `s7` | industrial control |
//! | `dcerpc` | DCE/RPC over TCP and pipes |
//! | `spnego` | NTLM or Kerberos inside a security token |
//! | `quic` | QUIC Initial packets, decrypted; Google's versions before |
//! | `dtls` | DTLS hellos and certificates |
//! | `tls` | TLS and SSL 3.0, hellos and certificates; fingerprints |
//! | `http` | HTTP/1.x |
//! | `sql` | inputs that go on as SQL, in what HTTP carries |
//! | `lines` | lines, words, numbers and Base64 |
//! | `tries` | for tests: conversations, cut and spoilt |
//! | `ssh` | SSH |
//! | `sasl` | user names of SMTP, IMAP and POP3 logins |
//! | `ftp` | FTP, the control connection |
//! | `smtp` | SMTP |
//! | `pop3` | POP3 |
//! | `stratum` | mining: Stratum, and peers of Bitcoin and Ethereum |
//! | `mongodb` | MongoDB |
//! | `mqtt` | MQTT |
//! | `pgsql` | PostgreSQL |
//! | `stream` | one side of a TCP connection, put back in order |
//! | `receipt` | whether the receiver of a segment takes it: checksum, timestamp |
//! | `mysql` | MySQL and MariaDB |
//! | `imap` | IMAP |
//! | `redis` | Redis |
//! | `telnet` | Telnet |
//! | `limits` | where each parser stops, and what tells that it did |
//! | `websocket` | WebSocket, behind its upgrade |
//! | `http2` | HTTP/2 in the clear |
//! | `socks` | SOCKS, and what goes through it |
//! | `proxied` | the header of the PROXY protocol in front of a connection |
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

mod allowance;
pub mod bittorrent;
mod bytes;
mod counts;
pub mod dcerpc;
pub mod der;
pub mod dhcp;
pub mod dnp3;
pub mod dns;
pub mod dtls;
mod facts;
pub mod ftp;
#[cfg(test)]
mod hostile;
pub mod http;
pub mod http2;
pub mod iec104;
pub mod ike;
pub mod imap;
mod inspector;
pub mod kerberos;
pub mod ldap;
pub mod limits;
mod lines;
pub mod llmnr;
pub mod mdns;
pub mod memcached;
pub mod modbus;
pub mod mongodb;
pub mod mqtt;
pub mod mysql;
pub mod nbns;
pub mod ntlm;
pub mod ntp;
pub mod openvpn;
mod parse;
mod parsers;
pub mod pgsql;
mod places;
pub mod pop3;
mod protocol;
pub mod proxied;
pub mod quic;
pub mod radius;
pub mod rdp;
mod receipt;
pub mod redis;
pub mod remembered;
mod rings;
pub mod rtp;
pub mod s7;
mod sasl;
mod scratch;
mod servers;
mod session;
mod shares;
mod sides;
pub mod sip;
pub mod smb;
pub mod smtp;
pub mod snmp;
pub mod socks;
mod spnego;
pub mod sql;
pub mod ssdp;
pub mod ssh;
pub mod stratum;
pub mod stream;
pub mod stun;
mod sure;
pub mod syslog;
pub mod telnet;
mod text;
pub mod tftp;
pub mod tls;
mod tpkt;
#[cfg(test)]
mod tries;
pub mod websocket;
mod wide;
pub mod wireguard;

pub use allowance::{BURST_MAX, PER_SECOND_MAX, PER_SECOND_MIN, Rate, Rates};
pub use bytes::Reader;
pub use counts::{Cause, Counts, Unread};
pub use facts::{FACTS_BYTES, Fact, Facts, Kind, Value, number};
pub use inspector::{
    AGAIN_MAX, ANEW_MAX, CONNECTION_BYTES, CONNECTIONS, Event, Inspector, Payload, SCRATCHES, SYN_BYTES, SYNS, Segment,
    Settings, Sink, Wants,
};
pub use parse::{Anomaly, Hole, Key, Look, Match, Output, Parse, Resume, Step, UNIT_MAX};
#[cfg(test)]
pub use parse::{Record, feed};
pub use parsers::{PROBES, Probe, TABLE};
pub use protocol::Protocol;
pub use receipt::SENDERS;
pub use scratch::{SCRATCH_BYTES, Scratch};
pub use session::{IDENTIFY_BYTES, IDENTIFY_DATAGRAMS, OTHERS_LOOKED};
pub use shares::SOURCE_SHARE;
pub use stream::{ANSWER_ON_LIVE, CHECKSUM_INVALID, SYN_ON_LIVE};
