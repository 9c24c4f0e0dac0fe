//! The handshake of a replica, as both sides see it: which answer is that to `PSYNC`, and where the stream begins.

use super::stream::words;
use valkeeper_model::{Offset, Position, ReplicationId};

/// What an answer of the source means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// To something else than `PSYNC`, or a refusal: the replica sees to it.
    Other,
    /// `+CONTINUE`: the stream goes on, in another history if one is named.
    Continues(Option<ReplicationId>),
    /// `+FULLRESYNC`: a full copy of that history comes.
    FullCopy(Option<ReplicationId>),
    /// A copy comes at once, of a history that is not named (`SYNC`).
    CopyAtOnce,
    /// Something else.
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Handshake {
    commands: Vec<u8>,
    sent: usize,
    answered: usize,
    /// The number of `PSYNC` or `SYNC` among the commands, and where it asks to go on.
    asked: Option<(usize, Option<Position>)>,
    at: Option<Position>,
    is_over: bool,
}

/// A replica sends a few short commands.
const LONGEST: usize = 64 << 10;

impl Handshake {
    pub(super) fn read_commands(&mut self, bytes: &[u8]) {
        if self.is_over || self.asked.is_some() {
            return;
        }
        self.commands.extend_from_slice(bytes);
        while let Some((words, length)) = words(&self.commands) {
            self.commands.drain(..length);
            let name = words.first().map(|word| word.to_ascii_uppercase());
            match name.as_deref() {
                Some(b"PSYNC") => {
                    let place = || {
                        let history = std::str::from_utf8(words.get(1)?).ok()?.parse().ok()?;
                        let next: u64 = std::str::from_utf8(words.get(2)?).ok()?.parse().ok()?;
                        Some(Position { history, offset: Offset(next.checked_sub(1)?) })
                    };
                    self.asked = Some((self.sent, place()));
                }
                Some(b"SYNC") => self.asked = Some((self.sent, None)),
                _ => {}
            }
            self.sent += 1;
        }
        if self.commands.len() > LONGEST {
            self.is_over = true;
        }
    }

    /// The next answer.
    pub(super) fn reply(&mut self, line: &[u8]) -> Reply {
        let number = self.answered;
        self.answered += 1;
        let Some((_, place)) = self.asked.filter(|(asked, _)| *asked == number) else { return Reply::Other };
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_ascii_whitespace();
        match words.next() {
            Some("+FULLRESYNC") => {
                let history: Option<ReplicationId> = words.next().and_then(|id| id.parse().ok());
                let offset = words.next().and_then(|offset| offset.parse().ok()).map(Offset);
                self.at = history.zip(offset).map(|(history, offset)| Position { history, offset });
                Reply::FullCopy(history)
            }
            Some("+CONTINUE") => {
                self.at = place;
                Reply::Continues(words.next().and_then(|id| id.parse().ok()))
            }
            Some(word) if word.starts_with('$') => Reply::CopyAtOnce,
            Some(word) if word.starts_with('-') => {
                // It may ask again.
                self.asked = None;
                Reply::Other
            }
            _ => Reply::Unknown,
        }
    }

    /// The stream goes on in this history.
    pub(super) fn goes_on_in(&mut self, history: Option<ReplicationId>) {
        if let (Some(at), Some(history)) = (&mut self.at, history) {
            at.history = history;
        }
    }

    /// Where the stream is.
    pub(super) fn position(&self) -> Option<Position> {
        self.at
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        if let Some(at) = &mut self.at {
            at.offset.0 += bytes;
        }
    }
}
