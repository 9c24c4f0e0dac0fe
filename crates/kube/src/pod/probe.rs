//! Liveness and readiness for the kubelet: a status code and nothing else, since anybody may ask.

use std::time::Duration;
use tokio::net::TcpListener;
use valkeeper_agent::AgentHandle;
use valkeeper_agent::plain_http::{self, Limits, Plain};
use valkeeper_model::{Activity, Ask, AskFailed, Link, Role, Unseen};

const WITHIN: Duration = Duration::from_secs(2);
const LIMITS: Limits = Limits { connections: 16, head: 4_096, within: Duration::from_secs(4) };

/// Answers `GET /livez` and `GET /readyz`.
pub(super) async fn serve(listener: TcpListener, agent: AgentHandle) {
    let answer = move |path: String| {
        let agent = agent.clone();
        async move {
            match path.as_str() {
                // Before its first order there is nothing to report; an agent that does not even say so hangs.
                "/livez" => Plain::Well(
                    agent.ask(Ask::Report { fresh: false }, WITHIN).await
                        != Err(AskFailed::Unseen(Unseen::Timeout)),
                ),
                "/readyz" => Plain::Well(ready(&agent).await),
                _ => Plain::Unknown,
            }
        }
    };
    plain_http::serve(listener, LIMITS, answer).await;
}

/// Does the server serve: a primary its slots, a replica a copy that is in sync? A disruption budget counts by this.
async fn ready(agent: &AgentHandle) -> bool {
    let Some(report) = agent.report(WITHIN).await else { return false };
    let Some(view) = report.view() else { return false };
    report.activity == Activity::Watching
        && view.cluster_ok
        && match view.replication.role() {
            Role::Primary => view.is_shard_primary(),
            Role::Replica => view.replication.link() == Some(Link::Up),
        }
}
