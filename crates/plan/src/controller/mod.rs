//! The cluster's controller, as a state machine: events and time in, commands out. Any number may run: a commit compares and
//! sets, agents refuse older orders, and every step is checked again by who carries it out.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `mod.rs` | what is put in and out |
//! | `machine.rs` | load, found, commit, order, observe, in this order |
//! | `acting.rs` | steps that are due are taken |
//! | `attempts.rs` | when a step is taken again, and what is told of one that is refused |
//! | [`change`] | what a changed spec makes of a layout |
//! | `life.rs` | whose life goes on |
//! | [`orders`] | what agents are told |
//! | `moving.rs` | moves of slots go on, and how fast |
//! | `observing.rs` | when an observation is over although somebody has not answered |
//! | `ordering.rs` | which agents are told, and when again |
//! | [`crate::operations`] | what agents cannot do alone: takeover, rewiring, zones |
//! | `disturbing.rs` | a primary is disturbed only while the ledger counts it (law 6) |
//! | `pace.rs` | how often it looks |
//! | `places.rs` | who is where, and when all are told again |
//! | `rolling.rs` | a roll goes on by what is seen, and how long it is seen |
//! | `storing.rs` | a layout is stored, with which generation |
//! | `telling.rs` | what people are told, and when it has changed |
//! | `trial.rs` | a changed configuration is tried before it is stored |
//! | `requests.rs` | what users may ask, and why not |
//! | `resizing.rs` | what users may ask of where instances are |
//! | `slot_requests.rs` | the same about slots |
//! | `forgetting.rs` | nodes that are no members are removed from all servers |
//! | `awaited.rs` | what ends a request that waits for another primary |

mod acting;
pub mod annotations;
mod attempts;
mod awaited;
pub mod change;
mod disturbing;
mod fencing;
mod forgetting;
mod hibernation;
mod life;
mod machine;
mod moving;
mod observing;
mod ordering;
pub mod orders;
mod pace;
mod places;
mod requests;
mod resizing;
mod rolling;
mod slot_requests;
mod source_requests;
mod storing;
mod telling;
mod trial;

pub use machine::Controller;
pub use observing::Observing;
pub use pace::Pace;

use crate::agent::Token;
use std::collections::BTreeMap;
use valkeeper_model::{
    Address, AgentOrder, Answer, Ask, AskFailed, Happened, InstanceName, Layout, LayoutVersion, Observation,
    ProvisionError, Refusal, Report, Request, StoreError,
};

/// What happens to a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What the store holds.
    Loaded(Result<Option<Box<Layout>>, StoreError>),
    /// A commit's end.
    Committed(Result<(), CommitError>),
    /// Every instance of the layout has a place and an address.
    Provisioned(Result<BTreeMap<InstanceName, Address>, ProvisionError>),
    /// What was seen.
    Observed(Observation),
    /// An agent's answer.
    Told {
        /// To what we asked.
        token: Token,
        /// What it said.
        result: Result<Answer, AskFailed>,
    },
    /// A user asks. Every request is answered once.
    Asked {
        /// For the answer.
        token: Token,
        /// What.
        request: Request,
    },
    /// Nobody waits for that request any more: it is not begun, or not waited for.
    Withdrawn {
        /// Its token.
        token: Token,
    },
    /// Some agent has news: look at once.
    Nudged,
    /// Instances have other addresses than they had, or have one now: provision again.
    Reprovision,
    /// Time has passed.
    Tick,
}

/// Why a layout was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else committed in between: load and think again.
    #[error("another controller has just changed the layout")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// What a controller wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Read the store; `Loaded` follows.
    Load,
    /// Store this layout if the stored one is of that version (`None`: if there is none); `Committed` follows.
    Commit {
        /// The new layout.
        layout: Box<Layout>,
        /// The one it follows.
        after: Option<LayoutVersion>,
    },
    /// Give every instance of the layout an agent, a place for its data and an address; `Provisioned` follows.
    Provision(Box<Layout>),
    /// Hand an agent its order.
    Order(Box<AgentOrder>),
    /// Ask every agent for its report; `Observed` follows.
    Observe {
        /// Let them look at their servers first.
        fresh: bool,
    },
    /// Ask an agent; `Told` follows within the time.
    Tell {
        /// For the answer.
        token: Token,
        /// Whom.
        to: InstanceName,
        /// What.
        ask: Ask,
        /// Milliseconds.
        within_ms: u64,
    },
    /// Answer a user.
    Answer {
        /// The request's token.
        token: Token,
        /// Done, or why not.
        result: Result<(), Refusal>,
    },
    /// The explanation has changed.
    Publish(Box<Report>),
    /// Something worth telling people.
    Record(Happened),
    /// The spec cannot be followed at all: nothing was or will be done.
    GiveUp(Refusal),
}
