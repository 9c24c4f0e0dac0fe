//! The beginning of an append-only file of commands: the first key that is written.

use valkeeper_model::Slot;

/// Commands whose first argument is a key, whatever their form.
const OF_ONE_KEY: [&[u8]; 14] = [
    b"SET",
    b"DEL",
    b"UNLINK",
    b"HSET",
    b"SADD",
    b"ZADD",
    b"LPUSH",
    b"RPUSH",
    b"INCR",
    b"INCRBY",
    b"APPEND",
    b"PEXPIREAT",
    b"SETRANGE",
    b"RESTORE",
];

/// The slot of the first key, if one is written near the beginning. Annotations (`#TS:`) are passed over.
pub(crate) fn first_slot(bytes: &[u8]) -> Option<Slot> {
    let mut rest = bytes;
    loop {
        while rest.first() == Some(&b'#') {
            line(&mut rest)?;
        }
        let words: usize = number(line(&mut rest)?, b'*')?;
        let mut command: Vec<&[u8]> = Vec::new();
        for _ in 0..words {
            let length: usize = number(line(&mut rest)?, b'$')?;
            let (word, after) = rest.split_at_checked(length)?;
            rest = after.strip_prefix(b"\r\n")?;
            if command.len() < 2 {
                command.push(word);
            }
        }
        if let [name, key] = command[..]
            && OF_ONE_KEY.iter().any(|known| name.eq_ignore_ascii_case(known))
        {
            return Some(Slot::of_key(key));
        }
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, after) = rest.split_at(end);
    *rest = &after[2..];
    Some(line)
}

fn number(line: &[u8], kind: u8) -> Option<usize> {
    let digits = line.strip_prefix(&[kind])?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number <= 1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_that_is_written_is_found() {
        let text =
            "#TS:1700000000\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nset\r\n$3\r\nfoo\r\n$1\r\n1\r\n";
        assert_eq!(first_slot(text.as_bytes()), Some(Slot::of_key(b"foo")));
        for cut in 0..text.len() - 7 {
            assert_eq!(first_slot(&text.as_bytes()[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn what_is_no_command_tells_nothing() {
        assert_eq!(first_slot(b"rubbish"), None);
        assert_eq!(first_slot(b"*99999999999\r\n"), None);
        assert_eq!(first_slot(b"*1\r\n$5\r\nMULTI\r\n"), None);
        assert_eq!(first_slot(b""), None);
    }
}
