//! Slots are weighed in the pod: which is said outside, and what they weigh is answered as a line of JSON.

use super::pipe;
use super::task::{Task, line};
use crate::output;
use crate::weighing::{self, ShardWeighed, ToWeigh};
use anyhow::Context as _;
use valkeeper_client::Password;
use valkeeper_kube::remote::Remote;

/// Outside.
pub(crate) async fn weigh(remote: &Remote, asked: &ToWeigh) -> anyhow::Result<Vec<ShardWeighed>> {
    let task = Task::Weigh { asked: asked.clone() };
    let said = pipe::answer(remote, &task.line()?).await?;
    serde_json::from_slice(&said).context("what is said in the pod cannot be understood")
}

/// In the pod.
pub(super) async fn weigh_here(asked: &ToWeigh, password: &Password) -> anyhow::Result<()> {
    output::bytes(&line(&weighing::weigh(asked, password).await)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weighing::{NotWeighed, SlotWeighed, SlotsWeighed, Told};

    /// The program in the pod may be of another version.
    #[test]
    fn weights_are_written_as_they_always_were() {
        let shard =
            |seen| ShardWeighed { shard: "s0".parse().unwrap(), primary: "demo-0".parse().unwrap(), seen };
        let slot = SlotWeighed { slot: 7.try_into().unwrap(), keys: 2, weight: 90 };
        let weighed = [
            shard(Ok(SlotsWeighed { told: Told::Estimated, slots: vec![slot] })),
            shard(Err(NotWeighed::StatisticsOff)),
            shard(Err(NotWeighed::OtherSlots { slots: "0-9".parse().unwrap() })),
            shard(Err(NotWeighed::NotTold { said: "no".to_owned(), late: true })),
        ];
        let head = r#"{"shard":"s0","primary":"demo-0","seen":"#;
        let written = weighed.map(|one| serde_json::to_string(&one).unwrap());
        assert_eq!(
            written,
            [
                r#"{"Ok":{"told":"estimated","slots":[{"slot":7,"keys":2,"weight":90}]}}}"#,
                r#"{"Err":{"cause":"statisticsOff"}}}"#,
                r#"{"Err":{"cause":"otherSlots","slots":"0-9"}}}"#,
                r#"{"Err":{"cause":"notTold","said":"no","late":true}}}"#,
            ]
            .map(|tail| format!("{head}{tail}"))
        );
    }
}
