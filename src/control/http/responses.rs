//! `/v1/responses`, `/v1/playbooks`, `/v1/audit`: what is done about alerts, orders to that, and what became of them.

use super::App;
use super::problem::{Kind, Problem};
use super::routes::{BODY_BYTES, Query, answer, blocking, json, number, unknown_parameter};
use crate::control::respond::audit::Row;
use crate::control::respond::intended::{Id, Response as Answered, Stage};
use crate::control::respond::live::{AskError, SharedResponses, Wanted};
use crate::control::respond::order::{Mode, Order, OrderError, Outcome};
use crate::control::respond::playbooks::Playbook;
use crate::control::respond::safety::{Proof, Who};
use crate::control::respond::view::{OrderedView, ResponseView, ResponsesView};
use crate::units::SECOND;
use http::StatusCode;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// Items of a page without `limit`.
const LIMIT_DEFAULT: usize = 100;
/// Most items of a page.
const LIMIT_MAX: usize = 1_000;
/// Longest name of a person.
const NAME_MAX: usize = 64;

/// Why there is nothing to order.
const NONE: &str = "this program does not respond: enabled = false in [respond], or it is no `shrike run`";

/// All routes of these.
pub(super) fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let with = |app: &Arc<App>| {
        let app = Arc::clone(app);
        warp::any().map(move || Arc::clone(&app))
    };
    let query = warp::query::<Query>;
    let list = warp::path!("v1" / "responses").and(warp::get()).and(with(app)).and(query());
    let list = list.then(|app, query| answer(list_of(app, query)));
    let one = warp::path!("v1" / "responses" / String).and(warp::get()).and(with(app));
    let one = one.then(|id, app| answer(one_of(app, id)));
    let ordered = warp::path!("v1" / "responses").and(warp::post()).and(with(app));
    let ordered = ordered.and(warp::body::content_length_limit(BODY_BYTES)).and(warp::body::bytes());
    let ordered = ordered.then(|app, body| answer(order(app, body)));
    let undone = warp::path!("v1" / "responses" / String).and(warp::delete()).and(with(app)).and(query());
    let undone = undone.then(|id, app, query| answer(undo(app, id, query)));
    let accepted = warp::path!("v1" / "responses" / String / "accept").and(warp::post()).and(with(app)).and(query());
    let accepted = accepted.then(|id, app, query| answer(accept(app, id, query)));
    let playbooks = warp::path!("v1" / "playbooks").and(warp::get()).and(with(app)).and(query());
    let playbooks = playbooks.then(|app, query| answer(playbooks_of(app, query)));
    let audit = warp::path!("v1" / "audit").and(warp::get()).and(with(app)).and(query());
    let audit = audit.then(|app, query| answer(audit_of(app, query)));
    let reads = list.or(one).unify().or(playbooks).unify().or(audit).unify().boxed();
    reads.or(ordered).unify().or(undone).unify().or(accepted).unify().boxed()
}

fn responses(app: &App) -> Result<Arc<SharedResponses>, Problem> {
    app.settings.responses.clone().ok_or_else(|| Problem::new(Kind::Conflict, NONE))
}

fn id(text: &str) -> Result<Id, Problem> {
    let unknown = || Problem::new(Kind::NotFound, "no response has this id: GET /v1/responses lists them");
    Id::parse(text).ok_or_else(unknown)
}

/// Each parameter at most once.
fn once(query: &Query) -> Result<(), Problem> {
    let twice = |index: usize| query[..index].iter().any(|(other, _)| *other == query[index].0);
    match (0..query.len()).find(|index| twice(*index)) {
        Some(index) => Err(Problem::new(Kind::BadRequest, format!("{} is given twice", query[index].0))),
        None => Ok(()),
    }
}

async fn list_of(app: Arc<App>, query: Query) -> Result<Response, Problem> {
    once(&query)?;
    let (mut after, mut limit, mut wanted) = (None, LIMIT_DEFAULT, Wanted::default());
    for (name, value) in &query {
        match name.as_str() {
            "after" => {
                let wrong = || Problem::new(Kind::BadCursor, "after must be `next` of an earlier answer");
                after = Some(Id::parse(value).ok_or_else(wrong)?);
            }
            "limit" => limit = number("limit", value, 1..=LIMIT_MAX)?,
            "state" => {
                const STATES: [&str; 6] = ["proposed", "pending", "enforced", "failed", "running", "done"];
                if !STATES.contains(&value.as_str()) {
                    let detail = format!("state must be one of {}", STATES.join(", "));
                    return Err(Problem::new(Kind::BadRequest, detail));
                }
                wanted.state = Some(value.clone());
            }
            "protocol" => wanted.protocol = Some(value.clone()),
            "prefix" => {
                let wrong = |cause: crate::control::respond::prefix::PrefixError| {
                    Problem::new(Kind::BadRequest, cause.to_string())
                };
                wanted.prefix = Some(value.parse().map_err(wrong)?);
            }
            _ => return Err(unknown_parameter(name, "after, limit, state, protocol, prefix")),
        }
    }
    let Some(responses) = app.settings.responses.clone() else { return json(&ResponsesView::none(NONE)) };
    json(&blocking(move || responses.page(after, &wanted, limit)).await?)
}

async fn one_of(app: Arc<App>, text: String) -> Result<Response, Problem> {
    let (responses, id) = (responses(&app)?, id(&text)?);
    let found = blocking(move || responses.one(&id)).await?;
    found.map_or_else(|| Err(refused(AskError::Order(OrderError::NotFound(text)))), |view| json(&view))
}

/// What a person orders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    protocol: String,
    parameters: Value,
    #[serde(default)]
    ttl_seconds: Option<u64>,
    #[serde(default)]
    why: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    evidence: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

/// There are no users: the name is what the client says, for the audit.
fn person(by: Option<String>) -> Result<String, Problem> {
    let name = by.unwrap_or_else(|| "api".to_owned());
    let good = !name.is_empty() && name.chars().count() <= NAME_MAX && !name.chars().any(char::is_control);
    if good { Ok(name) } else { Err(Problem::new(Kind::BadRequest, "by must be a name of 1 to 64 letters")) }
}

async fn order(app: Arc<App>, body: Bytes) -> Result<Response, Problem> {
    let wish: Wish = serde_json::from_slice(&body).map_err(|cause| {
        let detail = format!(
            "the body must be {{\"protocol\": \"block_ip\", \"parameters\": {{\"prefix\": \"192.0.2.7\"}}, \"ttl_seconds\": 3600, \
             \"why\": \"...\", \"dry_run\": false}}: {cause}"
        );
        Problem::new(Kind::BadRequest, detail)
    })?;
    let order = Order {
        protocol: wish.protocol,
        parameters: wish.parameters,
        ttl_ns: wish.ttl_seconds.map(|seconds| seconds.saturating_mul(SECOND)),
        who: Who::Person(person(wish.by)?),
        why: wish.why,
        evidence: wish.evidence.into_iter().map(|id| id.chars().take(NAME_MAX).collect()).collect(),
        proof: Proof::None,
        mode: if wish.dry_run { Mode::DryRun } else { Mode::Do },
        patient: false,
    };
    let responses = responses(&app)?;
    let (response, outcome) = blocking(move || responses.order(order)).await?.map_err(refused)?;
    let (status, word) = match outcome {
        Outcome::Begun => (StatusCode::CREATED, "begun"),
        Outcome::Extended => (StatusCode::OK, "extended"),
        Outcome::Already => (StatusCode::OK, "already"),
        Outcome::Proposed => (StatusCode::OK, "proposed"),
        Outcome::WouldDo => (StatusCode::OK, "would_do"),
    };
    ordered(status, word, &response)
}

fn ordered(status: StatusCode, outcome: &str, response: &Answered) -> Result<Response, Problem> {
    let view = OrderedView { outcome: outcome.to_owned(), response: ResponseView::of(response, true) };
    let mut answer = json(&view)?;
    *answer.status_mut() = status;
    Ok(answer)
}

/// `by`, of orders that have no body.
fn by(query: &Query) -> Result<String, Problem> {
    once(query)?;
    if let Some((name, _)) = query.iter().find(|(name, _)| name != "by") {
        return Err(unknown_parameter(name, "by"));
    }
    person(query.first().map(|(_, value)| value.clone()))
}

async fn accept(app: Arc<App>, text: String, query: Query) -> Result<Response, Problem> {
    let (responses, id, by) = (responses(&app)?, id(&text)?, by(&query)?);
    let response = blocking(move || responses.accept(id, &by)).await?.map_err(refused)?;
    ordered(StatusCode::OK, "begun", &response)
}

async fn undo(app: Arc<App>, text: String, query: Query) -> Result<Response, Problem> {
    let (responses, id, by) = (responses(&app)?, id(&text)?, by(&query)?);
    let response = blocking(move || responses.undo(id, &by)).await?.map_err(refused)?;
    let word = if response.stage == Stage::Proposed { "rejected" } else { "undone" };
    ordered(StatusCode::OK, word, &response)
}

fn refused(cause: AskError) -> Problem {
    use crate::control::respond::protocols::ProtocolError;
    let kind = match &cause {
        AskError::Busy(_) => Kind::Busy,
        AskError::Order(order) => match order {
            OrderError::Protocol(ProtocolError::NotFound(..)) | OrderError::NotFound(_) => Kind::NotFound,
            OrderError::Protocol(ProtocolError::Unavailable { .. }) => Kind::Conflict,
            OrderError::Protocol(_) => Kind::BadRequest,
            OrderError::Refused(_) => Kind::ResponseRefused,
            OrderError::NoPair(_) | OrderError::Conflict(_) => Kind::Conflict,
            OrderError::Disk(_) => Kind::StoreUnavailable,
        },
    };
    Problem::new(kind, cause.to_string())
}

async fn playbooks_of(app: Arc<App>, query: Query) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Protocol {
        name: &'static str,
        about: &'static str,
    }
    #[derive(Serialize)]
    struct Playbooks<'a> {
        items: &'a [Playbook],
        protocols: Vec<Protocol>,
    }
    if let Some((name, _)) = query.first() {
        return Err(unknown_parameter(name, "none"));
    }
    let Some(responses) = app.settings.responses.clone() else {
        return json(&Playbooks { items: &[], protocols: Vec::new() });
    };
    let protocols = responses.protocols().iter().map(|(name, about)| Protocol { name, about }).collect();
    json(&Playbooks { items: &responses.playbooks(), protocols })
}

async fn audit_of(app: Arc<App>, query: Query) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Page {
        items: Vec<Row>,
        next: Option<u64>,
        has_more: bool,
    }
    once(&query)?;
    let (mut before, mut limit, mut about) = (None, LIMIT_DEFAULT, None);
    for (name, value) in &query {
        match name.as_str() {
            "before" => before = Some(number("before", value, 1..=u64::MAX)?),
            "limit" => limit = number("limit", value, 1..=LIMIT_MAX)?,
            "response" => about = Some(id(value)?),
            _ => return Err(unknown_parameter(name, "before, limit, response")),
        }
    }
    let Some(responses) = app.settings.responses.clone() else {
        return json(&Page { items: Vec::new(), next: None, has_more: false });
    };
    let read = blocking(move || responses.audit(before, about.as_ref(), limit)).await?;
    let (items, has_more) = read.map_err(|cause| Problem::new(Kind::StoreUnavailable, cause.to_string()))?;
    let next = items.last().map(|row| row.sequence).filter(|_| has_more);
    json(&Page { items, next, has_more })
}
