//! `dns`, and the objects of its relatives `mdns` and `llmnr`, which the schema gives other shapes.

use super::{Found, list, put_object};
use crate::dataplane::inspect::{Fact, Protocol, dns, llmnr, mdns, number};
use serde_json::{Map, Value, json};

/// One record as it stands in the facts.
struct Record {
    name: String,
    kind: u64,
    ttl: u64,
    data: String,
}

impl Record {
    fn new([name, kind, ttl, data]: [&[u8]; 4]) -> Record {
        Record { name: super::text(name), kind: number(kind), ttl: number(ttl), data: super::text(data) }
    }
}

/// Names of the sections in the objects.
const SECTIONS: [&str; 3] = ["answers", "authorities", "additionals"];

/// Adds the object; gives the type of the event.
pub fn object(protocol: Protocol, facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> &'static str {
    let (name, set) = match protocol {
        Protocol::Mdns => ("mdns", &mdns::SET),
        Protocol::Llmnr => ("llmnr", &llmnr::SET),
        _ => ("dns", &dns::SET),
    };
    let is_response = facts.flag(set.qr);
    let [opcode, rcode] = [set.opcode, set.rcode].map(|fact| facts.peek(fact).unwrap_or(0));
    let mut object = Map::new();
    object.insert("type".into(), json!(if is_response { "response" } else { "request" }));
    for (name, fact) in [("id", set.id), ("opcode", set.opcode)] {
        if let Some(value) = facts.number(fact) {
            object.insert(name.into(), value.into());
        }
    }
    let bits: &[(&str, Fact, u32)] = match protocol {
        // RFC 4795 section 2.1.1 has others in their places: conflict, tentative.
        Protocol::Llmnr => &[("c", set.aa, 10), ("tc", set.tc, 9), ("t", set.rd, 8)],
        _ => &[("aa", set.aa, 10), ("tc", set.tc, 9), ("rd", set.rd, 8), ("ra", set.ra, 7), ("z", set.z, 6)],
    };
    let bits: Vec<_> = bits.iter().filter(|(_, fact, _)| facts.flag(*fact)).collect();
    // What of the second word of the header (RFC 1035 section 4.1.1) stands elsewhere.
    let told = bits
        .iter()
        .fold(u64::from(is_response) << 15 | (opcode & 15) << 11 | rcode & 15, |all, (.., bit)| all | 1 << bit);
    let bits: Vec<&str> = bits.into_iter().map(|(name, ..)| *name).collect();
    if protocol == Protocol::Dns {
        object.insert("version".into(), json!(3));
        let flags = facts.number(set.flags).unwrap_or(0);
        object.insert("flags".into(), format!("{flags:x}").into());
        object.extend(bits.iter().chain(is_response.then_some(&"qr")).map(|name| ((*name).to_owned(), true.into())));
        if is_response {
            let known = u16::try_from(rcode).ok().and_then(dns::rcode_name);
            object.insert("rcode".into(), known.map_or_else(|| rcode.to_string(), str::to_owned).into());
        }
    } else {
        if facts.peek(set.flags) == Some(told) {
            facts.one(set.flags);
        }
        if !bits.is_empty() {
            object.insert("flags".into(), json!(bits));
        }
        if protocol == Protocol::Mdns && is_response {
            object.insert("rcode".into(), rcode.into());
        }
    }
    // Of what is no answer, and of LLMNR, there is no place for it.
    if is_response && protocol != Protocol::Llmnr || rcode == 0 {
        facts.one(set.rcode);
    }
    let queries: Vec<Value> = facts
        .rows([set.query_name, set.query_type])
        .into_iter()
        .map(|[name, kind]| json!({"rrname": super::text(name), "rrtype": type_name(number(kind))}))
        .collect();
    if !queries.is_empty() {
        object.insert("queries".into(), queries.into());
    }
    for (section, (of, one)) in
        SECTIONS.into_iter().zip(set.sections.into_iter().zip(["answer", "authority", "additional"]))
    {
        let records: Vec<Record> = facts.rows(of).into_iter().map(Record::new).collect();
        if protocol == Protocol::Mdns {
            // The schema has names, and the data of two types: all of a record stands together beside it.
            facts.beside(one, list(records.iter().map(whole).collect()));
        }
        let records: Vec<Value> = records
            .into_iter()
            .flat_map(|record| match protocol {
                Protocol::Mdns => vec![mdns_record(record, section == "authorities")],
                Protocol::Llmnr => vec![llmnr_record(record)],
                _ => dns_records(record, section == "additionals"),
            })
            .collect();
        if protocol == Protocol::Dns && section == "answers" {
            put_object(&mut object, "grouped", grouped(&records));
        }
        if !records.is_empty() {
            object.insert(section.to_owned(), records.into());
        }
    }
    objects.insert(name.to_owned(), object.into());
    name
}

/// The data of the answers by type, where the schema has a list for it.
fn grouped(answers: &[Value]) -> Map<String, Value> {
    const TYPES: [&str; 11] = ["A", "AAAA", "CNAME", "MX", "NS", "NULL", "PTR", "SOA", "SRV", "SSHFP", "TXT"];
    let mut groups = Map::new();
    for answer in answers {
        let Some(kind) = answer["rrtype"].as_str().filter(|kind| TYPES.contains(kind)) else { continue };
        let data = ["rdata", "soa", "srv", "sshfp"].iter().find_map(|name| answer.get(*name));
        // One of a type that has an object, and could not be split into it, is no member of the list.
        let is_object = matches!(kind, "SOA" | "SRV" | "SSHFP");
        let Some(data) = data.filter(|data| data.is_object() == is_object) else { continue };
        let list = groups.entry(kind).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().into_iter().for_each(|list| list.push(data.clone()));
    }
    groups
}

/// A type by its name, or as RFC 3597 writes unknown ones.
fn type_name(kind: u64) -> String {
    let known = u16::try_from(kind).ok().and_then(dns::type_name);
    known.map_or_else(|| format!("TYPE{kind}"), str::to_owned)
}

/// A record; of a TXT record one for each of its strings, as Suricata has it.
fn dns_records(record: Record, is_additional: bool) -> Vec<Value> {
    if record.kind != u64::from(dns::types::TXT) {
        return vec![dns_record(record, is_additional)];
    }
    let string = |data: &str| Record { name: record.name.clone(), data: data.to_owned(), ..record };
    record.data.split('\n').map(|data| dns_record(string(data), is_additional)).collect()
}

/// The strings of a TXT record.
fn strings(data: &str) -> Value {
    data.split('\n').collect()
}

fn dns_record(record: Record, is_additional: bool) -> Value {
    let mut object = head(&record);
    match split(&record).filter(|_| !is_additional) {
        Some((name, value)) => object[name] = value,
        None if record.data.is_empty() => {}
        None => object["rdata"] = record.data.into(),
    }
    object
}

fn head(record: &Record) -> Value {
    json!({"rrname": record.name, "rrtype": type_name(record.kind), "ttl": record.ttl})
}

/// A record with all that is known of it; of TXT the list of its strings.
fn whole(record: &Record) -> Value {
    let mut object = head(record);
    match split(record) {
        Some((name, value)) => object[name] = value,
        None if record.kind == u64::from(dns::types::TXT) => object["txt"] = strings(&record.data),
        None if record.data.is_empty() => {}
        None => object["rdata"] = record.data.as_str().into(),
    }
    object
}

/// Records whose data are objects in the schema, and fill them.
fn split(record: &Record) -> Option<(&'static str, Value)> {
    let mut words = record.data.split(' ');
    let mut next = || words.next();
    // As it is written in the object again.
    let integer = |word: Option<&str>| word?.parse::<u64>().ok().filter(|number| word == Some(&number.to_string()));
    let object = match record.kind {
        6 => {
            let (mname, rname) = (next()?, next()?);
            let (serial, refresh, retry) = (integer(next())?, integer(next())?, integer(next())?);
            let (expire, minimum) = (integer(next())?, integer(next())?);
            let object = json!({"mname": mname, "rname": rname, "serial": serial, "refresh": refresh, "retry": retry,
                "expire": expire, "minimum": minimum});
            ("soa", object)
        }
        33 => {
            let (priority, weight, port) = (integer(next())?, integer(next())?, integer(next())?);
            ("srv", json!({"priority": priority, "weight": weight, "port": port, "name": next()?}))
        }
        44 => {
            let (algo, kind) = (integer(next())?, integer(next())?);
            ("sshfp", json!({"algo": algo, "type": kind, "fingerprint": next()?}))
        }
        _ => return None,
    };
    next().is_none().then_some(object)
}

fn mdns_record(record: Record, is_authority: bool) -> Value {
    let mut object = json!({"rrname": record.name});
    match record.kind {
        12 if !is_authority => object["ptr"] = record.data.into(),
        16 if !is_authority => object["txt"] = strings(&record.data),
        _ => {}
    }
    object
}

fn llmnr_record(record: Record) -> Value {
    let mut object = head(&record);
    let name = match record.kind {
        1 => "a",
        2 => "ns",
        5 => "cname",
        12 => "ptr",
        15 => "mx",
        28 => "aaaa",
        16 => {
            object["txt"] = strings(&record.data);
            return object;
        }
        _ => "unknown",
    };
    if !record.data.is_empty() {
        object[name] = record.data.into();
    }
    object
}
