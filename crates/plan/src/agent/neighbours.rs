//! Agents on hosts of their own watch each other, because nobody is left on a lost host to say that its server is dead. The rule is
//! [`crate::hostwatch::rule`]; here beats are sent and answered. What follows for a primary without a lease is in `refusal.rs`, what
//! its replicas do in `accusation.rs`.

use super::accusation::Accusation;
use super::machine::{Agent, Phase};
use super::{Token, sooner};
use crate::hostwatch::rule::{ADOPTED_MS, BEAT_MS, FENCE_AFTER_MS, Lease, SUSPECT_MS, Witness, Word};
use crate::server::config;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    Answer, Ask, AskFailed, Epoch, InstanceName, Millis, NodeId, Process, Role, ServerView, ShardName,
    Unseen, Waiting,
};

/// An answer to a beat that takes longer is of no use: the next beat is under way.
const BEAT_WITHIN_MS: u64 = 400;
/// Between looks at our server while a primary is not heard.
const MISSING_LOOK_MS: u64 = 50;
/// Between beats while there is no lease: writes wait for it.
const EAGER_BEAT_MS: u64 = 100;

/// What our server is in its shard, as far as leases go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It runs, and has not said.
    Unknown,
    /// Its slot-owning primary, or was when it died, or is started as that.
    Primary,
    /// No primary, or one without slots: it takes no writes.
    Other,
}

/// Does our server refuse writes for want of a lease?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusing {
    No,
    /// Told to since then; the order is under way.
    Told {
        since: Millis,
        token: Token,
    },
    /// It did not take the order; told again then.
    Again {
        since: Millis,
        at: Millis,
    },
    Yes,
}

/// What an agent on a host of its own knows of the others, and what follows for its server.
#[derive(Debug)]
pub(super) struct Neighbours {
    pub(super) witness: Witness,
    pub(super) lease: Lease,
    /// Held without answers until then: see [`ADOPTED_MS`], "seats change hands" and "agents start anew".
    pub(super) grace_until: Millis,
    /// Since when it is not held; `None` while it is.
    pub(super) unheld_since: Option<Millis>,
    pub(super) was_held: bool,
    /// Others have given it, as of the last event.
    pub(super) given: bool,
    /// The other seats and who sits there, by our server's last view.
    pub(super) others: BTreeMap<ShardName, InstanceName>,
    /// Seats in all; 0 before anything is known.
    pub(super) seats: usize,
    pub(super) part: Part,
    pub(super) part_since: Millis,
    /// When our server was last seen to be a replica.
    pub(super) replica_at: Option<Millis>,
    pub(super) next_beat: Millis,
    pub(super) beats: BTreeMap<Token, (ShardName, Millis)>,
    pub(super) refusing: Refusing,
    /// The order to take writes again, while it may still overtake one to refuse them.
    pub(super) lifting: Option<Token>,
    /// The isolation was told to people.
    pub(super) told: bool,
    /// The primary that our server follows and that is not heard.
    pub(super) unheard: Option<InstanceName>,
    pub(super) accusation: Option<Accusation>,
}

impl Neighbours {
    fn new(adopted: bool, left_until: Option<Millis>, now: Millis) -> Self {
        // No lease is longer, whatever was left.
        let left_until = left_until.map(|until| until.min(now.plus(FENCE_AFTER_MS)));
        let unsaid = if adopted { now.plus(ADOPTED_MS) } else { now };
        Self {
            witness: Witness::new(now),
            lease: Lease::default(),
            grace_until: left_until.filter(|_| adopted).unwrap_or(unsaid),
            unheld_since: None,
            was_held: false,
            given: false,
            others: BTreeMap::new(),
            seats: 0,
            part: if adopted { Part::Unknown } else { Part::Other },
            part_since: now,
            replica_at: None,
            next_beat: now,
            beats: BTreeMap::new(),
            refusing: Refusing::No,
            lifting: None,
            told: false,
            unheard: None,
            accusation: None,
        }
    }

    /// Until when the lease lasts that others have given.
    fn given_until(&self) -> Option<Millis> {
        if self.seats == 0 { None } else { self.lease.held_until(self.others.keys(), self.seats) }
    }

    pub(super) fn is_given(&self, now: Millis) -> bool {
        self.given_until().is_some_and(|until| now < until)
    }

    pub(super) fn held_until(&self) -> Millis {
        self.given_until().map_or(self.grace_until, |until| until.max(self.grace_until))
    }

    pub(super) fn holds(&self, now: Millis) -> bool {
        now < self.held_until()
    }

    pub(super) fn stands(&self, now: Millis) -> bool {
        let until = self.lease.stands_until(self.others.keys(), self.seats);
        self.seats > 0 && until.is_some_and(|until| now < until)
    }

    pub(super) fn becomes(&mut self, part: Part, now: Millis) {
        if self.part == part {
            return;
        }
        if part == Part::Primary {
            self.next_beat = now;
            // It was none then: nobody has missed its beats for longer than that.
            if let Some(at) = self.replica_at {
                self.grace_until = self.grace_until.max(at.plus(FENCE_AFTER_MS));
            }
        }
        self.part = part;
        self.part_since = now;
        self.unheld_since = None;
        self.was_held = false;
    }

    pub(super) fn refuses(&self) -> bool {
        self.refusing != Refusing::No
    }
}

impl Agent {
    /// The same agent on a host of its own: it and the others watch each other, and a primary that a majority does not hear
    /// refuses writes (see [`crate::hostwatch::rule`]). Say so before the first event. `lease_until`: what the agent of the running
    /// server left when it replaced itself by this one.
    #[must_use]
    pub fn watching_hosts(mut self, lease_until: Option<Millis>, now: Millis) -> Self {
        self.neighbours = Some(Box::new(Neighbours::new(self.incarnation().is_some(), lease_until, now)));
        self
    }

    /// Until when its server may take writes as a primary without another word from the others, to be left to the agent that replaces it;
    /// `None` if it is no primary. Past, if it has to refuse them.
    pub fn lease_until(&self) -> Option<Millis> {
        let neighbours = self.neighbours.as_ref()?;
        (neighbours.part == Part::Primary).then(|| neighbours.held_until())
    }

    /// What our server says of itself and of the others.
    pub(super) fn neighbours_seen(&mut self, now: Millis, view: &mut ServerView) {
        let owners = view.topology.iter().filter(|(_, node)| node.role == Role::Primary);
        let owners = owners.filter(|(_, node)| !node.slots.is_empty());
        let owners = owners.map(|(id, node)| (*id, node.config_epoch)).collect();
        self.learn_seats(now, owners);
        let Some(neighbours) = &mut self.neighbours else { return };
        if view.replication.role() == Role::Replica {
            neighbours.replica_at = Some(now);
        }
        neighbours.becomes(if view.owns_slots() { Part::Primary } else { Part::Other }, now);
        let differs = view.config_drift.iter().any(|name| config::refuses_writes(name));
        if neighbours.refusing == Refusing::Yes && differs {
            neighbours.refusing = Refusing::No;
        }
        if neighbours.refuses() || neighbours.lifting.is_some() {
            view.config_drift.retain(|name| !config::refuses_writes(name));
        }
    }

    /// What the file says that our server starts with: while it loads its data the others are to hear of it.
    pub(super) fn neighbours_read(&mut self, now: Millis, conf: &NodesConf) {
        if self.neighbours.as_ref().is_some_and(|neighbours| neighbours.seats == 0) {
            let owners = conf.nodes.iter().filter(|line| line.flags.role == Some(Role::Primary));
            let owners = owners.filter(|line| !line.slots.is_empty());
            let owners = owners.map(|line| (line.id, line.config_epoch)).collect();
            self.learn_seats(now, owners);
        }
    }

    /// These own slots.
    fn learn_seats(&mut self, now: Millis, owners: Vec<(NodeId, Epoch)>) {
        let Some(order) = self.order.clone() else { return };
        let Some(neighbours) = &mut self.neighbours else { return };
        let own = order.myself().map(|member| &member.shard);
        // A server may hear that a primary was deposed before it hears of the successor: the slots have no owner for a moment. The seat
        // is there all the same, or of three seats two would be left, and nobody would need a lease.
        let shards: BTreeSet<&ShardName> = order.members.values().map(|member| &member.shard).collect();
        neighbours.seats = owners.len().max(shards.len());
        let named = owners.into_iter().filter_map(|(id, epoch)| Some((order.member_with(id)?, epoch)));
        let members: Vec<_> = named.map(|((name, member), epoch)| (name, member, epoch)).collect();
        let others = members.iter().filter(|(_, member, _)| Some(&member.shard) != own);
        neighbours.others = others.map(|(name, member, _)| (member.shard.clone(), (*name).clone())).collect();
        let primaries = members.iter().map(|(name, _, epoch)| ((*name).clone(), *epoch)).collect();
        neighbours.witness.saw(&primaries, now);
    }

    /// The member whose replica our server is.
    pub(super) fn followed(&self) -> Option<InstanceName> {
        let view = self.last_view.as_ref().filter(|_| self.process != Process::Down)?;
        let order = self.order.as_ref()?;
        order.member_with(view.primary()?).map(|(name, _)| name.clone())
    }

    /// Time has passed, or something has happened.
    pub(super) fn watch_neighbours(&mut self, now: Millis) {
        if self.neighbours.is_none() {
            return;
        }
        self.guard(now);
        let sits = self.sits();
        if let Some(neighbours) = &mut self.neighbours {
            let stands = neighbours.stands(now);
            neighbours.witness.sits(sits, stands, now);
        }
        self.send_beats(now);
        self.suspect(now);
        self.accuse(now);
    }

    /// Is our server a slot-owning primary, and going to stay one?
    fn sits(&self) -> bool {
        matches!(self.phase, Phase::Watching(_))
            && self.process != Process::Down
            && self.last_view.as_ref().is_some_and(ServerView::owns_slots)
    }

    fn beats(&self) -> bool {
        let is_primary = |neighbours: &Neighbours| neighbours.part == Part::Primary && neighbours.seats > 0;
        !self.resting && self.order.is_some() && self.neighbours.as_deref().is_some_and(is_primary)
    }

    fn send_beats(&mut self, now: Millis) {
        let due =
            self.beats() && self.neighbours.as_ref().is_some_and(|neighbours| neighbours.next_beat <= now);
        if !due {
            return;
        }
        let siblings = self.siblings();
        let down = self.process == Process::Down;
        let Some(neighbours) = &mut self.neighbours else { return };
        let pause = if down || neighbours.is_given(now) { BEAT_MS } else { EAGER_BEAT_MS };
        neighbours.next_beat = now.plus(pause);
        let beat = || Ask::Beat { from: self.name.clone() };
        for (seat, name) in &neighbours.others {
            let token = self.out.tell(name, beat(), BEAT_WITHIN_MS);
            neighbours.beats.insert(token, (seat.clone(), now));
        }
        // Who may not take writes does not keep its replicas from looking for somebody who may. One that is down has its replicas
        // promoted by its own agent.
        if down || neighbours.holds(now) {
            for sibling in &siblings {
                self.out.tell(sibling, beat(), BEAT_WITHIN_MS);
            }
        }
    }

    /// An answer came. True if it was to one of our beats.
    pub(super) fn beat_answered(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Answer, AskFailed>,
    ) -> bool {
        let Some(neighbours) = &mut self.neighbours else { return false };
        let Some((seat, beat_at)) = neighbours.beats.remove(&token) else { return false };
        let word = match result {
            Ok(Answer::Beat { counts, stands, remembers }) => {
                Word { counts: *counts, stands: *stands, remembers: *remembers }
            }
            // It is there and does not know of beats, being older: it can never testify against us either.
            Err(AskFailed::Refused(_) | AskFailed::Unseen(Unseen::Garbled)) => {
                Word { counts: true, stands: true, remembers: true }
            }
            _ => return true,
        };
        let held = neighbours.holds(now);
        neighbours.lease.answered(&seat, beat_at, word, held);
        true
    }

    /// Another agent says that it lives.
    pub(super) fn beat_came(&mut self, now: Millis, from: &InstanceName) -> Result<Answer, AskFailed> {
        let member = self.order.as_ref().is_some_and(|order| order.members.contains_key(from));
        let Some(neighbours) = &mut self.neighbours else {
            return Err(AskFailed::Refused("it watches no other hosts".to_owned()));
        };
        if !member {
            return Ok(Answer::Beat { counts: false, stands: false, remembers: false });
        }
        neighbours.witness.heard(from, now);
        let counts = neighbours.witness.lets(from, now);
        let (stands, remembers) = (neighbours.stands(now), neighbours.witness.remembers(now));
        // It may be primary again, and we have not looked since.
        if neighbours.witness.knows_a_successor(from)
            && let Phase::Watching(watch) = &mut self.phase
        {
            watch.look_now(now);
        }
        Ok(Answer::Beat { counts, stands, remembers })
    }

    /// Another agent asks how long this primary has not been heard.
    pub(super) fn testify(&mut self, now: Millis, against: &InstanceName) -> Result<Answer, AskFailed> {
        let own = *against == self.name;
        let no_seat = || AskFailed::Refused("it is no primary, or cut off itself".to_owned());
        let Some(neighbours) = &mut self.neighbours else { return Err(no_seat()) };
        let silent_ms = if own {
            // Our own word on ourselves: since when do we have no lease?
            let unheld = neighbours.unheld_since.filter(|_| neighbours.part == Part::Primary);
            unheld.map_or(0, |since| now.since(since))
        } else {
            neighbours.witness.testify(against, now).ok_or_else(no_seat)?
        };
        Ok(Answer::Testimony { silent_ms })
    }

    fn suspect(&mut self, now: Millis) {
        let followed = self.followed();
        let Some(neighbours) = &mut self.neighbours else { return };
        neighbours.unheard = followed.filter(|primary| {
            let since = neighbours.witness.silent_since(primary);
            since.is_some_and(|since| now.since(since) >= SUSPECT_MS)
        });
        // Who is not heard may have a successor by now: nobody is to testify against, or to replace, the one before. A replica is beaten by its
        // own primary only.
        let misses = match neighbours.part {
            Part::Primary | Part::Unknown => neighbours.witness.misses_one(&self.name, SUSPECT_MS, now),
            Part::Other => neighbours.unheard.is_some(),
        };
        if misses && let Phase::Watching(watch) = &mut self.phase {
            watch.look_within(now, MISSING_LOOK_MS);
        }
    }

    /// What there is to say of all this in the report.
    pub(super) fn neighbours_waiting(&self) -> Option<Waiting> {
        let neighbours = self.neighbours.as_ref()?;
        if neighbours.refuses() && neighbours.part == Part::Primary && self.process != Process::Down {
            return Some(Waiting::Isolated { instance: self.name.clone() });
        }
        let instance = neighbours.unheard.clone()?;
        let missing = neighbours.accusation.as_ref().map(|accusation| &accusation.missing);
        Some(match missing.filter(|missing| !missing.is_empty()) {
            Some(missing) => Waiting::TestimonyMissing { instance, of: missing.clone() },
            None => Waiting::PrimaryUnheard { instance },
        })
    }

    /// When something of this is due.
    pub(super) fn neighbours_wake_at(&self) -> Option<Millis> {
        let neighbours = self.neighbours.as_ref()?;
        let mut wake = self.beats().then_some(neighbours.next_beat);
        let stopping = matches!(self.phase, Phase::Stopping(_));
        if self.process != Process::Down && !stopping && neighbours.part != Part::Other {
            wake = match neighbours.refusing {
                Refusing::No if neighbours.held_until() < Millis(u64::MAX) => {
                    sooner(wake, Some(neighbours.held_until()))
                }
                Refusing::Again { at, .. } => sooner(wake, Some(at)),
                _ => wake,
            };
        }
        if neighbours.unheard.is_none()
            && let Some(primary) = self.followed()
            && let Some(since) = neighbours.witness.silent_since(&primary)
        {
            wake = sooner(wake, Some(since.plus(SUSPECT_MS)));
        }
        sooner(wake, self.accusation_wakes_at())
    }
}
