//! What is stored beside a local cluster and sent over its control socket, as earlier versions write it. The files in `frozen/` are never changed,
//! whatever the formats become; a number in a name is the format.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use valkeeper_local::{ControlAnswer, ControlRequest, EventLine};
use valkeeper_model::{Address, Happened, InstanceName, Refusal};

/// Each line is read, and written again as it was: a program of that version reads what this one writes.
fn lines_survive<T: DeserializeOwned + Serialize>(lines: &str) -> Vec<T> {
    let survives = |line: &str| {
        let read: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let written: Value = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
        read
    };
    lines.lines().map(survives).collect()
}

#[test]
fn what_passes_over_the_control_socket_is_understood() {
    let requests: Vec<ControlRequest> = lines_survive(include_str!("frozen/control-requests-1.jsonl"));
    assert!(matches!(requests[..], [ControlRequest::Status, ControlRequest::Do(_), ControlRequest::Down]));
    let answers: Vec<ControlAnswer> = lines_survive(include_str!("frozen/control-answers-1.jsonl"));
    assert!(matches!(
        answers[..],
        [
            ControlAnswer::Status(_),
            ControlAnswer::Done,
            ControlAnswer::DownUnsaved(_),
            ControlAnswer::Refused(Refusal::NoSuchShard { .. }),
        ]
    ));
    let answers: Vec<ControlAnswer> = lines_survive(include_str!("frozen/control-answers-1-metrics.jsonl"));
    assert!(matches!(&answers[..], [ControlAnswer::Status(seen)] if seen.metrics.is_some()));
}

#[test]
fn ports_that_were_given_are_kept() {
    let text = include_str!("frozen/addresses-1.json");
    let addresses: BTreeMap<InstanceName, Address> = serde_json::from_str(text).unwrap();
    let ports: Vec<_> = addresses.values().map(|address| (address.port, address.bus_port)).collect();
    assert_eq!(ports, [(7_000, 17_000), (7_001, 17_001)]);
    assert_eq!(serde_json::to_value(&addresses).unwrap(), serde_json::from_str::<Value>(text).unwrap());
}

/// A line of a newer version is told by what it says in words.
#[test]
fn events_are_read_also_those_of_a_newer_version() {
    let lines = include_str!("frozen/events-1.jsonl");
    let events: Vec<EventLine> = lines_survive(lines);
    assert!(events.iter().all(|event| !matches!(event.happened, Happened::Newer(_))));
    let newer = lines.lines().next().unwrap().replace("\"event\":\"Founded\"", "\"event\":\"Moved\"");
    let read: EventLine = serde_json::from_str(&newer).unwrap();
    assert!(matches!(read.happened, Happened::Newer(_)), "{read:?}");
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::from_str::<Value>(&newer).unwrap());
}
