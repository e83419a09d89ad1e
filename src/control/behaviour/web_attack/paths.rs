//! What a path that is not there was: a guess, a part of a page, or a page that once was.

use super::super::count::hash;

/// Endings of what pages are made of: a browser asks for each that a page names, there or not.
const PARTS: [&[u8]; 24] = [
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"avif", b"bmp", b"ico", b"css", b"js", b"mjs", b"map", b"woff",
    b"woff2", b"ttf", b"otf", b"eot", b"mp3", b"mp4", b"webm", b"ogg", b"m4s", b"ts",
];
/// Letters and digits of a name that a machine made, and of one that is a title, at least; signs between a title's words.
const MADE_MIN: usize = 16;
const TITLE_MIN: usize = 16;
const TITLE_SIGNS: usize = 2;

/// What a path (without its query) is a guess at, hashed: parts of pages in one directory are one, and names that differ in
/// numbers below a directory. `None` of titles (`a-page-about-paths`) and of names that machines made: people guess at words.
pub fn guess(path: &[u8]) -> Option<u64> {
    let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (directory, name) = path.split_at_checked(at)?;
    let (stem, ending) = match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => name.split_at_checked(dot)?,
        _ => (name, &[][..]),
    };
    let ending = ending.get(1..).unwrap_or_default();
    if PARTS.iter().any(|part| ending.eq_ignore_ascii_case(part)) {
        return Some(hash((directory, "part")));
    }
    let is_made = |segment: &[u8]| {
        segment.len() >= MADE_MIN
            && segment.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
            && segment.iter().any(u8::is_ascii_digit)
    };
    let signs = stem.iter().filter(|byte| matches!(byte, b'-' | b'_')).count();
    let is_title = stem.len() >= TITLE_MIN && signs >= TITLE_SIGNS;
    if is_title || path.split(|byte| matches!(byte, b'/' | b'.')).any(is_made) {
        return None;
    }
    if directory.len() <= 1 {
        return Some(hash((directory, name)));
    }
    let words: Vec<u8> = stem.iter().copied().filter(|byte| !byte.is_ascii_digit()).collect();
    Some(hash((directory, words, ending)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_guesses_and_what_pages_name_is_none() {
        let all = |paths: &[&str]| {
            let mut guesses: Vec<_> = paths.iter().filter_map(|path| guess(path.as_bytes())).collect();
            guesses.sort_unstable();
            guesses.dedup();
            guesses.len()
        };
        for (wanted, paths) in [
            (4, &["/admin", "/backup", "/admin.php", "/.git"][..]),
            (3, &["/app/admin", "/app/backup", "/admin"]),
            (2, &["/admin1.php", "/admin2.php"]),
            (1, &["/img/a.png", "/img/b.jpg", "/img/c.CSS"]),
            (2, &["/img/a.png", "/css/b.css"]),
            (1, &["/api/item/17", "/api/item/18"]),
            (1, &["/old/page-17.html", "/old/page-18.html"]),
            (0, &["/blog/2019/a-page-about-paths", "/buildid/0123456789abcdef0123/debuginfo"]),
            (1, &["", "/"][1..]),
        ] {
            assert_eq!(all(paths), wanted, "{paths:?}");
        }
    }
}
