//! Protocols of lines: `ftp`, `smtp`, `pop3`, `sip`.

use super::{Found, list, put, put_object, text};
use crate::dataplane::inspect::{ftp, number, pop3, sip, smtp};
use serde_json::{Map, Value, json};

/// `ftp`; the user name of a login is its command's data.
pub fn ftp(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let codes = facts.all(ftp::CODE).into_iter().map(|code| format!("{:03}", number(code))).collect::<Vec<_>>();
    let places = [
        ("command", ftp::COMMAND),
        ("command_data", ftp::ARGUMENT),
        ("reply", ftp::REPLY),
        ("dynamic_port", ftp::DATA_PORT),
        ("mode", ftp::MODE),
    ];
    facts.place(&mut object, &places);
    if let Some(user) = facts.first(ftp::USERNAME) {
        object.entry("command_data").or_insert_with(|| text(user).into());
    }
    let is_known = !codes.is_empty() || facts.peek(ftp::REPLY_UNKNOWN).is_none();
    if object.contains_key("command") && is_known {
        object.insert("reply_received".to_owned(), json!(if codes.is_empty() { "no" } else { "yes" }));
    }
    put(&mut object, "completion_code", list(codes));
    object
}

/// `smtp`, and `email` beside it.
pub fn smtp(facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> Map<String, Value> {
    let (mut object, mut email) = (Map::new(), Map::new());
    facts.place(&mut object, &[("helo", smtp::HELO), ("mail_from", smtp::MAIL_FROM), ("rcpt_to", smtp::RCPT_TO)]);
    let places = [
        ("from", smtp::FROM),
        ("subject", smtp::SUBJECT),
        ("date", smtp::DATE),
        ("message_id", smtp::MESSAGE_ID),
        ("x_mailer", smtp::X_MAILER),
        ("attachment", smtp::ATTACHMENT),
    ];
    facts.place(&mut email, &places);
    for (name, fact) in [("to", smtp::TO), ("cc", smtp::CC)] {
        let Some(whole) = facts.first(fact).map(text) else { continue };
        let parts = mailboxes(&whole);
        // What is not told by them word for word stays beside them.
        if parts.join(", ") == whole {
            facts.one(fact);
        }
        put(&mut email, name, list(parts));
    }
    // The bytes of a mail are told once its end was seen.
    if !email.is_empty() && facts.peek(smtp::SIZE).is_some() {
        email.insert("status".to_owned(), "PARSE_DONE".into());
    }
    objects.insert("email".to_owned(), email.into());
    object
}

/// Splits at the commas that stand between mailboxes, not within quotes, angle brackets or comments (RFC 5322 section 3.4).
fn mailboxes(text: &str) -> Vec<String> {
    // A comment without an end hides no mailbox behind it.
    let (mut place, mut other) = (Place::default(), Place::default());
    text.chars().for_each(|letter| _ = place.is_between(letter, true));
    let has_comments = place.comments == 0;
    let parts = text.split(|letter| other.is_between(letter, has_comments));
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Where in a list of mailboxes the next character stands.
#[derive(Default)]
struct Place {
    is_quoted: bool,
    is_address: bool,
    /// In so many comments, one in another.
    comments: usize,
}

impl Place {
    /// Does this one part two mailboxes?
    fn is_between(&mut self, letter: char, has_comments: bool) -> bool {
        match letter {
            '(' if has_comments && !self.is_quoted => self.comments += 1,
            ')' if !self.is_quoted => self.comments = self.comments.saturating_sub(1),
            _ if self.comments > 0 => {}
            '"' => self.is_quoted = !self.is_quoted,
            '<' | '>' if !self.is_quoted => self.is_address = letter == '<',
            _ => {}
        }
        letter == ',' && !self.is_quoted && !self.is_address && self.comments == 0
    }
}

/// `pop3`; the user name of a login is its command's argument.
pub fn pop3(facts: &mut Found<'_>) -> Map<String, Value> {
    let (mut object, mut request, mut response) = (Map::new(), Map::new(), Map::new());
    facts.place(&mut request, &[("command", pop3::COMMAND)]);
    let argument = facts.text(pop3::ARGUMENT).or_else(|| facts.first(pop3::USERNAME).map(text));
    put(&mut request, "args", argument.map(|argument| vec![argument]));
    if let Some(success) = facts.yes_no(pop3::SUCCESS) {
        response.insert("success".to_owned(), success.into());
        response.insert("status".to_owned(), if success { "OK" } else { "ERR" }.into());
    }
    facts.place(&mut response, &[("header", pop3::REPLY)]);
    put_object(&mut object, "request", request);
    put_object(&mut object, "response", response);
    object
}

/// `sip`.
pub fn sip(facts: &mut Found<'_>) -> Map<String, Value> {
    let (mut object, mut sdp) = (Map::new(), Map::new());
    let places = [
        ("method", sip::METHOD),
        ("uri", sip::URI),
        ("version", sip::VERSION),
        ("reason", sip::REASON),
        ("request_line", sip::REQUEST_LINE),
        ("response_line", sip::RESPONSE_LINE),
    ];
    facts.place(&mut object, &places);
    put(&mut object, "code", facts.number(sip::STATUS).map(|status| status.to_string()));
    let places =
        [("origin", sip::SDP_ORIGIN), ("session_name", sip::SDP_SESSION), ("connection_data", sip::SDP_CONNECTION)];
    facts.place(&mut sdp, &places);
    let media = facts.texts(sip::SDP_MEDIA).into_iter().map(|media| json!({"media": media})).collect::<Vec<_>>();
    put(&mut sdp, "media_descriptions", list(media));
    put_object(&mut object, "sdp", sdp);
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_mailboxes_and_nothing_else_does() {
        for (text, wanted) in [
            ("a@b, c@d", &["a@b", "c@d"][..]),
            ("\"B, C\" <b@c>,, d@e", &["\"B, C\" <b@c>", "d@e"]),
            ("e@f (com, ment), g@h", &["e@f (com, ment)", "g@h"]),
            ("e@f (a (b, c), \"d), g@h", &["e@f (a (b, c), \"d)", "g@h"]),
            ("\"(\" <a@b>, c@d, \")\" <e@f>", &["\"(\" <a@b>", "c@d", "\")\" <e@f>"]),
            ("a@b (no end, c@d", &["a@b (no end", "c@d"]),
            ("a@b), c@d", &["a@b)", "c@d"]),
            ("<a@b,c@d>, e", &["<a@b,c@d>", "e"]),
        ] {
            assert_eq!(mailboxes(text), wanted, "{text}");
        }
    }
}
