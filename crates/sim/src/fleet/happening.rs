//! What happens, each at its time.

use super::register::RegisterQuestion;
use crate::server::Message;
use crate::writers::Wrote;
use valkeeper_model::{Address, Answer, AskFailed, CopyRecord};
use valkeeper_plan::agent::{self, Reply, ServerCommand, ServerError, StartPlan};
use valkeeper_plan::controller;

/// Something that happens at its time.
#[derive(Debug)]
pub(crate) enum Happening {
    Bus {
        to: usize,
        at: Address,
        message: Box<Message>,
    },
    Cron {
        server: usize,
        run: u64,
    },
    Ready {
        server: usize,
        run: u64,
    },
    End {
        server: usize,
        run: u64,
        how: &'static str,
    },
    Connect {
        server: usize,
        connection: u64,
    },
    Synced {
        server: usize,
        connection: u64,
    },
    Stream {
        server: usize,
        connection: u64,
    },
    Severed {
        server: usize,
        connection: u64,
    },
    Appending {
        server: usize,
        run: u64,
    },
    Saved {
        server: usize,
        run: u64,
    },
    Thaw {
        server: usize,
        run: u64,
    },
    Inspect {
        agent: usize,
        life: u64,
    },
    Keep {
        agent: usize,
        life: u64,
        record: Box<CopyRecord>,
    },
    Start {
        agent: usize,
        life: u64,
        plan: Box<StartPlan>,
    },
    Kill {
        agent: usize,
        run: u64,
    },
    Terminate {
        agent: usize,
        run: u64,
    },
    Agent {
        agent: usize,
        life: u64,
        event: Box<agent::Event>,
    },
    AgentTick {
        agent: usize,
        life: u64,
        at: u64,
    },
    AgentUp {
        agent: usize,
    },
    HostThaws {
        host: usize,
        freeze: u64,
    },
    HostBack {
        host: usize,
    },
    AskRegister(Box<RegisterQuestion>),
    Ask {
        id: u64,
    },
    Answered {
        id: u64,
        result: Box<Result<Answer, AskFailed>>,
    },
    AskTimeout {
        id: u64,
    },
    Serve {
        id: u64,
        server: usize,
        command: ServerCommand,
    },
    Served {
        id: u64,
        result: Box<Result<Reply, ServerError>>,
    },
    ServeTimeout {
        id: u64,
    },
    Controller {
        controller: usize,
        life: u64,
        event: Box<controller::Event>,
    },
    ControllerTick {
        controller: usize,
        life: u64,
        at: u64,
    },
    ObservationDue {
        controller: usize,
        life: u64,
        round: u64,
    },
    ControllerUp {
        controller: usize,
    },
    Order {
        controller: usize,
        agent: usize,
        order: Box<valkeeper_model::AgentOrder>,
    },
    Commit {
        controller: usize,
        life: u64,
        layout: Box<valkeeper_model::Layout>,
        after: Option<valkeeper_model::LayoutVersion>,
    },
    WriterTick {
        writer: usize,
    },
    Write {
        writer: usize,
        server: usize,
        id: u64,
    },
    Wrote {
        writer: usize,
        id: u64,
        from: usize,
        result: Wrote,
    },
    WriteTimeout {
        writer: usize,
        id: u64,
    },
    Fault {
        index: usize,
    },
    Check,
}
