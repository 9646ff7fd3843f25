//! Reads what `qemu-img info --backing-chain --output=json` prints. Takes what it knows and passes
//! over the rest, since every QEMU prints more.

use std::io;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::host::HostError;
use crate::host::Image;
use crate::host::Result;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::machine::Format;
use crate::model::machine::Layer;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    filename: String,
    format: String,
    virtual_size: u64,
    #[serde(default)]
    actual_size: u64,
    #[serde(default)]
    encrypted: bool,
    #[serde(default)]
    snapshots: Vec<IgnoredAny>,
    full_backing_filename: Option<String>,
    backing_filename_format: Option<String>,
    format_specific: Option<Specific>,
}

#[derive(Deserialize)]
struct Specific {
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Data {
    compression_type: Option<String>,
    encrypt: Option<IgnoredAny>,
    #[serde(rename = "data-file")]
    outside: Option<IgnoredAny>,
}

/// The layers of a chain, top first. `real` gives the canonical spelling of a path.
pub(super) fn layers(
    json: &[u8],
    image: &Image,
    tried: &str,
    real: impl Fn(&Utf8Path) -> Utf8PathBuf,
) -> Result<Vec<Layer>> {
    let unfit = |cause: String| HostError::new(Fault::Unsupported, tried, cause);
    let chain: Vec<Info> = serde_json::from_slice(json)
        .map_err(io::Error::from)
        .map_err(|error| HostError::new(Fault::Io, tried, error))?;
    let mut layers = Vec::with_capacity(chain.len());
    let mut named = Some(image.format.as_str().to_owned());
    let mut path = image.path.clone();
    for info in chain {
        let Some(format) = named else {
            let above = layers
                .last()
                .map_or(&image.path, |layer: &Layer| &layer.path);
            return Err(
                unfit(format!("{above} does not name the format of {path}")).hinted(format!(
                    "if it is {0}: qemu-img rebase -u -F {0} -b {path} {above}",
                    info.format
                )),
            );
        };
        if !path.is_absolute() {
            return Err(unfit(format!("{} is not a file", info.filename)));
        }
        let data = info.format_specific.map(|specific| specific.data);
        let data = data.unwrap_or_default();
        layers.push(Layer {
            path: real(&path),
            format: Format::named(&format),
            virtual_size: Bytes(info.virtual_size),
            allocated: Bytes(info.actual_size),
            internal_snapshots: u32::try_from(info.snapshots.len()).unwrap_or(u32::MAX),
            encrypted: info.encrypted || data.encrypt.is_some() || format == "luks",
            compression: data.compression_type,
            data_file: data.outside.is_some(),
        });
        named = info.backing_filename_format;
        path = info.full_backing_filename.unwrap_or_default().into();
    }
    Ok(layers)
}
