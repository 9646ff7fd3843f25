//! `knib init`: a policy to start from.

use camino::Utf8PathBuf;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::files;
use crate::cli::session::Session;
use crate::policy;

/// Write a policy to start from, and its schema for editors; never overwrites
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Init {
    /// Where to
    #[arg(value_name = "DIR", default_value = ".")]
    dir: Utf8PathBuf,
}

const POLICY: &str = "knib.yaml";

pub(super) fn run(session: &Session, args: &Init) -> Result<Exit> {
    let (file, schema) = (args.dir.join(POLICY), args.dir.join(policy::STARTER_SCHEMA));
    if let Some(there) = [&file, &schema].into_iter().find(|path| path.exists()) {
        return Err(Failure::new("exists", format!("{there} is there already"))
            .hint("nothing was written; name another directory, or remove it first"));
    }
    std::fs::create_dir_all(&args.dir)
        .map_err(|error| Failure::file("make the directory", &args.dir, &error))?;
    files::create(&schema, super::schema::text().as_bytes())?;
    files::create(&file, policy::starter().as_bytes())?;
    session.print(&format!(
        "{file} is a policy to start from: say in it which VMs and which storage, then\n\n  \
         knib -f {file} lint\n  knib -f {file} plan\n"
    ))?;
    Ok(Exit::Done)
}
