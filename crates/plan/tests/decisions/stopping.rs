//! An agent whose server is told to stop, or whose disk hangs: what is done meanwhile, and in which order.

use crate::fleet::{name, order, view};
use valkeeper_model::{Answer, Ask, AskFailed, Death, Happened, Incarnation, Millis, Run, StopsWith};
use valkeeper_plan::agent::{Agent, Command, Event, ExitCause, Reply, ServerCommand, Token};

const RUN: Incarnation = Incarnation(1);

struct Host {
    agent: Agent,
    now: u64,
}

fn exited() -> Event {
    Event::Exited { incarnation: RUN, how: "ended".to_owned(), cause: ExitCause::Other }
}

impl Host {
    /// A server that was adopted and has been seen.
    fn new(me: u8) -> Self {
        let mut host = Self { agent: Agent::new(name(me), Some((RUN, None)), Millis(0)), now: 0 };
        let commands = host.happens(Event::Order(Box::new(order(me))));
        let looks = commands.into_iter().filter_map(|command| match command {
            Command::Serve { token, .. } => Some(token),
            _ => None,
        });
        for token in looks {
            host.happens(Event::Served { token, result: Ok(Reply::View(Box::new(view(me)))) });
        }
        host
    }

    fn happens(&mut self, event: Event) -> Vec<Command> {
        self.agent.handle(Millis(self.now), event)
    }

    fn asked(&mut self, ask: Ask) -> Vec<Command> {
        self.happens(Event::Asked { token: Token(900), ask })
    }

    /// What is done until then, with the time of each.
    fn until(
        &mut self,
        end: u64,
        mut meanwhile: impl FnMut(&mut Self) -> Vec<Command>,
    ) -> Vec<(u64, Command)> {
        let mut done = Vec::new();
        while let Some(wake) = self.agent.wake_at().filter(|wake| wake.0 <= end) {
            self.now = wake.0.max(self.now);
            let mut commands = meanwhile(self);
            commands.extend(self.happens(Event::Tick));
            done.extend(commands.into_iter().map(|command| (self.now, command)));
        }
        self.now = end;
        done
    }
}

fn answered(commands: &[Command]) -> Option<&Result<Answer, AskFailed>> {
    commands.iter().find_map(|command| match command {
        Command::Answer { token: Token(900), result } => Some(result),
        _ => None,
    })
}

#[test]
fn who_forgets_to_stop_is_told_again_and_killed_when_it_writes_nothing() {
    let mut host = Host::new(4);
    assert!(host.happens(Event::Stop).contains(&Command::Terminate(RUN)));
    let done = host.until(16_000, |_| Vec::new());
    let terminated = done.iter().filter(|(_, command)| *command == Command::Terminate(RUN)).count();
    assert_eq!(terminated, 14, "{done:?}");
    assert_eq!(
        done.iter().find(|(_, command)| *command == Command::Kill(RUN)).map(|(at, _)| *at),
        Some(15_000)
    );
}

#[test]
fn who_is_saving_its_data_is_not_killed() {
    let mut host = Host::new(4);
    host.happens(Event::Stop);
    let mut bytes = 0;
    let done = host.until(120_000, |host| {
        bytes += 40_000;
        host.happens(Event::Wrote { incarnation: RUN, bytes })
    });
    assert!(!done.iter().any(|(_, command)| *command == Command::Kill(RUN)), "{done:?}");
    // The lines that it writes about each telling are no saving.
    let done = host.until(136_000, |host| {
        bytes += 512;
        host.happens(Event::Wrote { incarnation: RUN, bytes })
    });
    assert!(done.iter().any(|(_, command)| *command == Command::Kill(RUN)), "{done:?}");
}

/// One that cannot save says so at each telling, and writes all the while what does not fit: no use in waiting.
#[test]
fn who_cannot_save_its_data_is_not_waited_for_long() {
    let mut host = Host::new(4);
    host.happens(Event::Stop);
    let mut bytes = 0;
    let done = host.until(60_000, |host| {
        bytes += 40_000;
        let mut commands = host.happens(Event::Wrote { incarnation: RUN, bytes });
        commands.extend(host.happens(Event::SaveRefused { incarnation: RUN }));
        commands
    });
    let killed = done.iter().find(|(_, command)| *command == Command::Kill(RUN)).map(|(at, _)| *at);
    assert!(killed.is_some_and(|at| (3_000..6_000).contains(&at)), "{killed:?}");
    let told = |command: &Command| matches!(command, Command::Record(Happened::EndedUnsaved { .. }));
    assert_eq!(done.iter().filter(|(_, command)| told(command)).count(), 1);
}

/// Fenced and unfenced while it is still being stopped: it stops, and starts again. Nobody makes it primary in between.
#[test]
fn who_is_being_stopped_is_not_promoted() {
    let mut host = Host::new(4);
    let fenced = valkeeper_model::AgentOrder { run: Run::Fenced, ..order(4) };
    host.happens(Event::Order(Box::new(fenced)));
    host.until(10_000, |_| Vec::new());
    host.happens(Event::Order(Box::new(order(4))));
    for ask in [
        Ask::Succeed { incarnation: RUN },
        Ask::Force { incarnation: RUN, replaces: None, after: Death::Ended, looked_at: None },
        Ask::Takeover { incarnation: RUN, replaces: None },
    ] {
        let commands = host.asked(ask);
        assert!(matches!(answered(&commands), Some(Err(AskFailed::Refused(_)))), "{commands:?}");
    }
    let commands = host.happens(exited());
    assert!(commands.contains(&Command::Inspect), "{commands:?}");
}

/// Its replicas are down already: a handover would hold writes for seconds and end in nothing.
#[test]
fn a_primary_that_stops_with_its_shard_hands_over_to_nobody() {
    let stopped = |stops_with| {
        let mut host = Host::new(0);
        let fenced = valkeeper_model::AgentOrder { run: Run::Fenced, stops_with, ..order(0) };
        host.happens(Event::Order(Box::new(fenced))).contains(&Command::Terminate(RUN))
    };
    assert!(stopped(StopsWith::Shard));
    assert!(!stopped(StopsWith::Itself));
}

#[test]
fn who_asks_a_server_that_ends_is_answered() {
    for ask in [Ask::Replication, Ask::Report { fresh: true }] {
        let mut host = Host::new(4);
        assert!(answered(&host.asked(ask.clone())).is_none());
        let commands = host.happens(exited());
        assert!(answered(&commands).is_some(), "{ask:?}: {commands:?}");
    }
}

/// Its replica does not wait for the dead primary's disk.
#[test]
fn a_dead_primary_whose_disk_hangs_is_succeeded() {
    for fails in [false, true] {
        let mut host = Host::new(1);
        let commands = host.happens(exited());
        assert!(commands.contains(&Command::Inspect), "{commands:?}");
        let disk =
            if fails { Event::Inspected(Err("Input/output error".to_owned())) } else { Event::DiskSilent };
        let commands = host.happens(disk);
        let asked = |command: &Command| matches!(command, Command::Tell { to, .. } if *to == name(4));
        assert!(commands.iter().any(asked), "{commands:?}");
    }
}

/// A full disk ends a former primary at its first write as a replica, before anybody has seen that it obeys.
#[test]
fn a_primary_that_dies_once_its_successor_rose_has_handed_over() {
    let mut host = Host::new(1);
    let mut commands = host.asked(Ask::HandOver { to: Some(name(4)) });
    let mut rose = false;
    for _ in 0..40 {
        let Some(command) = commands.pop() else { break };
        let now = match command {
            Command::Serve { token, command: ServerCommand::Replication, .. } if rose => {
                assert!(host.agent.wake_at().is_some(), "{token:?} is not waited for");
                continue;
            }
            Command::Serve { token, command, .. } => {
                let reply = match command {
                    ServerCommand::Replication => Reply::Replication(view(1).replication),
                    _ => Reply::Done,
                };
                host.happens(Event::Served { token, result: Ok(reply) })
            }
            Command::Tell { token, ask, .. } => {
                let answer = match ask {
                    Ask::Succeed { .. } => {
                        rose = true;
                        Answer::Done
                    }
                    Ask::Replication => {
                        let replication = view(if rose { 1 } else { 4 }).replication;
                        Answer::Replication { incarnation: RUN, replication, standing: None }
                    }
                    _ => continue,
                };
                host.happens(Event::Told { token, result: Ok(answer) })
            }
            _ => continue,
        };
        commands.extend(now);
    }
    assert!(rose, "nobody was asked to take over");
    let done = host.happens(exited());
    let told = |command: &Command| matches!(command, Command::Record(Happened::SwitchedOver { to, .. }) if *to == name(4));
    assert!(done.iter().any(told), "{done:?}");
}

/// It was adopted, and is silent from the beginning: it has had its time to boot.
#[test]
fn an_adopted_server_is_given_no_time_to_boot() {
    let mut host = Host { agent: Agent::new(name(4), Some((RUN, None)), Millis(0)), now: 0 };
    let mut tokens: Vec<Token> = Vec::new();
    let mut commands = host.happens(Event::Order(Box::new(order(4))));
    while !commands.contains(&Command::Kill(RUN)) && host.now < 20_000 {
        tokens.extend(commands.iter().filter_map(|command| match command {
            Command::Serve { token, .. } => Some(*token),
            _ => None,
        }));
        host.now += 100;
        commands = host.happens(Event::Tick);
        if host.now.is_multiple_of(1_000) {
            for token in std::mem::take(&mut tokens) {
                let silent = valkeeper_plan::agent::ServerError::Silent(valkeeper_model::Unseen::Timeout);
                commands.extend(host.happens(Event::Served { token, result: Err(silent) }));
            }
        }
    }
    assert!((5_000..8_000).contains(&host.now), "killed after {} ms", host.now);
}
