//! The layout as a file: replaced whole or not at all, by whoever holds the supervisor's lock.

use crate::state_dir::{ClusterDir, StateError};
use crate::storage_fault::storage_fault;
use std::io;
use valkeeper_agent::replace;
use valkeeper_engine::{Boxed, Store};
use valkeeper_model::{Layout, LayoutVersion, StoreError};
use valkeeper_plan::controller::CommitError;

pub(crate) struct FileStore {
    pub(crate) dir: ClusterDir,
}

fn not_read(error: StateError) -> StoreError {
    let why = error.to_string();
    match error {
        StateError::Io { source, .. } => StoreError::NotRead { fault: storage_fault(&source), why },
        StateError::Damaged { .. }
        | StateError::Layout { .. }
        | StateError::NotText { .. }
        | StateError::NoFreePort { .. }
        | StateError::Supervised { .. } => StoreError::Unreadable { why },
    }
}

/// Beside the loop that answers users and looks after servers: a disk that is busy takes seconds to write through.
async fn beside<T: Send + 'static>(
    file: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(file).await.unwrap_or_else(|ended| {
        let why = format!("the access to the layout's file has ended: {ended}");
        Err(StoreError::Unreadable { why })
    })
}

fn commit(dir: &ClusterDir, layout: &Layout, after: Option<LayoutVersion>) -> Result<Stored, StoreError> {
    let stored = dir.layout().map_err(not_read)?;
    if stored.map(|stored| stored.version()) != after {
        return Ok(Stored::Conflict);
    }
    let failed = |error: io::Error| StoreError::NotWritten {
        fault: storage_fault(&error),
        why: format!("{}: {error}", dir.layout_path().display()),
    };
    let text = serde_json::to_vec_pretty(layout).map_err(|error| failed(error.into()))?;
    // First the copy: the layout that is put back from it must not be an older one.
    replace(&dir.layout_copy_path(), &text).map_err(failed)?;
    replace(&dir.layout_path(), &text).map_err(failed)?;
    Ok(Stored::Done)
}

/// What has become of a layout that was to be stored.
enum Stored {
    Done,
    /// Another one is there.
    Conflict,
}

impl Store for FileStore {
    fn load(&self) -> Boxed<Result<Option<Layout>, StoreError>> {
        let dir = self.dir.clone();
        Box::pin(beside(move || dir.layout().map_err(not_read)))
    }

    fn commit(&self, layout: Layout, after: Option<LayoutVersion>) -> Boxed<Result<(), CommitError>> {
        let dir = self.dir.clone();
        Box::pin(async move {
            match beside(move || commit(&dir, &layout, after)).await? {
                Stored::Done => Ok(()),
                Stored::Conflict => Err(CommitError::Conflict),
            }
        })
    }
}
