//! Commands as they stand in a stream: `*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n`. Of each only the name is looked at; the rest of it is passed on as it comes.

/// What does not look like a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

/// Where in a command the stream is.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Bytes of the present word that are to come, its line break too.
    bytes_left: usize,
    /// Words of the present command that are to come after it.
    words_left: usize,
}

/// What stands at the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// More has to come first.
    Nothing,
    /// So many bytes that may pass.
    Bytes(usize),
    /// The beginning of a command that removes all keys; [`Stream::begin_here`] passes it.
    Empties,
}

/// A number in a stream has so many digits at most.
const DIGITS: usize = 20;
/// No command has a longer name.
const LONGEST_NAME: usize = 128;

impl Stream {
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Found, Garbled> {
        if self.bytes_left > 0 {
            let take = self.bytes_left.min(bytes.len());
            self.bytes_left -= take;
            return Ok(Found::Bytes(take));
        }
        if self.words_left > 0 {
            let Some((length, begin)) = number(bytes, 0, b'$')? else { return Ok(Found::Nothing) };
            self.words_left -= 1;
            self.bytes_left = length.checked_add(2).ok_or(Garbled)?;
            return Ok(Found::Bytes(begin));
        }
        if bytes.first() == Some(&b'\n') {
            return Ok(Found::Bytes(1));
        }
        let Some(head) = Head::read(bytes)? else { return Ok(Found::Nothing) };
        if head.empties {
            return Ok(Found::Empties);
        }
        Ok(Found::Bytes(self.begin(&head)))
    }

    /// Passes the beginning of the command that stands at the front: how many bytes that is.
    pub(super) fn begin_here(&mut self, bytes: &[u8]) -> usize {
        match Head::read(bytes) {
            Ok(Some(head)) => self.begin(&head),
            Ok(None) | Err(Garbled) => 0,
        }
    }

    fn begin(&mut self, head: &Head) -> usize {
        self.words_left = head.words - 1;
        // The line break after the name.
        self.bytes_left = 2;
        head.length
    }
}

/// The beginning of a command, with its name.
struct Head {
    words: usize,
    empties: bool,
    /// Bytes up to the end of the name.
    length: usize,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Option<Self>, Garbled> {
        let Some((words, at)) = number(bytes, 0, b'*')? else { return Ok(None) };
        let Some((length, begin)) = number(bytes, at, b'$')? else { return Ok(None) };
        if words == 0 || length > LONGEST_NAME {
            return Err(Garbled);
        }
        let Some(name) = bytes.get(begin..begin + length) else { return Ok(None) };
        let empties = name.eq_ignore_ascii_case(b"FLUSHALL") || name.eq_ignore_ascii_case(b"FLUSHDB");
        Ok(Some(Self { words, empties, length: begin + length }))
    }
}

/// The words of the first command, and how many bytes it has. `None` while it has not come whole, or is none.
pub(super) fn words(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (count, mut at) = number(bytes, 0, b'*').ok()??;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, begin) = number(bytes, at, b'$').ok()??;
        let end = begin.checked_add(length)?;
        words.push(bytes.get(begin..end)?.to_vec());
        at = end.checked_add(2)?;
    }
    (at <= bytes.len()).then_some((words, at))
}

/// The number in a line that begins with that byte, and where the next line begins; `None` while the line has not come whole.
fn number(bytes: &[u8], from: usize, first: u8) -> Result<Option<(usize, usize)>, Garbled> {
    let Some(line) = bytes.get(from..).filter(|line| !line.is_empty()) else { return Ok(None) };
    if line.first() != Some(&first) {
        return Err(Garbled);
    }
    let Some(end) = line.iter().take(DIGITS + 3).position(|byte| *byte == b'\n') else {
        return if line.len() > DIGITS + 3 { Err(Garbled) } else { Ok(None) };
    };
    let digits = line.get(1..end).map(<[u8]>::trim_ascii_end).ok_or(Garbled)?;
    let text = std::str::from_utf8(digits).map_err(|_| Garbled)?;
    Ok(Some((text.parse().map_err(|_| Garbled)?, from + end + 1)))
}
