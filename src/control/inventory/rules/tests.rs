//! Shipped rules by product and version, what the wire takes away from them, and errors.

use super::*;

fn product(name: &str, version: &str, distribution: &str) -> Product {
    Product {
        name: name.into(),
        version: Some(version.into()),
        distribution: Some(distribution.to_owned()).filter(|text| !text.is_empty()),
    }
}

fn cves(name: &str, version: &str, distribution: &str) -> Vec<String> {
    let rules = Rules::shipped().unwrap();
    let found = rules.of(&product(name, version, distribution), &Seen::default());
    found.into_iter().map(|(rule, found)| format!("{} {:?}", rule.cve, rule.confidence(found))).collect()
}

fn has(name: &str, version: &str, distribution: &str, cve: &str) -> bool {
    cves(name, version, distribution).iter().any(|found| found.starts_with(cve))
}

#[test]
fn the_shipped_rules_are_many_and_point_at_their_entry() {
    let rules = Rules::shipped().unwrap();
    assert!(rules.count() >= 40, "{}", rules.count());
    for rule in rules.by_product.values().flatten() {
        assert_eq!(rule.reference, format!("https://nvd.nist.gov/vuln/detail/{}", rule.cve));
        assert!(rule.cvss.is_none_or(|score| (score >= 7.0) == (rule.severity <= 2)), "{rule:?}");
    }
}

#[test]
fn ranges_begin_and_end_where_they_say() {
    for (name, version, cve, wanted) in [
        ("openssh", "8.4p1", "CVE-2024-6387", false),
        ("openssh", "8.5p1", "CVE-2024-6387", true),
        ("openssh", "9.7p1", "CVE-2024-6387", true),
        ("openssh", "9.8p1", "CVE-2024-6387", false),
        ("openssh", "4.3p2", "CVE-2024-6387", true),
        // Upstream's banners leave the p level out.
        ("openssh", "4.4", "CVE-2024-6387", false),
        ("openssh", "8.5", "CVE-2024-6387", true),
        ("openssh", "9.7", "CVE-2024-6387", true),
        ("openssh", "9.8", "CVE-2024-6387", false),
        ("openssh", "9.4p1", "CVE-2025-26466", false),
        ("openssh", "9.9p1", "CVE-2025-26466", true),
        ("openssh", "9.9p2", "CVE-2025-26466", false),
        ("openssh", "9.9", "CVE-2025-26466", false),
        ("apache", "2.4.49", "CVE-2021-41773", true),
        ("apache", "2.4.50", "CVE-2021-41773", false),
        ("apache", "2.4.50", "CVE-2021-42013", true),
        ("apache", "2.4.51", "CVE-2021-42013", false),
        ("vsftpd", "2.3.4", "CVE-2011-2523", true),
        ("vsftpd", "2.3.5", "CVE-2011-2523", false),
        ("exim", "4.87", "CVE-2019-10149", true),
        ("exim", "4.91", "CVE-2019-10149", true),
        ("exim", "4.92", "CVE-2019-10149", false),
        ("openssl", "1.0.1f", "CVE-2014-0160", true),
        ("openssl", "1.0.1g", "CVE-2014-0160", false),
        ("openssl", "1.0.0", "CVE-2014-0160", false),
        ("nginx", "1.20.0", "CVE-2021-23017", true),
        ("nginx", "1.20.1", "CVE-2021-23017", false),
        ("samba", "3.0.20", "CVE-2007-2447", true),
        ("samba", "3.0.25", "CVE-2007-2447", false),
        ("php", "7.1.32", "CVE-2019-11043", true),
        ("php", "7.1.33", "CVE-2019-11043", false),
        ("tomcat", "9.0.30", "CVE-2020-1938", true),
        ("tomcat", "9.0.31", "CVE-2020-1938", false),
        ("squid", "2.7.9", "CVE-2019-12526", false),
        ("squid", "3.5.28", "CVE-2019-12526", true),
        ("squid", "6.4", "CVE-2023-46847", false),
        ("openssl", "1.1.0l", "CVE-2022-0778", true),
        ("openssl", "1.0.2k-fips", "CVE-2022-0778", true),
        ("proftpd", "1.3.6", "CVE-2019-12815", true),
        ("proftpd", "1.3.6a", "CVE-2019-12815", false),
        ("proftpd", "1.3.3c", "CVE-2010-20103", true),
        ("postgresql", "9.6.3", "CVE-2024-10979", true),
        ("bind", "9.15.3", "CVE-2020-8617", true),
        ("bind", "9.16.48", "CVE-2023-50387", false),
        ("samba", "4.2.0rc4", "CVE-2015-0240", true),
        ("samba", "4.2.0", "CVE-2015-0240", false),
        ("erlang", "5.2.9", "CVE-2025-32433", true),
        ("erlang", "5.2.10", "CVE-2025-32433", false),
        ("erlang", "5.1.4.8", "CVE-2025-32433", false),
        ("erlang", "4.15.3.12", "CVE-2025-32433", false),
        ("jetty", "9.2.26.v20180806", "CVE-2017-7657", true),
        ("jetty", "9.4.11.v20180605", "CVE-2017-7657", false),
        ("nginx", "1.30.3", "CVE-2026-42533", true),
        ("nginx", "1.30.4", "CVE-2026-42533", false),
        ("nginx", "1.30.1", "CVE-2026-42945", false),
        ("exim", "4.99.2", "CVE-2026-45185", true),
        ("exim", "4.99.3", "CVE-2026-45185", false),
        ("hfs", "2.3m", "CVE-2024-23692", true),
        ("hfs", "2.4.0", "CVE-2024-23692", false),
        ("routeros", "6.40.7", "CVE-2018-14847", true),
        ("routeros", "6.40.9", "CVE-2018-14847", false),
        ("routeros", "6.42", "CVE-2018-14847", true),
        ("routeros", "6.42.1", "CVE-2018-14847", false),
        ("redis", "6.2.19", "CVE-2025-49844", true),
        ("redis", "6.2.20", "CVE-2025-49844", false),
        ("redis", "7.0.15", "CVE-2025-49844", true),
        ("redis", "8.2.2", "CVE-2025-49844", false),
        ("redis", "7.2.7", "CVE-2024-46981", false),
        ("redis", "8.0.0", "CVE-2024-46981", false),
        ("redis", "2.4.18", "CVE-2024-46981", false),
        ("redis", "6.0.15", "CVE-2021-32761", false),
        ("valkey", "7.2.4", "CVE", false),
        ("mongodb", "4.2.24", "CVE-2025-14847", true),
        ("mongodb", "3.4.24", "CVE-2025-14847", false),
        ("mongodb", "8.0.17", "CVE-2025-14847", false),
        ("elasticsearch", "1.4.2", "CVE-2015-1427", true),
        ("elasticsearch", "1.3.8", "CVE-2015-1427", false),
        ("elasticsearch", "1.2.4", "CVE-2015-1427", false),
        ("unknown", "1.0", "CVE", false),
    ] {
        assert_eq!(has(name, version, "", cve), wanted, "{name} {version} {cve}: {:?}", cves(name, version, ""));
    }
}

/// What a distribution fixed without a new version is not called vulnerable where the rule knows, and only possible where
/// it does not.
#[test]
fn fixes_of_distributions_are_known_or_doubted() {
    let of = |distribution: &str| {
        let found = cves("openssh", "9.2p1", distribution);
        found.into_iter().find(|found| found.starts_with("CVE-2024-6387")).unwrap_or_default()
    };
    assert_eq!(of(""), "CVE-2024-6387 Medium", "Red Hat and others never name themselves");
    assert_eq!(of("Debian-2+deb12u2"), "CVE-2024-6387 High", "before the fix");
    assert_eq!(of("Debian-2+deb12u3"), "", "the fix");
    assert_eq!(of("Debian-2+deb12u10"), "");
    assert_eq!(of("Raspbian-2+deb12u1"), "CVE-2024-6387 Low", "another distribution");
    assert_eq!(cves("iis", "7.5", ""), ["CVE-2015-1635 Low"], "the version alone does not tell");
    for (version, distribution, cve, wanted) in [
        ("8.4p1", "Debian-5+deb11u2", "CVE-2023-48795", true),
        ("8.4p1", "Debian-5+deb11u3", "CVE-2023-48795", false),
        ("8.2p1", "Ubuntu-4ubuntu0.9", "CVE-2023-48795", true),
        ("8.2p1", "Ubuntu-4ubuntu0.13", "CVE-2023-48795", false),
        ("7.4p1", "Debian-10+deb9u7", "CVE-2018-15473", false),
        ("9.6p1", "Ubuntu-3ubuntu13.5", "CVE-2025-26466", true),
        ("9.6p1", "Ubuntu-3ubuntu13.8", "CVE-2025-26466", false),
    ] {
        assert_eq!(has("openssh", version, distribution, cve), wanted, "{version} {distribution} {cve}");
    }
}

/// What the wire shows is so takes the doubts, or the whole, away; what it does not show leaves the rule as it is.
#[test]
fn the_wire_decides_where_it_tells() {
    let rules = Rules::shipped().unwrap();
    let of = |name: &str, version: &str, packed: &str, cve: &str, told: &[(Wire, bool)]| {
        let (product, seen) = (product(name, version, packed), Seen::at(crate::units::Timestamp(1), told));
        let found = rules.of(&product, &seen).into_iter().find(|(rule, _)| rule.cve == cve);
        found.map(|(rule, found)| (rule.confidence(found), rule.doubts(found).matches("; ").count()))
    };
    let (terrapin, yes, no) = ("CVE-2023-48795", [(Wire::SshTerrapin, true)], [(Wire::SshTerrapin, false)]);
    let (low, medium, high) = (Confidence::Low, Confidence::Medium, Confidence::High);
    for (name, version, packed, cve, told, wanted) in [
        ("openssh", "8.7", "", terrapin, &[][..], Some((low, 2))),
        ("openssh", "8.7", "", terrapin, &no, None),
        ("openssh", "8.7", "", terrapin, &yes, Some((high, 1))),
        ("openssh", "9.3", "FreeBSD-1", terrapin, &yes, Some((high, 1))),
        ("openssh", "9.2p1", "Debian-2+deb12u2", terrapin, &[], None),
        // Neither cipher nor MAC was there.
        ("openssh", "5.3", "", terrapin, &[], None),
        ("openssh", "6.1p1", "", terrapin, &[], None),
        ("openssh", "6.2", "", terrapin, &[], Some((low, 2))),
        ("openssh", "9.6", "", terrapin, &[], None),
        ("dropbear", "2018.76", "", terrapin, &[], None),
        ("dropbear", "2020.81", "", terrapin, &[], Some((low, 2))),
        ("dropbear", "2022.83", "", terrapin, &no, None),
        ("dropbear", "2022.83", "", terrapin, &yes, Some((high, 1))),
        ("dropbear", "2024.84", "", terrapin, &[], None),
        ("openssh", "8.6", "", "CVE-2024-6387", &[(Wire::Unix, false)], None),
        ("openssh", "8.6", "", "CVE-2024-6387", &[], Some((medium, 1))),
        ("memcached", "1.4.0", "", "CVE-2018-1000115", &[], Some((low, 2))),
        ("memcached", "1.4.0", "", "CVE-2018-1000115", &[(Wire::Udp, true)], Some((medium, 1))),
        ("php", "8.1.2", "", "CVE-2024-4577", &[], Some((low, 2))),
        ("php", "8.1.2", "Ubuntu", "CVE-2024-4577", &[], None),
    ] {
        assert_eq!(of(name, version, packed, cve, told), wanted, "{name} {version} {packed} {cve} {told:?}");
    }
}

/// A finding keeps 255 bytes of evidence; what speaks against it stands at its end.
#[test]
fn doubts_are_told_and_fit() {
    let rules = Rules::shipped().unwrap();
    let rule =
        |product: &str, cve: &str| rules.by_product[product].iter().find(|rule| rule.cve == cve).unwrap().clone();
    let unseen = |packed| Match { packed, is_seen: false };
    let plain = rule("openssh", "CVE-2024-6387");
    assert_eq!(plain.doubts(unseen(Packed::BeforeTheFix)), "");
    assert_eq!(plain.doubts(unseen(Packed::Unnamed)), "; unless a distribution fixed it without a new version");
    let text = rule("nginx", "CVE-2021-23017").doubts(unseen(Packed::Unknown));
    assert_eq!(
        text,
        "; possible: only if a resolver is configured; possible: its distribution may have fixed it without a new version"
    );
    for rule in rules.by_product.values().flatten() {
        let text = format!("{}{}", rule.title, rule.doubts(unseen(Packed::Unknown)));
        assert!(text.len() <= 215, "{} bytes beside product and version: {text}", text.len());
    }
}

#[test]
fn errors_name_file_line_field_and_remedy() {
    let good =
        "[[rule]]\nproduct = \"x\"\ncve = \"CVE-2020-1234\"\ntitle = \"t\"\nseverity = 2\nreference = \"https://a\"\n";
    let range = "affected = [{ before = \"2.0\" }]\n";
    assert_eq!(Rules::parse(Path::new("r.toml"), &format!("{good}{range}")).unwrap().count(), 1);
    for (text, line, words) in [
        (format!("{good}affected = []\n"), Some(1), ["`affected`", "range"]),
        (good.to_owned(), Some(1), ["missing field `affected`", "[[rule]]"]),
        (format!("\n{good}{range}{good}{range}"), Some(9), ["CVE-2020-1234 of x stands there twice", "join"]),
        (format!("{good}{range}").replace("CVE-2020-1234", "2020"), Some(1), ["`cve`", "CVE-2024-6387"]),
        (format!("{good}{range}").replace("severity = 2", "severity = 7"), Some(1), ["`severity`", "1 (high)"]),
        (format!("{good}{range}").replace("\"x\"", "\"X Y\""), Some(1), ["`product`", "lower case"]),
        (format!("{good}affected = [{{}}]\n"), Some(1), ["without a bound", "exactly"]),
        (format!("{good}affected = [{{ from = \"3\", before = \"2\" }}]\n"), Some(1), ["ends before", "through"]),
        (format!("{good}{range}colour = 1\n"), Some(8), ["unknown field `colour`", "[[rule]]"]),
        (format!("{good}{range}wire = \"x\"\n"), Some(8), ["unknown variant `x`", "ssh_terrapin"]),
        (format!("{good}{range}wire = \"udp\"\n"), Some(1), ["`wire`", "in words"]),
        ("[[rule".to_owned(), Some(1), ["", "[[rule]]"]),
    ] {
        let error = Rules::parse(Path::new("r.toml"), &text).expect_err(&text);
        let message = error.to_string();
        assert_eq!(error.line, line, "{message}");
        assert!(message.starts_with("r.toml:") && words.iter().all(|word| message.contains(word)), "{message}");
    }
    let error = Rules::load(Some(Path::new("/nonexistent/rules.toml"))).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/rules.toml") && error.contains("inventory.rules"), "{error}");
}
