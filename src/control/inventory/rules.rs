//! Rules of known vulnerabilities: which version of which product has which.
//!
//! A TOML file, the one that ships with the program unless the operator names another. Its format stands at the head of
//! `rules/vulnerabilities.toml`. Everything in it is checked when it is read; an error names file, line, field and remedy.

use super::banner::Product;
use super::host::Confidence;
use super::version::{compare, compare_revisions};
use super::wire::{Seen, Wire};
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
    #[serde(default)]
    wire: Option<Wire>,
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
    /// What tells of the condition, or of the vulnerability.
    wire: Option<Wire>,
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

/// How well a product matches a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// May it have been fixed without a new version?
    pub packed: Packed,
    /// The wire has told that what must be so is so.
    pub is_seen: bool,
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
    /// Does the product have it, as far as its version and the wire tell?
    fn matches(&self, product: &Product, seen: &Seen) -> Option<Match> {
        let packed = self.by_version(product)?;
        let told = self.wire.and_then(|wire| seen.of(wire, product));
        (told != Some(false)).then_some(Match { packed, is_seen: told == Some(true) })
    }

    /// Does the product have it, as far as its version tells?
    fn by_version(&self, product: &Product) -> Option<Packed> {
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
    pub fn confidence(&self, found: Match) -> Confidence {
        match found.packed {
            _ if self.is_proven(found) => Confidence::High,
            _ if self.condition.is_some() && !found.is_seen => Confidence::Low,
            Packed::BeforeTheFix => Confidence::High,
            Packed::Unnamed => Confidence::Medium,
            Packed::Unknown => Confidence::Low,
        }
    }

    /// The wire shows the vulnerability itself.
    fn is_proven(&self, found: Match) -> bool {
        found.is_seen && self.wire.is_some_and(Wire::is_proof)
    }

    /// What speaks against it, for people; empty if nothing does.
    pub fn doubts(&self, found: Match) -> String {
        if self.is_proven(found) {
            return "; seen on the wire".into();
        }
        let condition = self.condition.as_ref().filter(|_| !found.is_seen);
        let condition = condition.map(|condition| format!("; possible: only if {condition}"));
        let fix = match found.packed {
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
            let Raw { product, cve, title, severity, cvss, reference, affected, fixed, condition, wire } = raw;
            let of_product = rules.by_product.entry(product.clone()).or_default();
            if of_product.iter().any(|known| known.cve == cve) {
                return Err(RuleError {
                    file: file.to_owned(),
                    line,
                    problem: format!("rule {cve} of {product} stands there twice"),
                    remedy: "join the ranges in one rule".into(),
                });
            }
            of_product.push(Rule { product, cve, title, severity, cvss, reference, affected, fixed, condition, wire });
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

    /// What the product has by its version and by what the wire told of its service, and how well that is known.
    pub fn of(&self, product: &Product, seen: &Seen) -> Vec<(&Rule, Match)> {
        let rules = self.by_product.get(&product.name).map(Vec::as_slice).unwrap_or_default();
        rules.iter().filter_map(|rule| Some((rule, rule.matches(product, seen)?))).collect()
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
            () if self.wire.is_some() && self.condition.is_none() && self.wire != Some(Wire::Unix) => said(
                "`wire` stands without `condition`",
                "say in words what must be so, for where nothing was seen of it",
            ),
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
mod tests;
