//! One writer: a thread that writes to one slot and keeps the ledger of it.

use super::LoadConfig;
use super::Rate;
use super::ledger::{Fate, Ledger};
use super::route::Route;
use super::wire::{Token, Wire, command};
use crate::Endpoint;
use crate::Guides;
use crate::cluster::Redirect;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer while another is looked for: it may be frozen.
const PROBE: Duration = Duration::from_millis(250);

/// How long a stopped writer still tries to place the writes that failed.
const GRACE: Duration = Duration::from_secs(3);

/// Pause when the server takes no writes for a reason that going elsewhere does not change.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// What all writers of a load share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: LoadConfig,
    pub(super) start: Instant,
    pub(super) stop: AtomicBool,
    /// Who sends the writers to the right server.
    pub(super) guides: Guides,
    /// Writes acknowledged so far, by shard.
    pub(super) acknowledged: Vec<AtomicU64>,
}

/// A write on its way.
#[derive(Debug, Clone, Copy)]
struct Write {
    number: u64,
    /// Had an error before.
    failed: bool,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    shard: usize,
    ledger: Ledger,
    route: Route,
    wires: HashMap<Endpoint, Wire>,
    in_flight: VecDeque<Write>,
    resend: VecDeque<Write>,
    buffer: Vec<u8>,
    tokens: Vec<Token>,
    /// Writes to be placed at a server that is importing the slot.
    asked: Vec<(Write, Endpoint)>,
    /// Set by an answer other than an acknowledgement: nothing new is sent until the rest of the answers are in.
    turn: Option<Turn>,
}

/// What an answer other than an acknowledgement asks for.
enum Turn {
    To(Endpoint),
    Elsewhere,
    Wait(Duration),
}

/// Where a connection failed.
enum Broken {
    /// Before anything was sent.
    Connecting(io::Error),
    /// Afterwards: what is in flight may have arrived.
    Exchanging(io::Error),
}

impl Writer {
    pub(super) fn new(common: Arc<Shared>, shard: usize, ledger: Ledger, route: Route) -> Self {
        Self {
            shared: common,
            shard,
            ledger,
            route,
            wires: HashMap::new(),
            in_flight: VecDeque::new(),
            resend: VecDeque::new(),
            buffer: Vec::new(),
            tokens: Vec::new(),
            asked: Vec::new(),
            turn: None,
        }
    }

    /// Writes until told to stop, and answers what became of everything.
    pub(super) fn run(mut self) -> Ledger {
        let mut grace_ends = None;
        loop {
            let stopping = self.shared.stop.load(Ordering::Relaxed);
            if stopping {
                let ends = *grace_ends.get_or_insert_with(|| Instant::now() + GRACE);
                if self.in_flight.is_empty() && self.resend.is_empty() || Instant::now() > ends {
                    break;
                }
            }
            let pause = match self.exchange(stopping) {
                Ok(()) => self.turn_if_answered(),
                Err(broken) => self.broken(&broken),
            };
            if let Some(pause) = pause {
                thread::sleep(pause);
            }
        }
        for write in std::mem::take(&mut self.in_flight).into_iter().chain(std::mem::take(&mut self.resend)) {
            self.ledger.given_up(write.number, Fate::Unknown);
        }
        self.ledger.gaps.acknowledged(self.shared.start.elapsed());
        self.ledger
    }

    /// Fills the window, then waits for at least one answer.
    fn exchange(&mut self, stopping: bool) -> Result<(), Broken> {
        self.buffer.clear();
        if self.turn.is_none() && self.asked.is_empty() {
            self.fill_window(stopping);
        }
        if self.in_flight.is_empty() {
            return Ok(());
        }
        let timeout = self.timeout();
        let to = self.route.current();
        if !self.wires.contains_key(to) {
            let password = self.shared.config.password.as_ref();
            let wire = Wire::connect(to, password, timeout).map_err(Broken::Connecting)?;
            self.wires.insert(to.clone(), wire);
        }
        if let Some(wire) = self.wires.get_mut(to) {
            transfer(wire, timeout, &self.buffer, &mut self.tokens).map_err(Broken::Exchanging)?;
        }
        self.take_answers();
        Ok(())
    }

    fn timeout(&self) -> Duration {
        let timeout = self.shared.config.reply_timeout;
        if self.route.searching() { timeout.min(PROBE) } else { timeout }
    }

    fn fill_window(&mut self, stopping: bool) {
        let window = match self.shared.config.rate {
            Rate::Saturated { in_flight } if !self.route.searching() => in_flight.max(1),
            _ => 1,
        };
        while self.in_flight.len() < window {
            let write = match self.resend.pop_front() {
                Some(write) => write,
                None if stopping => break,
                None => {
                    self.ledger.issued += 1;
                    Write { number: self.ledger.issued - 1, failed: false }
                }
            };
            self.ledger.keys.append_set(&mut self.buffer, write.number);
            self.in_flight.push_back(write);
        }
    }

    fn take_answers(&mut self) {
        let now = self.shared.start.elapsed();
        let mut acknowledged = 0;
        for token in std::mem::take(&mut self.tokens) {
            let Some(write) = self.in_flight.pop_front() else { break };
            match token {
                Token::Simple => {
                    self.ledger.acknowledged(now);
                    acknowledged += 1;
                }
                Token::Error { code, text } => self.take_error(write, &code, &text),
                Token::Number(_) | Token::Bulk(_) => self.failed(write, "unexpected reply", Fate::Unknown),
            }
        }
        if acknowledged > 0 {
            self.shared.acknowledged[self.shard].fetch_add(acknowledged, Ordering::Relaxed);
            if self.route.took() {
                // What was opened in the search may be broken by the time it is needed again.
                let current = self.route.current();
                self.wires.retain(|place, _| place == current);
            }
        }
    }

    fn take_error(&mut self, write: Write, code: &str, text: &str) {
        match Redirect::read(code, text, self.route.current()) {
            Some(Redirect::Moved(to)) => {
                self.ledger.totals.redirected += 1;
                self.resend.push_back(write);
                self.turn = Some(Turn::To(to));
            }
            Some(Redirect::Ask(to)) => {
                self.ledger.totals.redirected += 1;
                self.asked.push((write, to));
            }
            // The word of a server without cluster mode that was demoted: the client is to look for the primary.
            None if code == "READONLY" && self.shared.guides == Guides::Nobody => {
                self.ledger.totals.redirected += 1;
                self.resend.push_back(write);
                self.turn = Some(Turn::Elsewhere);
            }
            None if code == "TRYAGAIN" => {
                self.ledger.totals.redirected += 1;
                self.resend.push_back(write);
                self.turn = Some(Turn::Wait(REFUSED_PAUSE));
            }
            None => {
                self.failed(write, code, Fate::Refused);
                self.turn = Some(match code {
                    "CLUSTERDOWN" | "READONLY" | "LOADING" | "MASTERDOWN" => Turn::Elsewhere,
                    _ => Turn::Wait(REFUSED_PAUSE),
                });
            }
        }
    }

    /// Counts an error, and has the write sent again or gives it up.
    fn failed(&mut self, mut write: Write, error: &str, fate: Fate) {
        self.ledger.error(error);
        if !std::mem::replace(&mut write.failed, true) {
            self.ledger.totals.failed += 1;
        }
        if self.shared.config.retry {
            self.ledger.totals.retried += 1;
            self.resend.push_back(write);
        } else {
            self.ledger.given_up(write.number, fate);
        }
    }

    /// Does what the answers asked for, once all are in. Answers how long to wait before going on.
    fn turn_if_answered(&mut self) -> Option<Duration> {
        if !self.in_flight.is_empty() {
            return None;
        }
        for (write, to) in std::mem::take(&mut self.asked) {
            self.ask(write, to);
        }
        match self.turn.take() {
            Some(Turn::To(place)) => self.route.moved(place),
            Some(Turn::Elsewhere) => self.route.failed(),
            Some(Turn::Wait(pause)) => Some(pause),
            None => match self.shared.config.rate {
                Rate::Paced(pause) => Some(pause),
                Rate::Saturated { .. } => None,
            },
        }
    }

    /// Places one write at a server that is importing its slot.
    fn ask(&mut self, write: Write, to: Endpoint) {
        let timeout = self.timeout();
        let exchange = || {
            let wire = match self.wires.entry(to) {
                Entry::Occupied(wire) => wire.into_mut(),
                Entry::Vacant(place) => {
                    let wire = Wire::connect(place.key(), self.shared.config.password.as_ref(), timeout)?;
                    place.insert(wire)
                }
            };
            self.buffer.clear();
            self.buffer.extend_from_slice(&command(&[b"ASKING"]));
            self.ledger.keys.append_set(&mut self.buffer, write.number);
            wire.set_timeout(timeout)?;
            wire.send(&self.buffer)?;
            wire.token()?;
            wire.token()
        };
        match exchange() {
            Ok(Token::Simple) => {
                self.ledger.acknowledged(self.shared.start.elapsed());
                self.shared.acknowledged[self.shard].fetch_add(1, Ordering::Relaxed);
            }
            Ok(Token::Error { code, .. }) if code == "TRYAGAIN" || code == "MOVED" => {
                self.resend.push_back(write);
            }
            Ok(Token::Error { code, .. }) => self.failed(write, &code, Fate::Refused),
            Ok(_) => self.failed(write, "unexpected reply", Fate::Unknown),
            Err(error) => self.failed(write, word_for(&error), Fate::Unknown),
        }
    }

    /// The connection is of no more use: everything in flight has failed, as far as an application can tell.
    fn broken(&mut self, broken: &Broken) -> Option<Duration> {
        let (error, fate) = match broken {
            Broken::Connecting(error) => (error, Fate::Refused),
            Broken::Exchanging(error) => (error, Fate::Unknown),
        };
        self.wires.remove(self.route.current());
        self.tokens.clear();
        self.turn = None;
        for write in std::mem::take(&mut self.in_flight) {
            self.failed(write, word_for(error), fate);
        }
        self.route.failed()
    }
}

/// Sends, and takes what has been answered, at least one token.
fn transfer(wire: &mut Wire, timeout: Duration, bytes: &[u8], tokens: &mut Vec<Token>) -> io::Result<()> {
    wire.set_timeout(timeout)?;
    if !bytes.is_empty() {
        wire.send(bytes)?;
    }
    tokens.push(wire.token()?);
    while let Some(token) = wire.ready()? {
        tokens.push(token);
    }
    Ok(())
}

fn word_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "timeout",
        io::ErrorKind::PermissionDenied => "password refused",
        io::ErrorKind::InvalidData => "garbled reply",
        _ => "connection broken",
    }
}
