//! GET, POST and DELETE over HTTP/1.1 without TLS: hyper's client on a connection of our own. It is here because hyper is in the program
//! anyway (its parser is read and fuzzed by many), while a client crate would bring a pool, proxies and TLS that nobody
//! needs for an API on 127.0.0.1.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Largest answer taken: a page of 1000 alerts is below 2 MiB.
const ANSWER_BYTES: usize = 16 << 20;
/// Time to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address of ours.
    #[error("--url {0}: {1}: it must look like http://127.0.0.1:7470")]
    Url(String, String),
    /// Nobody there, or the connection broke; trying again may help.
    #[error("{0}: {1}")]
    Connection(String, String),
    /// The server said no.
    #[error("{url}: {status} {title}: {detail}")]
    Problem {
        /// What was asked for.
        url: String,
        /// Status of the answer.
        status: u16,
        /// Last part of the problem's type.
        slug: String,
        /// Title of the problem.
        title: String,
        /// Detail of the problem.
        detail: String,
    },
}

/// A server, and a connection to it while one is open.
pub struct Client {
    base: Uri,
    authority: String,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A server by its URL, `http://host[:port]`; does not connect yet.
    ///
    /// # Errors
    /// Not such a URL.
    pub fn new(url: &str) -> Result<Client, ClientError> {
        let fail = |why: &str| ClientError::Url(url.to_owned(), why.to_owned());
        let base: Uri = url.parse().map_err(|_| fail("not a URL"))?;
        if base.scheme_str() != Some("http") {
            return Err(fail("only http is spoken here"));
        }
        let authority = base.authority().ok_or_else(|| fail("no host"))?.to_string();
        if authority.contains('@') || !matches!(base.path(), "" | "/") || base.query().is_some() {
            return Err(fail("only a host and a port"));
        }
        Ok(Client { base, authority, open: None })
    }

    /// The body of a good answer to `GET path`, within `limit`.
    ///
    /// # Errors
    /// [`ClientError::Connection`] or [`ClientError::Problem`]; the next call connects anew.
    pub async fn get(&mut self, path: &str, limit: Duration) -> Result<Bytes, ClientError> {
        self.ask("GET", path, Bytes::new(), limit).await
    }

    /// The same of `POST path` with JSON.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&mut self, path: &str, body: Bytes, limit: Duration) -> Result<Bytes, ClientError> {
        self.ask("POST", path, body, limit).await
    }

    /// The same of `DELETE path`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn delete(&mut self, path: &str, limit: Duration) -> Result<Bytes, ClientError> {
        self.ask("DELETE", path, Bytes::new(), limit).await
    }

    async fn ask(&mut self, method: &str, path: &str, body: Bytes, limit: Duration) -> Result<Bytes, ClientError> {
        let url = format!("http://{}{path}", self.authority);
        let broken = |cause: &dyn std::fmt::Display| ClientError::Connection(url.clone(), cause.to_string());
        let answering = async {
            let mut sender = match self.open.take().filter(|sender| !sender.is_closed()) {
                Some(sender) => sender,
                None => self.connect().await.map_err(|cause| broken(&cause))?,
            };
            let mut request = Request::builder().method(method).uri(path);
            if !body.is_empty() {
                request = request.header("content-type", "application/json");
            }
            let request = request
                .header("host", &self.authority)
                .header("accept", "application/json")
                .body(Full::new(body))
                .map_err(|cause| broken(&cause))?;
            sender.ready().await.map_err(|cause| broken(&cause))?;
            let answer = sender.send_request(request).await.map_err(|cause| broken(&cause))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|cause| broken(&cause))?.to_bytes();
            self.open = Some(sender);
            if matches!(status.as_u16(), 200 | 201) { Ok(body) } else { Err(problem(&url, status.as_u16(), &body)) }
        };
        match tokio::time::timeout(limit, answering).await {
            Ok(outcome) => outcome,
            Err(_) => Err(broken(&format!("no answer within {} s", limit.as_secs()))),
        }
    }

    /// Writes the body of a good answer to `GET path` there, a piece at a time; how many bytes it had.
    ///
    /// # Errors
    /// As [`Client::get`], or the file's.
    pub async fn fetch(&mut self, path: &str, to: &mut dyn std::io::Write) -> Result<u64, ClientError> {
        let url = format!("http://{}{path}", self.authority);
        let broken = |cause: &dyn std::fmt::Display| ClientError::Connection(url.clone(), cause.to_string());
        let mut sender = self.connect().await.map_err(|cause| broken(&cause))?;
        let request = Request::get(path).header("host", &self.authority).body(Full::new(Bytes::new()));
        let answer = sender.send_request(request.map_err(|cause| broken(&cause))?).await;
        let answer = answer.map_err(|cause| broken(&cause))?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        if status != 200 {
            let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|cause| broken(&cause))?.to_bytes();
            return Err(problem(&url, status, &body));
        }
        let mut bytes = 0;
        while let Some(piece) = body.frame().await {
            let piece = piece.map_err(|cause| broken(&cause))?;
            let data = piece.data_ref().map_or(&[][..], |data| data);
            to.write_all(data).map_err(|cause| broken(&cause))?;
            bytes += data.len() as u64;
        }
        Ok(bytes)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let host = self.base.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, self.base.port_u16().unwrap_or(80)));
        let stream = tokio::time::timeout(CONNECT, connecting).await.map_err(|_| "no connection".to_owned())?;
        let stream = stream.map_err(|cause| cause.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|cause| cause.to_string())?;
        // It ends with the sender, and its errors are seen there.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

fn problem(url: &str, status: u16, body: &[u8]) -> ClientError {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    let slug = text("type").rsplit('/').next().unwrap_or_default().to_owned();
    ClientError::Problem { url: url.to_owned(), status, slug, title: text("title"), detail: text("detail") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for good in ["http://127.0.0.1:7470", "http://localhost/", "http://[::1]:7470"] {
            assert!(Client::new(good).is_ok(), "{good}");
        }
        for bad in ["https://localhost", "localhost:7470", "http://", "http://a/b", "http://u@h", "ftp://h", ""] {
            assert!(Client::new(bad).is_err(), "{bad}");
        }
    }
}
