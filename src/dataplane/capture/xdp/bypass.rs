//! The program behind the program: on tcx, where the stack begins, it counts frames that reached the kernel unseen.
//!
//! A driver that is being set down takes the XDP program out of its queues a moment before it stops to poll them. What it
//! polls in between was received (the interface counts it) and met no program of ours. Measured on veth (Linux 6.18): one
//! frame in about every second run of `tests/live_run.rs`, which flaps four times at 50 000 frames/s, and 7 to 16 in a run
//! of `tests/live_flap.rs`, which does nothing else. Needs Linux 6.6; without it the rest works, and the status says that
//! such frames are not counted.
//!
//! In native mode only. In generic mode the program hangs on the device and not on its queues, so nothing gets past it; and
//! the kernel forgets the length of the Ethernet header where it copied a frame for a generic program that takes fragments
//! (`skb_pp_cow_data` leaves `mac_len` 0, Linux 6.18), so that tcx looks for the mark in the wrong place.

use super::bpf::{link_create, link_detach, link_index, object_get, object_pin, program_tag, program_tag_of_link};
use super::program::remove_if_there;
use libbpf_rs::libbpf_sys;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `BPF_F_BEFORE` (include/uapi/linux/bpf.h): in front of programs that might drop frames.
const BEFORE_ALL: u32 = 1 << 3;

/// The counting program and where it is attached.
#[derive(Debug)]
pub(super) struct Bypass {
    program: OwnedFd,
    pin: PathBuf,
    link: Option<OwnedFd>,
}

impl Bypass {
    /// Not yet attached; its link is pinned in `directory`.
    pub(super) fn new(program: OwnedFd, directory: &Path) -> Bypass {
        Bypass { program, pin: directory.join("bypass"), link: None }
    }

    /// Attaches to the interface of that index in the calling thread's namespace, or keeps what is attached there. Call
    /// it when the XDP program is in place: what came before that is no bypass.
    pub(super) fn attach(&mut self, index: u32, maps_taken_over: bool) -> io::Result<()> {
        if let Some(link) = self.link.take().or_else(|| object_get(&self.pin).ok()) {
            let same_code = program_tag_of_link(link.as_fd()) == program_tag(self.program.as_fd());
            if maps_taken_over && same_code && link_index(link.as_fd()) == Some(index) {
                self.link = Some(link);
                return Ok(());
            }
            self.link = Some(link);
            self.detach()?;
        }
        let link = link_create(self.program.as_fd(), index, libbpf_sys::BPF_TCX_INGRESS, BEFORE_ALL)?;
        object_pin(link.as_fd(), &self.pin)?;
        self.link = Some(link);
        Ok(())
    }

    /// Takes it off, also what a former process left; before the XDP program goes, or all that comes then would be a
    /// bypass.
    pub(super) fn detach(&mut self) -> io::Result<()> {
        if let Some(link) = self.link.take().or_else(|| object_get(&self.pin).ok()) {
            link_detach(link.as_fd());
        }
        remove_if_there(&self.pin)
    }
}
