//! The HTTP API and the live page: warp's filters over an accept loop of our own.
//!
//! Reads the [`Store`] and a [`System`] and owns neither; holds no lock that a worker can wait on. Every request is
//! untrusted: heads, bodies, connections and waiting have limits ([`Settings`]), every error is an RFC 9457 problem, the
//! Host header is checked, there is no CORS. It deliberately has no TLS and no users in this version and therefore listens
//! on 127.0.0.1 unless told otherwise.

mod accept;
mod alerts;
mod captures;
mod flows;
mod guard;
mod heads;
mod history;
mod hosts;
mod latency;
mod models;
mod page;
mod pairs;
mod problem;
mod prometheus;
mod responses;
mod routes;
mod scans;
mod stream;
mod wire;

use crate::control::flows::FlowHistory;
use crate::control::inventory::SharedInventory;
use crate::control::models::SharedModels;
use crate::control::respond::live::SharedResponses;
use crate::control::store::Store;
use crate::control::view::{ReloadView, System};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Runs on every thread of the server as it starts.
pub type ThreadStart = Arc<dyn Fn() + Send + Sync>;

/// Reads the configuration anew; why nothing has changed. Waits for the supervisor.
pub type Reloading = Arc<dyn Fn() -> Result<ReloadView, String> + Send + Sync>;

/// How the API is served. Any value is fine but where a range is named.
#[derive(Clone)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names besides localhost and the address connected to that the Host header may carry.
    pub names: Vec<String>,
    /// Time for a request's head to arrive, also on a kept connection.
    pub header_limit: Duration,
    /// Time for a request with a body to arrive and be answered.
    pub body_limit: Duration,
    /// Time that an answer may be stuck because the client does not read.
    pub stall_limit: Duration,
    /// Time that running requests are given on stop.
    pub stop_limit: Duration,
    /// Pause between two comment lines on an idle stream.
    pub heartbeat: Duration,
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address; this machine's own are not counted.
    pub connections_per_address: usize,
    /// Threads of the async runtime, at least 1.
    pub threads: usize,
    /// Flows that ended lately; `None`: none are kept.
    pub flows: Option<Arc<FlowHistory>>,
    /// Hosts and findings, where they are kept.
    pub inventory: Option<Arc<SharedInventory>>,
    /// The models, where some are used.
    pub models: Option<Arc<SharedModels>>,
    /// What is done about alerts, where anything is.
    pub responses: Option<Arc<SharedResponses>>,
    /// Reads the configuration anew, where there is one that may change; why nothing has changed.
    pub reload: Option<Reloading>,
    /// What each thread of the server does first (pin itself to the control core, say).
    pub thread_start: Option<ThreadStart>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7470),
            names: Vec::new(),
            header_limit: Duration::from_secs(5),
            body_limit: Duration::from_secs(10),
            stall_limit: Duration::from_secs(30),
            stop_limit: Duration::from_secs(5),
            heartbeat: Duration::from_secs(15),
            connections: 512,
            connections_per_address: 64,
            threads: 1,
            flows: None,
            inventory: None,
            models: None,
            responses: None,
            reload: None,
            thread_start: None,
        }
    }
}

/// The server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("listen on {address}: {cause}{}", if cause.kind() == std::io::ErrorKind::AddrInUse
        { " (choose another port, or 0 for a free one)" } else { "" })]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's own words.
        cause: std::io::Error,
    },
    /// Its thread cannot be started.
    #[error("start the HTTP server's thread: {0}")]
    Thread(std::io::Error),
}

/// The running server; dropping it stops it.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// The address listened on, with the port that was taken.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new connection; waiting polls and streams end; running requests are given [`Settings::stop_limit`].
    pub fn stop(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been reported by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.finish();
    }
}

/// An address that is ours; who connects waits until it is served.
pub struct Listener {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// Takes an address, before anything else is begun.
///
/// # Errors
/// The address is taken or not ours.
pub fn listen(address: SocketAddr) -> Result<Listener, ServeError> {
    let failed = |cause| ServeError::Listen { address, cause };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listener { listener, address })
}

/// Listens and serves on threads of its own.
///
/// # Errors
/// The address is taken or not ours, or no thread can be had.
pub fn serve(settings: Settings, store: Store, system: Arc<dyn System>) -> Result<Server, ServeError> {
    serve_on(listen(settings.listen)?, settings, store, system)
}

/// As [`serve`], at an address taken before; [`Settings::listen`] is not looked at.
///
/// # Errors
/// No thread can be had.
pub fn serve_on(
    Listener { listener, address }: Listener,
    settings: Settings,
    store: Store,
    system: Arc<dyn System>,
) -> Result<Server, ServeError> {
    let (stop, _) = watch::channel(false);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(settings.threads.max(1))
        // Reads of the store's file; more at a time would only wait for the same disk.
        .max_blocking_threads(4)
        .thread_name("shrike-http")
        .enable_io()
        .enable_time();
    if let Some(start) = settings.thread_start.clone() {
        builder.on_thread_start(move || start());
    }
    let runtime = builder.build().map_err(ServeError::Thread)?;
    let app = Arc::new(App::new(settings, address, store, system, stop.clone()));
    let thread = std::thread::Builder::new()
        .name("shrike-accept".into())
        .spawn(move || {
            if let Some(start) = &app.settings.thread_start {
                start();
            }
            runtime.block_on(async move {
                tokio::spawn(history::keep(Arc::clone(&app)));
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => accept::run(listener, app).await,
                    Err(cause) => tracing::error!("serve HTTP on {address}: {cause}"),
                }
            });
            // A reader of the file may still be at work; it holds nothing that must be waited for.
            runtime.shutdown_background();
        })
        .map_err(ServeError::Thread)?;
    Ok(Server { address, stop, thread: Some(thread) })
}

/// What every route sees.
struct App {
    settings: Settings,
    names: Vec<String>,
    store: Store,
    system: Arc<dyn System>,
    stop: watch::Sender<bool>,
    history: history::History,
    /// Connections open now.
    open: AtomicUsize,
    /// Connections refused because there were too many.
    refused: AtomicU64,
    /// Those of them that had gone before they could be told.
    untold: AtomicU64,
    /// Connections cut because a head took too long.
    cut: AtomicU64,
    accept_errors: AtomicU64,
    /// Answers by class, 1xx to 5xx.
    requests: [AtomicU64; 5],
}

impl App {
    fn new(
        settings: Settings,
        address: SocketAddr,
        store: Store,
        system: Arc<dyn System>,
        stop: watch::Sender<bool>,
    ) -> App {
        let mut names = settings.names.clone();
        names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
        if !address.ip().is_unspecified() {
            names.push(address.ip().to_string());
        }
        App {
            settings,
            names,
            store,
            system,
            stop,
            history: history::History::default(),
            open: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            requests: Default::default(),
        }
    }

    /// Counts an answer.
    fn count(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.requests[class].fetch_add(1, Relaxed);
    }

    fn answers_to(&self, host: &str) -> bool {
        guard::host_is_one_of(host, &self.names)
    }
}
