//! `knib man`: one page with every command.

use std::io;

use clap::Command;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::args::Cli;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::session::Session;

pub(super) fn run(session: &Session) -> Result<Exit> {
    let mut cli = Cli::command();
    cli.build();
    let page = page(&cli).map_err(|error| Failure::new("man", error))?;
    session.print(&page)?;
    Ok(Exit::Done)
}

fn page(cli: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    let root = Man::new(cli.clone());
    root.render_title(&mut page)?;
    root.render_name_section(&mut page)?;
    root.render_synopsis_section(&mut page)?;
    root.render_description_section(&mut page)?;
    root.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page += ".SH COMMANDS\n";
    commands(cli, &mut page)?;
    let mut end = Vec::new();
    root.render_extra_section(&mut end)?;
    Ok(page + &String::from_utf8_lossy(&end))
}

/// Each command that does something, its sections one level below.
fn commands(of: &Command, page: &mut String) -> io::Result<()> {
    for command in of.get_subcommands().filter(|one| one.get_name() != "help") {
        if command.has_subcommands() {
            commands(command, page)?;
            continue;
        }
        let own = command.clone().mut_args(|arg| {
            let global = arg.is_global_set();
            arg.hide(global)
        });
        let man = Man::new(own);
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        let name = command.get_bin_name().unwrap_or(command.get_name());
        let section = String::from_utf8_lossy(&section);
        *page += &format!(".SS \"{name}\"\n");
        for line in section.lines() {
            // Headings of a page of its own would be as high as this page's.
            match line.strip_prefix(".SH ") {
                Some(_) => *page += ".PP\n",
                None => *page += &format!("{line}\n"),
            }
        }
    }
    Ok(())
}
