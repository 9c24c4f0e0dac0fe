//! `GET` without TLS and without proof of who asks, for the kubelet and for Prometheus: a request is read as far as its path, and the
//! connection ends with the answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What strangers get at most.
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Of a request, bytes; what is longer is judged by its beginning.
    pub(crate) head: usize,
    /// From the first byte to the end of the answer.
    pub(crate) within: Duration,
}

/// An answer.
pub(crate) enum Plain {
    /// 200 or 503, without a word.
    Well(bool),
    /// 200 with this, in the format of `OpenMetrics`.
    Metrics(String),
    /// 404.
    Unknown,
}

/// Answers each path until dropped.
pub(crate) async fn serve<A, F>(listener: TcpListener, limits: Limits, answer: F)
where
    A: Future<Output = Plain> + Send,
    F: Fn(String) -> A + Send + Sync + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections));
    let answer = Arc::new(answer);
    while let Some((mut stream, permit)) = crate::wire::accept(&listener, &room).await {
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let _permit = permit;
            let conversation = async {
                let path = asked(&mut stream, limits.head).await?;
                say(stream, answer(path).await).await
            };
            let _ = tokio::time::timeout(limits.within, conversation).await;
        });
    }
}

/// The path that is asked for; empty if it is no `GET`.
async fn asked(stream: &mut TcpStream, longest: usize) -> std::io::Result<String> {
    let mut head = vec![0; longest];
    let mut read = 0;
    while read < head.len() && !head[..read].windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut head[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    let text = String::from_utf8_lossy(&head[..read]);
    let path = text.strip_prefix("GET ").and_then(|rest| rest.split_once(' ')).map(|(path, _)| path);
    Ok(path.unwrap_or_default().to_owned())
}

async fn say(mut stream: TcpStream, answer: Plain) -> std::io::Result<()> {
    let (status, body) = match answer {
        Plain::Well(true) => ("200 OK", String::new()),
        Plain::Well(false) => ("503 Service Unavailable", String::new()),
        Plain::Metrics(text) => ("200 OK", text),
        Plain::Unknown => ("404 Not Found", String::new()),
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}
