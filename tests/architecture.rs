//! The arrows between modules, read from their `use` lines: packets flow one way, control knows the data plane, the data
//! plane knows nothing of control.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules in the order of the packet's way, ground floor first. A module may use those before it and itself.
const ORDER: [&str; 19] = [
    "units",
    "clock",
    "sys",
    "metrics",
    "dataplane::verdict",
    "dataplane::capture",
    "dataplane::decode",
    "dataplane::flow",
    "dataplane::inspect",
    "dataplane::features",
    "dataplane::score",
    "dataplane::detect",
    "exchange",
    "dataplane::worker",
    "control::view",
    "control",
    "config",
    "fuzzing",
    "cli",
];

/// Uses that go against the order, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 1] = [("control", "config", "the supervisor attaches what the plan names")];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable source folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Place of a module path in [`ORDER`], by its longest prefix there.
fn rank(path: &str) -> Option<(usize, &'static str)> {
    ORDER
        .iter()
        .enumerate()
        .filter(|(_, name)| path == **name || path.starts_with(&format!("{name}::")))
        .max_by_key(|(_, name)| name.len())
        .map(|(index, name)| (index, *name))
}

/// The paths of one `use crate::...;`, its outermost braces opened.
fn paths(statement: &str) -> Vec<String> {
    match statement.split_once('{') {
        None => vec![statement.to_owned()],
        Some((prefix, rest)) => {
            let mut depth = 0;
            let mut parts = vec![String::new()];
            for letter in rest.trim_end_matches('}').chars() {
                match letter {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        parts.push(String::new());
                        continue;
                    }
                    _ => {}
                }
                parts.last_mut().expect("one part at least").push(letter);
            }
            parts.iter().map(|part| format!("{prefix}{}", part.trim())).collect()
        }
    }
}

fn arrows(text: &str) -> Vec<String> {
    // Tests may look anywhere.
    let code = text.split("#[cfg(test)]").next().unwrap_or("");
    let mut found = Vec::new();
    for start in code.match_indices("use crate::").map(|(at, _)| at) {
        let statement = &code[start + "use crate::".len()..];
        let statement = statement.split(';').next().unwrap_or("").replace(['\n', ' '], "");
        found.extend(paths(&statement));
    }
    found
}

#[test]
fn no_module_uses_one_behind_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in &files {
        let relative = file.strip_prefix(&root).expect("below src").with_extension("");
        let name = relative.to_string_lossy().replace('/', "::");
        if name.ends_with("tests") || name.ends_with("testing") {
            continue;
        }
        let Some((own, own_name)) = rank(name.trim_end_matches("::mod")) else { continue };
        for arrow in arrows(&fs::read_to_string(file).expect("a readable source")) {
            let Some((other, other_name)) = rank(&arrow) else { continue };
            seen += 1;
            let excepted = EXCEPTIONS.iter().any(|(from, to, _)| own_name == *from && other_name == *to);
            if other > own && !excepted {
                wrong.push(format!("{} uses {arrow}", file.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} arrows were read: the reader of `use` lines is broken");
    assert!(wrong.is_empty(), "arrows against the packet's way:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_sees_an_upward_arrow() {
    let text = "use crate::control::{http, store};\nuse crate::units::Timestamp;\n#[cfg(test)] use crate::cli::x;";
    assert_eq!(arrows(text), ["control::http", "control::store", "units::Timestamp"]);
    assert!(rank("dataplane::decode::key") < rank("dataplane::flow"));
    assert!(rank("exchange") < rank("control::http"));
    assert_eq!(paths("dataplane::{flow::{A,B},decode::C}"), ["dataplane::flow::{A,B}", "dataplane::decode::C"]);
}

/// `unsafe` lives where the guide allows it, and nowhere else.
#[test]
fn unsafe_lives_in_sys_and_xdp_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let allowed = |file: &Path| {
        let path = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        path.starts_with("sys/") || path.starts_with("dataplane/capture/xdp/")
    };
    let wrong: Vec<_> = files
        .iter()
        .filter(|file| !allowed(file))
        .filter(|file| {
            let text = fs::read_to_string(file).expect("a readable source");
            text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or("");
                code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("allow(unsafe_code)")
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
