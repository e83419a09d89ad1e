//! `/v1/pairs`: how each pair forwards, its books, and its bypass.

use super::App;
use super::problem::{Kind, Problem};
use super::routes::{BODY_BYTES, answer, blocking, json, refused};
use hyper::body::Bytes;
use serde::Deserialize;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// `GET /v1/pairs`.
pub(super) fn list(app: &App) -> Result<Response, Problem> {
    json(&serde_json::json!({ "pairs": app.system.pairs() }))
}

/// `POST /v1/pairs/NAME/bypass`.
pub(super) fn orders(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let app = Arc::clone(app);
    warp::path!("v1" / "pairs" / String / "bypass")
        .and(warp::post())
        .and(warp::any().map(move || Arc::clone(&app)))
        .and(warp::body::content_length_limit(BODY_BYTES))
        .and(warp::body::bytes())
        .then(|name, app, body| answer(bypass(app, name, body)))
        .boxed()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    on: bool,
}

async fn bypass(app: Arc<App>, name: String, body: Bytes) -> Result<Response, Problem> {
    let Ordered { on } = serde_json::from_slice(&body).map_err(|cause| {
        Problem::new(Kind::BadRequest, format!("the body must be {{\"on\": true}} or {{\"on\": false}}: {cause}"))
    })?;
    let system = Arc::clone(&app.system);
    let asked = name.clone();
    blocking(move || system.bypass(&asked, on)).await?.map_err(refused)?;
    json(&serde_json::json!({ "pair": name, "bypassed": on }))
}
