//! After an upgrade of the operator: agents go on as its program, one after the other, while their servers run on.

use super::platform::PodPlatform;
use crate::pod::{digest, own_digest};
use crate::wire::{About, path};
use bytes::Bytes;
use std::time::Duration;
use valkeeper_model::InstanceName;

/// A program of ten megabytes over a slow network.
const SEND_WITHIN: Duration = Duration::from_secs(60);
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// Between two agents: one that has just begun does not give others a lease for eight seconds (`plan::hostwatch`).
const APART: Duration = Duration::from_secs(10);

/// Before those that could not be replaced are tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Replaces those that run another program than we do, and ends when there are none.
pub(crate) async fn replace(platform: PodPlatform, mut instances: Vec<InstanceName>) {
    let Ok(own) = own_digest() else { return };
    loop {
        instances = once(&platform, instances, &own).await;
        if instances.is_empty() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Those that may still run another program are left.
async fn once(platform: &PodPlatform, instances: Vec<InstanceName>, own: &str) -> Vec<InstanceName> {
    let mut left = Vec::new();
    let mut program: Option<Bytes> = None;
    for name in instances {
        let about = platform.send(&name, path::ABOUT, Bytes::new(), ASK_WITHIN).await;
        let Ok(about) =
            about.and_then(|body| serde_json::from_slice::<About>(&body).map_err(|error| error.to_string()))
        else {
            left.push(name);
            continue;
        };
        if about.program == own {
            continue;
        }
        if program.is_none() {
            // What the digest was made of: the file may have been replaced under us.
            program =
                std::fs::read("/proc/self/exe").ok().filter(|bytes| digest(bytes) == own).map(Bytes::from);
        }
        let Some(program) = program.clone() else { return left };
        tracing::info!(%name, from = about.version, "the agent goes on as this version");
        if let Err(error) = platform.send(&name, path::PROGRAM, program, SEND_WITHIN).await {
            tracing::warn!(%name, %error, "the agent could not be replaced; it goes on as it is");
            left.push(name);
        }
        tokio::time::sleep(APART).await;
    }
    left
}
