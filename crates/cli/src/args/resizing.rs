//! Where instances are: `replace` and `zone`.

use super::Within;
use crate::complete;
use clap::{Args as ClapArgs, Subcommand};
use clap_complete::ArgValueCandidates;
use valkeeper_model::{HostFate, InstanceName, Request, ResizeRequest, ZoneName};

#[derive(Debug, Subcommand)]
pub(crate) enum ResizeCommand {
    /// Build a new instance in the place of one, and remove that one when the new one is in sync
    #[command(
        after_help = "Examples:\n  valkeeper replace demo-3 --wait\n  valkeeper replace demo-3 --gone   its host is gone for good, and nobody will answer for it\n\nA primary hands over first. The data of the removed instance is kept where it was."
    )]
    Replace {
        /// The instance
        #[arg(add = ArgValueCandidates::new(complete::instances))]
        instance: InstanceName,
        /// Its host is gone for good: its agent is not waited for
        #[arg(long)]
        gone: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Which zones instances are placed in
    #[command(subcommand)]
    Zone(ZoneCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ZoneCommand {
    /// Place no new instance in a zone
    Cordon {
        /// The zone
        zone: ZoneName,
    },
    /// Move all instances of a zone to others, each built anew before the old one is removed
    Drain {
        /// The zone
        zone: ZoneName,
        #[command(flatten)]
        patience: Patience,
    },
    /// Let instances be placed in a zone again
    Uncordon {
        /// The zone
        zone: ZoneName,
    },
}

/// How long it is waited for.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Patience {
    /// Wait until the cluster is healthy
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    within: Within,
}

impl ResizeCommand {
    /// What it asks of the cluster.
    pub(crate) fn request(&self) -> Request {
        Request::Resize(match self {
            Self::Replace { instance, gone, .. } => ResizeRequest::Replace {
                instance: instance.clone(),
                host: if *gone { HostFate::GoneForGood } else { HostFate::Answers },
            },
            Self::Zone(ZoneCommand::Cordon { zone }) => ResizeRequest::CordonZone { zone: zone.clone() },
            Self::Zone(ZoneCommand::Drain { zone, .. }) => ResizeRequest::DrainZone { zone: zone.clone() },
            Self::Zone(ZoneCommand::Uncordon { zone }) => ResizeRequest::UncordonZone { zone: zone.clone() },
        })
    }

    /// How long it is waited for; `None` if what is begun is left to go on.
    pub(crate) fn waits(&self) -> Option<Within> {
        match self {
            Self::Replace { patience, .. } | Self::Zone(ZoneCommand::Drain { patience, .. }) => {
                patience.wait.then_some(patience.within)
            }
            Self::Zone(ZoneCommand::Cordon { .. } | ZoneCommand::Uncordon { .. }) => None,
        }
    }
}
