//! The route table: warp filters from path and method to handler, and every rejection to a problem.

use super::problem::{KINDS, Kind, Problem};
use super::{
    App, alerts, captures, flows, history, hosts, latency, models, page, pairs, prometheus, responses, scans, stream,
};
use crate::control::moment;
use crate::control::store::StoreStatus;
use crate::control::view::{CommandError, Degraded, Status};
use crate::units::{QueueId, Timestamp, WorkerId};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

/// Largest body taken.
pub(super) const BODY_BYTES: u64 = 1024 * 1024;
/// Characters of a refused value that its refusal repeats.
const GIVEN_SHOWN: usize = 40;

/// Parameters after the `?`, in their order.
pub(super) type Query = Vec<(String, String)>;

/// One route.
#[derive(Serialize)]
pub(super) struct Route {
    /// Path; `*` stands for one segment.
    pub(super) path: &'static str,
    /// What may be done with it.
    pub(super) methods: &'static str,
    /// One sentence; empty for the parts of the page.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) what: &'static str,
}

const fn route(path: &'static str, methods: &'static str, what: &'static str) -> Route {
    Route { path, methods, what }
}

/// Every path pattern with the methods it takes. For the Allow header, `GET /v1`, and tests.
#[rustfmt::skip]
pub(super) const TABLE: &[Route] = &[
    route("/", "GET, HEAD", "The live page."),
    route("/app.js", "GET, HEAD", ""),
    route("/charts.js", "GET, HEAD", ""),
    route("/dom.js", "GET, HEAD", ""),
    route("/inline.js", "GET, HEAD", ""),
    route("/style.css", "GET, HEAD", ""),
    route("/favicon.svg", "GET, HEAD", ""),
    route("/problems/*", "GET, HEAD", "What a problem type means."),
    route("/v1", "GET, HEAD", "This list."),
    route("/v1/alerts", "GET, HEAD", "Alerts by pages: after, limit, severity, detector, since, wait; or newest, grouped. Times as in RFC 3339, ago (5m, 2h) or in seconds since 1970."),
    route("/v1/alerts/stream", "GET, HEAD", "Alerts as server-sent events, with resume: after, severity, detector, since."),
    route("/v1/alerts/*", "GET, HEAD", "One alert by its id, with its history."),
    route("/v1/hosts", "GET, HEAD", "Hosts in the order of their latest change: after, limit, host, name, service, severity, kind, since."),
    route("/v1/hosts/*", "GET, HEAD", "One host by its id or an address, with its findings."),
    route("/v1/findings", "GET, HEAD", "What exposes hosts: after, limit, host, name, service, severity, kind, since."),
    route("/v1/history", "GET, HEAD", "Totals of the last five minutes by the second."),
    route("/v1/latency", "GET, HEAD", "Latency percentiles by core and stage."),
    route("/v1/latency.hlog", "GET, HEAD", "The same as an HdrHistogram log."),
    route("/v1/status", "GET, HEAD", "Capture, loss equation, model, store, uptime."),
    route("/v1/workers", "GET, HEAD, POST", "Workers with their queues and controllers; POST starts one."),
    route("/v1/workers/*", "DELETE", "Stops a worker."),
    route("/v1/queues/*/move", "POST", "Gives a queue to a worker."),
    route("/v1/flows", "GET, HEAD", "Flows: all that live now, those with the latest packet first (`living` counts them), then the ended ones that are kept, newest first: before, limit, host, port, protocol, community_id, state, living, since, until, min_bytes, alerted."),
    route("/v1/flows/top", "GET, HEAD", "The flows with most bytes lately: limit."),
    route("/v1/models", "GET, HEAD", "Models: which score, are compared, could be used or not and why, how far the traffic has drifted."),
    route("/v1/models/*/activate", "POST", "Makes a model active, shadow or none: {\"as\": \"active\"}."),
    route("/v1/models/rollback", "POST", "Makes active again what was before the latest change."),
    route("/v1/pairs", "GET, HEAD", "Pairs: their ports, what happens without a worker, and the books of both directions."),
    route("/v1/pairs/*/bypass", "POST", "Sends a pair's frames past the worker, or back: {\"on\": true}."),
    route("/v1/reload", "POST", "Reads the configuration anew: which changes are in force, which wait for the next start."),
    route("/v1/responses", "GET, HEAD, POST", "What is done about alerts, and proposals: after, limit, state, protocol, prefix; POST orders it: {\"protocol\": \"block_ip\", \"parameters\": {\"prefix\": \"192.0.2.7\"}}."),
    route("/v1/responses/*", "GET, HEAD, DELETE", "One response with everything; DELETE takes it back, or rejects a proposal."),
    route("/v1/responses/*/accept", "POST", "Accepts a proposal."),
    route("/v1/playbooks", "GET, HEAD", "Which alerts are answered how, and which protocols there are."),
    route("/v1/captures", "GET, HEAD", "Captured frames: which files there are, and which still grow."),
    route("/v1/captures/*", "GET, HEAD", "One of them, as pcapng."),
    route("/v1/scans", "GET, HEAD", "Active checks of what the operator owns: the latest, and how far they are."),
    route("/v1/scans/*", "GET, HEAD", "One of them, with the open ports."),
    route("/v1/audit", "GET, HEAD", "What was asked, refused, done and ended, the newest first: before, limit, response."),
    route("/metrics", "GET, HEAD", "Prometheus metrics."),
    route("/health/live", "GET, HEAD", "Is the process up?"),
    route("/health/ready", "GET, HEAD", "Can it do its work?"),
];

/// The methods of the route that `path` meets.
pub(super) fn allowed(path: &str) -> Option<&'static str> {
    let meets = |pattern: &str| {
        let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some("*"), Some(segment)) if !segment.is_empty() => {}
                (Some(wanted), Some(segment)) if wanted == segment => {}
                _ => return false,
            }
        }
    };
    TABLE.iter().find(|route| meets(route.path)).map(|route| route.methods)
}

/// All routes; rejections are answered too.
pub(super) fn all(app: &Arc<App>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + use<> {
    let with = |app: &Arc<App>| {
        let app = Arc::clone(app);
        warp::any().map(move || Arc::clone(&app))
    };
    let query = warp::query::<Query>;
    // A tag may hold any byte (RFC 9110 section 8.8.3); one that is not ours just does not match.
    let header = |name: &'static str| {
        warp::header::headers_cloned().map(move |headers: http::HeaderMap| {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
    };
    let list = warp::path!("v1" / "alerts")
        .and(warp::get())
        .and(with(app))
        .and(query())
        .and(header("if-none-match"))
        .then(|app, query, etag| answer(alerts::list(app, query, etag)));
    let streamed = warp::path!("v1" / "alerts" / "stream")
        .and(warp::get())
        .and(with(app))
        .and(query())
        .and(header("last-event-id"))
        .then(|app, query, last| answer(stream::open(app, query, last)));
    let one = warp::path!("v1" / "alerts" / String)
        .and(warp::get())
        .and(with(app))
        .then(|id, app| answer(alerts::one(app, id)));
    let kept = warp::path!("v1" / "flows")
        .and(warp::get())
        .and(with(app))
        .and(query())
        .and(header("if-none-match"))
        .then(|app, query, etag| answer(flows::list(app, query, etag)));
    let inventory = warp::path!("v1" / "hosts")
        .and(warp::get())
        .and(with(app))
        .and(query())
        .then(|app, query| answer(hosts::hosts(app, query)));
    let host = warp::path!("v1" / "hosts" / String)
        .and(warp::get())
        .and(with(app))
        .then(|id, app| answer(hosts::one(app, id)));
    let findings = warp::path!("v1" / "findings")
        .and(warp::get())
        .and(with(app))
        .and(query())
        .then(|app, query| answer(hosts::findings(app, query)));
    let top = warp::path!("v1" / "flows" / "top")
        .and(warp::get())
        .and(with(app))
        .and(query())
        .then(|app, query| answer(top_flows(app, query)));
    let problems = warp::path!("problems" / String).and(warp::get()).then(|slug| answer(async move { explain(slug) }));
    let moved = warp::path!("v1" / "queues" / String / "move")
        .and(warp::post())
        .and(with(app))
        .and(warp::body::content_length_limit(BODY_BYTES))
        .and(warp::body::bytes())
        .then(|queue, app, body| answer(move_queue(app, queue, body)));
    let added = warp::path!("v1" / "workers").and(warp::post()).and(with(app)).then(|app| answer(add_worker(app)));
    let reloaded = warp::path!("v1" / "reload").and(warp::post()).and(with(app)).then(|app| answer(reload(app)));
    let removed = warp::path!("v1" / "workers" / String)
        .and(warp::delete())
        .and(with(app))
        .then(|worker, app| answer(remove_worker(app, worker)));
    [
        page::routes(),
        list.boxed(),
        streamed.boxed(),
        one.boxed(),
        inventory.boxed(),
        host.boxed(),
        findings.boxed(),
        reloaded.boxed(),
        read(warp::path!("v1").boxed(), app, listed),
        read(warp::path!("v1" / "history").boxed(), app, history::answer),
        read(warp::path!("v1" / "latency").boxed(), app, latency::json),
        read(warp::path!("v1" / "latency.hlog").boxed(), app, latency::log),
        read(warp::path!("v1" / "status").boxed(), app, status),
        read(warp::path!("v1" / "workers").boxed(), app, workers),
        read(warp::path!("v1" / "models").boxed(), app, models::list),
        models::orders(app),
        read(warp::path!("v1" / "pairs").boxed(), app, pairs::list),
        pairs::orders(app),
        responses::routes(app),
        captures::routes(app),
        scans::routes(app),
        kept.boxed(),
        top.boxed(),
        read(warp::path!("metrics").boxed(), app, prometheus::answer),
        probe(warp::path!("health" / "live").boxed(), app, live),
        probe(warp::path!("health" / "ready").boxed(), app, ready),
        problems.boxed(),
        moved.boxed(),
        added.boxed(),
        removed.boxed(),
    ]
    .into_iter()
    .reduce(|routes, next| routes.or(next).unify().boxed())
    .unwrap_or_else(page::routes)
    .recover(rejected)
    .unify()
}

/// A route that reads what is at hand and takes no parameter.
fn read(
    path: BoxedFilter<()>,
    app: &Arc<App>,
    handler: fn(&App) -> Result<Response, Problem>,
) -> BoxedFilter<(Response,)> {
    let app = Arc::clone(app);
    let answer = move |query: Query| match query.first() {
        Some((name, _)) => Err(unknown_parameter(name, "none")),
        None => handler(&app),
    };
    path.and(warp::get())
        .and(warp::query::<Query>())
        .map(move |query| answer(query).unwrap_or_else(Problem::into_response))
        .boxed()
}

/// As [`read`], whatever parameters a probe may bring: none of them is a reason to restart us.
fn probe(
    path: BoxedFilter<()>,
    app: &Arc<App>,
    handler: fn(&App) -> Result<Response, Problem>,
) -> BoxedFilter<(Response,)> {
    let app = Arc::clone(app);
    path.and(warp::get()).map(move || handler(&app).unwrap_or_else(Problem::into_response)).boxed()
}

/// A handler's outcome as an answer.
pub(super) async fn answer(outcome: impl Future<Output = Result<Response, Problem>>) -> Response {
    outcome.await.unwrap_or_else(Problem::into_response)
}

/// What warp itself refuses.
async fn rejected(rejection: Rejection) -> Result<Response, Infallible> {
    use warp::reject;
    let kind = if rejection.find::<reject::PayloadTooLarge>().is_some() {
        Kind::PayloadTooLarge
    } else if rejection.find::<reject::LengthRequired>().is_some() {
        Kind::LengthRequired
    } else if rejection.find::<reject::UnsupportedMediaType>().is_some() {
        Kind::UnsupportedMediaType
    } else if rejection.find::<reject::InvalidQuery>().is_some()
        || rejection.find::<reject::InvalidHeader>().is_some()
        || rejection.find::<reject::MissingHeader>().is_some()
    {
        Kind::BadRequest
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        Kind::MethodNotAllowed
    } else if rejection.is_not_found() {
        Kind::NotFound
    } else {
        Kind::Internal
    };
    Ok(Problem::new(kind, kind.help()).into_response())
}

/// A JSON answer.
pub(super) fn json(value: &impl Serialize) -> Result<Response, Problem> {
    match serde_json::to_string(value) {
        Ok(body) => Ok(text(body, "application/json")),
        Err(cause) => Err(Problem::new(Kind::Internal, format!("write the answer: {cause}"))),
    }
}

/// An answer of some text type.
pub(super) fn text(body: impl Into<String>, content_type: &'static str) -> Response {
    let mut response = Response::new(body.into().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Runs what may wait for a disk or a lock off the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::new(Kind::Internal, "a read panicked"))
}

/// One number of a query or path, in its range.
pub(super) fn number<T>(name: &str, text: &str, range: std::ops::RangeInclusive<T>) -> Result<T, Problem>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let detail = format!("{name} must be a whole number from {} to {}", range.start(), range.end());
        Problem::new(Kind::BadRequest, detail)
    })
}

/// A moment of a query.
pub(super) fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    moment::parse(text, moment::now()).ok_or_else(|| {
        let given: String = text.chars().take(GIVEN_SHOWN).collect();
        Problem::new(Kind::BadRequest, format!("{name}={given} is no time: {name} takes {}", moment::FORMS))
    })
}

#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    reasons: Vec<Degraded>,
}

/// `/v1/status`: the system's picture with the store's beside it.
#[derive(Serialize)]
struct FullStatus {
    #[serde(flatten)]
    status: Status,
    store: StoreStatus,
    /// Hosts and findings are kept: `/v1/hosts` and `/v1/findings` answer.
    inventory: bool,
}

fn full_status(app: &App) -> FullStatus {
    let (mut status, store) = (app.system.status(), app.store.status());
    status.degraded.extend(store.degraded.iter().cloned());
    FullStatus { status, store, inventory: app.settings.inventory.is_some() }
}

fn status(app: &App) -> Result<Response, Problem> {
    json(&full_status(app))
}

/// `GET /v1`.
fn listed(_: &App) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Listed {
        routes: &'static [Route],
    }
    json(&Listed { routes: TABLE })
}

fn workers(app: &App) -> Result<Response, Problem> {
    json(&List { items: app.system.workers() })
}

fn live(app: &App) -> Result<Response, Problem> {
    app.system.alive().map_err(|reason| Problem::new(Kind::NotAlive, reason))?;
    json(&Health { status: "live", reasons: Vec::new() })
}

fn ready(app: &App) -> Result<Response, Problem> {
    let FullStatus { status, .. } = full_status(app);
    if !status.ready {
        let errors = status.degraded.iter().map(|degraded| format!("{}: {}", degraded.part, degraded.reason));
        return Err(Problem::new(Kind::NotReady, "not every part has come up").with_errors(errors.collect()));
    }
    let state = if status.degraded.is_empty() { "ready" } else { "degraded" };
    json(&Health { status: state, reasons: status.degraded })
}

async fn top_flows(app: Arc<App>, query: Query) -> Result<Response, Problem> {
    let mut limit = 20;
    for (name, value) in query {
        match name.as_str() {
            "limit" => limit = number("limit", &value, 1..=100)?,
            _ => return Err(unknown_parameter(&name, "limit")),
        }
    }
    let mut items = app.system.top_flows(limit);
    items.truncate(limit);
    json(&List { items })
}

/// A parameter that the route does not know is an error: a filter with a typing mistake must not answer everything.
pub(super) fn unknown_parameter(name: &str, known: &str) -> Problem {
    let name: String = name.chars().take(40).collect();
    Problem::new(Kind::BadRequest, format!("unknown parameter {name:?}; known here: {known}"))
}

fn explain(slug: String) -> Result<Response, Problem> {
    let kind = KINDS.iter().find(|kind| kind.slug() == slug);
    let kind = kind.ok_or_else(|| Problem::new(Kind::NotFound, "no problem type has this name"))?;
    let body = format!("{}\n{}\n\nStatus {}.\n", kind.title(), kind.help(), kind.status());
    Ok(text(body, "text/plain; charset=utf-8"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    worker: WorkerId,
}

#[derive(Serialize)]
struct Ordered {
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueId>,
    worker: WorkerId,
}

async fn move_queue(app: Arc<App>, queue: String, body: impl AsRef<[u8]> + Send) -> Result<Response, Problem> {
    let queue = QueueId(number("queue", &queue, 0..=u16::MAX)?);
    let Move { worker } = serde_json::from_slice(body.as_ref())
        .map_err(|cause| Problem::new(Kind::BadRequest, format!("the body must be {{\"worker\": NUMBER}}: {cause}")))?;
    blocking(move || app.system.move_queue(queue, worker)).await?.map_err(refused)?;
    ordered(StatusCode::ACCEPTED, Ordered { queue: Some(queue), worker })
}

async fn reload(app: Arc<App>) -> Result<Response, Problem> {
    let Some(reload) = app.settings.reload.clone() else {
        return Err(Problem::new(Kind::Conflict, "this program has no configuration to read anew: `shrike run` has"));
    };
    json(&blocking(move || reload()).await?.map_err(|cause| Problem::new(Kind::Conflict, cause))?)
}

async fn add_worker(app: Arc<App>) -> Result<Response, Problem> {
    let worker = blocking(move || app.system.add_worker()).await?.map_err(refused)?;
    ordered(StatusCode::CREATED, Ordered { queue: None, worker })
}

async fn remove_worker(app: Arc<App>, worker: String) -> Result<Response, Problem> {
    let worker = WorkerId(number("worker", &worker, 0..=u16::MAX)?);
    blocking(move || app.system.remove_worker(worker)).await?.map_err(refused)?;
    ordered(StatusCode::ACCEPTED, Ordered { queue: None, worker })
}

fn ordered(status: StatusCode, order: Ordered) -> Result<Response, Problem> {
    let mut response = json(&order)?;
    *response.status_mut() = status;
    Ok(response)
}

pub(super) fn refused(cause: CommandError) -> Problem {
    let kind = match cause {
        CommandError::NotFound(_) => Kind::NotFound,
        CommandError::Conflict(_) => Kind::Conflict,
        CommandError::Unfit(_) => Kind::ModelRefused,
        CommandError::Busy(_) => Kind::Busy,
    };
    Problem::new(kind, cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_meet_their_pattern_and_nothing_else() {
        assert_eq!(allowed("/v1/queues/3/move"), Some("POST"));
        assert_eq!(allowed("/v1/alerts/stream"), Some("GET, HEAD"));
        assert_eq!(allowed("/v1/workers"), Some("GET, HEAD, POST"));
        for path in ["//v1/alerts", "/v1/alerts/", "/v1//alerts", "/v1/queues//move", "", "/V1/alerts"] {
            assert_eq!(allowed(path), None, "{path}");
        }
    }
}
