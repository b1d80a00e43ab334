//! Progress bars, on a terminal only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use brig_engine::{Digest, Progress, ProgressSink};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// One bar a blob.
pub(crate) struct Bars {
    bars: Option<Arc<Mutex<HashMap<Digest, ProgressBar>>>>,
    all: MultiProgress,
}

impl Bars {
    /// Bars, or nothing where nobody looks.
    pub(crate) fn new(visible: bool) -> Self {
        Self { bars: visible.then(Arc::default), all: MultiProgress::new() }
    }

    /// Where the engine reports to.
    pub(crate) fn sink(&self) -> ProgressSink {
        let Some(bars) = self.bars.clone() else { return ProgressSink::default() };
        let all = self.all.clone();
        ProgressSink::new(move |progress| {
            let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
            match progress {
                Progress::Started { digest, total, done } => {
                    let bar = all.add(
                        ProgressBar::new(total).with_style(style()).with_prefix(digest.short().to_owned()),
                    );
                    bar.set_position(done);
                    bars.insert(digest, bar);
                }
                Progress::Advanced { digest, bytes } => {
                    if let Some(bar) = bars.get(&digest) {
                        bar.inc(bytes);
                    }
                }
                Progress::Finished { digest } => {
                    if let Some(bar) = bars.remove(&digest) {
                        bar.finish();
                    }
                }
                _ => {}
            }
        })
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:30}] {bytes:>10}/{total_bytes} {bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
