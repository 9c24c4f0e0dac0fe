//! The server's log as the container's: `kubectl logs` shows it. The server opens the file anew for every line, so that it can
//! be cut short under it.

use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

const EVERY: Duration = Duration::from_millis(200);
/// The file is emptied when it has grown beyond this, bytes; what was in it has been passed on.
const LONGEST: u64 = 4 << 20;

/// Passes on what is appended, for ever. What an earlier container has passed on is skipped.
pub(super) async fn follow(path: PathBuf) {
    let mut at = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
    loop {
        tokio::time::sleep(EVERY).await;
        match pass_on(&path, at).await {
            Ok(now) => at = now,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => at = 0,
            Err(error) => tracing::debug!(%error, "the server's log cannot be read"),
        }
    }
}

async fn pass_on(path: &PathBuf, mut at: u64) -> std::io::Result<u64> {
    let length = tokio::fs::metadata(path).await?.len();
    if length == at {
        return Ok(at);
    }
    if length < at {
        at = 0;
    }
    let mut file = tokio::fs::OpenOptions::new().read(true).write(true).open(path).await?;
    file.seek(std::io::SeekFrom::Start(at)).await?;
    let mut text = Vec::new();
    let read = file.take(1 << 20).read_to_end(&mut text).await?;
    let mut out = tokio::io::stdout();
    out.write_all(&text).await?;
    out.flush().await?;
    at += u64::try_from(read).unwrap_or(0);
    if at >= LONGEST && at == tokio::fs::metadata(path).await?.len() {
        tokio::fs::OpenOptions::new().write(true).open(path).await?.set_len(0).await?;
        at = 0;
    }
    Ok(at)
}
