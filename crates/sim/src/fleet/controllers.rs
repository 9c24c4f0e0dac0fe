//! The real controllers, the store, and users.

use super::asks::{Asker, Round};
use super::{Fleet, Happening};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::transcript;
use std::collections::BTreeMap;
use valkeeper_model::{
    Layout, LayoutVersion, Millis, Refusal, RegisterStage, Report, Request, StorageFault, StoreError,
};
use valkeeper_plan::agent::Token;
use valkeeper_plan::controller::{Command, CommitError, Controller, Event};

/// Where a controller lives.
#[derive(Debug, Default)]
pub(crate) struct ControllerHost {
    pub(crate) controller: Option<Controller>,
    pub(crate) life: u64,
    pub(crate) round: Option<Round>,
    pub(crate) report: Option<Report>,
    tick_at: Option<u64>,
    /// Dies when it has carried out so many commands more.
    pub(crate) dies_after: Option<u32>,
    pub(crate) up_since: u64,
}

/// What all controllers share: compare and set.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) layout: Option<Layout>,
    pub(crate) register: Option<RegisterStage>,
    ids: Random,
    /// So many commits fail; half of these are stored all the same.
    pub(crate) fails: u32,
}

impl Store {
    pub(crate) fn new(ids: Random) -> Self {
        Self { layout: None, register: None, ids, fails: 0 }
    }

    pub(crate) fn version(&self) -> Option<LayoutVersion> {
        self.layout.as_ref().map(Layout::version)
    }
}

fn store_fault(why: &str) -> CommitError {
    StoreError::NotWritten { fault: StorageFault::Api, why: why.to_owned() }.into()
}

impl Fleet {
    pub(crate) fn controller_up(&mut self, controller: usize) {
        if self.controllers[controller].controller.is_some() {
            return;
        }
        let now = self.now();
        // All draw the same ids for the first layout: the simulated servers are built from them.
        let ids = Box::new(self.store.ids.clone());
        let machine = Controller::new(self.spec.clone(), self.setup.zones(), ids);
        let host = &mut self.controllers[controller];
        host.life += 1;
        host.up_since = now;
        host.controller = Some(machine);
        let life = host.life;
        self.note(|| format!("controller {controller} starts"));
        self.controller_event(controller, life, Event::Tick);
    }

    pub(crate) fn controller_dies(&mut self, controller: usize) {
        self.note(|| format!("controller {controller} is gone"));
        let host = &mut self.controllers[controller];
        *host = ControllerHost { life: host.life + 1, ..ControllerHost::default() };
        let delay = self.random.within(50..=3_000);
        self.clock.after(delay, Happening::ControllerUp { controller });
    }

    /// Some agent has news.
    pub(super) fn nudge(&mut self) {
        for controller in 0..self.controllers.len() {
            let life = self.controllers[controller].life;
            let delay = self.network.hop(&mut self.random);
            let event = Box::new(Event::Nudged);
            self.clock.after(delay, Happening::Controller { controller, life, event });
        }
    }

    pub(super) fn controller_tick(&mut self, controller: usize, life: u64, at: u64) {
        let host = &self.controllers[controller];
        if host.life == life && host.tick_at == Some(at) {
            self.controllers[controller].tick_at = None;
            self.controller_event(controller, life, Event::Tick);
        }
    }

    pub(crate) fn controller_event(&mut self, controller: usize, life: u64, event: Event) {
        let now = self.now();
        let host = &mut self.controllers[controller];
        if host.life != life {
            return;
        }
        let Some(machine) = &mut host.controller else { return };
        let commands = machine.handle(Millis(now), event);
        let wake = machine.wake_at();
        for command in commands {
            if let Some(left) = &mut self.controllers[controller].dies_after {
                if *left == 0 {
                    return self.controller_dies(controller);
                }
                *left -= 1;
            }
            self.carry_out_for_controller(controller, life, command);
        }
        if let Some(wake) = wake {
            let at = wake.0.max(now + 1);
            let host = &mut self.controllers[controller];
            if host.tick_at.is_none_or(|planned| planned > at || planned <= now) {
                host.tick_at = Some(at);
                self.clock.at(at, Happening::ControllerTick { controller, life, at });
            }
        }
    }

    fn tell_controller(&mut self, controller: usize, life: u64, event: Event) {
        let delay = self.random.within(0..=2);
        let event = Box::new(event);
        self.clock.after(delay, Happening::Controller { controller, life, event });
    }

    fn carry_out_for_controller(&mut self, controller: usize, life: u64, command: Command) {
        if let Some(line) = transcript::controller_command(&command) {
            self.note(|| format!("controller {controller}: {line}"));
        }
        match command {
            Command::Load => {
                let mut stored = self.store.layout.clone();
                if self.sabotage == Some(Sabotage::ForgetLedger)
                    && let Some(layout) = &mut stored
                {
                    layout.ledger.clear();
                    layout.operations.clear();
                }
                self.tell_controller(controller, life, Event::Loaded(Ok(stored.map(Box::new))));
            }
            Command::Commit { layout, after } => {
                let delay = self.random.within(0..=2);
                self.clock.after(delay, Happening::Commit { controller, life, layout, after });
            }
            Command::Provision(layout) => self.provision(controller, life, &layout),
            Command::Order(order) => {
                let agent = self.index_of(&order.instance);
                // One that was sent twice, and came back from nowhere.
                if self.random.in_thousand(30) {
                    let (late, order) = (self.random.within(200..=8_000), order.clone());
                    self.clock.after(late, Happening::Order { controller, agent, order });
                }
                if !self.network.loses(&mut self.random) {
                    let delay = self.network.hop(&mut self.random);
                    self.clock.after(delay, Happening::Order { controller, agent, order });
                }
            }
            Command::Observe { fresh } => self.observe(controller, life, fresh),
            Command::Tell { token, to, ask, within_ms } => {
                let to = self.index_of(&to);
                self.send_ask(Asker::Controller { controller, life, token }, to, ask, within_ms);
            }
            Command::Answer { token, result } => self.user_is_answered(token, &result),
            Command::Publish(mut report) => {
                if self.sabotage == Some(Sabotage::GiveNoReason) {
                    report.waiting.clear();
                }
                self.law_of_reports(controller, &report);
                self.controllers[controller].report = Some(*report);
            }
            Command::Record(_) => {}
            Command::GiveUp(refusal) => {
                self.break_law(12, format!("controller {controller} gave up: {refusal}"));
            }
        }
    }

    fn provision(&mut self, controller: usize, life: u64, layout: &Layout) {
        self.add_instances(layout);
        let mut addresses = BTreeMap::new();
        for name in layout.instances.keys() {
            let index = self.index_of(name);
            addresses.insert(name.clone(), Self::address(index, self.laws.moved_by));
            if self.agents[index].agent.is_none() && self.agents[index].life == 0 {
                self.agent_up(index);
            }
        }
        self.tell_controller(controller, life, Event::Provisioned(Ok(addresses)));
    }

    pub(super) fn commit(
        &mut self,
        controller: usize,
        life: u64,
        mut layout: Layout,
        after: Option<LayoutVersion>,
    ) {
        if self.sabotage == Some(Sabotage::ShareZones) {
            crate::sabotage::share_zones(&mut layout);
        }
        let fails = self.store.fails > 0;
        self.store.fails = self.store.fails.saturating_sub(1);
        let stored_all_the_same = self.random.in_thousand(500);
        let result = if fails && !stored_all_the_same {
            Err(store_fault("fault: the store is away"))
        } else if self.store.version() == after {
            self.law_of_layouts(&layout);
            self.store.layout = Some(layout);
            if fails { Err(store_fault("fault: the reply is lost")) } else { Ok(()) }
        } else {
            Err(CommitError::Conflict)
        };
        self.tell_controller(controller, life, Event::Committed(result));
    }

    /// A user asks one of the controllers.
    pub(crate) fn request(&mut self, request: Request) {
        let up = (0..self.controllers.len()).find(|index| self.controllers[*index].controller.is_some());
        let Some(controller) = up else { return };
        let life = self.controllers[controller].life;
        let token = Token(self.id());
        self.laws.note_request(token, &request, self.clock.now());
        self.note(|| format!("user: {request:?}"));
        self.tell_controller(controller, life, Event::Asked { token, request });
    }

    fn user_is_answered(&mut self, token: Token, result: &Result<(), Refusal>) {
        self.laws.note_answer(token, result.is_ok(), self.clock.now());
        let line = match result {
            Ok(()) => "user: done".to_owned(),
            Err(refusal) => format!("user: refused: {refusal}"),
        };
        self.note(|| line);
    }
}
