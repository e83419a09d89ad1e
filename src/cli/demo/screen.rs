//! What the demo shows: alerts scroll by, a panel below them stays and is drawn anew; without a terminal, plain lines.

use super::api::Picture;
use super::attackers::ATTACKS;
use super::lab::host_of;
use super::verdict::{Summary, Verdict, blamed};
use crate::cli::line::{Told, grouped, harmless, reasons};
use crate::control::alert::Alert;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Without a terminal, figures are printed this often.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// Standard output as the demo uses it.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    color: bool,
    /// Lines of the panel now on the terminal.
    panel: usize,
    last_plain: Option<Instant>,
    last: Option<(Instant, u64)>,
    rate: f64,
    told: Told,
}

impl Screen {
    /// Looks whether there is a terminal, and whether it wants colour (`NO_COLOR`).
    pub fn new() -> Screen {
        let terminal = std::io::stdout().is_terminal();
        let color = terminal && std::env::var_os("NO_COLOR").is_none();
        Screen { terminal, color, panel: 0, last_plain: None, last: None, rate: 0.0, told: Told::default() }
    }

    /// There is someone who can press Ctrl-C.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Text may be coloured.
    pub fn takes_color(&self) -> bool {
        self.color
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        let mut out = self.erase();
        out.push_str(text);
        out.push('\n');
        self.put(&out);
    }

    /// An alert that stays, with its evidence.
    pub fn alert(&mut self, alert: &Alert) {
        let evidence = &alert.evidence;
        if !self.told.is_news(alert) {
            // The alert itself stands above.
            let count = self.paint("35", &format!("x{}", grouped(alert.occurrences)));
            return self.say(&format!("       {count}  {}", self.paint("2", &harmless(&evidence.summary))));
        }
        let (mark, color) = if blamed(alert).is_some() { ("ALERT", "31;1") } else { ("FALSE ALERT", "33;1") };
        let who = |address: Option<IpAddr>| address.map_or("-".to_owned(), named);
        let mut text = format!(
            "{}  {} {}, {} -> {}",
            self.paint(color, mark),
            self.paint("1", &evidence.detector.name().replace('_', " ")),
            evidence.kind.replace('_', " "),
            who(evidence.source),
            who(evidence.target),
        );
        let _ = write!(text, "\n       {}", harmless(&evidence.summary));
        let terms = reasons(&evidence.terms);
        if !terms.is_empty() {
            let _ = write!(text, "\n       {}", self.paint("2", &terms.join(", ").replace('_', " ")));
        }
        self.say(&text);
    }

    /// The figures of this moment. `done` says of each attack whether it has been seen.
    pub fn figures(&mut self, picture: &Picture, page: &str, clients: Option<(u64, u64)>, done: &[bool]) {
        let now = Instant::now();
        let packets = picture.status.totals.packets;
        if let Some((before, count)) = self.last {
            let seconds = now.duration_since(before).as_secs_f64();
            if seconds > 0.0 {
                self.rate = packets.saturating_sub(count) as f64 / seconds;
            }
        }
        self.last = Some((now, packets));
        if self.terminal {
            let panel = self.panel_text(picture, page, clients, done);
            let mut out = self.erase();
            // Long lines are cut by the terminal (DECAWM off) and not wrapped: the panel's height must be known.
            out.push_str("\x1b[?7l");
            out.push_str(&panel);
            out.push_str("\x1b[?7h");
            self.put(&out);
            self.panel = panel.lines().count();
        } else if self.last_plain.is_none_or(|before| now.duration_since(before) >= PLAIN_EVERY) {
            self.last_plain = Some(now);
            let totals = &picture.status.totals;
            let closed = if picture.status.loss.closed { "closed" } else { "OPEN" };
            let drops: u64 = totals.drops.iter().map(|drop| drop.value).sum();
            self.say(&format!(
                "{} packets ({}/s)  {} flows  {} scored  {drops} drops  loss equation {closed}{}{}",
                grouped(totals.packets),
                grouped(self.rate as u64),
                grouped(totals.flows),
                grouped(totals.scored),
                batches(picture).map_or(String::new(), |text| format!("  batch {text}")),
                stage(picture, "burst").map_or(String::new(), |text| format!("  burst {text}")),
            ));
        }
    }

    /// The closing words.
    pub fn verdict(&mut self, summary: &Summary, done: &[bool], verdict: Verdict) {
        let mut text = String::from("\n");
        for (attack, done) in ATTACKS.iter().zip(done) {
            let (color, word) = if *done { ("32;1", "seen  ") } else { ("31;1", "MISSED") };
            let _ = writeln!(
                text,
                "  {}  {} {} -> {}",
                self.paint(color, word),
                attack.host.name,
                attack.what,
                named(IpAddr::V4(attack.target))
            );
        }
        let _ = writeln!(text, "  false alerts: {}", summary.false_alerts);
        let closed = if summary.loss_equation_closed { "closes" } else { "DOES NOT CLOSE" };
        let drops: u64 = summary.drops.values().sum();
        let _ = writeln!(text, "  {} frames, {drops} dropped: the loss equation {closed}", grouped(summary.packets));
        let color = match verdict {
            Verdict::Passed => "32;1",
            Verdict::Failed => "31;1",
            Verdict::Interrupted => "33;1",
        };
        let _ = write!(text, "  {}", self.paint(color, verdict.word()));
        self.say(&text);
    }

    fn panel_text(&self, picture: &Picture, page: &str, clients: Option<(u64, u64)>, done: &[bool]) -> String {
        let status = &picture.status;
        let totals = &status.totals;
        let mut text = format!("{}\n", "-".repeat(100));
        let modes: Vec<String> = status.queues.iter().map(|queue| queue.mode.name().to_owned()).collect();
        let _ = writeln!(text, "live page  {}   capture {}", self.paint("36;1", page), modes.join(", "));
        let _ = writeln!(
            text,
            "packets    {} ({}/s), {:.1} MB, {} flows ({} now), {} rows scored",
            grouped(totals.packets),
            grouped(self.rate as u64),
            totals.bytes as f64 / 1e6,
            grouped(totals.flows),
            grouped(totals.flows_active),
            grouped(totals.scored)
        );
        let drops: Vec<String> = totals
            .drops
            .iter()
            .filter(|drop| drop.value > 0)
            .map(|drop| format!("{} {}", drop.name.replace('_', " "), grouped(drop.value)))
            .collect();
        let drops = if drops.is_empty() { "none".to_owned() } else { drops.join(", ") };
        let closed = if status.loss.closed { self.paint("32", "closed") } else { self.paint("31;1", "OPEN") };
        let _ = writeln!(text, "drops      {drops}; loss equation {closed}");
        if let Some(batches) = batches(picture) {
            let _ = writeln!(text, "batches    {batches}");
        }
        for name in ["burst", "score", "packet_to_alert"] {
            if let Some(percentiles) = stage(picture, name) {
                let _ = writeln!(text, "latency    {:<16} {percentiles}", name.replace('_', " "));
            }
        }
        if let Some((served, failed)) = clients {
            let _ = writeln!(text, "clients    {served} requests served, {failed} failed");
        }
        let attacks: Vec<String> = ATTACKS
            .iter()
            .zip(done)
            .map(|(attack, done)| {
                let (color, word) = if *done { ("32;1", "seen") } else { ("2", "not yet") };
                format!("{} {}", attack.host.name, self.paint(color, word))
            })
            .collect();
        let _ = writeln!(text, "attackers  {}", attacks.join(", "));
        text
    }

    fn erase(&mut self) -> String {
        let lines = std::mem::take(&mut self.panel);
        // Up to the panel's first line, then everything below it away (ECMA-48 CPL and ED).
        if lines == 0 { String::new() } else { format!("\x1b[{lines}F\x1b[J") }
    }

    fn paint(&self, color: &str, text: &str) -> String {
        if self.color { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn put(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A terminal that is gone does not stop the demo: its verdict is in the exit code and the summary.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Default for Screen {
    fn default() -> Screen {
        Screen::new()
    }
}

/// A host of the lab by its name, everyone else by address.
fn named(address: IpAddr) -> String {
    host_of(address).map_or_else(|| address.to_string(), |host| format!("{} ({address})", host.name))
}

fn batches(picture: &Picture) -> Option<String> {
    let queues: Vec<_> = picture.workers.iter().flat_map(|worker| &worker.queues).collect();
    let parts: Vec<String> = queues
        .iter()
        .map(|queue| {
            format!(
                "{}: rx {:.0} of {:.0} {}, scoring {:.0} of {:.0} {}",
                // The namespace before the slash is long and always the same.
                queue.name.rsplit('/').next().unwrap_or_default(),
                queue.rx.mean,
                queue.rx.target,
                queue.rx.unit,
                queue.scoring.mean,
                queue.scoring.target,
                queue.scoring.unit
            )
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn stage(picture: &Picture, name: &str) -> Option<String> {
    let percentiles = picture.latency.get(name)?;
    Some(format!(
        "p50 {}, p99 {}, p99.9 {}",
        duration(percentiles.p50),
        duration(percentiles.p99),
        duration(percentiles.p999)
    ))
}

/// Three figures and a unit.
fn duration(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (nanoseconds as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (nanoseconds as f64 / 1e6, "ms"),
        _ => (nanoseconds as f64 / 1e9, "s"),
    };
    let digits = if value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_their_unit_and_few_figures() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (9_999, "10.0 us"),
            (136_191, "136 us"),
            (12_345_678, "12.3 ms"),
            (578_813_951, "579 ms"),
            (2_500_000_000, "2.5 s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
