//! What a search engine with an API over HTTP says of itself: Elasticsearch and OpenSearch answer a request for `/` with a
//! short JSON object. Of other bodies nothing is read.

use super::super::lines;
use super::super::parse::Output;
use super::*;

/// Bytes of a body that is read: such an answer has some 350 to 600.
pub(super) const GREETING_MAX: u64 = 1024;

/// Is the body of this response, of so many bytes, read? It is an answer in JSON to a request for the root of a server, or
/// one that names the product.
pub(super) fn is_greeting(status: u16, length: u64, out: &mut dyn Output) -> bool {
    let facts = out.facts();
    let is_json = facts.get(CONTENT_TYPE).is_some_and(|kind| lines::begins(kind, b"application/json") == Match::Yes);
    let is_root = |url: &[u8]| url == b"/" || url.starts_with(b"/?");
    status == 200
        && (1..=GREETING_MAX).contains(&length)
        && is_json
        && (facts.get(STORE).is_some() || facts.get(URL).is_some_and(is_root))
}

/// Reads a whole body: `{"cluster_name": "a", "version": {"number": "7.17.3"}, "tagline": "You Know, for Search"}`.
pub(super) fn greeting(body: &[u8], out: &mut dyn Output) {
    let tagline = value(body, b"\"tagline\"").unwrap_or_default();
    let store: &[u8] = match () {
        () if lines::begins(tagline, b"You Know, for Search") == Match::Yes => b"elasticsearch",
        () if lines::begins(tagline, b"The OpenSearch Project") == Match::Yes => b"opensearch",
        () => return,
    };
    let facts = out.facts();
    facts.put(STORE, store);
    for (fact, name) in [(STORE_VERSION, &b"\"number\""[..]), (CLUSTER_NAME, b"\"cluster_name\"")] {
        value(body, name).into_iter().for_each(|value| facts.put(fact, value));
    }
}

/// The text behind a name; escapes are left as they are.
fn value<'a>(body: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = lines::find(body, name)?;
    let rest = body.get(at + name.len()..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    lines::split(rest.strip_prefix(b"\"")?, b'"').map(|(value, _)| value)
}
