//! What is said about slots.

use super::Output;
use super::groups::time;
use crate::complete;
use crate::weighing::Measure;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use std::time::Duration;
use valkeeper_model::{Request, ShardName, SlotRequest, SlotSet, WhichSlots};

/// What is done with slots.
#[derive(Debug, Subcommand)]
pub(crate) enum SlotsCommand {
    /// Move slots from one shard to another while both serve
    ///
    /// Ctrl-C ends the watching, not the work: `slots cancel` ends that.
    #[command(
        after_help = "Examples:\n  valkeeper slots move --from s0 --to s1 --count 1000\n  valkeeper slots move --from s0 --to s1 100-199 300"
    )]
    Move(MoveArgs),
    /// Move no further slots; what has moved stays where it is
    Cancel,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct MoveArgs {
    /// The shard that gives them
    #[arg(long, value_name = "SHARD", add = ArgValueCandidates::new(complete::shards))]
    pub(crate) from: ShardName,
    /// The shard that takes them
    #[arg(long, value_name = "SHARD", add = ArgValueCandidates::new(complete::shards))]
    pub(crate) to: ShardName,
    /// So many, the highest of the shard
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16384), required_unless_present = "ranges", conflicts_with = "ranges")]
    pub(crate) count: Option<u16>,
    /// These slots, or ranges of them, like 100-199
    #[arg(value_name = "SLOTS")]
    pub(crate) ranges: Vec<SlotSet>,
    #[command(flatten)]
    pub(crate) watching: Watching,
}

/// Whether what was begun is watched.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Watching {
    /// Return at once; `status` shows how it goes on
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Make all shards own as many slots as any other, or hold as much, moving as few slots as can be
#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = REBALANCE)]
pub(crate) struct RebalanceArgs {
    /// What is to be even
    #[arg(long, value_enum, default_value_t = By::Slots)]
    pub(crate) by: By,
    /// Of `--by load`: for so long the time that commands take is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) window: Duration,
    /// Show what would move, and move nothing
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) watching: Watching,
}

const REBALANCE: &str = "Examples:\n  valkeeper rebalance --plan\n  valkeeper rebalance --by keys --plan\n  valkeeper rebalance --by load --window 1m\n\n\
    A slot moves as a whole. Of the even part 2 % are tolerated by keys, 5 % by memory, 10 % by load.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The number of slots
    Slots,
    /// The number of keys
    Keys,
    /// Bytes of memory; estimated from some keys of each slot where the engine does not tell them
    Memory,
    /// The time that commands take; needs `cluster-slot-stats-enabled yes` (Valkey 8)
    Load,
}

impl MoveArgs {
    pub(crate) fn request(&self) -> Request {
        let which = match self.count {
            Some(count) => WhichSlots::Count(count),
            None => {
                WhichSlots::These(self.ranges.iter().fold(SlotSet::empty(), |all, slots| all.union(slots)))
            }
        };
        Request::Slots(SlotRequest::MoveSlots { from: self.from.clone(), to: self.to.clone(), which })
    }
}

impl By {
    /// What is asked of the servers for it; `None` if nothing is.
    pub(crate) fn measure(self) -> Option<Measure> {
        match self {
            Self::Slots => None,
            Self::Keys => Some(Measure::Keys),
            Self::Memory => Some(Measure::Memory),
            Self::Load => Some(Measure::Load),
        }
    }
}
