//! `shrike reset`: ends a TCP connection at both of its ends, and says whether it is gone.

use super::Failure;
use super::line::harmless;
use super::out::say;
use super::respond::{Call, Place, Session, Terms, wish};
use crate::control::respond::view::{OrderedView, ResponseView};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// Between two looks at what came of it.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `shrike reset`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike reset 192.0.2.7:51234 10.0.0.9:443             by its next frame, within a minute
  shrike reset [2001:db8::7]:51234 [2001:db8::9]:443    the same of IPv6
  shrike reset 192.0.2.7:51234 10.0.0.9:443 --for 1h    wait an hour for its next frame
Through a pair resets leave by its ports; beside a tap by reset_interface of [respond].")]
pub struct ResetArgs {
    /// One end
    #[arg(value_name = "IP:PORT")]
    source: SocketAddr,
    /// The other
    #[arg(value_name = "IP:PORT")]
    destination: SocketAddr,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    place: Place,
}

/// `shrike reset`.
pub fn run(arguments: &ResetArgs) -> Result<(), Failure> {
    let ResetArgs { source, destination, terms, place } = arguments;
    let mut session = Session::open(place)?;
    let parameters = json!({
        "source": source.ip(), "source_port": source.port(),
        "destination": destination.ip(), "destination_port": destination.port(),
    });
    let order = wish("reset_connection", parameters, terms);
    let body = session.ask(Call::Post("/v1/responses".into(), order.to_string().into()))?;
    let ordered: OrderedView = session.read(&body)?;
    if ordered.outcome == "would_do" {
        return super::respond::told(&session, place, &body);
    }
    let mut response = ordered.response;
    while response.state == "running" {
        std::thread::sleep(LOOK);
        let body = session.ask(Call::Get(format!("/v1/responses/{}", response.id)))?;
        response = session.read::<ResponseView>(&body)?;
    }
    if place.json {
        say!("{}", serde_json::to_string(&response)?);
    }
    let outcome = response.outcome.as_deref().map(harmless).unwrap_or_default();
    match response.state.as_str() {
        "done" if place.json => Ok(()),
        "done" => {
            say!("{source} - {destination}: {outcome}");
            Ok(())
        }
        _ => Err(Failure::Findings(format!("{source} - {destination}: {outcome}"))),
    }
}
