//! What both sides of a handshake said, in whatever records: the same for TLS and DTLS.

use super::super::facts::Fact;
use super::super::parse::{Anomaly, Output};
use super::facts::{CertificateFacts, HelloFacts};
use super::{certificate, hello, message};
use crate::dataplane::flow::Side;

/// Names under which one protocol tells what is found.
#[derive(Debug)]
pub struct Words {
    pub hello: HelloFacts,
    /// Of a client's second hello.
    pub retry: HelloFacts,
    pub server: CertificateFacts,
    pub client: CertificateFacts,
    pub alert: Fact,
    pub alert_level: Fact,
    pub bad_hello: Anomaly,
    pub bad_certificate: Anomaly,
    pub unexpected_message: Anomaly,
    pub duplicate_extension: Anomaly,
    pub cipher_not_offered: Anomaly,
    pub downgrade: Anomaly,
    pub fatal_alert: Anomaly,
    pub hello_too_long: Anomaly,
    /// A ClientHello has a cookie.
    pub is_datagram: bool,
}

impl Words {
    /// For a client's hello.
    pub fn names(&self, is_second: bool) -> &HelloFacts {
        if is_second { &self.retry } else { &self.hello }
    }
}

/// What is remembered of a handshake.
#[derive(Clone, Copy, Default, Debug)]
pub struct Talk {
    /// Who is the server, once a hello told.
    server: Option<Side>,
    has_client_hello: bool,
    has_server_hello: bool,
    /// The last server hello asked for another client hello.
    is_retrying: bool,
    /// Client offers, server chose TLS 1.3.
    offers_tls13: bool,
    is_tls13: bool,
    /// The server ended its part of a full handshake.
    has_server_done: bool,
    /// The server's part is over.
    is_over: bool,
}

impl Talk {
    /// This side is the client, and its hello was read by other means.
    pub fn client_is(&mut self, side: Side) {
        (self.server, self.has_client_hello) = (Some(side.other()), true);
    }

    /// This side is the server, and its part was read by other means.
    pub fn server_is_done(&mut self, side: Side, out: &mut dyn Output) {
        self.server = Some(side);
        self.over(out);
    }

    /// Who is the server, once it is known.
    pub fn server(&self) -> Option<Side> {
        self.server
    }

    /// This side wants its client's hello again, with a cookie.
    pub fn verifies(&mut self, side: Side) {
        self.server.get_or_insert(side);
    }

    /// A message whose body is not read.
    pub fn heard(&mut self, kind: u8) {
        self.has_server_done |= kind == message::SERVER_HELLO_DONE;
    }

    /// A HelloRetryRequest was seen; or this is a client of TLS 1.3 and the server's answer was not.
    pub fn may_hello_again(&self, side: Side) -> bool {
        let is_unanswered = self.offers_tls13 && !self.has_server_hello;
        self.is_retrying || (is_unanswered && self.server == Some(side.other()))
    }

    /// This side goes over to ciphertext.
    pub fn encrypted(&mut self, side: Side, words: &Words, out: &mut dyn Output) {
        if self.server == Some(side) && self.has_server_hello && !self.is_over {
            if !self.is_tls13 && !self.has_server_done {
                out.facts().put_number(words.hello.resumed, 1);
            }
            self.over(out);
        }
    }

    /// The server's part is known: the event is complete, unless the client's bytes are late.
    fn over(&mut self, out: &mut dyn Output) {
        self.is_over = true;
        if self.has_client_hello {
            out.event();
        }
    }

    /// An alert in the clear. Gives whether it ends the connection.
    pub fn alert(level: u8, code: u8, words: &Words, out: &mut dyn Output) -> bool {
        out.facts().put_number(words.alert, u64::from(code));
        out.facts().put_number(words.alert_level, u64::from(level));
        if level == 2 {
            out.anomaly(words.fatal_alert);
            out.event();
        }
        level == 2
    }

    /// Reads the body of a hello or a certificate; of one that `is_cut` what is there.
    pub fn read(
        &mut self,
        side: Side,
        kind: u8,
        body: &[u8],
        is_cut: bool,
        words: &Words,
        out: &mut dyn Output,
    ) -> Result<(), Anomaly> {
        match kind {
            message::CLIENT_HELLO => self.client_hello(side, body, is_cut, words, out),
            message::SERVER_HELLO => self.server_hello(side, body, is_cut, words, out),
            _ => {
                let names = if self.server == Some(side) { &words.server } else { &words.client };
                if certificate::chain(body, is_cut, names, out.facts()).is_none() && !is_cut {
                    out.anomaly(words.bad_certificate);
                }
                Ok(())
            }
        }
    }

    fn client_hello(
        &mut self,
        side: Side,
        body: &[u8],
        is_cut: bool,
        words: &Words,
        out: &mut dyn Output,
    ) -> Result<(), Anomaly> {
        let is_second = self.client_begins(side, words)?;
        if is_second && words.is_datagram && !self.is_retrying {
            return Ok(()); // the same again, with a cookie, or because it was lost
        }
        let seen = hello::client(body, is_cut, words.is_datagram, words.names(is_second), out.facts());
        self.client_ends(seen, is_cut, words, out);
        Ok(())
    }

    /// A hello of the client begins. Gives whether it is another one.
    pub fn client_begins(&mut self, side: Side, words: &Words) -> Result<bool, Anomaly> {
        if self.server == Some(side) {
            return Err(words.unexpected_message);
        }
        self.server = Some(side.other());
        Ok(std::mem::replace(&mut self.has_client_hello, true))
    }

    /// It was read.
    pub fn client_ends(&mut self, seen: hello::Seen, is_cut: bool, words: &Words, out: &mut dyn Output) {
        self.offers_tls13 |= seen.is_tls13;
        report(seen, is_cut, words, out);
        if self.is_over {
            out.event();
        }
    }

    fn server_hello(
        &mut self,
        side: Side,
        body: &[u8],
        is_cut: bool,
        words: &Words,
        out: &mut dyn Output,
    ) -> Result<(), Anomaly> {
        let is_again = self.has_server_hello && !self.is_retrying;
        if is_again && words.is_datagram {
            return Ok(());
        }
        if self.server == Some(side.other()) || is_again {
            return Err(words.unexpected_message);
        }
        self.server = Some(side);
        let seen = hello::server(body, is_cut, &words.hello, out.facts());
        self.has_server_hello = true;
        self.is_retrying = seen.is_retry;
        self.is_tls13 = seen.is_tls13;
        report(seen, is_cut, words, out);
        if seen.has_downgrade_mark && self.offers_tls13 {
            out.anomaly(words.downgrade);
        }
        Ok(())
    }
}

fn report(seen: hello::Seen, is_cut: bool, words: &Words, out: &mut dyn Output) {
    let found = [
        (seen.is_bad && !is_cut, words.bad_hello),
        (is_cut, words.hello_too_long),
        (seen.has_duplicates, words.duplicate_extension),
        (seen.is_cipher_odd, words.cipher_not_offered),
    ];
    for (_, anomaly) in found.iter().filter(|(is_so, _)| *is_so) {
        out.anomaly(*anomaly);
    }
}
