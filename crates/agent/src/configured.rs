//! What [`RunningConfig`] knows of our server, shared by all who ask the server and tell it something.

use crate::program::Program;
use crate::runtime::now;
use crate::server::ServerHome;
use crate::trial::Trials;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use valkeeper_model::Millis;
use valkeeper_plan::server::config::{Directive, OrderedConfig};
use valkeeper_plan::server::drift::{Differences, Extent, Look, RunningConfig, Took};

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Configured {
    trials: Arc<Trials>,
    home: ServerHome,
    origin: Instant,
    known: Arc<Mutex<RunningConfig>>,
}

/// A look: when the server was asked, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    at: Millis,
    pub(crate) extent: Extent,
}

impl Configured {
    pub(crate) fn new(trials: Arc<Trials>, home: ServerHome, own: Vec<Directive>, origin: Instant) -> Self {
        let known = RunningConfig::new(now(origin), own, home.started_with(), home.set_live());
        Self { trials, home, origin, known: Arc::new(Mutex::new(known)) }
    }

    pub(crate) fn program(&self) -> &Program {
        self.trials.program()
    }

    fn known(&self) -> MutexGuard<'_, RunningConfig> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The look that is due now.
    pub(crate) fn due(&self, wanted: &[Directive]) -> Asked {
        let at = now(self.origin);
        Asked { at, extent: self.known().due(at, wanted) }
    }

    /// What differs, by what the server has shown.
    pub(crate) fn differences(
        &self,
        ordered: &OrderedConfig,
        shown: &BTreeMap<String, String>,
        asked: Asked,
    ) -> Differences {
        let Asked { at, extent } = asked;
        let (wanted, policy) = (ordered.directives.as_slice(), ordered.drift);
        let expected = if extent == Extent::Whole { self.trials.shown(wanted) } else { None };
        let knows = |name: &str| self.program().knows(name);
        let expected = expected.as_deref();
        self.known().differences(Look { asked: at, extent, wanted, shown, expected, policy, knows: &knows })
    }

    /// The server has these ACL users.
    pub(crate) fn saw_users(&self, users: Vec<String>) {
        self.known().saw_users(users);
    }

    /// What these directives go back to: they are not ordered.
    pub(crate) fn back_to(&self, names: &[String]) -> Vec<Directive> {
        self.known().back_to(names)
    }

    /// The server is being told to set something, until this is dropped.
    pub(crate) fn setting(&self) -> Setting<'_> {
        self.known().begins_setting();
        Setting(self)
    }

    /// The server was told to set it.
    pub(crate) fn told(&self, directive: &Directive, took: Took) {
        if let Some(set_live) = self.known().told(now(self.origin), directive, took) {
            self.home.keep_set_live(set_live);
        }
    }
}

/// See [`Configured::setting`].
pub(crate) struct Setting<'a>(&'a Configured);

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        self.0.known().ends_setting();
    }
}
