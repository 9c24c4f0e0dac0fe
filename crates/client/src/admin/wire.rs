//! The stream under a connection: knows when it broke and when it last brought something, and never reads more than
//! one answer may be long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is known of a stream without using it.
#[derive(Debug)]
pub(super) struct Pulse {
    since: Instant,
    last_read_ms: AtomicU64,
    broken: AtomicBool,
    oversized: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            last_read_ms: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            oversized: AtomicBool::new(false),
        }
    }

    /// Closed or failed: of no more use.
    pub(super) fn broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Nobody shall use it any more.
    pub(super) fn abandon(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Broken off because an answer was longer than allowed.
    pub(super) fn oversized(&self) -> bool {
        self.oversized.load(Ordering::Relaxed)
    }

    /// How long nothing came (since the connection was made, if nothing ever did).
    pub(super) fn silence(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.last_read_ms.load(Ordering::Relaxed)))
    }

    fn read(&self) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_read_ms.store(ms, Ordering::Relaxed);
    }
}

/// A stream that stops at a size. The count starts again with each write, as each write asks for new answers.
pub(super) struct Bounded<S> {
    stream: S,
    pulse: Arc<Pulse>,
    read: u64,
    most: u64,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, most: u64) -> (Self, Arc<Pulse>) {
        let pulse = Arc::new(Pulse::new());
        (Self { stream, pulse: Arc::clone(&pulse), read: 0, most }, pulse)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
        let count = buf.filled().len() - before;
        this.read += count as u64;
        if result.is_err() || count == 0 {
            this.pulse.broken.store(true, Ordering::Relaxed);
        } else if this.read > this.most {
            this.pulse.oversized.store(true, Ordering::Relaxed);
            this.pulse.broken.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the answer is too long",
            )));
        } else {
            this.pulse.read();
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
        this.read = 0;
        if result.is_err() {
            this.pulse.broken.store(true, Ordering::Relaxed);
        }
        Poll::Ready(result)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn stops_at_the_size_and_knows_the_end() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut bounded, pulse) = Bounded::new(near, 6);
        far.write_all(b"1234").await.unwrap();
        let mut buf = [0; 4];
        bounded.read_exact(&mut buf).await.unwrap();
        bounded.write_all(b"more").await.unwrap();
        far.write_all(b"1234").await.unwrap();
        bounded.read_exact(&mut buf).await.unwrap();
        assert!(!pulse.broken());
        far.write_all(b"5678").await.unwrap();
        assert!(bounded.read_exact(&mut buf).await.is_err());
        assert!(pulse.broken() && pulse.oversized());

        let (near, far) = tokio::io::duplex(64);
        let (mut bounded, pulse) = Bounded::new(near, 6);
        drop(far);
        assert!(bounded.read_exact(&mut buf).await.is_err());
        assert!(pulse.broken() && !pulse.oversized());
    }
}
