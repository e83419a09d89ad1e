//! `[[pair]]`: two ports as a bump in the wire.

use super::error::Invalid;
use super::plan::CapturePlan;
use super::raw::RawInterface;
use super::values::{number, word};
use crate::dataplane::capture::xdp::{
    BEAT_LIMIT_DEFAULT_MS, BEAT_LIMIT_MS, Cause, Fail, InterfaceSettings, LinkPolicy, Mode, PairSettings, Policy,
};
use crate::units::MILLISECOND;
use serde::Deserialize;

/// One pair.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPair {
    /// Its name; that of its ports if absent.
    pub name: Option<String>,
    /// Two interfaces.
    pub ports: Option<Vec<String>>,
    /// Network namespace of both, by name (`ip netns`).
    pub netns: Option<String>,
    /// `auto`, `zero-copy` or `copy`.
    pub mode: Option<String>,
    /// Queues to bind on both, by number; all of them if absent.
    pub queues: Option<Vec<i64>>,
    /// Entries of each RX and TX ring.
    pub ring: Option<i64>,
    /// UMEM on huge pages where there are some.
    pub huge_pages: Option<bool>,
    /// Preferred busy polling by the worker.
    pub busy_poll: Option<bool>,
    /// Set a symmetric RSS key where the NIC takes one.
    pub symmetric_rss: Option<bool>,
    /// `open` or `closed`, for every cause.
    pub fail: Option<String>,
    /// The same for one cause each.
    pub fail_on: RawFailOn,
    /// A worker that gives no sign of life for so long counts as hung.
    pub heartbeat_ms: Option<i64>,
    /// `independent`, or `follow`: a port whose peer has no carrier is set down.
    pub link: Option<String>,
}

/// Policies of single causes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFailOn {
    /// A planned stop.
    pub stop: Option<String>,
    /// The process is gone.
    pub crash: Option<String>,
    /// The worker stands still.
    pub hang: Option<String>,
    /// Frames come faster than the worker takes them.
    pub overload: Option<String>,
    /// A frame is longer than the memory's.
    pub too_long: Option<String>,
    /// No model scores.
    pub model: Option<String>,
    /// Alerts cannot be stored.
    pub store: Option<String>,
}

impl RawFailOn {
    fn of(&self, cause: Cause) -> Option<&str> {
        match cause {
            Cause::Stop => &self.stop,
            Cause::Crash => &self.crash,
            Cause::Hang => &self.hang,
            Cause::Overload => &self.overload,
            Cause::TooLong => &self.too_long,
            Cause::Model => &self.model,
            Cause::Store => &self.store,
        }
        .as_deref()
    }
}

impl RawPair {
    /// Checks a pair; `at`: where it stands.
    pub(super) fn plan(&self, at: &str, capture: &CapturePlan) -> Result<PairSettings, Invalid> {
        let key = |name: &str| format!("{at}.{name}");
        let wrong = |name: &str, problem: String, remedy: &str| Invalid {
            key: key(name),
            problem,
            remedy: remedy.into(),
            other: None,
        };
        let Some([first, second]) = self
            .ports
            .as_deref()
            .and_then(|ports| ports.first_chunk::<2>())
            .filter(|_| self.ports.as_ref().is_some_and(|ports| ports.len() == 2))
        else {
            let problem = match &self.ports {
                None => "names no ports".to_owned(),
                Some(ports) => format!("names {} ports", ports.len()),
            };
            let at = if self.ports.is_some() { key("ports") } else { at.to_owned() };
            return Err(Invalid { key: at, problem, remedy: "write ports = [\"eth1\", \"eth2\"]".into(), other: None });
        };
        if first == second {
            return Err(wrong("ports", format!("names {first} twice"), "a pair joins two interfaces"));
        }
        if self.mode.as_deref() == Some("generic") {
            return Err(wrong(
                "mode",
                "is \"generic\"".into(),
                "write auto, zero-copy or copy: a pair needs a driver with XDP of its own",
            ));
        }
        let port = |name: &String| {
            let raw = RawInterface {
                name: Some(name.clone()),
                netns: self.netns.clone(),
                mode: self.mode.clone(),
                queues: self.queues.clone(),
                ring: self.ring.or(Some(2048)),
                huge_pages: self.huge_pages,
                busy_poll: self.busy_poll,
                symmetric_rss: self.symmetric_rss,
                shared: Some("no".into()),
                ..RawInterface::default()
            };
            raw.plan(at, capture)
        };
        let ports: [InterfaceSettings; 2] = [port(first)?, port(second)?];
        if ports[0].mode == Mode::Generic {
            return Err(wrong("mode", "is generic".into(), "write auto, zero-copy or copy"));
        }
        if ports[0].ring_entries < 256 {
            return Err(wrong("ring", format!("is {}", ports[0].ring_entries), "write 256 or more: a burst must fit"));
        }
        let words = [("open", Fail::Open), ("closed", Fail::Closed)];
        let mut policy = Policy::all(word(&key("fail"), self.fail.as_deref(), &words, Fail::Open)?);
        for cause in Cause::ALL {
            let name = key(&format!("fail_on.{}", cause.name()));
            policy = policy.with(cause, word(&name, self.fail_on.of(cause), &words, policy.of(cause))?);
        }
        if let Some(problem) = policy.contradiction() {
            return Err(wrong("fail_on.crash", format!("contradicts hang: {problem}"), "write hang = \"closed\" too"));
        }
        let (low, high) = BEAT_LIMIT_MS;
        let limit = number(&key("heartbeat_ms"), self.heartbeat_ms, BEAT_LIMIT_DEFAULT_MS, low, high)?;
        let name = self.name.clone().unwrap_or_else(|| format!("{first}-{second}"));
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
            return Err(wrong("name", format!("is {name:?}"), "write letters, digits, '-', '_' and '.', at most 64"));
        }
        let links = [("independent", LinkPolicy::Independent), ("follow", LinkPolicy::Follow)];
        let link = word(&key("link"), self.link.as_deref(), &links, LinkPolicy::Independent)?;
        Ok(PairSettings { name, ports, policy, beat_limit_ns: limit * MILLISECOND, link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<PairSettings, String> {
        let plan = crate::config::parse("test.toml", &format!("[[pair]]\n{text}"), std::iter::empty());
        plan.map(|plan| plan.pairs[0].clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pair_of_two_ports_is_open_by_default() {
        let pair = plan("ports = [\"eth1\", \"eth2\"]\nnetns = \"x\"").unwrap();
        assert_eq!((pair.name.as_str(), pair.policy), ("eth1-eth2", Policy::all(Fail::Open)));
        assert_eq!(pair.ports.each_ref().map(InterfaceSettings::label), ["x/eth1", "x/eth2"]);
        assert_eq!((pair.beat_limit_ns, pair.link), (5_000_000, LinkPolicy::Independent));
        assert_eq!(plan("ports = [\"a\", \"b\"]\nlink = \"follow\"").unwrap().link, LinkPolicy::Follow);
    }

    #[test]
    fn each_cause_can_be_closed_alone() {
        let pair = plan("ports = [\"a\", \"b\"]\nname = \"uplink\"\nfail_on = { overload = \"closed\" }").unwrap();
        assert_eq!(pair.policy, Policy::default().with(Cause::Overload, Fail::Closed));
        let closed = plan("ports = [\"a\", \"b\"]\nfail = \"closed\"\nfail_on = { stop = \"open\" }").unwrap();
        assert_eq!(closed.policy, Policy::all(Fail::Closed).with(Cause::Stop, Fail::Open));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_remedy() {
        for (text, expected) in [
            ("", "ports = [\"eth1\", \"eth2\"]"),
            ("ports = [\"a\"]", "names 1 ports"),
            ("ports = [\"a\", \"b\", \"c\"]", "names 3 ports"),
            ("ports = [\"a\", \"a\"]", "names a twice"),
            ("ports = [\"a\", \"b\"]\nmode = \"generic\"", "a driver with XDP of its own"),
            ("ports = [\"a\", \"b\"]\nfail = \"shut\"", "allowed is open, closed"),
            ("ports = [\"a\", \"b\"]\nfail_on = { crash = \"closed\" }", "hang = \"closed\""),
            ("ports = [\"a\", \"b\"]\nheartbeat_ms = 1", "2..=1000"),
            ("ports = [\"a\", \"b\"]\nlink = \"mirror\"", "allowed is independent, follow"),
            ("ports = [\"a\", \"b\"]\nring = 128", "256 or more"),
            ("ports = [\"a\", \"b\"]\nname = \"a b\"", "letters, digits"),
            ("ports = [\"a\", \"b\"]\n[[interface]]\nname = \"b\"", "a port of a pair"),
            ("ports = [\"a\", \"b\"]\n[[pair]]\nports = [\"b\", \"c\"]", "a port of a pair"),
            ("ports = [\"a\", \"b\"]\nname = \"x\"\n[[pair]]\nname = \"x\"\nports = [\"c\", \"d\"]", "a second time"),
        ] {
            let error = plan(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
