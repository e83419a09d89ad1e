//! The lab's real attackers: nmap, hydra and hping3, each from a namespace (and address) of its own, in turn.

use super::error::DemoError;
use super::lab::{HPING3, HYDRA, Host, Lab, NMAP, SSH, WEB};
use super::program::Program;
use super::services::ACCOUNT;
use crate::dataplane::detect::Detector;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// One attack: who, on whom, and which detector has to say so.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Who attacks, with its program's name.
    pub host: Host,
    /// Who is attacked.
    pub target: Ipv4Addr,
    /// The detector that must raise an alert.
    pub detector: Detector,
    /// What it does, for people.
    pub what: &'static str,
    /// When it starts, as a share of the demo's time up to [`SCHEDULE`].
    start: f64,
}

/// Every attack in the order in which they start; they overlap, as attacks do.
pub const ATTACKS: [Attack; 3] = [
    Attack {
        host: NMAP,
        target: WEB.address(),
        detector: Detector::Scan,
        what: "scans 1000 ports with SYNs",
        start: 0.2,
    },
    Attack {
        host: HYDRA,
        target: SSH.address(),
        detector: Detector::BruteForce,
        what: "guesses passwords over SSH",
        start: 0.3,
    },
    Attack {
        host: HPING3,
        target: WEB.address(),
        detector: Detector::Flood,
        what: "floods port 80 with SYNs",
        start: 0.45,
    },
];

/// The time over which the attacks are spread when there is enough of it: what comes before the first is the usual.
pub const SCHEDULE: Duration = Duration::from_secs(24);
/// Pause between hping3's packets, in its own notation: 2,000 packets a second.
const FLOOD_PAUSE: &str = "u500";
/// Packets of one flood: six seconds.
const FLOOD_PACKETS: &str = "12000";
/// Passwords that hydra tries; none is right, as the account has none.
const GUESSES: usize = 400;

impl Attack {
    /// When it starts in a demo of `length`.
    pub fn starts_at(&self, length: Duration) -> Duration {
        length.min(SCHEDULE).mul_f64(self.start)
    }

    /// Starts it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&self, lab: &Lab) -> Result<Program, DemoError> {
        let target = self.target.to_string();
        let log = lab.directory().join(format!("{}.log", self.host.name));
        let guesses = lab.directory().join("guesses.txt");
        let guesses_text = guesses.to_string_lossy();
        let command: &[&str] = match self.detector {
            Detector::Scan => &["nmap", "-n", "-Pn", "-sS", "-T4", "--top-ports", "1000", &target],
            Detector::BruteForce => {
                write_guesses(&guesses)?;
                // `-w 2`: a child that the server cut off would else hold still for 32 seconds.
                &["hydra", "-I", "-l", ACCOUNT, "-P", &guesses_text, "-w", "2", &target, "ssh"]
            }
            _ => &["hping3", "-q", "-n", "-S", "-p", "80", "-i", FLOOD_PAUSE, "-c", FLOOD_PACKETS, &target],
        };
        Program::start(Some(&lab.namespace(&self.host)), command, &log)
    }
}

fn write_guesses(path: &Path) -> Result<(), DemoError> {
    let words = ["summer", "winter", "dragon", "monkey", "letmein", "secret", "master", "qwerty"];
    let text: String = (0..GUESSES).map(|index| format!("{}{index}\n", words[index % words.len()])).collect();
    std::fs::write(path, text).map_err(DemoError::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_start_in_order_and_leave_time_to_be_seen() {
        for seconds in [10, 20, 60] {
            let length = Duration::from_secs(seconds);
            let starts = ATTACKS.map(|attack| attack.starts_at(length));
            assert!(starts.is_sorted());
            assert!(starts[2] < length.mul_f64(0.5));
        }
        assert!(ATTACKS.iter().all(|attack| attack.starts_at(Duration::from_secs(900)) < SCHEDULE));
    }
}
