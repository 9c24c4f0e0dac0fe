//! The server programs of a platform, by version.

use crate::program::Program;
use crate::trial::Trials;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use valkeeper_model::{ServerVersion, StartFailure};

/// Finds the program of a version, or says why there is none.
type Find = Box<dyn Fn(&ServerVersion) -> Result<Program, String> + Send + Sync>;

/// The programs that servers may be started with. Shared by the agents of a process.
pub struct Programs {
    /// Where no version is ordered.
    default: Arc<Trials>,
    find: Find,
    found: Mutex<BTreeMap<ServerVersion, Arc<Trials>>>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs").field("default", &self.default).finish_non_exhaustive()
    }
}

impl Programs {
    /// That one, whatever is ordered: a platform on which the program comes with the agent.
    pub fn only(default: Trials) -> Self {
        let version = default.program().version();
        let program = Program::clone(default.program());
        Self::new(default, Box::new(move |_| Ok(program.clone()))).knowing(version)
    }

    /// That one where no version is ordered, and others as they are found.
    pub fn new(default: Trials, find: Find) -> Self {
        Self { default: Arc::new(default), find, found: Mutex::default() }
    }

    fn knowing(self, version: ServerVersion) -> Self {
        let default = Arc::clone(&self.default);
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(version, default);
        self
    }

    /// The one where no version is ordered.
    pub fn default_program(&self) -> &Arc<Trials> {
        &self.default
    }

    /// The one of that version. What is not there is looked for again each time: it may have been added.
    pub fn of(&self, version: Option<&ServerVersion>) -> Result<Arc<Trials>, StartFailure> {
        let Some(version) = version else { return Ok(Arc::clone(&self.default)) };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trials) = found.get(version) {
            return Ok(Arc::clone(trials));
        }
        let program = (self.find)(version).map_err(|detail| StartFailure::ProgramUnusable { detail })?;
        let trials = Arc::new(Trials::new(Arc::new(program)));
        found.insert(version.clone(), Arc::clone(&trials));
        Ok(trials)
    }
}
