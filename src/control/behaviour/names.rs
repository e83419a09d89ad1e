//! Names of DNS: what is registered, what stands in front of it, how mixed its letters are.

/// Second labels under which countries register names (`co.uk`, `com.br`): there the name has three labels. Of the public
/// suffix list only what countries have in common: a missing one makes a registry look like one name, of which nobody sends
/// data in thousands of others.
const REGISTRIES: [&str; 20] = [
    "ac", "co", "com", "edu", "gob", "gov", "go", "gv", "id", "ltd", "mil", "ne", "net", "nom", "or", "org", "plc",
    "sch", "web", "gen",
];

/// A name with its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts<'a> {
    /// What is registered: `example.org`, `example.co.uk`; empty where the name ends in nothing that can be.
    pub apex: &'a str,
    /// The registered label: `example`.
    pub label: &'a str,
    /// What stands in front, without the dot; may be empty.
    pub rest: &'a str,
}

/// The name in lower case without the dot at its end; `None` if it is no text or empty.
pub fn lower(name: &[u8]) -> Option<Box<str>> {
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('.');
    (!name.is_empty()).then(|| name.to_ascii_lowercase().into())
}

/// As [`lower`], of a question: of a name that is no text each byte is a letter (RFC 1035 section 3.1 allows any), for tunnels
/// have such names.
pub fn asked(name: &[u8]) -> Option<Box<str>> {
    let of_bytes = || name.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect::<String>();
    if std::str::from_utf8(name).is_ok() { lower(name) } else { lower(of_bytes().as_bytes()) }
}

/// Can names end so? Top-level domains have letters alone, or are encoded (RFC 3696 section 2); the longest has 24.
fn may_be_top(label: &str) -> bool {
    label.starts_with("xn--") || label.len() <= 24 && label.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The parts of a name that somebody registered; `None` of a single label, of names of addresses, and of names that live on
/// the link or in the network alone.
pub fn parts(name: &str) -> Option<Parts<'_>> {
    let mut labels = name.rsplit('.');
    let (top, second) = (labels.next()?, labels.next()?);
    if matches!(top, "arpa" | "local" | "lan" | "home" | "internal" | "localdomain" | "localhost" | "invalid") {
        return None;
    }
    if !may_be_top(top) {
        return Some(Parts { apex: "", label: top, rest: name });
    }
    let third = labels.next().filter(|_| top.len() == 2 && REGISTRIES.contains(&second));
    let label = third.unwrap_or(second);
    let bytes = top.len() + 1 + second.len() + third.map_or(0, |third| third.len() + 1);
    let begin = name.len().checked_sub(bytes)?;
    let apex = name.get(begin..)?;
    let rest = name.get(..begin)?.trim_end_matches('.');
    Some(Parts { apex, label, rest })
}

/// Entropy of the letters of a text, bits a letter: 0 of one letter, at most 8.
pub fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    });
    let total = text.len().max(1) as f64;
    let of = |count: u32| {
        let share = f64::from(count) / total;
        -share * share.log2()
    };
    counts.into_iter().filter(|count| *count > 0).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_question_are_letters() {
        assert_eq!(asked(b"A\xe0\xffb.t.Example.").as_deref(), Some("a\u{e0}\u{ff}b.t.example"));
        assert_eq!(asked("B\u{fc}cher.example".as_bytes()).as_deref(), Some("b\u{fc}cher.example"));
        assert_eq!(asked(b""), None);
    }

    #[test]
    fn names_are_parted_where_they_are_registered() {
        for (name, wanted) in [
            ("www.example.org", Some(("example.org", "example", "www"))),
            ("example.org", Some(("example.org", "example", ""))),
            ("a.b.example.co.uk", Some(("example.co.uk", "example", "a.b"))),
            ("example.co", Some(("example.co", "example", ""))),
            ("co.uk", Some(("co.uk", "co", ""))),
            ("x.com.example", Some(("com.example", "com", "x"))),
            ("a.b.0f3a", Some(("", "0f3a", "a.b.0f3a"))),
            ("xn--a.xn--p1ai", Some(("xn--a.xn--p1ai", "xn--a", ""))),
            ("4.3.2.1.in-addr.arpa", None),
            ("printer.local", None),
            ("host", None),
            ("", None),
        ] {
            let found = parts(name).map(|parts| (parts.apex, parts.label, parts.rest));
            assert_eq!(found, wanted, "{name}");
        }
        assert_eq!(lower(b"WWW.Example.ORG.").as_deref(), Some("www.example.org"));
        assert_eq!((lower(b"."), lower(b"\xff")), (None, None));
    }

    #[test]
    fn letters_that_repeat_say_less() {
        assert_eq!((entropy(""), entropy("aaaa"), entropy("abab"), entropy("abcdefgh")), (0.0, 0.0, 1.0, 3.0));
    }
}
