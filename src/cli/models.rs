//! `shrike models`: the models of a running sensor on the terminal, and orders to them, over its HTTP API.

use super::Failure;
use super::client::{Client, ClientError};
use super::line::{grouped, harmless};
use super::out::say;
use crate::control::models::Wanted;
use crate::control::view::{Comparison, Drift, ModelChange, ModelState, ModelView, ModelsView};
use hyper::body::Bytes;
use std::time::Duration;

/// How long an answer may take: an order waits for the queues.
const ANSWER: Duration = Duration::from_secs(15);
/// Features shown that have shifted most.
const SHIFTS: usize = 5;
/// From which index on a feature has shifted.
const SHIFTED: f64 = 0.25;

/// Arguments of `shrike models`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike models                        which models there are, what they do, how far the traffic has drifted
  shrike models shadow flow-v3         compare a new one with the active one; it makes no alert
  shrike models activate flow-v3       let it score; queues change between two bursts and lose nothing
  shrike models rollback               back to what was active before
What is ordered lasts until the sensor ends: [model] of its configuration names what it begins with.")]
pub struct Arguments {
    #[command(subcommand)]
    order: Option<Orders>,
    /// As served
    #[arg(long, global = true)]
    json: bool,
    /// Where the sensor serves its API
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7470")]
    url: String,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Orders {
    /// Show the models (also without a subcommand)
    List,
    /// Let a model score, and its reports become alerts
    Activate {
        /// Its name
        name: String,
    },
    /// Compare a model with the active one, without alerts
    Shadow {
        /// Its name
        name: String,
    },
    /// Let a model do nothing
    None {
        /// Its name
        name: String,
    },
    /// Make active again what was before the latest change
    Rollback,
}

/// Shows or orders what was asked for.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(ask(arguments)).map_err(|cause| Failure::Runtime(anyhow::Error::msg(cause)))
}

async fn ask(arguments: &Arguments) -> Result<(), String> {
    let mut client = Client::new(&arguments.url).map_err(|cause| cause.to_string())?;
    let order = match &arguments.order {
        None | Some(Orders::List) => None,
        Some(Orders::Activate { name }) => Some(activation(name, Wanted::Active)),
        Some(Orders::Shadow { name }) => Some(activation(name, Wanted::Shadow)),
        Some(Orders::None { name }) => Some(activation(name, Wanted::Nothing)),
        Some(Orders::Rollback) => Some(("/v1/models/rollback".to_owned(), Bytes::new())),
    };
    let is_order = order.is_some();
    let outcome = match order {
        None => client.get("/v1/models", ANSWER).await,
        Some((path, body)) => client.post(&path, body, ANSWER).await,
    };
    let body = outcome.map_err(|cause| match cause {
        ClientError::Connection(..) => format!("{cause}: is `shrike run` running, and is this its address (--url)?"),
        cause => cause.to_string(),
    })?;
    let foreign = |cause: serde_json::Error| format!("{}: not the API of shrike: {cause}", arguments.url);
    if arguments.json {
        say!("{}", String::from_utf8_lossy(&body));
    } else if is_order {
        changed(&serde_json::from_slice(&body).map_err(foreign)?);
    } else {
        list(&serde_json::from_slice(&body).map_err(foreign)?);
    }
    Ok(())
}

/// Path and body of an order.
fn activation(name: &str, wanted: Wanted) -> (String, Bytes) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let name: String = name
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    (format!("/v1/models/{name}/activate"), serde_json::json!({ "as": wanted }).to_string().into())
}

fn changed(change: &ModelChange) {
    let name = |name: &Option<String>| name.as_deref().map_or_else(|| "none".to_owned(), harmless);
    let what = if change.changed { "" } else { " (as before)" };
    say!("{}: active {}, shadow {}{what}", harmless(&change.rows), name(&change.active), name(&change.shadow));
    if change.changed && change.was_active != change.active {
        say!("  before: {}; `shrike models rollback` goes back", name(&change.was_active));
    }
    if let Some(queues) = change.queues.filter(|queues| queues.taken < queues.of) {
        say!("  {} of {} queues have taken it so far: see /v1/status", queues.taken, queues.of);
    }
}

fn list(view: &ModelsView) {
    if let Some(reason) = &view.reason {
        say!("{}", harmless(reason));
        return;
    }
    for model in &view.items {
        lines(model).into_iter().for_each(|line| say!("{line}"));
    }
    if view.overlooked > 0 {
        say!("{} further files in {} are not looked at", view.overlooked, harmless(&view.directory));
    }
    if let Some(back) = &view.rollback {
        let name = back.name.as_deref().map_or_else(|| "no model".to_owned(), harmless);
        say!("rollback: {name} for {}", harmless(&back.rows));
    }
}

/// `flow-v2  active  flow 2  17 families  1 234 rows scored, 0.31 us a row`, and what there is to say of it.
fn lines(model: &ModelView) -> Vec<String> {
    let scored = match model.us_per_row {
        Some(us) => format!("{} rows scored, {us:.2} us a row", grouped(model.scored)),
        None => format!("{} rows scored", grouped(model.scored)),
    };
    let rows = format!("{} {}", harmless(&model.rows), model.schema_version);
    let mut lines = vec![format!("{}  {}  {rows}  {scored}", harmless(&model.name), model.state.name())];
    lines[0] += if model.changed { "  (its file has changed: activate it again)" } else { "" };
    if let Some(error) = &model.error {
        lines.push(format!("  {}", harmless(error)));
    }
    if let Some(queues) = model.queues.filter(|queues| queues.taken < queues.of) {
        lines.push(format!("  {} of {} queues have taken it", queues.taken, queues.of));
    }
    lines.extend(model.comparison.iter().flat_map(compared));
    lines.extend(model.drift.iter().filter(|_| model.state == ModelState::Active).flat_map(drifted));
    lines
}

fn compared(comparison: &Comparison) -> Vec<String> {
    let share = |part: u64, of: u64| if of > 0 { part as f64 * 100.0 / of as f64 } else { 0.0 };
    let mut lines = vec![format!(
        "  beside {}: {} of {} rows compared ({:.1} %), {:.2} % the same",
        harmless(&comparison.with),
        grouped(comparison.rows),
        grouped(comparison.of),
        share(comparison.rows, comparison.of),
        share(comparison.agree, comparison.rows),
    )];
    lines.extend(comparison.families.iter().map(|(family, told)| {
        let (both, active, shadow) = (grouped(told.both), grouped(told.only_active), grouped(told.only_shadow));
        format!("    {}: {both} by both, {active} by the active one alone, {shadow} by this alone", harmless(family))
    }));
    lines
}

fn drifted(drift: &Drift) -> Vec<String> {
    let mut lines = vec![format!("  drift: {} rows of the last day", grouped(drift.rows))];
    let size = |index: Option<f64>| index.map_or_else(|| "-".to_owned(), |index| format!("{index:.2}"));
    let shifted = |index: Option<f64>| index.is_some_and(|index| index >= SHIFTED);
    let shifts = drift.shifts.iter().filter(|shift| shifted(shift.from_first) || shifted(shift.from_training));
    lines.extend(shifts.take(SHIFTS).map(|shift| {
        let (first, training) = (size(shift.from_first), size(shift.from_training));
        format!("    {}: PSI {first} against the first day, {training} against training", harmless(&shift.name))
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::view::{Shift, Told};
    use crate::units::Timestamp;

    #[test]
    fn an_order_names_its_model_whatever_it_is_called() {
        let (path, body) = activation("a/b v2", Wanted::Nothing);
        assert_eq!((&*path, &body[..]), ("/v1/models/a%2Fb%20v2/activate", &br#"{"as":"none"}"#[..]));
    }

    #[test]
    fn what_a_shadow_and_drift_come_to_is_told_in_a_few_lines() {
        let comparison = Comparison {
            with: "a".into(),
            since: Timestamp(0),
            rows: 200,
            of: 1000,
            agree: 199,
            families: [("scan".to_owned(), Told { both: 3, only_active: 1, only_shadow: 0 })].into(),
            score_difference_mean: 0.0,
            score_difference_largest: 0.0,
            failed: 0,
        };
        assert_eq!(
            compared(&comparison),
            [
                "  beside a: 200 of 1 000 rows compared (20.0 %), 99.50 % the same",
                "    scan: 3 by both, 1 by the active one alone, 0 by this alone"
            ]
        );
        let shift = |name: &str, from_training, from_first| Shift { name: name.into(), from_training, from_first };
        let drift = Drift {
            rows: 5000,
            first_rows: 4000,
            first_until: None,
            shifts: vec![shift("x", Some(0.1), Some(0.3)), shift("y", Some(0.1), None)],
            score_mean: None,
            score_changed: None,
        };
        let told =
            ["  drift: 5 000 rows of the last day", "    x: PSI 0.30 against the first day, 0.10 against training"];
        assert_eq!(drifted(&drift), told);
    }
}
