//! Cores: which there are, and pinning the calling thread.

/// Cores the calling thread may run on, ascending.
pub fn allowed_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Pins the calling thread to one core; `false` if the kernel refused.
pub fn pin_to(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Lets the calling thread, and the threads it starts from here on, run on these cores only; `false` if the kernel
/// refused or the list is empty.
pub fn restrict_to(cores: &[usize]) -> bool {
    // SAFETY: an all-zero `cpu_set_t` is a valid empty set (sched.h: a plain bit array).
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores.iter().filter(|core| **core < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index was checked against CPU_SETSIZE just above, so the bit lies within the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: pid 0 is the calling thread; the pointer and length describe `set`, which lives through the call.
    !cores.is_empty() && unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0 }
}
