//! The text of `INFO` and `CLUSTER INFO`: `name:value` lines under `# Section` heads.

use super::error::AskError;
use redis::Value;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

/// The fields by name.
pub(super) struct Info<'a>(HashMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once(':'))
                .collect(),
        )
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// A field that every server has.
    pub(super) fn needed<T: FromStr>(&self, name: &str) -> Result<T, AskError> {
        self.optional(name)?.ok_or_else(|| AskError::garbled(format!("`{name}` is missing")))
    }

    /// A field that some versions or states lack.
    pub(super) fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, AskError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| AskError::garbled(format!("`{name}` is `{text}`")))
    }

    /// A field of 0 or 1; absent is 0.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("1")
    }

    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.text(name) == Some(value)
    }
}

/// The text of a reply.
/// A list of names and values in turn; `what` is what was asked for.
pub(super) fn fields_of(what: &str, value: Value) -> Result<BTreeMap<String, String>, AskError> {
    let Value::Array(parts) = value else { return Err(AskError::garbled(format!("{what} is no list"))) };
    let mut parts = parts.into_iter();
    let mut fields = BTreeMap::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        fields.insert(text_of(name)?, text_of(value)?);
    }
    Ok(fields)
}

pub(super) fn text_of(value: Value) -> Result<String, AskError> {
    match value {
        Value::BulkString(bytes) => {
            String::from_utf8(bytes).map_err(|_| AskError::garbled("it is not UTF-8"))
        }
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text),
        Value::Okay => Ok("OK".to_owned()),
        Value::Int(number) => Ok(number.to_string()),
        _ => Err(AskError::garbled("it is not a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_and_says_what_is_wrong() {
        let info = Info::new("# Server\r\nrun_id:abc\r\n\r\n# Other\r\nn:12\r\nloading:1\r\nurl:a:b\r\n");
        assert_eq!(info.text("run_id"), Some("abc"));
        assert_eq!(info.text("url"), Some("a:b"));
        assert_eq!(info.needed::<u64>("n"), Ok(12));
        assert!(info.flag("loading"));
        assert_eq!(info.optional::<u64>("none"), Ok(None));
        assert_eq!(info.needed::<u64>("run_id"), Err(AskError::garbled("`run_id` is `abc`")));
        assert_eq!(info.needed::<u64>("none"), Err(AskError::garbled("`none` is missing")));
    }
}
