//! How values of the model look in a column.

use std::fmt;

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::types::FromSqlError;
use rusqlite::types::FromSqlResult;
use rusqlite::types::ValueRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use serde::de::value::StrDeserializer;

use crate::state::error::Trouble;

/// A value that is one word of text: an id, a time, a mark.
pub(super) struct Word<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text: StrDeserializer<'_, Error> = value.as_str()?.into_deserializer();
        T::deserialize(text)
            .map(Self)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// A time, so that times sort as text.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Trouble> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)).into())
}

/// A value from JSON. Keys that are not known are passed over: a newer program may have added them.
pub(super) fn parse<T: DeserializeOwned>(
    what: fmt::Arguments<'_>,
    text: &str,
) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| Trouble::unreadable(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_text_and_come_back() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let whole = at("2026-11-23T02:00:00Z");
        let later = at("2026-11-23T02:00:00.000000001Z");
        assert!(time(whole) < time(later));
        assert_eq!(at(&time(later)), later);
    }
}
