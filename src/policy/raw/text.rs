//! Texts with a grammar of their own. Here only their shape for editors; `duration`, `size` and
//! the calendar read them.

use schemars::JsonSchema;
use serde::Deserialize;

/// A name: small letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(in crate::policy) struct Name(
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,62}$"))] pub String,
);

/// A length of time: whole numbers with `s`, `m` (minutes), `h`, `d` or `w`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(example = "90m", example = "1h30m")]
pub(in crate::policy) struct Duration(
    #[schemars(regex(pattern = "^([0-9]+[smhdw])+$"))] pub String,
);

/// An amount of data a second.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(example = "200MB/s")]
pub(in crate::policy) struct Rate(
    #[schemars(regex(pattern = r"^[0-9]+([.][0-9]{1,3})? ?(B|[KMGT]iB|kB|[MGT]B)/s$"))] pub String,
);

/// A cron pattern: minute, hour, day of month, month, day of week; or `@hourly`, `@daily`,
/// `@weekly`, `@monthly`, `@yearly`. `L`, `W` and `#` are understood.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(example = "0 2 * * *", example = "30 23 L * *")]
pub(in crate::policy) struct Cron(
    #[schemars(regex(pattern = r"^\s*(@[a-z]+|\S+(\s+\S+){4})\s*$"))] pub String,
);
