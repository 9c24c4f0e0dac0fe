//! `GET` without TLS and without proof of who asks, for the kubelet and for Prometheus: a request is read as far as its headers, and the
//! connection ends with the answer. By hand, as it is some lines and a server of a library would hold more memory for each connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What strangers get at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. More wait.
    pub connections: usize,
    /// Of a request, bytes.
    pub head: usize,
    /// From the first byte to the end of the answer.
    pub within: Duration,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plain {
    /// 200 or 503, without a word.
    Well(bool),
    /// 200 with this.
    Text {
        /// Its `Content-Type`.
        kind: &'static str,
        /// What is said.
        body: String,
    },
    /// 404.
    Unknown,
}

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// This path, without a query.
    Get(String),
    /// Something else than `GET`.
    OtherMethod,
    /// More than is read.
    TooLong,
    /// No HTTP, or it ended in the middle.
    Garbled,
}

/// What follows a request that was answered before all of it was read, bytes: as long as that comes, a closed connection would be reset, and the
/// answer lost on its way.
const REST: usize = 64 << 10;

/// Answers each path until dropped.
pub async fn serve<A, F>(listener: TcpListener, limits: Limits, answer: F)
where
    A: Future<Output = Plain> + Send,
    F: Fn(String) -> A + Send + Sync + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections));
    let answer = Arc::new(answer);
    while let Some((mut stream, permit)) = accept(&listener, &room).await {
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let _permit = permit;
            let conversation = async {
                let said = match read(&mut stream, limits.head).await? {
                    Asked::Get(path) => written(answer(path).await),
                    Asked::OtherMethod => bare("405 Method Not Allowed", "Allow: GET\r\n"),
                    Asked::TooLong => bare("431 Request Header Fields Too Large", ""),
                    Asked::Garbled => bare("400 Bad Request", ""),
                };
                stream.write_all(said.as_bytes()).await?;
                stream.shutdown().await?;
                let mut rest = (&mut stream).take(REST as u64);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
            };
            let _ = tokio::time::timeout(limits.within, conversation).await;
        });
    }
}

/// The next connection, once there is room for it. `None` when the room is closed.
pub async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    loop {
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                return Some((stream, permit));
            }
            Err(error) => {
                // Out of file descriptors: those in use are served all the same.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn read(stream: &mut TcpStream, longest: usize) -> std::io::Result<Asked> {
    let mut head = vec![0; longest];
    let mut read = 0;
    let ends = loop {
        // The end may have begun in what was read before.
        if let Some(at) = head[..read].windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if read == head.len() {
            return Ok(Asked::TooLong);
        }
        match stream.read(&mut head[read..]).await? {
            0 => return Ok(Asked::Garbled),
            more => read += more,
        }
    };
    Ok(understood(&String::from_utf8_lossy(&head[..ends])))
}

fn understood(head: &str) -> Asked {
    let line = head.split("\r\n").next().unwrap_or_default();
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["GET", target, version] if version.starts_with("HTTP/1.") => {
            Asked::Get(target.split_once('?').map_or(target, |(path, _)| path).to_owned())
        }
        [_, _, version] if version.starts_with("HTTP/1.") => Asked::OtherMethod,
        _ => Asked::Garbled,
    }
}

fn written(answer: Plain) -> String {
    match answer {
        Plain::Well(true) => bare("200 OK", ""),
        Plain::Well(false) => bare("503 Service Unavailable", ""),
        Plain::Unknown => bare("404 Not Found", ""),
        Plain::Text { kind, body } => {
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        }
    }
}

fn bare(status: &str, header: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

#[cfg(test)]
mod tests;
