//! What is said of Kubernetes.

use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// Commands for what runs there.
#[derive(Debug, Subcommand)]
pub(crate) enum KubernetesCommand {
    /// Look after the clusters of a Kubernetes
    Operator(Operator),
    /// What an install on Kubernetes consists of
    #[command(subcommand)]
    Kube(Kube),
}

/// Commands that the program gives to itself there.
#[derive(Debug, Subcommand)]
pub(crate) enum KubernetesInner {
    /// The agent in a pod, its first process
    Agent,
    /// What keeps a Sentinel running in a pod, its first process
    Sentinel,
    /// Copy this program into a folder, for the pod's other container
    Install {
        /// The folder
        folder: PathBuf,
    },
    /// Raise the node's limit of waiting connections to the server's
    TuneKernel,
    /// In a pod: what the command line outside wants done there; it says so on stdin
    Inside,
}

/// Where in which Kubernetes.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Kubernetes {
    /// The cluster is on Kubernetes; so it is as `kubectl valkeeper`, and with any of the options below
    #[arg(
        id = "kubernetes",
        long = "kubernetes",
        global = true,
        env = "VALKEEPER_KUBERNETES",
        value_parser = clap::builder::FalseyValueParser::new(),
        help_heading = "Kubernetes"
    )]
    pub(crate) asked: bool,
    /// Its namespace [default: that of the context]
    #[arg(
        long,
        short = 'n',
        short_alias = 'N',
        global = true,
        value_name = "NAMESPACE",
        help_heading = "Kubernetes"
    )]
    pub(crate) namespace: Option<String>,
    /// The context of the kubeconfig [default: the current one]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Kubernetes")]
    pub(crate) context: Option<String>,
    /// The kubeconfig [default: as kubectl does]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Kubernetes")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl Kubernetes {
    /// Is the cluster there?
    pub(crate) fn is_meant(&self) -> bool {
        self.asked || self.namespace.is_some() || self.context.is_some() || self.kubeconfig.is_some()
    }
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Operator {
    /// Only clusters of this namespace; may be given again [default: of all]
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) watch: Vec<String>,
    /// The operator's own name, which no other has: its pod's
    #[arg(long, env = "VALKEEPER_OPERATOR_NAME", value_name = "NAME")]
    pub(crate) name: String,
    /// The namespace it runs in
    #[arg(long, env = "VALKEEPER_OPERATOR_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) own_namespace: String,
    /// The image it runs from; agents come from it too
    #[arg(long, env = "VALKEEPER_IMAGE", value_name = "IMAGE")]
    pub(crate) image: String,
    /// The DNS domain of this Kubernetes [default: of /etc/resolv.conf, or else cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) cluster_domain: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Kube {
    /// Print the definitions of `RedisCluster` and `RedisClusterRequest`; removing them removes all clusters
    #[command(after_help = "Example:\n  valkeeper kube crds | kubectl apply --server-side -f -")]
    Crds,
    /// Print the operator's install: permissions, webhook, operator; the definitions are `kube crds`
    #[command(after_help = "Example:\n  valkeeper kube manifests | kubectl apply --server-side -f -")]
    Manifests {
        /// Where the operator is to run
        #[arg(long, default_value = "valkeeper-system", value_name = "NAMESPACE")]
        namespace: String,
        /// Its image
        #[arg(long, default_value = "valkeeper/valkeeper:dev", value_name = "IMAGE")]
        image: String,
        /// How many operators; one acts, the others stand by
        #[arg(long, default_value_t = 1, value_name = "NUMBER")]
        replicas: u32,
        /// Only clusters of this namespace; may be given again [default: of all]
        #[arg(long, value_name = "NAMESPACE")]
        watch: Vec<String>,
        /// Without the webhook that judges a manifest before it is stored; the operator still judges it afterwards
        #[arg(long)]
        no_webhook: bool,
        /// The DNS domain of this Kubernetes [default: what the operator's pod is told]
        #[arg(long, value_name = "DOMAIN")]
        cluster_domain: Option<String>,
    },
}
