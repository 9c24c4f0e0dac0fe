//! How one running server is configured, as far as it is known, and what of it differs from what is ordered.

use super::config::{Directive, may_be_lacking};
use crate::mode::sentinel;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::spec::is_reserved;
use valkeeper_model::{DriftPolicy, InvalidDirective, Millis};

/// Between looks at the whole configuration, milliseconds; what is ordered is looked at each time.
const WHOLE_EVERY_MS: u64 = 5_000;

/// How much of the configuration a look asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What is ordered.
    Ordered,
    /// Everything.
    Whole,
}

/// What a look has shown.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// When the server was asked.
    pub asked: Millis,
    /// For what.
    pub extent: Extent,
    /// What is ordered.
    pub wanted: &'a [Directive],
    /// What the server has answered.
    pub shown: &'a BTreeMap<String, String>,
    /// What the same program shows that was started with what is ordered; `None` while that is not known.
    pub expected: Option<&'a BTreeMap<String, String>>,
    /// What becomes of what somebody has set by hand.
    pub policy: DriftPolicy,
    /// Does the server program know this directive?
    pub knows: &'a dyn Fn(&str) -> bool,
}

/// How a server's configuration differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// To be set.
    pub drift: Vec<String>,
    /// Cannot be set while the server runs.
    pub refused: Vec<String>,
    /// Cannot be set at all.
    pub invalid: Vec<InvalidDirective>,
    /// Was changed by somebody.
    pub altered: Vec<String>,
    /// Is of no concern, and to be told.
    pub by_hand: Vec<String>,
    /// ACL users that somebody has added.
    pub users: Vec<String>,
}

/// What a server did with a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Took {
    /// It has set it, and shows it like this.
    Set(String),
    /// Not while it runs.
    Immutable,
    /// It never will.
    Invalid(String),
}

/// What is known of the configuration of one run of a server. A server shows many values in another form than they were given in (`1gb`),
/// so that comparing text would find differences that are none.
#[derive(Debug)]
pub struct RunningConfig {
    /// Since when it is looked at.
    since: Millis,
    /// What comes from where the server runs: what it binds to, what it announces.
    own: Vec<Directive>,
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
    set_at: Option<Millis>,
    /// So many orders to set something are under way: what is shown meanwhile may be of before or of after.
    setting: u32,
    /// The last look at the whole configuration: when, and beside what.
    whole: Option<(Millis, Vec<Directive>)>,
    strays: Strays,
    /// ACL users beside `default`.
    users: Vec<String>,
}

impl RunningConfig {
    /// Of a server that was started with these directives, and told to set those since.
    pub fn new(
        now: Millis,
        own: Vec<Directive>,
        started_with: BTreeMap<String, String>,
        set_live: BTreeSet<String>,
    ) -> Self {
        Self {
            since: now,
            own,
            started_with,
            set_live,
            settled: BTreeMap::new(),
            immutable: BTreeMap::new(),
            invalid: BTreeMap::new(),
            set_at: None,
            setting: 0,
            whole: None,
            strays: Strays::default(),
            users: Vec::new(),
        }
    }

    /// How much is due to be looked at. The whole configuration every few seconds: at once if something is not ordered any more; not while
    /// a server comes up, when the trial that this takes would be in its way.
    pub fn due(&self, now: Millis, wanted: &[Directive]) -> Extent {
        let whole = match &self.whole {
            Some((at, beside)) => {
                !self.strays.open.is_empty() || now.since(*at) >= WHOLE_EVERY_MS || beside != wanted
            }
            None => now.since(self.since) >= WHOLE_EVERY_MS || self.has_dropped(wanted),
        };
        if whole { Extent::Whole } else { Extent::Ordered }
    }

    fn has_dropped(&self, wanted: &[Directive]) -> bool {
        let ours = self.ours();
        let shown = ours.iter().map(|name| (name.clone(), String::new())).collect();
        let policy = DriftPolicy::Keep;
        let showing = Showing { shown: &shown, expected: None, wanted, own: &self.own, ours: &ours, policy };
        !strays(showing).open.is_empty()
    }

    /// Directives that Valkeeper has set in this run.
    fn ours(&self) -> BTreeSet<String> {
        self.started_with.keys().chain(&self.set_live).cloned().collect()
    }

    /// What differs, by what the server has shown.
    pub fn differences(&mut self, look: Look<'_>) -> Differences {
        let is_current = self.is_current(look.asked);
        if look.extent == Extent::Whole && is_current {
            self.strays = strays(Showing {
                shown: look.shown,
                expected: look.expected,
                wanted: look.wanted,
                own: &self.own,
                ours: &self.ours(),
                policy: look.policy,
            });
            self.whole = Some((look.asked, look.wanted.to_vec()));
        }
        let mut found = Differences::default();
        for (name, value) in look.wanted {
            if !(look.knows)(name) {
                if !may_be_lacking(name) {
                    let why = "the server program does not know this directive".to_owned();
                    found.invalid.push(InvalidDirective { name: Some(name.clone()), why });
                }
                continue;
            }
            let Some(shown) = look.shown.get(name) else {
                // Of the configuration file only: it holds since the start, or from the next one on.
                if self.started_with.get(name) != Some(value) {
                    found.refused.push(name.clone());
                }
                continue;
            };
            self.compare((name, value), shown, is_current, &mut found);
        }
        for directive in self.strays.dropped.iter().chain(&self.strays.altered) {
            if !self.cannot_be_set(directive, &mut found) {
                found.drift.push(directive.0.clone());
            }
        }
        found.drift.extend(self.strays.open.iter().cloned());
        found.altered.extend(self.strays.altered.iter().map(|(name, _)| name.clone()));
        found.by_hand.clone_from(&self.strays.by_hand);
        found.users.clone_from(&self.users);
        found
    }

    /// Does an answer show what holds now? What was asked for before something was set may show what was before.
    fn is_current(&self, asked: Millis) -> bool {
        self.setting == 0 && self.set_at.is_none_or(|set| set < asked)
    }

    fn compare(&mut self, ordered: (&str, &str), shown: &str, is_current: bool, found: &mut Differences) {
        let (name, value) = ordered;
        let before = self.settled.get(name).map(|(ordered, shown)| (ordered.as_str(), shown.as_str()));
        let trusted = before.is_none() && self.started_with.get(name).is_some_and(|started| started == value);
        if before == Some((value, shown)) {
            return;
        }
        if value == shown || trusted {
            self.settled.insert(name.to_owned(), (value.to_owned(), shown.to_owned()));
            return;
        }
        let altered = is_current && before.is_some_and(|(ordered, _)| ordered == value);
        if self.cannot_be_set(&(name.to_owned(), value.to_owned()), found) {
            return;
        }
        if altered {
            found.altered.push(name.to_owned());
        }
        found.drift.push(name.to_owned());
    }

    /// Notes what the server has refused: not while it runs, or for good.
    fn cannot_be_set(&self, (name, value): &Directive, found: &mut Differences) -> bool {
        if self.immutable.get(name) == Some(value) {
            found.refused.push(name.clone());
            return true;
        }
        let invalid = self.invalid.get(name).filter(|(refused, _)| refused == value);
        let named =
            |(_, why): &(String, String)| InvalidDirective { name: Some(name.clone()), why: why.clone() };
        found.invalid.extend(invalid.map(named));
        invalid.is_some()
    }

    /// The server has these ACL users; `default` is the one that Valkeeper gives its password, and Sentinels have one of their own.
    pub fn saw_users(&mut self, users: Vec<String>) {
        self.users = users.into_iter().filter(|user| user != "default" && user != sentinel::USER).collect();
    }

    /// What these directives go back to: they are not ordered.
    pub fn back_to(&self, names: &[String]) -> Vec<Directive> {
        let back = self.strays.dropped.iter().chain(&self.strays.altered);
        back.filter(|(name, _)| names.contains(name)).cloned().collect()
    }

    /// The server is being told to set something, until [`Self::ends_setting`].
    pub fn begins_setting(&mut self) {
        self.setting += 1;
    }

    /// See [`Self::begins_setting`].
    pub fn ends_setting(&mut self) {
        self.setting -= 1;
    }

    /// The server was told to set it. What it has set in this run, if that is one more.
    pub fn told(&mut self, now: Millis, (name, value): &Directive, took: Took) -> Option<&BTreeSet<String>> {
        self.set_at = Some(now);
        match took {
            Took::Set(shown) => {
                self.strays.dropped.retain(|(stray, _)| stray != name);
                self.strays.altered.retain(|(stray, _)| stray != name);
                self.settled.insert(name.clone(), (value.clone(), shown));
                let is_new = !self.started_with.contains_key(name) && self.set_live.insert(name.clone());
                is_new.then_some(&self.set_live)
            }
            Took::Immutable => {
                self.immutable.insert(name.clone(), value.clone());
                None
            }
            Took::Invalid(why) => {
                self.invalid.insert(name.clone(), (value.clone(), why));
                None
            }
        }
    }
}

/// Directives that belong to one run of one server, or that others look after: where its files are, its role, its password.
const OF_THE_RUN: &[&str] = &[
    "dir",
    "dbfilename",
    "appendfilename",
    "appenddirname",
    "logfile",
    "pidfile",
    "unixsocket",
    "unixsocketperm",
    "daemonize",
    "supervised",
    "protected-mode",
    "cluster-enabled",
    "cluster-config-file",
    "cluster-port",
    "replicaof",
    "slaveof",
    "requirepass",
    "masterauth",
    "primaryauth",
    "user",
    "save",
    "appendonly",
];

/// What a server shows of its whole configuration, beside what it should show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Showing<'a> {
    /// What it shows.
    pub(super) shown: &'a BTreeMap<String, String>,
    /// What the same program shows that was started with what is ordered; `None` while that is not known.
    pub(super) expected: Option<&'a BTreeMap<String, String>>,
    /// What is ordered. These directives are compared elsewhere: a server shows them in another form.
    pub(super) wanted: &'a [Directive],
    /// What comes from where the server runs.
    pub(super) own: &'a [Directive],
    /// Directives that Valkeeper has set in this run, when it was started or since.
    pub(super) ours: &'a BTreeSet<String>,
    /// What becomes of what somebody has set by hand.
    pub(super) policy: DriftPolicy,
}

/// Where a server's configuration strays from what it should be, besides what is ordered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Strays {
    /// Ordered once and not any more: to be set to what the program gives them.
    pub(super) dropped: Vec<Directive>,
    /// Changed by somebody and to be set back: reserved for Valkeeper, or ordered by nobody.
    pub(super) altered: Vec<Directive>,
    /// Ordered once and not any more, while it is not known what the program gives them.
    pub(super) open: Vec<String>,
    /// Nobody ordered them, and somebody has set them: told, and left alone where the manifest says so.
    pub(super) by_hand: Vec<String>,
}

/// Finds what strays.
pub(super) fn strays(showing: Showing<'_>) -> Strays {
    let ordered: BTreeSet<String> = showing.wanted.iter().map(|(name, _)| current_name(name)).collect();
    let own: BTreeMap<&str, &str> =
        showing.own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut strays = Strays::default();
    for (name, shown) in showing.shown {
        // A second name of an ordered directive shows what was ordered.
        if ordered.contains(&current_name(name)) || OF_THE_RUN.contains(&name.as_str()) {
            continue;
        }
        let Some(expected) = showing.expected else {
            if showing.ours.contains(name) && !own.contains_key(name.as_str()) {
                strays.open.push(name.clone());
            }
            continue;
        };
        let right = own.get(name.as_str()).copied().or_else(|| expected.get(name).map(String::as_str));
        let Some(right) = right.filter(|right| right != shown) else { continue };
        let back = || (name.clone(), right.to_owned());
        if is_reserved(name) || showing.policy == DriftPolicy::Correct && !showing.ours.contains(name) {
            strays.altered.push(back());
        } else if showing.ours.contains(name) {
            strays.dropped.push(back());
        } else {
            strays.by_hand.push(name.clone());
        }
    }
    // What is being set back may have a second name that nobody ordered.
    if !strays.dropped.is_empty() || !strays.altered.is_empty() {
        strays.by_hand.clear();
    }
    strays
}

/// The name without the former word for a replica and a primary, which engines still show beside the current one.
fn current_name(name: &str) -> String {
    name.replace("slave", "replica").replace("master", "primary")
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
