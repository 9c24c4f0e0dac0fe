//! What one agent, or the controller, asks of an agent, and the answers.

use super::{AgentReport, ReplicaStanding};
use crate::{
    Address, Epoch, Incarnation, InstanceName, InvalidDirective, NodeId, PasswordFault, Replication,
    SeenPosition, ServerConfig, SlotSet, Trial,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What one agent, or the controller, may ask of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// What do you know?
    Report {
        /// Look at the server first, rather than tell what the last look showed (at most a second old).
        fresh: bool,
    },
    /// Just `INFO replication`: the quick look in a promotion.
    Replication,
    /// Tell your server to become primary, with the votes of the majority.
    Force {
        /// Only this run: a restarted server may have lost its copy.
        incarnation: Incarnation,
        /// Only in the place of this primary: a server that follows another one by now has a primary, elected meanwhile. `None` from
        /// an older agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<NodeId>,
        /// How its primary ended.
        #[serde(default, skip_serializing_if = "Death::is_ended")]
        after: Death,
        /// The look that the promotion rests on ([`ReplicaStanding::looked_at`]), if the order must not be old: the primary is not dead for certain.
        /// `None` also from an older agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        looked_at: Option<crate::Millis>,
    },
    /// Tell your server to become primary without a vote (law 4).
    Takeover {
        /// Only this run.
        incarnation: Incarnation,
        /// As for `Force`. `None` from an older controller.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<NodeId>,
    },
    /// Tell your server to take over from its running primary, which it is in step with.
    Succeed {
        /// Only this run.
        incarnation: Incarnation,
    },
    /// Push your server's announcement of its new role out to its shard at once (docs/engine-facts.md, "Nagle on the bus").
    Flush,
    /// Hand over to this instance, or to the best one.
    HandOver {
        /// The wanted successor.
        to: Option<InstanceName>,
    },
    /// Restart the server, handing over first if it is a primary. Not with a configuration that its program refuses.
    Restart,
    /// Would your server program start with this configuration? Nothing is changed.
    Try {
        /// The configuration.
        config: Box<ServerConfig>,
        /// The program to try it with; `None`: the one that the platform chooses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<crate::ServerVersion>,
    },
    /// Kill the server although it is a primary: the user's `failover`.
    Kill,
    /// Let the shard come back empty although it had data (the user accepts the loss).
    AcceptLoss,
    /// Follow this node (`CLUSTER REPLICATE`).
    Follow {
        /// The primary to follow.
        primary: NodeId,
        /// Only this run.
        incarnation: Incarnation,
    },
    /// Get to know the member at this address (`CLUSTER MEET`).
    Meet {
        /// Its address.
        address: Address,
    },
    /// Own these slots (`CLUSTER ADDSLOTS`), which nobody owns.
    TakeSlots {
        /// Which.
        slots: SlotSet,
        /// Only this run.
        incarnation: Incarnation,
    },
    /// Move slots to another shard's primary. Done when the time is over or all of them are there.
    MoveSlots {
        /// Which, and where to.
        transfer: Box<crate::SlotTransfer>,
        /// Only this run.
        incarnation: Incarnation,
    },
    /// Forget these nodes (`CLUSTER FORGET`), which are no members. Done also if they are not known.
    Forget {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// The sender lives, and its server is its shard's primary. Between agents on hosts of their own, several times a second.
    #[serde(rename = "beat")]
    Heartbeat {
        /// The sender.
        from: InstanceName,
        /// Where its server's stream was. `None` from an older agent, and from one that has not seen its server as a primary.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<SeenPosition>,
    },
    /// The sender lives, and its server is the primary of this term (mode `standalone`): renew its lease. Between agents on hosts of their own,
    /// several times a second.
    Renew {
        /// The sender.
        from: InstanceName,
        /// Of its mandate.
        term: Epoch,
        /// As of a heartbeat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<SeenPosition>,
        /// On which seats the lease rests.
        #[serde(default, skip_serializing_if = "LeaseSeats::are_agents")]
        seats: LeaseSeats,
    },
    /// Vote for this instance as its shard's primary with this term (mode `standalone`). A vote is on the voter's disk before it is given, and an
    /// agent gives one in each term.
    Vote {
        /// Who stands.
        candidate: InstanceName,
        /// For which term.
        term: Epoch,
    },
    /// The primary of the shard with the newest term that the sender knows (mode `standalone`).
    Term {
        /// That one.
        known: PrimaryTerm,
    },
    /// How long have you not heard of this primary? An answer that it was long is a promise: it gets no lease for a while.
    #[serde(rename = "testify")]
    ConfirmDown {
        /// The primary that is not heard.
        #[serde(rename = "against")]
        primary: InstanceName,
    },
}

impl Ask {
    /// Does it come to the same if it arrives twice? What ends a run without naming it would end the next one too.
    pub fn may_arrive_twice(&self) -> bool {
        !matches!(self, Self::HandOver { .. } | Self::Restart | Self::Kill)
    }
}

/// A primary in mode `standalone`, and its mandate. Of two, the one with the higher term was elected later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryTerm {
    /// The number of its mandate.
    pub term: Epoch,
    /// The primary.
    pub primary: NodeId,
}

/// Why an agent does not vote for a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum VoteRefusal {
    /// It has voted in that term or in a later one.
    Voted {
        /// The term of its last vote.
        term: Epoch,
    },
    /// Its own server is the primary, and serves.
    Serves,
    /// It cannot keep its vote on its disk. Its server does not stand in the way, and the agent keeps that in mind as long as it runs.
    NotKept,
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(crate::Newer),
}

/// How a primary ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Death {
    /// Its agent killed it because it was silent. What silenced it may silence its successor too: a command that a client repeats.
    KilledForSilence,
    /// By itself or by somebody else, or its host is lost; or as only a newer agent knows.
    #[default]
    #[serde(other)]
    Ended,
}

impl Death {
    /// Was it not its agent that killed it?
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_ended(&self) -> bool {
        *self == Self::Ended
    }
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Carried out, or, for what takes longer, finished.
    Done,
    /// Its report.
    Report(Box<AgentReport>),
    /// The quick look, and the run it was made on.
    Replication {
        /// Which run.
        incarnation: Incarnation,
        /// What it said.
        replication: Replication,
        /// What its agent knows beyond that; `None` by older agents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        standing: Option<ReplicaStanding>,
    },
    /// The answer to a heartbeat.
    #[serde(rename = "beat")]
    Heartbeat {
        /// Does the heartbeat count for the sender's lease? Not while the answering agent has promised that it does not, nor when it knows a
        /// successor, nor when its own server is no slot-owning primary.
        counts: bool,
        /// Do the answering agent's own heartbeats count, for a majority? Its answer renews a lease only then.
        #[serde(rename = "stands")]
        has_quorum: bool,
        /// Has the answering agent been there for longer than any promise lasts? One that has not may have made one and forgotten it: its
        /// answer prolongs a lease, and gives none.
        #[serde(rename = "remembers")]
        past_promise_window: bool,
    },
    /// The answer to [`Ask::Renew`].
    Renewed {
        /// Does the voter hold that mandate for the newest, as far as its votes go?
        counts: bool,
        /// The term in which it has voted last.
        voted: Epoch,
    },
    /// What the server program made of the configuration.
    Tried(Trial),
    /// The answer to a candidate.
    Vote {
        /// Why the vote is not given; `None`: it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<VoteRefusal>,
        /// The primary that the voter knows.
        known: Option<PrimaryTerm>,
        /// With a vote: who may be a primary as far as the voter knows. The candidate needs the votes of all of them.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        may_be_primary: BTreeSet<NodeId>,
        /// Of these, the ones whose mandate the voter has not renewed for so long that their leases have ended, and renews no more.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        silent: BTreeSet<NodeId>,
    },
    /// The primary with the newest term that the answering agent knows.
    Term {
        /// That one; `None` if it knows none.
        known: Option<PrimaryTerm>,
    },
    /// How long the primary has not been heard.
    #[serde(rename = "testimony")]
    ConfirmDown {
        /// Milliseconds.
        silent_ms: u64,
    },
}

/// Why an agent did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum AskFailed {
    /// Its server does not run: certain, the agent says so.
    #[error("its server is not running")]
    NotRunning,
    /// Nobody answered, or not in time. Nothing is known.
    #[error("{0}")]
    Unseen(crate::Unseen),
    /// The run meant is over.
    #[error("its server was restarted in between")]
    Outdated,
    /// The server program would not start again with what is wanted.
    #[error("the server would not start again: {}", crate::trial::list(directives))]
    ConfigInvalid {
        /// What it refuses.
        directives: Vec<InvalidDirective>,
    },
    /// The server would not start again without a password.
    #[error("the server would not start again: its password cannot be used: {0}")]
    PasswordUnusable(PasswordFault),
    /// The server or the agent refused.
    #[error("refused: {0}")]
    Refused(String),
}

/// Who renews the lease of a primary (mode `standalone`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeaseSeats {
    /// The agents. An older agent does not say so.
    #[default]
    Agents,
    /// The agents and the register.
    WithRegister,
}

impl LeaseSeats {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn are_agents(&self) -> bool {
        *self == Self::Agents
    }
}
