//! The password of one running server: which one its agent uses, and how a changed one gets there while the server runs.
//!
//! The machine knows passwords as values that can be compared, and nothing else of them: none is printed here.

use super::password::{Accepts, PasswordStep, PasswordsSet, due};
use valkeeper_model::{Happened, InstanceName, Link, Millis};

/// Between two looks at where passwords come from, milliseconds.
const LOOK_EVERY_MS: u64 = 5_000;

/// A server accepts two passwords for a time.
#[derive(Clone, PartialEq, Eq)]
pub struct Overlap<P> {
    /// The changed one.
    pub wanted: P,
    /// The one before; `None` if nobody knows it any more.
    pub former: Option<P>,
    /// Since when.
    pub since: Millis,
}

/// What a server shows of its passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown<P> {
    /// `requirepass`.
    pub accepted: Option<P>,
    /// How many it accepts of its default user.
    pub passwords: usize,
    /// `masterauth`.
    pub followed_with: Option<P>,
    /// To its primary; `None` of a primary.
    pub link: Option<Link>,
}

/// Whose password a server follows its primary with.
#[derive(Clone, PartialEq, Eq)]
pub enum FollowsWith<P> {
    /// That of its own cluster.
    Own,
    /// That of the source of another cluster.
    Source(P),
    /// Nobody knows yet whom it is to follow, or the source's password cannot be read: it is left as it is.
    Unknown,
}

/// What the machine hears of.
pub enum Event<P> {
    /// Whose password the server is to follow with from now on.
    Follows(FollowsWith<P>),
    /// The server answers: may be told as often as one likes.
    Answers,
    /// The server has refused a connection with this password.
    Refused {
        /// Used for it.
        used: P,
        /// Wanted now; `None` if it cannot be read.
        wanted: Option<P>,
    },
    /// The wanted password was read.
    Read(P),
    /// The server was asked for its passwords.
    Shows(Shown<P>),
    /// It has shown them along with its whole configuration.
    ShowsConfiguration {
        /// `requirepass`.
        accepted: Option<P>,
        /// `masterauth`.
        followed_with: Option<P>,
    },
    /// This was carried out.
    Done(Step<P>),
}

/// What the machine wants done. What follows a step that fails is not carried out.
#[derive(Clone, PartialEq, Eq)]
pub enum Step<P> {
    /// Read the wanted password.
    Read,
    /// Ask the server what it shows of its passwords.
    AskServer,
    /// Use it for new connections.
    Use(P),
    /// Let the server accept it as well.
    Accept(P),
    /// Let the server follow primaries with it.
    FollowWith(P),
    /// Write down that the server accepts it, for an agent that follows.
    Keep(P),
    /// Let the server accept it and no other.
    AcceptOnly(P),
    /// Set these directives to it.
    PutBack(Vec<PasswordDirective>, P),
    /// Record what has happened.
    Record(Happened),
}

/// A directive whose value is a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordDirective {
    /// What a server accepts.
    Accepts,
    /// What it follows primaries with. The name that every engine knows.
    FollowsWith,
}

impl PasswordDirective {
    /// As `CONFIG` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepts => "requirepass",
            Self::FollowsWith => "masterauth",
        }
    }
}

/// Which password the server is to have had, and which one it gets. Of one run of the server.
#[derive(Clone)]
pub struct Rotation<P> {
    instance: InstanceName,
    /// How long a former password is accepted.
    overlap_ms: u64,
    wanted: P,
    used: P,
    /// What the server may accept as well: tried in turn when it refuses the used one.
    others: Vec<P>,
    /// The last that the server was seen to accept, or that was wanted when it was first used.
    accepted: Option<P>,
    overlap: Option<Overlap<P>>,
    follows: FollowsWith<P>,
    /// The server accepts it and follows with what it should, and accepts nothing else.
    settled: Option<P>,
    looked: Option<Millis>,
}

impl<P: Clone + PartialEq> Rotation<P> {
    /// Of a server that was started to accept what `overlap` says. `may_accept` is what it may have been told to accept since, and what
    /// it was started with: used if the wanted one cannot be read. `None` if no password is known at all.
    pub fn new(
        instance: InstanceName,
        overlap_ms: u64,
        wanted: Option<P>,
        may_accept: Vec<P>,
        overlap: Option<Overlap<P>>,
    ) -> Option<Self> {
        let mut others = may_accept;
        others.extend(overlap.iter().map(|overlap| overlap.wanted.clone()));
        let used = wanted.clone().or_else(|| others.first().cloned())?;
        others.retain(|other| *other != used);
        Some(Self {
            instance,
            overlap_ms,
            wanted: used.clone(),
            used,
            others,
            accepted: wanted,
            overlap,
            follows: FollowsWith::Own,
            settled: None,
            looked: None,
        })
    }

    /// The password for new connections.
    pub fn used(&self) -> &P {
        &self.used
    }

    /// Is a changed password on its way to the server?
    pub fn under_way(&self) -> bool {
        self.used != self.wanted || self.overlap.is_some()
    }

    /// What a server that is started now accepts beside the wanted password.
    pub fn beside(&self, now: Millis, wanted: &P) -> Option<Overlap<P>> {
        let overlap = match &self.overlap {
            Some(overlap) if overlap.wanted == *wanted => overlap.clone(),
            _ => {
                let former = self.accepted.clone().filter(|accepted| accepted != wanted);
                Overlap { wanted: wanted.clone(), former, since: now }
            }
        };
        (overlap.former.is_some() && now.since(overlap.since) < self.overlap_ms).then_some(overlap)
    }

    /// What is to be done about it, in this order.
    pub fn handle(&mut self, now: Millis, event: Event<P>) -> Vec<Step<P>> {
        match event {
            Event::Follows(follows) => {
                if self.follows != follows {
                    self.follows = follows;
                    (self.settled, self.looked) = (None, None);
                }
                Vec::new()
            }
            Event::Answers => {
                if self.looked.is_some_and(|at| now.since(at) < LOOK_EVERY_MS) {
                    return Vec::new();
                }
                self.looked = Some(now);
                vec![Step::Read]
            }
            Event::Read(wanted) => {
                self.wanted = wanted;
                if self.settled.as_ref() == Some(&self.wanted) { Vec::new() } else { vec![Step::AskServer] }
            }
            Event::Refused { used, wanted } => self.refused(&used, wanted),
            Event::Shows(shown) => self.shows(now, shown),
            Event::ShowsConfiguration { accepted, followed_with } => {
                self.put_back(accepted.as_ref(), followed_with.as_ref())
            }
            Event::Done(step) => self.done(now, step),
        }
    }

    /// The wanted password next if it was never tried, or else the others in turn: no refusal makes one forgotten. A late refusal of a
    /// password that is not used any more says nothing about the one that is.
    fn refused(&mut self, used: &P, wanted: Option<P>) -> Vec<Step<P>> {
        if self.used != *used {
            return Vec::new();
        }
        if let Some(wanted) = wanted {
            if wanted != self.used && !self.others.contains(&wanted) {
                self.others.insert(0, wanted.clone());
            }
            self.wanted = wanted;
        }
        if self.others.is_empty() {
            return Vec::new();
        }
        let next = self.others.remove(0);
        self.others.push(std::mem::replace(&mut self.used, next.clone()));
        vec![Step::Use(next)]
    }

    fn shows(&mut self, now: Millis, shown: Shown<P>) -> Vec<Step<P>> {
        let wanted = self.wanted.clone();
        let shows_wanted = shown.accepted.as_ref() == Some(&wanted);
        let set = PasswordsSet {
            accepts: match (shows_wanted, self.used == wanted) {
                (true, _) if shown.passwords <= 1 => Accepts::Wanted,
                (true, _) | (false, true) => Accepts::Both,
                (false, false) => Accepts::Former,
            },
            follows: self.follows != FollowsWith::Own || shown.followed_with.as_ref() == Some(&wanted),
            unlinked: self.follows == FollowsWith::Own
                && matches!(shown.link, Some(Link::Lost | Link::NeverUp)),
        };
        let mut steps = Vec::new();
        if let FollowsWith::Source(theirs) = &self.follows
            && shown.followed_with.as_ref() != Some(theirs)
        {
            steps.push(Step::FollowWith(theirs.clone()));
        }
        if set.accepts != Accepts::Former && self.used != wanted {
            steps.extend(self.use_now(wanted.clone()));
        }
        self.accepted = Some(self.used.clone());
        if set.accepts == Accepts::Wanted {
            self.others.clear();
            if set.follows {
                (self.settled, self.overlap) = (Some(wanted), None);
                return steps;
            }
        }
        // What is set from now on is this machine's own doing.
        self.settled = None;
        let begun = self.overlap.take().filter(|overlap| overlap.wanted == wanted);
        let (former, since) = if set.accepts == Accepts::Former {
            // The overlap begins when both are accepted.
            let since = begun.as_ref().map_or(now, |overlap| overlap.since);
            self.overlap = begun;
            (Some(self.used.clone()), since)
        } else {
            let found = || {
                let former =
                    shown.accepted.filter(|_| !shows_wanted).or_else(|| self.others.first().cloned());
                Overlap { wanted: wanted.clone(), former, since: now }
            };
            let overlap = self.overlap.insert(begun.unwrap_or_else(found));
            (overlap.former.clone(), overlap.since)
        };
        for step in due(set, now.since(since), self.overlap_ms) {
            match step {
                PasswordStep::AcceptBoth => steps.push(Step::Accept(wanted.clone())),
                PasswordStep::FollowWithWanted => steps.push(Step::FollowWith(wanted.clone())),
                PasswordStep::FollowWithFormer => steps.extend(former.clone().map(Step::FollowWith)),
                PasswordStep::EndFormer => {
                    // An agent that follows may find another password wanted, and the one in the server's file ended.
                    steps.extend([Step::Keep(wanted.clone()), Step::AcceptOnly(wanted.clone())]);
                }
            }
        }
        steps
    }

    fn done(&mut self, now: Millis, step: Step<P>) -> Vec<Step<P>> {
        let instance = self.instance.clone();
        match step {
            Step::Accept(wanted) => {
                let former = Some(self.used.clone());
                let mut steps = self.use_now(wanted.clone());
                self.accepted = Some(wanted.clone());
                if self.overlap.as_ref().is_none_or(|overlap| overlap.wanted != wanted) {
                    self.overlap = Some(Overlap { wanted, former, since: now });
                }
                let former_ms = self.overlap_ms;
                steps.push(Step::Record(Happened::PasswordAdded { instance, former_ms }));
                steps
            }
            Step::AcceptOnly(_) => vec![Step::Record(Happened::PasswordReplaced { instance })],
            Step::PutBack(directives, _) => {
                let directives = directives.into_iter().map(|one| one.name().to_owned()).collect();
                vec![Step::Record(Happened::ConfigPutBack { instance, directives })]
            }
            Step::Read
            | Step::AskServer
            | Step::Use(_)
            | Step::FollowWith(_)
            | Step::Keep(_)
            | Step::Record(_) => Vec::new(),
        }
    }

    fn use_now(&mut self, password: P) -> Vec<Step<P>> {
        self.others.retain(|other| *other != password);
        self.others.insert(0, std::mem::replace(&mut self.used, password.clone()));
        vec![Step::Use(password)]
    }

    /// A password that somebody has set by hand is put back, or the server could follow nobody, and nobody it. While a changed password is
    /// on its way there, what is set is looked after by that.
    fn put_back(&self, accepted: Option<&P>, followed_with: Option<&P>) -> Vec<Step<P>> {
        let Some(settled) = &self.settled else { return Vec::new() };
        let differs = |shown: Option<&P>, wanted: &P| shown.is_some_and(|shown| shown != wanted);
        let mut own = Vec::new();
        if differs(accepted, settled) {
            own.push(PasswordDirective::Accepts);
        }
        let mut steps = Vec::new();
        match &self.follows {
            FollowsWith::Own if differs(followed_with, settled) => own.push(PasswordDirective::FollowsWith),
            FollowsWith::Source(theirs) if differs(followed_with, theirs) => {
                steps.push(Step::PutBack(vec![PasswordDirective::FollowsWith], theirs.clone()));
            }
            FollowsWith::Own | FollowsWith::Source(_) | FollowsWith::Unknown => {}
        }
        if !own.is_empty() {
            steps.insert(0, Step::PutBack(own, settled.clone()));
        }
        steps
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
