//! `/v1/captures`: frames that were captured, and the files themselves.

use super::App;
use super::problem::{Kind, Problem};
use super::routes::{answer, blocking, json};
use crate::control::respond::watch::capture::CaptureView;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::body::Bytes;
use serde::Serialize;
use std::io::Read as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply as _};

/// Bytes of a file that are read at a time, and how many such wait for the connection.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 4;

/// All routes of these.
pub(super) fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let with = |app: &Arc<App>| {
        let app = Arc::clone(app);
        warp::any().map(move || Arc::clone(&app))
    };
    let list = warp::path!("v1" / "captures").and(warp::get()).and(with(app)).then(|app| answer(list_of(app)));
    let one = warp::path!("v1" / "captures" / String).and(warp::get()).and(with(app));
    list.or(one.then(|name, app| answer(file(app, name)))).unify().boxed()
}

async fn list_of(app: Arc<App>) -> Result<Response, Problem> {
    #[derive(Serialize, Default)]
    struct Page {
        items: Vec<CaptureView>,
        bytes_max: u64,
        files_max: usize,
    }
    let Some(captures) = app.settings.responses.as_ref().map(|responses| responses.captures()) else {
        return json(&Page::default());
    };
    let (bytes_max, files_max) = (captures.settings().bytes, captures.settings().files);
    let read = blocking(move || captures.list()).await?;
    let items = read.map_err(|cause| Problem::new(Kind::StoreUnavailable, format!("read the captures: {cause}")))?;
    json(&Page { items, bytes_max, files_max })
}

/// The file, a piece at a time: one that grows is given as long as it is now.
async fn file(app: Arc<App>, name: String) -> Result<Response, Problem> {
    let missing = || Problem::new(Kind::NotFound, "no capture has this name: GET /v1/captures lists them");
    let captures = app.settings.responses.as_ref().map(|responses| responses.captures()).ok_or_else(missing)?;
    let asked = name.clone();
    let (file, bytes) = blocking(move || captures.open(&asked)).await?.map_err(|_| missing())?;
    let (pieces, ready) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut file = file.take(bytes);
        loop {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece);
            let over = !matches!(read, Ok(count) if count > 0);
            let piece = match read {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(Bytes::from(piece))
                }
                Err(cause) => Err(cause),
            };
            // The reader has gone, or is told.
            if pieces.blocking_send(piece).is_err() || over {
                return;
            }
        }
    });
    let mut response = warp::reply::stream(ReceiverStream::new(ready)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
