//! `/v1/flows` over a real socket: what lives first, pages by cursor, filters, what the bound gave up.

use super::{Bed, is_problem};
use serde_json::Value;
use shrike::control::flows::FlowHistory;
use shrike::dataplane::decode::FlowKey;
use shrike::dataplane::flow::{EndReason, TcpState};
use shrike::dataplane::inspect::{Cause, Protocol, Unread};
use shrike::exchange::FlowSummary;
use shrike::units::{SECOND, Timestamp};
use std::sync::atomic::Ordering::Relaxed;

fn flow(number: u32) -> FlowSummary {
    let (key, originator) = FlowKey::v4(0x0a00_0000 + number, 40_000, 0xc000_0200, 443, 6, 0);
    FlowSummary {
        key,
        originator,
        first_seen: Timestamp(u64::from(number) * SECOND),
        last_seen: Timestamp(u64::from(number) * SECOND + SECOND / 2),
        packets: [3, 2],
        bytes: [300, u64::from(number)],
        payload: [30, 20],
        tcp_flags: [0x1b, 0x1b],
        application: Protocol::Tls,
        state: TcpState::Closed,
        ended: Some(EndReason::Closed),
        ..FlowSummary::default()
    }
}

fn sources(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["source"].as_str().unwrap()).collect()
}

#[test]
fn flows_come_newest_first_and_the_living_before_them() {
    let bed = Bed::new();
    let mut client = bed.client();
    let empty = client.get("/v1/flows?port=443").json();
    assert_eq!((&empty["items"], &empty["has_more"]), (&Value::Array(Vec::new()), &false.into()));
    bed.flows.extend(&(1..=1_200).map(flow).collect::<Vec<_>>());
    bed.system.living.lock().unwrap().push(FlowSummary { ended: None, state: TcpState::Established, ..flow(2_000) });
    let page = client.get("/v1/flows?limit=3").json();
    assert_eq!(sources(&page), ["10.0.7.208", "10.0.4.176", "10.0.4.175"]);
    let first = &page["items"][0];
    assert_eq!((&first["ended"], &first["state"]), (&Value::Null, &"established".into()));
    assert_eq!(page["living"], serde_json::json!({"live": 1, "matched": 1, "listed": 1, "complete": true}));
    let second = &page["items"][1];
    assert_eq!(
        (&second["ended"], &second["conn_state"], &second["alerted"]),
        (&"closed".into(), &"SF".into(), &false.into())
    );
    assert_eq!((&second["application"], &second["transport"]), (&"tls".into(), &"tcp".into()));
    assert!(second["community_id"].as_str().unwrap().starts_with("1:"));
    for (name, value) in [("kept", 1_000), ("capacity", 1_000), ("overwritten", 200)] {
        assert_eq!(page[name], value, "{name}");
    }
    assert!(page["untold"].is_u64());
    // Pages walk all that is kept, once; what lives is on the first ones alone.
    let (mut seen, mut next) = (2, page["next"].as_str().unwrap().to_owned());
    loop {
        let page = client.get(&format!("/v1/flows?limit=300&before={next}")).json();
        seen += page["items"].as_array().unwrap().len();
        assert!(page["items"].as_array().unwrap().iter().all(|item| item["ended"] == "closed"));
        next = page["next"].as_str().unwrap().to_owned();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, 1_000);
}

#[test]
fn filters_tags_and_cursors_of_flows() {
    let bed = Bed::new();
    let mut client = bed.client();
    bed.flows.extend(&(1..=100).map(flow).collect::<Vec<_>>());
    let one = client.get("/v1/flows?host=10.0.0.7").json();
    assert_eq!(sources(&one), ["10.0.0.7"]);
    let id = one["items"][0]["community_id"].as_str().unwrap().replace('+', "%2B");
    assert_eq!(sources(&client.get(&format!("/v1/flows?community_id={id}")).json()), ["10.0.0.7"]);
    let some = client.get(&format!("/v1/flows?since={}&until={}&min_bytes=350&protocol=tls", 49, 51)).json();
    assert_eq!(sources(&some), ["10.0.0.51", "10.0.0.50"]);
    // Times of an answer find what they are of.
    let [first, last] = ["first_seen", "last_seen"].map(|name| one["items"][0][name].as_str().unwrap().to_owned());
    assert_eq!(first, "1970-01-01T00:00:07.000000Z");
    assert_eq!(sources(&client.get(&format!("/v1/flows?until={first}&since={last}")).json()), ["10.0.0.7"]);
    // As arguments of the commands are written; the flows are of 1970.
    for (since, count) in [("5m", 0), ("2h", 0), ("1970-01-01T00:00:00Z", 100), ("1970-01-01T01:00:00+01:00", 100)] {
        let answer = client.get(&format!("/v1/flows?limit=1000&living=false&since={since}")).json();
        assert_eq!(sources(&answer).len(), count, "{since}");
    }
    for path in ["/v1/flows?until", "/v1/flows?since", "/v1/hosts?since", "/v1/findings?since", "/v1/alerts?since"] {
        let name = path.split('?').nth(1).unwrap();
        let answer = client.get(&format!("{path}=5y"));
        assert_eq!(answer.status, 400, "{path}");
        assert!(
            answer.text().contains(&format!("{name}=5y is no time: {name} takes so long ago")),
            "{}",
            answer.text()
        );
        assert_ne!(client.get(&format!("{path}=5m")).status, 400, "{path}");
    }
    for nothing in ["protocol=dns", "port=22", "state=new", "living=true", "alerted=true", "host=192.0.3.0/24"] {
        assert_eq!(sources(&client.get(&format!("/v1/flows?{nothing}")).json()).len(), 0, "{nothing}");
    }
    let answer = client.get("/v1/flows?host=10.0.0.7");
    let tag = answer.header("etag").unwrap().to_owned();
    let again = client.send("GET", "/v1/flows?host=10.0.0.7", &[("if-none-match", &tag)], "");
    assert_eq!(again.status, 304);
    bed.flows.extend(&[flow(7)]);
    let again = client.send("GET", "/v1/flows?host=10.0.0.7", &[("if-none-match", &tag)], "");
    assert_eq!((again.status, sources(&again.json()).len()), (200, 2));
    // A cursor of another start of the sensor.
    let other = FlowHistory::new(1, Timestamp(5)).page(None, &Default::default(), 1).unwrap().next;
    is_problem(&client.get(&format!("/v1/flows?before={other}")), 410, "cursor-expired");
    is_problem(&client.get("/v1/flows?before=AAAA"), 400, "bad-cursor");
    let refused = client.get("/v1/flows?protocol=nosuch");
    is_problem(&refused, 400, "bad-request");
    assert!(refused.json()["detail"].as_str().unwrap().contains("one of dns"));
}

/// More flows live than a page has: the pages go through all of them, youngest first, and on to those that ended; none comes
/// twice, also of those that end meanwhile. Only the first page asks for a census.
#[test]
fn pages_go_through_all_that_lives() {
    let bed = Bed::new();
    let mut client = bed.client();
    let living = |number| FlowSummary { ended: None, state: TcpState::Established, ..flow(number) };
    *bed.system.living.lock().unwrap() = (1_001..=1_700).rev().map(living).collect();
    bed.flows.extend(&(1..=300).map(flow).collect::<Vec<_>>());
    let (mut seen, mut next, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = client.get(&format!("/v1/flows?limit=90{next}")).json();
        for item in page["items"].as_array().unwrap() {
            let source: std::net::Ipv4Addr = item["source"].as_str().unwrap().parse().unwrap();
            seen.push((u32::from(source) & 0xffff, item["ended"].is_null()));
        }
        let told = serde_json::json!({"live": 700, "matched": 700, "listed": 700, "complete": true});
        assert_eq!(page["living"], if pages < 8 { told } else { Value::Null }, "page {pages}");
        pages += 1;
        if page["has_more"] == false {
            break;
        }
        next = format!("&before={}", page["next"].as_str().unwrap());
        // They end while somebody reads: shown as they were.
        bed.flows.extend(&[flow(1_701 - pages)]);
    }
    let wanted: Vec<(u32, bool)> = (1_001..=1_700)
        .rev()
        .map(|number| (number, true))
        .chain((1..=300).rev().map(|number| (number, false)))
        .collect();
    assert_eq!(seen, wanted);
    assert_eq!((pages, bed.system.censuses.load(Relaxed)), (12, 1));
    // Full to the last living flow, and nothing ended: the page says that there is no more.
    let end = client.get("/v1/flows?living=true&limit=700").json();
    let all = client.get("/v1/flows?host=10.0.6.0/24&limit=165").json();
    let ends = |page: &Value| (page["items"].as_array().unwrap().len(), page["has_more"].clone());
    assert_eq!(ends(&end), (700, false.into()));
    assert_eq!(ends(&all), (165, true.into()), "{:?}", all["living"]);
    let bed = Bed::new();
    *bed.system.living.lock().unwrap() = (1..=3).rev().map(living).collect();
    assert_eq!(ends(&bed.client().get("/v1/flows?limit=3").json()), (3, false.into()));
}

/// A census that is not whole says why, and what ended is served all the same. Who asks for the same within a second is told
/// the same; cursors of a census end with it.
#[test]
fn a_census_that_is_not_whole_says_so() {
    let bed = Bed::new();
    let mut client = bed.client();
    bed.flows.extend(&[flow(1)]);
    *bed.system.incomplete.lock().unwrap() = Some("eth1:0 is not served".into());
    let page = client.get("/v1/flows").json();
    assert_eq!(sources(&page), ["10.0.0.1"]);
    let told =
        serde_json::json!({"live": 0, "matched": 0, "listed": 0, "complete": false, "reason": "eth1:0 is not served"});
    assert_eq!(page["living"], told);
    assert!(client.get("/v1/flows?living=false").json()["living"].is_null());
    assert_eq!(bed.system.censuses.load(Relaxed), 1, "what lives was not asked for");
    let living = |number| FlowSummary { ended: None, state: TcpState::Established, ..flow(number) };
    *bed.system.living.lock().unwrap() = (2..=9).rev().map(living).collect();
    let page = client.get("/v1/flows?limit=3&port=443").json();
    let before = format!("/v1/flows?limit=3&port=443&before={}", page["next"].as_str().unwrap());
    assert_eq!(sources(&client.get(&before).json()), ["10.0.0.6", "10.0.0.5", "10.0.0.4"]);
    // Other readers ask for other things.
    for port in 1..=4 {
        client.get(&format!("/v1/flows?port={port}"));
    }
    is_problem(&client.get(&before), 410, "cursor-expired");
}

#[test]
fn a_flow_says_why_it_was_not_wholly_read() {
    let bed = Bed::new();
    let unread = Unread::of(Cause::GapBytes);
    bed.flows.extend(&[flow(1), FlowSummary { unread, ..flow(2) }]);
    let page = bed.client().get("/v1/flows").json();
    assert_eq!(
        (&page["items"][0]["unread"], &page["items"][1]["unread"]),
        (&serde_json::json!([Cause::GapBytes.name()]), &Value::Null)
    );
}
