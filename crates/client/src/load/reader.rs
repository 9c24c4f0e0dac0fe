//! Asks for many keys of one writer at once, wherever they are by now.

use super::LoadError;
use super::keys::KeySpace;
use super::route::Route;
use super::wire::{Token, Wire, append_bulk};
use crate::cluster::Redirect;
use crate::{Password, ShardMap};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Keys asked for at once.
pub(super) const BATCH: usize = 256;

/// Talks about one writer's keys, which share a slot.
pub(super) struct Reader<'a> {
    keys: &'a KeySpace,
    route: Route,
    wire: Option<Wire>,
    password: Option<&'a Password>,
    deadline: Instant,
}

/// What one try brought.
enum Answer<T> {
    Done(T),
    Error { code: String, text: String },
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        map: &ShardMap,
        keys: &'a KeySpace,
        password: Option<&'a Password>,
        deadline: Instant,
    ) -> Result<Self, LoadError> {
        let route = Route::new(map, keys.slot()).ok_or(LoadError::Incomplete)?;
        Ok(Self { keys, route, wire: None, password, deadline })
    }

    /// Sends a command about these keys until it is answered. `read` takes the answer, whose first number is given.
    pub(super) fn ask<T>(
        &mut self,
        command: &str,
        batch: &[u64],
        read: impl Fn(&mut Wire, i64) -> io::Result<T>,
    ) -> Result<T, LoadError> {
        let mut request = format!("*{}\r\n", batch.len() + 1).into_bytes();
        append_bulk(&mut request, command.as_bytes());
        for number in batch {
            append_bulk(&mut request, &self.keys.key(*number));
        }
        loop {
            let (pause, last) = match self.exchange(&request, &read) {
                Ok(Answer::Done(answer)) => {
                    self.route.took();
                    return Ok(answer);
                }
                Ok(Answer::Error { code, text }) => {
                    let pause = match Redirect::read(&code, &text, self.route.current()) {
                        Some(Redirect::Moved(to)) => {
                            self.wire = None;
                            self.route.moved(to)
                        }
                        // In the middle of a slot's move: the keys are together again soon.
                        _ => Some(Duration::from_millis(5)),
                    };
                    (pause, format!("{code} {text}"))
                }
                Err(error) => {
                    self.wire = None;
                    (self.route.failed(), format!("{}: {error}", self.route.current()))
                }
            };
            if Instant::now() > self.deadline {
                return Err(LoadError::Unreadable(last));
            }
            if let Some(pause) = pause {
                thread::sleep(pause);
            }
        }
    }

    fn exchange<T>(
        &mut self,
        request: &[u8],
        read: impl Fn(&mut Wire, i64) -> io::Result<T>,
    ) -> io::Result<Answer<T>> {
        let timeout = Duration::from_secs(3);
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => none.insert(Wire::connect(self.route.current(), self.password, timeout)?),
        };
        wire.send(request)?;
        match wire.token()? {
            Token::Number(number) => read(wire, number).map(Answer::Done),
            Token::Error { code, text } => Ok(Answer::Error { code, text }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
