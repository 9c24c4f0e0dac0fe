//! Carries out what [`valkeeper_plan::server::rotation`] decides about the password of one running server.

use crate::files::Files;
use crate::handle::{AgentSetup, Passwords};
use crate::runtime::now;
use crate::server::ServerHome;
use crate::source_look::SourceLook;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use valkeeper_client::{AdminConnection, AskError, Password};
use valkeeper_model::Happened;
use valkeeper_plan::agent::Login;
use valkeeper_plan::mode::sentinel;
use valkeeper_plan::server::config::PRIMARY_USER;
use valkeeper_plan::server::rotation::{self, Event, FollowsWith, Overlap, PasswordDirective, Shown};

type Machine = rotation::Rotation<Password>;
type Step = rotation::Step<Password>;

/// Of one run of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rotation(Arc<Shared>);

struct Shared {
    connection: AdminConnection,
    machine: Mutex<Machine>,
    /// One at a time tells the server about its password.
    telling: tokio::sync::Mutex<()>,
    passwords: Passwords,
    source: SourceLook,
    /// As whom the server is to follow; `None` while nobody knows.
    login: Mutex<Option<Login>>,
    /// As whom it was told to follow last; `None` while that is not known.
    told: Mutex<Option<Login>>,
    /// Are Sentinels to be let in?
    sentinels: AtomicBool,
    /// The passwords with which Sentinels are let in now.
    sentinels_use: Mutex<Vec<Password>>,
    home: ServerHome,
    files: Files,
    record: Arc<dyn Fn(Happened) + Send + Sync>,
    origin: Instant,
}

impl Rotation {
    pub(crate) fn new(
        connection: AdminConnection,
        machine: Machine,
        setup: &AgentSetup,
        source: SourceLook,
        files: Files,
    ) -> Self {
        Self(Arc::new(Shared {
            connection,
            machine: Mutex::new(machine),
            telling: tokio::sync::Mutex::default(),
            passwords: Arc::clone(&setup.passwords),
            source,
            login: Mutex::default(),
            told: Mutex::default(),
            sentinels: AtomicBool::new(false),
            sentinels_use: Mutex::default(),
            home: setup.home.clone(),
            files,
            record: Arc::clone(&setup.record),
            origin: setup.origin,
        }))
    }

    /// The password for new connections.
    pub(crate) fn used(&self) -> Password {
        self.0.machine().used().clone()
    }

    /// What a server that is started now accepts beside the wanted password.
    pub(crate) fn beside(&self, wanted: &Password) -> Option<Overlap<Password>> {
        self.0.machine().beside(now(self.0.origin), wanted)
    }

    /// As whom the server is to follow from now on.
    pub(crate) fn logs_in(&self, login: Option<Login>) {
        *self.0.login.lock().unwrap_or_else(PoisonError::into_inner) = login;
    }

    /// Are Sentinels to log in at the server from now on?
    pub(crate) fn lets_in_sentinels(&self, yes: bool) {
        self.0.sentinels.store(yes, Ordering::Relaxed);
    }

    /// Gives Sentinels their user, with the wanted password and the one before: a Sentinel uses another one only from its next start on.
    async fn let_in_sentinels(&self, within: Duration) -> Result<(), AskError> {
        // The password is read from a file: not at each look at a server without Sentinels.
        if !self.0.sentinels.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Ok(wanted) = (self.0.passwords)() else { return Ok(()) };
        let known = self.0.sentinels_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.first() == Some(&wanted) {
            return Ok(());
        }
        let passwords: Vec<Password> = [wanted].into_iter().chain(known.into_iter().next()).collect();
        let all: Vec<&Password> = passwords.iter().collect();
        self.0.connection.set_user(sentinel::USER, &all, sentinel::RIGHTS, within).await?;
        *self.0.sentinels_use.lock().unwrap_or_else(PoisonError::into_inner) = passwords;
        Ok(())
    }

    /// Has the server follow with what that login takes, if it does not yet.
    pub(crate) async fn log_in(&self, login: Login, within: Duration) -> Result<(), AskError> {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if told == Some(Login::Cluster) && login == Login::Cluster {
            return Ok(());
        }
        let (user, password) = match &login {
            Login::Cluster => (String::new(), Some(self.used())),
            Login::Source(source) => {
                let password = self.0.source.password(source);
                let password = password.map_err(|fault| AskError::Garbled { what: fault.to_string() })?;
                (source.user.clone().unwrap_or_default(), password)
            }
        };
        let password = password.as_ref().map_or("", Password::reveal);
        let pairs = [(PRIMARY_USER, user.as_str()), (PasswordDirective::FollowsWith.name(), password)];
        self.0.connection.config_set(&pairs, within).await?;
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner).replace(login);
        Ok(())
    }

    /// The server has refused a connection with that password.
    pub(crate) async fn refused(&self, used: Password, within: Duration) {
        let wanted = (self.0.passwords)().ok();
        if let Err(error) = self.0.follow(Event::Refused { used, wanted }, within).await {
            tracing::warn!(%error, "another password is not used yet");
        }
    }

    /// The server has shown its whole configuration.
    pub(crate) async fn shown(&self, shown: &BTreeMap<String, String>, within: Duration) {
        let Ok(_telling) = self.0.telling.try_lock() else { return };
        self.0.note_login();
        let event = Event::ShowsConfiguration {
            accepted: password(shown, PasswordDirective::Accepts),
            followed_with: password(shown, PasswordDirective::FollowsWith),
        };
        if let Err(error) = self.0.follow(event, within).await {
            tracing::warn!(%error, "a password that was set by hand is not put back yet");
        }
    }

    /// The server answers. Called as often as one likes.
    pub(crate) async fn answers(&self, within: Duration) {
        let Ok(_telling) = self.0.telling.try_lock() else { return };
        self.0.note_login();
        if let Err(error) = self.let_in_sentinels(within).await {
            tracing::warn!(%error, "Sentinels are not let in yet");
        }
        if let Err(error) = self.0.follow(Event::Answers, within).await {
            // A server that stops, or does not answer yet, is no news of a password that nobody has changed.
            if self.0.machine().under_way() {
                tracing::warn!(%error, "a changed password has not reached the server yet");
            } else {
                tracing::debug!(%error, "the server could not be asked for its password");
            }
        }
    }
}

impl Shared {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what follows from an event, and from what that comes to.
    async fn follow(&self, event: Event<Password>, within: Duration) -> Result<(), AskError> {
        let mut steps = VecDeque::from(self.handle(event));
        while let Some(step) = steps.pop_front() {
            let Some(event) = self.carry_out(step, within).await? else { return Ok(()) };
            for next in self.handle(event).into_iter().rev() {
                steps.push_front(next);
            }
        }
        Ok(())
    }

    fn note_login(&self) {
        let login = self.login.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let follows = match login {
            None => FollowsWith::Unknown,
            Some(Login::Cluster) => FollowsWith::Own,
            Some(Login::Source(source)) => match self.source.password(&source) {
                Ok(password) => FollowsWith::Source(password.unwrap_or_else(|| Password::new(""))),
                // Its agent tells it, which reads it too.
                Err(_) => FollowsWith::Unknown,
            },
        };
        self.handle(Event::Follows(follows));
    }

    fn handle(&self, event: Event<Password>) -> Vec<Step> {
        self.machine().handle(now(self.origin), event)
    }

    /// What it comes to; `None` ends what was begun.
    async fn carry_out(&self, step: Step, within: Duration) -> Result<Option<Event<Password>>, AskError> {
        let set = async |directives: &[PasswordDirective], password: &Password| {
            let pairs: Vec<_> = directives.iter().map(|one| (one.name(), password.reveal())).collect();
            self.connection.config_set(&pairs, within).await
        };
        match &step {
            // One that cannot be read is told by the agent, which reads it too.
            Step::Read => return Ok((self.passwords)().ok().map(Event::Read)),
            Step::AskServer => return Ok(Some(Event::Shows(self.ask(within).await?))),
            Step::Use(password) => self.connection.set_password(Some(password.clone())),
            Step::Accept(password) => self.connection.accept_as_well(password, within).await?,
            Step::FollowWith(password) => set(&[PasswordDirective::FollowsWith], password).await?,
            Step::Keep(password) => self.keep(password.clone()).await,
            Step::AcceptOnly(password) => set(&[PasswordDirective::Accepts], password).await?,
            Step::PutBack(directives, password) => set(directives, password).await?,
            Step::Record(happened) => (self.record)(happened.clone()),
        }
        Ok(Some(Event::Done(step)))
    }

    async fn ask(&self, within: Duration) -> Result<Shown<Password>, AskError> {
        let value = async |directive: PasswordDirective| {
            // Both names work everywhere; each engine shows the one that was asked for.
            let shown = self.connection.config_get(directive.name(), within).await?;
            Ok::<_, AskError>(password(&shown, directive))
        };
        Ok(Shown {
            accepted: value(PasswordDirective::Accepts).await?,
            passwords: self.connection.count_default_passwords(within).await?,
            followed_with: value(PasswordDirective::FollowsWith).await?,
            link: self.connection.replication(within).await?.link(),
        })
    }

    async fn keep(&self, password: Password) {
        let home = self.home.clone();
        if let Err(error) = self.files.with(move || home.keep_password(&password)).await.flatten() {
            // It is needed only if the password changes once more while no agent is there.
            tracing::warn!(%error, "the password that a server accepts cannot be kept");
        }
    }
}

fn password(shown: &BTreeMap<String, String>, directive: PasswordDirective) -> Option<Password> {
    shown.get(directive.name()).map(Password::new)
}
