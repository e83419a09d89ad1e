//! The live page: a few files from `web/`, embedded; nothing is read from disk and no path is built from a request.

use super::alerts::matches_tag;
use super::routes::text;
use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

const INDEX: &str = include_str!("../../../web/index.html");
const APP: &str = include_str!("../../../web/app.js");
const DOM: &str = include_str!("../../../web/dom.js");
const INLINE: &str = include_str!("../../../web/inline.js");
const CHARTS: &str = include_str!("../../../web/charts.js");
const STYLE: &str = include_str!("../../../web/style.css");
const ICON: &str = include_str!("../../../web/favicon.svg");

pub(super) fn routes() -> BoxedFilter<(Response,)> {
    file(warp::path::end().boxed(), INDEX, "text/html; charset=utf-8")
        .or(file(warp::path!("app.js").boxed(), APP, "text/javascript; charset=utf-8"))
        .unify()
        .or(file(warp::path!("charts.js").boxed(), CHARTS, "text/javascript; charset=utf-8"))
        .unify()
        .or(file(warp::path!("dom.js").boxed(), DOM, "text/javascript; charset=utf-8"))
        .unify()
        .or(file(warp::path!("inline.js").boxed(), INLINE, "text/javascript; charset=utf-8"))
        .unify()
        .or(file(warp::path!("style.css").boxed(), STYLE, "text/css; charset=utf-8"))
        .unify()
        .or(file(warp::path!("favicon.svg").boxed(), ICON, "image/svg+xml"))
        .unify()
        .boxed()
}

fn file(
    path: BoxedFilter<()>,
    content: &'static str,
    content_type: &'static str,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let tag = tag(content);
    path.and(warp::get()).and(warp::header::optional::<String>("if-none-match")).map(move |etag: Option<String>| {
        let mut response = if etag.is_some_and(|etag| matches_tag(&etag, &tag)) {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            text(content, content_type)
        };
        if let Ok(value) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(ETAG, value);
        }
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    })
}

fn tag(content: &str) -> String {
    let mut tag = String::from("\"");
    for byte in &Sha256::digest(content.as_bytes())[..8] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}
