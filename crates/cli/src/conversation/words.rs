//! A line as words, quoted as redis-cli wants it.

use std::iter::Peekable;
use std::slice::Iter;

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unbalanced {
    #[error("a quote is not closed")]
    Open,
    #[error("a closing quote is followed by something else than a space")]
    Followed,
}

type Bytes<'a> = Peekable<Iter<'a, u8>>;

/// Splits at white space. `"…"` knows `\n \r \t \b \a \xHH` and takes any other escaped character as it is; `'…'` knows only
/// `\'`.
pub(crate) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = line.iter().peekable();
    loop {
        while rest.next_if(|byte| byte.is_ascii_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut rest)?);
    }
}

fn word(rest: &mut Bytes<'_>) -> Result<Vec<u8>, Unbalanced> {
    let mut word = Vec::new();
    while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'"' => {
                double_quoted(rest, &mut word)?;
                return closed(rest, word);
            }
            b'\'' => {
                single_quoted(rest, &mut word)?;
                return closed(rest, word);
            }
            byte => word.push(*byte),
        }
    }
    Ok(word)
}

fn closed(rest: &mut Bytes<'_>, word: Vec<u8>) -> Result<Vec<u8>, Unbalanced> {
    match rest.peek() {
        Some(byte) if !byte.is_ascii_whitespace() => Err(Unbalanced::Followed),
        _ => Ok(word),
    }
}

fn double_quoted(rest: &mut Bytes<'_>, word: &mut Vec<u8>) -> Result<(), Unbalanced> {
    loop {
        match *rest.next().ok_or(Unbalanced::Open)? {
            b'"' => return Ok(()),
            b'\\' => word.push(escaped(rest)?),
            byte => word.push(byte),
        }
    }
}

fn escaped(rest: &mut Bytes<'_>) -> Result<u8, Unbalanced> {
    Ok(match *rest.next().ok_or(Unbalanced::Open)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        b'x' => {
            let mut ahead = rest.clone();
            let mut digit = || ahead.next().and_then(|byte| char::from(*byte).to_digit(16));
            match (digit(), digit()) {
                (Some(high), Some(low)) => {
                    *rest = ahead;
                    u8::try_from(high * 16 + low).unwrap_or(b'x')
                }
                _ => b'x',
            }
        }
        other => other,
    })
}

fn single_quoted(rest: &mut Bytes<'_>, word: &mut Vec<u8>) -> Result<(), Unbalanced> {
    loop {
        match *rest.next().ok_or(Unbalanced::Open)? {
            b'\'' => return Ok(()),
            b'\\' if rest.next_if(|byte| **byte == b'\'').is_some() => word.push(b'\''),
            byte => word.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        split(line.as_bytes()).unwrap()
    }

    #[test]
    fn splits_as_redis_cli_does() {
        assert_eq!(words("  SET  k\tv \r\n"), [&b"SET"[..], b"k", b"v"]);
        assert_eq!(words(r#"SET "a b" 'c d'"#), [&b"SET"[..], b"a b", b"c d"]);
        assert_eq!(
            words(r#""\x00\xfF\n\r\t\b\a\"\\\q\xZ""#),
            [[0, 0xff, b'\n', b'\r', b'\t', 8, 7, b'"', b'\\', b'q', b'x', b'Z']]
        );
        assert_eq!(words(r"'it\'s \n'"), [b"it's \\n"]);
        assert_eq!(words(r#"SET k """#), [&b"SET"[..], b"k", b""]);
        assert_eq!(words("a\"b c\""), [b"ab c"]);
        assert_eq!(words(" \n"), [[0_u8; 0]; 0]);
    }

    #[test]
    fn refuses_what_is_not_closed() {
        for line in ["\"a", "'a", "\"a\\", "SET k \"a\\\""] {
            assert_eq!(split(line.as_bytes()), Err(Unbalanced::Open), "{line}");
        }
        for line in ["\"a\"b", "'a'b", "\"a\"\"b\""] {
            assert_eq!(split(line.as_bytes()), Err(Unbalanced::Followed), "{line}");
        }
    }
}
