//! Parameters of URIs that are named like secrets: their values are left out.

use super::super::text::Text;

/// Names of passwords: those that end so.
const PASSWORDS: [&[u8]; 7] = [b"password", b"passwd", b"pass", b"pwd", b"passphrase", b"secret", b"psw"];
/// Names of other secrets: those that end so, without what is no letter and no digit, in lower case.
const ENDS: [&[u8]; 12] = [
    b"token",
    b"apikey",
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
}
