//! Values that go on as statements, and texts about statements.

use super::*;
use proptest::prelude::*;

fn sure(found: Option<Found>) -> Option<bool> {
    found.map(|found| found.is_sure)
}

#[test]
fn values_that_go_on_as_statements_are_found_however_they_are_written() {
    for (value, wanted) in [
        ("1 UNION SELECT null,version()", true),
        ("-1+UnIoN+aLl+SeLeCt+1%2C2", true),
        ("1%09union%0aselect%0b1", true),
        ("1 UN/**/ION SE/**/LECT 1", true),
        ("1/**/union/*x*/select/**/name/**/from/**/users", true),
        ("1 /*!50000union*/ /*!50000select*/ 1", true),
        ("1'/*!union*/(select(1))", true),
        ("1%2527%2520union%2520select%25201", true),
        ("x' union--%0aselect 1", true),
        ("x' union%23foo%0Aselect 1", true),
        ("1' AND (SELECT 5 FROM (SELECT(SLEEP(5)))a) AND 'b'='b", true),
        ("1 and sleep(5)", true),
        ("1;SELECT PG_SLEEP(5)--", true),
        ("1'; DROP TABLE users--", true),
        ("1';WAITFOR DELAY '0:0:5'--", true),
        ("(select(0)from(select(sleep(5)))v)", true),
        ("x'||(select version())||'", true),
        ("1 AND EXTRACTVALUE(1,CONCAT(0x5c,version()))", true),
        ("1 PROCEDURE ANALYSE(1)", true),
        ("' or '1'='1", false),
        ("' or 1=1-- -", false),
        ("'or'1'='1", false),
        ("admin'--", false),
        ("admin' #", false),
        ("a\" or \"a\"=\"a", false),
        ("' or true--", false),
        ("x' or username like '%a", false),
        ("1 and 5123=5123", false),
        ("1) or (2=2", false),
        ("1' order by 7--", false),
        ("1'||'1'='1", false),
    ] {
        assert_eq!(sure(in_form(format!("a=b&id={value}").as_bytes())), Some(wanted), "{value}");
    }
}

#[test]
fn texts_about_statements_are_none() {
    for value in [
        "",
        "O'Reilly and sons",
        "don't select the first row from the table, or it's gone",
        "How do I SELECT name FROM users WHERE id=1 UNION SELECT name FROM admins?",
        "SELECT * FROM users WHERE name='x' OR 1=1",
        "SELECT a FROM b WHERE c = 'd' UNION SELECT e FROM f",
        "I read: \"union select\" and 'or 1=1' are injections",
        "the European Union select committee",
        "3 and 4 are left = good",
        "1 or more",
        "1. use sleep(5) there",
        "rock 'n' roll or jazz",
        "'exact phrase' or 'another'",
        "name eq 'a' or name eq 'b'",
        "project = 'A' and status = 'B'",
        "ZXlKaGJHY2lPaUpJVXpJMU5pSjkuZXlKemRXSWlPaUl4TWpNME5UWTNPRGt3In0=",
        "a%2Bb%3D%3D/c+d/e==",
        "2024-01-02 10:20:30",
        "-- signature",
        "100% sure; select one",
        "5' 11\" tall",
        "12, rue de l'Union",
        "<p class=\"a\">it's</p>",
        "Hello; delete the old one, update the rest",
        "f(x) { return 'a' + 'b'; }",
    ] {
        let form = format!("q={}", value.replace('&', "%26"));
        assert_eq!(sure(in_form(form.as_bytes())), None, "{value}");
        assert_eq!(sure(in_lines(value.as_bytes())), None, "{value}");
        let json = format!("{{\"text\": {:?}, \"and\": [\"a=b\", 'c'], \"or\": 1}}", value);
        assert_eq!(sure(in_json(json.as_bytes())), None, "{value}");
    }
    assert_eq!(in_cookies(b"sid=aGVsbG8gd29ybGQ=; theme=dark; consent=%7B%22or%22%3A%221%3D1%22%7D"), None);
}

#[test]
fn texts_of_json_cookies_and_parts_are_values() {
    assert_eq!(sure(in_json(br#"{"id": "1\u0027 union select 1", "b": 2}"#)), Some(true));
    assert_eq!(sure(in_json(br#"["a \" b", "' or '1'='1"]"#)), Some(false));
    assert_eq!(sure(in_cookies(b"a=b; id=1'+AND+SLEEP(5)--")), Some(true));
    let part = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1' UNION SELECT 1\r\n--b--\r\n";
    assert_eq!(sure(in_lines(part)), Some(true));
    let one = in_form(b"a=1'+or+1=1").expect("found");
    assert_ne!(one.hash, in_form(b"a=1'+or+1=2").expect("found").hash);
}

proptest! {
    #[test]
    fn any_bytes_are_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        in_form(&bytes);
        in_json(&bytes);
        in_cookies(&bytes);
        in_lines(&bytes);
    }
}
