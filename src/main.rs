//! The command.

use std::process::ExitCode;

use knib::cli;
use knib::cli::Io;

fn main() -> ExitCode {
    let exit = cli::run(std::env::args_os(), &Io::standard());
    ExitCode::from(exit.code())
}
