//! By which interfaces frames of ours reach the ends of a flow that was seen: a pair's two ports, or beside a tap the one that the
//! operator named.

use crate::sys::netns::Namespace;
use crate::sys::packet::PacketSender;
use std::collections::BTreeMap;

/// Why nothing can be sent beside a tap.
pub const NO_WAY: &str = "frames of this interface are only seen, and there is no other to send by: name one with reset_interface in \
                          [respond], from which both ends are reached at their link addresses";

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Out {
    /// Its network namespace; `None`: ours.
    pub namespace: Option<String>,
    /// Its name there.
    pub name: String,
}

impl Out {
    /// `NAME` or `NAME@NAMESPACE`.
    pub fn parse(text: &str) -> Option<Out> {
        let (name, namespace) = match text.split_once('@') {
            Some((name, namespace)) => (name, Some(namespace.to_owned())),
            None => (text, None),
        };
        let good = !name.is_empty() && name.len() <= 15 && namespace.as_deref() != Some("") && !name.contains('/');
        good.then(|| Out { namespace, name: name.to_owned() })
    }

    fn open(&self) -> std::io::Result<PacketSender> {
        Namespace::named(self.namespace.as_deref())?.run(|| PacketSender::open(&self.name))?
    }
}

/// Every way out.
#[derive(Debug, Default)]
pub struct Sending {
    pairs: BTreeMap<String, [Out; 2]>,
    beside: Option<Out>,
    open: BTreeMap<(Option<String>, String), PacketSender>,
    sent: u64,
}

impl Sending {
    /// By the ports of these pairs, each under the name of its queues' interface; and beside every tap by that one.
    pub fn new(pairs: BTreeMap<String, [Out; 2]>, beside: Option<Out>) -> Sending {
        Sending { pairs, beside, open: BTreeMap::new(), sent: 0 }
    }

    /// Is there any?
    pub fn is_possible(&self) -> bool {
        !self.pairs.is_empty() || self.beside.is_some()
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What a port of what was seen is called: a pair's two have names of their own.
    pub fn port_name<'a>(&'a self, interface: &'a str, port: u8) -> &'a str {
        self.pairs
            .get(interface)
            .map_or(interface, |[first, second]| if port == 0 { &first.name } else { &second.name })
    }

    /// Sends a frame to who is reached by that port of the interface that the flow was seen on. Beside a tap it leaves under the
    /// interface's own link address: no switch is to learn that a host had moved there.
    ///
    /// # Errors
    /// There is no way, or the interface does not take it.
    pub fn send(&mut self, interface: &str, port: u8, mut frame: Vec<u8>) -> Result<(), String> {
        let (out, is_pair) = match (self.pairs.get(interface), &self.beside) {
            (Some([first, second]), _) => (if port == 0 { first } else { second }, true),
            (None, Some(beside)) => (beside, false),
            (None, None) => return Err(format!("{interface}: {NO_WAY}")),
        };
        let key = (out.namespace.clone(), out.name.clone());
        let label = out.name.clone();
        let failed = |cause: std::io::Error| format!("send by {label}: {cause}");
        let mut latest = None;
        // One that was taken away and has come back is another one.
        for _ in 0..2 {
            if !self.open.contains_key(&key) {
                self.open.insert(key.clone(), out.open().map_err(failed)?);
            }
            let Some(sender) = self.open.get(&key) else { break };
            if !is_pair && let Some(card) = frame.get_mut(6..12) {
                card.copy_from_slice(&sender.card());
            }
            match sender.send(&frame) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err(cause) => latest = Some(cause),
            }
            self.open.remove(&key);
        }
        latest.map_or(Ok(()), |cause| Err(failed(cause)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_way_the_remedy_is_named() {
        let mut sending = Sending::default();
        let told = sending.send("eth1", 0, vec![0; 60]).unwrap_err();
        assert!(told.contains("reset_interface in [respond]") && !sending.is_possible(), "{told}");
        let out = Out::parse("no-such-one").unwrap();
        assert_eq!(Out::parse("eth2@lab"), Some(Out { namespace: Some("lab".into()), name: "eth2".into() }));
        assert!(
            ["", "@lab", "eth2@", "a/b", "a-name-that-is-too-long"].into_iter().all(|text| Out::parse(text).is_none())
        );
        let mut sending = Sending::new(BTreeMap::new(), Some(out));
        assert!(sending.is_possible() && sending.send("eth1", 0, vec![0; 60]).unwrap_err().contains("no-such-one"));
    }
}
