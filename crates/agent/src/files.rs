//! The file access of one instance, off the runtime's thread and in turn: a disk that hangs holds up what waits for that disk, and
//! nothing else (law 14).

use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A look at a few small files that takes longer is told as a disk that does not answer. One that is merely busy is slower than
/// this now and then: nothing but the telling, and the promotion of a dead primary's replica, begins without the disk.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// One instance's turn. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(Arc<Mutex<()>>);

impl Files {
    /// Does something with the instance's files once everything that was asked before is done, however long that takes.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let turn = Arc::clone(&self.0).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let done = job();
            drop(turn);
            done
        });
        done.await.map_err(io::Error::other)
    }
}
