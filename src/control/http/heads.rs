//! Looks at request heads before hyper does, so that one that hyper would refuse with an empty answer gets a problem.
//!
//! Bytes go in as they come from the socket and come out as hyper may have them: whole heads and the bodies they announce.
//! A head that cannot be served is kept back and a request that nobody sent ([`METHOD`]) stands in its place: so its
//! answer is made where all answers are, and comes after those to the requests before it. Nothing follows it.
//!
//! Framing is hyper's but for one thing, which keeps it simple: a transfer encoding is refused here, for every path.

use super::problem::{Kind, Problem};
use http::Uri;
use httparse::{EMPTY_HEADER, Error, Header, Request, Status};
use std::sync::{Arc, OnceLock};

/// Longest request head, bytes. Browsers send some 1 KiB; ours are read whole before anything is done.
const HEAD_BYTES: usize = 16 * 1024;
/// Longest request target, bytes (RFC 9110 section 4.1 asks for 8000 at least).
const URI_BYTES: usize = 8 * 1024;
/// Most header lines, as in hyper.
const HEADERS: usize = 100;
/// Method of the stand-in for a refused head.
pub(super) const METHOD: &str = "REFUSED";
const STAND_IN: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: refused\r\n\r\n";

/// Why a connection's last request was refused; set before its stand-in is handed out.
pub(super) type Refusal = Arc<OnceLock<Problem>>;

/// One connection's bytes on their way in.
pub(super) struct Heads {
    held: Vec<u8>,
    /// How many of the bytes held may go on.
    ready: usize,
    /// Bytes of the present body that have not come yet.
    body: u64,
    /// Length of an unfinished head when it was last looked at.
    tried: usize,
    refusal: Refusal,
}

impl Heads {
    pub(super) fn new(refusal: Refusal) -> Heads {
        Heads { held: Vec::new(), ready: 0, body: 0, tried: 0, refusal }
    }

    /// Takes bytes from the socket. After a refusal they lead nowhere.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.is_refused() {
            self.held.extend_from_slice(bytes);
            self.advance();
        }
    }

    /// The socket has nothing more.
    pub(super) fn end(&mut self) {
        if self.is_inside_head() {
            self.refuse(Problem::new(Kind::BadRequest, "the connection ended inside the request's head"));
        }
    }

    /// What may go on now.
    pub(super) fn ready(&self) -> &[u8] {
        self.held.get(..self.ready).unwrap_or_default()
    }

    /// Removes what went on.
    pub(super) fn consume(&mut self, count: usize) {
        self.held.drain(..count);
        self.ready -= count;
    }

    /// Has a head been refused?
    pub(super) fn is_refused(&self) -> bool {
        self.refusal.get().is_some()
    }

    /// Has a head begun and not ended?
    pub(super) fn is_inside_head(&self) -> bool {
        !self.is_refused() && self.held.len() > self.ready
    }

    /// Is there something that the client sends and nobody will read?
    pub(super) fn has_rest(&self) -> bool {
        self.is_refused() || self.body > 0 || !self.held.is_empty()
    }

    fn advance(&mut self) {
        loop {
            let unread = self.held.len() - self.ready;
            let body = unread.min(usize::try_from(self.body).unwrap_or(usize::MAX));
            self.ready += body;
            self.body -= body as u64;
            let head = self.held.get(self.ready..).unwrap_or_default();
            if head.is_empty() || !worth_a_look(head, self.tried) {
                return;
            }
            match judge(head) {
                Ok(Some((head, body))) => {
                    self.ready += head;
                    self.body = body;
                    self.tried = 0;
                }
                Ok(None) => {
                    self.tried = head.len();
                    return;
                }
                Err(problem) => return self.refuse(problem),
            }
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.held.truncate(self.ready);
        self.held.extend_from_slice(STAND_IN);
        self.ready = self.held.len();
        // Only the first refusal of a connection comes here.
        let _ = self.refusal.set(problem);
    }
}

/// An unfinished head is read again when it has ended or doubled, so that one that comes byte by byte costs no more than
/// a few times its length.
fn worth_a_look(head: &[u8], tried: usize) -> bool {
    let unseen = head.get(tried.saturating_sub(3)..).unwrap_or_default();
    let ended = unseen.windows(2).any(|pair| pair == b"\n\n") || unseen.windows(3).any(|three| three == b"\n\r\n");
    ended || head.len() >= 2 * tried || head.len() > HEAD_BYTES
}

/// Lengths of the head that `bytes` begin with and of the body it announces; `None` when more of it has to come.
fn judge(bytes: &[u8]) -> Result<Option<(usize, u64)>, Problem> {
    let bad = |detail: &str| Err(Problem::new(Kind::BadRequest, detail));
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    let parsed = request.parse(bytes);
    let (method, path) = (request.method, request.path);
    let head = match parsed {
        Ok(Status::Complete(head)) if head <= HEAD_BYTES => head,
        Ok(Status::Partial) if bytes.len() <= HEAD_BYTES => return Ok(None),
        Ok(_) => return Err(too_long(bytes)),
        Err(Error::TooManyHeaders) => {
            return Err(Problem::new(Kind::HeadTooLarge, format!("the head has more than {HEADERS} header lines")));
        }
        Err(Error::Version) => return Err(Problem::new(Kind::VersionNotSupported, Kind::VersionNotSupported.help())),
        Err(Error::HeaderName) => {
            return bad("a header name has a character that none may have, or no colon follows it");
        }
        Err(Error::HeaderValue) => return bad("a header value has a character that none may have"),
        Err(Error::NewLine) => return bad("a line of the head does not end in CR LF"),
        Err(_) if bytes.starts_with(b"\x16\x03") => {
            return bad("this looks like TLS, and this port speaks plain HTTP: ask http://, not https://");
        }
        Err(_) if method.is_none() => return bad("the head does not begin with a method and a space"),
        Err(_) => return bad("the path has a character that must be percent-encoded"),
    };
    let target = path.unwrap_or_default();
    if target.len() > URI_BYTES {
        return Err(too_long(bytes));
    }
    if target.parse::<Uri>().is_err() {
        return bad("the request's target is no URI");
    }
    Ok(Some((head, body(request.headers)?)))
}

/// The length of the body that headers announce.
fn body(headers: &[Header<'_>]) -> Result<u64, Problem> {
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Problem::new(Kind::LengthRequired, Kind::LengthRequired.help()));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).ok();
            let number = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            // The two largest numbers mean something else to hyper.
            let number = number.and_then(|text| text.parse::<u64>().ok()).filter(|number| *number < u64::MAX - 1);
            if number.is_none() || length.is_some_and(|length| number != Some(length)) {
                return Err(Problem::new(Kind::BadRequest, "Content-Length must be one whole number of bytes"));
            }
            length = number;
        }
    }
    Ok(length.unwrap_or(0))
}

/// Which part of a head that is too long makes it so.
fn too_long(bytes: &[u8]) -> Problem {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (kind, what, limit) = if line > URI_BYTES {
        (Kind::UriTooLong, "request target", URI_BYTES)
    } else {
        (Kind::HeadTooLarge, "request head", HEAD_BYTES)
    };
    Problem::new(kind, format!("the {what} is longer than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything that comes out for `pieces`, and whether the last of it is a stand-in.
    fn pass<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, end: bool) -> (Vec<u8>, bool) {
        let mut heads = Heads::new(Refusal::default());
        let mut out = Vec::new();
        let mut take = |heads: &mut Heads| {
            out.extend_from_slice(heads.ready());
            heads.consume(heads.ready().len());
        };
        for piece in pieces {
            heads.push(piece);
            take(&mut heads);
            assert!(heads.held.len() <= HEAD_BYTES + piece.len());
        }
        if end {
            heads.end();
            take(&mut heads);
        }
        (out, heads.is_refused())
    }

    #[test]
    fn bodies_are_not_taken_for_heads() {
        let bytes = b"POST /a HTTP/1.1\r\ncontent-length: 9\r\n\r\n\x16\x03\x01\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(pass([&bytes[..]], true), (bytes.to_vec(), false));
        let unfinished = &bytes[..bytes.len() - 2];
        let (out, refused) = pass([unfinished], true);
        assert!(refused && out.ends_with(STAND_IN));
    }

    #[test]
    fn a_dripping_head_is_looked_at_a_few_times() {
        let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(10_000));
        let (mut tried, mut looks) = (0, 0);
        for length in 1..=head.len() {
            if worth_a_look(&head.as_bytes()[..length], tried) {
                (tried, looks) = (length, looks + 1);
            }
        }
        assert!(tried == head.len() && looks < 20, "{looks} looks");
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            requests in proptest::collection::vec(
                prop_oneof![
                    Just("GET /x HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
                    Just("POST /y HTTP/1.1\r\ncontent-length: 5\r\n\r\n\r\n\r\n\0".to_owned()),
                    Just("\r\nHEAD / HTTP/1.0\n\n".to_owned()),
                    "\\PC{1,30}\r\n\r\n",
                ],
                1..6,
            ),
            cuts in proptest::collection::vec(1_usize..40, 1..40),
        ) {
            let bytes = requests.concat().into_bytes();
            let whole = pass([&bytes[..]], true);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (piece, next) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = next;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(pass(pieces, true), whole);
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (out, refused) = pass([&bytes[..]], true);
            prop_assert!(refused == out.ends_with(STAND_IN));
        }
    }
}
