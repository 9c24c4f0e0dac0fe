//! Which command kept our server silent, as its slow log tells once it answers again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use valkeeper_client::{AdminConnection, Value};
use valkeeper_model::SlowCommand;

/// Entries of the slow log that are looked through, newest first.
const ENTRIES: &str = "16";
/// Shorter ones do not keep a look waiting.
const NOTABLE_MS: u64 = 500;

/// Whether our server was silent. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Silenced(Arc<AtomicBool>);

impl Silenced {
    /// It did not answer a look in time.
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// It has answered. The slowest of the last commands, if it was silent before.
    pub(crate) async fn cause(&self, server: &AdminConnection, within: Duration) -> Option<SlowCommand> {
        if !self.0.swap(false, Ordering::Relaxed) {
            return None;
        }
        let Ok(Value::Array(entries)) = server.raw(&["SLOWLOG", "GET", ENTRIES], within).await else {
            return None;
        };
        let slow = entries.iter().filter_map(entry).filter(|slow| slow.took_ms >= NOTABLE_MS);
        slow.max_by_key(|slow| slow.took_ms)
    }
}

/// `[number, Unix time, microseconds, [words], client, name of the client]`. Of the words only the first: the others may be data.
fn entry(entry: &Value) -> Option<SlowCommand> {
    let Value::Array(parts) = entry else { return None };
    let [_, _, Value::Int(micros), Value::Array(words), client, ..] = parts.as_slice() else { return None };
    Some(SlowCommand {
        command: text(words.first()?)?.to_ascii_uppercase(),
        client: text(client)?,
        took_ms: u64::try_from(*micros).ok()? / 1_000,
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_the_command_and_the_client_but_no_data() {
        let words = |words: &[&str]| {
            Value::Array(words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec())).collect())
        };
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let one = Value::Array(vec![
            Value::Int(7),
            Value::Int(1_700_000_000),
            Value::Int(2_000_345),
            words(&["debug", "sleep", "2"]),
            bulk("10.0.0.9:4711"),
            bulk(""),
        ]);
        let slow =
            SlowCommand { command: "DEBUG".to_owned(), client: "10.0.0.9:4711".to_owned(), took_ms: 2_000 };
        assert_eq!(entry(&one), Some(slow));
        assert_eq!(entry(&Value::Int(1)), None);
    }
}
