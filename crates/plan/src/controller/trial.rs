//! A changed configuration is tried with the server program before it is stored: by an agent, which has the program.

use super::machine::{Controller, Pending};
use crate::agent::Token;
use valkeeper_model::{
    Answer, Ask, AskFailed, InstanceName, Layout, Millis, Observed, Refusal, Request, ServerConfig, Trial,
};

/// How long an agent may take: each mistake in a configuration takes a start of the program.
const TRY_MS: u64 = 20_000;

/// A request whose configuration is being tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnderTrial {
    /// Whom to answer.
    token: Token,
    /// What was asked.
    request: Request,
    /// What is tried.
    config: ServerConfig,
}

impl Controller {
    /// Who is to try it; `None` if that need not be, or if nobody is there who could: then the agents find out by themselves, and
    /// keep their servers up.
    pub(super) fn must_try(&self, layout: &Layout, config: &ServerConfig) -> Option<InstanceName> {
        if *config == layout.config || self.accepted.as_ref() == Some(config) {
            return None;
        }
        let observation = self.observation.as_ref()?;
        let there =
            |name: &&InstanceName| matches!(observation.instances.get(*name), Some(Observed::Known(_)));
        layout.instances.keys().find(there).cloned()
    }

    pub(super) fn try_first(
        &mut self,
        by: InstanceName,
        config: ServerConfig,
        token: Token,
        request: Request,
    ) {
        let sent = self.tell(by, Ask::Try { config: Box::new(config.clone()) }, TRY_MS);
        self.pending.insert(sent, Pending::Trial(Box::new(UnderTrial { token, request, config })));
    }

    /// What came of a trial. The request is judged anew: the layout may be another by now.
    pub(super) fn config_tried(
        &mut self,
        now: Millis,
        UnderTrial { token, request, config }: UnderTrial,
        result: Result<Answer, AskFailed>,
    ) {
        if let Ok(Answer::Tried(Trial::Refuses { directives })) = result {
            return self.answer(token, Err(Refusal::ConfigInvalid { directives }));
        }
        self.accepted = Some(config);
        self.take_again(now, token, request);
    }
}
