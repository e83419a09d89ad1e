//! Names, units and meanings of the rows, in their order; a test compares with `models/features/schema.py`.

use crate::dataplane::features::{Feature, Schema, feature};

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

/// Places of the values that count flows.
pub const HOST_FLOWS_OUT: usize = 0;
/// Shares of a host's flows: of ICMP.
pub const HOST_ICMP: usize = 6;
/// To port 53.
pub const HOST_DNS: usize = 13;
/// How long a host's flows live on average, the logarithm of microseconds (and one).
pub const HOST_DURATION: usize = 19;
/// Those that a host answers.
pub const HOST_FLOWS_IN: usize = 24;
/// Those of a pair.
pub const PAIR_FLOWS: usize = 0;

/// The schema of a host's row.
pub static HOST_MINUTE: Schema = Schema { name: "host_minute", version: HOST_VERSION, features: &HOST };
/// The schema of a pair's row.
pub static PAIR_HOUR: Schema = Schema { name: "pair_hour", version: PAIR_VERSION, features: &PAIR };

/// A host's minute. `ln` is `ln(1 + x)` of the unit behind it; "out" is what the host began.
#[rustfmt::skip]
pub const HOST: [Feature; HOST_COUNT] = [
    feature("flows_out", "ln flows", "Flows of this host that ended within the window"),
    feature("answered_share", "ratio", "Of them: something but a refusal came back"),
    feature("refused_share", "ratio", "Of them: refused"),
    feature("silent_share", "ratio", "Of them: nothing came back"),
    feature("tcp_share", "ratio", "Of them: TCP"),
    feature("udp_share", "ratio", "Of them: UDP"),
    feature("icmp_share", "ratio", "Of them: ICMP, ICMPv6"),
    feature("peers_out", "ln hosts", "Distinct responders, at most 256"),
    feature("ports_out", "ln ports", "Distinct protocols and ports, at most 256"),
    feature("services_out", "ln services", "Distinct responders with protocol and port, at most 256"),
    feature("busiest_share", "ratio", "Flows to the busiest of these; 0 where there are more than 256"),
    feature("login_share", "ratio", "Of the flows: to ports that ask for a password"),
    feature("web_share", "ratio", "Of the flows: to ports of HTTP"),
    feature("dns_share", "ratio", "Of the flows: to port 53"),
    feature("bytes_out", "ln bytes", "Sent on the wire"),
    feature("bytes_in", "ln bytes", "Received on the wire"),
    feature("payload_out", "ln bytes", "Sent payload"),
    feature("payload_in", "ln bytes", "Received payload"),
    feature("packets_mean", "ln packets", "Mean packets of a flow, both sides"),
    feature("duration_mean", "ln us", "Mean duration of a flow"),
    feature("payload_out_mean", "ln bytes", "Mean payload that it sent in a flow"),
    feature("payload_out_deviation", "ln bytes", "Its standard deviation"),
    feature("short_share", "ratio", "Of the flows: at most 4 packets"),
    feature("reset_share", "ratio", "Of the flows: either side sent an RST"),
    feature("flows_in", "ln flows", "Flows to this host that ended within the window"),
    feature("answered_share_in", "ratio", "Of them: it answered with more than a refusal"),
    feature("peers_in", "ln hosts", "Distinct originators, at most 256"),
    feature("ports_in", "ln ports", "Its distinct protocols and ports, at most 256"),
    feature("busiest_share_in", "ratio", "Flows of the busiest originator; 0 where there are more than 256"),
    feature("login_share_in", "ratio", "Of them: to ports that ask for a password"),
    feature("payload_taken", "ln bytes", "Payload that it received in them"),
    feature("payload_given", "ln bytes", "Payload that it sent in them"),
];

/// A pair's hour: an originator, a responder with protocol and port.
#[rustfmt::skip]
pub const PAIR: [Feature; PAIR_COUNT] = [
    feature("flows", "ln flows", "Flows of the pair that ended within the window"),
    feature("answered_share", "ratio", "Of them: something but a refusal came back"),
    feature("refused_share", "ratio", "Of them: refused"),
    feature("start_gap_mean", "ln us", "Mean time between the starts of the latest 64"),
    feature("start_gap_deviation", "ln us", "Its standard deviation"),
    feature("start_gap_median", "ln us", "Its median"),
    feature("start_gap_mad", "ln us", "Median distance from the median"),
    feature("start_regularity", "ratio", "1 - that distance / median, at least 0"),
    feature("start_skew", "ratio", "Bowley's skewness of the gaps, -1 to 1"),
    feature("start_spread", "ratio", "Minutes of the window that a flow started in, of 60"),
    feature("payload_out_mean", "ln bytes", "Mean payload of the originator a flow"),
    feature("payload_out_deviation", "ln bytes", "Its standard deviation"),
    feature("payload_in_mean", "ln bytes", "Mean payload of the responder a flow"),
    feature("payload_in_deviation", "ln bytes", "Its standard deviation"),
    feature("payload_out_regularity", "ratio", "1 - median distance from the median / median of the latest 64, at least 0"),
    feature("payload_out_same", "ratio", "Share of the most frequent payload of the originator among the latest 64"),
    feature("bytes_out", "ln bytes", "Sent on the wire"),
    feature("bytes_in", "ln bytes", "Received on the wire"),
    feature("duration_mean", "ln us", "Mean duration of a flow"),
    feature("duration_deviation", "ln us", "Its standard deviation"),
];

/// A step of a sequence.
#[rustfmt::skip]
pub const STEP: [Feature; super::STEP_COUNT] = [
    feature("direction", "sign", "1 the originator's, -1 the responder's, 0 where there was no packet"),
    feature("length", "ln bytes", "Payload"),
    feature("gap", "ln us", "Since the packet with payload before; 0 for the first"),
    feature("record", "class", "Type of the record that begins the payload: 20 to 24 of TLS and DTLS, 128 to 131 and 64 of QUIC; 0 none"),
];
