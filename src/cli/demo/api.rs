//! The demo's eyes: a few GETs over the HTTP API of the running program, as any client would make them.

use super::error::DemoError;
use super::verdict::Percentiles;
use crate::cli::client::Client;
use crate::cli::hosts;
use crate::control::alert::Alert;
use crate::control::view::{Status, WorkerView};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// An answer that takes longer is a failure; everything asked for is answered from memory.
const LIMIT: Duration = Duration::from_secs(10);

/// The API of one running program, asked from an ordinary thread.
pub struct Api {
    address: SocketAddr,
    client: Client,
    runtime: tokio::runtime::Runtime,
    next: Option<String>,
}

/// Everything the demo shows, asked for at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    /// `/v1/status`.
    pub status: Status,
    /// `/v1/workers`.
    pub workers: Vec<WorkerView>,
    /// `/v1/latency`, all cores together.
    pub latency: BTreeMap<String, Percentiles>,
}

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct AlertPage {
    items: Vec<Alert>,
    next: String,
    has_more: bool,
}

#[derive(Deserialize)]
struct Latency {
    all: BTreeMap<String, Percentiles>,
}

impl Api {
    /// The API that listens on `address`.
    ///
    /// # Errors
    /// The operating system gives no event queue.
    pub fn new(address: SocketAddr) -> Result<Api, DemoError> {
        let fail = |reason: String| DemoError::Http { path: address.to_string(), reason };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| fail(error.to_string()))?;
        let client = Client::new(&format!("http://{address}")).map_err(|error| fail(error.to_string()))?;
        Ok(Api { address, client, runtime, next: None })
    }

    /// Where people open the live page.
    pub fn page_address(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Every part is up.
    pub fn is_ready(&mut self) -> bool {
        self.body("/health/ready").is_ok()
    }

    /// Status, workers and latency.
    ///
    /// # Errors
    /// The program does not answer, or not as expected.
    pub fn picture(&mut self) -> Result<Picture, DemoError> {
        Ok(Picture {
            status: self.json("/v1/status")?,
            workers: self.json::<Items<WorkerView>>("/v1/workers")?.items,
            latency: self.json::<Latency>("/v1/latency")?.all,
        })
    }

    /// Alerts that have come since the last call.
    ///
    /// # Errors
    /// The program does not answer, or not as expected.
    pub fn new_alerts(&mut self) -> Result<Vec<Alert>, DemoError> {
        let mut alerts = Vec::new();
        loop {
            let path = match &self.next {
                Some(cursor) => format!("/v1/alerts?limit=100&after={cursor}"),
                None => "/v1/alerts?limit=100".to_owned(),
            };
            let page: AlertPage = self.json(&path)?;
            alerts.extend(page.items);
            self.next = Some(page.next);
            if !page.has_more {
                return Ok(alerts);
            }
        }
    }

    /// What exposes the lab's hosts, the worst first.
    ///
    /// # Errors
    /// The program does not answer, or not as expected.
    pub fn findings(&mut self) -> Result<Vec<Value>, DemoError> {
        let mut found = self.json::<Items<Value>>("/v1/findings?limit=1000")?.items;
        hosts::sort(&mut found);
        Ok(found)
    }

    /// The live page itself, as a browser would get it.
    ///
    /// # Errors
    /// It is not there or not HTML.
    pub fn page(&mut self) -> Result<String, DemoError> {
        let body = self.body("/")?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if text.to_ascii_lowercase().contains("<html") {
            return Ok(text);
        }
        Err(DemoError::Http { path: "/".into(), reason: "the answer is no HTML page".into() })
    }

    fn json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, DemoError> {
        let body = self.body(path)?;
        serde_json::from_slice(&body)
            .map_err(|error| DemoError::Http { path: path.to_owned(), reason: format!("unexpected JSON: {error}") })
    }

    fn body(&mut self, path: &str) -> Result<Vec<u8>, DemoError> {
        let answer = self.runtime.block_on(self.client.get(path, LIMIT));
        answer
            .map(|body| body.to_vec())
            .map_err(|error| DemoError::Http { path: path.to_owned(), reason: error.to_string() })
    }
}
