//! The command line. Parsed here, meant by `command`.

mod groups;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod resizing;
mod slots;

pub(crate) use groups::{AcceptLoss, ManifestArg, Only, Recipients, Since};
#[cfg(feature = "kubernetes")]
pub(crate) use kubernetes::{Kube, Kubernetes, KubernetesCommand, KubernetesInner, Operator};
pub(crate) use resizing::ResizeCommand;
pub(crate) use slots::{MoveArgs, RebalanceArgs, SlotsCommand, Watching};

use crate::complete;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::ArgValueCandidates;
use groups::{first_port, time};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use valkeeper_local::MetricsAddress;
use valkeeper_model::{CalledAs, ClusterName, InstanceName, NodeId, Request, ShardName, ZoneName};

/// Runs Valkey and Redis clusters from one manifest, and keeps them running.
#[derive(Debug, Parser)]
#[command(
    name = "valkeeper",
    version,
    about,
    after_help = "Examples:\n  valkeeper up examples/cluster.yaml --detach   a cluster on this machine, in seconds\n  valkeeper status                              how it is, and why; exit code 1 if it is not healthy\n  valkeeper cli -- SET key value                talk to it\n  valkeeper switchover s0                       swap roles without losing a write\n  valkeeper down                                stop it; its data is kept\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 refused as unsafe, 4 timed out."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program says to itself, in another process or another container. A parser of its own keeps it out of what people are
/// shown and offered.
#[derive(Debug, Parser)]
#[command(name = "valkeeper", version)]
pub(crate) struct InnerArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Inner,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Common {
    /// Where clusters keep their state and data [default: the user's data folder]
    #[arg(long, global = true, env = "VALKEEPER_STATE_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Which cluster [default: the only one]
    #[arg(
        long,
        global = true,
        env = "VALKEEPER_CLUSTER",
        value_name = "NAME",
        add = ArgValueCandidates::new(complete::clusters)
    )]
    pub(crate) cluster: Option<ClusterName>,
    /// Say more on stderr
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    pub(crate) kubernetes: Kubernetes,
}

impl Common {
    /// Is the cluster on Kubernetes?
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(clippy::unused_self, reason = "a program without the feature knows one platform")
    )]
    pub(crate) fn is_on_kubernetes(&self) -> bool {
        #[cfg(feature = "kubernetes")]
        return self.kubernetes.is_meant();
        #[cfg(not(feature = "kubernetes"))]
        return false;
    }

    /// Called as a plugin of kubectl, it is about Kubernetes.
    pub(crate) fn heed_name(&mut self, called: CalledAs) {
        #[cfg(feature = "kubernetes")]
        {
            self.kubernetes.asked |= called == CalledAs::KubectlValkeeper;
        }
        #[cfg(not(feature = "kubernetes"))]
        let _ = called;
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the cluster of a manifest, or take up one that exists, and look after it
    #[command(
        after_help = "Examples:\n  valkeeper up examples/cluster.yaml\n  valkeeper up -f examples/cluster.yaml --server ./valkey-server\n  valkeeper up examples/cluster.yaml --detach --zones a,b,c"
    )]
    Up(Up),
    /// Stop the servers and the supervisor; data is kept
    Down(Within),
    /// Remove a cluster that is down
    Delete {
        /// Remove its data too. There is no way back
        #[arg(long)]
        purge: bool,
    },
    /// Show shards, zones, roles, lag, and why anything is not as it should be
    #[command(
        after_help = "Exit codes: 0 healthy, 1 not healthy or it cannot be told, 2 no such cluster, 4 no answer in time.\n\
                      With --watch: 0 when it was ended."
    )]
    Status {
        /// Show it in place as it is now, with the time, until `q` or Ctrl-C; into a file or pipe, each change
        #[arg(long, short)]
        watch: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Show what a manifest would change, and change nothing
    Plan {
        #[command(flatten)]
        manifest: ManifestArg,
        /// Zones for a cluster that does not exist yet
        #[arg(long, value_delimiter = ',', default_value = "a,b,c", value_name = "ZONES")]
        zones: Vec<ZoneName>,
        #[command(flatten)]
        loss: AcceptLoss,
        #[command(flatten)]
        output: Output,
    },
    /// Apply a changed manifest to the running cluster
    #[command(
        after_help = "Examples:\n  valkeeper apply -f bigger.yaml --wait\n  sed 's/256mb/1gb/' cluster.yaml | valkeeper apply -f -"
    )]
    Apply {
        #[command(flatten)]
        manifest: ManifestArg,
        /// Wait until the cluster is healthy
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        loss: AcceptLoss,
        #[command(flatten)]
        within: Within,
    },
    /// Swap the roles of a primary and a replica, without losing a write
    Switchover {
        /// The shard; may be left out if there is one, or if --to names an instance
        #[arg(add = ArgValueCandidates::new(complete::shards))]
        shard: Option<ShardName>,
        /// The instance that is to become primary [default: the best]
        #[arg(long, value_name = "INSTANCE", add = ArgValueCandidates::new(complete::instances))]
        to: Option<InstanceName>,
    },
    /// Kill a primary and promote a replica; writes that are not replicated yet are lost
    Failover {
        /// The shard
        #[arg(add = ArgValueCandidates::new(complete::shards))]
        shard: ShardName,
        /// Also if the primary is well
        #[arg(long)]
        force: bool,
        /// Let a shard whose every copy is gone come back empty
        #[arg(long, conflicts_with = "force")]
        accept_data_loss: bool,
    },
    /// Stop an instance and keep it down, also over restarts; a primary hands over first
    Fence {
        /// The instance
        #[arg(add = ArgValueCandidates::new(complete::instances))]
        instance: InstanceName,
        /// Also if nobody can take over
        #[arg(long)]
        force: bool,
    },
    /// Let a fenced instance run again
    Unfence {
        /// The instance
        #[arg(add = ArgValueCandidates::new(complete::instances))]
        instance: InstanceName,
    },
    /// Restart an instance; a primary hands over first
    Restart {
        /// The instance
        #[arg(add = ArgValueCandidates::new(complete::instances))]
        instance: InstanceName,
    },
    /// Stop following another cluster: the designated member becomes the primary and takes writes
    #[command(
        after_help = "The same as `promote: true` in spec.replicaMode, which belongs into the manifest then: a manifest without it is refused from there on. On Kubernetes it is written into the RedisCluster."
    )]
    Promote,
    /// Have the cluster that follows this one take its place, without losing a write (this machine only)
    ///
    /// Writes are held, the copy comes to where they end, it is promoted, and this cluster follows it from then on. Any step that fails goes back
    /// to the start.
    #[command(
        after_help = "Examples:\n  valkeeper --cluster east switch-region --to west\n  valkeeper --cluster west switch-region --to east\n\nThe manifests are to say the same afterwards: what has to be written is told."
    )]
    SwitchRegion {
        /// The cluster that follows
        #[arg(long, value_name = "CLUSTER", required_unless_present = "cancel")]
        to: Option<ClusterName>,
        /// Hand over to nobody after all, where a command before has left writes held
        #[arg(long, conflicts_with = "to")]
        cancel: bool,
    },
    /// Give up the copy that is held back from what the source did, and take what the source has
    #[command(
        after_help = "One copy is kept when the source removes all its keys, or comes back with other data; `status` says from what. The other way is `promote`: then the copy that is kept becomes the primary."
    )]
    AcceptSource,
    /// Passwords by the names that manifests give them (this machine only)
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Server programs of this machine; a manifest's imageName names one of them by its tag (this machine only)
    #[command(subcommand)]
    Servers(ServersCommand),
    /// Remove nodes that are no members of the cluster from all its servers; `status` tells their ids
    #[command(
        after_help = "Example:\n  valkeeper forget 0123456789abcdef0123456789abcdef01234567\n\nIt is done on all servers at once: who still knew the node would tell the others of it again."
    )]
    Forget {
        /// Their node ids
        #[arg(required = true, value_name = "ID")]
        nodes: Vec<NodeId>,
    },
    /// Let the update under way restart primaries; for `primaryUpdateStrategy: supervised`
    #[command(
        after_help = "Replicas are restarted without it. Primaries hand over before they are restarted."
    )]
    Approve,
    /// Move slots between shards while they serve
    #[command(subcommand)]
    Slots(SlotsCommand),
    /// Make all shards own as many slots as any other, or hold as much, moving as few slots as can be
    Rebalance(RebalanceArgs),
    /// Show what happened, oldest first
    #[command(
        after_help = "Examples:\n  valkeeper events --since 10m\n  valkeeper events --shard s0 --type FailedOver,Died --follow"
    )]
    Events {
        /// Go on showing what happens
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        only: Only,
        #[command(flatten)]
        output: Output,
    },
    /// Show an instance's server log
    Logs {
        /// The instance
        #[arg(add = ArgValueCandidates::new(complete::instances))]
        instance: InstanceName,
        /// Go on showing
        #[arg(long, short)]
        follow: bool,
        /// Only so many of the last lines
        #[arg(long, visible_alias = "tail", value_name = "LINES", default_value_t = 200)]
        lines: usize,
    },
    /// Send commands to the cluster, following redirects: one after `--`, or one a line from stdin
    ///
    /// A command without a key, like DBSIZE or FLUSHALL, goes to one primary and is about that one alone, which is said; --instance,
    /// --all-primaries and --all choose others.
    #[command(
        after_help = "Examples:\n  valkeeper cli -- SET key value\n  valkeeper cli -o json -- MGET {user}a {user}b\n  valkeeper cli --all-primaries -- DBSIZE\n  valkeeper cli --instance demo-0 -- CONFIG GET maxmemory\n  printf 'SET a \"two words\"\\nGET a\\n' | valkeeper cli"
    )]
    Cli {
        /// The command and its arguments
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
        #[command(flatten)]
        to: Recipients,
        /// Give up on an answer after this time
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
        timeout: Duration,
        #[command(flatten)]
        output: Output,
    },
    /// Show how to connect
    Connect {
        #[command(flatten)]
        output: Output,
    },
    /// Measure what clients see of an event, by causing it under load
    #[command(
        after_help = "Examples:\n  valkeeper drill switchover --runs 5\n  valkeeper drill failover --runs 10 -o json\n  valkeeper drill create --runs 3"
    )]
    Drill(Drill),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Resize(ResizeCommand),
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    Kubernetes(KubernetesCommand),
    /// What only this program says to itself
    #[command(skip)]
    Inner(Inner),
}

/// What is done with secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Write a password; servers that use it take the new one while they run
    #[command(
        after_help = "Examples:\n  valkeeper secret set prod-redis-auth --from-file password=./password.txt\n  openssl rand -hex 24 | valkeeper secret set prod-redis-auth\n\nThe password made for a cluster has the name CLUSTER-auth."
    )]
    Set {
        /// Its name, as in spec.authSecret.name or spec.replicaMode.source.authSecretName
        name: String,
        /// The file with the password: `password=FILE` [default: stdin]
        #[arg(long, value_name = "password=FILE")]
        from_file: Option<String>,
    },
    /// List the names
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Remove one
    Delete {
        /// Its name
        name: String,
    },
}

/// What is done with server programs.
#[derive(Debug, Subcommand)]
pub(crate) enum ServersCommand {
    /// List them: those added, those in .servers here, in the cache, and in PATH
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Add one
    Add {
        /// The program: a valkey-server or redis-server
        #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
        path: PathBuf,
    },
}

/// Commands that the program gives to itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Inner {
    /// The supervisor itself, in the foreground
    Supervise(Supervise),
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    Kubernetes(KubernetesInner),
}

impl Command {
    /// What it asks of a running cluster, if that is all there is to it.
    pub(crate) fn request(&self) -> Option<Request> {
        Some(match self {
            Self::Switchover { shard, to } => Request::Switchover { shard: shard.clone(), to: to.clone() },
            Self::Failover { shard, force, accept_data_loss } => {
                Request::Failover { shard: shard.clone(), force: *force, accept_data_loss: *accept_data_loss }
            }
            Self::Fence { instance, force } => Request::Fence { instance: instance.clone(), force: *force },
            Self::Unfence { instance } => Request::Unfence { instance: instance.clone() },
            Self::Promote => Request::Promote,
            Self::AcceptSource => Request::AcceptSource,
            Self::Approve => Request::ApprovePrimaries,
            Self::Restart { instance } => Request::Restart { instance: instance.clone() },
            Self::Forget { nodes } => Request::Forget { nodes: nodes.clone() },
            _ => return None,
        })
    }

    /// Runs for long where nobody looks on, so that its log is all there is to see.
    pub(crate) fn talks(&self) -> bool {
        match self {
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(KubernetesCommand::Operator(_))
            | Self::Inner(Inner::Kubernetes(KubernetesInner::Agent | KubernetesInner::Sentinel)) => true,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Supervise {
    #[command(flatten)]
    pub(crate) manifest: ManifestArg,
    /// Failure domains to spread the cluster over
    #[arg(long, value_delimiter = ',', default_value = "a,b,c", value_name = "ZONES")]
    pub(crate) zones: Vec<ZoneName>,
    /// The server program [default: .servers here, then valkey-server or redis-server in PATH]
    #[arg(long, env = "VALKEEPER_SERVER", value_name = "PROGRAM")]
    pub(crate) server: Option<PathBuf>,
    /// Put the instances on free ports from here on; of a cluster that exists they move only while it is down
    #[arg(long, value_name = "PORT", value_parser = first_port())]
    pub(crate) base_port: Option<u16>,
    /// How long the former password is accepted after the file `password` has changed
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    pub(crate) password_overlap: Duration,
    /// Serve the metrics of all instances over HTTP, at /metrics of ADDRESS: a port on this machine, or HOST:PORT; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<MetricsAddress>,
    #[command(flatten)]
    pub(crate) loss: AcceptLoss,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) supervise: Supervise,
    /// Return when the cluster is healthy and leave the supervisor running
    #[arg(long, short)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) within: Within,
}

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Within {
    /// Give up waiting after this time; what was begun goes on
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Output {
    /// How to print
    #[arg(long = "output", short = 'o', value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Drill {
    /// The event
    #[arg(value_enum)]
    pub(crate) event: DrillEvent,
    /// How often
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: u32,
    /// Write as fast as the servers take it, instead of some thousand writes a second
    #[arg(long)]
    pub(crate) saturate: bool,
    /// The server program, for drills with a cluster of their own; of an upgrade the newer one
    #[arg(long, env = "VALKEEPER_SERVER", value_name = "PROGRAM")]
    pub(crate) server: Option<PathBuf>,
    /// The older server program, for `upgrade`
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) older: Option<PathBuf>,
    /// The first port to try, for drills with a cluster of their own
    #[arg(long, value_name = "PORT", value_parser = first_port())]
    pub(crate) base_port: Option<u16>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DrillEvent {
    /// Kill a primary
    Failover,
    /// Swap roles
    Switchover,
    /// Make a cluster of its own and remove it again
    Create,
    /// Make a cluster that follows another, lose the source, and promote
    Promote,
    /// Make a cluster of an older version, and bring it to a newer one
    Upgrade,
    /// Make a cluster of three shards, and give it six
    Scale,
    /// Make a cluster, and change what its servers take only when they start
    Config,
}
