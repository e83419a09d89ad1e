//! A proxy's header in front of a connection ([`super::super::proxied`]), at the session that meets it.

use super::super::facts::Facts;
use super::super::inspector::Sink;
use super::super::parse::{Output, Step};
use super::super::protocol::Protocol;
use super::super::proxied::{self, HEADERS_MAX, Header, NO_MORE};
use super::{Out, Session};

impl<S: Sink> Session<'_, '_, S> {
    /// Passes over the header of a proxy in front of what a client says: whatever follows is looked at as if it were not
    /// there, or anybody could hide behind one.
    #[cold]
    pub(super) fn pass_header(&mut self, bytes: &[u8]) -> Option<Step> {
        let proxied = self.proxied.as_deref_mut().filter(|proxied| proxied.headers < NO_MORE)?;
        let shown = self.limit.map_or(bytes, |limit| bytes.get(..limit).unwrap_or(bytes));
        let mut facts = Facts::default();
        let (header, mut source) = proxied::read(shown, &mut facts);
        source.is_tunnelled = proxied.source.is_tunnelled;
        let out = &mut *self.out;
        let (counts, payload, protocol) = (&mut *out.counts, out.payload, Protocol::Proxied);
        let is_turned = out.is_turned;
        let told =
            Out::new(&mut facts, &mut *out.sink, counts, &mut *out.remembered, &mut *out.allowances, payload, protocol)
                .of(source);
        let mut told = Out { is_turned, ..told };
        let (length, anomaly) = match header {
            Header::None => return None,
            // Who waits for the server has said all of it.
            Header::More if self.limit.is_some() => return None,
            Header::More => return Some(Step::Need(bytes.len() + 1)),
            Header::Endless => {
                proxied.headers = NO_MORE;
                told.anomaly(proxied::MALFORMED);
                return None;
            }
            Header::Whole(length, anomaly) => (length, anomaly),
        };
        proxied.headers = (proxied.headers + 1).min(NO_MORE - 1);
        (proxied.is_last, proxied.source) = (true, source);
        if proxied.headers <= HEADERS_MAX {
            anomaly.into_iter().for_each(|anomaly| told.anomaly(anomaly));
            told.event();
        } else if proxied.headers == HEADERS_MAX + 1 {
            told.anomaly(proxied::TOO_MANY);
        }
        self.out.source = source;
        if let Some(limit) = &mut self.limit {
            *limit = limit.saturating_sub(usize::try_from(length).unwrap_or(*limit));
        }
        Some(Step::Skip(length))
    }
}
