//! Secrets in URIs: values of parameters that are named like ones, and what services are known to take as one in a path.

use super::super::lines;
use super::super::text::Text;

/// Names of passwords: those that end so.
const PASSWORDS: [&[u8]; 7] = [b"password", b"passwd", b"pass", b"pwd", b"passphrase", b"secret", b"psw"];
/// Names of other secrets: those that end so, without what is no letter and no digit, in lower case.
const ENDS: [&[u8]; 15] = [
    b"token",
    b"apikey",
    b"passkey",
    b"authkey",
    b"subscriptionkey",
    b"accesskey",
    b"secretkey",
    b"privatekey",
    b"signature",
    b"sessionid",
    b"sessid",
    b"jwt",
    b"credentials",
    b"assertion",
    b"samlresponse",
];
/// Whole names.
const WHOLE: [&[u8]; 11] =
    [b"code", b"otp", b"sid", b"sig", b"pin", b"pw", b"auth", b"key", b"session", b"ticket", b"authorization"];

/// Letters and digits of a name that are kept: the last ones.
const NAME_KEPT: usize = 24;

/// The last letters and digits of a name, in lower case.
#[derive(Default)]
struct Name {
    tail: [u8; NAME_KEPT],
    used: usize,
    is_cut: bool,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if !byte.is_ascii_alphanumeric() {
            return;
        }
        if self.used == NAME_KEPT {
            self.tail.copy_within(1.., 0);
            self.used -= 1;
            self.is_cut = true;
        }
        if let Some(place) = self.tail.get_mut(self.used) {
            *place = byte.to_ascii_lowercase();
            self.used += 1;
        }
    }

    fn letters(&self) -> &[u8] {
        self.tail.get(..self.used).unwrap_or_default()
    }

    fn is_password(&self) -> bool {
        PASSWORDS.iter().any(|end| self.letters().ends_with(end))
    }

    fn is_secret(&self) -> bool {
        let is_other = ENDS.iter().any(|end| self.letters().ends_with(end));
        self.is_password() || is_other || !self.is_cut && WHOLE.contains(&self.letters())
    }
}

/// Is this the name of a secret?
pub(in super::super) fn is_name(text: &[u8]) -> bool {
    let mut name = Name::default();
    text.iter().for_each(|byte| name.push(*byte));
    name.is_secret()
}

/// The byte that `bytes` begin with, percent-encoded or not, and how long it is.
fn decode(bytes: &[u8]) -> Option<(u8, usize)> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match bytes {
        [b'%', high, low, ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Some(((high << 4 | low) as u8, 3)), // below 256
            _ => Some((b'%', 1)),
        },
        [first, ..] => Some((*first, 1)),
        [] => None,
    }
}

/// `uri` with a star for each value of a parameter that is named like a secret: in the query, behind a semicolon, in the
/// fragment, and inside a URI that is itself a value and so encoded. A value ends where the next parameter begins, or at
/// one of `ends`. And whether there was a password.
pub(in super::super) fn blank<'a, const N: usize>(
    uri: &'a [u8],
    ends: &[u8],
    place: &'a mut Text<N>,
) -> (&'a [u8], bool) {
    if !uri.iter().any(|byte| matches!(byte, b'=' | b'%')) {
        return (uri, false);
    }
    let (mut name, mut rest, mut hidden, mut has_password) = (Name::default(), uri, None, false);
    while let Some((byte, size)) = decode(rest) {
        let (raw, behind) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        rest = behind;
        let is_plain = size == 1;
        let is_end = matches!(byte, b'?' | b'&' | b';' | b'#') || is_plain && ends.contains(&byte);
        match hidden {
            // An encoded sign belongs to a value whose own sign is not.
            Some(is_nested) if !(is_end && (is_plain || is_nested)) => continue,
            _ => hidden = None,
        }
        place.extend(raw);
        match byte {
            b'=' if name.is_secret() => {
                let has_value = rest.first().is_some_and(|next| !matches!(next, b'?' | b'&' | b';' | b'#'));
                has_password |= has_value && name.is_password();
                place.push(b'*');
                hidden = Some(!is_plain);
                name = Name::default();
            }
            b'=' | b'/' => name = Name::default(),
            _ if is_end => name = Name::default(),
            _ => name.push(byte),
        }
    }
    (place.as_bytes(), has_password)
}

/// How tokens begin that say so themselves: GitHub, GitLab, Slack, Stripe, SendGrid, npm, PyPI, Hugging Face, DigitalOcean,
/// Shopify, Anthropic and OpenAI, JSON Web Tokens. None is what somebody would call himself.
const TOKENS: [&[u8]; 25] = [
    b"ghp_",
    b"gho_",
    b"ghu_",
    b"ghs_",
    b"ghr_",
    b"github_pat_",
    b"glpat-",
    b"glptt-",
    b"xoxb-",
    b"xoxp-",
    b"xoxa-",
    b"xoxr-",
    b"xapp-",
    b"sk_live_",
    b"sk_test_",
    b"rk_live_",
    b"SG.",
    b"npm_",
    b"pypi-",
    b"hf_",
    b"dop_v1_",
    b"shpat_",
    b"sk-",
    b"eyJ",
    b"whsec_",
];
/// Bytes of a token at least: less than that is a name that happens to begin so.
const TOKEN_MIN: usize = 20;
/// Bytes of letters and digits without any sign between them that nobody has for a name.
const RANDOM_MIN: usize = 32;

fn is_known_token(text: &[u8]) -> bool {
    text.len() >= TOKEN_MIN && TOKENS.iter().any(|begin| text.starts_with(begin))
}

/// May this name of a user be a token? Services take one in its place, with no password or any.
pub(in super::super) fn is_token(name: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| name.iter().any(is);
    let is_random = name.len() >= RANDOM_MIN
        && name.iter().all(u8::is_ascii_alphanumeric)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic);
    is_random || is_known_token(name)
}

/// Bytes of what a machine made, at least, where letters of both cases and digits are mixed.
const MIXED_MIN: usize = 16;

/// Does this look as if a machine had made it, at random? Names of people, products and protocols do not.
pub(in super::super) fn is_made(text: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| text.iter().any(is);
    let has_digit = has(u8::is_ascii_digit);
    let is_mixed = has_digit && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let is_long = has_digit && text.len() >= RANDOM_MIN && !text.contains(&b'.');
    is_token(text) || is_long || is_mixed && text.len() >= MIXED_MIN
}

/// Words behind which a statement may have a password.
const STATEMENTS: [&[u8]; 8] = [
    b"identified by ",
    b"identified with ",
    b"set password ",
    b"alter role ",
    b"alter user ",
    b"create role ",
    b"create user ",
    b"encrypted password ",
];

/// Room for a text while secrets are taken out of it.
pub(in super::super) type Places<const N: usize> = [Text<N>; 3];

/// An error's text without what it quotes ([`lines::unquoted`]), without what may be a statement with a password in it, and
/// otherwise as [`told`].
pub(in super::super) fn error<'a, const N: usize>(text: &'a [u8], is_cut: bool, places: &'a mut Places<N>) -> &'a [u8] {
    let [first, second, third] = places;
    let text = lines::unquoted(text, is_cut, first);
    let ends = STATEMENTS.iter().filter_map(|words| lines::find(text, words).map(|at| at + words.len()));
    let Some(end) = ends.min() else { return blank(without_users(text, second), ENDS_IN_TEXT, third).0 };
    second.extend(text.get(..end).unwrap_or_default());
    second.push(b'*');
    blank(second.as_bytes(), ENDS_IN_TEXT, third).0
}

/// Where a value ends that stands in a text.
const ENDS_IN_TEXT: &[u8] = b" \t\r\n,\"'<>)";

/// A text in which there may be URIs and settings: with a star for their users, for what is named like a secret, and for what
/// services take for one in a path.
pub(in super::super) fn told<'a, const N: usize>(text: &'a [u8], places: &'a mut Places<N>) -> &'a [u8] {
    let [first, second, third] = places;
    blank_path(blank(without_users(text, first), ENDS_IN_TEXT, second).0, third)
}

/// `text` with a star for the user, and the password, in front of the host of each URI. A password may have signs in it that
/// should be encoded.
fn without_users<'a, const N: usize>(text: &'a [u8], place: &'a mut Text<N>) -> &'a [u8] {
    if !text.contains(&b'@') {
        return text;
    }
    let mut rest = text;
    while let Some(at) = lines::find(rest, b"://") {
        let (head, behind) = rest.split_at_checked(at + 3).unwrap_or((rest, &[]));
        let end = behind.iter().position(|byte| ENDS_IN_TEXT.contains(byte)).unwrap_or(behind.len());
        let word = behind.get(..end).unwrap_or_default();
        let end = word.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(end);
        let authority = word.get(..end).unwrap_or_default();
        let has_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit) || port.contains(&b']');
        let is_host = lines::split(authority, b':').is_none_or(|(_, port)| has_port(port));
        let at = match authority.iter().rposition(|byte| *byte == b'@') {
            None if !is_host => word.iter().rposition(|byte| *byte == b'@'),
            at => at,
        };
        place.extend(head);
        place.extend(if at.is_some() { b"*" } else { b"" });
        rest = behind.get(at.unwrap_or(0)..).unwrap_or_default();
    }
    place.extend(rest);
    place.as_bytes()
}

/// A key made of names with colons between them, with a star for what is behind a name of a secret.
pub(in super::super) fn named<'a, const N: usize>(key: &'a [u8], place: &'a mut Text<N>) -> &'a [u8] {
    let mut begin = 0;
    for part in key.split(|byte| *byte == b':') {
        let mut name = Name::default();
        part.iter().for_each(|byte| name.push(*byte));
        begin += part.len() + 1;
        if begin < key.len() && (name.is_secret() || matches!(name.letters(), b"sess" | b"sessions" | b"tokens")) {
            place.extend(key.get(..begin).unwrap_or_default());
            place.push(b'*');
            return place.as_bytes();
        }
    }
    key
}

/// What stood before a segment of a path.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Nothing,
    /// `webhooks`, `hooks` or `webhook`.
    Hooks,
    /// And a number, as Discord has it, or the name of a kind.
    Hook,
    /// The name of a Slack workspace.
    Workspace,
    /// A word that says what follows.
    Named,
    /// All that follows is secret.
    Hidden,
}

/// Bytes behind a word that says so that are taken for a secret at least, where there is a digit among them: `/token/refresh`
/// is none.
const NAMED_MIN: usize = 16;

impl Before {
    /// How many bytes of a segment may be shown, if not all; and what comes before the next one.
    fn segment(self, segment: &[u8]) -> (Option<usize>, Before) {
        let is_number = !segment.is_empty() && segment.iter().all(u8::is_ascii_digit);
        let is_random = segment.len() >= NAMED_MIN && segment.iter().any(u8::is_ascii_digit);
        let is_slack = |first: &[u8]| {
            segment.len() >= 9
                && first.iter().any(|letter| segment.first() == Some(letter))
                && segment.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        };
        match self {
            _ if segment.is_empty() => (None, self),
            Before::Hidden => (Some(0), self),
            Before::Hooks | Before::Hook | Before::Named if is_random && !is_number => (Some(0), Before::Hidden),
            Before::Hooks | Before::Hook if is_number || self == Before::Hooks => (None, Before::Hook),
            Before::Workspace if is_slack(b"ABW") => (None, Before::Hidden),
            _ if is_known_token(segment) => (Some(0), Before::Nothing),
            _ if is_slack(b"T") => (None, Before::Workspace),
            _ => match telegram(segment) {
                Some(shown) => (Some(shown), Before::Nothing),
                None => (None, Before::named(segment)),
            },
        }
    }

    fn named(segment: &[u8]) -> Before {
        let is = |names: &[&[u8]]| names.iter().any(|name| segment.eq_ignore_ascii_case(name));
        if is(&[b"webhooks", b"hooks", b"webhook"]) {
            Before::Hooks
        } else if is(&[b"incomingwebhook"]) {
            Before::Hidden
        } else if is(&[b"token", b"key", b"apikey", b"api_key", b"api-key", b"secret", b"password", b"reset-password"])
        {
            Before::Named
        } else {
            Before::Nothing
        }
    }
}

/// Of `bot<number>:<token>` what stands before the token.
fn telegram(segment: &[u8]) -> Option<usize> {
    let digits = segment.strip_prefix(b"bot")?;
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (sign, size) = decode(digits.get(count..)?)?;
    let shown = 3 + count + size;
    (count >= 5 && sign == b':' && segment.len() > shown).then_some(shown)
}

/// `uri` with a star for each secret in its path that services are known to take there: the token of a Telegram bot, of a
/// webhook of Slack, Discord, Teams and their kin, tokens that begin as such do, and what follows a word like `token` and
/// looks made by a machine.
pub(in super::super) fn blank_path<'a, const N: usize>(uri: &'a [u8], place: &'a mut Text<N>) -> &'a [u8] {
    let end = uri.iter().position(|byte| matches!(byte, b'?' | b'#' | b';')).unwrap_or(uri.len());
    let (path, rest) = uri.split_at_checked(end).unwrap_or((uri, &[]));
    let (mut before, mut is_hidden, mut at) = (Before::default(), false, 0);
    for segment in path.split(|byte| *byte == b'/') {
        let (shown, next) = before.segment(segment);
        before = next;
        if let Some(shown) = shown {
            if !is_hidden {
                place.extend(path.get(..at).unwrap_or_default());
                is_hidden = true;
            }
            place.extend(segment.get(..shown).unwrap_or_default());
            place.push(b'*');
        } else if is_hidden {
            place.extend(segment);
        }
        at += segment.len() + 1;
        if is_hidden && at <= path.len() {
            place.push(b'/');
        }
    }
    if !is_hidden {
        return uri;
    }
    place.extend(rest);
    place.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_left_out() {
        for (uri, wanted) in [
            ("/p?user=u&Password=S&x=1", "/p?user=u&Password=*&x=1"),
            ("/p?access_token=S&api_key=S&apikey=S", "/p?access_token=*&api_key=*&apikey=*"),
            (
                "/p?refresh_token=S&id_token=S&jwt=S&code=S&otp=S&sid=S",
                "/p?refresh_token=*&id_token=*&jwt=*&code=*&otp=*&sid=*",
            ),
            ("/p?PHPSESSID=S&X-Amz-Signature=S&sig=S", "/p?PHPSESSID=*&X-Amz-Signature=*&sig=*"),
            ("/x;jsessionid=S?a=b", "/x;jsessionid=*?a=b"),
            ("/x#access_token=S&state=1", "/x#access_token=*&state=1"),
            ("/x?%70assword=S%26S&a=1", "/x?%70assword=*&a=1"),
            ("/x?next=http%3A%2F%2Fy%2F%3Ftoken%3DS%26a%3D1&b=2", "/x?next=http%3A%2F%2Fy%2F%3Ftoken%3D*%26a%3D1&b=2"),
            ("/x?user[password]=S", "/x?user[password]=*"),
            ("/x?a_very_long_name_of_some_password=S", "/x?a_very_long_name_of_some_password=*"),
            ("/x?decode=1&country_code=de&keyword=a%", "/x?decode=1&country_code=de&keyword=a%"),
            ("/x?password", "/x?password"),
        ] {
            let mut place = Text::<256>::default();
            assert_eq!(String::from_utf8_lossy(blank(uri.as_bytes(), b"", &mut place).0), wanted);
        }
        let mut place = Text::<256>::default();
        assert_eq!(blank(b"<sip:b@h;pw=S>;tag=1", b">", &mut place).0, b"<sip:b@h;pw=*>;tag=1");
        for (uri, wanted) in [("/?pwd=S", true), ("/?pwd=&a=1", false), ("/?sid=S", false), ("/?a=S", false)] {
            let mut place = Text::<256>::default();
            assert_eq!(blank(uri.as_bytes(), b"", &mut place).1, wanted, "{uri}");
        }
    }

    #[test]
    fn texts_are_told_without_users_and_secrets() {
        for (text, wanted) in [
            ("http://192.0.2.1:80/d.xml", "http://192.0.2.1:80/d.xml"),
            ("http://bob:Hunter2@h:80/d.xml?a=1&token=Hunter2", "http://*@h:80/d.xml?a=1&token=*"),
            ("http://bob@h/x http://Hunter2:@h/y", "http://*@h/x http://*@h/y"),
            ("http://bob:Hun/Hunter2?@h/x@y", "http://*@y"),
            ("http://[2001:db8::1]:80/x@y", "http://[2001:db8::1]:80/x@y"),
            ("ldap://h/ou=x?cn?sub, password=Hunter2, a", "ldap://h/ou=x?cn?sub, password=*, a"),
            ("http://h/services/T00000000/B00000000/Hunter2", "http://h/services/T00000000/B00000000/*"),
            ("bob@example.org", "bob@example.org"),
        ] {
            let mut places = Places::<128>::default();
            assert_eq!(String::from_utf8_lossy(told(text.as_bytes(), &mut places)), wanted);
        }
        for (text, wanted) in [
            ("password authentication failed for user \"bob\"", "password authentication failed for user \"...\""),
            ("permission denied to create role", "permission denied to create role"),
            ("at ALTER ROLE bob PASSWORD $$Hunter2$$", "at ALTER ROLE *"),
            ("GRANT ALL TO bob IDENTIFIED BY Hunter2", "GRANT ALL TO bob IDENTIFIED BY *"),
            ("no host=h password=Hunter2 dbname=x", "no host=h password=* dbname=x"),
            ("no postgres://bob:Hunter2@h/db", "no postgres://*@h/db"),
            ("near 'Hunter2'", "near '...'"),
        ] {
            let mut places = Places::<128>::default();
            assert_eq!(String::from_utf8_lossy(error(text.as_bytes(), false, &mut places)), wanted);
        }
        for (text, wanted) in [
            ("graphql-transport-ws", false),
            ("v12.stomp", false),
            ("com.Example.Long.Name.2024.v1", true),
            ("x7Hq2LpZ9vTb4KdW", true),
            ("0123456789abcdef-0123456789abcdef", true),
            ("service-account-for-the-backup", false),
        ] {
            assert_eq!(is_made(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn what_services_take_for_a_secret_in_a_path_is_left_out() {
        let token = "Hunter2PW".repeat(4);
        for (uri, wanted) in [
            (format!("/bot123456:{token}/sendMessage?chat_id=1"), "/bot123456:*/sendMessage?chat_id=1"),
            (format!("api.telegram.org/file/bot123456%3A{token}/a.jpg"), "api.telegram.org/file/bot123456%3A*/a.jpg"),
            (format!("/services/T00000000/B00000000/{token}"), "/services/T00000000/B00000000/*"),
            (format!("/workflows/T00000000/A00000000/1234/{token}"), "/workflows/T00000000/A00000000/*/*"),
            (format!("/api/webhooks/123456789/{token}?wait=true"), "/api/webhooks/123456789/*?wait=true"),
            (format!("/api/v10/webhooks/123456789/{token}/messages/1"), "/api/v10/webhooks/123456789/*/*/*"),
            (format!("/webhookb2/g@g/IncomingWebhook/{token}/g"), "/webhookb2/g@g/IncomingWebhook/*/*"),
            (format!("/hooks/catch/123/{token}"), "/hooks/catch/123/*"),
            (format!("/hooks/{token}"), "/hooks/*"),
            (format!("/trigger/x/with/key/{token}"), "/trigger/x/with/key/*"),
            (format!("/reset-password/{token}#top"), "/reset-password/*#top"),
            (format!("/x/ghp_{token}/y"), "/x/*/y"),
            (format!("/x/eyJ{token}.{token}"), "/x/*"),
            ("/bots/123:a".to_owned(), "/bots/123:a"),
            ("/bot12345:/x".to_owned(), "/bot12345:/x"),
            ("/token/refresh".to_owned(), "/token/refresh"),
            ("/key/12345678901234567890".to_owned(), "/key/12345678901234567890"),
            ("/git/hooks/pre-commit.sample".to_owned(), "/git/hooks/pre-commit.sample"),
            ("//a//b/".to_owned(), "//a//b/"),
            (String::new(), ""),
        ] {
            let mut place = Text::<1024>::default();
            assert_eq!(String::from_utf8_lossy(blank_path(uri.as_bytes(), &mut place)), wanted, "{uri}");
        }
        for (key, wanted) in [
            ("session:Hunter2PW", "session:*"),
            ("spring:session:sessions:Hunter2PW", "spring:session:*"),
            ("laravel:access_token:1:Hunter2PW", "laravel:access_token:*"),
            ("sess:Hunter2PW", "sess:*"),
            ("user:1:name", "user:1:name"),
            ("user:token", "user:token"),
            ("", ""),
        ] {
            let mut place = Text::<64>::default();
            assert_eq!(String::from_utf8_lossy(named(key.as_bytes(), &mut place)), wanted, "{key}");
        }
        for (name, wanted) in [
            ("bob", false),
            ("service-account-for-the-backup-01", false),
            ("ghp_0123456789012345", true),
            ("sk-learn", false),
            ("0123456789abcdef0123456789abcdef", true),
            ("averyveryverylongnameofsomebodyelse", false),
        ] {
            assert_eq!(is_token(name.as_bytes()), wanted, "{name}");
        }
    }
}
