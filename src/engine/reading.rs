//! Readers: what they read holds still from the first byte to the last. A reader has no steps, so one
//! that died is closed by whoever recovers it, with nothing to carry on.

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::action;
use crate::engine::EngineError;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::id::ActionId;
use crate::model::id::RunId;
use crate::model::id::Target;
use crate::model::lease::Holder;
use crate::model::machine::Format;
use crate::model::op::Files;
use crate::model::plan::Action;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::program::StepError;
use crate::model::step::Image;
use crate::model::world::Guest;
use crate::state::State;
use crate::state::StateError;

/// How a reader's beginning went.
#[derive(Debug)]
pub enum Reading {
    /// It holds what it reads.
    Begun(Box<Reader>),
    /// A rule stands in the way.
    Refused(Refusal),
    /// Another run has what it needs.
    Busy(Holder),
}

/// An open action of a reader. Dropped without [`Reader::end`] it stays open for others to close.
#[derive(Debug)]
pub struct Reader {
    action: ActionId,
    /// The VM as it is on record, seen after the leases were taken.
    pub guest: Guest,
}

impl Reader {
    /// Takes the leases of a reader, and looks only then whether what it reads is as it was planned.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn begin(
        state: &State,
        run: &RunId,
        action: &Action,
        guest: &Guest,
        now: Timestamp,
    ) -> Result<Reading, EngineError> {
        let leases = action::leases(&action.op, &guest.record);
        let program = Program::default();
        match state.begin(run, &action.id, &action.op, &program, &leases, now) {
            Ok(()) => {}
            Err(StateError::Held(holder)) => return Ok(Reading::Busy(holder)),
            Err(error) => return Err(error.into()),
        }
        let mut reader = Self {
            action: action.id.clone(),
            guest: guest.clone(),
        };
        let found = state.record(&guest.vm.uuid)?;
        reader.guest.record = found.map(|(_, record)| record).unwrap_or_default();
        match action::program(&action.op, Some(&reader.guest)) {
            Ok(_) => Ok(Reading::Begun(Box::new(reader))),
            Err(refusal) => {
                reader.end(state, Some(&refusal.clone().into()), now)?;
                Ok(Reading::Refused(refusal))
            }
        }
    }

    /// Gives up what it held. What it failed with is for `knib log`.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn end(
        self,
        state: &State,
        error: Option<&StepError>,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        if let Some(error) = error {
            state.turn_back(&self.action, error)?;
        }
        state.close(&self.action, error.is_none(), &[], now)?;
        Ok(())
    }
}

/// The image of each disk of a backup, having seen that every file of its chain is there, as long as it
/// was made, and that the links between them lead to the right ones.
///
/// # Errors
/// One is missing, has another length or names another file below it.
pub async fn images<H: Host>(
    host: &H,
    op: &Files,
    guest: &Guest,
) -> Result<Vec<(Target, Utf8PathBuf)>, StepError> {
    let mut images = Vec::new();
    for (target, files) in action::files(op, guest)? {
        let paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
        let lengths = host.lengths(&paths).await?;
        for ((path, size), found) in files.iter().zip(lengths) {
            match found {
                Some(found) if found == *size => {}
                Some(found) => {
                    return Err(damaged(format!(
                        "{path} has {found}, it was made with {size}"
                    )));
                }
                None => return Err(damaged(format!("{path} is not there"))),
            }
        }
        let Some(top) = paths.first() else { continue };
        let layers = host.layers(&Image::new(top.clone(), Format::Qcow2)).await?;
        let wanted = paths.iter().map(|path| ending(path));
        if !wanted.eq(layers.iter().map(|layer| ending(&layer.path))) {
            return Err(damaged(format!(
                "{top} does not lie on the files it was made on"
            )));
        }
        images.push((target, top.clone()));
    }
    Ok(images)
}

/// Of a file of a backup: whose it is and what it is called, wherever the storage is mounted.
fn ending(path: &Utf8Path) -> (Option<&str>, Option<&str>) {
    let backup = path.parent().and_then(Utf8Path::file_name);
    (backup, path.file_name())
}

fn damaged(text: String) -> StepError {
    StepError {
        fault: Fault::Io,
        text,
        hint: Some("nothing was read; choose another backup: knib backup list".to_owned()),
    }
}
