//! The state of one agent's host watch, and which event goes where.

use super::failure_detector::Suspicion;
use super::heartbeats::ToldPosition;
use super::lease::Lease;
use super::register_seat::RegisterSeat;
use super::voter::{Seat, Voter};
use super::write_fence::Fence;
use super::{ADOPTED_MS, FENCE_AFTER_MS, SUSPECT_MS};
use crate::failover::promotion::Promotion;
use crate::mode::standalone::register::RegisterWish;
use crate::protocol::{Outbox, Token, sooner};
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    AgentOrder, Answer, AskFailed, Epoch, InstanceName, LeaseSeats, Member, Millis, NodeId, PrimaryTerm,
    Role, SeenPosition, ServerView, ShardName, ShardSeat, Waiting,
};

/// Between looks at the own server while a primary is not heard.
const MISSING_LOOK_MS: u64 = 50;

/// What the own server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// It does not run.
    Down,
    /// It is being stopped.
    Stopping,
    /// It runs and hands over, or has handed over.
    HandingOver,
    /// It runs, and its agent watches it.
    Watched,
}

/// What the agent knows at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    pub(crate) now: Millis,
    pub(crate) name: &'a InstanceName,
    pub(crate) order: Option<&'a AgentOrder>,
    /// What the own server said last, in this run or an earlier one.
    pub(crate) last_view: Option<&'a ServerView>,
    /// When that was.
    pub(crate) seen_at: Millis,
    pub(crate) run: Run,
    /// The agent was told to bring its server down and to keep it so.
    pub(crate) stays_down: bool,
    /// In a mode in which agents vote.
    pub(crate) vote: Option<VoteKept>,
}

/// What an agent's own vote says, in a mode in which agents vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VoteKept {
    /// The primary that it knows; `None` also if its file is lost, and with it its votes.
    pub(crate) known: Option<PrimaryTerm>,
    /// The newest term in which it has voted, kept or not yet.
    pub(crate) voted: Epoch,
}

/// Who votes on a seat.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SeatName {
    /// The agent of the shard's primary.
    OfShard(ShardName),
    /// This agent, whatever its server is.
    OfAgent(InstanceName),
    /// The register.
    Register,
}

impl Situation<'_> {
    /// The member whose replica the own server is.
    pub(super) fn followed(&self) -> Option<InstanceName> {
        let view = self.last_view.filter(|_| self.run != Run::Down)?;
        self.order?.member_with(view.primary()?).map(|(name, _)| name.clone())
    }

    /// Where the own server's stream was, if it was the primary when it was seen last.
    pub(super) fn position(&self) -> Option<SeenPosition> {
        let replication = &self.last_view?.replication;
        (replication.role() == Role::Primary).then(|| SeenPosition {
            position: replication.position(),
            seen_ms_ago: self.now.since(self.seen_at),
        })
    }

    pub(super) fn siblings(&self) -> Vec<InstanceName> {
        self.order.map(AgentOrder::sibling_names).unwrap_or_default()
    }

    /// The term of which the own server is the primary, where agents vote.
    pub(super) fn mandate(&self) -> Option<Epoch> {
        let (known, me) = (self.vote?.known?, self.order?.myself()?);
        (known.primary == me.node_id).then_some(known.term)
    }

    /// Is the own server a slot-owning primary, and going to stay one? Where agents vote, each has a seat for good.
    fn keeps_its_seat(&self) -> bool {
        self.vote.is_some()
            || self.run == Run::Watched && self.last_view.is_some_and(ServerView::is_shard_primary)
    }

    pub(super) fn shard(&self) -> Option<ShardName> {
        Some(self.order?.myself()?.shard.clone())
    }
}

/// What the agent has to do, to its own server but for one, besides what it finds in its outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Kill it: there is no other way to keep it from taking writes.
    Kill,
    /// Kill it: it has not confirmed for so long that it refuses writes.
    KillUnconfirmed {
        /// Milliseconds.
        after_ms: u64,
    },
    /// Ask the register.
    AskRegister(RegisterWish),
    /// Look at it now.
    LookNow,
    /// Look at it within so many milliseconds.
    LookWithin {
        /// Milliseconds.
        ms: u64,
    },
}

/// What the own server is in its shard, as far as leases go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardRole {
    /// It runs, and has not said.
    Unknown,
    /// Its slot-owning primary, or was when it died, or is started as that.
    Primary,
    /// No primary, or one without slots: it takes no writes.
    Other,
}

/// What an agent on a host of its own knows of the others, and what follows for its server.
#[derive(Debug)]
pub struct HostWatch {
    pub(super) voter: Voter,
    pub(super) lease: Lease<SeatName>,
    /// Held without answers until then: see [`ADOPTED_MS`], and in [`crate::hostwatch`] "a seat changes hands" and "an agent starts anew".
    grace_until: Millis,
    /// Since when it is not held; `None` while it is.
    pub(super) unheld_since: Option<Millis>,
    pub(super) was_held: bool,
    /// The voters have given it, as of the last event.
    pub(super) given: bool,
    /// The other seats and the members on them, by the own server's last view.
    pub(super) others: BTreeMap<SeatName, InstanceName>,
    /// Who renews the lease.
    lease_seats: LeaseSeats,
    /// Seats in all; 0 before anything is known.
    pub(super) seats: usize,
    pub(super) role: ShardRole,
    pub(super) role_since: Millis,
    /// When the own server was last seen to be a replica.
    pub(super) replica_at: Option<Millis>,
    pub(super) next_heartbeat: Millis,
    pub(super) heartbeats: BTreeMap<Token, (SeatName, Millis)>,
    /// The newest term in which another agent has voted, as far as it has said so.
    pub(super) outvoted: Epoch,
    pub(super) register: RegisterSeat,
    pub(super) fence: Fence,
    /// The isolation was told to people.
    pub(super) told: bool,
    /// The primary that the own server follows and that is not heard.
    pub(super) unheard: Option<InstanceName>,
    /// Who of the shard told last, as its primary, where its server's stream is.
    pub(super) told_position: Option<ToldPosition>,
    pub(super) suspicion: Option<Suspicion>,
    pub(super) effects: Vec<Effect>,
}

impl HostWatch {
    /// Of an agent that has just begun. `adopted`: its server runs already. `left_until`: the end of the lease that the server's former agent
    /// left.
    pub(crate) fn new(adopted: Option<Adopted>, now: Millis) -> Self {
        // No lease is longer, whatever was left.
        let grace_until = adopted.map_or(now, |Adopted { lease_left }| {
            lease_left.map_or(now.plus(ADOPTED_MS), |until| until.min(now.plus(FENCE_AFTER_MS)))
        });
        Self {
            voter: Voter::new(now),
            lease: Lease::default(),
            grace_until,
            unheld_since: None,
            was_held: false,
            given: false,
            others: BTreeMap::new(),
            lease_seats: LeaseSeats::Agents,
            seats: 0,
            role: if adopted.is_some() { ShardRole::Unknown } else { ShardRole::Other },
            role_since: now,
            replica_at: None,
            next_heartbeat: now,
            heartbeats: BTreeMap::new(),
            outvoted: Epoch(0),
            register: RegisterSeat::default(),
            fence: Fence::default(),
            told: false,
            unheard: None,
            told_position: None,
            suspicion: None,
            effects: Vec::new(),
        }
    }

    /// The platform keeps a register.
    pub(crate) fn has_a_register(&mut self) {
        self.register.exists();
    }

    /// What has become due for the agent's own server.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Until when its server may take writes as a primary without another answer; `None` if it is no primary. Past, if the server has to
    /// refuse them.
    pub(crate) fn lease_until(&self) -> Option<Millis> {
        (self.role == ShardRole::Primary).then(|| self.held_until())
    }

    /// Until when the lease lasts that voters have given.
    fn given_until(&self) -> Option<Millis> {
        // What the register has answered is there only where it is a seat.
        let others = self
            .others
            .keys()
            .chain((self.lease_seats == LeaseSeats::WithRegister).then_some(&SeatName::Register));
        if self.seats == 0 { None } else { self.lease.held_until(others, self.seats) }
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

    pub(super) fn has_quorum(&self, now: Millis) -> bool {
        let until = self.lease.quorum_until(self.others.keys(), self.seats);
        self.seats > 0 && until.is_some_and(|until| now < until)
    }

    /// Does the lease last for so long from now on?
    pub(crate) fn holds_for(&self, now: Millis, ms: u64) -> bool {
        self.holds(now.plus(ms))
    }

    /// Its own server has been elected by votes that were asked for from then on: each is as good as an answer to a heartbeat.
    pub(crate) fn was_elected(&mut self, asked: Millis, now: Millis) {
        self.becomes(ShardRole::Primary, now);
        self.grace_until = self.grace_until.max(asked.plus(FENCE_AFTER_MS));
    }

    /// Has its server no lease for so long, as another agent has voted in a newer term than that of its mandate?
    pub(crate) fn is_outvoted(&self, now: Millis, ms: u64) -> Option<Epoch> {
        let unheld = self.unheld_since.is_some_and(|since| now.since(since) >= ms);
        (unheld && self.role == ShardRole::Primary).then_some(self.outvoted)
    }

    /// The members that have not been heard for so long that a lease of theirs, as far as it rests on this agent's answers, has ended.
    pub(crate) fn missed(&self, situation: &Situation<'_>) -> BTreeSet<NodeId> {
        let members = situation.order.iter().flat_map(|order| order.members.iter());
        let missed =
            members.filter(|(name, _)| *name != situation.name && self.voter.misses(name, situation.now));
        missed.map(|(_, member)| member.node_id).collect()
    }

    /// Another agent stands for a term: with a vote it may take writes, as with an answer to a heartbeat.
    pub(crate) fn heard_candidate(&mut self, candidate: &InstanceName, now: Millis) {
        self.voter.heard(candidate, now);
    }

    pub(super) fn becomes(&mut self, role: ShardRole, now: Millis) {
        if self.role == role {
            return;
        }
        if role == ShardRole::Primary {
            self.next_heartbeat = now;
            // It was a replica then: no voter has missed its heartbeats for longer than that. Who was elected by agents has had their votes.
            if let Some(at) = self.replica_at.filter(|_| !self.seats_agents()) {
                self.grace_until = self.grace_until.max(at.plus(FENCE_AFTER_MS));
            }
        }
        self.role = role;
        self.role_since = now;
        self.unheld_since = None;
        self.was_held = false;
    }

    fn seats_agents(&self) -> bool {
        self.others.keys().any(|seat| matches!(seat, SeatName::OfAgent(_)))
    }

    /// In a mode in which agents vote the seats are theirs.
    pub(super) fn seat_agents(&mut self, situation: &Situation<'_>) {
        if let (Some(_), Some(order)) = (situation.vote, situation.order) {
            let seats = order.sibling_names().into_iter().map(|name| (SeatName::OfAgent(name.clone()), name));
            self.others = seats.collect();
            self.lease_seats = self.lease_seats(situation);
            self.seats = self.others.len() + 1 + usize::from(self.lease_seats == LeaseSeats::WithRegister);
        }
    }

    /// What the own server says of itself and of the others.
    pub(crate) fn saw(&mut self, situation: &Situation<'_>, view: &ServerView) {
        let owners = view.topology.iter().filter(|(_, node)| node.role == Role::Primary);
        let owners = owners.filter(|(_, node)| !node.slots.is_empty());
        self.learn_seats(situation, owners.map(|(id, node)| (*id, node.config_epoch)).collect());
        if view.replication.role() == Role::Replica {
            self.replica_at = Some(situation.now);
        }
        // An engine that hears of its successor follows it at once. Where agents vote, a server takes writes until it is told.
        let may_take_writes = match situation.vote {
            None => view.is_shard_primary(),
            Some(_) => view.replication.role() == Role::Primary || situation.mandate().is_some(),
        };
        let role = if may_take_writes { ShardRole::Primary } else { ShardRole::Other };
        self.becomes(role, situation.now);
        self.fence_shown(view);
    }

    /// What the file says that the own server starts with: while the server loads its data the others are to hear of it.
    pub(crate) fn read(&mut self, situation: &Situation<'_>, conf: &NodesConf) {
        if self.seats == 0 {
            let owners = conf.nodes.iter().filter(|line| line.flags.role == Some(Role::Primary));
            let owners = owners.filter(|line| !line.slots.is_empty());
            self.learn_seats(situation, owners.map(|line| (line.id, line.config_epoch)).collect());
        }
    }

    /// These own slots.
    fn learn_seats(&mut self, situation: &Situation<'_>, owners: Vec<(NodeId, Epoch)>) {
        let Some(order) = situation.order else { return };
        let own = order.myself().map(|member| &member.shard);
        // A server may hear that a primary was deposed before it hears of the successor: the slots have no owner for a moment. The seat
        // is there all the same, or of three seats two would be left, and no primary would need a lease.
        let voting = order.members.values().filter(|member| member.seat == ShardSeat::Held);
        let shards: BTreeSet<&ShardName> = voting.map(|member| &member.shard).collect();
        if situation.vote.is_none() {
            self.seats = owners.len().max(shards.len());
        }
        let named = owners.into_iter().filter_map(|(id, epoch)| Some((order.member_with(id)?, epoch)));
        let members: Vec<_> = named.map(|((name, member), epoch)| (name, member, epoch)).collect();
        if situation.vote.is_none() {
            let others = members.iter().filter(|(_, member, _)| Some(&member.shard) != own);
            let seat = |member: &Member| SeatName::OfShard(member.shard.clone());
            self.others = others.map(|(name, member, _)| (seat(member), (*name).clone())).collect();
        }
        let primaries = members.iter().map(|(name, _, epoch)| ((*name).clone(), *epoch)).collect();
        self.voter.saw(&primaries, situation.now);
    }

    /// The own server is being started in this role. Returns whether it is to refuse writes from its first moment.
    #[must_use]
    pub(crate) fn starts_as(&mut self, role: Role, now: Millis) -> bool {
        match role {
            Role::Primary => self.becomes(ShardRole::Primary, now),
            Role::Replica => {
                self.becomes(ShardRole::Other, now);
                self.voter.follows();
                self.replica_at = Some(now);
            }
        }
        let refuses = role == Role::Primary && !self.holds(now);
        self.fence = Fence::of_a_start(refuses);
        refuses
    }

    /// The cluster is founded just now.
    pub(crate) fn founds(&mut self, now: Millis) {
        self.voter.founded(now);
    }

    /// The own server has been succeeded.
    pub(crate) fn was_succeeded(&mut self, now: Millis) {
        self.becomes(ShardRole::Other, now);
    }

    /// The own server has ended.
    pub(crate) fn server_ended(&mut self) {
        self.fence = Fence::default();
        self.suspicion = None;
    }

    /// Time has passed, or something has happened.
    pub(crate) fn tick(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let now = situation.now;
        let seat = match (situation.keeps_its_seat(), situation.vote.is_some() || self.has_quorum(now)) {
            (false, _) => Seat::None,
            (true, false) => Seat::WithoutQuorum,
            (true, true) => Seat::WithQuorum,
        };
        self.voter.set_seat(seat, now);
        self.send_heartbeats(situation, out);
        self.note_unheard(situation);
        self.ask_register(situation);
        self.detect(situation, out);
    }

    fn note_unheard(&mut self, situation: &Situation<'_>) {
        let now = situation.now;
        self.unheard = situation.followed().filter(|primary| {
            self.voter.silent_since(primary).is_some_and(|since| now.since(since) >= SUSPECT_MS)
        });
        // A primary that is not heard may have a successor by now: no voter is to confirm that the former one is down, and none is to replace it.
        // A replica gets heartbeats of its own primary only.
        let misses = match self.role {
            ShardRole::Primary | ShardRole::Unknown => self.voter.misses_one(situation.name, SUSPECT_MS, now),
            ShardRole::Other => self.unheard.is_some(),
        };
        if misses {
            self.effects.push(Effect::LookWithin { ms: MISSING_LOOK_MS });
        }
    }

    /// Another agent answered. True if the question was this machine's.
    pub(crate) fn answered(
        &mut self,
        situation: &Situation<'_>,
        token: Token,
        result: &Result<Answer, AskFailed>,
        out: &mut Outbox,
    ) -> bool {
        self.heartbeat_answered(situation.now, token, result)
            || self.suspicion_answered(situation, token, result, out)
    }

    /// The promotion under way in place of a primary that is not heard.
    pub(crate) fn replacing(&self) -> Option<&Promotion> {
        self.suspicion.as_ref()?.promotion.as_ref()
    }

    /// What there is to say of all this in the report.
    pub(crate) fn waiting(&self, situation: &Situation<'_>) -> Option<Waiting> {
        if self.fence.refuses() && self.role == ShardRole::Primary && situation.run != Run::Down {
            return Some(Waiting::Isolated { instance: situation.name.clone() });
        }
        let instance = self.unheard.clone()?;
        let missing = self.suspicion.as_ref().map(|suspicion| &suspicion.missing);
        Some(match missing.filter(|missing| !missing.is_empty()) {
            Some(missing) => Waiting::DownUnconfirmed { instance, of: missing.clone() },
            None => Waiting::PrimaryUnheard { instance },
        })
    }

    /// When something of this is due.
    pub(crate) fn wake_at(&self, situation: &Situation<'_>) -> Option<Millis> {
        let mut wake = self.sends_heartbeats(situation).then_some(self.next_heartbeat);
        if !matches!(situation.run, Run::Down | Run::Stopping) && self.role != ShardRole::Other {
            wake = sooner(wake, self.fence.wake_at(self.held_until()));
        }
        if self.unheard.is_none()
            && let Some(primary) = situation.followed()
            && let Some(since) = self.voter.silent_since(&primary)
        {
            wake = sooner(wake, Some(since.plus(SUSPECT_MS)));
        }
        wake = sooner(wake, self.register_wakes_at(situation));
        sooner(wake, self.suspicion_wakes_at(situation))
    }
}

/// A server that ran before its agent began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adopted {
    /// The end of the lease that the former agent held and has told.
    pub(crate) lease_left: Option<Millis>,
}
