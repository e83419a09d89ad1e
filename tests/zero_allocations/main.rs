//! In steady state a packet allocates nothing outside the call of the model: counted below `malloc`, so that no library
//! escapes, as the difference of two lengths, so that start and warm-up cancel out.

#[allow(dead_code)] // its table is the bench's
#[path = "../../benches/engine/flows.rs"]
mod flows;
mod mixed;
#[allow(dead_code)] // the bench uses all of it
#[path = "../../benches/engine/run.rs"]
mod run;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../../benches/engine/traffic.rs"]
mod traffic;

use std::path::Path;
use std::process::Command;

/// The case and its length for the inner run: `CASE PACKETS`.
const INNER: &str = "SHRIKE_ALLOCATION_RUN";

#[test]
fn a_packet_allocates_nothing() {
    if let Ok(words) = std::env::var(INNER) {
        let (case, packets) = words.split_once(' ').expect("CASE PACKETS");
        let packets = packets.parse().expect("PACKETS is a number");
        if case == "mixed" {
            return mixed::run(packets);
        }
        let outcome = run::run(case, packets, run::Scoring::Discard, Path::new("/")).expect("the run works");
        // Flows of one packet have no row.
        assert!(outcome.packets >= packets && (outcome.scored > 0 || case == "new_flows_64"), "{outcome:?}");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let interposer = folder.path().join("malloc_count.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/malloc_count.c");
    let built = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&interposer).arg(source).status();
    let Ok(built) = built else {
        support::skip("a_packet_allocates_nothing", "cc", "there is no C compiler");
        return;
    };
    assert!(built.success(), "the C compiler refuses benches/malloc_count.c");
    // Milestones, ends by time-out, windows and expiry all happen within each stretch; flows begin in the second case only.
    // The third has what is not plain: handover between queues, fragments, ICMP errors, IPv6, VLAN and QinQ.
    for case in ["uniform_1k_64", "new_flows_64", "mixed"] {
        let count = |packets: u64| -> u64 {
            let file = folder.path().join("count");
            let status = Command::new(std::env::current_exe().expect("our own path"))
                .args(["--exact", "a_packet_allocates_nothing", "--test-threads=1"])
                .env(INNER, format!("{case} {packets}"))
                .env("LD_PRELOAD", &interposer)
                .env("MALLOC_COUNT_FILE", &file)
                .output()
                .expect("run ourselves");
            assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
            let text = std::fs::read_to_string(&file).expect("the interposer wrote its count");
            text.trim().parse().expect("a number")
        };
        let (short, long) = (count(300_000), count(600_000));
        // What the test harness prints about time may differ by an allocation or two between runs.
        assert!(short > 100, "the interposer counts");
        assert!(long <= short + 8, "{case}: {} allocations in 300 000 packets", long - short);
    }
}
