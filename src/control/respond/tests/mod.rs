//! Orders, kernel and restarts together, over a stand-in for the kernel's maps and a real file.

mod cover;
mod desk;
mod hostile;
mod kernel;
mod lasting;
mod orders;

use super::disk::Disk;
use super::intended::{Id, Response};
use super::kernel::Shared;
use super::order::{Mode, Order, OrderError, Outcome, Settings};
use super::protocols::{Once, Registry};
use super::responder::Responder;
use super::safety::{AllowList, Proof, Who};
use super::testing::Maps;
use super::{Now, audit, disk};
use crate::dataplane::verdict::Enforcer;
use crate::units::{SECOND, Timestamp};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// What was handed to the runner.
type Handed = Arc<Mutex<Vec<(Id, Box<dyn Once>)>>>;

/// When the tests begin: the kernel's clock is another than ours.
const BEGIN: u64 = 1_700_000_000 * SECOND;
const KERNEL: u64 = 500 * SECOND;

fn now(second: u64) -> Now {
    Now { wall: Timestamp(BEGIN + second * SECOND), kernel_ns: KERNEL + second * SECOND }
}

struct Bed {
    folder: tempfile::TempDir,
    maps: Option<Arc<Maps>>,
    responder: Responder,
    handed: Handed,
    settings: Settings,
}

fn allow() -> AllowList {
    let list = ["10.0.0.1", "10.9.0.0/16", "2001:db8::1"];
    let cards = [([2, 0, 0, 0, 0, 1], "a gateway".to_owned())];
    AllowList::new(list.map(|text| (text.parse().expect("a prefix"), "a test".to_owned())), cards)
}

fn open(folder: &std::path::Path, maps: Option<&Arc<Maps>>, settings: &Settings, at: u64) -> (Responder, Handed) {
    let (disk, found, unreadable) = Disk::open(&folder.join("r.db"), 1000).expect("a file");
    assert_eq!(unreadable, 0);
    let enforcer = maps.map(|maps| Arc::clone(maps) as Arc<dyn Enforcer>);
    let handed = Handed::default();
    let taken = Arc::clone(&handed);
    let runner = Box::new(move |id, once| {
        taken.lock().expect("a list").push((id, once));
        true
    });
    let registry = Registry::shipped(Vec::new(), Vec::new());
    let shared = Arc::new(Shared::new(enforcer));
    (Responder::new(settings.clone(), registry, allow(), (disk, found), shared, runner, now(at)), handed)
}

impl Bed {
    fn new() -> Bed {
        Bed::with(Settings::default(), Some(Maps::default()))
    }

    fn with(settings: Settings, maps: Option<Maps>) -> Bed {
        let folder = tempfile::tempdir().expect("a folder");
        let maps = maps.map(Arc::new);
        let (responder, handed) = open(folder.path(), maps.as_ref(), &settings, 0);
        Bed { folder, maps, responder, handed, settings }
    }

    fn maps(&self) -> &Maps {
        self.maps.as_deref().expect("maps")
    }

    /// The program ends, however, and begins again; the kernel's maps stay.
    fn restart(self, at: u64) -> Bed {
        let Bed { folder, maps, responder, settings, .. } = self;
        drop(responder);
        let (responder, handed) = open(folder.path(), maps.as_ref(), &settings, at);
        Bed { folder, maps, responder, handed, settings }
    }

    fn order(&mut self, order: &Order, at: u64) -> Result<(Response, Outcome), OrderError> {
        self.responder.order(order, now(at))
    }

    /// Subjects in the kernel, in words.
    fn kernel(&self) -> Vec<String> {
        let mut told: Vec<_> = self.maps().meddle(|entries| entries.keys().map(super::words::tell).collect());
        told.sort();
        told
    }

    /// Events of the audit, the earliest first.
    fn audit(&self) -> Vec<audit::Event> {
        let (rows, more) = disk::audit_page(&self.folder.path().join("r.db"), None, None, 1000).expect("the audit");
        assert!(!more);
        rows.into_iter().rev().map(|row| row.event).collect()
    }

    fn digest(&self) -> String {
        self.responder.shared.read().digest()
    }
}

fn block(prefix: &str, who: Who) -> Order {
    let mode = Mode::Do;
    let (protocol, parameters) = ("block_ip".into(), json!({ "prefix": prefix }));
    Order {
        protocol,
        parameters,
        ttl_ns: None,
        who,
        why: "a test".into(),
        evidence: vec!["a".into()],
        proof: Proof::Handshake,
        mode,
        patient: false,
    }
}

fn person() -> Who {
    Who::Person("op".into())
}

fn playbook() -> Who {
    Who::Playbook("guesses".into())
}
