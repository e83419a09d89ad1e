//! `/v1/hosts`, `/v1/hosts/{id}` and `/v1/findings`: pages by cursor, in the order of changes.

use super::App;
use super::alerts::cursor;
use super::problem::{Kind, Problem};
use super::routes::{Query, blocking, json, number, time, unknown_parameter};
use crate::control::inventory::network::Network;
use crate::control::inventory::{CANNOT_SEE, Filter, Page, SharedInventory, kinds};
use crate::control::store::Cursor;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use warp::reply::Response;

/// Items of a page without `limit`.
const LIMIT_DEFAULT: usize = 100;
/// Most items of a page.
const LIMIT_MAX: usize = 1_000;
/// Longest text of a filter, and of an id.
const TEXT_BYTES: usize = 255;

#[derive(Serialize)]
struct Answer {
    items: Vec<Value>,
    next: String,
    has_more: bool,
    /// Networks whose hosts are kept.
    home: Vec<String>,
    /// What watching alone cannot see.
    cannot_see: [&'static str; CANNOT_SEE.len()],
}

#[derive(Debug)]
struct Request {
    after: Option<Cursor>,
    limit: usize,
    filter: Filter,
}

impl Request {
    fn parse(query: &Query) -> Result<Request, Problem> {
        const KNOWN: &str = "after, limit, host, name, service, severity, kind, since";
        let mut request = Request { after: None, limit: LIMIT_DEFAULT, filter: Filter::default() };
        for (index, (name, value)) in query.iter().enumerate() {
            // As it was called at first, and still may be.
            let known = |name: &str| if name == "address" { "host" } else { name }.to_owned();
            if query[..index].iter().any(|(other, _)| known(other) == known(name)) {
                return Err(Problem::new(Kind::BadRequest, format!("{name} is given twice")));
            }
            let filter = &mut request.filter;
            match name.as_str() {
                "after" => request.after = Some(cursor(value)?),
                "limit" => request.limit = number("limit", value, 1..=LIMIT_MAX)?,
                "host" | "address" => filter.address = Some(network(name, value)?),
                "name" => filter.name = Some(text("name", value)?),
                "service" => filter.service = Some(text("service", value)?),
                "severity" => filter.severity = Some(number("severity", value, 1..=4)?),
                "kind" => filter.kind = Some(kind(value)?),
                "since" => filter.since = Some(time("since", value)?),
                _ => return Err(unknown_parameter(name, KNOWN)),
            }
        }
        Ok(request)
    }
}

fn network(name: &str, text: &str) -> Result<Network, Problem> {
    Network::parse(text).ok_or_else(|| {
        let detail = format!("{name} must be an address or a network, such as 10.0.0.1 or 10.0.0.0/8");
        Problem::new(Kind::BadRequest, detail)
    })
}

fn text(name: &str, value: &str) -> Result<String, Problem> {
    if value.is_empty() || value.len() > TEXT_BYTES {
        return Err(Problem::new(Kind::BadRequest, format!("{name} must have 1 to {TEXT_BYTES} bytes")));
    }
    Ok(value.to_owned())
}

fn kind(value: &str) -> Result<String, Problem> {
    kinds::kind(value).map(|kind| kind.name.to_owned()).ok_or_else(|| {
        let known: Vec<_> = kinds::ALL.iter().map(|kind| kind.name).collect();
        Problem::new(Kind::BadRequest, format!("kind must be one of {}", known.join(", ")))
    })
}

fn inventory(app: &App) -> Result<Arc<SharedInventory>, Problem> {
    app.settings.inventory.clone().ok_or_else(|| {
        Problem::new(Kind::NotFound, "no inventory is kept: enabled = true in [inventory], and start again")
    })
}

/// Pages of hosts or of findings.
type Pages = fn(&SharedInventory, Option<Cursor>, &Filter, usize) -> Option<(Page, Cursor)>;

async fn list(app: Arc<App>, query: Query, of: Pages) -> Result<Response, Problem> {
    let request = Request::parse(&query)?;
    let inventory = inventory(&app)?;
    let home = inventory.home().iter().map(ToString::to_string).collect();
    let found = blocking(move || of(&inventory, request.after, &request.filter, request.limit)).await?;
    let Some((page, next)) = found else {
        return Err(Problem::new(Kind::CursorExpired, "the cursor is of another inventory: begin without one"));
    };
    let next = next.to_string();
    json(&Answer { items: page.items, next, has_more: page.has_more, home, cannot_see: CANNOT_SEE })
}

/// `GET /v1/hosts`.
pub(super) async fn hosts(app: Arc<App>, query: Query) -> Result<Response, Problem> {
    list(app, query, SharedInventory::hosts).await
}

/// `GET /v1/findings`.
pub(super) async fn findings(app: Arc<App>, query: Query) -> Result<Response, Problem> {
    list(app, query, SharedInventory::findings).await
}

/// `GET /v1/hosts/{id}`: by its id or one of its addresses.
pub(super) async fn one(app: Arc<App>, id: String) -> Result<Response, Problem> {
    let inventory = inventory(&app)?;
    let unknown = || Problem::new(Kind::NotFound, "no host has this id or address");
    if id.len() > TEXT_BYTES {
        return Err(unknown());
    }
    let found = blocking(move || inventory.host(&id)).await?;
    json(&found.ok_or_else(unknown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_refused_in_words() {
        let parse = |text: &str| {
            let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
            let query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Request::parse(&query).map_err(|problem| problem.to_json("/"))
        };
        let good = parse("limit=5&host=10.0.0.0/8&name=srv&service=ssh&severity=2&kind=telnet_in_use&since=7").unwrap();
        let old = parse("address=10.0.0.0/8").unwrap();
        assert_eq!((&good.filter.address, good.filter.address.is_some()), (&old.filter.address, true));
        assert_eq!(
            (good.limit, good.filter.severity, good.filter.since),
            (5, Some(2), Some(crate::units::Timestamp(7_000_000_000)))
        );
        for (bad, word) in [
            ("limit=0", "1 to 1000"),
            ("host=home", "host must be an address or a network, such as 10.0.0.1 or 10.0.0.0/8"),
            ("address=home", "10.0.0.0/8"),
            ("host=10.0.0.1&address=10.0.0.1", "given twice"),
            ("name=", "1 to 255"),
            ("severity=9", "1 to 4"),
            ("kind=bad", "one of vulnerable_version"),
            ("after=zzz", "bad-cursor"),
            ("limit=1&limit=2", "given twice"),
            ("colour=1", "unknown parameter"),
        ] {
            let message = parse(bad).unwrap_err();
            assert!(message.contains(word), "{bad}: {message}");
        }
    }
}
