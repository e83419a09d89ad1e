//! `dns`, and the objects of its relatives `mdns` and `llmnr`, which the schema gives other shapes.

use super::{Found, put_object};
use crate::dataplane::inspect::{Fact, Protocol, dns, llmnr, mdns, number};
use serde_json::{Map, Value, json};

/// One record as it stands in the facts.
struct Record {
    name: String,
    kind: u16,
    ttl: u64,
    data: String,
}

/// Adds the object; gives the type of the event.
pub fn object(protocol: Protocol, facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> &'static str {
    let (name, set) = match protocol {
        Protocol::Mdns => ("mdns", &mdns::SET),
        Protocol::Llmnr => ("llmnr", &llmnr::SET),
        _ => ("dns", &dns::SET),
    };
    let is_response = facts.flag(set.qr);
    let mut object = Map::new();
    object.insert("type".into(), json!(if is_response { "response" } else { "request" }));
    for (name, fact) in [("id", set.id), ("opcode", set.opcode)] {
        if let Some(value) = facts.number(fact) {
            object.insert(name.into(), value.into());
        }
    }
    let bits: &[(&str, Fact)] = match protocol {
        // RFC 4795 section 2.1.1 has others in their places: conflict, tentative.
        Protocol::Llmnr => &[("c", set.aa), ("tc", set.tc), ("t", set.rd)],
        _ => &[("aa", set.aa), ("tc", set.tc), ("rd", set.rd), ("ra", set.ra), ("z", set.z)],
    };
    let bits: Vec<&str> = bits.iter().filter(|(_, fact)| facts.flag(*fact)).map(|(name, _)| *name).collect();
    let (flags, rcode) = (facts.number(set.flags).unwrap_or(0), facts.number(set.rcode).unwrap_or(0));
    if protocol == Protocol::Dns {
        object.insert("version".into(), json!(3));
        object.insert("flags".into(), format!("{flags:x}").into());
        object.extend(bits.iter().chain(is_response.then_some(&"qr")).map(|name| ((*name).to_owned(), true.into())));
        if is_response {
            let known = u16::try_from(rcode).ok().and_then(dns::rcode_name);
            object.insert("rcode".into(), known.map_or_else(|| rcode.to_string(), str::to_owned).into());
        }
    } else {
        if !bits.is_empty() {
            object.insert("flags".into(), json!(bits));
        }
        if protocol == Protocol::Mdns && is_response {
            object.insert("rcode".into(), rcode.into());
        }
    }
    let kinds = facts.all(set.query_type);
    let queries: Vec<Value> = facts
        .texts(set.query_name)
        .into_iter()
        .zip(kinds)
        .map(|(name, kind)| json!({"rrname": name, "rrtype": type_name(number(kind))}))
        .collect();
    if !queries.is_empty() {
        object.insert("queries".into(), queries.into());
    }
    for (index, section) in ["answers", "authorities", "additionals"].into_iter().enumerate() {
        let Some(of) = set.sections.get(index) else { continue };
        let [names, kinds, ttls, data] = of.map(|fact| facts.all(fact));
        let records: Vec<Value> = (0..names.len())
            .filter_map(|at| {
                Some(Record {
                    name: super::text(names.get(at)?),
                    kind: u16::try_from(number(kinds.get(at)?)).ok()?,
                    ttl: number(ttls.get(at)?),
                    data: super::text(data.get(at)?),
                })
            })
            .flat_map(|record| match protocol {
                Protocol::Mdns => vec![mdns_record(record, index == 1)],
                Protocol::Llmnr => vec![llmnr_record(record)],
                _ => dns_records(record, index == 2),
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
    if record.kind != dns::types::TXT {
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
    let mut object = json!({"rrname": record.name, "rrtype": type_name(record.kind.into()), "ttl": record.ttl});
    match split(&record).filter(|_| !is_additional) {
        Some((name, value)) => object[name] = value,
        None if record.data.is_empty() => {}
        None => object["rdata"] = record.data.into(),
    }
    object
}

/// Records whose data are objects in the schema.
fn split(record: &Record) -> Option<(&'static str, Value)> {
    let mut words = record.data.split(' ');
    let mut next = || words.next();
    let integer = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
    Some(match record.kind {
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
    })
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
    let mut object = json!({"rrname": record.name, "rrtype": type_name(record.kind.into()), "ttl": record.ttl});
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
