//! The live page in a real browser: it asks nobody but us, reports no error, and shows what there is.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/demo.rs"]
mod demo;
#[path = "support/exposed.rs"]
mod exposed;
#[path = "support/inline.rs"]
mod inline;
mod support;

use browser::Browser;
use demo::{DemoSystem, alert};
use inline::Maps;
use serde_json::json;
use shrike::control::http::{Settings, serve};
use shrike::control::respond::live::LiveResponses;
use shrike::control::store::{self, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[test]
fn a_browser_shows_everything_asks_nobody_else_and_complains_of_nothing() {
    if !browser::installed() {
        support::skip("the page in a browser", "chromium", "no chromium (apt-get install chromium)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).unwrap();
    let system = Arc::new(DemoSystem::new());
    let add = |range: std::ops::Range<u64>| {
        store.append(range.map(|index| alert(index, system.now())).collect());
        assert!(store.flush(Duration::from_secs(120)));
    };
    // Every fifth is hostile to browsers: markup in the summary and in the name of a term.
    add(0..1_500);
    let inventory = Some(exposed::exposed());
    let maps = Arc::new(Maps::default());
    let live = inline::responses(folder.path(), inline::PLAYBOOKS, Some(maps.clone()));
    let responses = Some(live.shared());
    *system.pairs.lock().unwrap() = Some(inline::pairs);
    let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), inventory, responses, ..Settings::default() };
    let server = serve(settings, store.clone(), system.clone()).unwrap();
    let address = server.addr();
    let page = format!("http://{address}/");
    let mut browser = Browser::start(folder.path());
    browser.call("Page.navigate", json!({ "url": page }));

    let alerts = "document.querySelectorAll('#alert-list > li').length";
    browser.until("document.getElementById('health')?.textContent === 'all well'");
    browser.until(&format!("{alerts} === 100"));
    assert_eq!(browser.evaluate("document.getElementById('loss-state').textContent"), "closed");
    browser.until(
        "document.querySelector('.mode.zero-copy') && document.querySelectorAll('#flows tbody tr').length === 10",
    );
    browser.until("document.querySelectorAll('#latency svg path').length >= 7");

    // What exposes hosts, the worst first; what comes from the wire is text.
    browser.until("document.querySelectorAll('#findings tbody tr').length >= 10");
    assert_eq!(browser.evaluate("document.querySelector('#findings .sev').textContent"), "high");
    browser.until("document.getElementById('findings').textContent.includes('<b>admin</b>')");
    assert_eq!(browser.evaluate("document.querySelectorAll('#findings img, #findings b b').length"), 0);

    inline_pairs(&mut browser, &system);
    proposals(&mut browser, &live, &maps);

    // A new alert arrives by itself.
    let newest = "document.querySelector('#alert-list > li').dataset.sequence";
    add(1_500..1_501);
    browser.until(&format!("{newest} === '1501'"));
    // A repeat comes to the row of its alert, on top, and what was told before is there on demand.
    let times = "document.querySelector('#alert-list > li .times').textContent";
    let mut again = alert(1_501 - 1, system.now());
    again.occurrences = 1_000;
    store.append(vec![again]);
    assert!(store.flush(Duration::from_secs(120)));
    browser.until(&format!("{newest} === '1502' && {times} === '×1\u{202f}000'"));
    assert_eq!(browser.evaluate(alerts), 100, "no row of its own");
    browser.evaluate("document.querySelector('#alert-list summary').click()");
    browser.until("document.querySelector('#alert-list .repeats > summary')");
    browser.evaluate("document.querySelector('#alert-list .repeats > summary').click()");
    browser.until("document.querySelectorAll('#alert-list .repeats li .times').length === 1");
    browser.evaluate("document.querySelector('#alert-list summary').click()");
    // The capture goes on: rates and charts appear.
    system.advance();
    browser.until("document.querySelector('#tile-packets .value').textContent.endsWith('/s')");

    // By keyboard: the first alert opens with Enter and says why.
    browser.evaluate("document.querySelector('#alert-list summary').focus()");
    browser.key("Enter", 13);
    browser.until("document.querySelector('#alert-list details[open] .why td.bar .gauge u')");
    // Hostile text is text.
    browser.evaluate("document.querySelectorAll('#alert-list summary').forEach((summary) => summary.click())");
    browser.until(
        "document.getElementById('alert-list').textContent.includes('<b>distinct_hosts</b>'.replaceAll('_', ' '))",
    );
    assert_eq!(
        browser.evaluate("document.querySelectorAll('#alert-list img, #alert-list b b, #alert-list script').length"),
        0
    );
    assert_eq!(browser.evaluate("document.title"), "Shrike");
    // Nothing is wider than a phone.
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        json!({ "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true }),
    );
    browser.until("innerWidth === 390");
    assert_eq!(browser.evaluate("document.documentElement.scrollWidth"), 390);

    let elsewhere: Vec<_> = browser.asked().into_iter().filter(|url| !url.starts_with(&page)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(browser.asked().iter().any(|url| url.contains("/v1/alerts/stream")));
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());

    // One whose ports are another's: refused, and why.
    let other = "document.querySelectorAll('#pairs .acts button')[1]";
    browser.evaluate(&format!("{other}.click()"));
    browser.evaluate(&format!("{other}.click()"));
    browser.until("document.getElementById('orders-news').textContent.includes('held by another program')");

    // A leak is red.
    system.broken.store(true, Relaxed);
    system.advance();
    browser.until("document.getElementById('loss-state').className.includes('bad')");
    browser.until("document.getElementById('banner').textContent.includes('does not close')");
    // The server goes: said, and what was shown stays.
    drop(server);
    browser.until("document.getElementById('link').textContent.includes('disconnected')");
    assert_eq!(browser.evaluate(alerts), 100);
    // Another run comes with the same store: the page finds it by itself, shows what is stored, and follows.
    system.restarts.fetch_add(1, Relaxed);
    let settings = Settings { listen: address, ..Settings::default() };
    let _server = serve(settings, store.clone(), system.clone()).unwrap();
    browser.until("document.getElementById('link').textContent.includes('live')");
    browser.until(&format!("{alerts} === 100 && {newest} === '1502'"));
    add(1_501..1_502);
    browser.until(&format!("{newest} === '1503'"));
}

/// Pairs, and a bypass that asks once more.
fn inline_pairs(browser: &mut Browser, system: &DemoSystem) {
    browser.until("document.querySelectorAll('#pairs .pair').length === 2");
    browser.until("document.querySelector('#pairs .pill').textContent === 'inspecting'");
    let sent = "document.querySelectorAll('#pairs .pair tbody td')[2].textContent";
    browser.until(&format!("/^[0-9\u{202f}]+$/.test({sent})"));
    let bypass = "document.querySelector('#pairs .acts button')";
    browser.evaluate(&format!("{bypass}.click()"));
    assert_eq!(browser.evaluate(&format!("{bypass}.textContent.startsWith('Sure?')")), true);
    assert!(!system.bypassed.load(Relaxed), "one click is none");
    browser.evaluate(&format!("{bypass}.click()"));
    browser.until("document.querySelector('#pairs .pill').textContent === 'bypassed by an operator'");
    assert!(system.bypassed.load(Relaxed));
    browser.evaluate(&format!("{bypass}.click()"));
    browser.until("document.querySelector('#pairs .pill').textContent === 'inspecting'");
}

/// What waits for a person's word is applied with one click, or dismissed; what is in force is undone.
fn proposals(browser: &mut Browser, live: &LiveResponses, maps: &Maps) {
    let like = alert(0, shrike::units::Timestamp(1));
    let flood = |target: &str| {
        let mut raised = serde_json::to_value(inline::raised(&like, "flood", None)).unwrap();
        // Markup in what the page shows.
        (raised["target"], raised["summary"]) = (json!(target), json!("<img src=x onerror=alert(1)>"));
        serde_json::from_value(raised).unwrap()
    };
    live.alerts(&[flood("10.0.0.9"), flood("10.0.0.10")]);
    browser.until("document.querySelectorAll('#proposed-list > li').length === 2");
    browser.until("document.getElementById('proposed').textContent.includes('<img src=x')");
    assert_eq!(browser.evaluate("document.querySelectorAll('#proposed img').length"), 0);
    assert_eq!(maps.held(), 0, "nothing before somebody says so");
    browser.evaluate("document.querySelector('#proposed-list .act.yes').click()");
    browser.until("document.querySelectorAll('#proposed-list > li').length === 1");
    browser.until("document.querySelector('#force .pill')?.textContent === 'enforced'");
    assert_eq!(maps.held(), 1);
    browser.evaluate("document.querySelector('#proposed-list .act:not(.yes)').click()");
    browser.until("document.getElementById('proposed').hidden");
    assert_eq!(maps.held(), 1, "dismissed");
    let undo = "document.querySelector('#force button')";
    browser.evaluate(&format!("{undo}.click()"));
    browser.evaluate(&format!("{undo}.click()"));
    browser.until("document.querySelectorAll('#force tbody tr').length === 0");
    assert_eq!(maps.held(), 0);
}
