//! `webhook`: tells a server of the operator's, by a POST of JSON.
//!
//! Only to URLs that the configuration names, over HTTP or HTTPS, without following redirects: who may give orders to the API cannot
//! turn the sensor into a client of whatever it reaches. One retry policy for all: three attempts within the time limit, the second
//! and third after a pause, for a connection that fails, 429 and 5xx; anything else of an answer is final, as is a
//! server whose certificate is not what it should be. Over TLS (1.2 and 1.3) the server proves its name to the system's authorities, or
//! to those of a file; there is no way to leave that out.

use super::{Once, Planned, Protocol, ProtocolError, Work, typed, wrong};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Attempts in all.
const ATTEMPTS: u32 = 3;
/// Bytes of an answer that are read, to leave the connection in order.
const ANSWER_BYTES: usize = 64 * 1024;
/// Bytes of JSON that are sent at most.
const BODY_BYTES: usize = 256 * 1024;

/// A server that may be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookPlan {
    /// Its name.
    pub name: String,
    /// Where: `http://host[:port]/path`, or `https:`.
    pub url: Uri,
    /// Certificates of authorities (PEM) that are trusted instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Time for all attempts.
    pub limit: Duration,
    /// Pause before the second attempt; twice as long before the third.
    pub pause: Duration,
}

impl WebhookPlan {
    /// Reads a URL.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn url(text: &str) -> Result<Uri, String> {
        let url: Uri = text.parse().map_err(|cause| format!("is no URL: {cause}"))?;
        match url.scheme_str() {
            Some("http" | "https") => {}
            _ => return Err("does not begin with http:// or https://".into()),
        }
        let authority =
            url.authority().filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        authority.map_or(Err("names no host, or a password".into()), |_| Ok(url.clone()))
    }
}

/// The protocol.
pub struct Webhook {
    known: Arc<Vec<WebhookPlan>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    to: Option<String>,
    about: Value,
}

impl Webhook {
    /// One that knows these servers.
    pub fn new(known: Vec<WebhookPlan>) -> Webhook {
        Webhook { known: Arc::new(known) }
    }
}

/// The one of that name, or the only one there is.
pub(super) fn chosen<'a, T>(
    known: &'a [T],
    name_of: impl Fn(&T) -> &str,
    wanted: Option<&str>,
    section: &str,
) -> Result<&'a T, String> {
    let names = || known.iter().map(&name_of).collect::<Vec<_>>().join(", ");
    match (wanted, known) {
        (_, []) => Err(format!("there is no [[{section}]] in the configuration")),
        (None, [only]) => Ok(only),
        (None, _) => Err(format!("it names none of {}", names())),
        (Some(wanted), _) => {
            known.iter().find(|one| name_of(one) == wanted).ok_or_else(|| format!("{wanted:?} is none of {}", names()))
        }
    }
}

impl Protocol for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn about(&self) -> &'static str {
        "Tells a server of yours ([[webhook]]; to: its name) by a POST of JSON (about)."
    }

    fn template(&self) -> Value {
        json!({ "about": "{alert}" })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        const REMEDY: &str =
            "write {\"to\": \"NAME\", \"about\": {...}} with the name of a [[webhook]] of the configuration";
        let mut asked: Told = typed(self.name(), parameters, REMEDY)?;
        let plan = match chosen(&self.known, |plan| &plan.name, asked.to.as_deref(), "webhook") {
            Ok(plan) => plan.clone(),
            Err(problem) => return wrong(self.name(), problem, REMEDY),
        };
        let body = asked.about.to_string();
        if body.len() > BODY_BYTES {
            return wrong(
                self.name(),
                format!("about has {} bytes of JSON, {BODY_BYTES} may be sent", body.len()),
                REMEDY,
            );
        }
        asked.to = Some(plan.name.clone());
        let parameters = serde_json::to_value(&asked).unwrap_or_default();
        Ok(Planned { parameters, work: Work::Once(Box::new(Call { plan, body: body.into() })) })
    }
}

struct Call {
    plan: WebhookPlan,
    body: Bytes,
}

/// May another attempt help?
enum Trouble {
    Passing(String),
    Final(String),
}

impl Once for Call {
    fn run(&self) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|cause| format!("start a runtime: {cause}"))?;
        runtime.block_on(async {
            let limit = self.plan.limit;
            let told = tokio::time::timeout(limit, self.tell()).await;
            told.unwrap_or_else(|_| Err(format!("{}: no answer within {} s", self.plan.url, limit.as_secs_f64())))
        })
    }
}

impl Call {
    async fn tell(&self) -> Result<String, String> {
        let mut latest = String::new();
        for attempt in 1..=ATTEMPTS {
            match self.post().await {
                Ok(status) => return Ok(format!("{}: {status} at attempt {attempt}", self.plan.url)),
                Err(Trouble::Final(why)) => return Err(format!("{}: {why}", self.plan.url)),
                Err(Trouble::Passing(why)) => latest = why,
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(self.plan.pause * attempt).await;
            }
        }
        Err(format!("{}: {latest}, at each of {ATTEMPTS} attempts", self.plan.url))
    }

    async fn post(&self) -> Result<http::StatusCode, Trouble> {
        let passing = |cause: &dyn std::fmt::Display| Trouble::Passing(cause.to_string());
        let url = &self.plan.url;
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_secure = url.scheme_str() == Some("https");
        let connecting = TcpStream::connect((host, url.port_u16().unwrap_or(if is_secure { 443 } else { 80 })));
        let stream = connecting.await.map_err(|cause| passing(&cause))?;
        if !is_secure {
            return self.post_over(stream).await;
        }
        let tls = client(self.plan.authorities.as_deref()).map_err(Trouble::Final)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|cause| Trouble::Final(cause.to_string()))?;
        let secured = TlsConnector::from(tls).connect(name, stream).await;
        let stream = secured.map_err(|cause| match cause.kind() {
            // What is wrong with its certificate is wrong with it a second later.
            std::io::ErrorKind::InvalidData => Trouble::Final(format!("TLS: {cause}")),
            _ => passing(&cause),
        })?;
        self.post_over(stream).await
    }

    async fn post_over<S>(&self, stream: S) -> Result<http::StatusCode, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let passing = |cause: &dyn std::fmt::Display| Trouble::Passing(cause.to_string());
        let url = &self.plan.url;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|cause| passing(&cause))?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header("host", url.authority().map_or("", |authority| authority.as_str()))
            .header("content-type", "application/json")
            .header("user-agent", concat!("shrike/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(self.body.clone()))
            .map_err(|cause| Trouble::Final(cause.to_string()))?;
        // It ends with the sender, and its errors are seen there.
        tokio::spawn(async move { drop(connection.await) });
        let answer = sender.send_request(request).await.map_err(|cause| passing(&cause))?;
        let status = answer.status();
        // What it says beyond its status is nobody's concern, however it ends.
        drop(Limited::new(answer.into_body(), ANSWER_BYTES).collect().await);
        match status.as_u16() {
            200..=299 => Ok(status),
            429 | 500..=599 => Err(Trouble::Passing(status.to_string())),
            _ => Err(Trouble::Final(status.to_string())),
        }
    }
}

/// How TLS is spoken, trusting the authorities of a file or the system's.
fn client(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let (certificates, from) = match authorities {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            (read.map_err(|cause| format!("read {}: {cause}", path.display()))?, path.display().to_string())
        }
        None => (rustls_native_certs::load_native_certs().certs, "the system".to_owned()),
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(format!("{from} has no authority to trust: name a file with authorities in [[webhook]]"));
    }
    let versions =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let config = versions.map_err(|cause| cause.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
