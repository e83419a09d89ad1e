//! What a connection can have that its protocol does not know of.

use super::super::parse::Anomaly;
use super::super::protocol::Protocol;
use crate::dataplane::decode::{FragmentAnomaly, HeaderAnomaly};

/// Two segments say different things about the same bytes: what the receiver took of them is a guess, which is how an
/// inspection is evaded.
pub const OVERLAP_DIFFERENT: Anomaly = Anomaly::new(Protocol::Unknown, 0, "reassembly_overlap_different_data");

/// Bytes that its receiver acknowledged were never seen here, in the midst of something that was being read: the tap lost
/// them, or somebody made it look so. Suricata's name.
pub const GAP_IN_UNIT: Anomaly = Anomaly::new(Protocol::Unknown, 1, "reassembly_seq_gap");

/// A segment that its receiver drops, for its checksum is wrong: only this tap would have read it.
pub const CHECKSUM_INVALID: Anomaly = Anomaly::new(Protocol::Unknown, 2, "pkt_invalid_checksum");

/// The same of a packet, for the checksum of its IPv4 header is; told as of fragments.
pub const HEADER_CHECKSUM_INVALID: Anomaly =
    Anomaly::new(Protocol::Unknown, FragmentAnomaly::WrongChecksum.number(), FragmentAnomaly::WrongChecksum.name());

/// The same of a datagram, for its checksum is.
pub const DATAGRAM_CHECKSUM_INVALID: Anomaly =
    Anomaly::new(Protocol::Unknown, HeaderAnomaly::UdpChecksum.number(), HeaderAnomaly::UdpChecksum.name());

/// A segment that its receiver drops, for its timestamp is older than what the receiver holds. Suricata's name.
pub const TIMESTAMP_INVALID: Anomaly = Anomaly::new(Protocol::Unknown, 3, "pkt_invalid_timestamp");

/// SYNs, or the answers to one, that begin their side at different numbers: a decoy, or a new connection before the old one was
/// given up. Suricata's name for the answers.
pub const BEGINNING_DIFFERENT: Anomaly = Anomaly::new(Protocol::Unknown, 4, "3whs_synack_resend_with_diff_seq");

/// The same of SYNs without ACK, before they were answered.
pub const SYN_DIFFERENT: Anomaly = Anomaly::new(Protocol::Unknown, 5, "3whs_syn_resend_diff_seq");

/// Urgent data: receivers take the byte out of the stream unless told otherwise (RFC 6093), and it is read here.
pub const URGENT: Anomaly = Anomaly::new(Protocol::Unknown, 6, "urgent_data");

/// What one side said named a protocol, and what the other one says is surely not of it: one of them is a decoy, or the
/// ends do not understand each other. Suricata's name.
pub const PROTOCOLS_DIFFER: Anomaly = Anomaly::new(Protocol::Unknown, 7, "applayer_mismatch_protocol_both_directions");

/// A SYN with other numbers on a connection that goes on: its receiver takes no notice of it (RFC 9293 section 3.10.7.4), or
/// the tap has missed how the old one ended. Suricata's name.
pub const SYN_ON_LIVE: Anomaly = Anomaly::new(Protocol::Unknown, 8, "est_syn_resend_diff_seq");

/// The same of the answer to a SYN. Suricata's name.
pub const ANSWER_ON_LIVE: Anomaly = Anomaly::new(Protocol::Unknown, 9, "est_synack_resend_with_different_ack");

/// As much of a side was read as the settings allow: what it says from here on is not. Suricata's name.
pub const DEPTH_REACHED: Anomaly = Anomaly::new(Protocol::Unknown, 10, "reassembly_depth_reached");

/// What a connection can have that its protocol does not know of.
pub const ANOMALIES: &[Anomaly] = &[
    OVERLAP_DIFFERENT,
    GAP_IN_UNIT,
    CHECKSUM_INVALID,
    TIMESTAMP_INVALID,
    BEGINNING_DIFFERENT,
    SYN_DIFFERENT,
    URGENT,
    PROTOCOLS_DIFFER,
    SYN_ON_LIVE,
    ANSWER_ON_LIVE,
    DEPTH_REACHED,
];
