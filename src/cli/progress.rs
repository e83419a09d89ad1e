//! How far a capture has been read, for whoever waits at a terminal.

use super::line::grouped;
use crate::dataplane::capture::pcap::Report;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;

/// A bar over the bytes of the files; none where standard error is no terminal or a size is unknown.
pub fn bar(files: &[PathBuf]) -> ProgressBar {
    let size = |path: &PathBuf| std::fs::metadata(path).ok().filter(|data| data.is_file()).map(|data| data.len());
    let total = files.iter().map(size).sum::<Option<u64>>();
    match total {
        Some(total) if std::io::stderr().is_terminal() => {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{bar:32} {bytes} of {total_bytes}, {msg}, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        }
        _ => ProgressBar::hidden(),
    }
}

/// Moves it to where the reader is.
pub fn show(bar: &ProgressBar, report: &Report) {
    if !bar.is_hidden() {
        bar.set_position(report.consumed());
        bar.set_message(format!("{} packets", grouped(report.packets())));
    }
}
