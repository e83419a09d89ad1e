//! tcpdump's print of a capture: packets, and the ends that it names in each.

use std::net::IpAddr;

/// One packet as it was printed, white space joined.
pub struct Printed {
    /// Its place in the file, from 1 on.
    pub number: usize,
    /// Microseconds since 1970.
    pub time: i64,
    /// What follows the time.
    pub text: String,
}

/// The packets of a print with absolute times (the form of nearly all); of others none.
pub fn packets(print: &str) -> Vec<Printed> {
    let mut all: Vec<Printed> = Vec::new();
    for line in print.lines() {
        if let Some(packet) = begin(line) {
            all.push(packet);
        } else if let Some(last) = all.last_mut() {
            last.text += " ";
            last.text += &line.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }
    all
}

/// `    1  2020-06-10 09:21:03.720289 IP ...`
fn begin(line: &str) -> Option<Printed> {
    let (number, rest) = line.trim_start().split_once("  ")?;
    let mut words = rest.split_whitespace();
    let time = time(words.next()?, words.next()?)?;
    Some(Printed { number: number.parse().ok()?, time, text: words.collect::<Vec<_>>().join(" ") })
}

fn time(date: &str, clock: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, fraction) = clock.split_once('.')?;
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    // Days since 1970 by counting years from March on, so that a leap day comes last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let micros = fraction.get(..6)?.parse::<i64>().ok()?;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

/// Two ends as `A > B:` names them, and what is said of them.
pub struct Pair<'a> {
    /// The sender.
    pub from: (IpAddr, u16),
    /// The receiver.
    pub to: (IpAddr, u16),
    /// What follows.
    pub rest: &'a str,
}

/// Every pair of addresses in a packet's print, outermost first.
pub fn pairs(text: &str) -> Vec<Pair<'_>> {
    let pair = |(at, mark): (usize, &str)| {
        let from = text.get(..at)?.rsplit(' ').next()?;
        let (to, rest) = text.get(at + mark.len()..)?.split_once(": ")?;
        Some(Pair { from: end(from)?, to: end(to)?, rest })
    };
    text.match_indices(" > ").filter_map(pair).collect()
}

/// `192.0.2.1.53`, `192.0.2.1`, `fe80::1.547`, `fe80::1`.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    if let Ok(address) = text.parse() {
        return Some((address, 0));
    }
    let (address, port) = text.rsplit_once('.')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}
