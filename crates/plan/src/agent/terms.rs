//! In mode `standalone` an agent holds a seat and, if its server is to become the primary, stands for a term: here the agent and
//! [`crate::mode::standalone::Terms`] meet.

use super::machine::{Agent, Phase};
use super::{Outbox, ServerCommand, Token};
use crate::failover::restart_decision::{Disk, NodesFile, Owner};
use crate::failover::succession::may_replace;
use crate::mode::standalone::register::{RegisterAnswer, RegisterWish};
use crate::mode::standalone::{self, Elected, Mend, Request, Situation, Terms, Vote};
use crate::mode::{self, ModeRules, Voters};
use valkeeper_model::{Answer, AskFailed, Millis, NodeId, Process, RegisterFault, Role, ServerView};

/// A server takes this long for `REPLICAOF` at most.
const ROLE_MS: u64 = 500;
/// Between looks at a server that is to become the primary and has no lease yet.
const UNLED_LOOK_MS: u64 = 50;
/// A primary whose mandate others renew no more waits so long for the one that they have voted for.
const OUTVOTED_MS: u64 = 3_000;

impl Agent {
    /// What the mode of the cluster answers.
    pub(super) fn mode(&self) -> &'static dyn ModeRules {
        mode::rules(self.order.as_ref().map(|order| order.config.mode).unwrap_or_default())
    }

    /// Who the own server is, in a mode in which the engine does not know.
    pub fn given_identity(&self) -> Option<NodeId> {
        self.node_id().filter(|_| self.votes_by_itself())
    }

    pub(super) fn votes_by_itself(&self) -> bool {
        self.mode().voters() == Voters::Agents
    }

    /// Lets the seat take an event. `None` in a mode in which agents have no seat.
    pub(super) fn with_terms<T>(
        &mut self,
        now: Millis,
        event: impl FnOnce(&mut Terms, &Situation<'_>, &mut Outbox) -> T,
    ) -> Option<T> {
        let order = self.order.clone().filter(|_| self.votes_by_itself())?;
        let missed = self.missed(now);
        let unchanged = self.unchanged(now);
        let situation = Situation {
            now,
            name: &self.name.clone(),
            order: &order,
            vote: self.vote(),
            missed: &missed,
            unchanged: unchanged.as_ref(),
        };
        let mut terms = std::mem::take(&mut self.terms);
        let result = event(&mut terms, &situation, &mut self.out);
        self.terms = terms;
        Some(result)
    }

    /// Does the own server stand in the way of another primary?
    fn vote(&self) -> Vote {
        let known = self.terms.known().map(|known| known.primary);
        // Before its file was read nobody knows what a server is that runs.
        // A server whose mandate was given to the source takes writes until it has been told so.
        let is_source = |id: NodeId| self.order.as_ref().is_some_and(|order| order.is_source(id));
        let demoting = known.is_some_and(is_source)
            && self.server.known().is_some_and(|view| view.replication.role() == Role::Primary);
        let may_be_primary = known.is_none() || known == self.node_id() || demoting;
        let down = self.process == Process::Down && !matches!(self.phase, Phase::Launching);
        let handed_over = matches!(&self.phase, Phase::HandingOver(_, handover, _) if handover.has_demoted());
        if !may_be_primary || down || handed_over { Vote::Free } else { Vote::Serves }
    }

    /// The data directory was looked at.
    pub(super) fn read_roles(&mut self, disk: &Disk) {
        if let (Owner::Ours, NodesFile::Intact(roles), true) =
            (&disk.owner, &disk.nodes_conf, self.votes_by_itself())
        {
            self.terms.found(roles);
        }
    }

    /// The own server is to become the primary: its agent stands for the next term.
    pub(super) fn stand(&mut self, now: Millis, replaces: Option<NodeId>) -> Result<Answer, AskFailed> {
        let followed = self.last_view.as_ref().and_then(ServerView::primary);
        if !may_replace(followed, replaces) {
            return Err(AskFailed::Refused("it follows another primary by now".to_owned()));
        }
        self.promotion_requested_at = Some(now);
        self.with_terms(now, Terms::stand);
        Ok(Answer::Done)
    }

    /// Another agent asks for a vote, or which primary is known.
    pub(super) fn asked_for_terms(&mut self, now: Millis, token: Token, request: Request) {
        if let (Request::Vote { candidate, .. }, Some(watch)) = (&request, &mut self.host_watch) {
            watch.heard_candidate(candidate, now);
        }
        let asked = self.with_terms(now, |terms, situation, out| {
            terms.requested(situation, token, request, out);
        });
        if asked.is_none() {
            self.refuse(token, "its cluster's mode has no terms");
        }
    }

    /// Another agent answered. True if the question was the seat's.
    pub(super) fn terms_told(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Answer, AskFailed>,
    ) -> bool {
        let told =
            self.with_terms(now, |terms, situation, out| terms.answered(situation, token, result, out));
        told == Some(true)
    }

    /// The host watch wants something of the register.
    pub(super) fn ask_register(&mut self, now: Millis, wish: &RegisterWish) {
        let asking = wish.clone();
        let asked = self.with_terms(now, |terms, situation, out| terms.ask_register(situation, asking, out));
        if let (Some(token), Some(watch)) = (asked.flatten(), &mut self.host_watch) {
            watch.register_asked(wish, token, now);
        }
    }

    /// The register answered.
    pub(super) fn register_told(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<RegisterAnswer, RegisterFault>,
    ) {
        self.register_fault = match result {
            Ok(RegisterAnswer::Gathering(_)) => Some(RegisterFault::Gathering),
            Ok(_) => None,
            Err(fault) => Some(fault.clone()),
        };
        if let Some(watch) = &mut self.host_watch {
            watch.register_told(now, token, result);
        }
        self.with_terms(now, |terms, situation, out| terms.register_answered(situation, token, result, out));
    }

    /// Time has passed.
    pub(super) fn tick_terms(&mut self, now: Millis) {
        if self.terms.wake_at().is_some_and(|at| at <= now) {
            self.with_terms(now, Terms::tick);
        }
    }

    /// The file of roles and terms was written, or could not be.
    pub(super) fn roles_kept(&mut self, now: Millis, number: u64, written: bool) {
        let written = if written { Ok(()) } else { Err(()) };
        let elected =
            self.with_terms(now, |terms, situation, out| terms.saved(situation, number, written, out));
        // A start reads from here who the server is, and in which terms its agent voted.
        if let (Some(disk), Some(roles)) = (&mut self.disk, self.terms.roles()) {
            disk.nodes_conf = NodesFile::Intact(roles.clone());
        }
        match elected {
            Some(Elected::Own) => {
                if let (Some(watch), Some(asked)) = (&mut self.host_watch, self.terms.elected_at()) {
                    watch.was_elected(asked, now);
                }
                self.with_terms(now, Terms::exchange);
                if self.incarnation().is_some() && self.leads_for(now, ROLE_MS) {
                    self.promotion_requested_at = Some(now);
                    self.out.serve(ServerCommand::Promote, ROLE_MS);
                }
            }
            Some(Elected::Another) => {
                if let Some(view) = self.server.known().cloned() {
                    self.mend_role(now, &view);
                }
            }
            Some(Elected::Unchanged) | None => return,
        }
        if let Phase::Watching(watch) = &mut self.phase {
            watch.look_now(now);
        }
    }

    /// Other agents have voted for one that did not become the primary, and renew this one's mandate no more: another one is needed.
    fn stand_again(&mut self, now: Millis) {
        let outvoted = self.host_watch.as_ref().and_then(|watch| watch.is_outvoted(now, OUTVOTED_MS));
        let mandate = self.terms.known().filter(|known| Some(known.primary) == self.node_id());
        if let (Some(outvoted), Some(mandate)) = (outvoted, mandate)
            && outvoted > mandate.term
        {
            self.with_terms(now, |terms, situation, out| {
                terms.heard_of_vote(outvoted);
                terms.stand(situation, out);
            });
        }
    }

    /// Adds to a look what a server without cluster mode does not know.
    pub(super) fn complete_view(&self, view: &mut ServerView) {
        if let (true, Some(order), Some(roles)) = (self.votes_by_itself(), &self.order, self.terms.roles()) {
            standalone::complete(view, roles, order, self.source_address());
        }
    }

    /// Has the own server be what its file says it is, and hears of newer terms.
    pub(super) fn mend_role(&mut self, now: Millis, view: &ServerView) {
        if !self.votes_by_itself() || !matches!(self.phase, Phase::Watching(_)) {
            return;
        }
        self.with_terms(now, Terms::exchange_if_due);
        self.stand_again(now);
        let (Some(order), Some(roles)) = (&self.order, self.terms.roles()) else { return };
        match standalone::mend(view, roles, order, self.source_address()) {
            None => {}
            // Another may have been elected, or be about to be.
            Some(Mend::Promote) if self.terms.awaits_news(now) || self.terms.stands() => {}
            Some(Mend::Promote) if self.terms.has_promised() => {
                self.with_terms(now, Terms::stand);
            }
            // Its mandate is renewed first: a server that takes writes without a lease may have a successor.
            Some(Mend::Promote) if !self.leads_for(now, ROLE_MS) => {
                if let Phase::Watching(watch) = &mut self.phase {
                    watch.look_within(now, UNLED_LOOK_MS);
                }
            }
            Some(Mend::Promote) => {
                self.promotion_requested_at = Some(now);
                self.out.serve(ServerCommand::Promote, ROLE_MS);
            }
            Some(Mend::Follow(address)) => {
                let login = self.login_with(self.terms.roles());
                self.out.serve(ServerCommand::FollowAt(address, login), ROLE_MS);
            }
        }
    }
}
