//! When the silence of a server is its end, and when there is reason to wait for longer: what silences one primary, a command that a client
//! repeats or sends to all, a machine that is overloaded, may silence the next one too, and killing one after the other helps nobody.

use super::Token;
use super::machine::Agent;
use std::collections::BTreeMap;
use valkeeper_model::{
    Activity, AgentReport, Answer, Ask, AskFailed, Death, Happened, InstanceName, Millis, Observed,
    ServerView, Unseen,
};

/// After a primary was killed for its silence its successor is given more time for so long.
const HOLD_BACK_MS: u64 = 60_000;
/// So many times more.
const HELD_BACK: u64 = 4;
/// How long the other primaries' agents are waited for.
const INQUIRY_MS: u64 = 300;
/// With so many primaries in the same trouble there is no point in waiting for each.
const MOST_BEFORE: u64 = 4;

/// What is known about a silence.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When our server, or the primary that it succeeded, was last killed for its silence.
    killed_at: Option<Millis>,
    inquiry: Inquiry,
}

/// Whether other primaries are in the same trouble.
#[derive(Debug, Default)]
enum Inquiry {
    #[default]
    None,
    /// Their agents are being asked.
    Out { since: Millis, pending: BTreeMap<Token, InstanceName>, before_us: u64 },
    /// It is our turn then.
    Turn(Millis),
}

impl Silence {
    /// A primary was killed for its silence: our server, or the one it succeeds.
    pub(super) fn killed(&mut self, now: Millis) {
        self.killed_at = Some(now);
        self.inquiry = Inquiry::None;
    }

    /// It is over.
    pub(super) fn ended(&mut self) {
        self.inquiry = Inquiry::None;
    }

    /// How long a server may be silent before it is killed.
    pub(super) fn limit(&self, ordered_ms: u64, now: Millis) -> u64 {
        let held_back = self.killed_at.is_some_and(|at| now.since(at) < HOLD_BACK_MS);
        if held_back { ordered_ms.saturating_mul(HELD_BACK) } else { ordered_ms }
    }
}

impl Agent {
    /// Our server has been silent for as long as it may be. A primary is killed only when no other one is in the same trouble, or when
    /// those that were first have had their time (law 6).
    pub(super) fn silent_too_long(&mut self, now: Millis, silent_ms: u64) {
        match &self.silence.inquiry {
            Inquiry::Out { since, .. } if now.since(*since) < INQUIRY_MS => {}
            Inquiry::Out { before_us, .. } => {
                let before_us = *before_us;
                self.inquired(now, before_us);
            }
            Inquiry::Turn(at) if now < *at => {}
            Inquiry::Turn(_) => self.kill_silent(now, silent_ms),
            Inquiry::None => {
                let pending: BTreeMap<_, _> = self
                    .other_primaries()
                    .into_iter()
                    .map(|name| (self.out.tell(&name, Ask::Report { fresh: false }, INQUIRY_MS), name))
                    .collect();
                if pending.is_empty() {
                    return self.kill_silent(now, silent_ms);
                }
                self.silence.inquiry = Inquiry::Out { since: now, pending, before_us: 0 };
            }
        }
    }

    /// A server that is silent for too long is killed: a frozen one that wakes up again would acknowledge writes that are lost
    /// (law 3's fence). What follows is its death like any other.
    pub(super) fn kill_silent(&mut self, now: Millis, silent_ms: u64) {
        self.out.record(Happened::Unresponsive { instance: self.name.clone(), silent_ms });
        self.kill(now);
        self.death = Death::KilledForSilence;
        self.silence.killed(now);
    }

    /// An agent of another primary answered, or did not. Was the question ours?
    pub(super) fn inquiry_told(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Answer, AskFailed>,
    ) -> bool {
        let Inquiry::Out { pending, before_us, .. } = &mut self.silence.inquiry else { return false };
        let Some(name) = pending.remove(&token) else { return false };
        // Who does not answer is no reason to wait: its silence is not its server's.
        if let Ok(Answer::Report(report)) = result
            && goes_first(report, &name, &self.name)
        {
            *before_us += 1;
        }
        let (done, before_us) = (pending.is_empty(), *before_us);
        if done {
            self.inquired(now, before_us);
        }
        true
    }

    fn inquired(&mut self, now: Millis, before_us: u64) {
        let ordered = self.order.as_ref().map_or(0, |order| order.config.unresponsive_after_ms);
        let turn = now.plus(ordered.saturating_mul(before_us.min(MOST_BEFORE)));
        self.silence.inquiry = Inquiry::Turn(turn);
    }

    fn other_primaries(&self) -> Vec<InstanceName> {
        let (Some(order), Some(view)) =
            (&self.order, self.last_view.as_ref().filter(|view| view.is_shard_primary()))
        else {
            return Vec::new();
        };
        let owners = view.topology.iter().filter(|(id, node)| **id != view.node_id && !node.slots.is_empty());
        owners.filter_map(|(id, _)| Some(order.member_with(*id)?.0.clone())).collect()
    }
}

/// Is that primary being replaced already, or silent too with a name before ours? All agents order the silent ones alike.
fn goes_first(report: &AgentReport, name: &InstanceName, ours: &InstanceName) -> bool {
    let silent = !report.is_down()
        && report.look_refused.is_none()
        && report.server == Observed::<ServerView>::Unknown(Unseen::Timeout);
    match report.activity {
        Activity::FailingOver | Activity::WithoutVotes { .. } | Activity::Stopping => true,
        _ => silent && name < ours,
    }
}
