//! `/v1/models`: which there are, and orders to them.

use super::App;
use super::problem::{Kind, Problem};
use super::routes::{BODY_BYTES, answer, blocking, json, refused};
use crate::control::models::Wanted;
use crate::control::view::ModelsView;
use http::header::CONTENT_LENGTH;
use hyper::body::Bytes;
use serde::Deserialize;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

/// Why there is nothing to order.
const NONE: &str =
    "no model is used: the program was started with --no-model or enabled = false in [model]; start it without";

/// `GET /v1/models`.
pub(super) fn list(app: &App) -> Result<Response, Problem> {
    let none = || ModelsView { reason: Some(NONE.to_owned()), ..ModelsView::default() };
    json(&app.settings.models.as_ref().map_or_else(none, |models| models.view()))
}

/// The routes that take orders. A body may be left out.
pub(super) fn orders(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let with = |app: &Arc<App>| {
        let app = Arc::clone(app);
        warp::any().map(move || Arc::clone(&app))
    };
    let small = warp::body::content_length_limit(BODY_BYTES).and(warp::body::bytes());
    let path = warp::path!("v1" / "models" / String / "activate").and(warp::post()).and(with(app));
    let told = path.clone().and(small).then(|name, app, body: Bytes| answer(activate(app, name, body)));
    let bare = path.and(no_body()).then(|name, app| answer(activate(app, name, Bytes::new())));
    let back = warp::path!("v1" / "models" / "rollback").and(warp::post()).and(with(app));
    let back = back.then(|app| answer(roll_back(app)));
    told.or(bare).unify().or(back).unify().boxed()
}

/// A request without a body: transfer encodings are refused before.
fn no_body() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    let check = |headers: http::HeaderMap| async move {
        if headers.contains_key(CONTENT_LENGTH) { Err(warp::reject::not_found()) } else { Ok(()) }
    };
    warp::header::headers_cloned().and_then(check).untuple_one()
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Ordered {
    #[serde(default, rename = "as")]
    wanted: Wanted,
}

async fn activate(app: Arc<App>, name: String, body: Bytes) -> Result<Response, Problem> {
    let Ordered { wanted } = if body.is_empty() {
        Ordered::default()
    } else {
        serde_json::from_slice(&body).map_err(|cause| {
            let detail = format!("the body must be {{\"as\": \"active\"}}, shadow or none instead of active: {cause}");
            Problem::new(Kind::BadRequest, detail)
        })?
    };
    let models = app.settings.models.clone().ok_or_else(|| Problem::new(Kind::Conflict, NONE))?;
    json(&blocking(move || models.set(&name, wanted)).await?.map_err(refused)?)
}

async fn roll_back(app: Arc<App>) -> Result<Response, Problem> {
    let models = app.settings.models.clone().ok_or_else(|| Problem::new(Kind::Conflict, NONE))?;
    json(&blocking(move || models.roll_back()).await?.map_err(refused)?)
}
