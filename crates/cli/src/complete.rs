//! Names that a shell offers: of clusters, shards, instances and events, as they are now. A shell waits for them: what cannot be
//! had at once is left out.

use crate::args::Common;
use crate::target::local::LocalPlatform;
use clap::Parser;
use clap_complete::CompletionCandidate;
use std::collections::BTreeSet;
use std::ffi::OsString;
use valkeeper_local::EventLog;
use valkeeper_model::Layout;

/// The options that say which cluster, of a line that is not finished.
#[derive(Debug, Parser)]
#[command(ignore_errors = true, disable_help_flag = true, disable_version_flag = true)]
struct Begun {
    #[command(flatten)]
    common: Common,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

/// The shell gives the line after `--`. Only options that say which cluster are looked at, wherever they stand.
fn common() -> Option<Common> {
    begun(std::env::args_os().skip_while(|word| word != "--").skip(1), &["--state-dir", "--cluster"])
}

/// These options of a line.
fn begun(mut line: impl Iterator<Item = OsString>, known: &[&str]) -> Option<Common> {
    let mut kept: Vec<OsString> = line.next().into_iter().collect();
    let words: Vec<OsString> = line.collect();
    for (index, word) in words.iter().enumerate() {
        let text = word.to_string_lossy();
        if known.contains(&text.as_ref()) {
            kept.push(word.clone());
            kept.extend(words.get(index + 1).cloned());
        } else if known.iter().any(|name| text.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))) {
            kept.push(word.clone());
        }
    }
    Begun::try_parse_from(kept).ok().map(|begun| begun.common)
}

fn layout() -> Option<Layout> {
    LocalPlatform::new(common()?).cluster_dir().ok()?.layout().ok()?
}

fn offered(names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The clusters of the state directory. What stands behind `--cluster` is not finished.
pub(crate) fn clusters() -> Vec<CompletionCandidate> {
    let line = || std::env::args_os().skip_while(|word| word != "--").skip(1);
    let names = || LocalPlatform::new(begun(line(), &["--state-dir"])?).state_dir().ok()?.clusters().ok();
    offered(names().unwrap_or_default().iter().map(ToString::to_string))
}

/// The shards of the cluster.
pub(crate) fn shards() -> Vec<CompletionCandidate> {
    offered(layout().iter().flat_map(|layout| layout.shards.keys()).map(ToString::to_string))
}

/// The instances of the cluster, each with its shard and zone.
pub(crate) fn instances() -> Vec<CompletionCandidate> {
    let layout = layout();
    let all = layout.iter().flat_map(|layout| layout.instances.iter());
    all.map(|(name, instance)| {
        let about = format!("shard {}, zone {}", instance.shard, instance.zone);
        CompletionCandidate::new(name.to_string()).help(Some(about.into()))
    })
    .collect()
}

/// The types of the events that there were.
pub(crate) fn events() -> Vec<CompletionCandidate> {
    let seen = || EventLog::new(LocalPlatform::new(common()?).cluster_dir().ok()?).read().ok();
    let types: BTreeSet<String> =
        seen().iter().flatten().filter_map(|line| line.happened.type_name()).collect();
    offered(types)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;

    #[test]
    fn what_is_being_completed_hides_nothing() {
        for unfinished in
            [["--cluster", ""].as_slice(), &["--cluster", "De"], &["--cluster="], &["--cluster"]]
        {
            let line = ["valkeeper", "--state-dir", "/here", "status"].iter().chain(unfinished);
            let common = begun(line.map(OsString::from), &["--state-dir"]).unwrap();
            assert_eq!(common.state_dir.as_deref(), Some(std::path::Path::new("/here")), "{unfinished:?}");
            assert_eq!(common.cluster, None);
        }
    }
}
