//! A reply as text, as bytes, and as a document. Connections speak RESP2: no other kinds of values come.

use std::fmt::Write as _;
use valkeeper_client::Value;

/// Is a reply to it meant to be read as it is, as redis-cli shows it?
pub(crate) fn is_text<A: AsRef<[u8]>>(words: &[A]) -> bool {
    let word = |index: usize| {
        words
            .get(index)
            .map(|word| String::from_utf8_lossy(word.as_ref()).to_ascii_uppercase())
            .unwrap_or_default()
    };
    match word(0).as_str() {
        "INFO" | "LOLWUT" => true,
        "CLUSTER" => matches!(word(1).as_str(), "INFO" | "NODES"),
        "CLIENT" => matches!(word(1).as_str(), "LIST" | "INFO"),
        "MEMORY" => matches!(word(1).as_str(), "MALLOC-STATS" | "DOCTOR"),
        "LATENCY" => matches!(word(1).as_str(), "GRAPH" | "DOCTOR"),
        "DEBUG" => matches!(word(1).as_str(), "HTSTATS" | "HTSTATS-KEY" | "CLIENT-EVICTION"),
        _ => false,
    }
}

/// With types and quotes: what redis-cli prints on a terminal. Text that is meant to be read stands as it is, but for what would tell the
/// terminal anything else than to go to the next line.
pub(crate) fn typed(value: &Value, is_text: bool) -> String {
    let mut text = String::new();
    if let (Value::BulkString(bytes), true) = (value, is_text) {
        let readable = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        text.extend(String::from_utf8_lossy(bytes).chars().filter(readable));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        return text;
    }
    write_typed(value, "", &mut text);
    text
}

fn write_typed(value: &Value, indent: &str, text: &mut String) {
    let _ = match value {
        Value::Nil => writeln!(text, "(nil)"),
        Value::Int(number) => writeln!(text, "(integer) {number}"),
        Value::BulkString(bytes) => writeln!(text, "{}", quoted(bytes)),
        Value::Okay => writeln!(text, "OK"),
        Value::SimpleString(word) => writeln!(text, "{word}"),
        Value::ServerError(_) => writeln!(text, "(error) {}", error(value)),
        Value::Array(parts) if parts.is_empty() => writeln!(text, "(empty array)"),
        Value::Array(parts) => return write_list(parts, indent, text),
        other => writeln!(text, "{other:?}"),
    };
}

fn write_list(parts: &[Value], indent: &str, text: &mut String) {
    let width = parts.len().to_string().len();
    let deeper = format!("{indent}{}", " ".repeat(width + 2));
    for (index, part) in parts.iter().enumerate() {
        // The first of a nested list stands on its parent's line.
        let before = if index == 0 { "" } else { indent };
        let _ = write!(text, "{before}{:>width$}) ", index + 1);
        write_typed(part, &deeper, text);
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        let _ = match byte {
            b'"' | b'\\' => write!(text, "\\{}", char::from(*byte)),
            b'\n' => write!(text, "\\n"),
            b'\r' => write!(text, "\\r"),
            b'\t' => write!(text, "\\t"),
            8 => write!(text, "\\b"),
            7 => write!(text, "\\a"),
            b' '..=b'~' => write!(text, "{}", char::from(*byte)),
            other => write!(text, "\\x{other:02x}"),
        };
    }
    text.push('"');
    text
}

/// The words of an error inside a reply: its code and the rest.
fn error(value: &Value) -> String {
    match value {
        Value::ServerError(error) => {
            format!("{} {}", error.code(), error.details().unwrap_or_default()).trim_end().to_owned()
        }
        _ => String::new(),
    }
}

/// The bytes alone, a line each: what redis-cli prints into a pipe.
pub(crate) fn raw(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_raw(value, &mut bytes);
    bytes
}

fn append_raw(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Nil => {}
        Value::Int(number) => bytes.extend_from_slice(number.to_string().as_bytes()),
        Value::BulkString(body) => bytes.extend_from_slice(body),
        Value::Okay => bytes.extend_from_slice(b"OK"),
        Value::SimpleString(word) => bytes.extend_from_slice(word.as_bytes()),
        Value::ServerError(_) => bytes.extend_from_slice(error(value).as_bytes()),
        Value::Array(parts) => return parts.iter().for_each(|part| append_raw(part, bytes)),
        other => bytes.extend_from_slice(format!("{other:?}").as_bytes()),
    }
    bytes.push(b'\n');
}

/// For programs. Bytes that are no UTF-8 become `{"hex": "…"}`, an error inside a reply `{"error": "…"}`.
pub(crate) fn document(value: &Value) -> serde_json::Value {
    use serde_json::{Value as Json, json};
    match value {
        Value::Nil => Json::Null,
        Value::Int(number) => json!(number),
        Value::BulkString(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "hex": hex(bytes) }),
        },
        Value::Okay => json!("OK"),
        Value::SimpleString(word) => json!(word),
        Value::ServerError(_) => json!({ "error": error(value) }),
        Value::Array(parts) => parts.iter().map(document).collect(),
        other => json!(format!("{other:?}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn nested() -> Value {
        let inner = Value::Array(vec![bulk("a"), Value::Array(vec![Value::Int(1), Value::Nil])]);
        Value::Array(vec![inner, Value::Array(Vec::new()), bulk("z")])
    }

    #[test]
    fn typed_as_redis_cli_shows_it() {
        assert_eq!(typed(&Value::Int(3), false), "(integer) 3\n");
        assert_eq!(typed(&Value::BulkString(b"a\"\n\x01\xff".to_vec()), false), "\"a\\\"\\n\\x01\\xff\"\n");
        assert_eq!(
            typed(&nested(), false),
            "1) 1) \"a\"\n   2) 1) (integer) 1\n      2) (nil)\n2) (empty array)\n3) \"z\"\n"
        );
        let ten = typed(&Value::Array((0..10).map(Value::Int).collect()), false);
        assert!(ten.starts_with(" 1) (integer) 0\n") && ten.ends_with("\n10) (integer) 9\n"), "{ten}");
    }

    #[test]
    fn info_is_text_and_cannot_steer_the_terminal() {
        assert!(is_text(&[b"info"]) && is_text(&[b"CLUSTER".as_slice(), b"NODES"]));
        assert!(!is_text(&[b"GET".as_slice(), b"INF"]) && !is_text::<&[u8]>(&[]));
        assert_eq!(typed(&bulk("# A\r\na:1\r\nb:\x1b[2J"), true), "# A\na:1\nb:[2J\n");
    }

    #[test]
    fn raw_is_a_line_each() {
        assert_eq!(raw(&nested()), b"a\n1\n\nz\n");
        assert_eq!(raw(&Value::Okay), b"OK\n");
    }

    #[test]
    fn documents_lose_nothing() {
        assert_eq!(document(&nested()), json!([["a", [1, null]], [], "z"]));
        assert_eq!(document(&Value::BulkString(vec![0xff, 1])), json!({ "hex": "ff01" }));
    }
}
