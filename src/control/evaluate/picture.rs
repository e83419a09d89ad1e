//! The summary as a picture that reads well on light and on dark.

use super::summary::{Summary, severity};
use std::fmt::Write as _;

/// Pixels from one row to the next.
const ROW: usize = 22;
/// Where bars begin, and how long a whole one is.
const LEFT: usize = 150;
const WIDTH: usize = 300;
/// Where the text behind a bar begins.
const BEHIND: usize = LEFT + WIDTH + 12;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.dim{fill:#656d76}.head{font-weight:600}\
    .found{fill:#1a7f6b}.any{fill:#8fd0c2}.rest{fill:#d8dee4}.false{fill:#b3541e}\
    @media (prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.found{fill:#3fb59d}.any{fill:#1d5f53}\
    .rest{fill:#30363d}.false{fill:#e08a4f}}";

/// Recall by family, what was found under another name, and false alerts a host-day with their bounds, as SVG.
pub fn picture(summary: &Summary) -> String {
    let rows: Vec<_> = summary.families.iter().filter(|(_, figures)| figures.episodes > 0).collect();
    let severities = [1, 2, 3, 4].map(severity);
    let false_from = 58 + rows.len() * ROW + 34;
    let block = 34 + severities.len() * ROW;
    let origins: Vec<_> = summary.origins.iter().filter(|(_, figures)| figures.host_days > 0.0).collect();
    let height = false_from - 20 + origins.len() * block;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" role=\"img\" aria-label=\"Recall by family of \
         attacks, and false alerts\"><style>{STYLE}</style>"
    );
    let text = |svg: &mut String, x: usize, y: usize, class: &str, anchor: &str, words: &str| {
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\" text-anchor=\"{anchor}\">{words}</text>");
    };
    let bar = |svg: &mut String, y: usize, class: &str, share: f64| {
        let width = (share.clamp(0.0, 1.0) * WIDTH as f64).round();
        let _ = write!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{}\" width=\"{width}\" height=\"12\" rx=\"2\" class=\"{class}\"/>",
            y - 10
        );
    };
    text(&mut svg, LEFT, 20, "head", "start", "Episodes of attacks found");
    text(&mut svg, LEFT, 38, "dim", "start", "full colour: as what they are; pale: under another name");
    for (index, (family, figures)) in rows.iter().enumerate() {
        let y = 62 + index * ROW;
        text(&mut svg, LEFT - 10, y, "", "end", &family.name().replace('_', " "));
        bar(&mut svg, y, "rest", 1.0);
        bar(&mut svg, y, "any", figures.caught_by_any.unwrap_or(0.0));
        bar(&mut svg, y, "found", figures.recall.unwrap_or(0.0));
        let found = figures.episodes - figures.missed;
        let precision = figures.precision.map(|share| format!(", precision {share:.2}")).unwrap_or_default();
        text(&mut svg, BEHIND, y, "dim", "start", &format!("{found} of {}{precision}", figures.episodes));
    }
    for (place, (origin, figures)) in origins.iter().enumerate() {
        let from = false_from + place * block;
        let bound = |name| figures.bound_95.get(name).copied().unwrap_or(0.0);
        let most = severities.into_iter().map(bound).fold(1e-9, f64::max);
        let head = format!("False alerts a host-day, of {:.1} host-days ({})", figures.host_days, origin.name());
        text(&mut svg, LEFT, from - 18, "head", "start", &head);
        for (index, name) in severities.iter().enumerate() {
            let y = from + 4 + index * ROW;
            let rate = figures.per_host_day.get(name).copied().unwrap_or(0.0);
            text(&mut svg, LEFT - 10, y, "", "end", name);
            bar(&mut svg, y, "rest", bound(name) / most);
            bar(&mut svg, y, "false", rate / most);
            text(&mut svg, BEHIND, y, "dim", "start", &format!("{rate:.2}, at most {:.2} (95 %)", bound(name)));
        }
    }
    svg.push_str("</svg>");
    svg
}
