//! Running this program in a pod of the cluster: there the servers are, and their password.

use super::error::RemoteError;
use super::logs::CONTAINER;
use super::reach::Remote;
use crate::pod::place;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::ResourceExt as _;
use kube::api::{AttachParams, AttachedProcess, ListParams};
use std::future::Future;
use std::pin::Pin;
use tokio::io::{ReadHalf, SimplexStream, WriteHalf};
use valkeeper_kube_api::names;

/// Bytes on the way in each direction.
const BUFFER: usize = 64 << 10;

/// A program that runs in a pod.
pub struct Process {
    /// What it reads; it ends when this is shut down.
    pub stdin: WriteHalf<SimplexStream>,
    /// What it says. It goes on only as far as this is read.
    pub stdout: ReadHalf<SimplexStream>,
    /// What it says beside that. The same holds.
    pub stderr: ReadHalf<SimplexStream>,
    /// How it ends.
    pub ending: Ending,
}

/// The end of a program that runs in a pod. Dropped, the connection to the program is.
pub struct Ending {
    process: Option<AttachedProcess>,
    status: Pin<Box<dyn Future<Output = Option<Status>> + Send>>,
    pod: String,
}

impl Remote {
    /// Runs this program in a pod that runs, one that is ready if there is any. Arguments are seen by all who may see the API
    /// server's logs: what is nobody's business goes into its stdin.
    pub async fn run_inside(&self, args: &[&str]) -> Result<Process, RemoteError> {
        let pod = self.any_pod().await?;
        self.run_in(&pod, args).await
    }

    /// The same in a certain pod.
    pub async fn run_in(&self, pod: &str, args: &[&str]) -> Result<Process, RemoteError> {
        let program = format!("{}/valkeeper", place::PROGRAM);
        let command = std::iter::once(program.as_str()).chain(args.iter().copied());
        let params = AttachParams::default()
            .container(CONTAINER)
            .stdin(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        let process = self.pods().exec(pod, command.collect::<Vec<_>>(), &params).await;
        let mut process = process.map_err(|error| match error {
            kube::Error::UpgradeConnection(error) => {
                RemoteError::Exec { pod: pod.to_owned(), why: error.to_string() }
            }
            error => self.failed(error),
        })?;
        let missing = || RemoteError::Exec { pod: pod.to_owned(), why: "no stream".to_owned() };
        Ok(Process {
            stdin: process.stdin().ok_or_else(missing)?,
            stdout: process.stdout().ok_or_else(missing)?,
            stderr: process.stderr().ok_or_else(missing)?,
            ending: Ending {
                status: Box::pin(process.take_status().ok_or_else(missing)?),
                process: Some(process),
                pod: pod.to_owned(),
            },
        })
    }

    async fn any_pod(&self) -> Result<String, RemoteError> {
        let labels = ListParams::default().labels(&names::selector(&self.name));
        let pods = self.pods().list(&labels).await.map_err(|error| self.failed(error))?;
        choose(&pods.items).ok_or_else(|| RemoteError::NothingRuns(self.name.to_string()))
    }
}

impl Ending {
    /// Its exit code, once it has ended.
    pub async fn code(&mut self) -> Result<u8, RemoteError> {
        let failed = |why: String| RemoteError::Exec { pod: self.pod.clone(), why };
        if let Some(status) = self.status.as_mut().await {
            return exit_code(&status).map_err(failed);
        }
        let closed = "the connection was closed";
        Err(failed(match self.process.take() {
            Some(process) => {
                process.join().await.err().map_or_else(|| closed.to_owned(), |error| error.to_string())
            }
            None => closed.to_owned(),
        }))
    }
}

/// A ready one, else one that runs at least: the server may be what is wrong.
fn choose(pods: &[Pod]) -> Option<String> {
    let container = |pod: &Pod| {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        let status = statuses.iter().find(|status| status.name == CONTAINER)?;
        let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
        (runs && pod.metadata.deletion_timestamp.is_none()).then_some(status.ready)
    };
    let running = pods.iter().filter_map(|pod| Some((container(pod)?, pod)));
    running.max_by_key(|(ready, _)| *ready).map(|(_, pod)| pod.name_any())
}

/// What the kubelet says of a program that has ended.
fn exit_code(status: &Status) -> Result<u8, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_deref()).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message.as_ref()?.parse::<i32>().ok()) {
        Some(code) => Ok(u8::try_from(code).unwrap_or(1)),
        None => Err(status.message.clone().unwrap_or_else(|| "it ended without saying how".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, state: &serde_json::Value, ready: bool) -> Pod {
        let status = json!({ "name": "server", "image": "", "imageID": "", "restartCount": 0, "ready": ready, "state": state });
        serde_json::from_value(
            json!({ "metadata": { "name": name }, "status": { "containerStatuses": [status] } }),
        )
        .unwrap()
    }

    #[test]
    fn a_ready_pod_is_better_than_one_that_runs() {
        let runs = json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } });
        let waits = json!({ "waiting": {} });
        let pods = [pod("a", &waits, false), pod("b", &runs, true), pod("c", &runs, false)];
        assert_eq!(choose(&pods).as_deref(), Some("b"));
        assert_eq!(choose(&pods[2..]).as_deref(), Some("c"));
        assert_eq!(choose(&pods[..1]), None);
    }

    #[test]
    fn exit_codes_come_through() {
        let status = |value| serde_json::from_value::<Status>(value).unwrap();
        assert_eq!(exit_code(&status(json!({ "status": "Success" }))), Ok(0));
        let failed = json!({
            "status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with non-zero exit code",
            "details": { "causes": [{ "reason": "ExitCode", "message": "4" }] },
        });
        assert_eq!(exit_code(&status(failed)), Ok(4));
        let missing = json!({ "status": "Failure", "reason": "InternalError", "message": "no such file" });
        assert_eq!(exit_code(&status(missing)), Err("no such file".to_owned()));
    }
}
