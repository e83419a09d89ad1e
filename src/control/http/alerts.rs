//! `/v1/alerts` and `/v1/alerts/{id}`: pages by cursor, long poll, ETag.

use super::App;
use super::problem::{Kind, Problem};
use super::routes::{Query, blocking, number, text, time, unknown_parameter};
use crate::control::store::{Cursor, Filter, Page, ReadError, Stored};
use crate::dataplane::detect::Detector;
use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use warp::reply::Response;

/// Items of a page without `limit`.
const LIMIT_DEFAULT: usize = 100;
/// Most items of a page.
const LIMIT_MAX: usize = 1_000;
/// Longest wait of a long poll, seconds: below the idle limit of usual proxies.
const WAIT_MAX: u64 = 60;
/// Longest id that is looked up.
const ID_BYTES: usize = 128;

/// What a reader of alerts may ask for.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) after: Option<Cursor>,
    pub(super) filter: Filter,
    limit: Option<usize>,
    newest: Option<usize>,
    /// Of each alert its newest row alone.
    grouped: bool,
    wait: Duration,
}

impl Request {
    /// Reads the parameters; each at most once, none unknown.
    pub(super) fn parse(query: &Query, paged: bool) -> Result<Request, Problem> {
        const KNOWN: &str = "after, severity, detector, since; on /v1/alerts also limit, newest, grouped, wait";
        let mut request = Request::default();
        for (index, (name, value)) in query.iter().enumerate() {
            if query[..index].iter().any(|(other, _)| other == name) {
                return Err(Problem::new(Kind::BadRequest, format!("{name} is given twice")));
            }
            match name.as_str() {
                "after" => request.after = Some(cursor(value)?),
                "severity" => request.filter.severity = Some(number("severity", value, 1..=4)?),
                "detector" => request.filter.detector = Some(detector(value)?),
                "since" => request.filter.since = Some(time("since", value)?),
                "limit" if paged => request.limit = Some(number("limit", value, 1..=LIMIT_MAX)?),
                "newest" if paged => request.newest = Some(number("newest", value, 1..=LIMIT_MAX)?),
                "grouped" if paged => request.grouped = flag("grouped", value)?,
                "wait" if paged => request.wait = wait(value)?,
                _ => return Err(unknown_parameter(name, KNOWN)),
            }
        }
        if request.newest.is_some() && (request.after.is_some() || request.limit.is_some() || !request.wait.is_zero()) {
            let detail = "newest stands for itself: not with after, limit or wait";
            return Err(Problem::new(Kind::BadRequest, detail));
        }
        if request.grouped && request.newest.is_none() {
            return Err(Problem::new(Kind::BadRequest, "grouped goes with newest: pages and streams give every row"));
        }
        Ok(request)
    }
}

fn flag(name: &str, text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::BadRequest, format!("{name} must be true or false")))
}

pub(super) fn cursor(text: &str) -> Result<Cursor, Problem> {
    Cursor::parse(text).map_err(|bad| Problem::new(Kind::BadCursor, bad.to_string()))
}

fn detector(name: &str) -> Result<Detector, Problem> {
    Detector::ALL.into_iter().find(|detector| detector.name() == name).ok_or_else(|| {
        let known: Vec<_> = Detector::ALL.iter().map(|detector| detector.name()).collect();
        Problem::new(Kind::BadRequest, format!("detector must be one of {}", known.join(", ")))
    })
}

/// Seconds, with or without the unit: `25`, `25s`.
fn wait(text: &str) -> Result<Duration, Problem> {
    number("wait (seconds)", text.strip_suffix('s').unwrap_or(text), 0..=WAIT_MAX).map(Duration::from_secs)
}

/// A page from memory where possible, else from the file, off the async threads.
pub(super) async fn page(app: &Arc<App>, after: Option<Cursor>, filter: Filter, limit: usize) -> Result<Page, Problem> {
    let page = match app.store.recent_after(after, &filter, limit) {
        Some(page) => page,
        None => {
            let store = app.store.clone();
            blocking(move || store.after(after, &filter, limit)).await?
        }
    };
    page.map_err(unreadable)
}

pub(super) fn unreadable(cause: ReadError) -> Problem {
    match cause {
        ReadError::Expired => Problem::new(Kind::CursorExpired, cause.to_string()),
        ReadError::Store(cause) => Problem::new(Kind::StoreUnavailable, cause.to_string()),
    }
}

/// `GET /v1/alerts`.
pub(super) async fn list(app: Arc<App>, query: Query, etag: Option<String>) -> Result<Response, Problem> {
    let request = Request::parse(&query, true)?;
    if let Some(count) = request.newest {
        let store = app.store.clone();
        let page = blocking(move || match request.grouped {
            true => store.newest_of_each(&request.filter, count),
            false => store.newest(&request.filter, count),
        })
        .await?;
        return Ok(written(&page.map_err(unreadable)?, None));
    }
    let limit = request.limit.unwrap_or(LIMIT_DEFAULT);
    let deadline = Instant::now() + request.wait;
    let mut committed = app.store.subscribe();
    let mut stop = app.stop.subscribe();
    let mut after = request.after;
    loop {
        committed.mark_unchanged();
        let tag = format!("\"{}\"", app.store.end());
        // The tag names the end of the store: a client that has it has seen this very answer.
        let seen = etag.as_deref().is_some_and(|etag| matches_tag(etag, &tag));
        if !seen {
            let page = page(&app, after, request.filter, limit).await?;
            if !page.items.is_empty() || page.has_more || Instant::now() >= deadline || *stop.borrow() {
                return Ok(written(&page, Some(&tag)));
            }
            // What did not pass the filter need not be looked at again.
            after = Some(page.next);
        } else if Instant::now() >= deadline || *stop.borrow() {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            tagged(&mut response, &tag);
            return Ok(response);
        }
        tokio::select! {
            _ = committed.changed() => {}
            _ = stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// `GET /v1/alerts/{id}`: the newest alert with this id, and every earlier one of it.
pub(super) async fn one(app: Arc<App>, id: String) -> Result<Response, Problem> {
    let unknown = || Problem::new(Kind::UnknownAlert, Kind::UnknownAlert.help());
    if id.len() > ID_BYTES {
        return Err(unknown());
    }
    let store = app.store.clone();
    let rows = blocking(move || store.find(&id)).await?;
    let rows = rows.map_err(|cause| unreadable(ReadError::Store(cause)))?;
    let newest = rows.last().ok_or_else(unknown)?.to_json();
    let open = newest.strip_suffix('}').unwrap_or(&newest);
    Ok(text(format!("{open},\"history\":{}}}", array(&rows)), "application/json"))
}

fn array(rows: &[Arc<Stored>]) -> String {
    let mut body = String::from("[");
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&row.to_json());
    }
    body.push(']');
    body
}

fn written(page: &Page, tag: Option<&str>) -> Response {
    let body =
        format!("{{\"items\":{},\"next\":\"{}\",\"has_more\":{}}}", array(&page.items), page.next, page.has_more);
    let mut response = text(body, "application/json");
    if let Some(tag) = tag {
        tagged(&mut response, tag);
    }
    response
}

fn tagged(response: &mut Response, tag: &str) {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

/// If-None-Match (RFC 9110 section 13.1.2): a list of tags compared weakly, or `*`.
pub(super) fn matches_tag(header: &str, tag: &str) -> bool {
    header.trim() == "*" || header.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, String> {
        let query = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Request::parse(&query, true).map_err(|problem| problem.to_json("/"))
    }

    #[test]
    fn parameters_are_read_and_refused_in_words() {
        let good = parse("limit=1000&severity=2&detector=brute_force&wait=25s&since=5").unwrap();
        assert_eq!((good.limit, good.filter.severity, good.wait), (Some(1_000), Some(2), Duration::from_secs(25)));
        assert_eq!(good.filter.detector, Some(Detector::BruteForce));
        for (bad, word) in [
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("limit=x", "whole number"),
            ("severity=5", "1 to 4"),
            ("detector=nmap", "one of scan"),
            ("wait=61", "0 to 60"),
            ("after=zzz", "bad-cursor"),
            ("limit=1&limit=2", "given twice"),
            ("limits=1", "unknown parameter"),
            ("newest=5&wait=1", "stands for itself"),
            ("grouped=true", "goes with newest"),
            ("newest=5&grouped=yes", "true or false"),
        ] {
            let message = parse(bad).unwrap_err();
            assert!(message.contains(word), "{bad}: {message}");
        }
    }

    #[test]
    fn tags_match_in_lists_and_weakly() {
        assert!(matches_tag("\"a\", W/\"b\"", "\"b\""));
        assert!(matches_tag("*", "\"b\""));
        assert!(!matches_tag("\"bb\"", "\"b\""));
    }
}
