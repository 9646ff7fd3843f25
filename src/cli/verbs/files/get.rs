//! `knib files get`: files and directories into a directory of this host, or to stdout.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::text;
use crate::cli::session::Session;
use crate::cli::verbs::files::Get;
use crate::cli::verbs::files::places;
use crate::cli::verbs::files::places::Places;
use crate::cli::verbs::files::reading;
use crate::cli::verbs::files::reading::Read;
use crate::cli::view::file::TakenView;
use crate::host::extract::Archive;
use crate::host::extract::Sink;
use crate::host::extract::Taken;
use crate::host::extract::Unpacker;
use crate::host::guestfs::Appliance;
use crate::host::guestfs::Kind;

/// So many of what was left out are named.
const NAMED: usize = 10;

pub(super) async fn run(session: &Session, args: Get) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let places = Places::read(args.places, args.which.fs)?;
    let names = names(&places.paths)?;
    let to_stdout = args.output == Path::new("-");
    if json && to_stdout {
        let text = "--format json and -o - both want stdout";
        return Err(Failure::usage(text));
    }
    let basis = session.basis_anyhow()?;
    // Before anything is started: most of what is wrong with a directory shows here.
    let into = if to_stdout {
        None
    } else {
        Some(Unpacker::into(&args.output, args.overwrite)?)
    };
    let asked = (
        args.which.backup.as_str(),
        places.disk.as_deref(),
        args.which.patience,
    );
    let note = reading::notes(session);
    let mounted = places.clone();
    let work = move |appliance: &mut Appliance| {
        places::mount(appliance, &mounted, &note)?;
        match into {
            None => to_standard_output(appliance, &mounted.paths, &names),
            Some(mut unpacker) => {
                take(appliance, &mounted.paths, &names, &mut unpacker)?;
                Ok(unpacker.finish()?)
            }
        }
    };
    let (taken, of) = reading::read(session, &basis, "files get", asked, work).await?;
    let left_out = left_out(&taken);
    if !left_out.is_empty() {
        session.note(left_out.trim_end());
    }
    if json {
        session.print_json(&TakenView::new(&taken, &of.vm, &of.backup))?;
    } else if !to_stdout {
        session.print(&said(&taken, &of, &args.output))?;
    }
    Ok(Exit::Done)
}

/// What each path is called where it goes: by its last part. `/` has none: what is in it goes there.
fn names(paths: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
    if paths.is_empty() {
        return Err(Failure::usage(
            "no path is given: say what to take, / for everything",
        ));
    }
    let mut names = Vec::new();
    let mut known = BTreeSet::new();
    for path in paths {
        let mut parts = path.split(|byte| *byte == b'/');
        let name = parts.rfind(|part| !part.is_empty() && *part != b".");
        let name = name.map(<[u8]>::to_vec);
        if !known.insert(name.clone()) || (name.is_none() && paths.len() > 1) {
            let text = format!(
                "{} would get a name that another path gets",
                path.escape_ascii()
            );
            return Err(Failure::usage(text).hint("take them one by one, into two directories"));
        }
        names.push(name);
    }
    Ok(names)
}

fn take(
    appliance: &mut Appliance,
    paths: &[Vec<u8>],
    names: &[Option<Vec<u8>>],
    sink: &mut dyn Sink,
) -> Result<()> {
    all_are_there(appliance, paths)?;
    for (path, name) in paths.iter().zip(names) {
        appliance.take(path, name.as_deref(), sink)?;
    }
    Ok(())
}

/// Everything that is wrong with the paths, before the first of them is taken.
fn all_are_there(appliance: &mut Appliance, paths: &[Vec<u8>]) -> Result<()> {
    let mut wrong: Option<Failure> = None;
    for path in paths {
        if let Err(error) = appliance.kind(path) {
            let failure = places::unknown(appliance, path, error);
            wrong = Some(match wrong {
                Some(others) => others.and(failure),
                None => failure,
            });
        }
    }
    wrong.map_or(Ok(()), Err)
}

/// The bytes of one regular file; anything else as an archive.
fn to_standard_output(
    appliance: &mut Appliance,
    paths: &[Vec<u8>],
    names: &[Option<Vec<u8>>],
) -> Result<Taken> {
    if let [path] = paths {
        let kind = appliance.kind(path);
        let kind = kind.map_err(|error| places::unknown(appliance, path, error))?;
        if kind == Kind::File {
            appliance.read(path, &mut std::io::stdout().lock())?;
            return Ok(Taken::default());
        }
    }
    let mut archive = Archive::new(std::io::stdout());
    take(appliance, paths, names, &mut archive)?;
    Ok(archive.finish()?)
}

/// What was not taken, the first of it by name.
fn left_out(taken: &Taken) -> String {
    let mut said = String::new();
    for one in taken.left_out.iter().take(NAMED) {
        let _ = writeln!(said, "left out: {}: {}", one.path.escape_ascii(), one.what);
    }
    let more = taken.left_out.len().saturating_sub(NAMED);
    if more > 0 {
        let _ = writeln!(said, "left out: {more} more");
    }
    said
}

fn said(taken: &Taken, of: &Read, dir: &Path) -> String {
    let count = |n: u64, what: &str| text::count(usize::try_from(n).unwrap_or(usize::MAX), what);
    format!(
        "{} with {}, {} and {} from {} of {} are in {}\n",
        count(taken.files, "file"),
        taken.bytes,
        count(taken.directories, "directory"),
        count(taken.links, "link"),
        of.backup,
        of.vm.name,
        dir.display()
    )
}
