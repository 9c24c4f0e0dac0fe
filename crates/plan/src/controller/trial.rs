//! A changed configuration is tried with the server program before it is stored: by an agent, which has the program.

use super::machine::{Controller, Pending};
use crate::agent::Token;
use valkeeper_model::{
    Answer, Ask, AskFailed, InstanceName, Layout, Millis, Observed, Refusal, Request, ServerSetup, Trial,
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
    setup: ServerSetup,
}

impl Controller {
    /// Who is to try it; `None` if that need not be, or if nobody is there who could: then the agents find out by themselves, and
    /// keep their servers up.
    pub(super) fn must_try(&self, layout: &Layout, setup: &ServerSetup) -> Option<InstanceName> {
        if *setup == layout.setup() || self.accepted.as_ref() == Some(setup) {
            return None;
        }
        let observation = self.observation.as_ref()?;
        let there =
            |name: &&InstanceName| matches!(observation.instances.get(*name), Some(Observed::Known(_)));
        layout.instances.keys().find(there).cloned()
    }

    pub(super) fn try_first(&mut self, by: InstanceName, setup: ServerSetup, token: Token, request: Request) {
        let ask = Ask::Try { config: Box::new(setup.config.clone()), version: setup.version.clone() };
        let sent = self.tell(by, ask, TRY_MS);
        self.pending.insert(sent, Pending::Trial(Box::new(UnderTrial { token, request, setup })));
    }

    /// What came of a trial. The request is judged anew: the layout may be another by now.
    pub(super) fn config_tried(
        &mut self,
        now: Millis,
        UnderTrial { token, request, setup }: UnderTrial,
        result: Result<Answer, AskFailed>,
    ) {
        if let Ok(Answer::Tried(Trial::Refuses { directives })) = result {
            return self.answer(token, Err(Refusal::ConfigInvalid { directives }));
        }
        self.accepted = Some(setup);
        self.take_again(now, token, request);
    }
}
