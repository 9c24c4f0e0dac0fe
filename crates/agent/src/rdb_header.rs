//! The beginning of a snapshot: to which history it belongs, and its first key. The format is the engine's `rdb.h` (Redis 6.2 to
//! Valkey 9.1); what is not known ends the reading, and is no error: whether a snapshot can be loaded is the engine's to say.

use valkeeper_model::{Offset, Position, ReplicationId, Slot};
use valkeeper_plan::failover::copy::RdbFile;

const MAGIC: usize = 9;
const AUX: u8 = 250;
const RESIZE_DB: u8 = 251;
const EXPIRE_MS: u8 = 252;
const EXPIRE_S: u8 = 253;
const SELECT_DB: u8 = 254;
const IDLE: u8 = 248;
const FREQ: u8 = 249;
const FUNCTION: u8 = 245;
const SLOT_INFO: u8 = 244;
/// The highest type of a value; what is above is an opcode.
const LAST_TYPE: u8 = 30;

/// Reads what the first bytes of a snapshot tell.
pub(crate) fn parse(bytes: &[u8]) -> RdbFile {
    let mut file = RdbFile::default();
    let (mut history, mut offset) = (None, None);
    let mut rest = Reader(bytes.get(MAGIC..).unwrap_or_default());
    let _ = rest.items(&mut |item| match item {
        Item::Aux { name: b"repl-id", value } => history = text(&value),
        Item::Aux { name: b"repl-offset", value } => offset = text(&value),
        Item::Aux { .. } => {}
        Item::Key(key) => file.slot = Some(Slot::of_key(key)),
    });
    let position = |history: String, offset: String| {
        let history: ReplicationId = history.parse().ok()?;
        Some(Position { history, offset: Offset(offset.parse().ok()?) })
    };
    file.position = history.zip(offset).and_then(|(history, offset)| position(history, offset));
    file
}

enum Item<'a> {
    Aux { name: &'a [u8], value: Text<'a> },
    Key(&'a [u8]),
}

/// A string: as it is, or a number in binary.
enum Text<'a> {
    Bytes(&'a [u8]),
    Number(i64),
    /// Compressed: not read here.
    Compressed,
}

fn text(value: &Text<'_>) -> Option<String> {
    match value {
        Text::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        Text::Number(number) => Some(number.to_string()),
        Text::Compressed => None,
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Everything up to and with the first key. `None` where the bytes end or are not understood.
    fn items(&mut self, each: &mut dyn FnMut(Item<'a>)) -> Option<()> {
        loop {
            match self.byte()? {
                AUX => {
                    let (name, value) = (self.text()?, self.text()?);
                    if let Text::Bytes(name) = name {
                        each(Item::Aux { name, value });
                    }
                }
                SELECT_DB | IDLE => {
                    self.length()?;
                }
                RESIZE_DB => {
                    self.length()?;
                    self.length()?;
                }
                SLOT_INFO => {
                    self.length()?;
                    self.length()?;
                    self.length()?;
                }
                FUNCTION => {
                    self.text()?;
                }
                EXPIRE_MS => {
                    self.take(8)?;
                }
                EXPIRE_S => {
                    self.take(4)?;
                }
                FREQ => {
                    self.byte()?;
                }
                kind if kind <= LAST_TYPE => {
                    if let Text::Bytes(key) = self.text()? {
                        each(Item::Key(key));
                    }
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn length(&mut self) -> Option<usize> {
        let first = self.byte()?;
        match first >> 6 {
            0 => Some(usize::from(first & 0x3f)),
            1 => Some(usize::from(first & 0x3f) << 8 | usize::from(self.byte()?)),
            2 if first == 0x80 => Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?) as usize),
            2 if first == 0x81 => usize::try_from(u64::from_be_bytes(self.take(8)?.try_into().ok()?)).ok(),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<Text<'a>> {
        let first = *self.0.first()?;
        if first >> 6 != 3 {
            let length = self.length()?;
            return self.take(length).map(Text::Bytes);
        }
        self.byte();
        Some(match first & 0x3f {
            0 => Text::Number(i64::from(i8::from_le_bytes(self.take(1)?.try_into().ok()?))),
            1 => Text::Number(i64::from(i16::from_le_bytes(self.take(2)?.try_into().ok()?))),
            2 => Text::Number(i64::from(i32::from_le_bytes(self.take(4)?.try_into().ok()?))),
            3 => {
                let (compressed, _) = (self.length()?, self.length()?);
                self.take(compressed)?;
                Text::Compressed
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aux(name: &str, value: &[u8]) -> Vec<u8> {
        let string = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
        [&[AUX][..], &string(name.as_bytes()), value].concat()
    }

    #[test]
    fn the_history_and_the_first_key_are_found() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let bytes = [
            b"REDIS0011".as_slice(),
            &aux("redis-bits", &[0xc0, 64]),
            &aux("repl-id", &[&[40], id.as_bytes()].concat()),
            &aux("repl-offset", &[0xc1, 0x10, 0x27]),
            &[SELECT_DB, 0, RESIZE_DB, 1, 0, EXPIRE_MS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
            b"foo",
            &[3],
            b"bar",
        ]
        .concat();
        let read = parse(&bytes);
        let position = Position { history: id.parse().unwrap(), offset: Offset(10_000) };
        assert_eq!(read, RdbFile { position: Some(position), slot: Some(Slot::of_key(b"foo")) });
        for cut in 0..bytes.len() {
            parse(&bytes[..cut]);
        }
    }

    #[test]
    fn garbage_tells_nothing() {
        assert_eq!(parse(b"REDIS0011\xff\x00"), RdbFile::default());
        assert_eq!(parse(&[0; 4096]).position, None);
        assert_eq!(parse(b""), RdbFile::default());
    }
}
