//! `events` and `logs` of a cluster on Kubernetes.

use crate::args::{Format, Only};
use crate::command::events::Filter;
use crate::failure::Failure;
use crate::output;
use valkeeper_kube::remote::{EventSeen, Remote};
use valkeeper_model::InstanceName;

pub(crate) async fn events(remote: &Remote, follow: bool, only: &Only, format: Format) -> anyhow::Result<()> {
    let object = remote.object().await.map_err(Failure::from)?;
    let instances = object.status.iter().flat_map(|status| &status.instances_status);
    let shards = instances.map(|(name, instance)| (name.clone(), instance.shard.clone())).collect();
    let filter = Filter::new(only, shards);
    let shows = |event: &EventSeen| filter.shows(event.at, event.happened.as_ref());
    if !follow {
        let mut all = remote.events().await.map_err(Failure::from)?;
        let chosen = all.iter().filter(|event| shows(event)).cloned().collect::<Vec<_>>();
        if chosen.is_empty() {
            filter.say_nothing_matches(all.iter().filter_map(|event| event.happened.as_ref()));
        }
        all = chosen;
        return output::value(format, &all, || page(&all));
    }
    let mut followed = remote.follow_events().await.map_err(Failure::from)?;
    loop {
        let mut new = followed.next().await.map_err(Failure::from)?;
        new.retain(shows);
        if format == Format::Table {
            output::text(&page(&new))?;
            continue;
        }
        // A stream of documents, one a line: an array would never end.
        for event in &new {
            output::text(&format!("{}\n", serde_json::to_string(event)?))?;
        }
    }
}

fn page(events: &[EventSeen]) -> String {
    let times = |count: i32| if count > 1 { format!(" ({count} times)") } else { String::new() };
    let line = |event: &EventSeen| format!("{:.3}  {}{}", event.at, event.message, times(event.count));
    output::lines(&events.iter().map(line).collect::<Vec<_>>())
}

pub(crate) async fn logs(
    remote: &Remote,
    instance: &InstanceName,
    follow: bool,
    lines: usize,
) -> anyhow::Result<()> {
    let mut log = remote.logs(instance, follow, lines).await.map_err(Failure::from)?;
    while let Some(bytes) = log.next().await.map_err(Failure::from)? {
        output::bytes(&bytes)?;
    }
    Ok(())
}
