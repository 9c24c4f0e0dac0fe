//! What this program does in a pod for the one outside.

use crate::conversation::Manner;
use crate::weighing::ToWeigh;
use serde::{Deserialize, Serialize};

/// What is to be done there: the first line of stdin. Not arguments, as the API server logs those.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub(crate) enum Task {
    /// Commands to the cluster; the rest of stdin if none is given.
    Cli { command: Vec<Vec<u8>>, within_ms: u64, manner: Manner },
    /// Commands to these servers and to no others, each by its name. A task of its own, as an older version would send them by their keys.
    CliTo { command: Vec<Vec<u8>>, within_ms: u64, manner: Manner, to: Vec<(String, String)> },
    /// Slots are weighed.
    Weigh { asked: ToWeigh },
    /// A drill's writers.
    Load { seeds: Vec<String>, saturate: bool },
    /// A drill's end of a server.
    Kill { pid: u32 },
}

impl Task {
    /// As it is sent.
    pub(super) fn line(&self) -> anyhow::Result<Vec<u8>> {
        line(self)
    }
}

/// A value on a line of its own.
pub(super) fn line(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weighing::{Measure, ShardPlace};

    /// Agents of another version read it.
    #[test]
    fn tasks_are_written_as_they_always_were() {
        let manner = serde_json::from_str(r#"{"format":"Json","typed":false,"prompted":true}"#).unwrap();
        let command = vec![b"GET".to_vec()];
        let to = vec![("demo-0".to_owned(), "host".to_owned())];
        let place = ShardPlace {
            shard: "s0".parse().unwrap(),
            primary: "demo-0".parse().unwrap(),
            address: "10.0.0.1:6379".to_owned(),
            slots: "0-9 12".parse().unwrap(),
        };
        let asked = ToWeigh { measure: Measure::Keys, window_ms: 5, shards: vec![place] };
        let tasks = [
            Task::Weigh { asked },
            Task::Cli { command: command.clone(), within_ms: 5, manner },
            Task::CliTo { command, within_ms: 5, manner, to },
            Task::Load { seeds: vec!["a:1".to_owned()], saturate: true },
            Task::Kill { pid: 7 },
        ];
        let lines: Vec<String> =
            tasks.iter().map(|task| String::from_utf8(task.line().unwrap()).unwrap()).collect();
        let manner = r#""manner":{"format":"Json","typed":false,"prompted":true}"#;
        assert_eq!(
            lines,
            [
                "{\"do\":\"weigh\",\"asked\":{\"measure\":\"keys\",\"windowMs\":5,\"shards\":[{\"shard\":\"s0\",\
                 \"primary\":\"demo-0\",\"address\":\"10.0.0.1:6379\",\"slots\":\"0-9 12\"}]}}\n"
                    .to_owned(),
                format!("{{\"do\":\"cli\",\"command\":[[71,69,84]],\"within_ms\":5,{manner}}}\n"),
                format!(
                    "{{\"do\":\"cliTo\",\"command\":[[71,69,84]],\"within_ms\":5,{manner},\"to\":[[\"demo-0\",\"host\"]]}}\n"
                ),
                "{\"do\":\"load\",\"seeds\":[\"a:1\"],\"saturate\":true}\n".to_owned(),
                "{\"do\":\"kill\",\"pid\":7}\n".to_owned(),
            ]
        );
    }
}
