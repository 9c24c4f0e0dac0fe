//! The layout as a file: replaced whole or not at all, by whoever holds the supervisor's lock.

use crate::state_dir::ClusterDir;
use valkeeper_agent::replace;
use valkeeper_engine::{Boxed, Store};
use valkeeper_model::{Layout, LayoutVersion};
use valkeeper_plan::controller::CommitError;

pub(crate) struct FileStore {
    pub(crate) dir: ClusterDir,
}

impl Store for FileStore {
    fn load(&self) -> Boxed<Result<Option<Layout>, String>> {
        let loaded = self.dir.layout().map_err(|error| error.to_string());
        Box::pin(std::future::ready(loaded))
    }

    fn commit(&self, layout: Layout, after: Option<LayoutVersion>) -> Boxed<Result<(), CommitError>> {
        let commit = || {
            let stored = self.dir.layout().map_err(|error| CommitError::Failed(error.to_string()))?;
            if stored.map(|stored| stored.version()) != after {
                return Err(CommitError::Conflict);
            }
            let failed = |error: std::io::Error| {
                CommitError::Failed(format!("{}: {error}", self.dir.layout_path().display()))
            };
            let text = serde_json::to_vec_pretty(&layout).map_err(|error| failed(error.into()))?;
            // First the copy: the layout that is put back from it must not be an older one.
            replace(&self.dir.layout_copy_path(), &text).map_err(failed)?;
            replace(&self.dir.layout_path(), &text).map_err(failed)
        };
        Box::pin(std::future::ready(commit()))
    }
}
