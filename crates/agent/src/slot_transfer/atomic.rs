//! By the engine's own migration (`CLUSTER MIGRATESLOTS`, Valkey 9.0 and later): ownership passes at the end of a job, so that one that fails has
//! changed nothing.
//!
//! When a job ends, the giving server deletes all of its keys before it does anything else: the longer, the more keys there are. And a job takes some
//! 0.15 s whatever is in it. So it is as large as keeps nobody waiting for long ([`super::pace`]). Several at a time are no faster, since the engine
//! makes one snapshot after the other, and keep clients waiting for twice as long (docs/engine-facts.md).

use super::{COMMAND, Filled, Giving};
use crate::serving::error;
use futures::future;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use valkeeper_client::Value;
use valkeeper_model::{Slot, SlotSet, TransferExtent};
use valkeeper_plan::agent::ServerError;

/// Between two looks at a job. Each tells all jobs of the engine's log, up to 1,000.
const POLL: Duration = Duration::from_millis(10);

/// What is told of a job.
struct Job {
    name: String,
    state: String,
    message: String,
    exports: bool,
}

impl Job {
    fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "success" | "failed" | "cancelled")
    }
}

impl Giving {
    pub(super) async fn give_atomically(&self) -> Result<(), ServerError> {
        if self.transfer.extent == TransferExtent::Begun {
            return self.cancel().await;
        }
        // Whoever was here before may have begun one.
        self.until_over(None).await?;
        loop {
            let owned = self.myself(&self.source).await?.slots.common(&self.transfer.slots);
            if owned.is_empty() || self.time_is_over() {
                return Ok(());
            }
            let job = self.filled(&owned, self.pace.keys()).await?;
            self.migrate(&job).await?;
        }
    }

    async fn migrate(&self, job: &[Filled]) -> Result<(), ServerError> {
        let slots: SlotSet = job.iter().map(|one| one.slot).collect::<SlotSet>();
        let number = |slot: Slot| slot.to_string();
        let mut command = vec!["CLUSTER".to_owned(), "MIGRATESLOTS".to_owned(), "SLOTSRANGE".to_owned()];
        for range in slots.ranges() {
            command.extend([number(range.first()), number(range.last())]);
        }
        command.extend(["NODE".to_owned(), self.transfer.to.to_string()]);
        self.source.raw(&command, COMMAND).await.map_err(|said| error(said, "cluster|migrateslots"))?;
        let newest = self.jobs().await?.into_iter().find(|job| job.exports);
        match newest {
            Some(job) => self.until_over(Some(&job.name)).await,
            None => Err(ServerError::Garbled),
        }
    }

    /// Waits until that job, or all that give slots away, are over. That one's failure is one.
    async fn until_over(&self, name: Option<&str>) -> Result<(), ServerError> {
        loop {
            let jobs = self.looked_at_jobs().await?;
            let meant = |job: &&Job| job.exports && name.is_none_or(|name| job.name == name);
            let mut meant = jobs.iter().filter(meant);
            match name {
                None if meant.all(Job::is_over) => return Ok(()),
                Some(_) => match meant.next() {
                    Some(job) if job.state == "success" => return Ok(()),
                    Some(job) if job.is_over() => {
                        let said = if job.message.is_empty() { &job.state } else { &job.message };
                        return Err(ServerError::Refused(said.clone()));
                    }
                    Some(_) => {}
                    None => return Err(ServerError::Garbled),
                },
                None => {}
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The jobs; and both servers show for how long they keep a client waiting.
    async fn looked_at_jobs(&self) -> Result<Vec<Job>, ServerError> {
        let began = Instant::now();
        let probe = self.target.raw(&["PING"], COMMAND);
        let (jobs, answered) = future::join(self.jobs(), probe).await;
        // One that does not answer is told by its jobs.
        if answered.is_ok() {
            self.pace.waited(began.elapsed());
        }
        jobs
    }

    async fn cancel(&self) -> Result<(), ServerError> {
        if self.jobs().await?.iter().any(|job| job.exports && !job.is_over()) {
            let cancel = ["CLUSTER", "CANCELSLOTMIGRATIONS"];
            // One that has ended in this moment is none to be cancelled.
            let _ = self.source.raw(&cancel, COMMAND).await;
            self.until_over(None).await?;
        }
        Ok(())
    }

    /// The jobs that the giving server knows, newest first.
    async fn jobs(&self) -> Result<Vec<Job>, ServerError> {
        let told = self.source.raw(&["CLUSTER", "GETSLOTMIGRATIONS"], COMMAND).await;
        let Value::Array(jobs) = told.map_err(|said| error(said, "cluster|getslotmigrations"))? else {
            return Err(ServerError::Garbled);
        };
        let read = |job: Value| {
            let Value::Array(fields) = job else { return Err(ServerError::Garbled) };
            let text = |value: &Value| redis::from_redis_value_ref::<String>(value).unwrap_or_default();
            let fields: BTreeMap<String, String> =
                fields.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
            let field = |name: &str| fields.get(name).map_or_else(String::new, |text| text.trim().to_owned());
            let exports = field("operation") == "EXPORT";
            Ok(Job { name: field("name"), state: field("state"), message: field("message"), exports })
        };
        jobs.into_iter().map(read).collect()
    }
}
