//! By the engine's own migration (`CLUSTER MIGRATESLOTS`, Valkey 9.0 and later): ownership passes at the end of a job, so that one that fails has
//! changed nothing.
//!
//! When a job ends, the giving server deletes all of its keys before it does anything else: the longer, the more keys there are (docs/engine-facts.md).
//! So a job is small. The engine looks at its jobs ten times a second, so that a small one takes some 0.3 s whatever is in it; several are under way
//! at a time, of which one makes its snapshot while others connect or end.

use super::{COMMAND, Giving};
use crate::serving::error;
use futures::future;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use valkeeper_client::Value;
use valkeeper_model::{Slot, SlotSet, TransferExtent};
use valkeeper_plan::agent::ServerError;

/// Jobs under way at a time.
const JOBS_AT_ONCE: usize = 4;
/// Between two looks at the jobs. Each look tells all jobs of the engine's log, up to 1,000.
const POLL: Duration = Duration::from_millis(20);

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

    fn why(self) -> String {
        if self.message.is_empty() { self.state } else { self.message }
    }
}

impl Giving {
    pub(super) async fn give_atomically(&self) -> Result<(), ServerError> {
        if self.transfer.extent == TransferExtent::Begun {
            return self.cancel().await;
        }
        // Whoever was here before may have begun one.
        self.until_over().await?;
        let mut under_way: BTreeMap<String, SlotSet> = BTreeMap::new();
        let mut failed = None;
        loop {
            for job in self.looked_at_jobs().await?.into_iter().filter(|job| job.exports && job.is_over()) {
                if under_way.remove(&job.name).is_some() && job.state != "success" {
                    failed = Some(job.why());
                }
            }
            let may_begin = failed.is_none() && !self.time_is_over();
            if may_begin && under_way.len() < JOBS_AT_ONCE {
                let begun = under_way.values().fold(SlotSet::empty(), |all, one| all.union(one));
                let owned = self.myself(&self.source).await?.slots.common(&self.transfer.slots).minus(&begun);
                if !owned.is_empty() {
                    let filled = self.filled(&owned, self.pace.keys()).await?;
                    let slots: SlotSet = filled.iter().map(|one| one.slot).collect::<SlotSet>();
                    under_way.insert(self.begin(&slots, &under_way).await?, slots);
                    continue;
                }
            }
            if under_way.is_empty() {
                return failed.map_or(Ok(()), |why| Err(ServerError::Refused(why)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Begins a job, and says how the server calls it.
    async fn begin(
        &self,
        slots: &SlotSet,
        under_way: &BTreeMap<String, SlotSet>,
    ) -> Result<String, ServerError> {
        let number = |slot: Slot| slot.to_string();
        let mut command = vec!["CLUSTER".to_owned(), "MIGRATESLOTS".to_owned(), "SLOTSRANGE".to_owned()];
        for range in slots.ranges() {
            command.extend([number(range.first()), number(range.last())]);
        }
        command.extend(["NODE".to_owned(), self.transfer.to.to_string()]);
        self.source.raw(&command, COMMAND).await.map_err(|said| error(said, "cluster|migrateslots"))?;
        let newest = self.jobs().await?.into_iter().find(|job| job.exports);
        newest.map(|job| job.name).filter(|name| !under_way.contains_key(name)).ok_or(ServerError::Garbled)
    }

    /// The jobs; and both servers show how long they keep a client waiting.
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

    /// Waits until all jobs that give slots away are over.
    async fn until_over(&self) -> Result<(), ServerError> {
        while self.jobs().await?.iter().any(|job| job.exports && !job.is_over()) {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn cancel(&self) -> Result<(), ServerError> {
        if self.jobs().await?.iter().any(|job| job.exports && !job.is_over()) {
            let cancel = ["CLUSTER", "CANCELSLOTMIGRATIONS"];
            // One that has ended in this moment is none to be cancelled.
            let _ = self.source.raw(&cancel, COMMAND).await;
            self.until_over().await?;
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
