//! Names, units and meanings, in row order.

/// Version of the schema; a model made for another one is refused at start.
pub const SCHEMA_VERSION: u32 = 2;

/// Number of features in a row.
pub const COUNT: usize = 64;

/// The schema of a flow's row.
pub static FLOW: Schema = Schema { name: "flow", version: SCHEMA_VERSION, features: &FEATURES };

/// What the values of a kind of row are; a model's manifest names one.
#[derive(Debug)]
pub struct Schema {
    /// Its name in manifests.
    pub name: &'static str,
    /// Raised by any change of meaning or order.
    pub version: u32,
    /// The values in their order.
    pub features: &'static [Feature],
}

impl Schema {
    /// Values of a row.
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// As JSON, for the training code: `{"name", "version", "features": [{"name", "unit", "meaning"}, ...]}`.
    pub fn json(&self) -> String {
        serde_json::json!({ "name": self.name, "version": self.version, "features": self.features }).to_string()
    }
}

/// Name, unit and meaning of one feature.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Feature {
    /// Name in the manifest and in explanations.
    pub name: &'static str,
    /// Unit after the transformation given in `meaning`.
    pub unit: &'static str,
    /// One sentence.
    pub meaning: &'static str,
}

/// One feature of a table.
pub const fn feature(name: &'static str, unit: &'static str, meaning: &'static str) -> Feature {
    Feature { name, unit, meaning }
}

/// The schema, in row order. `ln` units are `ln(1 + x)` of the unit behind them; "out" is from the originator.
#[rustfmt::skip]
pub const FEATURES: [Feature; COUNT] = [
    feature("duration", "ln us", "From the first packet to the latest."),
    feature("packets_out", "ln packets", "Packets of the originator."),
    feature("packets_in", "ln packets", "Packets of the responder."),
    feature("bytes_out", "ln bytes", "Bytes of the originator on the wire."),
    feature("bytes_in", "ln bytes", "Bytes of the responder on the wire."),
    feature("payload_out", "ln bytes", "Transport payload of the originator."),
    feature("payload_in", "ln bytes", "Transport payload of the responder."),
    feature("length_deviation_out", "ln bytes", "Standard deviation of the originator's packet lengths."),
    feature("length_deviation_in", "ln bytes", "Standard deviation of the responder's packet lengths."),
    feature("gap_mean", "ln us", "Mean time between two packets of either side."),
    feature("gap_deviation", "ln us", "Standard deviation of the time between two packets."),
    feature("gap_max", "ln us", "Longest time between two packets."),
    feature("response", "ln us", "From the first packet to the responder's first one; 0 if there was none."),
    feature("silence", "ln us", "From the latest packet to the moment of this row: 0 unless the flow ended by a time-out."),
    feature("first_payload_out", "ln bytes", "Size of the originator's first payload, in steps of 16; 0 if it is not among the first eight."),
    feature("first_payload_in", "ln bytes", "Size of the responder's first payload, in steps of 16; 0 if it is not among the first eight."),
    feature("window_out", "octaves", "The originator's first TCP window, unscaled, 1 being a window of 8 bytes; 0 for other protocols."),
    feature("syn_count", "packets", "SYNs without ACK, at most 8."),
    feature("longest_out", "256 bytes", "Longest packet of the originator."),
    feature("longest_in", "256 bytes", "Longest packet of the responder."),
    feature("payload_share", "ratio", "Payload to wire bytes, both sides together, at most 1."),
    feature("byte_balance", "ratio", "(out - in) / (out + in) of the wire bytes: 1 if only the originator spoke."),
    feature("reset_out", "flag", "The originator sent an RST."),
    feature("reset_in", "flag", "The responder sent an RST."),
    feature("unanswered", "flag", "Nothing came back, or only a refusal."),
    feature("established", "flag", "Established, or closing."),
    feature("tcp", "flag", "Protocol is TCP."),
    feature("udp", "flag", "Protocol is UDP."),
    feature("icmp", "flag", "Protocol is ICMP or ICMPv6."),
    feature("port_class", "class", "Responder's port: 0 none, 1 well-known (below 1024), 2 registered, 3 ephemeral (from 32768)."),
    feature("login_service", "flag", "Responder's port is one whose services ask for a password (SSH, FTP, mail, databases, remote desktops)."),
    feature("web_service", "flag", "Responder's port is one of HTTP's usual ones."),
    feature("talk_packets", "ln packets", "Packets with payload, at most 16: the talk."),
    feature("talk_turns", "ln turns", "Times that the other side speaks within the talk."),
    feature("talk_share_out", "ratio", "The originator's share of the talk's packets."),
    feature("talk_covered", "ratio", "The talk's share of the flow's payload so far."),
    feature("talk_mean_out", "ln bytes", "Mean payload of the originator's packets of the talk."),
    feature("talk_mean_in", "ln bytes", "The responder's."),
    feature("talk_deviation_out", "ln bytes", "Standard deviation of the same, originator."),
    feature("talk_deviation_in", "ln bytes", "The responder's."),
    feature("talk_first_out", "ln bytes", "The originator's first payload."),
    feature("talk_first_in", "ln bytes", "The responder's."),
    feature("talk_gap_mean", "ln us", "Mean time between packets of the talk."),
    feature("talk_gap_deviation", "ln us", "Its standard deviation."),
    feature("talk_gap_min", "ln us", "The shortest."),
    feature("talk_gap_max", "ln us", "The longest."),
    feature("talk_repeat", "ratio", "Packets as long as the same side's one before, of those that have one before."),
    feature("first_entropy_out", "bits a byte", "Entropy of the first 1024 bytes of the originator's first payload."),
    feature("first_entropy_in", "bits a byte", "The responder's."),
    feature("first_ones_out", "bits a byte", "Bits set in them, originator."),
    feature("first_ones_in", "bits a byte", "The responder's."),
    feature("first_printable_out", "ratio", "Printable ASCII among them, originator."),
    feature("first_printable_in", "ratio", "The responder's."),
    feature("first_run_out", "ln bytes", "Longest run of printable ASCII, originator."),
    feature("first_run_in", "ln bytes", "The responder's."),
    feature("fully_encrypted", "flag", "The originator's first payload meets no exemption of Wu et al."),
    feature("records_out", "ln records", "The originator's records of TLS, DTLS, QUIC within the talk, at most 8."),
    feature("records_in", "ln records", "The responder's."),
    feature("record_mean_out", "ln bytes", "Mean size of the originator's."),
    feature("record_mean_in", "ln bytes", "The responder's."),
    feature("ended", "flag", "The flow is over."),
    feature("closed", "flag", "Both FINs, an RST or an error ended it."),
    feature("refused", "flag", "Closed while all that came back were RSTs or an ICMP error."),
    feature("responder_closed", "flag", "The responder closed first."),
];

impl Feature {
    /// A value of the row in its natural unit, with a name that ends in that unit: what people are told.
    pub fn natural(&self, value: f32) -> (String, f64) {
        let value = f64::from(value);
        let name = self.name;
        match self.unit {
            "ln us" => (format!("{name}_seconds"), value.exp_m1().max(0.0) / 1e6),
            "ln bytes" => (format!("{name}_bytes"), value.exp_m1().max(0.0).round()),
            unit if unit.starts_with("ln ") => (name.to_owned(), value.exp_m1().max(0.0).round()),
            "256 bytes" => (format!("{name}_bytes"), (value * 256.0).round()),
            // Below a window of 8 bytes the scale is the window itself, in eighths.
            "octaves" if value < 1.0 => (format!("{name}_bytes"), (value * 8.0).round()),
            "octaves" => (format!("{name}_bytes"), (value + 2.0).exp2().round()),
            _ => (name.to_owned(), value),
        }
    }
}
