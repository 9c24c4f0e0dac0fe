//! One agent's look at the source.

use super::demotion::is_meant;
use crate::protocol::{Command, GateSeen, Outbox, Passes};
use valkeeper_model::{
    Address, AgentOrder, Demotion, DemotionHold, Followed, InstanceName, Link, Member, Millis, Position,
    PromotionLoss, Replication, Source, SourceFault, SourceReport, SourceView,
};

/// Between two looks at a source that answers.
const LOOK_EVERY_MS: u64 = 1_000;
/// Between two looks at one that does not, and while something waits for it.
const LOOK_AGAIN_MS: u64 = 250;
/// Between two looks at a copy that is about to be promoted, while writes are held for that.
const LOOK_IN_HANDOVER_MS: u64 = 20;
/// A source that is far away answers within this time.
const LOOK_WITHIN_MS: u64 = 2_000;
/// So long a promotion waits for the source to say how far its stream is.
const LAST_LOOK_MS: u64 = 300;
/// A designated that is still behind what the source has said last is promoted then, as it is.
const CATCH_UP_MS: u64 = 5_000;

/// What one agent knows of the source.
#[derive(Debug, Default)]
pub struct SourceWatch {
    /// Of which source: what was seen of another place says nothing.
    of: Option<Source>,
    /// When it was thought of last.
    now: Millis,
    looking: Option<Millis>,
    next_look: Millis,
    seen: Option<Seen>,
    fault: Option<SourceFault>,
    /// Before the own server's copy.
    gate: Option<GateSeen>,
    /// What a person has accepted, and since when: what the gate held back before that is over.
    accepted: Option<(Position, Millis)>,
    /// When the promotion of the own server was ordered.
    ordered_at: Option<Millis>,
    /// What the own server lacked when it stood in the source's place.
    loss: Option<PromotionLoss>,
    /// What keeps the own server, a primary, from being demoted for the source.
    pub demotion_hold: Option<DemotionHold>,
}

#[derive(Debug)]
struct Seen {
    view: SourceView,
    at: Millis,
}

impl SourceWatch {
    /// Looks if a look is due.
    pub fn tick(&mut self, now: Millis, order: &AgentOrder, copy: Option<OwnCopy>, out: &mut Outbox) {
        let Some(source) = order.source.as_ref().map(|order| &order.source) else { return };
        self.now = now;
        if self.of.as_ref() != Some(source) {
            *self = Self { of: Some(source.clone()), loss: self.loss, now, ..Self::default() };
        }
        let accepted = order.source.as_ref().and_then(|source| source.accepted);
        if accepted != self.accepted.map(|(accepted, _)| accepted) {
            self.accepted = accepted.map(|accepted| (accepted, now));
            self.next_look = now;
            if let Some(gate) = &mut self.gate {
                gate.held_back = None;
            }
        }
        if self.looking.is_none() && self.next_look <= now {
            self.looking = Some(now);
            let gate = passes(order, copy, self.view()).map(Box::new);
            let source = Box::new(source.clone());
            out.push(Command::LookAtSource { source, gate, within_ms: LOOK_WITHIN_MS });
        }
    }

    /// When a look is due; `None` while one is out.
    pub fn wake_at(&self) -> Option<Millis> {
        let catching_up = self.ordered_at.map(|at| at.plus(LAST_LOOK_MS));
        match self.looking {
            Some(_) => catching_up,
            None => Some(self.next_look),
        }
    }

    /// The source has answered, or not.
    pub fn seen(
        &mut self,
        now: Millis,
        of: &Source,
        order: &AgentOrder,
        ours: Option<&str>,
        result: Result<SourceView, SourceFault>,
        gate: Option<GateSeen>,
    ) {
        if self.of.as_ref() != Some(of) {
            return;
        }
        let began = self.looking.take();
        self.gate = gate;
        if let (Some(gate), Some((_, since))) = (&mut self.gate, self.accepted)
            && began.is_none_or(|began| began <= since)
        {
            gate.held_back = None;
        }
        let result = result.and_then(|view| match refuse(&view, order, ours) {
            None => Ok(view),
            Some(fault) => Err(fault),
        });
        match result {
            Ok(view) => {
                let pause = if is_handover(order) { LOOK_IN_HANDOVER_MS } else { LOOK_EVERY_MS };
                self.next_look = now.plus(pause);
                self.seen = Some(Seen { view, at: now });
                self.fault = None;
            }
            Err(fault) => {
                self.next_look = now.plus(LOOK_AGAIN_MS);
                if fault.forbids() {
                    self.seen = None;
                }
                self.fault = Some(fault);
            }
        }
    }

    /// Where it is, if it was seen there and may be followed.
    pub fn view(&self) -> Option<&SourceView> {
        self.seen.as_ref().map(|seen| &seen.view)
    }

    /// Where the own server is to follow it: through its gate, or where it is.
    pub fn address(&self) -> Option<&Address> {
        let seen = self.view()?;
        Some(self.gate.as_ref().map_or(&seen.address, |gate| &gate.address))
    }

    /// Why it cannot be seen, or must not be followed.
    pub fn fault(&self) -> Option<&SourceFault> {
        self.fault.as_ref()
    }

    /// Where the source's stream was at the last look.
    pub fn position(&self) -> Option<Position> {
        self.view().map(|view| Position { history: view.replid, offset: view.offset })
    }

    /// Bytes that a server is behind the source's stream, by the last look that was answered; `None` where the two are not of one history.
    fn lag(&self, own: &Replication) -> Option<u64> {
        self.position()?.ahead_of(own)
    }

    /// What is told of it.
    pub fn report(&self, own: Option<&Replication>) -> Option<SourceReport> {
        self.of.as_ref()?;
        Some(SourceReport {
            lag_bytes: own.and_then(|own| self.lag(own)),
            seen_ms_ago: self.seen.as_ref().map(|seen| self.now.since(seen.at)),
            position: self.position(),
            fault: self.fault.clone(),
            held_back: self.gate.as_ref().and_then(|gate| gate.held_back.clone()),
            loss: self.loss,
            demotion_hold: self.demotion_hold.clone(),
        })
    }

    /// May the own server stand in the source's place by now? It takes first what the link still gives: all that the source has said to have
    /// when it was asked after the promotion was ordered.
    pub fn may_promote(&mut self, now: Millis, own: &Replication) -> bool {
        let ordered_at = *self.ordered_at.get_or_insert_with(|| {
            self.next_look = now;
            now
        });
        let asked_since = self.seen.as_ref().is_some_and(|seen| seen.at > ordered_at);
        let linked = own.link() == Some(Link::Up);
        let answers = self.fault.is_none() && (asked_since || now.since(ordered_at) < LAST_LOOK_MS);
        let behind = self.lag(own).is_none_or(|bytes| bytes > 0);
        let waits = linked && answers && (!asked_since || behind) && now.since(ordered_at) < CATCH_UP_MS;
        if !waits {
            self.loss = Some(PromotionLoss {
                behind_bytes: self.lag(own),
                unseen_ms: self.seen.as_ref().map(|seen| now.since(seen.at)),
            });
        }
        !waits
    }
}

/// The own server's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCopy {
    /// Where it is in the history that it went through last.
    pub position: Option<Position>,
    /// Does it hold nothing that could be lost?
    pub is_empty: bool,
}

/// What the gate before the own server may let through; `None` if it has none. One copy is kept: that of the last member.
fn passes(order: &AgentOrder, copy: Option<OwnCopy>, seen: Option<&SourceView>) -> Option<Passes> {
    let source = order.source.as_ref().filter(|source| source.reserve.as_ref() == Some(&order.instance))?;
    // While the cluster goes over to following, the copy is given up for the source that is meant.
    let meant = source.demotion.as_ref().and_then(|demotion| seen.filter(|seen| is_meant(demotion, seen)));
    let given_up = meant.map(|seen| Position { history: seen.replid, offset: seen.offset });
    Some(Passes {
        own: copy.and_then(|copy| copy.position),
        is_empty: copy.is_some_and(|copy| copy.is_empty),
        // Nothing passes before the server has been looked at.
        is_closed: source.held_back.is_some() || copy.is_none(),
        accepted: given_up.or(source.accepted),
    })
}

fn is_handover(order: &AgentOrder) -> bool {
    order.source.as_ref().is_some_and(|source| source.demotion == Some(Demotion::Handover))
}

/// Why a source that answers must not be followed. `ours` is the version of the servers that are to follow.
pub fn refuse(view: &SourceView, order: &AgentOrder, ours: Option<&str>) -> Option<SourceFault> {
    if view.cluster_mode {
        return Some(SourceFault::ClusterMode);
    }
    let at = |is_there: &dyn Fn(&Member) -> bool| {
        let found = order.members.iter().find(|(_, member)| is_there(member));
        found.map(|(name, _): (&InstanceName, _)| name.clone())
    };
    let leads_here = |member: &Member| {
        member.address.as_ref().is_some_and(|address| address.socket() == view.address.socket())
    };
    if let Some(instance) = at(&leads_here) {
        return Some(SourceFault::IsMember { instance });
    }
    let follows = |followed: &Followed| {
        at(&|member| member.address.as_ref().is_some_and(|address| followed.is_at(address)))
    };
    // The copy to which this cluster hands over follows it until it is promoted.
    if let Some(instance) = view.follows.as_ref().and_then(follows).filter(|_| !is_handover(order)) {
        return Some(SourceFault::FollowsMember { instance });
    }
    let (theirs, ours) = (view.version.clone(), ours?.to_owned());
    (!super::versions::reads(&ours, view.engine, &theirs)).then_some(SourceFault::TooNew { theirs, ours })
}
