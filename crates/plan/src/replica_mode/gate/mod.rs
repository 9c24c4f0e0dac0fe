//! The gate before the copy that is held back: one member follows the source through its agent, which reads along. What would empty the copy, a full
//! copy of another history or a `FLUSHALL`, does not pass: the connection is cut before the server has read it. So a source that comes back
//! empty, or that somebody flushes, does not empty every copy at once.
//!
//! Bytes are looked at and passed on as they are. A gate is of one connection; what it may let through, [`Allowed`], is told anew for each.
//!
//! | file | what |
//! | --- | --- |
//! | `replies.rs` | the answers to a replica's handshake, a line each |
//! | `stream.rs` | the commands of the stream that follows |

mod replies;
mod stream;

use crate::protocol::Passes;
use replies::{Handshake, Reply};
use stream::{Found, Garbled, Stream};
use valkeeper_model::{HeldBack, Offset, Position, ReplicationId, SourceView};

/// A copy may be ahead of a source that has failed over by what the dead primary had sent to the copy, and not yet to its successor: bytes. The
/// source has lost that itself, and a person who had to decide after every such failover would stop to read. More than this is another matter:
/// the successor held an old copy, and the writes that it lacks may be in this one alone.
const LOST_BY_FAILOVER: u64 = 1 << 20;

/// What a connection may let through.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// By the copy's agent.
    pub passes: Passes,
    /// The source as it was seen last.
    pub source: Option<SourceView>,
}

impl Allowed {
    /// Why a full copy of that history does not pass; `None` if it does.
    fn refuse_copy_of(&self, history: Option<ReplicationId>) -> Option<Cut> {
        let Passes { own, is_empty, accepted, .. } = self.passes;
        let accepted = |history: ReplicationId| accepted.is_some_and(|up_to| up_to.history == history);
        if is_empty || history.is_some_and(accepted) {
            return None;
        }
        if own.is_some_and(|own| Some(own.history) == history) {
            return None;
        }
        // The source may have become what it is since it was seen: it is asked again before anything is held back.
        let Some(source) = self.source.as_ref().filter(|source| Some(source.replid) == history) else {
            return Some(Cut::Undecided);
        };
        let goes_on = |own: Position| {
            source.branched_from.is_some_and(|from| {
                let ahead = own.offset.0.saturating_sub(from.offset.0);
                from.history == own.history && ahead <= LOST_BY_FAILOVER
            })
        };
        if own.is_some_and(goes_on) {
            return None;
        }
        let keys = source.keys;
        Some(Cut::Held(HeldBack::OtherHistory { history: source.replid, keys }))
    }

    /// May the stream empty the copy at that place?
    fn may_flush(&self, at: Position) -> bool {
        let Passes { is_empty, accepted, .. } = self.passes;
        is_empty || accepted.is_some_and(|up_to| up_to.history == at.history && at.offset <= up_to.offset)
    }
}

/// Why a connection is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// What it would do is held back until a person accepts it.
    Held(HeldBack),
    /// Not known yet: the server connects again, and the source has been seen anew by then.
    Undecided,
    /// It does not speak as a source does.
    NotUnderstood,
}

/// The gate of one connection.
#[derive(Debug)]
pub struct Gate {
    allowed: Allowed,
    handshake: Handshake,
    phase: Phase,
    /// What has come and is not passed on yet: less than a line, a mark, or the name of a command.
    held: Vec<u8>,
}

#[derive(Debug)]
enum Phase {
    /// Lines, each an answer to a command of the replica.
    Replies,
    /// The line before a copy: how long it is, or how it ends.
    CopyBegins,
    /// So many bytes of a copy are to come.
    Copy { left: u64 },
    /// A copy ends with this mark.
    CopyUntil { mark: Vec<u8> },
    /// The stream.
    Stream(Stream),
    /// A connection that carries nothing which could be lost.
    Open,
}

/// No line of a handshake is longer.
const LONGEST_LINE: usize = 4_096;

/// What is done with the bytes at the front.
enum Step {
    /// So many are passed on.
    Pass(usize),
    /// The same, and another phase follows.
    Then(usize, Phase),
    /// More have to come first.
    Wait,
    /// The connection ends here.
    Cut(Cut),
}

impl Gate {
    /// Of a connection that begins.
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed, handshake: Handshake::default(), phase: Phase::Replies, held: Vec::new() }
    }

    /// Reads what the replica sends to the source; all of it is passed on.
    pub fn read_replica(&mut self, bytes: &[u8]) {
        self.handshake.read_commands(bytes);
    }

    /// Reads what the source sends. Adds to `passed` what may be passed on; with a cut, that is the last.
    pub fn read_source(&mut self, bytes: &[u8], passed: &mut Vec<u8>) -> Option<Cut> {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        let cut = loop {
            let (pass, next) = match self.step(rest) {
                Step::Pass(count) => (count, None),
                Step::Then(count, phase) => (count, Some(phase)),
                Step::Wait => break None,
                Step::Cut(cut) => break Some(cut),
            };
            let (front, back) = rest.split_at(pass.min(rest.len()));
            passed.extend_from_slice(front);
            rest = back;
            if let Some(phase) = next {
                self.phase = phase;
            }
        };
        self.held = rest.to_vec();
        cut
    }

    fn step(&mut self, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::Wait;
        }
        match &mut self.phase {
            Phase::Open => Step::Pass(bytes.len()),
            Phase::Copy { left } => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= take as u64;
                if *left > 0 { Step::Pass(take) } else { Step::Then(take, Phase::Stream(Stream::default())) }
            }
            Phase::CopyUntil { mark } => {
                match bytes.windows(mark.len()).position(|window| window == mark.as_slice()) {
                    Some(at) => Step::Then(at + mark.len(), Phase::Stream(Stream::default())),
                    // The mark may have begun.
                    None => match bytes.len().saturating_sub(mark.len() - 1) {
                        0 => Step::Wait,
                        sure => Step::Pass(sure),
                    },
                }
            }
            Phase::Stream(stream) => {
                let at = self.handshake.position();
                match stream.next(bytes) {
                    Ok(Found::Nothing) => Step::Wait,
                    Ok(Found::Empties) if !at.is_some_and(|at| self.allowed.may_flush(at)) => {
                        let offset = at.map_or(Offset(0), |at| at.offset);
                        Step::Cut(Cut::Held(HeldBack::Flushed { offset }))
                    }
                    Ok(Found::Empties) => {
                        let count = stream.begin_here(bytes);
                        self.handshake.advance(count as u64);
                        Step::Pass(count)
                    }
                    Ok(Found::Bytes(count)) => {
                        // From here on the copy may hold something.
                        self.allowed.passes.is_empty = false;
                        self.handshake.advance(count as u64);
                        Step::Pass(count)
                    }
                    Err(Garbled) => Step::Cut(Cut::NotUnderstood),
                }
            }
            Phase::Replies | Phase::CopyBegins => self.line(bytes),
        }
    }

    /// Takes one line, if it is there.
    fn line(&mut self, bytes: &[u8]) -> Step {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() > LONGEST_LINE { Step::Cut(Cut::NotUnderstood) } else { Step::Wait };
        };
        let length = end + 1;
        let text = bytes.get(..end).unwrap_or_default().trim_ascii();
        // A line break alone says that the source is still there.
        if text.is_empty() {
            return Step::Pass(length);
        }
        let begins = |text| match copy_begins(text) {
            Ok(phase) => Step::Then(length, phase),
            Err(cut) => Step::Cut(cut),
        };
        if matches!(self.phase, Phase::CopyBegins) {
            return begins(text);
        }
        match self.handshake.reply(text) {
            Reply::Other => Step::Pass(length),
            Reply::Continues(history) => {
                self.handshake.goes_on_in(history);
                Step::Then(length, Phase::Stream(Stream::default()))
            }
            Reply::FullCopy(history) => {
                if let Some(cut) = self.allowed.refuse_copy_of(history) {
                    return Step::Cut(cut);
                }
                self.allowed.passes.is_empty = false;
                Step::Then(length, Phase::CopyBegins)
            }
            Reply::CopyAtOnce => match self.allowed.refuse_copy_of(None) {
                Some(cut) => Step::Cut(cut),
                None => begins(text),
            },
            // Another way of copying: nothing of it is read along.
            Reply::Unknown if self.allowed.passes.is_empty => Step::Then(length, Phase::Open),
            Reply::Unknown => Step::Cut(Cut::Undecided),
        }
    }
}

fn copy_begins(line: &[u8]) -> Result<Phase, Cut> {
    let text = std::str::from_utf8(line).map_err(|_| Cut::NotUnderstood)?;
    let Some(length) = text.strip_prefix('$') else { return Err(Cut::NotUnderstood) };
    if let Some(mark) = length.strip_prefix("EOF:") {
        return Ok(Phase::CopyUntil { mark: mark.as_bytes().to_vec() });
    }
    length.parse().map(|left| Phase::Copy { left }).map_err(|_| Cut::NotUnderstood)
}

#[cfg(test)]
mod tests;
