//! Names, units and meanings of the rows, in their order; a test compares with `models/features/schema.py`.

use crate::dataplane::features::Feature;

/// Version of a host's row; any change of meaning or order raises it.
pub const HOST_VERSION: u32 = 1;
/// Version of a pair's row.
pub const PAIR_VERSION: u32 = 1;
/// Version of a sequence.
pub const SEQUENCE_VERSION: u32 = 1;

/// Values of a host's minute.
pub const HOST_COUNT: usize = 32;
/// Values of a pair's hour.
pub const PAIR_COUNT: usize = 20;

const fn column(name: &'static str, unit: &'static str, meaning: &'static str) -> Feature {
    Feature { name, unit, meaning }
}

/// A host's minute. `ln` is `ln(1 + x)` of the unit behind it; "out" is what the host began.
#[rustfmt::skip]
pub const HOST: [Feature; HOST_COUNT] = [
    column("flows_out", "ln flows", "Flows of this host that ended within the window"),
    column("answered_share", "ratio", "Of them: something but a refusal came back"),
    column("refused_share", "ratio", "Of them: refused"),
    column("silent_share", "ratio", "Of them: nothing came back"),
    column("tcp_share", "ratio", "Of them: TCP"),
    column("udp_share", "ratio", "Of them: UDP"),
    column("icmp_share", "ratio", "Of them: ICMP, ICMPv6"),
    column("peers_out", "ln hosts", "Distinct responders, at most 256"),
    column("ports_out", "ln ports", "Distinct protocols and ports, at most 256"),
    column("services_out", "ln services", "Distinct responders with protocol and port, at most 256"),
    column("busiest_share", "ratio", "Flows to the busiest of these; 0 where there are more than 256"),
    column("login_share", "ratio", "Of the flows: to ports that ask for a password"),
    column("web_share", "ratio", "Of the flows: to ports of HTTP"),
    column("dns_share", "ratio", "Of the flows: to port 53"),
    column("bytes_out", "ln bytes", "Sent on the wire"),
    column("bytes_in", "ln bytes", "Received on the wire"),
    column("payload_out", "ln bytes", "Sent payload"),
    column("payload_in", "ln bytes", "Received payload"),
    column("packets_mean", "ln packets", "Mean packets of a flow, both sides"),
    column("duration_mean", "ln us", "Mean duration of a flow"),
    column("payload_out_mean", "ln bytes", "Mean payload that it sent in a flow"),
    column("payload_out_deviation", "ln bytes", "Its standard deviation"),
    column("short_share", "ratio", "Of the flows: at most 4 packets"),
    column("reset_share", "ratio", "Of the flows: either side sent an RST"),
    column("flows_in", "ln flows", "Flows to this host that ended within the window"),
    column("answered_share_in", "ratio", "Of them: it answered with more than a refusal"),
    column("peers_in", "ln hosts", "Distinct originators, at most 256"),
    column("ports_in", "ln ports", "Its distinct protocols and ports, at most 256"),
    column("busiest_share_in", "ratio", "Flows of the busiest originator; 0 where there are more than 256"),
    column("login_share_in", "ratio", "Of them: to ports that ask for a password"),
    column("payload_taken", "ln bytes", "Payload that it received in them"),
    column("payload_given", "ln bytes", "Payload that it sent in them"),
];

/// A pair's hour: an originator, a responder with protocol and port.
#[rustfmt::skip]
pub const PAIR: [Feature; PAIR_COUNT] = [
    column("flows", "ln flows", "Flows of the pair that ended within the window"),
    column("answered_share", "ratio", "Of them: something but a refusal came back"),
    column("refused_share", "ratio", "Of them: refused"),
    column("start_gap_mean", "ln us", "Mean time between the starts of the latest 64"),
    column("start_gap_deviation", "ln us", "Its standard deviation"),
    column("start_gap_median", "ln us", "Its median"),
    column("start_gap_mad", "ln us", "Median distance from the median"),
    column("start_regularity", "ratio", "1 - that distance / median, at least 0"),
    column("start_skew", "ratio", "Bowley's skewness of the gaps, -1 to 1"),
    column("start_spread", "ratio", "Minutes of the window that a flow started in, of 60"),
    column("payload_out_mean", "ln bytes", "Mean payload of the originator a flow"),
    column("payload_out_deviation", "ln bytes", "Its standard deviation"),
    column("payload_in_mean", "ln bytes", "Mean payload of the responder a flow"),
    column("payload_in_deviation", "ln bytes", "Its standard deviation"),
    column("payload_out_regularity", "ratio", "1 - median distance from the median / median of the latest 64, at least 0"),
    column("payload_out_same", "ratio", "Share of the most frequent payload of the originator among the latest 64"),
    column("bytes_out", "ln bytes", "Sent on the wire"),
    column("bytes_in", "ln bytes", "Received on the wire"),
    column("duration_mean", "ln us", "Mean duration of a flow"),
    column("duration_deviation", "ln us", "Its standard deviation"),
];

/// A step of a sequence.
#[rustfmt::skip]
pub const STEP: [Feature; super::STEP_COUNT] = [
    column("direction", "sign", "1 the originator's, -1 the responder's, 0 where there was no packet"),
    column("length", "ln bytes", "Payload"),
    column("gap", "ln us", "Since the packet with payload before; 0 for the first"),
    column("record", "class", "Type of the record that begins the payload: 20 to 24 of TLS and DTLS, 128 to 131 and 64 of QUIC; 0 none"),
];
