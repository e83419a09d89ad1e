//! Small files that are always whole: written beside themselves, and then put in their place.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Writes the file, whole or not at all; what it held before stays until then. Waits for the disk.
///
/// # Errors
/// The disk's.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_there_is_replaced_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        for text in [&b"one"[..], b"another"] {
            put(&path, text).expect("a writable folder");
            assert_eq!(fs::read(&path).expect("it was written"), text);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        fs::create_dir(path.with_extension("json.new")).expect("a writable folder");
        put(&path, b"a third").expect_err("there is no room beside it");
        assert_eq!(fs::read(&path).expect("it was written"), b"another", "what was there");
    }
}
