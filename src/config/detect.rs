//! Ranges of `[detect]`: values with which a detector could never alarm, or would always.

use super::error::Invalid;
use crate::control::behaviour::{
    adaptive, amplification, beacon, dga, dns_tunnel, doh_tunnel, exfiltration, growth, icmp_tunnel, intel, lateral,
    odd_flow, request_flood, slow_http, spoofing, tls_anomaly, web_attack,
};
use crate::control::hosts;
use crate::control::windows::{schema, stage};
use crate::dataplane::detect::distinct::SATURATED;
use crate::dataplane::detect::{brute_force, flood, model, scan};
use crate::dataplane::features;

/// Least entries of a bounded map: a smaller one forgets faster than it learns.
const MAP_MIN: f64 = 16.0;
/// Least (entity, window) pairs that may wait: one second of a small network.
const PENDING_MIN: f64 = 1024.0;

/// Distinct values: one at least, and no more than a bitmap can tell.
const DISTINCT: (f64, f64) = (1.0, SATURATED);
/// What must be more than nothing, up to more than any wire brings.
const COUNT: (f64, f64) = (1.0, 1e9);
/// As [`COUNT`], where nothing is a meaning too.
const FLOOR: (f64, f64) = (0.0, 1e9);
/// Distinct names: fewer than a page's are everybody's, more than these nobody counts.
const NAMES: (f64, f64) = (10.0, 5000.0);
/// Made-up names: one is a typing error, and a host has counters for so many.
const NAMES_MADE_UP: (f64, f64) = (2.0, 1000.0);
/// Bits of surprise a letter: between what any word and what no letters have.
const BITS: (f64, f64) = (1.0, 20.0);
/// Bytes within an hour: less is any page, more no link carries.
const BYTES_OUT: (f64, f64) = (1e4, 1e15);
/// Spreads above the usual.
const Z: (f64, f64) = (0.5, 100.0);
const CHANCE: (f64, f64) = (1e-6, 1.0 - 1e-6);
/// Of something to something else; at one, everything is as much.
const RATIO: (f64, f64) = (1.0, 1000.0);
/// By which something grows: less than a twentieth is every day's.
const FACTOR: (f64, f64) = (1.05, 1000.0);
/// Seconds in which a bucket forgets one: down to what it reckons with, up to a day.
const LEAK: (f64, f64) = (1e-3, 86_400.0);
/// Longer than a day is no memory but a leak.
const HORIZON: (f64, f64) = (1.0, 86_400.0);
/// Most entries of a bounded map.
const MAP_MAX: f64 = (1_u64 << 26) as f64;

/// Checks every value.
///
/// # Errors
/// The first one outside its range.
pub(super) fn check(detect: &hosts::Settings) -> Result<(), Invalid> {
    // All fields by name, here and below: a new one does not compile before it has a range.
    let hosts::Settings {
        scan,
        brute_force,
        flood,
        model,
        pending_entries,
        pending_scores,
        behaviour: _,
        pending_observations,
        dns_tunnel,
        dga,
        beacon,
        exfiltration,
        intel,
        spoofing,
        lateral,
        tls_anomaly,
        slow_http,
        web_attack,
        request_flood,
        odd_flow,
        amplification,
        icmp_tunnel,
        doh_tunnel,
        growth,
        windows,
    } = detect;
    within("pending_entries", *pending_entries as f64, (PENDING_MIN, MAP_MAX))?;
    within("pending_scores", *pending_scores as f64, (PENDING_MIN, MAP_MAX))?;
    within("pending_observations", *pending_observations as f64, (PENDING_MIN, MAP_MAX))?;
    check_dns_tunnel(dns_tunnel)?;
    check_exfiltration(exfiltration)?;
    check_beacon(beacon)?;
    check_dga(dga)?;
    check_intel(intel)?;
    check_spoofing(spoofing)?;
    check_lateral(lateral)?;
    check_tls_anomaly(tls_anomaly)?;
    check_slow_http(slow_http)?;
    check_web_attack(web_attack)?;
    check_request_flood(request_flood)?;
    check_odd_flow(odd_flow)?;
    check_amplification(amplification)?;
    check_icmp_tunnel(icmp_tunnel)?;
    check_doh_tunnel(doh_tunnel)?;
    check_growth(growth)?;
    check_windows(windows)?;
    check_scan(scan)?;
    check_brute_force(brute_force)?;
    check_flood(flood)?;
    check_model(model)
}

/// Holds every field of a settings structure against its range, and names those it has not.
macro_rules! ranges {
    ($section:literal, $type:path, $settings:expr, { $($field:ident: $range:expr),+ $(,)? }, besides $($rest:ident),*) => {
        let $type { $($field,)+ $($rest,)* } = $settings;
        $(within(concat!($section, ".", stringify!($field)), *$field as f64, $range)?;)+
    };
}

fn check_scan(settings: &scan::Settings) -> Result<(), Invalid> {
    ranges!("scan", scan::Settings, settings, {
        horizon_s: HORIZON,
        theta0: CHANCE,
        theta1: CHANCE,
        alpha: CHANCE,
        beta: CHANCE,
        ports: DISTINCT,
        hosts: DISTINCT,
        udp_hosts: DISTINCT,
        echo_hosts: DISTINCT,
        echo_theta0: CHANCE,
        echo_theta1: CHANCE,
        // Whoever asks each host once would be a monitor.
        echo_repeats: (1.1, 1e6),
        arp_hosts: DISTINCT,
        arp_silent: DISTINCT,
        contacts: DISTINCT,
        sure: DISTINCT,
        shape_ratio: RATIO,
        one_way: DISTINCT,
        one_way_contacts: COUNT,
        medium: DISTINCT,
        sources: (4.0 * MAP_MIN, MAP_MAX),
        slow_horizon_s: (600.0, 7.0 * 86_400.0),
        // A record tells so many apart.
        slow_ports: (2.0, scan::SLOW_MAX),
        slow_hosts: (2.0, scan::SLOW_MAX),
        slow_span_s: HORIZON,
        slow_repeats: (1.1, 1e6),
        slow_answered: FLOOR,
        spread_sources: (2.0, 500.0),
        spread_contacts: (0.1, 100.0),
        slow_records: (MAP_MIN, MAP_MAX),
        arp_askers: (2.0, 16.0),
        decoys: (2.0, scan::DECOYS_MAX),
        arp_slow: (2.0, scan::SLOW_MAX),
    }, besides);
    // The walk goes up with failures only if scanners succeed less often than others.
    below("scan.theta1", *theta1, "scan.theta0", *theta0)?;
    below("scan.echo_theta1", *echo_theta1, "scan.echo_theta0", *echo_theta0)?;
    below("scan.alpha", *alpha, "scan.beta", *beta)
}

fn check_brute_force(settings: &brute_force::Settings) -> Result<(), Invalid> {
    const BYTES: (f64, f64) = (brute_force::BYTES.0 as f64, brute_force::BYTES.1 as f64);
    ranges!("brute_force", brute_force::Settings, settings, {
        login_capacity: COUNT,
        ssh_capacity: COUNT,
        login_leak_s: LEAK,
        slow_capacity: COUNT,
        slow_leak_s: LEAK,
        ssh_bytes: BYTES,
        ssh_unsure_bytes: BYTES,
        ssh_parallel: COUNT,
        ssh_request_bytes_min: FLOOR,
        ftp_bytes: BYTES,
        ftp_request_sizes_min: DISTINCT,
        telnet_bytes: BYTES,
        mail_bytes: BYTES,
        smb_bytes: BYTES,
        rdp_bytes: BYTES,
        database_bytes: BYTES,
        vnc_bytes: BYTES,
        ldap_bytes: BYTES,
        login_request_bytes_min: FLOOR,
        http_capacity: COUNT,
        http_leak_s: LEAK,
        http_bytes: BYTES,
        https_bytes: BYTES,
        http_answer_sizes_max: DISTINCT,
        http_request_sizes_min: DISTINCT,
        http_flat_capacity: COUNT,
        http_flat_leak_s: LEAK,
        http_flat_answer_bytes: COUNT,
        login_sessions_per_size_min: RATIO,
        other_capacity: COUNT,
        other_leak_s: LEAK,
        other_bytes: BYTES,
        other_duration_ms_min: FLOOR,
        other_sessions_per_size_min: RATIO,
        login_users: DISTINCT,
        unsure_capacity: COUNT,
        unsure_leak_s: LEAK,
        distributed_clients: (2.0, 200.0),
        distributed_capacity: COUNT,
        confident_sessions: COUNT,
        spray_servers: (2.0, brute_force::SPRAY_SERVERS_MAX as f64),
        patient_logins: COUNT,
        patient_span_s: HORIZON,
        // A server's record tells some more apart.
        patient_clients: (2.0, 90.0),
        patient_horizon_s: (600.0, 7.0 * 86_400.0),
        horizon_s: HORIZON,
        sessions: (4.0 * MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_windows(settings: &stage::Settings) -> Result<(), Invalid> {
    let stage::Settings { enabled: _, high, features, hosts, pairs } = settings;
    within("windows.high", f64::from(*high), (0.0, 1.0))?;
    within("windows.features", *features as f64, (0.0, schema::HOST_COUNT as f64))?;
    within("windows.hosts", *hosts as f64, (4.0 * MAP_MIN, MAP_MAX))?;
    within("windows.pairs", *pairs as f64, (4.0 * MAP_MIN, MAP_MAX))
}

fn check_flood(settings: &flood::Settings) -> Result<(), Invalid> {
    ranges!("flood", flood::Settings, settings, {
        mean_weight: CHANCE,
        scan_sources: DISTINCT,
        scan_syns_per_port: COUNT,
        spoofed_sources: DISTINCT,
        dominant_share: CHANCE,
        high: (1.0, 1e6),
        track_rate: FLOOR,
        targets: (MAP_MIN, MAP_MAX),
    }, besides syn, half_open, udp, udp_volume, icmp, tcp);
    for (name, cusum) in
        [("syn", syn), ("half_open", half_open), ("udp", udp), ("udp_volume", udp_volume), ("icmp", icmp), ("tcp", tcp)]
    {
        let flood::Cusum { slack, limit } = cusum;
        within(&format!("flood.{name}.slack"), *slack, COUNT)?;
        within(&format!("flood.{name}.limit"), *limit, COUNT)?;
    }
    Ok(())
}

fn check_dns_tunnel(settings: &dns_tunnel::Settings) -> Result<(), Invalid> {
    ranges!("dns_tunnel", dns_tunnel::Settings, settings, {
        names: NAMES,
        names_day: NAMES,
        likeness: CHANCE,
        client_names: NAMES,
        client_names_day: NAMES,
        lookup_bytes: BYTES_OUT,
        lookup_bytes_day: BYTES_OUT,
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_dga(settings: &dga::Settings) -> Result<(), Invalid> {
    ranges!("dga", dga::Settings, settings, {
        domains: NAMES_MADE_UP,
        further: COUNT,
        bits: BITS,
        share: (0.0, 1.0),
        missing_share: (0.0, 1.0),
        missing: NAMES_MADE_UP,
        alone_share: (0.0, 1.0),
        horizon_s: HORIZON,
        hosts: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_beacon(settings: &beacon::Settings) -> Result<(), Invalid> {
    ranges!("beacon", beacon::Settings, settings, {
        score: CHANCE,
        connections: (4.0, 1e6),
        strobe: (4.0, 1e9),
        // The latest 64 are kept.
        quick_calls: (8.0, 64.0),
        quick_near: CHANCE,
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_exfiltration(settings: &exfiltration::Settings) -> Result<(), Invalid> {
    ranges!("exfiltration", exfiltration::Settings, settings, {
        bytes: BYTES_OUT,
        floor_bytes: BYTES_OUT,
        ratio: (1.0, 1e6),
        joint_z: Z,
        new_place_bytes: BYTES_OUT,
        day_bytes: BYTES_OUT,
        week_bytes: BYTES_OUT,
        popular_bytes: BYTES_OUT,
        popular_ratio: (1.0, 1e6),
        hosts: (MAP_MIN, MAP_MAX),
    }, besides baseline);
    check_baseline("exfiltration.baseline", baseline)
}

fn check_baseline(section: &str, settings: &adaptive::Settings) -> Result<(), Invalid> {
    let adaptive::Settings { z, floor, building, drift, suspicious, delta } = settings;
    let ranges = [
        ("z", z, Z),
        ("floor", floor, (1e-3, 10.0)),
        ("building", building, CHANCE),
        ("drift", drift, CHANCE),
        ("suspicious", suspicious, CHANCE),
        ("delta", delta, CHANCE),
    ];
    for (name, value, range) in ranges {
        within(&format!("{section}.{name}"), *value, range)?;
    }
    below(&format!("{section}.suspicious"), *suspicious, &format!("{section}.building"), *building)
}

fn check_lateral(settings: &lateral::Settings) -> Result<(), Invalid> {
    ranges!("lateral", lateral::Settings, settings, {
        shares: COUNT,
        refused_shares: COUNT,
        calls: COUNT,
        accounts: COUNT,
        fan_out: (1.0, lateral::FAN as f64),
        refused_sessions: (2.0, 1e6),
        paths: COUNT,
        hosts: (MAP_MIN, MAP_MAX),
        pairs: (MAP_MIN, MAP_MAX),
    }, besides baseline);
    check_baseline("lateral.baseline", baseline)
}

fn check_intel(settings: &intel::Settings) -> Result<(), Invalid> {
    ranges!("intel", intel::Settings, settings, {
        // A hundred million take some 20 GB.
        indicators: (1.0, 1e8),
        bytes: BYTES_OUT,
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_spoofing(settings: &spoofing::Settings) -> Result<(), Invalid> {
    ranges!("spoofing", spoofing::Settings, settings, {
        // One is any new network card.
        victims: (2.0, spoofing::VICTIMS as f64),
        claims: (2.0, 100.0),
        connections: (1.0, 1000.0),
        // A host has two names as a rule.
        // A switch that comes back brings its hosts; more than these are not told apart.
        askers: (5.0, 200.0),
        names: (2.0, spoofing::NAMES as f64),
        entries: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_tls_anomaly(settings: &tls_anomaly::Settings) -> Result<(), Invalid> {
    ranges!("tls_anomaly", tls_anomaly::Settings, settings, {
        risks: (1.0, 11.0),
        numbers: (1.0, 5.0),
        hosts: (MAP_MIN, MAP_MAX),
        pairs: (MAP_MIN, MAP_MAX),
    }, besides baseline);
    check_baseline("tls_anomaly.baseline", baseline)
}

fn check_request_flood(settings: &request_flood::Settings) -> Result<(), Invalid> {
    ranges!("request_flood", request_flood::Settings, settings, {
        slack: (1.0, 1e6),
        limit: (10.0, 1e7),
        variety: (0.0, 1.0),
        at_once: (2.0, 1e6),
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_web_attack(settings: &web_attack::Settings) -> Result<(), Invalid> {
    ranges!("web_attack", web_attack::Settings, settings, {
        // Beyond some hundreds different ones cannot be told apart.
        injections: (1.0, 100.0),
        paths: (5.0, 250.0),
        paths_an_hour: (5.0, 500.0),
        paths_a_day: (5.0, 500.0),
        share: CHANCE,
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_slow_http(settings: &slow_http::Settings) -> Result<(), Invalid> {
    ranges!("slow_http", slow_http::Settings, settings, {
        // A browser has six to a server; more than a hundred of one source cannot be told apart.
        connections: (6.0, 100.0),
        share: CHANCE,
        servers: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_odd_flow(settings: &odd_flow::Settings) -> Result<(), Invalid> {
    ranges!("odd_flow", odd_flow::Settings, settings, {
        signs: (1.0, 6.0),
        long_s: (10.0, 86_400.0),
        // Sooner than within minutes nothing is open for long.
        open_h: (0.1, 168.0),
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_amplification(settings: &amplification::Settings) -> Result<(), Invalid> {
    ranges!("amplification", amplification::Settings, settings, {
        bytes: BYTES_OUT,
        ratio: RATIO,
        questions: (10.0, 1e6),
        servers: (1.0, 1000.0),
        entries: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_icmp_tunnel(settings: &icmp_tunnel::Settings) -> Result<(), Invalid> {
    ranges!("icmp_tunnel", icmp_tunnel::Settings, settings, {
        // Who looks for the largest packet tries a few.
        sizes: (3.0, 100.0),
        echoes: COUNT,
        unasked: COUNT,
        identifiers: COUNT,
        rate: (1.0, 1e6),
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_doh_tunnel(settings: &doh_tunnel::Settings) -> Result<(), Invalid> {
    ranges!("doh_tunnel", doh_tunnel::Settings, settings, {
        connections: (4.0, 1e6),
        questions: (10.0, 1e6),
        public_questions: (10.0, 1e6),
        pairs: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_growth(settings: &growth::Settings) -> Result<(), Invalid> {
    ranges!("growth", growth::Settings, settings, {
        growth: FACTOR,
        host_growth: FACTOR,
        z: Z,
        flows: COUNT,
        host_flows: COUNT,
        hosts: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn check_model(settings: &model::Settings) -> Result<(), Invalid> {
    ranges!("model", model::Settings, settings, {
        high: (0.0, 1.0),
        features: (0.0, features::COUNT as f64),
        flows: (0.0, 16.0),
        horizon_s: HORIZON,
        sources: (MAP_MIN, MAP_MAX),
    }, besides);
    Ok(())
}

fn within(key: &str, value: f64, (low, high): (f64, f64)) -> Result<(), Invalid> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Invalid::range(&format!("detect.{key}"), value, format!("{low}..={high}")))
}

fn below(key: &str, value: f64, other: &str, limit: f64) -> Result<(), Invalid> {
    if value < limit {
        return Ok(());
    }
    Err(Invalid::order(&format!("detect.{key}"), value, &format!("detect.{other}"), limit))
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    /// With these a detector would never alarm or always; the ends of each range are good.
    #[test]
    fn thresholds_that_decide_nothing_are_refused_in_english() {
        let parsed = |section: &str, line: &str| {
            parse("t.toml", &format!("[detect.{section}]\n{line}"), std::iter::empty()).map_err(|e| e.to_string())
        };
        for (section, bad) in [
            ("scan", "arp_hosts = 0.0"),
            ("scan", "echo_hosts = 0.0"),
            ("scan", "ports = 2000.0"),
            ("scan", "ports = nan"),
            ("scan", "echo_repeats = 1.0"),
            ("brute_force", "login_leak_s = 0.0"),
            ("brute_force", "ssh_capacity = 0.0"),
            ("brute_force", "database_bytes = 127"),
            ("brute_force", "https_bytes = 7000"),
            ("brute_force", "spray_servers = 1000"),
            ("flood", "syn = { slack = 0.0, limit = 1000.0 }"),
            ("flood", "tcp = { slack = 500.0, limit = 0.0 }"),
            ("flood", "spoofed_sources = 1001.0"),
            ("model", "features = 65"),
        ] {
            let error = parsed(section, bad).expect_err(bad);
            let key = bad.split(' ').next().unwrap();
            assert!(error.contains(&format!("detect.{section}.{key}")) && error.contains("allowed is "), "{error}");
        }
        for (section, good) in [
            ("scan", "ports = 1000.0"),
            ("scan", "arp_hosts = 1.0"),
            ("brute_force", "spray_servers = 256"),
            ("brute_force", "https_bytes = 6144"),
            ("brute_force", "login_request_bytes_min = 0.0"),
            ("model", "features = 32"),
        ] {
            assert!(parsed(section, good).is_ok(), "{good}: {:?}", parsed(section, good).err());
        }
        let error = parsed("scan", "alpha = 0.995").unwrap_err();
        assert!(error.contains("write `detect.scan.alpha` below 0.99, or"), "{error}");
        let error = parsed("scan", "ports = 2000.0").unwrap_err();
        assert!(error.contains("is 2000, allowed is 1..=1000") && error.contains("choose 1..=1000, or"), "{error}");
        assert!(parsed("scan", "ports = -1.0").unwrap_err().contains("choose 0 or more, or"));
    }
}
