//! Liveness and readiness for the kubelet: a status code and nothing else, since anybody may ask.

use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use valkeeper_agent::AgentHandle;
use valkeeper_model::{Activity, Link, Role};

const WITHIN: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 16;

/// Answers `GET /livez` and `GET /readyz`.
pub(super) async fn serve(listener: TcpListener, agent: AgentHandle) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some((stream, permit)) = crate::wire::accept(&listener, &room).await {
        let agent = agent.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(WITHIN * 2, answer(stream, &agent)).await;
        });
    }
}

async fn answer(mut stream: TcpStream, agent: &AgentHandle) -> std::io::Result<()> {
    let mut head = [0; 512];
    let mut read = 0;
    while read < head.len() && !head[..read].windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut head[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    let well = if head.starts_with(b"GET /livez ") {
        // Before its first order there is nothing to report; an agent that does not even say so hangs.
        agent.ask(valkeeper_model::Ask::Report { fresh: false }, WITHIN).await
            != Err(valkeeper_model::AskFailed::Unseen(valkeeper_model::Unseen::Timeout))
    } else if head.starts_with(b"GET /readyz ") {
        ready(agent).await
    } else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
        return stream.shutdown().await;
    };
    let status = if well { "200 OK" } else { "503 Service Unavailable" };
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Does the server serve: a primary its slots, a replica a copy that is in sync? A disruption budget counts by this.
async fn ready(agent: &AgentHandle) -> bool {
    let Some(report) = agent.report(WITHIN).await else { return false };
    let Some(view) = report.view() else { return false };
    report.activity == Activity::Watching
        && view.cluster_ok
        && match view.replication.role() {
            Role::Primary => view.owns_slots(),
            Role::Replica => view.replication.link() == Some(Link::Up),
        }
}
