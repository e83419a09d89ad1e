//! A configuration file from its text to the plan, and the page that shows all of it.

use super::parse;

/// Every complaint names the place, the key and a remedy.
#[test]
fn complaints_name_line_column_and_remedy() {
    for (text, expected) in [
        ("[flow]\ncapacity = 3", "t.toml:2:12: `flow.capacity` is 3, allowed is 1024..=67108864"),
        ("[flow]\ncapasity = 3", "t.toml:2:1: unknown field `capasity`"),
        ("[flow]\ncapacity = \"x\"", "t.toml:2:12: `flow.capacity`: invalid type"),
        ("[flow\n", "t.toml:1:"),
        ("[[interface]]\nname = \"a\"\nmode = \"fast\"", "t.toml:3:8: `interface[0].mode` is \"fast\""),
        ("[[interface]]\nmode = \"auto\"", "`interface[0]` has the name \"\""),
        (
            "[[interface]]\nname = \"a\"\n[[interface]]\nname = \"a\"",
            "t.toml:4:8: `interface[1].name` names a a second time",
        ),
        (
            "[[interface]]\nname = \"a\"\nring = 1000",
            "t.toml:3:8: `interface[0].ring` is 1000, which is no power of two",
        ),
        ("[conn_log]\nformat = \"csv\"", "t.toml:2:10: `conn_log.format` is \"csv\", allowed is tsv, json"),
        ("[eve]\nrotate_hours = 9999", "t.toml:2:16: `eve.rotate_hours` is 9999"),
        ("[inspect]\nflow_events_burst = 0", "t.toml:2:21: `inspect.flow_events_burst` is 0, allowed is 1..=65536"),
        ("[inspect]\nsource_events_per_second = 15", "`inspect.source_events_per_second` is 15, allowed is 16..=65536"),
        ("[flow]\nhistory = -1", "t.toml:2:11: `flow.history` is -1"),
        ("[http]\nlisten = \"here\"", "t.toml:2:10: `http.listen` is \"here\""),
        ("[model]\nthreshold = 0.0", "t.toml:2:13: `model.threshold` is 0, allowed is 0.000001..=0.999999"),
        ("[model]\nthreshold = nan", "`model.threshold` is NaN"),
        ("[model]\nthreshold = 1.5", "t.toml:2:13: `model.threshold` is 1.5"),
        ("[capture]\ninstance = \"a.b\"", "t.toml:2:12: `capture.instance` is \"a.b\""),
        ("[capture]\ninstance = \"a23456789b23456789c23456789d23456789\"", "is no name for a directory of pins"),
        ("[workers]\ncores = [0, 0]", "t.toml:2:9: `workers.cores` names core 0 twice"),
        ("[[interface]]\nname = \"a\"\nqueues = [0, 0]", "t.toml:3:10: `interface[0].queues` names queue 0 twice"),
        ("[detect]\npending_entries = 0", "t.toml:2:19: `detect.pending_entries` is 0"),
        ("[detect]\npending_scores = 0", "t.toml:2:18: `detect.pending_scores` is 0"),
        ("[detect.scan]\ntheta0 = 0.1\ntheta1 = 0.9", "`detect.scan.theta1` is 0.9"),
        ("[detect.scan]\nalpha = 5.0", "t.toml:2:9: `detect.scan.alpha` is 5"),
        ("[detect.scan]\nsources = 0", "t.toml:2:11: `detect.scan.sources` is 0"),
        ("[detect.scan]\nhorizon_s = 0", "t.toml:2:13: `detect.scan.horizon_s` is 0"),
        ("[detect.flood]\ntargets = 0", "t.toml:2:11: `detect.flood.targets` is 0"),
        ("[detect.flood]\nmean_weight = 1.5", "`detect.flood.mean_weight` is 1.5"),
        ("[detect.model]\nflows = 17", "`detect.model.flows` is 17"),
        ("[http]\nhosts = [\"a\\u0000b\"]", "which is no host name"),
        ("[workers]\ncores = [9999]", "t.toml:2:9: `workers.cores` names core 9999"),
    ] {
        let error = parse("t.toml", text, std::iter::empty()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
        assert!(error.contains("\n  remedy: "), "{error}");
    }
    let error = parse("t.toml", "[flow]\ncapasity = 3", std::iter::empty()).unwrap_err();
    assert_eq!(error.remedy, "write `capacity` for `capasity`");
    assert!(error.to_string().contains("  2 | capasity = 3\n    | ^^^^^^^^"), "{error}");
}

#[test]
fn a_file_that_is_no_text_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrike.toml");
    std::fs::write(&path, b"[flow]\ncapacity = \xff\xfe3\n").unwrap();
    let error = crate::config::load(Some(&path), std::iter::empty()).unwrap_err();
    assert_eq!(error.place, Some((2, 12)));
    let text = error.to_string();
    assert!(text.contains("byte 18 is 0xff") && text.contains("iconv"), "{text}");
}

#[test]
fn environment_beats_file_beats_default() {
    let vars = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
    };
    let config = parse("t", "", std::iter::empty()).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:7470");
    let text = "[http]\nlisten = \"127.0.0.1:1\"\nconnections = 7";
    let config = parse("t", text, vars(&[("SHRIKE__HTTP__LISTEN", "127.0.0.1:2"), ("OTHER", "x")])).unwrap();
    assert_eq!((config.http.listen.port(), config.http.connections), (2, 7));
    let error = parse("t", text, vars(&[("SHRIKE__HTTP__LISTEM", "x")])).unwrap_err().to_string();
    assert!(error.contains("SHRIKE__HTTP__LISTEM"), "{error}");
    let error = parse("t", "", vars(&[("SHRIKE__FLOW__CAPACITY", "1")])).unwrap_err().to_string();
    assert!(error.starts_with("environment: `flow.capacity` is 1"), "{error}");
}

/// The TOML of the reference page.
fn reference() -> &'static str {
    let page = include_str!("../../CONFIG.md");
    page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("one block of TOML")
}

#[test]
fn the_reference_page_shows_the_defaults() {
    let written = parse("CONFIG.md", reference(), std::iter::empty()).unwrap_or_else(|error| panic!("{error}"));
    let default = parse("defaults", "", std::iter::empty()).expect("the defaults");
    assert_eq!(format!("{written:#?}"), format!("{default:#?}"));
}

/// An unknown key makes serde name every known one: each of them stands on the page.
#[test]
fn the_reference_page_names_every_key() {
    let sections = [
        "",
        "[[interface]]",
        "[[feed]]",
        "[capture]",
        "[workers]",
        "[flow]",
        "[inspect]",
        "[eve]",
        "[conn_log]",
        "[batch]",
        "[model]",
        "[alerts]",
        "[http]",
        "[respond]",
        "[[playbook]]",
        "[[webhook]]",
        "[[command]]",
        "[detect]",
        "[detect.scan]",
        "[detect.brute_force]",
        "[detect.flood]",
        "[detect.model]",
        "[detect.dns_tunnel]",
        "[detect.dga]",
        "[detect.beacon]",
        "[detect.exfiltration]",
        "[detect.intel]",
        "[detect.spoofing]",
        "[detect.lateral]",
        "[detect.tls_anomaly]",
        "[detect.slow_http]",
        "[detect.web_attack]",
        "[detect.request_flood]",
        "[detect.odd_flow]",
        "[detect.amplification]",
        "[detect.icmp_tunnel]",
        "[detect.doh_tunnel]",
        "[detect.growth]",
        "[detect.windows]",
    ];
    let mut seen = 0;
    for section in sections {
        let error = parse("t", &format!("{section}\nnosuchkey = 1\n"), std::iter::empty()).expect_err("an unknown key");
        for key in error.message.split('`').skip(3).step_by(2) {
            let on_page = reference().lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} "))
                    || line.starts_with(&format!("[{key}]"))
                    || line.contains(&format!("[{key}]"))
                    || line.contains(&format!(".{key}]"))
            });
            assert!(on_page, "CONFIG.md does not name `{key}` of {section}");
            seen += 1;
        }
    }
    assert!(seen > 80, "only {seen} keys were seen: the message of an unknown key has changed");
}
