//! Versions as software writes them, compared as people mean them; and revisions of Debian and its kin.

use std::cmp::Ordering;

/// A piece of a version: digits or letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part<'a> {
    Number(&'a str),
    Word(&'a str),
}

/// Numbers and words of a version; what stands between them means nothing.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let first = rest.chars().next()?;
        let is_number = first.is_ascii_digit();
        let end = rest
            .find(|letter: char| letter.is_ascii_digit() != is_number || !letter.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        rest = behind;
        Some(if is_number { Part::Number(part) } else { Part::Word(part) })
    })
}

/// Numbers of any length.
fn numbers(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Words that say "not yet": `1.3.5rc3` comes before `1.3.5`.
fn is_before_release(word: &str) -> bool {
    // A milestone has a capital; OpenSSL's m is a letter behind l.
    word == "M"
        || ["alpha", "beta", "rc", "pre", "preview", "dev", "snapshot"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
}

/// Which of two versions is earlier. Numbers count as numbers; a missing number is 0 (`2.4` is `2.4.0`); a word behind a
/// version makes it later (`9.2p1`, `1.0.1g`, `9.9.7-P2`) unless it says that it is not yet one (`1.3.5rc3`).
pub fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (parts(left), parts(right));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (Some(Part::Number(one)), Some(Part::Number(other))) => numbers(one, other),
            (Some(Part::Word(one)), Some(Part::Word(other))) => words(one, other),
            (Some(one), None) => against_end(one),
            (None, Some(other)) => against_end(other).reverse(),
            (Some(Part::Number(_)), Some(Part::Word(word))) => {
                if is_before_release(word) {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Some(Part::Word(word)), Some(Part::Number(_))) => {
                if is_before_release(word) {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn words(one: &str, other: &str) -> Ordering {
    match (is_before_release(one), is_before_release(other)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        // OpenSSL goes from z to za: longer is later.
        _ => one.len().cmp(&other.len()).then_with(|| one.to_ascii_lowercase().cmp(&other.to_ascii_lowercase())),
    }
}

/// A part against nothing.
fn against_end(part: Part<'_>) -> Ordering {
    match part {
        Part::Number(number) => numbers(number, "0"),
        Part::Word(word) if is_before_release(word) => Ordering::Less,
        Part::Word(_) => Ordering::Greater,
    }
}

/// Which of two revisions of a package is earlier, as dpkg compares them (Debian policy section 5.6.12): by turns what is no
/// digit, where `~` comes before the end and letters before other signs, and numbers.
pub fn compare_revisions(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    while !left.is_empty() || !right.is_empty() {
        let split = |text: &str, digits: bool| text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
        let (one, one_rest) = left.split_at(split(left, false));
        let (other, other_rest) = right.split_at(split(right, false));
        let order = signs(one, other);
        if order != Ordering::Equal {
            return order;
        }
        let (one, after_one) = one_rest.split_at(split(one_rest, true));
        let (other, after_other) = other_rest.split_at(split(other_rest, true));
        let order = numbers(one, other);
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (after_one, after_other);
    }
    Ordering::Equal
}

fn signs(one: &str, other: &str) -> Ordering {
    let weight = |sign: Option<char>| match sign {
        Some('~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i64::from(u32::from(letter)),
        Some(sign) => i64::from(u32::from(sign)) + 256,
    };
    let (mut one, mut other) = (one.chars(), other.chars());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => match weight(left).cmp(&weight(right)) {
                Ordering::Equal => {}
                order => return order,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_people_mean_them() {
        let ascending = [
            "0.9.8za", "1.0.0", "1.0.0m", "1.0.1", "1.0.1f", "1.0.1g", "1.0.2", "1.0.2z", "1.0.2zd", "1.1.1n", "3.0.1",
        ];
        for (place, one) in ascending.iter().enumerate() {
            for (other_place, other) in ascending.iter().enumerate() {
                assert_eq!(compare(one, other), place.cmp(&other_place), "{one} {other}");
            }
        }
        for (earlier, later) in [
            ("9.2p1", "9.8p1"),
            ("9.8p1", "9.10p1"),
            ("8.5", "8.5p1"),
            ("2.4.9", "2.4.49"),
            ("1.3.3", "1.3.3c"),
            ("1.3.2rc3", "1.3.2"),
            ("1.3.2rc3", "1.3.2rc4"),
            ("3.0.25rc3", "3.0.25"),
            ("9.9.7", "9.9.7-P2"),
            ("9.9.7-P1", "9.9.7-P2"),
            ("4.92", "4.92.2"),
            ("2019.78", "2020.79"),
            ("9.0.0.M1", "9.0.0"),
            ("9.0.0.M27", "9.0.1"),
            ("1.4.0-beta", "1.4.0"),
            ("6.0", "7.5"),
            ("99999999999999999999", "100000000000000000000"),
        ] {
            assert_eq!(compare(earlier, later), Ordering::Less, "{earlier} {later}");
            assert_eq!(compare(later, earlier), Ordering::Greater, "{later} {earlier}");
        }
        for (one, other) in [("2.4", "2.4.0"), ("1.0", "1.0"), ("1.01", "1.1"), ("9.9.7-P2", "9.9.7p2"), ("", "")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn revisions_are_ordered_as_dpkg_does() {
        for (earlier, later) in [
            ("2+deb12u2", "2+deb12u3"),
            ("2+deb12u3", "2+deb12u10"),
            ("2", "2+deb12u1"),
            ("2~bpo1", "2"),
            ("3ubuntu0.9", "3ubuntu0.10"),
            ("3", "3ubuntu13"),
            ("3ubuntu13.2", "3ubuntu13.3"),
            ("10+deb9u4", "10+deb9u7"),
        ] {
            assert_eq!(compare_revisions(earlier, later), Ordering::Less, "{earlier} {later}");
            assert_eq!(compare_revisions(later, earlier), Ordering::Greater, "{later} {earlier}");
        }
        assert_eq!(compare_revisions("2+deb12u3", "2+deb12u3"), Ordering::Equal);
    }
}
