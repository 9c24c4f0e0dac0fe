//! Functions (`FUNCTION LOAD`) belong to a server, not to a slot: no migration carries them (docs/engine-facts.md). A shard that takes its first slots has
//! none, and who calls one for a key that has moved there would be refused.

use super::{COMMAND, Giving};
use crate::serving::error;
use valkeeper_client::{AdminConnection, Value};
use valkeeper_plan::agent::ServerError;

/// A library of functions, as its server lists it.
struct Library {
    name: Vec<u8>,
    /// Its source; not asked for everywhere.
    code: Option<Vec<u8>>,
}

impl Giving {
    /// Loads the libraries that the taking server lacks. One that it has stays as it is, whatever is in it.
    pub(super) async fn bring_functions(&self) -> Result<(), ServerError> {
        let there = libraries(&self.target, &["FUNCTION", "LIST"]).await?;
        let has = |library: &Library| there.iter().any(|known| known.name == library.name);
        if libraries(&self.source, &["FUNCTION", "LIST"]).await?.iter().all(has) {
            return Ok(());
        }
        for library in libraries(&self.source, &["FUNCTION", "LIST", "WITHCODE"]).await? {
            if has(&library) {
                continue;
            }
            let code = library.code.ok_or(ServerError::Garbled)?;
            let load: [&[u8]; 3] = [b"FUNCTION", b"LOAD", &code];
            self.target.raw(&load, COMMAND).await.map_err(|said| error(said, "function|load"))?;
        }
        Ok(())
    }
}

async fn libraries(server: &AdminConnection, ask: &[&str]) -> Result<Vec<Library>, ServerError> {
    match server.raw(ask, COMMAND).await.map_err(|said| error(said, "function|list"))? {
        Value::Array(all) => all.iter().map(|one| library(one).ok_or(ServerError::Garbled)).collect(),
        _ => Err(ServerError::Garbled),
    }
}

fn library(listed: &Value) -> Option<Library> {
    Some(Library { name: field(listed, "library_name")?, code: field(listed, "library_code") })
}

/// A field of a map, which RESP2 sends as a list of names and values.
fn field(map: &Value, name: &str) -> Option<Vec<u8>> {
    let is_named = |key: &Value| text(key).is_some_and(|key| key == name.as_bytes());
    match map {
        Value::Array(pairs) => {
            let pair = pairs.chunks(2).find(|pair| pair.first().is_some_and(is_named))?;
            text(pair.get(1)?).map(<[u8]>::to_vec)
        }
        Value::Map(pairs) => {
            let (_, value) = pairs.iter().find(|(key, _)| is_named(key))?;
            text(value).map(<[u8]>::to_vec)
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_library_is_read_in_both_protocols() {
        let fields = [
            ("library_name", bulk("lib")),
            ("functions", Value::Array(vec![])),
            ("library_code", bulk("#!lua")),
        ];
        let flat = fields.iter().flat_map(|(name, value)| [bulk(name), value.clone()]).collect();
        let pairs = fields.iter().map(|(name, value)| (bulk(name), value.clone())).collect();
        for listed in [Value::Array(flat), Value::Map(pairs)] {
            let one = library(&listed).expect("a library");
            assert_eq!((one.name.as_slice(), one.code.as_deref()), (&b"lib"[..], Some(&b"#!lua"[..])));
        }
        assert!(library(&Value::Array(vec![bulk("functions")])).is_none());
    }
}
