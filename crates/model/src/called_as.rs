//! How people call the command line: texts that tell them what to type name it so.

use std::fmt;

/// The words that stand before a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CalledAs {
    /// `valkeeper`: clusters of this machine, or of a Kubernetes that the environment names.
    #[default]
    Valkeeper,
    /// `valkeeper --kubernetes`.
    ValkeeperKubernetes,
    /// `kubectl valkeeper`: what is read on Kubernetes names it so.
    KubectlValkeeper,
}

impl fmt::Display for CalledAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valkeeper => "valkeeper",
            Self::ValkeeperKubernetes => "valkeeper --kubernetes",
            Self::KubectlValkeeper => "kubectl valkeeper",
        })
    }
}
