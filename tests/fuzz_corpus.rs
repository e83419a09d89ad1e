//! Every file of the committed fuzz corpus through the entry that it was found with.

use shrike::fuzzing::TARGETS;
use std::path::Path;

#[test]
fn the_corpus_raises_no_alarm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let (mut files, mut bytes) = (0, 0);
    for (name, entry) in TARGETS {
        let mut found = 0;
        for file in std::fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("corpus of {name}: {error}")) {
            let path = file.expect("a directory can be read to its end").path();
            let data = std::fs::read(&path).expect("a corpus file can be read");
            eprintln!("{}", path.display());
            entry(&data);
            found += 1;
            bytes += data.len();
        }
        assert!(found > 0, "no corpus for {name}");
        files += found;
    }
    // The promise of `ci/fuzz.sh minimise`: small enough to live in the repository.
    assert!(files <= 900 && bytes < 900_000, "{files} files, {bytes} bytes");
}

#[test]
fn every_corpus_has_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for folder in std::fs::read_dir(corpus).expect("fuzz/corpus is there") {
        let name = folder.expect("a directory can be read to its end").file_name();
        assert!(TARGETS.iter().any(|target| *target.0 == *name), "{name:?} has no entry in shrike::fuzzing::TARGETS");
    }
}
