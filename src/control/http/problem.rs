//! Every answer that is no success: RFC 9457 problem details.
//!
//! A handler returns a [`Problem`]; it travels inside the response and is written out by `guard`, which knows the request's
//! path (`instance`) and turns any other error answer into one too, so no other shape can leave the server.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use warp::reply::Response;

macro_rules! kinds {
    ($($variant:ident = $slug:literal, $status:ident, $title:literal, $help:literal;)+) => {
        /// What went wrong; each has a fixed type, status and title, and a page at `/problems/<slug>`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Kind { $(#[doc = $title] $variant,)+ }

        /// Every kind.
        pub(super) const KINDS: &[Kind] = &[$(Kind::$variant,)+];

        impl Kind {
            pub(super) const fn slug(self) -> &'static str { match self { $(Kind::$variant => $slug,)+ } }
            pub(super) const fn status(self) -> StatusCode { match self { $(Kind::$variant => StatusCode::$status,)+ } }
            pub(super) const fn title(self) -> &'static str { match self { $(Kind::$variant => $title,)+ } }
            pub(super) const fn help(self) -> &'static str { match self { $(Kind::$variant => $help,)+ } }
        }
    };
}

kinds! {
    NotFound = "not-found", NOT_FOUND, "Nothing here",
        "No resource has this path. GET /v1 lists the routes; /v1/status is a good start.";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This path does not take that method",
        "The Allow header names the methods that the path takes.";
    BadRequest = "bad-request", BAD_REQUEST, "The request cannot be understood",
        "The detail says which part of the request is wrong and what is expected there.";
    BadCursor = "bad-cursor", BAD_REQUEST, "Not a cursor of this API",
        "A cursor is opaque: pass `next` of an earlier answer (or the id of a streamed event) back as it is.";
    CursorExpired = "cursor-expired", GONE, "What this cursor stands at is gone",
        "Of alerts: retention has deleted some that this cursor had not seen yet, or the store was replaced. Of flows: the \
         sensor was started again. Ask again without a cursor; what lies between is lost for this reader.";
    UnknownAlert = "unknown-alert", NOT_FOUND, "No alert has this id",
        "It never existed, or retention has deleted it.";
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The request took too long to arrive",
        "A request's head must arrive within 5 seconds, its body within 10.";
    UriTooLong = "uri-too-long", URI_TOO_LONG, "The request target is too long",
        "A request target may have 8 KiB.";
    HeadTooLarge = "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too large",
        "A request head may have 16 KiB and 100 header lines.";
    VersionNotSupported = "version-not-supported", HTTP_VERSION_NOT_SUPPORTED, "This version of HTTP is not spoken here",
        "Speak HTTP/1.1 or HTTP/1.0 (for curl: --http1.1).";
    LengthRequired = "length-required", LENGTH_REQUIRED, "The body needs a Content-Length",
        "Bodies are taken with a Content-Length only, at most 1 MiB.";
    PayloadTooLarge = "payload-too-large", PAYLOAD_TOO_LARGE, "The body is too large",
        "A body may have 1 MiB.";
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body is not JSON",
        "Send `Content-Type: application/json`.";
    Misdirected = "misdirected-request", MISDIRECTED_REQUEST, "This server does not answer to that name",
        "The Host header must be localhost, the address that was connected to, or one of hosts in [http] of the configuration. \
         This keeps web pages elsewhere from reading alerts through a name of theirs that points here (DNS rebinding).";
    ForbiddenOrigin = "forbidden-origin", FORBIDDEN, "Another site may not give orders",
        "The request comes from a page of another origin. Orders are taken from our own page and from programs.";
    Conflict = "conflict", CONFLICT, "That is not possible now",
        "The detail says what stands in the way.";
    ModelRefused = "model-refused", UNPROCESSABLE_ENTITY, "The model cannot be used",
        "It is there and has not passed its checks; the detail says which, and the remedy. What was active goes on.";
    ResponseRefused = "response-refused", UNPROCESSABLE_ENTITY, "A rule of safety says no",
        "The detail names the rule, the figures and what would be allowed. Nothing overrides these rules; the allow-list can only \
         be made longer.";
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "Not ready",
        "`errors` lists what is missing.";
    NotAlive = "not-alive", SERVICE_UNAVAILABLE, "Not alive",
        "The detail says which part does not come round any more. Restart the program.";
    Busy = "busy", SERVICE_UNAVAILABLE, "Busy, try again",
        "Retry-After says when.";
    StoreUnavailable = "store-unavailable", SERVICE_UNAVAILABLE, "The alert store does not answer",
        "The detail is the store's own message. Capture goes on; /v1/status shows how the store is doing.";
    TooManyConnections = "too-many-connections", SERVICE_UNAVAILABLE, "Too many connections",
        "The server, or this address, has as many connections as it may. Close some, or try again.";
    Internal = "internal", INTERNAL_SERVER_ERROR, "A fault of the server",
        "This is a bug; the log has more.";
}

/// One error answer.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// Status, where it is not the kind's own (an answer that was made elsewhere).
    status: StatusCode,
    detail: String,
    errors: Vec<String>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem { kind, status: kind.status(), detail: detail.into(), errors: Vec::new() }
    }

    /// With a list of single reasons.
    pub(super) fn with_errors(mut self, errors: Vec<String>) -> Problem {
        self.errors = errors;
        self
    }

    /// For an error answer that was made without a problem: the kind that has its status.
    pub(super) fn from_status(status: StatusCode) -> Problem {
        let kind = KINDS.iter().copied().find(|kind| kind.status() == status).unwrap_or(Kind::Internal);
        Problem { status, ..Problem::new(kind, kind.help()) }
    }

    /// The body.
    pub(super) fn to_json(&self, instance: &str) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            instance: &'a str,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            errors: &'a [String],
        }
        let body = Body {
            r#type: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            errors: &self.errors,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// An answer that carries the problem; its body is written by [`finish`].
    pub(super) fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of every error answer.
pub(super) fn finish(response: Response, instance: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let problem = parts.extensions.remove::<Problem>().unwrap_or_else(|| Problem::from_status(status));
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(http::header::CONTENT_LENGTH);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        parts.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Response::from_parts(parts, problem.to_json(instance).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique_and_every_kind_is_explained() {
        let mut slugs: Vec<_> = KINDS.iter().map(|kind| kind.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| kind.help().ends_with('.') && kind.status().as_u16() >= 400));
    }

    #[test]
    fn any_error_answer_becomes_a_problem_with_its_own_status() {
        let mut bare = Response::new("plain words".into());
        *bare.status_mut() = StatusCode::IM_A_TEAPOT;
        let response = finish(bare, "/x");
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert!(Problem::from_status(StatusCode::IM_A_TEAPOT).to_json("/x").contains("\"status\":418"));
    }
}
