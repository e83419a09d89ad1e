//! What the program on a port does with a frame, without the frame being on a wire: `BPF_PROG_TEST_RUN` of the very program that is
//! attached, with the very maps. It counts the frame as any other, so it must be one that the program decides alone: dropped by a
//! verdict, or shunted. Needs CAP_BPF.

use super::bpf::link_program;
use super::interface::pin_path;
use super::settings::InterfaceSettings;
use libbpf_rs::libbpf_sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// `XDP_DROP` of include/uapi/linux/bpf.h.
const DROP: u32 = 1;
/// `XDP_REDIRECT` of the same.
const REDIRECT: u32 = 4;

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rehearsed {
    /// Dropped.
    Dropped,
    /// It would go to the other port.
    Forwarded,
    /// Another action of XDP, by its number.
    Other(u32),
}

/// The program on a port.
pub struct Rehearsal {
    program: OwnedFd,
    id: u32,
}

impl Rehearsal {
    /// The program that is attached to a port of a pair.
    ///
    /// # Errors
    /// None is, or there is no right to it.
    pub fn of(port: &InterfaceSettings) -> io::Result<Rehearsal> {
        let link = super::bpf::object_get(&pin_path(port).join("link"))?;
        let id = link_program(link.as_fd()).ok_or_else(|| io::Error::other("the pinned link has no program"))?;
        let program = libbpf_rs::Program::fd_from_id(id).map_err(|cause| io::Error::other(cause.to_string()))?;
        Ok(Rehearsal { program, id })
    }

    /// The kernel's number of the program.
    pub fn program(&self) -> u32 {
        self.id
    }

    /// Runs it on a frame, once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn run(&self, frame: &[u8]) -> io::Result<Rehearsed> {
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: frame.as_ptr().cast(),
            data_size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
            repeat: 1,
            ..Default::default()
        };
        // SAFETY: `data_in` points to a live slice of the length given, no output buffers are set, the descriptor is open.
        let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(self.program.as_raw_fd(), &mut options) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        Ok(match options.retval {
            DROP => Rehearsed::Dropped,
            REDIRECT => Rehearsed::Forwarded,
            other => Rehearsed::Other(other),
        })
    }
}
