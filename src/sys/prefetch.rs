//! Asking the CPU for a cache line ahead of use.

/// Requests the cache line that holds `value`, for reading and writing, into all levels. Never faults.
#[inline(always)]
pub fn line<T>(value: &T) {
    address(std::ptr::from_ref(value).cast());
}

/// Requests the cache line in which `items[index]` begins; `index` may be out of range.
#[inline(always)]
pub fn nth<T>(items: &[T], index: usize) {
    // Wrapping arithmetic makes an address, not a reference: no bounds check is needed for what is never read.
    address(items.as_ptr().wrapping_add(index).cast());
}

/// Requests both cache lines of `items[index]`, a value of up to 128 bytes; `index` may be out of range.
#[inline(always)]
pub fn nth_pair<T>(items: &[T], index: usize) {
    const { assert!(size_of::<T>() > 64 && size_of::<T>() <= 128) };
    let first = items.as_ptr().wrapping_add(index).cast::<i8>();
    address(first);
    address(first.wrapping_add(64));
}

#[inline(always)]
fn address(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `_mm_prefetch` demands nothing of the address (Intel SDM: a prefetch of any address never faults), and SSE
    // is part of the x86-64 baseline. Nobody can break it. Speed: staged lookups at 1 M flows, `benches/engine`.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
