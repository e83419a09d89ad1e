//! A real browser over its debugging pipe: what a page asked for, what it complained of, what it shows.
#![allow(dead_code)] // each test binary uses its own part

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What starts it so that it talks to nobody of its own accord; names resolve to nothing in any case.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1440,900",
    "--remote-debugging-pipe",
    "about:blank",
];

/// Is there one?
pub fn installed() -> bool {
    Command::new("chromium").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A browser with one page.
pub struct Browser {
    child: Child,
    orders: File,
    answers: BufReader<File>,
    session: String,
    last: u64,
    /// Everything the page reported.
    pub events: Vec<Value>,
}

impl Browser {
    /// Starts it with its profile and pipes in `folder`.
    pub fn start(folder: &Path) -> Browser {
        let (orders, answers) = (folder.join("orders"), folder.join("answers"));
        assert!(Command::new("mkfifo").args([&orders, &answers]).status().unwrap().success());
        // The pipe is file descriptors 3 and 4; the shell gives them, and waits there until we hold the other ends.
        let child = Command::new("sh")
            .args(["-c", "orders=$1 answers=$2; shift 2; exec chromium \"$@\" 3<\"$orders\" 4>\"$answers\"", "browser"])
            .args([&orders, &answers])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .args(FLAGS)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = File::options().write(true).open(orders).unwrap();
        let answers = BufReader::new(File::open(answers).unwrap());
        let mut browser = Browser { child, orders, answers, session: String::new(), last: 0, events: Vec::new() };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Network", "Runtime", "Log", "Page"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// One order and its answer; what is reported meanwhile is kept.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.clone().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).expect("the browser reads");
        loop {
            let mut message = Vec::new();
            assert!(self.answers.read_until(0, &mut message).unwrap() > 0, "the browser is gone");
            message.pop();
            let message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == self.last {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits in the page until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let wait = format!(
            "new Promise((done, fail) => {{ let turns = 0; const look = () => {{ if ({expression}) done(true); \
             else if (++turns > 1200) fail(new Error('never: ' + document.body.innerText)); else setTimeout(look, 100); }}; \
             look(); }})"
        );
        self.evaluate(&wait);
    }

    /// Presses and releases a key.
    pub fn key(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" && kind == "keyDown" { "\r" } else { "" };
            let params = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Every URL that the page asked for.
    pub fn asked(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter(|event| {
                event["method"] == "Network.requestWillBeSent" || event["method"] == "Network.webSocketCreated"
            })
            .filter_map(|event| event["params"]["request"]["url"].as_str().or(event["params"]["url"].as_str()))
            .collect()
    }

    /// Every complaint: console calls, exceptions, violations of the policy, failed requests.
    pub fn complaints(&self) -> Vec<&Value> {
        const METHODS: [&str; 3] = ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"];
        self.events.iter().filter(|event| METHODS.iter().any(|method| event["method"] == *method)).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
