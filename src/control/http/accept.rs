//! The accept loop: warp's own server has neither a limit on connections nor one on the time a header may take.
//!
//! Per connection: the header within its limit (also between two requests of a kept connection), a write that makes no
//! progress for [`super::Settings::stall_limit`] ends it. Overall and per address a number of connections; those beyond
//! get a problem answer and are closed. On stop, connections finish the request they are in.

use super::problem::{Kind, Problem};
use super::{App, guard};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

/// Request head and what hyper buffers of an answer, per connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// Refusals that are being written at a time; beyond them a connection is closed without a word.
const REFUSALS: usize = 32;
/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until stop is asked for, then waits `stop_limit` for connections to finish.
pub(super) async fn run(listener: TcpListener, app: Arc<App>) {
    let mut stop = app.stop.subscribe();
    let mut connections = JoinSet::new();
    let per_address: PerAddress = Arc::default();
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let service = hyper_util::service::TowerToHyperService::new(warp::service(super::routes::all(&app)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                if !matches!(cause.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    app.accept_errors.fetch_add(1, Relaxed);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let Some(place) = Place::take(&app, &per_address, peer.ip()) else {
            app.refused.fetch_add(1, Relaxed);
            if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(Duration::from_secs(1), refuse(stream)).await;
                    drop(permit);
                });
            }
            continue;
        };
        let (app, service) = (Arc::clone(&app), service.clone());
        connections.spawn(async move {
            serve(stream, app, service).await;
            drop(place);
        });
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(app.settings.stop_limit, finish).await.is_err() {
        connections.abort_all();
    }
}

async fn serve<S>(stream: TcpStream, app: Arc<App>, routes: S)
where
    S: hyper::service::Service<
            http::Request<hyper::body::Incoming>,
            Response = warp::reply::Response,
            Error = std::convert::Infallible,
        > + Clone,
{
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Stalling::new(stream, app.settings.stall_limit));
    let mut stop = app.stop.subscribe();
    let service = service_fn(|request| {
        let (app, routes) = (Arc::clone(&app), routes.clone());
        async move { guard::answer(&app, request, |request| routes.call(request)).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.settings.header_limit)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
    let finished = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        () = stopped => None,
    };
    let outcome = match finished {
        Some(outcome) => outcome,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = outcome
        && cause.is_timeout()
    {
        app.cut.fetch_add(1, Relaxed);
    }
}

/// Says why and closes. The request is read away first, or the close would reset the connection under our answer.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let problem = Problem::new(Kind::TooManyConnections, Kind::TooManyConnections.help());
    let body = problem.to_json("/");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\nx-content-type-options: nosniff\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut sink = [0; 1024];
    let mut left = 16 * sink.len();
    while left > 0 {
        match stream.read(&mut sink).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

type PerAddress = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The right to one connection; given back on drop.
struct Place {
    app: Arc<App>,
    per_address: PerAddress,
    address: IpAddr,
}

impl Place {
    fn take(app: &Arc<App>, per_address: &PerAddress, address: IpAddr) -> Option<Place> {
        let address = one_client(address);
        let mut counts = per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let mine = counts.get(&address).copied().unwrap_or(0);
        if all >= app.settings.connections || mine >= app.settings.connections_per_address {
            return None;
        }
        counts.insert(address, mine + 1);
        app.open.store(all + 1, Relaxed);
        Some(Place { app: Arc::clone(app), per_address: Arc::clone(per_address), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
        self.app.open.store(counts.values().sum(), Relaxed);
    }
}

/// One host of IPv6 owns a /64 at least.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

/// A stream on which a write that makes no progress for `limit` is an error: a client that asks and does not read must not
/// keep its place for ever.
struct Stalling {
    stream: TcpStream,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stalling {
    fn new(stream: TcpStream, limit: Duration) -> Stalling {
        Stalling { stream, limit, stalled: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let limit = self.limit;
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        match sleep.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_64() {
        let client = |text: &str| one_client(text.parse().unwrap()).to_string();
        assert_eq!(client("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
