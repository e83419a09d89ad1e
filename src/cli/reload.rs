//! `shrike reload`: has a running sensor read its configuration anew.

use super::Failure;
use super::line::harmless;
use super::out::say;
use super::respond::{Call, Place, Session};
use crate::control::view::ReloadView;
use hyper::body::Bytes;

/// Arguments of `shrike reload`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Taken over at once: fail, fail_on and heartbeat_ms of pairs, [respond], [[playbook]], [[webhook]], [[command]] and the
thresholds of [detect]; no frame is lost or overtaken. All else is named, and waits for the next start. SIGHUP does the same.
Exit code 3: something waits."
)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
}

/// Asks for it.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut session = Session::open(&arguments.place)?;
    let body = session.ask(Call::Post("/v1/reload".into(), Bytes::new()))?;
    let view: ReloadView = session.read(&body)?;
    if arguments.place.json {
        say!("{}", String::from_utf8_lossy(&body));
    } else {
        view.taken.iter().for_each(|key| say!("{} is as the file says", harmless(key)));
        view.waiting.iter().for_each(|key| say!("{} waits", harmless(key)));
        if view.taken.is_empty() && view.waiting.is_empty() {
            say!("nothing has changed");
        }
    }
    if view.waiting.is_empty() { Ok(()) } else { Err(Failure::Findings(harmless(&view.remedy))) }
}
