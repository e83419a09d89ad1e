//! `/v1/alerts/stream`: server-sent events with resume.
//!
//! There is no buffer per client that could overflow: a stream is a cursor that walks the store and waits at its end. A
//! client that falls behind is told so (`lagged`) and still gets every alert, from the store; only what retention deletes
//! under it is lost, and that is told too.

use super::App;
use super::alerts::{Request, cursor, page};
use super::problem::{Kind, Problem};
use super::routes::Query;
use crate::control::store::Cursor;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use warp::Reply as _;
use warp::reply::Response;
use warp::sse::Event;

/// Alerts read at a time.
const CHUNK: usize = 256;
/// Events ready for the connection; small, as the store is the buffer.
const READY: usize = 16;
/// Alerts behind the end, once it had been reached, from which a client is told that it lags.
const LAG: u64 = 1_024;

/// `GET /v1/alerts/stream`: from `Last-Event-ID`, else from `after`, else from now on.
pub(super) async fn open(app: Arc<App>, query: Query, last_event: Option<String>) -> Result<Response, Problem> {
    let request = Request::parse(&query, false)?;
    let start = match last_event.as_deref().filter(|id| !id.is_empty()) {
        Some(id) => Some(cursor(id)?),
        None => request.after,
    };
    let start = start.unwrap_or_else(|| app.store.end());
    // An expired place is an answer of its own, not a stream that begins with a gap.
    page(&app, Some(start), request.filter, 1).await?;
    let (events, ready) = mpsc::channel(READY);
    let heartbeat = warp::sse::keep_alive().interval(app.settings.heartbeat).text("still here");
    tokio::spawn(async move {
        // An error is the client's going away.
        let _ = walk(&app, start, &request, &events).await;
    });
    Ok(warp::sse::reply(heartbeat.stream(ReceiverStream::new(ready))).into_response())
}

type Sender = mpsc::Sender<Result<Event, Infallible>>;

async fn walk(
    app: &Arc<App>,
    start: Cursor,
    request: &Request,
    events: &Sender,
) -> Result<(), mpsc::error::SendError<Result<Event, Infallible>>> {
    let mut stop = app.stop.subscribe();
    let mut committed = app.store.subscribe();
    let mut place = start;
    let mut live = false;
    // The place that the client would name if it came again.
    let mut named = start;
    let mut due = Instant::now() + app.settings.heartbeat;
    // Sent first, so that clients and proxies see the stream open before the first alert.
    events.send(Ok(Event::default().retry(std::time::Duration::from_secs(1)).comment("alerts"))).await?;
    loop {
        committed.mark_unchanged();
        match page(app, Some(place), request.filter, CHUNK).await {
            Ok(page) => {
                let behind = app.store.last_sequence().saturating_sub(place.sequence);
                if live && behind > LAG {
                    events.send(Ok(told("lagged", &format!("{{\"behind\":{behind},\"lost\":0}}")))).await?;
                    live = false;
                }
                for row in &page.items {
                    let id = Cursor { sequence: row.sequence, ..page.next };
                    let event = Event::default().event("alert").id(id.to_string()).data(row.to_json());
                    events.send(Ok(event)).await?;
                    named = id;
                }
                place = page.next;
                if page.has_more {
                    continue;
                }
                live = true;
            }
            Err(problem) if problem.kind == Kind::CursorExpired => {
                let store = app.store.status();
                let floor = store.last_sequence - store.alerts;
                let lost = floor.saturating_sub(place.sequence);
                events.send(Ok(told("lagged", &format!("{{\"behind\":{},\"lost\":{lost}}}", store.alerts)))).await?;
                place = Cursor { sequence: floor, ..app.store.end() };
                live = false;
                continue;
            }
            // The file does not answer: the client comes again by itself and meets the problem as an answer.
            Err(_) => return Ok(()),
        }
        if named == place {
            due = Instant::now() + app.settings.heartbeat;
        }
        let quiet = tokio::select! {
            changed = committed.changed() => if changed.is_err() { return Ok(()) } else { false },
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = events.closed() => return Ok(()),
            () = tokio::time::sleep_until(due), if named != place => true,
        };
        if quiet {
            // Nothing passed the filter for a while: an event without data is no event to the client, but its id is where
            // the client goes on from.
            events.send(Ok(Event::default().id(place.to_string()).comment("nothing passed the filter"))).await?;
            named = place;
        }
    }
}

fn told(name: &str, data: &str) -> Event {
    Event::default().event(name).data(data)
}
