//! What others may ask of us. Everything that changes the server names the run it is meant for.

use super::About;
use super::machine::{Agent, Forwarded, Phase, Then};
use super::{Command, Reply, ServerCommand, ServerError, Token};
use crate::failover::restart_decision::Loss;
use crate::hostwatch::FORCED_WITHIN_MS;
use crate::mode::standalone::Request;
use valkeeper_model::{
    Answer, Ask, AskFailed, Death, EngineKind, Incarnation, Millis, Replication, Role, Run, Unseen,
};

/// A server that was told to become primary may be one although the last look, a second ago, showed a replica.
const PROMOTION_RECENT_MS: u64 = 5_000;
/// The first major version of Valkey that begins an election anew for each `CLUSTER FAILOVER`.
const FIRST_WITHOUT_OLD_VOTES: u32 = 9;
/// An election is begun again so long after the last one at the earliest, milliseconds; engines do not go below it.
const ELECTION_RETRY_MS: u64 = 4_000;
/// Our server may take this long for one command of somebody else's.
pub(crate) const SERVE_MS: u64 = 500;
/// What has been begun when the time for moving slots is over may take so much longer.
pub(crate) const MOVE_ENDS_MS: u64 = 20_000;
/// Why it does nothing that stops or changes its server.
pub(super) const BUSY: &str = "it is starting, stopping or changing its role already";

impl Agent {
    pub(super) fn asked(&mut self, now: Millis, token: Token, ask: Ask) {
        match ask {
            Ask::Report { fresh: false } => self.answer_report(token),
            Ask::Report { fresh: true } if self.incarnation().is_none() => self.answer_report(token),
            Ask::Report { fresh: true } => {
                // Compared like the watch's own looks: what differs must not vanish from the report meanwhile.
                let look = self.look();
                let sent = self.out.serve(look, SERVE_MS);
                self.forwarded.insert(sent, Forwarded::Report(token));
            }
            Ask::Replication => self.forward_to_server(now, token, None, ServerCommand::Replication),
            Ask::Force { .. } | Ask::Takeover { .. } | Ask::Succeed { .. } => {
                self.asked_to_promote(now, token, &ask);
            }
            Ask::Vote { candidate, term } => {
                self.asked_for_terms(now, token, Request::Vote { candidate, term });
            }
            Ask::Term { known } => self.asked_for_terms(now, token, Request::Term(known)),
            // The agent keeps its server with the primary of the newest term by itself.
            Ask::Flush | Ask::Follow { .. } if self.votes_by_itself() => {
                if let Phase::Watching(watch) = &mut self.phase {
                    watch.look_now(now);
                }
                self.out.push(Command::Answer { token, result: Ok(Answer::Done) });
            }
            Ask::Flush => {
                self.forward_to_server(now, token, None, ServerCommand::Flush);
                if let Phase::Watching(watch) = &mut self.phase {
                    watch.look_now(now);
                }
            }
            Ask::Follow { primary, incarnation } => {
                self.forward_to_server(now, token, Some(incarnation), ServerCommand::Follow(primary));
            }
            Ask::Meet { address } => {
                let members = self.order.iter().flat_map(|order| order.members.values());
                let mut there = members.filter(|member| member.address.as_ref() == Some(&address));
                let node = there.next().map(|member| member.node_id);
                self.forward_to_server(now, token, None, ServerCommand::Meet { address, node });
            }
            Ask::TakeSlots { slots, incarnation } => {
                self.forward_to_server(now, token, Some(incarnation), ServerCommand::TakeSlots(slots));
            }
            Ask::MoveSlots { transfer, incarnation } => match &self.phase {
                Phase::Watching(_) if self.is_shard_primary() => {
                    let within_ms = transfer.budget_ms + MOVE_ENDS_MS;
                    let command = ServerCommand::MoveSlots(transfer);
                    self.forward_within(now, token, Some(incarnation), command, within_ms);
                }
                Phase::Watching(_) => self.refuse(token, "it is not a primary"),
                _ => self.refuse(token, BUSY),
            },
            Ask::Forget { nodes } => self.forward_to_server(now, token, None, ServerCommand::Forget(nodes)),
            Ask::HandOver { to } => match &self.phase {
                Phase::Watching(_) if self.is_shard_primary() => {
                    self.awaiting_completion.push(token);
                    self.hand_over(now, to, Then::Watch);
                }
                Phase::Watching(_) => self.refuse(token, "it is not a primary"),
                _ => self.refuse(token, BUSY),
            },
            Ask::Restart => match &self.phase {
                Phase::Watching(_) => self.try_before_restart(token),
                _ => self.refuse(token, BUSY),
            },
            Ask::Try { config, version } => self.try_for(About::Question(token), *config, version),
            Ask::Kill => match self.incarnation() {
                Some(incarnation) => {
                    self.out.push(Command::Kill(incarnation));
                    self.out.push(Command::Answer { token, result: Ok(Answer::Done) });
                }
                None => self.out.push(Command::Answer { token, result: Err(AskFailed::NotRunning) }),
            },
            Ask::Heartbeat { from, position } => {
                let result = self.heartbeat_came(now, &from, position);
                self.out.push(Command::Answer { token, result });
            }
            Ask::Renew { from, term, position, seats } => {
                let result = self.asked_to_renew(now, &from, term, position, seats);
                self.out.push(Command::Answer { token, result });
            }
            Ask::ConfirmDown { primary } => {
                let result = self.confirm_down(now, &primary);
                self.out.push(Command::Answer { token, result });
            }
            Ask::AcceptLoss => {
                self.loss = Loss::Accepted;
                if let Phase::RetryAt { until } = &mut self.phase {
                    *until = now;
                }
                self.out.push(Command::Answer { token, result: Ok(Answer::Done) });
            }
        }
    }

    /// Its server is to become the primary.
    fn asked_to_promote(&mut self, now: Millis, token: Token, ask: &Ask) {
        // Its server may be there for a while yet, if it saves its data, and in sync all the time.
        if matches!(self.phase, Phase::Stopping(_)) {
            return self.refuse(token, "it is being stopped");
        }
        let (incarnation, command) = match *ask {
            Ask::Force { looked_at: Some(at), .. } if at > now || now.since(at) >= FORCED_WITHIN_MS => {
                return self
                    .refuse(token, "the order was too long on its way: its primary may take writes again");
            }
            Ask::Force { incarnation, replaces, after, .. } => {
                if after == Death::KilledForSilence {
                    self.silence.killed(now);
                }
                (incarnation, ServerCommand::FailoverForce { replaces })
            }
            Ask::Takeover { incarnation, replaces } => {
                (incarnation, ServerCommand::FailoverTakeover { replaces })
            }
            // Two that both are about to stop would hand over to each other for ever.
            Ask::Succeed { .. } if matches!(self.phase, Phase::Draining(..)) => {
                return self.refuse(token, "it is about to be stopped itself");
            }
            Ask::Succeed { .. } if self.counts_votes_again(now) => {
                return self.refuse(
                    token,
                    "its server asked for votes lately, and would take those for new ones: try again in a while, or name another replica",
                );
            }
            Ask::Succeed { incarnation } => (incarnation, ServerCommand::FailoverPlanned),
            _ => return,
        };
        self.forward_to_server(now, token, Some(incarnation), command);
    }

    /// Would the engine take the votes of an election that its server has won before for those of the next one? Redis 7.0 begins a new election only
    /// 4 × `cluster-node-timeout` after the last one; sooner, `CLUSTER FAILOVER` makes the server primary at once, by the old votes and the old
    /// epoch, and what it acknowledges until it hears of the newer claim is lost (docs/engine-facts.md). Valkey 9 does not.
    fn counts_votes_again(&self, now: Millis) -> bool {
        let Some(order) = self.order.as_ref().filter(|order| order.config.mode.has_slots()) else {
            return false;
        };
        let begins_anew = self.server.known().is_some_and(|view| {
            let major = view.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
            view.engine != Some(EngineKind::Redis) && major >= Some(FIRST_WITHOUT_OLD_VOTES)
        });
        let retry_ms = (4 * order.config.node_timeout_ms).max(ELECTION_RETRY_MS);
        let run = self.incarnation();
        let lately = self.election_asked.is_some_and(|(of, at)| Some(of) == run && now.since(at) < retry_ms);
        lately && !begins_anew
    }

    /// Restarts the server; a primary hands over first if there is anybody to hand over to (law 2).
    pub(super) fn restart(&mut self, now: Millis) {
        if self.may_hand_over(now) {
            self.hand_over(now, None, Then::Restart);
        } else {
            self.terminate(now, Then::Restart);
        }
    }

    /// Is there anybody to hand over to, and is our server not known to be a replica? One that does not answer just now may be
    /// a primary that serves (law 1); the handover looks at it first.
    pub(super) fn may_hand_over(&self, now: Millis) -> bool {
        let known_for_replica = self.server.known().is_some_and(|view| !view.is_shard_primary());
        let known_for_replica = known_for_replica && !self.promotion_is_recent(now);
        !known_for_replica && !self.siblings().is_empty()
    }

    /// Was it told to become primary just now?
    pub(super) fn promotion_is_recent(&self, now: Millis) -> bool {
        self.promotion_requested_at.is_some_and(|at| now.since(at) < PROMOTION_RECENT_MS)
    }

    pub(super) fn refuse(&mut self, token: Token, why: &str) {
        self.out.push(Command::Answer { token, result: Err(AskFailed::Refused(why.to_owned())) });
    }

    fn answer_report(&mut self, token: Token) {
        let result = match self.report() {
            Some(report) => Ok(Answer::Report(Box::new(report))),
            None => Err(AskFailed::Unseen(Unseen::NotAsked)),
        };
        self.out.push(Command::Answer { token, result });
    }

    fn forward_to_server(
        &mut self,
        now: Millis,
        token: Token,
        meant_for: Option<Incarnation>,
        command: ServerCommand,
    ) {
        self.forward_within(now, token, meant_for, command, SERVE_MS);
    }

    fn forward_within(
        &mut self,
        now: Millis,
        token: Token,
        meant_for: Option<Incarnation>,
        command: ServerCommand,
        within_ms: u64,
    ) {
        let refusal = match self.incarnation() {
            None => Some(AskFailed::NotRunning),
            Some(running) if meant_for.is_some_and(|meant| meant != running) => Some(AskFailed::Outdated),
            // A fenced server is not promoted.
            Some(_)
                if meant_for.is_some()
                    && self.order.as_ref().is_some_and(|order| order.run == Run::Fenced) =>
            {
                Some(AskFailed::Refused("it is fenced".to_owned()))
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            self.out.push(Command::Answer { token, result: Err(refusal) });
            return;
        }
        if command.promotes() && self.votes_by_itself() {
            let replaces = match command {
                ServerCommand::FailoverForce { replaces } | ServerCommand::FailoverTakeover { replaces } => {
                    replaces
                }
                _ => None,
            };
            let result = self.stand(now, replaces);
            self.out.push(Command::Answer { token, result });
            return;
        }
        if command.promotes() {
            self.promotion_requested_at = Some(now);
            self.election_asked = self.incarnation().map(|run| (run, now));
        }
        let sent = self.out.serve(command, within_ms);
        self.forwarded.insert(sent, Forwarded::Plain(token));
    }

    /// Our server has ended before it replied: who asked is told so.
    pub(super) fn forwarded_in_vain(&mut self) {
        for forward in std::mem::take(&mut self.forwarded).into_values() {
            match forward {
                Forwarded::Report(token) => self.answer_report(token),
                Forwarded::Plain(token) => {
                    self.out.push(Command::Answer { token, result: Err(AskFailed::NotRunning) });
                }
            }
        }
    }

    /// Our server replied to somebody else's question.
    pub(super) fn forward(&mut self, now: Millis, forward: Forwarded, result: Result<Reply, ServerError>) {
        let token = match forward {
            Forwarded::Report(token) => return self.answer_report(token),
            Forwarded::Plain(token) => token,
        };
        let result = match (result, self.incarnation()) {
            (Ok(Reply::Replication(replication)), Some(incarnation)) => {
                self.saw_replication(&replication);
                Ok(Answer::Replication { incarnation, replication, standing: self.standing(now) })
            }
            (Ok(_), _) => Ok(Answer::Done),
            (Err(ServerError::Refused(why)), _) => Err(AskFailed::Refused(why)),
            (Err(error @ ServerError::RightMissing(_)), _) => Err(AskFailed::Refused(error.to_string())),
            (Err(error), _) => Err(AskFailed::Unseen(error.unseen())),
        };
        self.out.push(Command::Answer { token, result });
    }

    /// A replica counts itself as in sync once its primary has answered that it is attached. If the primary dies before its next look, its
    /// agent must not say less: the replica would be passed over for a restart of the primary, which takes seconds.
    fn saw_replication(&mut self, replication: &Replication) {
        if let Some(view) = &mut self.last_view
            && replication.role() == Role::Primary
            && view.replication.replid == replication.replid
        {
            view.replication = replication.clone();
        }
    }
}
