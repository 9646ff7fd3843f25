//! `knib files list`: file systems, or what a directory holds, as it comes.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::io::Io;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::verbs::files::List;
use crate::cli::verbs::files::places;
use crate::cli::verbs::files::places::Places;
use crate::cli::verbs::files::reading;
use crate::cli::view::file::FileView;
use crate::cli::view::file::FilesystemView;
use crate::host::HostError;
use crate::host::guestfs::Appliance;
use crate::host::guestfs::Listed;
use crate::model::fault::Fault;

/// So much is printed at once.
const PIECE: usize = 32 * 1024;

pub(super) async fn run(session: &Session, args: List) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let places = Places::read(args.places, args.which.fs)?;
    let basis = session.basis_anyhow()?;
    let asked = (
        args.which.backup.as_str(),
        places.disk.as_deref(),
        args.which.patience,
    );
    let disk = places.disk.clone();
    let Some(path) = places.paths.first().cloned() else {
        let work = |appliance: &mut Appliance| Ok(appliance.filesystems()?);
        let (found, _) = reading::read(session, &basis, "files list", asked, work).await?;
        if found.is_empty() {
            return Err(places::none_on(disk.as_deref().unwrap_or("its disks")));
        }
        let views: Vec<_> = found.into_iter().map(FilesystemView::from).collect();
        session.list(json, &views, || lists::filesystems(&views, session.look()))?;
        return Ok(Exit::Done);
    };
    let mut printer = Printer {
        io: session.io.clone(),
        zone: basis.zone(),
        json,
        text: String::new(),
        any: false,
    };
    let note = reading::notes(session);
    let recursive = args.recursive;
    let mounted = places.clone();
    let work = move |appliance: &mut Appliance| {
        places::mount(appliance, &mounted, &note)?;
        let listed = appliance.list(&path, recursive, &mut |one| printer.add(one));
        listed.map_err(|error| places::unknown(appliance, &path, error))?;
        Ok(printer.end()?)
    };
    reading::read(session, &basis, "files list", asked, work).await?;
    Ok(Exit::Done)
}

/// Prints a list while it is made.
struct Printer {
    io: Io,
    zone: TimeZone,
    json: bool,
    text: String,
    any: bool,
}

impl Printer {
    fn add(&mut self, one: Listed) -> std::result::Result<(), HostError> {
        let view = FileView::from(one);
        if self.json {
            self.text += if self.any { ",\n  " } else { "[\n  " };
            self.text += &serde_json::to_string(&view).expect("views are plain data");
        } else {
            let _ = writeln!(self.text, "{}", lists::file(&view, &self.zone));
        }
        self.any = true;
        if self.text.len() < PIECE {
            return Ok(());
        }
        self.print()
    }

    fn end(mut self) -> std::result::Result<(), HostError> {
        if self.json {
            self.text += if self.any { "\n]\n" } else { "[]\n" };
        }
        self.print()
    }

    fn print(&mut self) -> std::result::Result<(), HostError> {
        let text = std::mem::take(&mut self.text);
        let printed = self.io.print(&text);
        printed.map_err(|error| HostError::new(Fault::Denied, "write the result", error))
    }
}
