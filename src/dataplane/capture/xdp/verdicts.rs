//! Verdicts in the kernel: the maps that the programs of all pairs of an instance share, pinned beside them.
//!
//! Layouts are those of `src/bpf/verdict.h`. Addresses lie in the maps as IPv6 (IPv4 as ::ffff:a.b.c.d) but for the prefixes, which
//! have a trie each: one of 32 bits is walked in a third of the steps of one of 128.

use crate::dataplane::verdict::{
    Action, Enforcer, FlowSubject, Hits, Rule, Shunted, Shunter, Side, Signature, Subject, VerdictError,
};
use crate::sys::mapping::SharedCells;
use crate::sys::monotonic;
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

pub(super) const COUNTS: &str = "verdict_counts";
/// The maps, in the order of [`Kind`] and of `struct verdict_counts`; how the operator names their size; bytes of a key.
pub(super) const MAPS: [(&str, &str, u32); 5] = [
    ("verdict_macs", "hosts", 8),
    ("verdict_flows", "flows", 56),
    ("verdict_signatures", "signatures", 24),
    ("verdict_prefixes_4", "prefixes", 8),
    ("verdict_prefixes_6", "prefixes", 20),
];
/// Sources that proved themselves.
pub(super) const PROVEN: &str = "verdict_proven";
/// Bytes of `struct verdict`.
pub(super) const VALUE: usize = 72;
/// Where in it what it met lies.
const MET: std::ops::Range<usize> = 32..64;
/// Cells of `struct verdict_counts`.
pub(super) const COUNT_CELLS: usize = 8;
/// Prefixes given to the kernel in one call: one of a million takes a second in which nobody else writes.
const CHUNK: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Macs,
    Flows,
    Signatures,
    Prefixes4,
    Prefixes6,
}

const KINDS: [Kind; 5] = [Kind::Macs, Kind::Flows, Kind::Signatures, Kind::Prefixes4, Kind::Prefixes6];

/// The maps of one instance, opened.
pub struct Verdicts {
    maps: [MapHandle; 5],
    proven: MapHandle,
    counts: SharedCells,
    /// Held by who keeps the set: nobody else puts verdicts into these maps.
    _lock: Option<UnixDatagram>,
}

impl Verdicts {
    /// Opens what is pinned in [`super::verdict_path`].
    ///
    /// # Errors
    /// Nothing is pinned there: no pair is attached.
    pub fn open(directory: &Path) -> io::Result<Verdicts> {
        let open = |name: &str| {
            MapHandle::from_pinned_path(directory.join(name)).map_err(|error| io::Error::other(error.to_string()))
        };
        let counts = SharedCells::map(open(COUNTS)?.as_fd(), COUNT_CELLS)?;
        let [macs, flows, signatures, prefixes_4, prefixes_6] = MAPS.map(|(name, ..)| open(name));
        let maps = [macs?, flows?, signatures?, prefixes_4?, prefixes_6?];
        Ok(Verdicts { maps, proven: open(PROVEN)?, counts, _lock: None })
    }

    /// With what keeps others out while it lives.
    pub(super) fn held(self, lock: UnixDatagram) -> Verdicts {
        Verdicts { _lock: Some(lock), ..self }
    }

    fn map(&self, kind: Kind) -> &MapHandle {
        &self.maps[kind as usize]
    }

    fn count(&self, kind: Kind) -> Option<&AtomicU64> {
        self.counts.cells().get(kind as usize)
    }

    /// The value of exactly that subject.
    fn exactly(&self, subject: &Subject) -> Result<Option<Vec<u8>>, VerdictError> {
        let (kind, key) = key_of(subject);
        let found = self.map(kind).lookup(&key, MapFlags::ANY).map_err(|error| kernel("look a verdict up", &error))?;
        Ok(found.filter(|value| match subject {
            // A trie answers with the longest prefix that there is.
            Subject::Prefix(_, bits) => value.get(14..16) == Some(&u16::from(*bits).to_ne_bytes()[..]),
            _ => true,
        }))
    }

    /// Takes out every flow that is shunted.
    pub(super) fn forget_shunts(&self) -> Result<(), VerdictError> {
        let is_shunt = |(_, rule, _): &(Subject, Rule, Hits)| rule.action == Action::Shunt;
        let shunts: Vec<_> =
            self.list_of(Kind::Flows)?.into_iter().filter(is_shunt).map(|(subject, ..)| subject).collect();
        self.remove(&shunts)
    }

    fn put_one(&self, subject: &Subject, rule: &Rule) -> Result<(), VerdictError> {
        let (kind, key) = key_of(subject);
        let map = self.map(kind);
        let before = self.exactly(subject)?;
        let mut value = value_of(subject, rule);
        if let Some(before) = &before {
            // What it met stays; what comes between these two calls is counted in the program's own books only.
            value[MET].copy_from_slice(before.get(MET).unwrap_or(&[0; 32]));
        } else if let Some(count) = self.count(kind) {
            count.fetch_add(1, Relaxed);
        }
        map.update(&key, &value, MapFlags::ANY).map_err(|error| {
            if before.is_none()
                && let Some(count) = self.count(kind)
            {
                count.fetch_sub(1, Relaxed);
            }
            self.full_or(subject, kind, &error)
        })
    }

    /// Many prefixes of one family, which is what a long list is, by chunks. What those that are there met stays.
    fn put_many(&self, kind: Kind, verdicts: &[(Subject, Rule)]) -> Result<(), VerdictError> {
        // One given twice is one entry, with the latter rule.
        let verdicts: BTreeMap<Subject, Rule> = verdicts.iter().copied().collect();
        let verdicts: Vec<_> = verdicts.into_iter().collect();
        let held = self.count(kind).map_or(0, |count| count.load(Relaxed));
        // Reading an entry of a list takes an eighth of asking for it.
        let reads_all = held / 8 <= verdicts.len() as u64;
        let listed: Option<HashMap<Vec<u8>, Vec<u8>>> =
            reads_all.then(|| self.entries(kind).map(Iterator::collect)).transpose()?;
        for chunk in verdicts.chunks(CHUNK) {
            let (mut keys, mut values) = (Vec::with_capacity(CHUNK * 20), Vec::with_capacity(CHUNK * VALUE));
            let mut new = 0;
            for (subject, rule) in chunk {
                let (_, key) = key_of(subject);
                let mut value = value_of(subject, rule);
                let asked = if reads_all { None } else { self.exactly(subject)? };
                match listed
                    .as_ref()
                    .and_then(|listed| listed.get(&key))
                    .or(asked.as_ref())
                    .and_then(|before| before.get(MET))
                {
                    Some(met) => value[MET].copy_from_slice(met),
                    None => new += 1,
                }
                keys.extend(key);
                values.extend(value);
            }
            // Before they are there: a map that is looked at in vain does no harm, one that is not looked at does.
            if let Some(cell) = self.count(kind) {
                cell.fetch_add(new, Relaxed);
            }
            let count = u32::try_from(chunk.len()).unwrap_or(0);
            if let Err(error) = self.map(kind).update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY) {
                let held = self.entries(kind)?.count() as u64;
                if let Some(cell) = self.count(kind) {
                    cell.store(held, Relaxed);
                }
                return Err(chunk.first().map_or_else(
                    || kernel("put verdicts in", &error),
                    |(subject, _)| self.full_or(subject, kind, &error),
                ));
            }
        }
        Ok(())
    }

    fn list_of(&self, kind: Kind) -> Result<Vec<(Subject, Rule, Hits)>, VerdictError> {
        let mut all = Vec::new();
        let mut add = |key: &[u8], value: &[u8]| {
            if let (Some(subject), Some((rule, hits))) = (subject_of(kind, key), rule_of(value)) {
                all.push((subject, rule, hits));
            }
        };
        if matches!(kind, Kind::Prefixes4 | Kind::Prefixes6) {
            self.entries(kind)?.for_each(|(key, value)| add(&key, &value));
        } else {
            let map = self.map(kind);
            for key in map.keys() {
                let value = map.lookup(&key, MapFlags::ANY).map_err(|error| kernel("list the verdicts", &error))?;
                if let Some(value) = value {
                    add(&key, &value);
                }
            }
        }
        Ok(all)
    }

    /// Keys and values of a map of prefixes.
    fn entries(&self, kind: Kind) -> Result<impl Iterator<Item = (Vec<u8>, Vec<u8>)>, VerdictError> {
        let map = self.map(kind);
        // A trie that holds nothing refuses to be read in batches.
        let is_empty = self.count(kind).is_some_and(|count| count.load(Relaxed) == 0) || map.keys().next().is_none();
        let batches = (!is_empty).then(|| map.lookup_batch(CHUNK as u32, MapFlags::ANY, MapFlags::ANY)).transpose();
        Ok(batches.map_err(|error| kernel("list the verdicts", &error))?.into_iter().flatten())
    }

    fn full_or(&self, subject: &Subject, kind: Kind, error: &libbpf_rs::Error) -> VerdictError {
        let cause = io_error(error);
        match cause.raw_os_error() {
            Some(libc::E2BIG | libc::ENOSPC) => VerdictError::Full {
                subject: *subject,
                kind: MAPS[kind as usize].1,
                capacity: self.map(kind).max_entries(),
            },
            _ => VerdictError::Kernel { operation: "put a verdict in", cause },
        }
    }
}

impl Enforcer for Verdicts {
    fn put(&self, verdicts: &[(Subject, Rule)]) -> Result<(), VerdictError> {
        for (subject, rule) in verdicts {
            check(subject, rule)?;
        }
        let is_of = |kind| move |(subject, _): &&(Subject, Rule)| key_of(subject).0 == kind;
        for kind in KINDS {
            let of_kind: Vec<(Subject, Rule)> = verdicts.iter().filter(is_of(kind)).copied().collect();
            let is_long = of_kind.len() > 16 && matches!(kind, Kind::Prefixes4 | Kind::Prefixes6);
            if is_long {
                self.put_many(kind, &of_kind)?;
            } else {
                of_kind.iter().try_for_each(|(subject, rule)| self.put_one(subject, rule))?;
            }
        }
        Ok(())
    }

    fn remove(&self, subjects: &[Subject]) -> Result<(), VerdictError> {
        for subject in subjects {
            let (kind, key) = key_of(subject);
            match self.map(kind).delete(&key) {
                Ok(()) => {
                    if let Some(count) = self.count(kind) {
                        let _ = count.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(kernel("take a verdict out", &error)),
            }
        }
        Ok(())
    }

    fn vouch(&self, source: IpAddr, until_ns: u64) -> Result<(), VerdictError> {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&until_ns.to_ne_bytes());
        let vouched = self.proven.update(&mapped(source), &value, MapFlags::ANY);
        vouched.map_err(|error| kernel("vouch for a source", &error))
    }

    fn get(&self, subject: &Subject) -> Result<Option<(Rule, Hits)>, VerdictError> {
        Ok(self.exactly(subject)?.and_then(|value| rule_of(&value)))
    }

    fn list(&self) -> Result<Vec<(Subject, Rule, Hits)>, VerdictError> {
        let mut all = Vec::new();
        for kind in KINDS {
            all.append(&mut self.list_of(kind)?);
        }
        Ok(all)
    }
}

impl Shunter for Verdicts {
    fn shunt(&self, flow: &FlowSubject, until_ns: u64) -> Result<(), VerdictError> {
        self.put(&[(Subject::Flow(*flow), Rule { action: Action::Shunt, side: Side::Both, until_ns })])
    }

    fn shunted(&self, flow: &FlowSubject) -> Result<Option<Shunted>, VerdictError> {
        let Some(value) = self.exactly(&Subject::Flow(*flow))? else { return Ok(None) };
        let long = |at: usize| value.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_ne_bytes(*bytes));
        let read = || {
            let (rule, hits) = rule_of(&value).filter(|(rule, _)| rule.action == Action::Shunt)?;
            // `due_ns` and `ahead_ns` of `struct verdict`: of the greater end.
            let [packets, bytes] = [long(32)?, long(24)?];
            Some(Shunted {
                in_force: monotonic::now_ns() < rule.until_ns,
                packets: [hits.packets.saturating_sub(packets), packets],
                bytes: [hits.bytes.saturating_sub(bytes), bytes],
                last_ns: hits.last_ns,
            })
        };
        Ok(read())
    }

    fn unshunt(&self, flow: &FlowSubject) -> Result<(), VerdictError> {
        self.remove(&[Subject::Flow(*flow)])
    }
}

/// Refuses what cannot be meant.
fn check(subject: &Subject, rule: &Rule) -> Result<(), VerdictError> {
    let meaningless = |problem| Err(VerdictError::Meaningless { subject: *subject, problem });
    match (subject, rule.action) {
        (Subject::Mac(card), _) if card[0] & 1 != 0 => meaningless("a group or broadcast address is nobody's card"),
        (Subject::Mac(_) | Subject::Flow(_) | Subject::Signature(_), Action::Pass) => {
            meaningless("only a prefix can be an exception")
        }
        (Subject::Mac(_) | Subject::Signature(_) | Subject::Prefix(..), Action::Shunt) => {
            meaningless("only a flow can be shunted")
        }
        (Subject::Flow(_) | Subject::Signature(_), Action::Isolate) => meaningless("only a host can be isolated"),
        (_, Action::Limit { per_second: 0, .. } | Action::Limit { burst: 0, .. }) => {
            meaningless("a rate of nothing is a drop: say so")
        }
        (Subject::Prefix(address, bits), _) if !is_prefix(*address, *bits) => {
            meaningless("the address has bits beyond the prefix, or the prefix is too long")
        }
        _ => Ok(()),
    }
}

fn is_prefix(address: IpAddr, bits: u8) -> bool {
    match address {
        IpAddr::V4(address) => bits <= 32 && u32::from(address).checked_shl(u32::from(bits)).unwrap_or(0) == 0,
        IpAddr::V6(address) => bits <= 128 && u128::from(address).checked_shl(u32::from(bits)).unwrap_or(0) == 0,
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn unmapped(bytes: &[u8]) -> Option<IpAddr> {
    let address = Ipv6Addr::from(*bytes.first_chunk::<16>()?);
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

fn end_bytes((address, port): (IpAddr, u16)) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&mapped(address));
    bytes[16..18].copy_from_slice(&port.to_be_bytes());
    bytes
}

/// Which map, and the key there.
fn key_of(subject: &Subject) -> (Kind, Vec<u8>) {
    match subject {
        Subject::Mac(card) => (Kind::Macs, [&card[..], &[0, 0]].concat()),
        Subject::Flow(flow) => {
            let mut ends = flow.ends().map(end_bytes);
            ends.sort_unstable();
            (Kind::Flows, [&ends[0][..], &ends[1], &u64::from(flow.protocol()).to_ne_bytes()].concat())
        }
        Subject::Signature(Signature { destination, protocol, port, only_syn }) => {
            let rest = [*protocol, u8::from(*only_syn), 0, 0, 0, 0];
            (Kind::Signatures, [&mapped(*destination)[..], &port.to_be_bytes(), &rest].concat())
        }
        Subject::Prefix(IpAddr::V4(address), bits) => {
            (Kind::Prefixes4, [u32::from(*bits).to_ne_bytes(), address.octets()].concat())
        }
        Subject::Prefix(IpAddr::V6(address), bits) => {
            (Kind::Prefixes6, [&u32::from(*bits).to_ne_bytes()[..], &address.octets()].concat())
        }
    }
}

fn subject_of(kind: Kind, key: &[u8]) -> Option<Subject> {
    let port = |bytes: &[u8]| bytes.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes));
    let bits = || key.first_chunk::<4>().and_then(|bytes| u8::try_from(u32::from_ne_bytes(*bytes)).ok());
    Some(match kind {
        Kind::Macs => Subject::Mac(*key.first_chunk::<6>()?),
        Kind::Flows => {
            let end = |at: usize| Some((unmapped(key.get(at..)?)?, port(key.get(at + 16..)?)?));
            Subject::Flow(FlowSubject::new(end(0)?, end(24)?, *key.get(48)?))
        }
        Kind::Signatures => Subject::Signature(Signature {
            destination: unmapped(key)?,
            port: port(key.get(16..)?)?,
            protocol: *key.get(18)?,
            only_syn: *key.get(19)? != 0,
        }),
        Kind::Prefixes4 => Subject::Prefix(IpAddr::V4(Ipv4Addr::from(*key.get(4..)?.first_chunk::<4>()?)), bits()?),
        Kind::Prefixes6 => Subject::Prefix(IpAddr::V6(Ipv6Addr::from(*key.get(4..)?.first_chunk::<16>()?)), bits()?),
    })
}

fn value_of(subject: &Subject, rule: &Rule) -> [u8; VALUE] {
    let (action, interval, ahead): (u32, u64, u64) = match rule.action {
        Action::Drop => (1, 0, 0),
        Action::Limit { per_second, burst } => {
            let interval = 1_000_000_000 / u64::from(per_second.max(1));
            (2, interval, interval.saturating_mul(u64::from(burst.max(1) - 1)))
        }
        Action::Shunt => (3, 0, 0),
        Action::Pass => (4, 0, 0),
        Action::Isolate => (5, 0, 0),
    };
    let bits = if let Subject::Prefix(_, bits) = subject { u16::from(*bits) } else { 0 };
    let (per_second, burst) =
        if let Action::Limit { per_second, burst } = rule.action { (per_second, burst) } else { (0, 0) };
    let sides: u16 = match rule.side {
        Side::Source => 1,
        Side::Destination => 2,
        Side::Both => 3,
    };
    let mut value = [0; VALUE];
    value[..8].copy_from_slice(&rule.until_ns.to_ne_bytes());
    value[8..12].copy_from_slice(&action.to_ne_bytes());
    value[12..14].copy_from_slice(&sides.to_ne_bytes());
    value[14..16].copy_from_slice(&bits.to_ne_bytes());
    value[16..24].copy_from_slice(&interval.to_ne_bytes());
    value[24..32].copy_from_slice(&ahead.to_ne_bytes());
    value[64..68].copy_from_slice(&per_second.to_ne_bytes());
    value[68..].copy_from_slice(&burst.to_ne_bytes());
    value
}

fn rule_of(value: &[u8]) -> Option<(Rule, Hits)> {
    let long = |at: usize| value.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_ne_bytes(*bytes));
    let short = |at: usize| value.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes));
    let action = match short(8)? {
        1 => Action::Drop,
        2 => Action::Limit { per_second: short(64)?, burst: short(68)? },
        3 => Action::Shunt,
        4 => Action::Pass,
        5 => Action::Isolate,
        _ => return None,
    };
    let side = match short(12)? as u16 {
        1 => Side::Source,
        2 => Side::Destination,
        _ => Side::Both,
    };
    let hits = Hits { packets: long(40)?, bytes: long(48)?, last_ns: long(56)? };
    Some((Rule { action, side, until_ns: long(0)? }, hits))
}

/// The operating system's error inside one of libbpf-rs's, whose words end in `(os error N)`.
pub(super) fn io_error(error: &libbpf_rs::Error) -> io::Error {
    let words = error.to_string();
    let number = words.rsplit_once("(os error ").and_then(|(_, rest)| rest.trim_end_matches(')').parse().ok());
    number.map_or_else(|| io::Error::other(words), io::Error::from_raw_os_error)
}

fn kernel(operation: &'static str, error: &libbpf_rs::Error) -> VerdictError {
    VerdictError::Kernel { operation, cause: io_error(error) }
}
