//! `events`: what happened.

use crate::args::{Args, Format, Only, Since};
use crate::failure::Failure;
use crate::output::lines;
use crate::{output, target};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use valkeeper_local::{EventLine, EventLog};
use valkeeper_model::{Happened, InstanceName, Layout, Refusal, ShardName};

pub(crate) async fn events(args: &Args, follow: bool, only: &Only, format: Format) -> anyhow::Result<()> {
    let dir = target::cluster(&args.common)?;
    let layout = dir.layout()?;
    if let Some(layout) = &layout {
        refuse_unknown(only, layout)?;
    }
    let shards = layout.map(|layout| {
        layout.instances.iter().map(|(name, instance)| (name.clone(), instance.shard.clone())).collect()
    });
    let filter = Filter::new(only, shards.unwrap_or_default());
    let log = EventLog::new(dir);
    let mut shown = None;
    loop {
        let all = log.read()?;
        let new: Vec<&EventLine> = all
            .iter()
            .filter(|line| shown.is_none_or(|at| line.at > at))
            .filter(|line| filter.shows(line.at, Some(&line.happened)))
            .collect();
        if follow && format != Format::Table {
            // A stream of documents, one a line: an array would never end.
            for line in &new {
                output::text(&format!("{}\n", serde_json::to_string(line)?))?;
            }
        } else if !new.is_empty() || shown.is_none() {
            output::value(format, &new, || {
                let rows: Vec<String> =
                    new.iter().map(|line| format!("{:.3}  {}", line.at, line.message)).collect();
                lines(&rows)
            })?;
        }
        if shown.is_none() && new.is_empty() {
            filter.say_nothing_matches(all.iter().map(|line| &line.happened));
        }
        shown = all.last().map(|line| line.at).or(shown);
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A slip in a name would look like peace.
fn refuse_unknown(only: &Only, layout: &Layout) -> Result<(), Failure> {
    if let Some(shard) = only.shard.iter().find(|shard| layout.shards.get(*shard).is_none()) {
        return Err(Refusal::NoSuchShard { shard: shard.clone() }.into());
    }
    match only.instance.iter().find(|instance| layout.instances.get(*instance).is_none()) {
        Some(instance) => Err(Refusal::NoSuchInstance { instance: instance.clone() }.into()),
        None => Ok(()),
    }
}

/// Which events are shown.
pub(crate) struct Filter<'a> {
    only: &'a Only,
    since: Option<Timestamp>,
    shards: BTreeMap<InstanceName, ShardName>,
}

impl<'a> Filter<'a> {
    /// With the shard of each instance.
    pub(crate) fn new(only: &'a Only, shards: BTreeMap<InstanceName, ShardName>) -> Self {
        let since = only.since.map(|since| match since {
            Since::At(at) => at,
            // Longer ago than time can be told is for ever.
            Since::Ago(ago) => Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN),
        });
        Self { only, since, shards }
    }

    /// Is it wanted? One that cannot be read has no type and is about nothing that is known.
    pub(crate) fn shows(&self, at: Timestamp, happened: Option<&Happened>) -> bool {
        let Only { instance, shard, types, .. } = self.only;
        let about = happened.map(Happened::instances).unwrap_or_default();
        let of_instance = instance.is_empty() || about.iter().any(|one| instance.contains(one));
        let of_shard = shard.is_empty()
            || happened.and_then(Happened::shard).is_some_and(|one| shard.contains(one))
            || about.iter().filter_map(|one| self.shards.get(*one)).any(|one| shard.contains(one));
        let name = || happened.and_then(Happened::type_name);
        let of_type = types.is_empty()
            || name().is_some_and(|name| types.iter().any(|one| one.eq_ignore_ascii_case(&name)));
        self.since.is_none_or(|since| at >= since) && of_instance && of_shard && of_type
    }

    /// A slip in the name of a type would look like peace.
    pub(crate) fn say_nothing_matches<'b>(&self, all: impl Iterator<Item = &'b Happened>) {
        let known: BTreeSet<String> = all.filter_map(Happened::type_name).collect();
        let unknown: Vec<&str> = self
            .only
            .types
            .iter()
            .filter(|wanted| !known.iter().any(|name| name.eq_ignore_ascii_case(wanted)))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() && !known.is_empty() {
            let known: Vec<String> = known.into_iter().collect();
            eprintln!("note: no {} among the events; there are: {}", unknown.join(", "), known.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(only: &Only, happened: &Happened) -> bool {
        let shards = [("c-0", "s0"), ("c-1", "s1")]
            .map(|(one, of)| (one.parse().unwrap(), of.parse().unwrap()))
            .into_iter()
            .collect();
        Filter::new(only, shards).shows(Timestamp::now(), Some(happened))
    }

    #[test]
    fn events_are_chosen_by_what_they_are_about() {
        let started = Happened::Started { instance: "c-0".parse().unwrap() };
        let lost = Happened::LossAccepted { shard: "s1".parse().unwrap() };
        let of_s0 = Only { shard: vec!["s0".parse().unwrap()], ..Only::default() };
        assert!(shown(&of_s0, &started) && !shown(&of_s0, &lost));
        let second = Only { instance: vec!["c-1".parse().unwrap()], ..Only::default() };
        assert!(!shown(&second, &started) && !shown(&second, &lost));
        let starts = Only { types: vec!["started".to_owned()], ..Only::default() };
        assert!(shown(&starts, &started) && !shown(&starts, &lost));
        let later = Only { since: Some(Since::At(Timestamp::MAX)), ..Only::default() };
        assert!(!shown(&later, &started));
        let recent = Only { since: Some(Since::Ago(Duration::from_secs(60))), ..Only::default() };
        assert!(shown(&recent, &started));
    }
}
