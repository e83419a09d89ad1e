//! What holds for every request, whatever its route: whom we answer (Host, Origin), how long a body may take, and which
//! headers go with every answer. Stands between the connection and warp.

use super::problem::{Kind, Problem, finish};
use super::{App, routes};
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use warp::reply::Response;

/// Our page needs nothing from elsewhere and no inline script; trusted types make `innerHTML` and its like throw.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                                       object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Sent with every answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (http::header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (http::header::X_FRAME_OPTIONS, "DENY"),
    (http::header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Answers one request that came in at the address `here`.
pub(super) async fn answer<B, F, O>(
    app: &Arc<App>,
    here: Option<IpAddr>,
    mut request: Request<B>,
    route: F,
) -> Result<Response, Infallible>
where
    F: FnOnce(Request<B>) -> O,
    O: Future<Output = Result<Response, Infallible>>,
{
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let response = match admit(app, here, &request) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            // HEAD is GET without the body, which hyper leaves out by itself.
            if method == Method::HEAD {
                *request.method_mut() = Method::GET;
            }
            let answering = caught(route(request));
            if method == Method::GET || method == Method::HEAD {
                answering.await
            } else {
                match tokio::time::timeout(app.settings.body_limit, answering).await {
                    Ok(response) => response,
                    Err(_) => Problem::new(Kind::RequestTimeout, Kind::RequestTimeout.help()).into_response(),
                }
            }
        }
    };
    let mut response = finish(response, &path);
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allow) = routes::allowed(&path)
    {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    Ok(dressed(app, response))
}

/// Answers a head that could not be read as a request; the connection's last answer.
pub(super) fn refuse(app: &App, problem: Problem) -> Response {
    let mut response = finish(problem.into_response(), "/");
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    dressed(app, response)
}

/// With what goes with every answer, counted.
fn dressed(app: &App, mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    app.count(response.status());
    response
}

/// Refuses what must not reach any route.
fn admit<B>(app: &App, here: Option<IpAddr>, request: &Request<B>) -> Result<(), Problem> {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = match (host, headers.get_all(HOST).iter().count()) {
        (Some(host), 1) => host,
        // RFC 9112 section 3.2 asks for Host of 1.1 only. No browser speaks 1.0, so no name can have been rebound; an
        // order of a browser would still carry an Origin, which then meets no name.
        (None, 0) if request.version() <= Version::HTTP_10 && request.uri().authority().is_none() => "localhost",
        _ => return Err(Problem::new(Kind::BadRequest, "exactly one Host header is needed")),
    };
    let named = request.uri().authority().map_or(host, |authority| authority.as_str());
    // An address is no name that somebody else could point here.
    let is_ours = |host: &str| app.answers_to(host) || here.is_some_and(|here| is_address(host, here));
    if !is_ours(host) || !is_ours(named) {
        let detail = format!(
            "{named:?} is not a name of this server: ask by its address, or add the name to hosts in [http] of its \
             configuration"
        );
        return Err(Problem::new(Kind::Misdirected, detail));
    }
    // warp takes a path with a slash too many for the one without; here every resource has one name.
    if routes::allowed(request.uri().path()).is_none() {
        return Err(Problem::new(Kind::NotFound, Kind::NotFound.help()));
    }
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if !reads {
        same_origin(headers, host)?;
        let json = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
        let body = headers.get(http::header::CONTENT_LENGTH).is_some_and(|length| length != "0")
            || headers.contains_key(http::header::TRANSFER_ENCODING);
        if body && !json {
            return Err(Problem::new(Kind::UnsupportedMediaType, Kind::UnsupportedMediaType.help()));
        }
    }
    Ok(())
}

/// An order from a browser must come from our own page; programs send neither header.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let foreign_site = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let foreign_origin = headers.get(ORIGIN).is_some_and(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        authority
            .as_ref()
            .and_then(Uri::authority)
            .is_none_or(|authority| !authority.as_str().eq_ignore_ascii_case(host))
    });
    if foreign_site || foreign_origin {
        return Err(Problem::new(Kind::ForbiddenOrigin, Kind::ForbiddenOrigin.help()));
    }
    Ok(())
}

/// A panic in a route is that request's fault answer, not the end of the connection.
async fn caught(answering: impl Future<Output = Result<Response, Infallible>>) -> Response {
    let mut answering = pin!(answering);
    std::future::poll_fn(|context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(context))) {
            Ok(Poll::Ready(Ok(response))) => Poll::Ready(response),
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Err(never))) => match never {},
            Err(_) => Poll::Ready(Problem::new(Kind::Internal, "a route panicked").into_response()),
        }
    })
    .await
}

/// A Host without its port.
fn bare(host: &str) -> Option<&str> {
    match host.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .filter(|(_, port)| port.is_empty() || port.starts_with(':'))
            .map(|(address, _)| address),
        None => Some(host.split_once(':').map_or(host, |(name, _)| name)),
    }
}

/// Is `host` (with or without port) that address?
fn is_address(host: &str, address: IpAddr) -> bool {
    let named = bare(host).and_then(|host| host.parse::<IpAddr>().ok());
    named.is_some_and(|named| named.to_canonical() == address.to_canonical())
}

/// Is `host` (with or without port) one of `names`? Compared as names are: without case, and one trailing dot is allowed.
pub(super) fn host_is_one_of(host: &str, names: &[String]) -> bool {
    let Some(name) = bare(host) else { return false };
    let name = name.strip_suffix('.').unwrap_or(name);
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole() {
        let names = ["localhost", "127.0.0.1", "::1", "sensor.example"].map(str::to_owned);
        for good in ["localhost", "LocalHost:8080", "127.0.0.1:1", "[::1]", "[::1]:99", "sensor.example.:80"] {
            assert!(host_is_one_of(good, &names), "{good}");
        }
        for bad in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::1]x", "[::2]", ":80"]
        {
            assert!(!host_is_one_of(bad, &names), "{bad}");
        }
    }

    #[test]
    fn an_address_is_known_however_it_is_written() {
        let here = |host, address: &str| is_address(host, address.parse().unwrap());
        assert!(here("192.0.2.7:80", "192.0.2.7") && here("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(here("[2001:DB8::0:1]:80", "2001:db8::1"));
        assert!(!here("192.0.2.8", "192.0.2.7") && !here("evil.example", "192.0.2.7") && !here("", "192.0.2.7"));
    }

    #[test]
    fn orders_from_other_origins_are_refused() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            same_origin(&headers, "localhost:8080").is_ok()
        };
        assert!(check(&[]));
        assert!(check(&[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")]));
        assert!(!check(&[("origin", "http://localhost:9")]));
        assert!(!check(&[("origin", "null")]));
        assert!(!check(&[("sec-fetch-site", "cross-site")]));
    }
}
