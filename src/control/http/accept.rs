//! The accept loop: warp's own server has neither a limit on connections nor one on the time a header may take.
//!
//! Per connection: the header within its limit (also between two requests of a kept connection), a write that makes no
//! progress for [`super::Settings::stall_limit`] ends it. Overall and per address a number of connections; those beyond
//! get a problem answer and are closed, however many they are: at once, but for a few that may ask how the program is
//! ([`GUESTS`]). On stop, connections finish the request they are in.

use super::heads::{METHOD, Refusal};
use super::problem::{Kind, Problem};
use super::wire::{self, Wire};
use super::{App, guard};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, Shutdown};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Request head and what hyper buffers of an answer, per connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// Refused connections that are waited for at a time, until their clients have read why and gone (a second at most). Each
/// costs a descriptor; those beyond are told and closed at once, and what such a client sends later is reset.
const REFUSALS: usize = 64;
/// Connections beyond the limits at a time that may ask one thing: how the program is ([`is_vital`]). Whoever looks after it
/// must not be told that it is not there because others are.
const GUESTS: usize = 16;
/// Time for such a connection's head to arrive.
const GUEST_LIMIT: Duration = Duration::from_secs(1);
/// What is read away of a refused connection that is not waited for.
const HURRIED_BYTES: usize = 16 * 1024;
/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until stop is asked for, then waits `stop_limit` for connections to finish.
pub(super) async fn run(listener: TcpListener, app: Arc<App>) {
    let mut stop = app.stop.subscribe();
    let mut connections = JoinSet::new();
    let per_address: PerAddress = Arc::default();
    let refusals = Refusals::new();
    let guests = Arc::new(Semaphore::new(GUESTS));
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
        let (app, service) = (Arc::clone(&app), service.clone());
        if let Some(place) = Place::take(&app, &per_address, peer.ip()) {
            connections.spawn(async move {
                serve(stream, app, service, Rank::Client).await;
                drop(place);
            });
        } else if let Ok(permit) = Arc::clone(&guests).try_acquire_owned() {
            connections.spawn(async move {
                serve(stream, app, service, Rank::Guest).await;
                drop(permit);
            });
        } else {
            app.refused.fetch_add(1, Relaxed);
            if refusals.refuse(stream).is_err() {
                app.untold.fetch_add(1, Relaxed);
            }
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(app.settings.stop_limit, finish).await.is_err() {
        connections.abort_all();
    }
}

/// What a connection may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// Everything, for as long as it likes.
    Client,
    /// It is one too many: ask one thing, and soon.
    Guest,
}

/// What is answered however many connections there are.
fn is_vital(path: &str) -> bool {
    ["/health/live", "/health/ready", "/metrics"].contains(&path)
}

async fn serve<S>(stream: TcpStream, app: Arc<App>, routes: S, rank: Rank)
where
    S: hyper::service::Service<
            http::Request<hyper::body::Incoming>,
            Response = warp::reply::Response,
            Error = std::convert::Infallible,
        > + Clone,
{
    let _ = stream.set_nodelay(true);
    let here = stream.local_addr().ok().map(|address| address.ip());
    let refusal = Refusal::default();
    let (head_limit, stall_limit) = match rank {
        Rank::Client => (app.settings.header_limit, app.settings.stall_limit),
        Rank::Guest => (GUEST_LIMIT, GUEST_LIMIT),
    };
    let mut wire = Wire::new(stream, stall_limit, Arc::clone(&refusal));
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (app, routes) = (Arc::clone(&app), routes.clone());
        let one_too_many = rank == Rank::Guest && !is_vital(request.uri().path());
        let refused = match refusal.get().filter(|_| request.method() == METHOD) {
            None if one_too_many => {
                app.refused.fetch_add(1, Relaxed);
                Some(Problem::new(Kind::TooManyConnections, Kind::TooManyConnections.help()))
            }
            refused => refused.cloned(),
        };
        async move {
            match refused {
                Some(problem) => Ok(guard::refuse(&app, problem)),
                None => guard::answer(&app, here, request, |request| routes.call(request)).await,
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_limit)
        .keep_alive(rank == Rank::Client)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(&mut wire), service);
    let finished = {
        let mut stop = app.stop.subscribe();
        let mut connection = std::pin::pin!(connection);
        let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
        tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stopped => {
                // To the end of the request it is in.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let timed_out = finished.is_err_and(|cause| cause.is_timeout());
    if timed_out && rank == Rank::Guest && wire.may_be_told() {
        app.refused.fetch_add(1, Relaxed);
        wire.close_with(&last_words(Kind::TooManyConnections)).await;
    } else if timed_out && wire.waits_for_head() {
        app.cut.fetch_add(1, Relaxed);
        app.count(Kind::RequestTimeout.status());
        wire.close_with(&last_words(Kind::RequestTimeout)).await;
    } else {
        wire.close().await;
    }
}

/// A whole answer of the server's own, for connections that hyper does not have or has given up.
fn last_words(kind: Kind) -> Vec<u8> {
    let body = Problem::new(kind, kind.help()).to_json("/");
    let retry = if kind == Kind::TooManyConnections { "retry-after: 1\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{retry}connection: close\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n",
        kind.status(),
        body.len()
    );
    (head + &body).into_bytes()
}

/// Tells connections that there are too many, without ever waiting for one of them.
struct Refusals {
    words: Vec<u8>,
    waited_for: Arc<Semaphore>,
}

impl Refusals {
    fn new() -> Refusals {
        Refusals { words: last_words(Kind::TooManyConnections), waited_for: Arc::new(Semaphore::new(REFUSALS)) }
    }

    /// Writes the answer and closes: in its own time where there is room, at once where not. A new connection's buffer is
    /// empty and takes the whole answer, so an error means that the client has gone.
    fn refuse(&self, stream: TcpStream) -> io::Result<()> {
        // Past tokio, which does not write before the first event of a socket.
        let mut stream = stream.into_std()?;
        stream.write_all(&self.words)?;
        match Arc::clone(&self.waited_for).try_acquire_owned() {
            Ok(permit) => {
                let stream = TcpStream::from_std(stream)?;
                tokio::spawn(async move {
                    wire::close(stream, b"").await;
                    drop(permit);
                });
            }
            Err(_) => {
                // Closing with unread bytes would reset the connection under the answer.
                stream.shutdown(Shutdown::Write)?;
                let mut rest = [0; HURRIED_BYTES];
                let _ = stream.read(&mut rest);
            }
        }
        Ok(())
    }
}

type PerAddress = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The right to one connection; given back on drop.
struct Place {
    app: Arc<App>,
    per_address: PerAddress,
    client: IpAddr,
}

impl Place {
    fn take(app: &Arc<App>, per_address: &PerAddress, address: IpAddr) -> Option<Place> {
        let client = one_client(address);
        let mut counts = per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let mine = counts.get(&client).copied().unwrap_or(0);
        let too_many = !is_this_host(address) && mine >= app.settings.connections_per_address;
        if all >= app.settings.connections || too_many {
            return None;
        }
        counts.insert(client, mine + 1);
        app.open.store(all + 1, Relaxed);
        Some(Place { app: Arc::clone(app), per_address: Arc::clone(per_address), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
        self.app.open.store(counts.values().sum(), Relaxed);
    }
}

/// From this machine, where many are one address: its people, its programs, and a proxy with all who come through it.
fn is_this_host(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// One host of IPv6 owns a /64 at least.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
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
        let here = |text: &str| is_this_host(text.parse().unwrap());
        assert!(here("127.0.0.1") && here("127.9.9.9") && here("::1") && here("::ffff:127.0.0.1"));
        assert!(!here("10.0.0.1") && !here("::") && !here("2001:db8::1"));
    }
}
