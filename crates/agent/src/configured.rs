//! How one running server is configured, as far as it is known, beside what is ordered.

use crate::program::Program;
use crate::server::ServerHome;
use crate::trial::Trials;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use valkeeper_model::InvalidDirective;
use valkeeper_plan::server::config::{self, Directive, Showing, Strays};

/// Between looks at the whole configuration; what is ordered is looked at each time.
const WHOLE_EVERY: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Configured {
    trials: Arc<Trials>,
    home: ServerHome,
    /// What comes from where the server runs: what it binds to, what it announces.
    own: Arc<Vec<Directive>>,
    /// Since when it is looked at.
    since: Instant,
    values: Arc<Mutex<Values>>,
}

/// What is known of single values. A server shows many in another form than they were given in (`1gb`), so that comparing text would
/// find differences that are none.
#[derive(Default)]
struct Values {
    /// By the file it was started with.
    started_with: BTreeMap<String, String>,
    /// Set since, in this run.
    set_live: BTreeSet<String>,
    /// Ordered, and how the server shows it.
    settled: BTreeMap<String, (String, String)>,
    /// Ordered, and not possible while the server runs.
    immutable: BTreeMap<String, String>,
    /// Ordered, and refused for what it is: the value, and why.
    invalid: BTreeMap<String, (String, String)>,
    /// When something was last set: what was asked for before that shows what was before.
    set_at: Option<Instant>,
    /// So many orders to set something are under way: what is shown meanwhile may be of before or of after.
    setting: u32,
    /// The last look at the whole configuration: when, and beside what.
    whole: Option<(Instant, Vec<Directive>)>,
    strays: Strays,
    /// ACL users beside `default`.
    users: Vec<String>,
}

/// How much of the configuration a look asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is ordered.
    Ordered,
    /// Everything.
    Whole,
}

/// A look: when the server was asked, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) extent: Extent,
}

/// How a server's configuration differs.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// To be set.
    pub(crate) drift: Vec<String>,
    /// Cannot be set while the server runs.
    pub(crate) refused: Vec<String>,
    /// Cannot be set at all.
    pub(crate) invalid: Vec<InvalidDirective>,
    /// Was changed by somebody.
    pub(crate) altered: Vec<String>,
    /// Is of no concern, and to be told.
    pub(crate) by_hand: Vec<String>,
    /// ACL users that somebody has added.
    pub(crate) users: Vec<String>,
}

/// What a server did with a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Took {
    /// It has set it, and shows it like this.
    Set(String),
    /// Not while it runs.
    Immutable,
    /// It never will.
    Invalid(String),
}

impl Configured {
    pub(crate) fn new(trials: Arc<Trials>, home: ServerHome, own: Vec<Directive>) -> Self {
        let values =
            Values { started_with: home.started_with(), set_live: home.set_live(), ..Values::default() };
        let since = Instant::now();
        Self { trials, home, own: Arc::new(own), since, values: Arc::new(Mutex::new(values)) }
    }

    pub(crate) fn program(&self) -> &Program {
        self.trials.program()
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is due to be looked at. The whole configuration every few seconds: at once if something is not ordered any more; not while a server comes up, when
    /// the trial that this takes would be in its way.
    pub(crate) fn due(&self, wanted: &[Directive]) -> Extent {
        let values = self.values();
        let whole = match &values.whole {
            Some((at, beside)) => {
                !values.strays.open.is_empty() || at.elapsed() >= WHOLE_EVERY || beside != wanted
            }
            None => self.since.elapsed() >= WHOLE_EVERY || self.has_dropped(&values, wanted),
        };
        if whole { Extent::Whole } else { Extent::Ordered }
    }

    fn has_dropped(&self, values: &Values, wanted: &[Directive]) -> bool {
        let ours = values.ours();
        let shown = ours.iter().map(|name| (name.clone(), String::new())).collect();
        let showing = Showing { shown: &shown, expected: None, wanted, own: &self.own, ours: &ours };
        !config::strays(showing).open.is_empty()
    }

    /// What differs, by what the server has shown.
    pub(crate) fn differences(
        &self,
        wanted: &[Directive],
        shown: &BTreeMap<String, String>,
        asked: Asked,
    ) -> Differences {
        let whole = asked.extent == Extent::Whole;
        let expected = if whole { self.trials.shown(wanted) } else { None };
        let mut values = self.values();
        if whole && values.is_current(asked) {
            let ours = values.ours();
            values.strays = config::strays(Showing {
                shown,
                expected: expected.as_deref(),
                wanted,
                own: &self.own,
                ours: &ours,
            });
            values.whole = Some((asked.at, wanted.to_vec()));
        }
        let mut found = Differences::default();
        for (name, value) in wanted {
            if !self.program().knows(name) {
                if !config::may_be_lacking(name) {
                    let why = "the server program does not know this directive".to_owned();
                    found.invalid.push(InvalidDirective { name: Some(name.clone()), why });
                }
                continue;
            }
            let Some(shown) = shown.get(name) else {
                // Of the configuration file only: it holds since the start, or from the next one on.
                if values.started_with.get(name) != Some(value) {
                    found.refused.push(name.clone());
                }
                continue;
            };
            values.compare((name, value), shown, asked, &mut found);
        }
        let strays = std::mem::take(&mut values.strays);
        for (name, value) in strays.dropped.iter().chain(&strays.altered) {
            if values.immutable.get(name) == Some(value) {
                found.refused.push(name.clone());
            } else if let Some((_, why)) = values.invalid.get(name).filter(|(refused, _)| refused == value) {
                found.invalid.push(InvalidDirective { name: Some(name.clone()), why: why.clone() });
            } else {
                found.drift.push(name.clone());
            }
        }
        found.drift.extend(strays.open.iter().cloned());
        found.altered.extend(strays.altered.iter().map(|(name, _)| name.clone()));
        found.by_hand.clone_from(&strays.by_hand);
        found.users.clone_from(&values.users);
        values.strays = strays;
        found
    }

    /// The server has these ACL users; `default` is the one that Valkeeper gives its password.
    pub(crate) fn saw_users(&self, users: Vec<String>) {
        self.values().users = users.into_iter().filter(|user| user != "default").collect();
    }

    /// What these directives go back to: they are not ordered.
    pub(crate) fn back_to(&self, names: &[String]) -> Vec<Directive> {
        let values = self.values();
        let back = values.strays.dropped.iter().chain(&values.strays.altered);
        back.filter(|(name, _)| names.contains(name)).cloned().collect()
    }

    /// The server is being told to set something, until this is dropped.
    pub(crate) fn setting(&self) -> Setting {
        self.values().setting += 1;
        Setting(Arc::clone(&self.values))
    }

    /// The server was told to set it.
    pub(crate) fn told(&self, (name, value): &Directive, took: Took) {
        let mut values = self.values();
        values.set_at = Some(Instant::now());
        match took {
            Took::Set(shown) => {
                values.strays.dropped.retain(|(stray, _)| stray != name);
                values.strays.altered.retain(|(stray, _)| stray != name);
                values.settled.insert(name.clone(), (value.clone(), shown));
                let is_new = !values.started_with.contains_key(name) && values.set_live.insert(name.clone());
                if is_new {
                    self.home.keep_set_live(&values.set_live);
                }
            }
            Took::Immutable => {
                values.immutable.insert(name.clone(), value.clone());
            }
            Took::Invalid(why) => {
                values.invalid.insert(name.clone(), (value.clone(), why));
            }
        }
    }
}

/// See [`Configured::setting`].
pub(crate) struct Setting(Arc<Mutex<Values>>);

impl Drop for Setting {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).setting -= 1;
    }
}

impl Values {
    fn ours(&self) -> BTreeSet<String> {
        self.started_with.keys().chain(&self.set_live).cloned().collect()
    }

    /// Does it show what holds now? What was asked for before something was set may show what was before.
    fn is_current(&self, asked: Asked) -> bool {
        self.setting == 0 && self.set_at.is_none_or(|set| set < asked.at)
    }

    fn compare(&mut self, (name, value): (&str, &str), shown: &str, asked: Asked, found: &mut Differences) {
        let before = self.settled.get(name).map(|(ordered, shown)| (ordered.as_str(), shown.as_str()));
        let trusted = before.is_none() && self.started_with.get(name).is_some_and(|started| started == value);
        if before == Some((value, shown)) {
            return;
        }
        if value == shown || trusted {
            self.settled.insert(name.to_owned(), (value.to_owned(), shown.to_owned()));
        } else if self.immutable.get(name).is_some_and(|refused| refused == value) {
            found.refused.push(name.to_owned());
        } else if let Some((_, why)) = self.invalid.get(name).filter(|(refused, _)| refused == value) {
            found.invalid.push(InvalidDirective { name: Some(name.to_owned()), why: why.clone() });
        } else {
            if self.is_current(asked) && before.is_some_and(|(ordered, _)| ordered == value) {
                found.altered.push(name.to_owned());
            }
            found.drift.push(name.to_owned());
        }
    }
}
