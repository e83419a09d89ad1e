#!/usr/bin/env python3
"""Names, units and meanings of version 2, in row order; `schema.py --write` puts them into README.md.

"out" is from the originator. `ln` units are ln(1 + x) of the unit behind them.
"""

import os
import sys

import flow_v1

VERSION = 2
LN = ("ln us", "ln bytes", "ln packets", "ln flows", "ln records", "ln hosts", "ln ports", "ln services", "ln turns")

TALK = [
    ("talk_packets", "ln packets", "Packets with payload, at most 16: the talk"),
    ("talk_turns", "ln turns", "Times that the other side speaks within the talk"),
    ("talk_share_out", "ratio", "The originator's share of the talk's packets"),
    ("talk_covered", "ratio", "The talk's share of the flow's payload so far"),
    ("talk_mean_out", "ln bytes", "Mean payload of the originator's packets of the talk"),
    ("talk_mean_in", "ln bytes", "The responder's"),
    ("talk_deviation_out", "ln bytes", "Standard deviation of the same, originator"),
    ("talk_deviation_in", "ln bytes", "The responder's"),
    ("talk_first_out", "ln bytes", "The originator's first payload"),
    ("talk_first_in", "ln bytes", "The responder's"),
    ("talk_gap_mean", "ln us", "Mean time between packets of the talk"),
    ("talk_gap_deviation", "ln us", "Its standard deviation"),
    ("talk_gap_min", "ln us", "The shortest"),
    ("talk_gap_max", "ln us", "The longest"),
    ("talk_repeat", "ratio", "Packets as long as the same side's one before, of those that have one before"),
    ("first_entropy_out", "bits a byte", "Entropy of the first 1024 bytes of the originator's first payload"),
    ("first_entropy_in", "bits a byte", "The responder's"),
    ("first_ones_out", "bits a byte", "Bits set in them, originator"),
    ("first_ones_in", "bits a byte", "The responder's"),
    ("first_printable_out", "ratio", "Printable ASCII among them, originator"),
    ("first_printable_in", "ratio", "The responder's"),
    ("first_run_out", "ln bytes", "Longest run of printable ASCII, originator"),
    ("first_run_in", "ln bytes", "The responder's"),
    ("fully_encrypted", "flag", "The originator's first payload meets no exemption of Wu et al."),
    ("records_out", "ln records", "The originator's records of TLS, DTLS, QUIC within the talk, at most 8"),
    ("records_in", "ln records", "The responder's"),
    ("record_mean_out", "ln bytes", "Mean size of the originator's"),
    ("record_mean_in", "ln bytes", "The responder's"),
]
LIFE = [
    ("ended", "flag", "The flow is over"),
    ("closed", "flag", "Both FINs, an RST or an error ended it"),
    ("refused", "flag", "Closed while all that came back were RSTs or an ICMP error"),
    ("responder_closed", "flag", "The responder closed first"),
]
FLOW = [(name, "as in version 1", "") for name in flow_v1.NAMES] + TALK + LIFE

HOST = [
    ("flows_out", "ln flows", "Flows of this host that ended within the window"),
    ("answered_share", "ratio", "Of them: something but a refusal came back"),
    ("refused_share", "ratio", "Of them: refused"),
    ("silent_share", "ratio", "Of them: nothing came back"),
    ("tcp_share", "ratio", "Of them: TCP"),
    ("udp_share", "ratio", "Of them: UDP"),
    ("icmp_share", "ratio", "Of them: ICMP, ICMPv6"),
    ("peers_out", "ln hosts", "Distinct responders, at most 256"),
    ("ports_out", "ln ports", "Distinct protocols and ports, at most 256"),
    ("services_out", "ln services", "Distinct responders with protocol and port, at most 256"),
    ("busiest_share", "ratio", "Flows to the busiest of these; 0 where there are more than 256"),
    ("login_share", "ratio", "Of the flows: to ports that ask for a password"),
    ("web_share", "ratio", "Of the flows: to ports of HTTP"),
    ("dns_share", "ratio", "Of the flows: to port 53"),
    ("bytes_out", "ln bytes", "Sent on the wire"),
    ("bytes_in", "ln bytes", "Received on the wire"),
    ("payload_out", "ln bytes", "Sent payload"),
    ("payload_in", "ln bytes", "Received payload"),
    ("packets_mean", "ln packets", "Mean packets of a flow, both sides"),
    ("duration_mean", "ln us", "Mean duration of a flow"),
    ("payload_out_mean", "ln bytes", "Mean payload that it sent in a flow"),
    ("payload_out_deviation", "ln bytes", "Its standard deviation"),
    ("short_share", "ratio", "Of the flows: at most 4 packets"),
    ("reset_share", "ratio", "Of the flows: either side sent an RST"),
    ("flows_in", "ln flows", "Flows to this host that ended within the window"),
    ("answered_share_in", "ratio", "Of them: it answered with more than a refusal"),
    ("peers_in", "ln hosts", "Distinct originators, at most 256"),
    ("ports_in", "ln ports", "Its distinct protocols and ports, at most 256"),
    ("busiest_share_in", "ratio", "Flows of the busiest originator; 0 where there are more than 256"),
    ("login_share_in", "ratio", "Of them: to ports that ask for a password"),
    ("payload_taken", "ln bytes", "Payload that it received in them"),
    ("payload_given", "ln bytes", "Payload that it sent in them"),
]

PAIR = [
    ("flows", "ln flows", "Flows of the pair that ended within the window"),
    ("answered_share", "ratio", "Of them: something but a refusal came back"),
    ("refused_share", "ratio", "Of them: refused"),
    ("start_gap_mean", "ln us", "Mean time between the starts of the latest 64"),
    ("start_gap_deviation", "ln us", "Its standard deviation"),
    ("start_gap_median", "ln us", "Its median"),
    ("start_gap_mad", "ln us", "Median distance from the median"),
    ("start_regularity", "ratio", "1 - that distance / median, at least 0"),
    ("start_skew", "ratio", "Bowley's skewness of the gaps, -1 to 1"),
    ("start_spread", "ratio", "Minutes of the window that a flow started in, of 60"),
    ("payload_out_mean", "ln bytes", "Mean payload of the originator a flow"),
    ("payload_out_deviation", "ln bytes", "Its standard deviation"),
    ("payload_in_mean", "ln bytes", "Mean payload of the responder a flow"),
    ("payload_in_deviation", "ln bytes", "Its standard deviation"),
    ("payload_out_regularity", "ratio", "1 - median distance from the median / median of the latest 64, at least 0"),
    ("payload_out_same", "ratio", "Share of the most frequent payload of the originator among the latest 64"),
    ("bytes_out", "ln bytes", "Sent on the wire"),
    ("bytes_in", "ln bytes", "Received on the wire"),
    ("duration_mean", "ln us", "Mean duration of a flow"),
    ("duration_deviation", "ln us", "Its standard deviation"),
]

STEP = [
    ("direction", "sign", "1 the originator's, -1 the responder's, 0 where there was no packet"),
    ("length", "ln bytes", "Payload"),
    ("gap", "ln us", "Since the packet with payload before; 0 for the first"),
    ("record", "class", "Type of the record that begins the payload: 20 to 24 of TLS and DTLS, 128 to 131 and 64 of QUIC; 0 none"),
]

TABLES = [("A flow", FLOW[len(flow_v1.NAMES):]), ("A host's minute", HOST), ("A pair's hour", PAIR),
          ("A step of a sequence (16 a flow)", STEP)]
BEGIN, END = "<!-- schema: models/features/schema.py -->", "<!-- end of schema -->"


def page():
    parts = []
    for title, columns in TABLES:
        parts += [f"### {title}\n\n| column | unit | meaning |\n| --- | --- | --- |"]
        parts[-1] += "".join(f"\n| `{name}` | {unit} | {meaning} |" for name, unit, meaning in columns) + "\n"
    return "\n".join(parts)


def readme():
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")


def with_page(text):
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{page()}\n{END}{rest.split(END)[1]}"


def main():
    with open(readme()) as file:
        text = file.read()
    if "--write" in sys.argv:
        with open(readme(), "w") as file:
            file.write(with_page(text))
    return 0 if "--write" in sys.argv or with_page(text) == text else 1


if __name__ == "__main__":
    sys.exit(main())
