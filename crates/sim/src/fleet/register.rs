//! The register, and the way to it: a question may be late or lost, and what it asks for done all the same.

use super::{Fleet, Happening};
use valkeeper_model::{RegisterFault, RegisterLife};
use valkeeper_plan::agent::{Event, Token};
use valkeeper_plan::mode::standalone::register::{self, RegisterAnswer, RegisterAsk};

/// A question under way.
#[derive(Debug)]
pub(crate) struct RegisterQuestion {
    agent: usize,
    life: u64,
    token: Token,
    ask: RegisterAsk,
    /// When the agent waits no longer.
    until: u64,
}

impl Fleet {
    pub(super) fn ask_register(
        &mut self,
        agent: usize,
        life: u64,
        token: Token,
        ask: RegisterAsk,
        within_ms: u64,
    ) {
        let question = RegisterQuestion { agent, life, token, ask, until: self.now() + within_ms };
        if self.loses_on_the_way_to_the_register(agent) {
            return self.register_tells(&question, Err(RegisterFault::Silent));
        }
        let delay = self.network.hop(&mut self.random);
        self.clock.after(delay, Happening::AskRegister(Box::new(question)));
    }

    pub(super) fn register_asked(&mut self, question: &RegisterQuestion) {
        let fresh = RegisterLife(self.id());
        let (next, answer) = register::asked(self.store.register.as_ref(), fresh, &question.ask);
        self.store.register = next.or(self.store.register.take());
        let lost = self.loses_on_the_way_to_the_register(question.agent);
        self.register_tells(question, if lost { Err(RegisterFault::Silent) } else { Ok(answer) });
    }

    fn register_tells(&mut self, question: &RegisterQuestion, result: Result<RegisterAnswer, RegisterFault>) {
        let left = question.until.saturating_sub(self.now());
        let hop = self.network.hop(&mut self.random);
        let (delay, result) = match result {
            Ok(answer) if hop <= left => (hop, Ok(answer)),
            _ => (left, Err(RegisterFault::Silent)),
        };
        let event = Box::new(Event::RegisterTold { token: question.token, result });
        self.clock.after(delay, Happening::Agent { agent: question.agent, life: question.life, event });
    }

    /// The register is on no host of an instance.
    fn loses_on_the_way_to_the_register(&mut self, agent: usize) -> bool {
        self.network.register_cut
            || self.network.hosts_cut.contains(&agent)
            || self.network.loses(&mut self.random)
    }
}
