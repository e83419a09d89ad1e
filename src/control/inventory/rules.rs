//! Rules of known vulnerabilities: which version of which product has which.
//!
//! A TOML file, the one that ships with the program unless the operator names another. Its format stands at the head of
//! `rules/vulnerabilities.toml`. Everything in it is checked when it is read; an error names file, line, field and remedy.

use super::banner::Product;
use super::host::Confidence;
use super::version::{compare, compare_revisions};
use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The rules that come with the program.
const SHIPPED: &str = include_str!("../../../rules/vulnerabilities.toml");
/// Their name in messages.
const SHIPPED_NAME: &str = "rules/vulnerabilities.toml";
/// Largest rule file read, bytes: tens of thousands of rules.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A rule file cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{}: {problem}; {remedy}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct RuleError {
    /// Which file.
    pub file: PathBuf,
    /// Where in it.
    pub line: Option<usize>,
    /// What is wrong, with the field's name.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<toml::Spanned<Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    product: String,
    cve: String,
    title: String,
    severity: u8,
    cvss: Option<f64>,
    reference: String,
    affected: Vec<Range>,
    #[serde(default)]
    fixed: Vec<Fixed>,
    #[serde(default)]
    condition: Option<String>,
}

/// Versions from one to another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    /// The first affected; none: all from the beginning.
    from: Option<String>,
    /// The first that is not.
    before: Option<String>,
    /// The last affected.
    through: Option<String>,
    /// This one alone.
    exactly: Option<String>,
}

/// What a distribution has fixed without a new version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixed {
    /// How its banners begin: `Debian-`.
    distribution: String,
    /// Version that it packed.
    version: String,
    /// First revision with the fix.
    revision: String,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Product by its name in banners, lower case.
    pub product: String,
    /// CVE number.
    pub cve: String,
    /// The vulnerability in a few words.
    pub title: String,
    /// 1 (high) to 4 (low).
    pub severity: u8,
    /// Base score as NVD gives it.
    pub cvss: Option<f64>,
    /// Where to read on.
    pub reference: String,
    /// What must be so beside the version.
    pub condition: Option<String>,
    affected: Vec<Range>,
    fixed: Vec<Fixed>,
}

/// May whoever packed a product have fixed it without a new version?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packed {
    /// The banner tells a revision that a rule knows to be older than the fix.
    BeforeTheFix,
    /// The banner names no distribution; some that fix so never name themselves.
    Unnamed,
    /// The banner names a distribution of whose fix no rule knows.
    Unknown,
}

/// All rules, by product.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    by_product: HashMap<String, Vec<Rule>>,
    count: usize,
}

impl Range {
    fn holds(&self, version: &str) -> bool {
        let against = |bound: &Option<String>, good: fn(Ordering) -> bool| {
            bound.as_ref().is_none_or(|bound| good(compare(version, bound)))
        };
        against(&self.from, Ordering::is_ge)
            && against(&self.before, Ordering::is_lt)
            && against(&self.through, Ordering::is_le)
            && against(&self.exactly, Ordering::is_eq)
    }

    fn problem(&self) -> Option<&'static str> {
        let bounds = [&self.from, &self.before, &self.through, &self.exactly];
        let has_digit = |text: &String| text.chars().any(|letter| letter.is_ascii_digit()) && text.len() <= 40;
        match () {
            () if bounds.iter().all(|bound| bound.is_none()) => Some("`affected` has a range without a bound"),
            () if bounds.into_iter().flatten().any(|bound| !has_digit(bound)) => {
                Some("`affected` has a bound that is no version")
            }
            () if self.exactly.is_some() && bounds.iter().filter(|bound| bound.is_some()).count() > 1 => {
                Some("`affected` has `exactly` beside other bounds")
            }
            () if self.before.is_some() && self.through.is_some() => {
                Some("`affected` has `before` and `through` in one range")
            }
            () => match (&self.from, self.before.as_ref().or(self.through.as_ref())) {
                (Some(from), Some(end)) if compare(from, end).is_gt() => {
                    Some("`affected` has a range that ends before it begins")
                }
                _ => None,
            },
        }
    }
}

impl Rule {
    /// Does the product have it, as far as its version tells?
    fn matches(&self, product: &Product) -> Option<Packed> {
        let version = product.version.as_deref()?;
        if !self.affected.iter().any(|range| range.holds(version)) {
            return None;
        }
        let Some(distribution) = &product.distribution else { return Some(Packed::Unnamed) };
        for fixed in &self.fixed {
            let revision =
                distribution.strip_prefix(&fixed.distribution).filter(|_| compare(version, &fixed.version).is_eq());
            if let Some(revision) = revision {
                return compare_revisions(revision, &fixed.revision).is_lt().then_some(Packed::BeforeTheFix);
            }
        }
        Some(Packed::Unknown)
    }

    /// How sure it is that a product has it.
    pub fn confidence(&self, packed: Packed) -> Confidence {
        match packed {
            _ if self.condition.is_some() => Confidence::Low,
            Packed::BeforeTheFix => Confidence::High,
            Packed::Unnamed => Confidence::Medium,
            Packed::Unknown => Confidence::Low,
        }
    }

    /// What speaks against it, for people; empty if nothing does.
    pub fn doubts(&self, packed: Packed) -> String {
        let condition = self.condition.as_ref().map(|condition| format!("; possible: only if {condition}"));
        let fix = match packed {
            Packed::BeforeTheFix => "",
            Packed::Unnamed => "; unless a distribution fixed it without a new version",
            Packed::Unknown => "; possible: its distribution may have fixed it without a new version",
        };
        condition.unwrap_or_default() + fix
    }
}

impl Rules {
    /// The rules that come with the program.
    ///
    /// # Errors
    /// None that a test would not have met.
    pub fn shipped() -> Result<Rules, RuleError> {
        Rules::parse(Path::new(SHIPPED_NAME), SHIPPED)
    }

    /// The rules of a file; `None`: those that come with the program.
    ///
    /// # Errors
    /// The first thing wrong, with its place and remedy.
    pub fn load(path: Option<&Path>) -> Result<Rules, RuleError> {
        let Some(path) = path else { return Rules::shipped() };
        let error = |problem: String, remedy: &str| RuleError {
            file: path.to_owned(),
            line: None,
            problem,
            remedy: remedy.to_owned(),
        };
        let name_another =
            "name another file with `inventory.rules`, or leave the key out for the rules that come with shrike";
        let meta = std::fs::metadata(path).map_err(|cause| error(format!("cannot be read: {cause}"), name_another))?;
        if meta.len() > FILE_BYTES_MAX {
            return Err(error(format!("has {} bytes, at most {FILE_BYTES_MAX} are read", meta.len()), name_another));
        }
        let bytes = std::fs::read(path).map_err(|cause| error(format!("cannot be read: {cause}"), name_another))?;
        let text = String::from_utf8(bytes).map_err(|_| error("is no UTF-8 text".into(), "save it as UTF-8"))?;
        Rules::parse(path, &text)
    }

    /// As [`Rules::load`], from text. Never panics, whatever the text.
    ///
    /// # Errors
    /// As [`Rules::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Rules, RuleError> {
        let line_of = |at: usize| {
            text.get(..at).map(|before| before.lines().count().max(1) + usize::from(before.ends_with('\n')))
        };
        let parsed: File = toml::from_str(text).map_err(|cause| RuleError {
            file: file.to_owned(),
            line: cause.span().and_then(|span| line_of(span.start)),
            problem: cause.message().to_owned(),
            remedy: "write each rule as [[rule]] with product, cve, title, severity, reference and affected; the format stands \
                     at the head of the file that comes with shrike"
                .to_owned(),
        })?;
        let mut rules = Rules::default();
        for raw in parsed.rule {
            let line = line_of(raw.span().start);
            let raw = raw.into_inner();
            if let Some((problem, remedy)) = raw.problem() {
                let problem = format!("rule {} of {}: {problem}", shown(&raw.cve), shown(&raw.product));
                return Err(RuleError { file: file.to_owned(), line, problem, remedy });
            }
            let Raw { product, cve, title, severity, cvss, reference, affected, fixed, condition } = raw;
            let of_product = rules.by_product.entry(product.clone()).or_default();
            if of_product.iter().any(|known| known.cve == cve) {
                return Err(RuleError {
                    file: file.to_owned(),
                    line,
                    problem: format!("rule {cve} of {product} stands there twice"),
                    remedy: "join the ranges in one rule".into(),
                });
            }
            of_product.push(Rule { product, cve, title, severity, cvss, reference, affected, fixed, condition });
            rules.count += 1;
        }
        Ok(rules)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Names of the products that rules know.
    pub fn products(&self) -> impl Iterator<Item = &str> {
        self.by_product.keys().map(String::as_str)
    }

    /// What the product has by its version, and whether that may have been fixed without a new one.
    pub fn of(&self, product: &Product) -> Vec<(&Rule, Packed)> {
        let rules = self.by_product.get(&product.name).map(Vec::as_slice).unwrap_or_default();
        rules.iter().filter_map(|rule| Some((rule, rule.matches(product)?))).collect()
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(40).collect()
}

impl Raw {
    fn problem(&self) -> Option<(String, String)> {
        let good_name =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.+".contains(letter);
        let digits = |text: &str| text.len() >= 4 && text.chars().all(|letter| letter.is_ascii_digit());
        let is_cve = self.cve.strip_prefix("CVE-").and_then(|rest| rest.split_once('-'));
        let said = |problem: &str, remedy: &str| Some((problem.to_owned(), remedy.to_owned()));
        match () {
            () if self.product.is_empty() || self.product.len() > 40 || !self.product.chars().all(good_name) => said(
                "`product` is no name of a product",
                "write it in lower case as /v1/hosts shows it, such as \"openssh\"",
            ),
            () if !is_cve.is_some_and(|(year, number)| digits(year) && digits(number)) => {
                said("`cve` is no CVE number", "write it as \"CVE-2024-6387\"")
            }
            () if self.title.is_empty() || self.title.len() > 200 => {
                said("`title` is empty or long", "write 1 to 200 letters")
            }
            () if !(1..=4).contains(&self.severity) => said("`severity` is not in 1..=4", "write 1 (high) to 4 (low)"),
            () if self.cvss.is_some_and(|score| !(0.0..=10.0).contains(&score)) => {
                said("`cvss` is not in 0..=10", "write the base score, such as 9.8")
            }
            () if !self.reference.starts_with("https://") || self.reference.len() > 300 => {
                said("`reference` is no https address", "write where the vulnerability is described")
            }
            () if self.affected.is_empty() => {
                said("`affected` is empty", "write a range, such as { before = \"9.8p1\" }")
            }
            () if self.fixed.iter().any(|one| one.distribution.is_empty() || one.revision.is_empty()) => {
                said("`fixed` has an empty field", "write distribution, version and revision")
            }
            () => self.affected.iter().find_map(Range::problem).and_then(|problem| {
                said(
                    problem,
                    "write { from, before } (before is not affected), { from, through } (through is), or { exactly }",
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
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
        let found = rules.of(&product(name, version, distribution));
        found.into_iter().map(|(rule, packed)| format!("{} {:?}", rule.cve, rule.confidence(packed))).collect()
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

    /// A finding keeps 255 bytes of evidence; what speaks against it stands at its end.
    #[test]
    fn doubts_are_told_and_fit() {
        let rules = Rules::shipped().unwrap();
        let rule =
            |product: &str, cve: &str| rules.by_product[product].iter().find(|rule| rule.cve == cve).unwrap().clone();
        let plain = rule("openssh", "CVE-2024-6387");
        assert_eq!(plain.doubts(Packed::BeforeTheFix), "");
        assert_eq!(plain.doubts(Packed::Unnamed), "; unless a distribution fixed it without a new version");
        let text = rule("nginx", "CVE-2021-23017").doubts(Packed::Unknown);
        assert_eq!(
            text,
            "; possible: only if a resolver is configured; possible: its distribution may have fixed it without a new version"
        );
        for rule in rules.by_product.values().flatten() {
            let text = format!("{}{}", rule.title, rule.doubts(Packed::Unknown));
            assert!(text.len() <= 215, "{} bytes beside product and version: {text}", text.len());
        }
    }

    #[test]
    fn errors_name_file_line_field_and_remedy() {
        let good = "[[rule]]\nproduct = \"x\"\ncve = \"CVE-2020-1234\"\ntitle = \"t\"\nseverity = 2\nreference = \"https://a\"\n";
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
}
