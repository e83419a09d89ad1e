//! `/v1/flows`: the flows that live, as a census of the flow tables finds them, then those that ended lately, newest first, by
//! cursor.

use super::App;
use super::alerts::{cursor, matches_tag};
use super::problem::{Kind, Problem};
use super::routes::{Query, blocking, number, text, time, unknown_parameter};
use crate::control::flows::{Expired, FlowFilter, FlowPage, FlowRow, FlowsKept, KeptFlow, LivingTold, Prefix};
use crate::control::store::Cursor;
use crate::control::view::state_name;
use crate::dataplane::flow::TcpState;
use crate::dataplane::inspect::Protocol;
use crate::metrics::Counter;
use crate::units::MICROSECOND;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tokio::sync::Semaphore;
use warp::reply::Response;

/// Items of a page without `limit`.
const LIMIT_DEFAULT: usize = 100;
/// Most items of a page.
const LIMIT_MAX: usize = 1_000;
/// Readers that wait for a census at a time: each holds one of the few threads that read for all routes.
static ASKERS: Semaphore = Semaphore::const_new(2);
/// What `/v1/flows` takes.
const KNOWN: &str =
    "before, limit, host, port, protocol, community_id, state, living, since, until, min_bytes, alerted";

/// What a reader of flows asks for.
#[derive(Debug)]
struct Request {
    before: Option<Cursor>,
    limit: usize,
    filter: FlowFilter,
}

impl Request {
    /// Reads the parameters; each at most once, none unknown.
    fn parse(query: &Query) -> Result<Request, Problem> {
        let (mut before, mut limit, mut filter) = (None, LIMIT_DEFAULT, FlowFilter::default());
        for (index, (name, value)) in query.iter().enumerate() {
            if query[..index].iter().any(|(other, _)| other == name) {
                return Err(Problem::new(Kind::BadRequest, format!("{name} is given twice")));
            }
            match name.as_str() {
                "before" => before = Some(cursor(value)?),
                "limit" => limit = number("limit", value, 1..=LIMIT_MAX)?,
                "host" => filter.host = Some(host(value)?),
                "port" => filter.port = Some(number("port", value, 0..=u16::MAX)?),
                "protocol" => protocol(value, &mut filter)?,
                "community_id" => filter.community_id = Some(community_id(value)?),
                "state" => filter.state = Some(state(value)?),
                "living" => filter.living = Some(flag("living", value)?),
                "since" => filter.since = Some(time("since", value)?),
                // Answers are cut to microseconds: a flow's own `first_seen` finds it.
                "until" => filter.until = Some(time("until", value)?.after(MICROSECOND - 1)),
                "min_bytes" => filter.min_bytes = Some(number("min_bytes", value, 0..=u64::MAX)?),
                "alerted" => filter.alerted = Some(flag("alerted", value)?),
                _ => return Err(unknown_parameter(name, KNOWN)),
            }
        }
        Ok(Request { before, limit, filter })
    }
}

fn flag(name: &str, text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::BadRequest, format!("{name} must be true or false")))
}

fn host(text: &str) -> Result<Prefix, Problem> {
    Prefix::parse(text).ok_or_else(|| {
        let detail =
            "host must be an address or a block of addresses, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32";
        Problem::new(Kind::BadRequest, detail)
    })
}

/// A transport by name or number, or what is carried by name.
fn protocol(text: &str, filter: &mut FlowFilter) -> Result<(), Problem> {
    const TRANSPORTS: [(&str, u8); 9] = [
        ("tcp", 6),
        ("udp", 17),
        ("icmp", 1),
        ("icmpv6", 58),
        ("ipv6-icmp", 58),
        ("sctp", 132),
        ("gre", 47),
        ("esp", 50),
        ("igmp", 2),
    ];
    let word = text.to_ascii_lowercase();
    let named = TRANSPORTS.iter().find(|(name, _)| *name == word).map(|(_, transport)| *transport);
    filter.transport = named.or_else(|| word.parse().ok());
    filter.application = Protocol::ALL.iter().copied().find(|one| one.name() == word);
    if filter.transport.is_some() || filter.application.is_some() {
        return Ok(());
    }
    let applications: Vec<_> = Protocol::ALL.iter().map(|one| one.name()).collect();
    let transports: Vec<_> = TRANSPORTS.iter().map(|(name, _)| *name).collect();
    let detail = format!(
        "protocol must be a transport ({}, or its number from 0 to 255) or one of {}",
        transports.join(", "),
        applications.join(", ")
    );
    Err(Problem::new(Kind::BadRequest, detail))
}

fn community_id(text: &str) -> Result<String, Problem> {
    // Version, colon, 20 bytes in base64. A `+` that was not escaped arrives as a space.
    let text = text.replace(' ', "+");
    let digest = text.strip_prefix("1:").and_then(|text| STANDARD.decode(text).ok());
    if digest.is_none_or(|digest| digest.len() != 20) {
        let detail = "community_id must be as in events and flows, such as 1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    Ok(text)
}

fn state(text: &str) -> Result<TcpState, Problem> {
    const STATES: [TcpState; 5] =
        [TcpState::New, TcpState::Answered, TcpState::Established, TcpState::Closing, TcpState::Closed];
    STATES.into_iter().find(|state| state_name(*state) == text).ok_or_else(|| {
        let names = STATES.map(state_name).join(", ");
        Problem::new(Kind::BadRequest, format!("state must be one of {names}"))
    })
}

/// What is served.
#[derive(Serialize)]
struct Answer {
    items: Vec<FlowRow>,
    next: String,
    has_more: bool,
    /// Of what lives; not on pages that begin behind it, nor where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    living: Option<LivingTold>,
    #[serde(flatten)]
    kept: Kept,
}

#[derive(Serialize)]
struct Kept {
    kept: u64,
    capacity: u64,
    overwritten: u64,
    untold: u64,
}

/// `GET /v1/flows`.
pub(super) async fn list(app: Arc<App>, query: Query, etag: Option<String>) -> Result<Response, Problem> {
    let request = Request::parse(&query)?;
    let asks = request.before.is_none() && request.filter.living != Some(false);
    // It is never closed; were it, there would be one bound less.
    let permit = if asks { ASKERS.acquire().await.ok() } else { None };
    let body = blocking(move || read(&app, &request)).await??;
    drop(permit);
    // What lives changes all the time, so only the answer itself can tell whether it is another one.
    let digest = Sha256::digest(body.as_bytes());
    let tag = format!("\"{}\"", digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut response = if etag.is_some_and(|etag| matches_tag(&etag, &tag)) {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        text(body, "application/json")
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// A page: the first begins with the flows that live, latest first.
fn read(app: &App, request: &Request) -> Result<String, Problem> {
    let Some(history) = &app.settings.flows else {
        let detail = "this sensor keeps no flows: history in [flow] of its configuration says how many it shall keep";
        return Err(Problem::new(Kind::NotFound, detail));
    };
    let expired = |cause: Expired| Problem::new(Kind::CursorExpired, cause.to_string());
    let Request { mut before, limit, ref filter } = *request;
    let census = match before {
        Some(cursor) => history.stands_in(cursor).map_err(expired)?,
        None if filter.living == Some(false) => None,
        None => {
            let ask = || {
                let (history, filter) = (Arc::clone(history), filter.clone());
                app.system.living_flows(Box::new(move |flow| history.passes(&filter, flow)))
            };
            Some((history.census(filter, ask), 0))
        }
    };
    let mut items: Vec<KeptFlow> = Vec::new();
    let mut more = false;
    if let Some((census, place)) = &census {
        let flows = census.flows(*place, limit);
        items = history.kept_of(flows, filter);
        let next = history.behind(census, place + flows.len());
        more = history.stands_in(next).is_ok_and(|place| place.is_some());
        before = Some(next);
    }
    let page = match before {
        Some(next) if more => FlowPage { items: Vec::new(), next, has_more: true },
        _ if filter.living == Some(true) => FlowPage { items: Vec::new(), next: history.oldest(), has_more: false },
        // A page that is full of living flows still says where the ended ones begin.
        _ => history.page(before, filter, limit - items.len()).map_err(expired)?,
    };
    let FlowsKept { kept, capacity, overwritten } = history.kept();
    items.extend(page.items);
    let answer = Answer {
        items: items.iter().map(FlowRow::from).collect(),
        next: page.next.to_string(),
        has_more: page.has_more,
        living: census.map(|(census, _)| census.told()),
        kept: Kept {
            kept,
            capacity,
            overwritten,
            untold: app.system.counters().iter().map(|queue| queue.value(Counter::FlowsUntold)).sum(),
        },
    };
    serde_json::to_string(&answer).map_err(|cause| Problem::new(Kind::Internal, format!("write the answer: {cause}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, String> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Request::parse(&query).map_err(|problem| problem.to_json("/"))
    }

    #[test]
    fn parameters_are_read_and_refused_in_words() {
        let good =
            parse("limit=1000&host=10.0.0.0/8&port=443&protocol=tls&state=closed&alerted=true&min_bytes=9").unwrap();
        assert_eq!((good.limit, good.filter.port, good.filter.min_bytes), (1_000, Some(443), Some(9)));
        assert_eq!((good.filter.application, good.filter.transport), (Some(Protocol::Tls), None));
        assert_eq!(good.filter.state, Some(TcpState::Closed));
        for (word, number) in [("TCP", 6), ("17", 17), ("icmpv6", 58)] {
            assert_eq!(parse(&format!("protocol={word}")).unwrap().filter.transport, Some(number), "{word}");
        }
        let id = parse("community_id=1:LQU9qZlK B5F3KDmev6m5PMibrg=").unwrap().filter.community_id;
        assert_eq!(id.as_deref(), Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg="));
        for (bad, word) in [
            ("limit=0", "1 to 1000"),
            ("host=10.0.0.0/33", "192.0.2.0/24"),
            ("host=example.com", "192.0.2.0/24"),
            ("port=65536", "0 to 65535"),
            ("protocol=nosuch", "one of dns"),
            ("protocol=256", "0 to 255"),
            ("state=open", "one of new, answered"),
            ("living=yes", "true or false"),
            ("alerted=1", "true or false"),
            ("since=-1", "nanoseconds"),
            ("community_id=1:AAAA", "such as 1:LQU"),
            ("before=zzz", "bad-cursor"),
            ("port=1&port=2", "given twice"),
            ("hosts=1", "unknown parameter"),
        ] {
            let message = parse(bad).unwrap_err();
            assert!(message.contains(word), "{bad}: {message}");
        }
    }
}
