//! Records, where the schema has places for them and where it has none.

use super::*;

/// Records of the answer section: name, type, seconds, data.
fn answers<'a>(records: &[(u64, &'a str)]) -> Vec<(Fact, Is<'a>)> {
    let [name, kind, ttl, data] = i::dns::SET.sections[0];
    let one = |(number, value): &(u64, &'a str)| {
        [(name, text("a.example")), (kind, Number(*number)), (ttl, Number(60)), (data, text(value))]
    };
    records.iter().flat_map(one).collect()
}

#[test]
fn answers_stand_by_type_too() {
    let records = [
        (1, "192.0.2.1"),
        (5, "b.example"),
        (1, "192.0.2.2"),
        (6, "m. r. 1 2 3 4 5"),
        (6, "odd"),
        (65, "1 ."),
        (16, "one\ntwo"),
    ];
    let mut values = answers(&records);
    values.push((i::dns::SET.qr, Number(1)));
    let (_, objects, _) = rendered(Protocol::Dns, &values);
    let soa = json!({"mname": "m.", "rname": "r.", "serial": 1, "refresh": 2, "retry": 3, "expire": 4, "minimum": 5});
    let grouped = json!({"A": ["192.0.2.1", "192.0.2.2"], "CNAME": ["b.example"], "SOA": [soa], "TXT": ["one", "two"]});
    assert_eq!(objects["dns"]["grouped"], grouped);
    let strings: Vec<_> = objects["dns"]["answers"].as_array().into_iter().flatten().skip(6).collect();
    let string = |data: &str| json!({"rrname": "a.example", "rrtype": "TXT", "ttl": 60, "rdata": data});
    assert_eq!(strings, [&string("one"), &string("two")]);
}

/// Of mDNS the schema has names, and the data of two types.
#[test]
fn records_of_mdns_stand_whole_beside_the_object() {
    let set = &i::mdns::SET;
    let records = [
        (0, 12, "_ipp._tcp.local", "Lab._ipp._tcp.local"),
        (2, 33, "Lab._ipp._tcp.local", "0 0 631 printer.local"),
        (2, 16, "Lab._ipp._tcp.local", "txtvers=1\npdl=x"),
        (2, 1, "printer.local", "192.0.2.1"),
    ];
    let mut values = vec![(set.qr, Number(1)), (set.flags, Number(0x8420)), (set.aa, Number(1))];
    for (section, number, owner, content) in records {
        let [name, kind, ttl, data] = set.sections[section];
        values.extend([(name, text(owner)), (kind, Number(number)), (ttl, Number(120)), (data, text(content))]);
    }
    // Cut here: what has no partner stays as it is.
    values.push((set.sections[2][0], text("cut.local")));
    let object = json!({
        "type": "response", "flags": ["aa"], "rcode": 0,
        "answers": [{"rrname": "_ipp._tcp.local", "ptr": "Lab._ipp._tcp.local"}],
        "additionals": [
            {"rrname": "Lab._ipp._tcp.local"},
            {"rrname": "Lab._ipp._tcp.local", "txt": ["txtvers=1", "pdl=x"]},
            {"rrname": "printer.local"},
        ],
    });
    let extra = json!({
        "flags": 0x8420, // with authentic data, which has no name there
        "answer": [{"rrname": "_ipp._tcp.local", "rrtype": "PTR", "ttl": 120, "rdata": "Lab._ipp._tcp.local"}],
        "additional": [
            {"rrname": "Lab._ipp._tcp.local", "rrtype": "SRV", "ttl": 120,
                "srv": {"priority": 0, "weight": 0, "port": 631, "name": "printer.local"}},
            {"rrname": "Lab._ipp._tcp.local", "rrtype": "TXT", "ttl": 120, "txt": ["txtvers=1", "pdl=x"]},
            {"rrname": "printer.local", "rrtype": "A", "ttl": 120, "rdata": "192.0.2.1"},
        ],
        "additional_name": ["cut.local"],
    });
    is(Protocol::Mdns, &values, "mdns", json!({"mdns": object}), extra);
}
