//! Hints at an operating system. Each says where it comes from and how sure it is; none is more than a hint.

use super::host::Confidence;
use Confidence::{High, Low, Medium};

/// A hint: what, and how sure.
pub type Hint = (String, Confidence);

/// Windows by major, minor and build number, which clients and servers of one build share.
const WINDOWS: [(&str, u32, &str); 23] = [
    ("5.0", 0, "Windows 2000"),
    ("5.1", 0, "Windows XP"),
    ("5.2", 0, "Windows Server 2003 or XP x64"),
    ("6.0", 0, "Windows Vista or Server 2008"),
    ("6.1", 0, "Windows 7 or Server 2008 R2"),
    ("6.2", 0, "Windows 8 or Server 2012"),
    ("6.3", 0, "Windows 8.1 or Server 2012 R2"),
    ("10.0", 10240, "Windows 10 (1507)"),
    ("10.0", 10586, "Windows 10 (1511)"),
    ("10.0", 14393, "Windows 10 (1607) or Server 2016"),
    ("10.0", 15063, "Windows 10 (1703)"),
    ("10.0", 16299, "Windows 10 (1709)"),
    ("10.0", 17134, "Windows 10 (1803)"),
    ("10.0", 17763, "Windows 10 (1809) or Server 2019"),
    ("10.0", 18362, "Windows 10 (1903)"),
    ("10.0", 19041, "Windows 10 (2004 to 22H2)"),
    ("10.0", 20348, "Windows Server 2022"),
    ("10.0", 22000, "Windows 11 (21H2)"),
    ("10.0", 22621, "Windows 11 (22H2)"),
    ("10.0", 22631, "Windows 11 (23H2)"),
    ("10.0", 25398, "Windows Server (23H2)"),
    ("10.0", 26100, "Windows 11 (24H2) or Server 2025"),
    ("10.0", 18363, "Windows 10 (1909)"),
];

/// `6.1 build 7601 rev 15`, as NTLM tells it. Samba says 6.1 build 0.
pub fn ntlm(version: &str) -> Option<Hint> {
    let mut words = version.split(' ');
    let (number, build) = (words.next()?, words.nth(1)?.parse::<u32>().ok()?);
    if build == 0 {
        return Some(("Samba (Unix)".to_owned(), Medium));
    }
    let best =
        WINDOWS.iter().filter(|(known, from, _)| *known == number && *from <= build).max_by_key(|(_, from, _)| from);
    let (_, _, name) = best?;
    Some((format!("{name}, build {build}"), High))
}

/// Operating system as SMB 1 names it; `lan_manager` is the field behind it.
pub fn smb(native_os: &str, lan_manager: &str) -> Option<Hint> {
    match native_os {
        // Since 4.7 it says `Windows 6.1` to look like others; a distribution stands behind the version.
        _ if lan_manager.starts_with("Samba") => {
            Some(distribution(lan_manager).unwrap_or((format!("Unix with {lan_manager}"), High)))
        }
        _ if native_os.starts_with("Windows") => Some((native_os.to_owned(), High)),
        "Unix" => Some(("Unix".to_owned(), Medium)),
        _ => None,
    }
}

/// A kernel as `uname` tells it: `Linux 5.10.0-20-amd64 x86_64`.
pub fn kernel(text: &str) -> Option<Hint> {
    let mut words = text.split(' ');
    let (name, release) = (words.next()?, words.next()?);
    let known = ["Linux", "FreeBSD", "OpenBSD", "NetBSD", "Darwin", "Windows"].contains(&name);
    let is_release = release.starts_with(|first: char| first.is_ascii_digit());
    (known && is_release).then(|| (format!("{name} {release}"), High))
}

/// Distributions as SSH comments and packages name them.
pub fn distribution(text: &str) -> Option<Hint> {
    let debian = [
        ("deb13", "13"),
        ("deb12", "12"),
        ("deb11", "11"),
        ("deb10", "10"),
        ("deb9", "9"),
        ("deb8", "8"),
        ("deb7", "7"),
    ];
    let known = ["Ubuntu", "Raspbian", "Debian", "FreeBSD", "NetBSD", "CentOS", "Red Hat", "Fedora", "SUSE", "Amazon"];
    let lower = text.to_ascii_lowercase();
    let name = known.into_iter().find(|name| lower.contains(&name.to_ascii_lowercase()))?;
    let release = debian.iter().find(|(mark, _)| name == "Debian" && lower.contains(mark)).map(|(_, release)| *release);
    Some(match (name, release) {
        (name, Some(release)) => (format!("{name} {release}"), High),
        (name @ ("FreeBSD" | "NetBSD"), None) => (name.to_owned(), High),
        (name, None) => (format!("{name} Linux"), High),
    })
}

/// A web server's own words: what stands in parentheses, and IIS.
pub fn http_server(text: &str) -> Option<Hint> {
    if let Some(version) = text.strip_prefix("Microsoft-IIS/") {
        let name = match version {
            "5.0" => "Windows 2000",
            "5.1" => "Windows XP",
            "6.0" => "Windows Server 2003",
            "7.0" => "Windows Vista or Server 2008",
            "7.5" => "Windows 7 or Server 2008 R2",
            "8.0" => "Windows 8 or Server 2012",
            "8.5" => "Windows 8.1 or Server 2012 R2",
            "10.0" => "Windows 10, Server 2016 or later",
            _ => "Windows",
        };
        return Some((name.to_owned(), Medium));
    }
    if ["(Win32)", "(Win64)", "Microsoft-HTTPAPI"].iter().any(|mark| text.contains(mark)) {
        return Some(("Windows".to_owned(), Medium));
    }
    let comment = text.split_once('(')?.1.split(')').next()?;
    distribution(comment).map(|(name, _)| (name, Medium))
}

/// A browser's words, which programs and proxies forge, and which several devices behind one address share.
pub fn user_agent(text: &str) -> Option<Hint> {
    let between = |from: &str, ends: &[char]| {
        let rest = text.split_once(from)?.1;
        let end = rest.find(ends).unwrap_or(rest.len());
        rest.get(..end).map(|version| version.replace('_', ".")).filter(|version| version.len() < 16)
    };
    if let Some(version) = between("Windows NT ", &[';', ')']) {
        let name = match version.as_str() {
            "10.0" => "Windows 10 or 11",
            "5.1" => "Windows XP",
            other => WINDOWS.iter().find(|(known, ..)| *known == other).map_or("Windows", |(_, _, name)| *name),
        };
        return Some((name.to_owned(), Medium));
    }
    if let Some(version) = between("Android ", &[';', ')']) {
        return Some((format!("Android {version}"), Medium));
    }
    if let Some(version) = between("CPU iPhone OS ", &[' ', ')']).or_else(|| between("CPU OS ", &[' ', ')'])) {
        return Some((format!("iOS {version}"), Medium));
    }
    // What follows has been frozen for years.
    if text.contains("Mac OS X") {
        return Some(("macOS".to_owned(), Medium));
    }
    let marks = [("Ubuntu", "Ubuntu Linux"), ("CrOS", "ChromeOS"), ("Linux", "Linux")];
    marks.into_iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| (name.to_owned(), Low))
}

/// Vendor class and list of wanted options of a DHCP client.
pub fn dhcp(vendor_class: &str, parameters: &[u8]) -> Option<Hint> {
    if let Some(version) = vendor_class.strip_prefix("android-dhcp-") {
        return Some((format!("Android {version}"), High));
    }
    if let Some(rest) = vendor_class.strip_prefix("dhcpcd-") {
        let system = rest.split(':').nth(1).unwrap_or("Linux");
        return Some((system.replace('-', " "), Medium));
    }
    if vendor_class.starts_with("MSFT 5.0") {
        return Some(("Windows 2000 or later".to_owned(), Medium));
    }
    if vendor_class.starts_with("udhcp") {
        return Some(("Linux with BusyBox".to_owned(), Medium));
    }
    match parameters {
        [1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252] => Some(("Windows 10 or later".to_owned(), Low)),
        [1, 121, 3, 6, 15, 108 | 114 | 119, ..] => Some(("macOS or iOS".to_owned(), Low)),
        [1, 28, 2, 3, 15, 6, 119, 12, ..] => Some(("Linux (dhclient)".to_owned(), Low)),
        _ => None,
    }
}

/// `model=` of an Apple device's `_device-info._tcp`.
pub fn apple_model(model: &str) -> Option<Hint> {
    let marks = [
        ("MacBook", "macOS"),
        ("iMac", "macOS"),
        ("Macmini", "macOS"),
        ("MacPro", "macOS"),
        ("Mac", "macOS"),
        ("iPhone", "iOS"),
        ("iPad", "iPadOS"),
        ("AppleTV", "tvOS"),
        ("Watch", "watchOS"),
    ];
    let (_, system) = marks.into_iter().find(|(mark, _)| model.starts_with(mark))?;
    let plain =
        model.len() <= 40 && model.chars().all(|letter| letter.is_ascii_alphanumeric() || ", ".contains(letter));
    plain.then(|| (format!("{system} ({model})"), High))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hint: Option<Hint>) -> String {
        hint.map(|(text, sure)| format!("{text} / {sure:?}")).unwrap_or_default()
    }

    #[test]
    fn hints_say_what_and_how_sure() {
        for (hint, wanted) in [
            (ntlm("10.0 build 17763 rev 15"), "Windows 10 (1809) or Server 2019, build 17763 / High"),
            (ntlm("10.0 build 19045 rev 15"), "Windows 10 (2004 to 22H2), build 19045 / High"),
            (ntlm("6.1 build 7601 rev 15"), "Windows 7 or Server 2008 R2, build 7601 / High"),
            (ntlm("6.1 build 0 rev 15"), "Samba (Unix) / Medium"),
            (ntlm("nonsense"), ""),
            (
                smb("Windows 7 Professional 7601 Service Pack 1", "Windows 7 Professional 6.1"),
                "Windows 7 Professional 7601 Service Pack 1 / High",
            ),
            (smb("Unix", "Samba 3.0.20-Debian"), "Debian Linux / High"),
            (smb("Windows 6.1", "Samba 4.17.12-Debian"), "Debian Linux / High"),
            (smb("Windows 6.1", "Samba 4.9.5"), "Unix with Samba 4.9.5 / High"),
            (smb("Windows 6.1", ""), "Windows 6.1 / High"),
            (distribution("Debian-2+deb12u3"), "Debian 12 / High"),
            (distribution("Ubuntu-3ubuntu13.5"), "Ubuntu Linux / High"),
            (distribution("FreeBSD-20240701"), "FreeBSD / High"),
            (distribution("hello"), ""),
            (http_server("Apache/2.4.52 (Ubuntu)"), "Ubuntu Linux / Medium"),
            (http_server("Microsoft-IIS/8.5"), "Windows 8.1 or Server 2012 R2 / Medium"),
            (http_server("nginx"), ""),
            (user_agent("Mozilla/5.0 (Windows NT 6.1; WOW64)"), "Windows 7 or Server 2008 R2 / Medium"),
            (user_agent("Mozilla/5.0 (iPhone; CPU iPhone OS 16_5 like Mac OS X)"), "iOS 16.5 / Medium"),
            (user_agent("Mozilla/5.0 (Linux; Android 13; Pixel 7)"), "Android 13 / Medium"),
            (user_agent("Mozilla/5.0 (X11; Linux x86_64)"), "Linux / Low"),
            (user_agent("curl/8"), ""),
            (dhcp("MSFT 5.0", &[]), "Windows 2000 or later / Medium"),
            (dhcp("android-dhcp-13", &[]), "Android 13 / High"),
            (dhcp("dhcpcd-9.4.1:Linux-5.10.0:x86_64", &[]), "Linux 5.10.0 / Medium"),
            (dhcp("", &[1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252]), "Windows 10 or later / Low"),
            (dhcp("", &[1, 3]), ""),
            (apple_model("MacBookPro14,1"), "macOS (MacBookPro14,1) / High"),
            (apple_model("iPhone\u{1b}"), ""),
        ] {
            assert_eq!(told(hint), wanted);
        }
    }
}
