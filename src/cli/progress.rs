//! Progress on long reads: on standard error, on a terminal only.

use fastdata_types::stats::StatsCollector;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A bar over rows; silent where standard error is no terminal.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// `rows` is an estimate: filters and deletes may leave fewer. Hidden also while rows themselves go to the terminal.
    pub fn start(rows: Option<u64>, rows_to_terminal: bool) -> Progress {
        if rows_to_terminal || !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden() };
        }
        let bar = match rows {
            Some(rows) => ProgressBar::new(rows),
            None => ProgressBar::new_spinner(),
        };
        let template = match rows {
            Some(_) => "{bar:32} {human_pos} of {human_len} rows  {msg}  {elapsed}",
            None => "{spinner} {human_pos} rows  {msg}  {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress { bar }
    }

    pub fn update(&self, stats: &StatsCollector) {
        let decoded = stats.rows_decoded.load(Ordering::Relaxed).max(stats.rows.load(Ordering::Relaxed));
        self.bar.set_position(decoded);
        // A served scan learns what was fetched when it ends: until then, what came.
        let fetched = match stats.bytes_fetched.load(Ordering::Relaxed) {
            0 => stats.bytes_returned.load(Ordering::Relaxed),
            fetched => fetched,
        };
        self.bar.set_message(super::text::bytes(fetched));
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
