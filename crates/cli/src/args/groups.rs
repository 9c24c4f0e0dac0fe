//! Arguments that belong together, and the values they take.

use crate::complete;
use clap::{Args as ClapArgs, ValueHint};
use clap_complete::ArgValueCandidates;
use std::path::{Path, PathBuf};
use std::time::Duration;
use valkeeper_model::{ClusterSpec, DataLoss, InstanceName, ShardName};

/// A time: `10s`, `1m30s`, or a number of seconds.
pub(super) fn time(text: &str) -> Result<Duration, valkeeper_model::spec::InvalidUnit> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => valkeeper_model::spec::parse_duration_ms(text).map(Duration::from_millis),
    }
}

/// A port that has room for the bus port above it.
pub(super) fn first_port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=i64::from(u16::MAX - valkeeper_model::Address::BUS_OFFSET))
}

/// The manifest, as an argument or as kubectl takes it.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ManifestArg {
    /// The manifest; `-` reads it from stdin
    #[arg(value_name = "FILE", required_unless_present = "option", value_hint = ValueHint::FilePath)]
    argument: Option<PathBuf>,
    /// The manifest, said as to kubectl
    #[arg(short = 'f', long = "file", id = "option", value_name = "FILE", conflicts_with = "argument", value_hint = ValueHint::FilePath)]
    option: Option<PathBuf>,
}

impl ManifestArg {
    /// Its path, or `-`.
    pub(crate) fn path(&self) -> &Path {
        self.argument.as_deref().or(self.option.as_deref()).unwrap_or(Path::new("-"))
    }
}

/// What a person gives up.
#[derive(Debug, Clone, Copy, Default, ClapArgs)]
pub(crate) struct AcceptLoss {
    /// Let the data of a cluster that goes over to following another (spec.replicaMode) be replaced by the source's
    #[arg(long)]
    accept_data_loss: bool,
}

impl AcceptLoss {
    /// The manifest's own word, or this one.
    pub(crate) fn add_to(self, spec: &mut ClusterSpec) {
        if let (true, Some(wanted)) = (self.accept_data_loss, &mut spec.replica_mode) {
            wanted.data_loss = DataLoss::Accepted;
        }
    }

    pub(crate) fn is_given(self) -> bool {
        self.accept_data_loss
    }
}

/// Which events are shown.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Only {
    /// Only those since then: a time ago, like 10m or 2h, or a moment, like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Since>,
    /// Only those about this instance; may be given again
    #[arg(long, value_name = "INSTANCE", add = ArgValueCandidates::new(complete::instances))]
    pub(crate) instance: Vec<InstanceName>,
    /// Only those about this shard or its instances; may be given again
    #[arg(long, value_name = "SHARD", add = ArgValueCandidates::new(complete::shards))]
    pub(crate) shard: Vec<ShardName>,
    /// Only those of this type, like `FailedOver`, as `-o json` names it in `event`; may be given again
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', add = ArgValueCandidates::new(complete::events))]
    pub(crate) types: Vec<String>,
}

/// A moment, or a time before now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    Ago(Duration),
    At(jiff::Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = time(text) {
        return Ok(Since::Ago(ago));
    }
    text.parse()
        .map(Since::At)
        .map_err(|_| "neither a time like 10m nor a moment like 2026-01-31T12:00:00Z".to_owned())
}

/// Who gets a command instead of its keys' primary.
#[derive(Debug, Clone, Default, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct Recipients {
    /// Send it to this instance and nowhere else
    #[arg(long, value_name = "INSTANCE", add = ArgValueCandidates::new(complete::instances))]
    pub(crate) instance: Option<InstanceName>,
    /// Send it to the primary of each shard
    #[arg(long)]
    pub(crate) all_primaries: bool,
    /// Send it to each instance
    #[arg(long)]
    pub(crate) all: bool,
}
