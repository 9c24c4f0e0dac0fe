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

impl Store for FileStore {
    fn load(&self) -> Boxed<Result<Option<Layout>, StoreError>> {
        let loaded = self.dir.layout().map_err(not_read);
        Box::pin(std::future::ready(loaded))
    }

    fn commit(&self, layout: Layout, after: Option<LayoutVersion>) -> Boxed<Result<(), CommitError>> {
        let commit = || {
            let stored = self.dir.layout().map_err(not_read)?;
            if stored.map(|stored| stored.version()) != after {
                return Err(CommitError::Conflict);
            }
            let failed = |error: io::Error| StoreError::NotWritten {
                fault: storage_fault(&error),
                why: format!("{}: {error}", self.dir.layout_path().display()),
            };
            let text = serde_json::to_vec_pretty(&layout).map_err(|error| failed(error.into()))?;
            // First the copy: the layout that is put back from it must not be an older one.
            replace(&self.dir.layout_copy_path(), &text).map_err(failed)?;
            Ok(replace(&self.dir.layout_path(), &text).map_err(failed)?)
        };
        Box::pin(std::future::ready(commit()))
    }
}
