//! `events`: what happened.

use crate::args::{Format, Only, Since};
use crate::document::event::Event;
use crate::failure::Failure;
use crate::output;
use crate::target::{EventsFollowed, Members, Platform};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{Happened, InstanceName, Refusal, ShardName};

pub(super) async fn events(
    platform: &dyn Platform,
    follow: bool,
    only: &Only,
    format: Format,
) -> anyhow::Result<()> {
    let cluster = platform.cluster().await?;
    let shards = match cluster.members().await? {
        Members::All(shards) => {
            refuse_unknown(only, &shards)?;
            shards
        }
        Members::Some(shards) => shards,
    };
    let filter = Filter::new(only, shards);
    if !follow {
        let all = cluster.events().await?;
        let chosen = filter.choose(&all);
        output::value(format, &chosen, || page(&chosen))?;
        filter.say_if_nothing_matches(&all);
        return Ok(());
    }
    let EventsFollowed { kept, mut news } = cluster.follow_events().await?;
    show_more(&filter.choose(&kept), format)?;
    filter.say_if_nothing_matches(&kept);
    loop {
        show_more(&filter.choose(&news.next().await?), format)?;
    }
}

/// Of events that are followed.
fn show_more(events: &[&Event], format: Format) -> anyhow::Result<()> {
    if format == Format::Table {
        return output::text(&page(events));
    }
    // A stream of documents, one a line: an array would never end.
    for event in events {
        output::text(&format!("{}\n", serde_json::to_string(event)?))?;
    }
    Ok(())
}

fn page(events: &[&Event]) -> String {
    output::lines(&events.iter().map(|event| event.line()).collect::<Vec<_>>())
}

/// A slip in a name would look like peace.
fn refuse_unknown(only: &Only, shards: &BTreeMap<InstanceName, ShardName>) -> Result<(), Failure> {
    if let Some(shard) = only.shard.iter().find(|shard| !shards.values().any(|one| one == *shard)) {
        return Err(Refusal::NoSuchShard { shard: shard.clone() }.into());
    }
    match only.instance.iter().find(|instance| !shards.contains_key(instance)) {
        Some(instance) => Err(Refusal::NoSuchInstance { instance: instance.clone() }.into()),
        None => Ok(()),
    }
}

/// Which events are shown.
struct Filter<'a> {
    only: &'a Only,
    since: Option<Timestamp>,
    shards: BTreeMap<InstanceName, ShardName>,
}

impl<'a> Filter<'a> {
    /// With the shard of each instance.
    fn new(only: &'a Only, shards: BTreeMap<InstanceName, ShardName>) -> Self {
        let since = only.since.map(|since| match since {
            Since::At(at) => at,
            // Longer ago than time can be told is for ever.
            Since::Ago(ago) => Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN),
        });
        Self { only, since, shards }
    }

    /// Is it wanted? One that cannot be read has no type and is about nothing that is known.
    fn shows(&self, at: Timestamp, happened: Option<&Happened>) -> bool {
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

    /// Those that are wanted.
    fn choose<'b>(&self, all: &'b [Event]) -> Vec<&'b Event> {
        all.iter().filter(|event| self.shows(event.at, event.happened())).collect()
    }

    /// A slip in the name of a type would look like peace.
    fn say_if_nothing_matches(&self, all: &[Event]) {
        if !self.choose(all).is_empty() {
            return;
        }
        let known: BTreeSet<String> =
            all.iter().filter_map(Event::happened).filter_map(Happened::type_name).collect();
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
    use std::time::Duration;

    fn shown(only: &Only, happened: &Happened) -> bool {
        let shards = [("c-0", "s0"), ("c-1", "s1")]
            .map(|(one, of)| (one.parse().unwrap(), of.parse().unwrap()))
            .into_iter()
            .collect();
        Filter::new(only, shards).shows(Timestamp::now(), Some(happened))
    }

    #[test]
    fn a_slip_in_a_name_is_refused() {
        let shards = BTreeMap::from([("c-0".parse().unwrap(), "s0".parse().unwrap())]);
        let of = |instance: &str, shard: &str| Only {
            instance: vec![instance.parse().unwrap()],
            shard: vec![shard.parse().unwrap()],
            ..Only::default()
        };
        assert!(refuse_unknown(&of("c-0", "s0"), &shards).is_ok());
        assert!(refuse_unknown(&of("c-1", "s0"), &shards).is_err());
        assert!(refuse_unknown(&of("c-0", "s1"), &shards).is_err());
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
