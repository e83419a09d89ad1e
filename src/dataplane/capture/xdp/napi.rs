//! NAPI's patience, for busy polling: `napi_defer_hard_irqs` and `gro_flush_timeout` of a device, and back.
//!
//! What was there before is noted in a pinned map, so that a start after a kill still knows it.

use super::program::{Note, Program};
use super::settings::BusyPoll;
use crate::sys::netns::Namespace;
use std::io;
use std::path::PathBuf;

fn files(name: &str) -> [PathBuf; 2] {
    ["napi_defer_hard_irqs", "gro_flush_timeout"].map(|file| PathBuf::from("/sys/class/net").join(name).join(file))
}

fn read(path: &PathBuf) -> io::Result<u64> {
    let text = std::fs::read_to_string(path)?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text:?}", path.display())))
}

/// Notes the present values, unless a former process noted them already, and sets ours.
pub(super) fn apply(program: &Program, namespace: &Namespace, name: &str, busy_poll: &BusyPoll) -> io::Result<()> {
    let [defer, flush] = files(name);
    namespace.run_with_sysfs(|| -> io::Result<()> {
        if program.noted(Note::NapiSaved) == 0 {
            program.note(Note::DeferHardIrqs, read(&defer)?);
            program.note(Note::GroFlushTimeout, read(&flush)?);
            program.note(Note::NapiSaved, 1);
        }
        std::fs::write(&defer, busy_poll.defer_hard_irqs.to_string())?;
        std::fs::write(&flush, busy_poll.gro_flush_timeout_ns.to_string())
    })?
}

/// Sets what was noted. A dead busy poller would leave the NIC's latency at the flush time-out.
pub(super) fn restore(program: &Program, namespace: &Namespace, name: &str) -> io::Result<()> {
    if program.noted(Note::NapiSaved) == 0 {
        return Ok(());
    }
    let (defer_before, flush_before) = (program.noted(Note::DeferHardIrqs), program.noted(Note::GroFlushTimeout));
    let [defer, flush] = files(name);
    namespace.run_with_sysfs(|| -> io::Result<()> {
        std::fs::write(&defer, defer_before.to_string())?;
        std::fs::write(&flush, flush_before.to_string())
    })??;
    program.note(Note::NapiSaved, 0);
    Ok(())
}
