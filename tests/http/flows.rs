//! `/v1/flows` over a real socket: what lives first, pages by cursor, filters, what the bound gave up.

use super::{Bed, is_problem};
use serde_json::Value;
use shrike::control::flows::FlowHistory;
use shrike::dataplane::decode::FlowKey;
use shrike::dataplane::flow::{EndReason, TcpState};
use shrike::dataplane::inspect::{Cause, Protocol, Unread};
use shrike::exchange::FlowSummary;
use shrike::units::{SECOND, Timestamp};

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
    let empty = client.get("/v1/flows").json();
    assert_eq!((&empty["items"], &empty["has_more"]), (&Value::Array(Vec::new()), &false.into()));
    bed.flows.extend(&(1..=1_200).map(flow).collect::<Vec<_>>());
    bed.system.living.lock().unwrap().push(FlowSummary { ended: None, state: TcpState::Established, ..flow(2_000) });
    let page = client.get("/v1/flows?limit=3").json();
    assert_eq!(sources(&page), ["10.0.7.208", "10.0.4.176", "10.0.4.175"]);
    let first = &page["items"][0];
    assert_eq!((&first["ended"], &first["state"]), (&Value::Null, &"established".into()));
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
    // Pages walk all that is kept, once; what lives is on the first alone.
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
