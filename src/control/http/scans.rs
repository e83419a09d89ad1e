//! `/v1/scans`: how far active checks are, and what they found.

use super::App;
use super::problem::{Kind, Problem};
use super::routes::{answer, blocking, json};
use crate::control::respond::intended::Id;
use crate::control::respond::scan::ScanView;
use serde::Serialize;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// All routes of these.
pub(super) fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let with = |app: &Arc<App>| {
        let app = Arc::clone(app);
        warp::any().map(move || Arc::clone(&app))
    };
    let list = warp::path!("v1" / "scans").and(warp::get()).and(with(app)).then(|app| answer(list_of(app)));
    let one = warp::path!("v1" / "scans" / String).and(warp::get()).and(with(app));
    list.or(one.then(|id, app| answer(one_of(app, id)))).unify().boxed()
}

async fn list_of(app: Arc<App>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Page {
        items: Vec<ScanView>,
    }
    let scanner = app.settings.responses.as_ref().map(|responses| responses.scanner());
    json(&Page { items: scanner.map(|scanner| scanner.list()).unwrap_or_default() })
}

async fn one_of(app: Arc<App>, text: String) -> Result<Response, Problem> {
    let missing = || Problem::new(Kind::NotFound, "no scan has this id: GET /v1/scans lists the latest");
    let id = Id::parse(&text).ok_or_else(missing)?;
    let scanner = app.settings.responses.as_ref().map(|responses| responses.scanner()).ok_or_else(missing)?;
    let found = blocking(move || scanner.one(&id)).await?;
    found.map_or_else(|| Err(missing()), |view| json(&view))
}
