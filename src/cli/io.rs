//! The standard streams: which of them is a terminal, how wide, in colour or not, and who writes to
//! them. The result goes to stdout, everything else to stderr.

use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Write;
use std::os::fd::AsFd;

use anstream::AutoStream;
use anstream::ColorChoice;
use indicatif::MultiProgress;

use crate::cli::args::ColorWhen;
use crate::cli::render::Look;

/// The narrowest that tables are laid out for.
const NARROWEST: usize = 60;
/// Wider lines are hard to read.
const WIDEST: usize = 100;
/// Where there is no terminal.
const WIDTH: usize = 80;

/// The standard streams.
#[derive(Clone, Debug)]
pub struct Io {
    input_is_terminal: bool,
    error_is_terminal: bool,
    out_width: usize,
    err_width: usize,
    /// Bars that are drawn, which every other line goes around.
    pub(super) bars: MultiProgress,
}

impl Io {
    /// Those of this process.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            input_is_terminal: io::stdin().is_terminal(),
            error_is_terminal: io::stderr().is_terminal(),
            out_width: width(io::stdout()).unwrap_or(WIDTH),
            // Errors in a log are found by whole lines.
            err_width: width(io::stderr()).unwrap_or(usize::MAX),
            bars: MultiProgress::new(),
        }
    }

    /// Somebody is there to be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.input_is_terminal && self.error_is_terminal
    }

    /// Bars can be drawn.
    pub(super) fn can_draw(&self) -> bool {
        self.error_is_terminal
    }

    /// How text on stdout is to look.
    pub(super) fn out(&self, when: ColorWhen) -> Look {
        look(when, AutoStream::choice(&io::stdout()), self.out_width)
    }

    /// How text on stderr is to look.
    pub(super) fn err(&self, when: ColorWhen) -> Look {
        look(when, AutoStream::choice(&io::stderr()), self.err_width)
    }

    /// Writes to stdout. A reader that has seen enough and left is no error.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Writes to stderr, around bars. Where even that fails there is nobody to be told.
    pub(super) fn tell(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        });
    }

    /// Asks on stderr and reads one line.
    pub(super) fn ask(&self, question: &str) -> io::Result<String> {
        self.tell(question);
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }
}

/// Of a terminal.
fn width(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(match usize::from(size.ws_col) {
        0 => WIDTH,
        columns => columns.clamp(NARROWEST, WIDEST),
    })
}

fn look(when: ColorWhen, found: ColorChoice, width: usize) -> Look {
    let colour = match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        // NO_COLOR, then CLICOLOR_FORCE, then whether it is a terminal that knows colours.
        ColorWhen::Auto => found != ColorChoice::Never,
    };
    Look { width, colour }
}
