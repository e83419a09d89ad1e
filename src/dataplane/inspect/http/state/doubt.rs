//! Where it is not sure which bytes of the client are a body: requests are looked for wherever they may begin.

use super::*;

/// Blanks in front of a target that are tried in a line at most.
const TARGETS_MAX: usize = 8;

/// Where in a line a request of a known method begins that ends with it.
fn request_in(line: &[u8]) -> Option<usize> {
    let whole = line.strip_suffix(b"\r").unwrap_or(line);
    let request = split_line(whole).filter(|one| !one.version.starts_with(b"HTTP/2"))?;
    if METHODS.contains(&request.method) && whole.starts_with(request.method) {
        return Some(0);
    }
    let is_target = |pair: &[u8]| matches!(pair, [b' ', b'/' | b'h' | b'H' | b'*']);
    let blanks = whole.windows(2).enumerate().filter(|(_, pair)| is_target(pair)).take(TARGETS_MAX);
    blanks.filter_map(|(at, _)| method_before(whole.get(..at)?)).next()
}

/// Where the known method begins that `text` ends with.
fn method_before(text: &[u8]) -> Option<usize> {
    let length = METHODS.iter().filter(|method| text.ends_with(method)).map(|method| method.len()).max()?;
    text.len().checked_sub(length)
}

impl State {
    /// The server refused a request before it had all of the body that the client announced: it discards the rest, closes the
    /// connection, or takes what comes for the next request, as the client does that was not to send a body (`Expect`).
    /// So these bytes are no longer passed over. Said once.
    pub fn recalls(&mut self, side: Side, rest: u64) -> bool {
        let does = self.seen_as(side) == Side::Originator && std::mem::take(&mut self.is_refused);
        if does {
            // Of a chunk it is known where it ends, of the body not.
            let is_whole = *self.mode(Side::Originator) == Mode::Head;
            self.rest = if is_whole { u32::try_from(rest).unwrap_or(ENDLESS) } else { ENDLESS };
            *self.mode(Side::Originator) = Mode::Doubt;
        }
        does
    }

    /// The last request is refused; whether all of its body came is known where it tells that itself.
    pub(super) fn refused(&mut self) {
        let client = self.mode(Side::Originator);
        match client {
            Mode::Chunk | Mode::ChunkEnd | Mode::Trailer => (*client, self.rest) = (Mode::Doubt, ENDLESS),
            // Nothing of it was passed over yet.
            Mode::Input => {
                *client = Mode::Doubt;
                return;
            }
            Mode::Head => {}
            _ => return,
        }
        self.is_refused = true;
    }

    /// Where the next request begins is no longer sure.
    pub(super) fn doubts(&mut self) {
        *self.mode(Side::Originator) = Mode::Doubt;
        (self.rest, self.has_body_begun) = (ENDLESS, true);
        // What was searched was of a head that is none.
        *self.searched(Side::Originator) = 0;
    }

    /// Passes over lines that are no whole request line.
    pub(super) fn seek(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Some((line, _)) = lines::split(bytes, b'\n') else {
            return if bytes.len() < HEAD_MAX { Step::Need(bytes.len() + 1) } else { Step::Took(bytes.len()) };
        };
        // Not just any word for a method: what lies behind a hole may be anything.
        let is_known = lines::split(line, b' ').is_some_and(|(method, _)| METHODS.contains(&method));
        if !is_known || request_line(bytes.get(..=line.len()).unwrap_or(bytes)) != Match::Yes {
            return Step::Took(line.len() + 1);
        }
        *self.mode(side) = Mode::Head;
        self.head(side, bytes, out)
    }

    /// Looks for a request in what may be a body, or not: at the end of any line, for the body of a smuggled one begins where
    /// its sender wants. Nothing is passed over.
    pub(super) fn doubt(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        if !self.has_body_begun {
            let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
            match lines::split(window, b'\n') {
                // In the place of a body that is not sent.
                Some((line, _)) if request_in(line) == Some(0) => {
                    *self.mode(Side::Originator) = Mode::Head;
                    return self.read_head(Side::Originator, bytes, out);
                }
                None if bytes.len() < HEAD_MAX => return Step::Need(bytes.len() + 1),
                _ => self.has_body_begun = true,
            }
        }
        let longest = (self.rest as usize).min(HEAD_MAX);
        let window = bytes.get(..longest).unwrap_or(bytes);
        match lines::split(window, b'\n').map(|(line, _)| (line.len(), request_in(line))) {
            Some((_, Some(0))) => self.read_head(Side::Originator, bytes, out),
            Some((_, Some(at))) => self.doubted(at),
            Some((line, None)) => self.doubted(line + 1),
            None if window.len() == longest => self.doubted(longest),
            None => Step::Need(bytes.len() + 1),
        }
    }

    /// So many bytes more of what may be a body. Where that ends, a request is in its place.
    pub(super) fn doubted(&mut self, count: usize) -> Step {
        if self.rest != ENDLESS {
            self.rest = self.rest.saturating_sub(count as u32); // at most HEAD_MAX
        }
        if self.rest == 0 {
            *self.mode(Side::Originator) = Mode::Head;
        }
        Step::Took(count)
    }
}
