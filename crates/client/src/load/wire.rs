//! The smallest connection that can write fast: blocking, because a thread that waits in `read` learns of an answer
//! within microseconds, where a runtime's timers and wake-ups are as coarse as the gaps to be measured.

use crate::{Endpoint, Password};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Read at once at most. Replies to writes are short; values read back are bounded by the batch.
const CHUNK: usize = 64 << 10;

/// Longest bulk: what this load wrote itself is far smaller.
const LONGEST_BULK: usize = 16 << 20;

/// One element of a reply; an array is its header, followed by its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `+…`: done.
    Simple,
    /// `-CODE text`.
    Error { code: String, text: String },
    /// `:n` or `*n`.
    Number(i64),
    /// `$…`.
    Bulk(Option<Vec<u8>>),
}

/// A connection that is authenticated.
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer has been read from the socket, and how much of that has been taken.
    filled: usize,
    taken: usize,
    timeout: Duration,
}

impl Wire {
    pub(super) fn connect(to: &Endpoint, password: Option<&Password>, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&resolve(to)?, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let mut wire = Self { stream, buffer: vec![0; CHUNK], filled: 0, taken: 0, timeout };
        if let Some(password) = password {
            wire.send(&command(&[b"AUTH", b"default", password.reveal().as_bytes()]))?;
            if let Token::Error { code, .. } = wire.token()? {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, code));
            }
        }
        Ok(wire)
    }

    /// How long to wait for an answer from now on.
    pub(super) fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        if self.timeout != timeout {
            self.stream.set_read_timeout(Some(timeout))?;
            self.timeout = timeout;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next token, waiting for it.
    pub(super) fn token(&mut self) -> io::Result<Token> {
        loop {
            if let Some(token) = self.ready()? {
                return Ok(token);
            }
            self.fill()?;
        }
    }

    /// The next token if it is already here.
    pub(super) fn ready(&mut self) -> io::Result<Option<Token>> {
        let Some((token, len)) = parse(&self.buffer[self.taken..self.filled])? else { return Ok(None) };
        self.taken += len;
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
        Ok(Some(token))
    }

    /// Reads what is there, at least one byte. Grows only for a token longer than the buffer, which `parse` bounds.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.filled += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn resolve(to: &Endpoint) -> io::Result<SocketAddr> {
    match to.socket() {
        Some(socket) => Ok(socket),
        None => (to.host.as_str(), to.port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound.into()),
    }
}

/// A command on the wire.
pub(super) fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        append_bulk(&mut bytes, arg);
    }
    bytes
}

pub(super) fn append_bulk(bytes: &mut Vec<u8>, arg: &[u8]) {
    bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
    bytes.extend_from_slice(arg);
    bytes.extend_from_slice(b"\r\n");
}

/// The first token and its length; `None` if it is not whole yet.
fn parse(bytes: &[u8]) -> io::Result<Option<(Token, usize)>> {
    let garbled = || io::Error::from(io::ErrorKind::InvalidData);
    if bytes.starts_with(b"+OK\r\n") {
        return Ok(Some((Token::Simple, 5)));
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() > CHUNK { Err(garbled()) } else { Ok(None) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or_else(garbled)?;
    let (kind, rest) = line.split_first().ok_or_else(garbled)?;
    let rest = std::str::from_utf8(rest).map_err(|_| garbled())?;
    let number = || rest.parse::<i64>().map_err(|_| garbled());
    let token = match kind {
        b'+' => Token::Simple,
        b'-' => {
            let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
            Token::Error { code: code.to_owned(), text: text.to_owned() }
        }
        b':' | b'*' => Token::Number(number()?),
        b'$' => {
            let Ok(len) = usize::try_from(number()?) else { return Ok(Some((Token::Bulk(None), end + 1))) };
            if len > LONGEST_BULK {
                return Err(garbled());
            }
            let body = end + 1..end + 1 + len;
            return match bytes.get(body.end..body.end + 2) {
                Some(b"\r\n") => Ok(Some((Token::Bulk(Some(bytes[body.clone()].to_vec())), body.end + 2))),
                Some(_) => Err(garbled()),
                None => Ok(None),
            };
        }
        _ => return Err(garbled()),
    };
    Ok(Some((token, end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_tokens_one_by_one() {
        let error = Token::Error { code: "MOVED".to_owned(), text: "1 a:2".to_owned() };
        for (bytes, token) in [
            (&b"+OK\r\n"[..], Token::Simple),
            (b"+QUEUED\r\n", Token::Simple),
            (b"-MOVED 1 a:2\r\n", error),
            (b"*2\r\n", Token::Number(2)),
            (b"$-1\r\n", Token::Bulk(None)),
            (b"$3\r\na\nb\r\n", Token::Bulk(Some(b"a\nb".to_vec()))),
        ] {
            let mut more = bytes.to_vec();
            more.extend_from_slice(b"+next");
            assert_eq!(parse(&more).unwrap(), Some((token, bytes.len())));
            assert_eq!(parse(&bytes[..bytes.len() - 1]).unwrap(), None);
        }
        assert!(parse(b"HTTP/1.1 200\r\n").is_err());
        assert!(parse(b"$99999999999\r\n").is_err());
        assert_eq!(command(&[b"GET", b"k"]), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&bytes);
        }
    }
}
