//! Big-endian reads at offsets that the compiler checks.

/// Two bytes at `AT` of a block whose length is known, as a number.
#[inline(always)]
#[allow(clippy::indexing_slicing)] // in range by the assertion, which fails to compile otherwise
pub(super) fn be16<const AT: usize, const N: usize>(block: &[u8; N]) -> u16 {
    const { assert!(AT + 2 <= N) };
    u16::from_be_bytes([block[AT], block[AT + 1]])
}

/// Four bytes at `AT`.
#[inline(always)]
#[allow(clippy::indexing_slicing)] // as above
pub(super) fn be32<const AT: usize, const N: usize>(block: &[u8; N]) -> u32 {
    const { assert!(AT + 4 <= N) };
    u32::from_be_bytes([block[AT], block[AT + 1], block[AT + 2], block[AT + 3]])
}

/// Eight bytes at `AT`.
#[inline(always)]
#[allow(clippy::indexing_slicing)] // as above
pub(super) fn be64<const AT: usize, const N: usize>(block: &[u8; N]) -> u64 {
    const { assert!(AT + 8 <= N) };
    let [a, b, c, d] = [block[AT], block[AT + 1], block[AT + 2], block[AT + 3]];
    u64::from_be_bytes([a, b, c, d, block[AT + 4], block[AT + 5], block[AT + 6], block[AT + 7]])
}

/// Sixteen bytes at `AT`.
#[inline(always)]
pub(super) fn be128<const AT: usize, const N: usize>(block: &[u8; N]) -> u128 {
    const { assert!(AT + 16 <= N) };
    block.get(AT..).and_then(|rest| rest.first_chunk::<16>()).map_or(0, |chunk| u128::from_be_bytes(*chunk))
}

/// `COUNT` bytes at `AT`.
#[inline(always)]
pub(super) fn chunk<const AT: usize, const COUNT: usize, const N: usize>(block: &[u8; N]) -> &[u8; COUNT] {
    const { assert!(AT + COUNT <= N) };
    match block.get(AT..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => chunk,
        None => &[0; COUNT],
    }
}

/// `N` bytes of a frame from `at` on, if it holds them.
#[inline(always)]
pub(super) fn block<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>()
}
