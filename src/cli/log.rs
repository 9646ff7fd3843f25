//! The log on stderr, for finding defects. What a person is to be told is told otherwise.

use std::io;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::args::Global;
use crate::cli::args::LogFormat;
use crate::cli::io::Io;

/// Starts it. Of the libraries only warnings are told.
pub(super) fn start(global: &Global, io: &Io) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("warn,knib={level}")))
        .with_writer(AroundBars(io.bars.clone()))
        .with_ansi(io.err(global.color).colour);
    // A second one in a process, as tests may start, is not needed.
    let _ = match global.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(subscriber.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(subscriber.json().finish()),
    };
}

/// Stderr, around bars that are drawn there.
struct AroundBars(MultiProgress);

impl MakeWriter<'_> for AroundBars {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self(self.0.clone())
    }
}

impl io::Write for AroundBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
