//! An agent on a host of its own, as its host sees it: what it tells its server and the others, and in which order.

use crate::fleet::{address, id, name, order, view};
use std::sync::Arc;
use valkeeper_model::{
    Answer, Ask, AskFailed, Death, Happened, Incarnation, InstanceName, Millis, Offset, Part, Position, Role,
    SeenPosition, Unseen, Waiting,
};
use valkeeper_plan::agent::{Agent, Command, Event, Reply, ServerCommand, ServerError, Token};
use valkeeper_plan::failover::copy::DataFiles;
use valkeeper_plan::failover::restart_decision::{Disk, NodesFile, Owner};
use valkeeper_plan::hostwatch::{ADOPTED_MS, CONFIRM_MS, FENCE_AFTER_MS};
use valkeeper_plan::mode::cluster::nodes_conf;
use valkeeper_plan::server::config::{MIN_REPLICAS, OrderedConfig};

/// What the others answer to a heartbeat.
type Others = fn(&InstanceName) -> Result<Answer, AskFailed>;

#[expect(clippy::unnecessary_wraps, reason = "an answer as it comes")]
fn well(_: &InstanceName) -> Result<Answer, AskFailed> {
    Ok(Answer::Heartbeat { counts: true, has_quorum: true, past_promise_window: true })
}

fn silent(_: &InstanceName) -> Result<Answer, AskFailed> {
    Err(AskFailed::Unseen(Unseen::Timeout))
}

fn older(_: &InstanceName) -> Result<Answer, AskFailed> {
    Err(AskFailed::Refused("unknown question".to_owned()))
}

struct Host {
    agent: Agent,
    me: u8,
    now: u64,
    others: Others,
    /// What the server's `min-replicas-to-write` is.
    wanted_replicas: String,
    obeys: bool,
    /// It does not answer to what it is told to set.
    mute: bool,
    /// The others have elected it, and nobody follows it.
    elected: bool,
    log: Vec<(u64, Command)>,
}

impl Host {
    /// A server that runs, adopted, and an agent that has its order.
    fn new(me: u8, others: Others) -> Self {
        Self::left(me, others, None)
    }

    /// The same; the agent before it left its lease.
    fn left(me: u8, others: Others, lease_until: Option<Millis>) -> Self {
        let agent = Agent::new(name(me), Some((Incarnation(1), None)), Millis(0));
        let agent = agent.watching_hosts(lease_until, Millis(0));
        let mut host = Self {
            agent,
            me,
            now: 0,
            others,
            wanted_replicas: "0".to_owned(),
            obeys: true,
            mute: false,
            elected: false,
            log: Vec::new(),
        };
        host.happens(Event::Order(Box::new(order(me))));
        host
    }

    fn happens(&mut self, event: Event) -> Vec<Command> {
        let commands = self.agent.handle(Millis(self.now), event);
        for command in commands.clone() {
            self.log.push((self.now, command.clone()));
            match command {
                Command::Serve { command: ServerCommand::Configure(_), .. } if self.mute => {}
                Command::Serve { token, command, .. } => {
                    let result = self.serve(command);
                    self.happens(Event::Served { token, result });
                }
                Command::Tell { token, to, ask: Ask::Heartbeat { .. }, .. } => {
                    let result = (self.others)(&to);
                    self.happens(Event::Told { token, result });
                }
                _ => {}
            }
        }
        commands
    }

    fn serve(&mut self, command: ServerCommand) -> Result<Reply, ServerError> {
        match command {
            ServerCommand::Look(OrderedConfig { directives: wanted, .. }) => {
                let mut view = view(self.me);
                if self.elected {
                    view.replication.part = Part::Primary { replicas: Vec::new() };
                    let topology = Arc::make_mut(&mut view.topology);
                    let owned =
                        topology.get_mut(&id(self.me % 3)).map(|before| std::mem::take(&mut before.slots));
                    let me = topology.get_mut(&id(self.me)).expect("a member");
                    (me.role, me.primary, me.slots) = (Role::Primary, None, owned.expect("a member"));
                }
                let same =
                    |(name, value): &(String, String)| name != MIN_REPLICAS || *value == self.wanted_replicas;
                if !wanted.iter().all(same) {
                    view.config_drift.push(MIN_REPLICAS.to_owned());
                }
                Ok(Reply::View(Box::new(view)))
            }
            ServerCommand::Configure(_) if !self.obeys => Err(ServerError::Busy),
            ServerCommand::Configure(directives) => {
                for (_, value) in directives.into_iter().filter(|(name, _)| name == MIN_REPLICAS) {
                    self.wanted_replicas = value;
                }
                Ok(Reply::Done)
            }
            _ => Ok(Reply::Done),
        }
    }

    fn until(&mut self, end: u64) {
        while let Some(at) = self.agent.wake_at()
            && at.0.max(self.now + 1) <= end
        {
            self.now = at.0.max(self.now + 1);
            self.happens(Event::Tick);
        }
        self.now = end;
    }

    fn refuses(&self) -> bool {
        self.wanted_replicas != "0"
    }

    fn waiting(&self) -> Option<Waiting> {
        self.agent.report().and_then(|report| report.waiting)
    }
}

fn is_refusal(command: &Command) -> bool {
    matches!(command, Command::Serve { command: ServerCommand::Configure(directives), .. }
        if directives.iter().any(|(name, value)| name == MIN_REPLICAS && value != "0"))
}

#[test]
fn a_primary_that_hears_nobody_refuses_writes_and_takes_them_again() {
    let mut host = Host::new(0, well);
    host.until(5_000);
    assert!(!host.refuses() && host.waiting().is_none());
    host.others = silent;
    host.until(5_000 + FENCE_AFTER_MS - 250);
    assert!(!host.refuses());
    host.until(5_000 + FENCE_AFTER_MS + 10);
    assert!(host.refuses());
    assert_eq!(host.waiting(), Some(Waiting::Isolated { instance: name(0) }));
    // The ordinary comparison does not undo it, and does not tell of it as a difference.
    host.until(30_000);
    assert!(host.refuses());
    assert!(host.agent.report().unwrap().view().unwrap().config_drift.is_empty());
    host.others = well;
    host.until(30_200);
    assert!(!host.refuses() && host.waiting().is_none());
    let told = |wanted: fn(&Happened) -> bool| {
        host.log
            .iter()
            .filter(|(_, command)| matches!(command, Command::Record(event) if wanted(event)))
            .count()
    };
    assert_eq!(told(|event| matches!(event, Happened::Isolated { .. })), 1);
    assert_eq!(told(|event| matches!(event, Happened::IsolationEnded { .. })), 1);
}

/// The order to refuse writes may take as long as its server likes, in as many steps as it likes: not longer than that.
#[test]
fn a_server_that_does_not_answer_the_order_to_refuse_writes_is_killed() {
    let mut host = Host::new(0, silent);
    host.mute = true;
    host.until(20_000);
    let at = |wanted: fn(&Command) -> bool| {
        host.log.iter().find(|(_, command)| wanted(command)).map(|(at, _)| *at)
    };
    let told = at(is_refusal).expect("it is told to refuse writes");
    let killed = at(|command| matches!(command, Command::Kill(_))).expect("it is killed");
    assert!(killed - told <= CONFIRM_MS, "{killed} after {told}");
}

#[test]
fn the_directive_that_refuses_writes_is_set_first() {
    let mut host = Host::new(0, silent);
    host.until(20_000);
    let first = host.log.iter().find_map(|(_, command)| match command {
        Command::Serve { command: ServerCommand::Configure(directives), .. } if is_refusal(command) => {
            directives.first()
        }
        _ => None,
    });
    assert_eq!(first.map(|(name, _)| name.as_str()), Some(MIN_REPLICAS));
}

/// One of the two others is enough: two of three are a majority.
#[test]
fn a_majority_is_enough() {
    let mut host = Host::new(0, |who| if *who == name(1) { well(who) } else { silent(who) });
    host.until(20_000);
    assert!(!host.refuses());
}

#[test]
fn what_an_agent_that_is_not_let_be_primary_itself_says_gives_no_lease() {
    for (counts, has_quorum) in [(false, true), (true, false)] {
        let mut host = Host::new(0, well);
        host.until(2_000);
        host.others = if counts {
            |_| Ok(Answer::Heartbeat { counts: true, has_quorum: false, past_promise_window: true })
        } else {
            |_| Ok(Answer::Heartbeat { counts: false, has_quorum: true, past_promise_window: true })
        };
        host.until(4_000);
        assert!(host.refuses(), "counts {counts}, has_quorum {has_quorum}");
    }
}

/// One that was started a moment ago may have forgotten a promise: it prolongs a lease and gives none.
#[test]
fn who_may_have_forgotten_a_promise_prolongs_and_gives_nothing() {
    let young: Others =
        |_| Ok(Answer::Heartbeat { counts: true, has_quorum: true, past_promise_window: false });
    let mut host = Host::new(0, well);
    host.until(2_000);
    host.others = young;
    host.until(10_000);
    assert!(!host.refuses());
    host.others = silent;
    host.until(12_000);
    host.others = young;
    host.until(20_000);
    assert!(host.refuses());
}

#[test]
fn older_agents_are_no_reason_to_refuse_writes() {
    let mut host = Host::new(0, older);
    host.until(20_000);
    assert!(!host.refuses() && host.waiting().is_none());
}

/// Whatever happens first after a time in which the host was frozen: writes are refused before it is dealt with.
#[test]
fn after_a_freeze_writes_are_refused_first() {
    let question = Event::Asked { token: Token(9), ask: Ask::Heartbeat { from: name(1), position: None } };
    let late = Event::Told { token: Token(1), result: well(&name(1)) };
    for event in [Event::Tick, question, late, Event::Order(Box::new(order(0)))] {
        let mut host = Host::new(0, well);
        host.until(5_000);
        host.now = 9_000;
        let first = host.happens(event.clone()).into_iter().next().expect("something is done");
        assert!(is_refusal(&first), "{event:?}: {first:?}");
    }
}

#[test]
fn a_server_that_does_not_confirm_is_killed() {
    let mut host = Host::new(0, well);
    host.until(5_000);
    (host.others, host.obeys) = (silent, false);
    host.until(9_000);
    let killed = host.log.iter().find(|(_, command)| matches!(command, Command::Kill(_)));
    let refused = host.log.iter().find(|(_, command)| is_refusal(command));
    let (killed, refused) = (killed.expect("it is killed").0, refused.expect("it is told first").0);
    assert!(killed - refused <= CONFIRM_MS + 20, "told at {refused}, killed at {killed}");
}

#[test]
fn an_adopted_server_has_a_moment() {
    let mut host = Host::new(0, silent);
    host.until(ADOPTED_MS - 1);
    assert!(!host.refuses());
    host.until(ADOPTED_MS + 1);
    assert!(host.refuses());
    // Without an order nothing can be told to it.
    let mut agent =
        Agent::new(name(0), Some((Incarnation(1), None)), Millis(0)).watching_hosts(None, Millis(0));
    let wake = agent.wake_at().expect("it wakes");
    assert_eq!(agent.handle(wake, Event::Tick), [Command::Kill(Incarnation(1))]);
    // What the last agent had refused is not taken back in that moment.
    let mut host = Host::new(0, silent);
    host.wanted_replicas = "1000000".to_owned();
    host.until(ADOPTED_MS - 1);
    assert!(host.refuses());
}

#[test]
fn an_agent_that_replaced_itself_left_its_lease() {
    // Held without a word from the others until it ends, and not a moment longer; no longer than any lease either.
    for (left, ends) in [(700, 700), (60_000, FENCE_AFTER_MS)] {
        let mut host = Host::left(0, silent, Some(Millis(left)));
        host.until(ends - 1);
        assert!(!host.refuses(), "a lease until {left} is gone");
        host.until(ends + 1);
        assert!(host.refuses(), "a lease until {left} has not ended");
    }
    // What is left by one that holds it is its end.
    let mut host = Host::new(0, well);
    host.until(1_000);
    let until = host.agent.lease_until().expect("a primary has one");
    assert!(until > Millis(1_900) && until <= Millis(1_000 + FENCE_AFTER_MS), "{until:?}");
}

#[test]
fn an_agent_beside_others_in_one_process_does_nothing_of_this() {
    let mut host = Host::new(0, silent);
    host.agent = Agent::new(name(0), Some((Incarnation(1), None)), Millis(0));
    host.log.clear();
    host.happens(Event::Order(Box::new(order(0))));
    host.until(20_000);
    assert!(!host.refuses());
    assert!(!host.log.iter().any(|(_, command)| matches!(command, Command::Tell { .. })));
    let answers =
        host.happens(Event::Asked { token: Token(1), ask: Ask::Heartbeat { from: name(1), position: None } });
    assert!(
        answers
            .iter()
            .any(|command| matches!(command, Command::Answer { result: Err(AskFailed::Refused(_)), .. }))
    );
}

/// What a primary tells of its stream is known by its replica, and gets older; what other shards' primaries tell is not taken for it.
#[test]
fn a_replica_knows_where_the_stream_of_its_primary_was_told_to_be() {
    let mut host = Host::new(3, silent);
    host.until(1_000);
    let known = |host: &Host| host.agent.report().and_then(|report| report.primary_position);
    let position = |offset| {
        let position = Position { history: "a".repeat(40).parse().unwrap(), offset: Offset(offset) };
        SeenPosition { position, seen_ms_ago: 300 }
    };
    let tells = |of: u8, position| Ask::Heartbeat { from: name(of), position };
    host.happens(Event::Asked { token: Token(1), ask: tells(1, Some(position(5))) });
    host.happens(Event::Asked { token: Token(1), ask: tells(0, None) });
    assert_eq!(known(&host), None);
    host.happens(Event::Asked { token: Token(1), ask: tells(0, Some(position(1_700))) });
    host.happens(Event::Asked { token: Token(1), ask: tells(1, Some(position(9_000))) });
    assert_eq!(known(&host), Some(position(1_700)));
    host.until(3_000);
    assert_eq!(known(&host), Some(SeenPosition { seen_ms_ago: 2_300, ..position(1_700) }));
    // A primary says so of its own.
    let mut host = Host::new(0, well);
    host.until(2_000);
    let told = host.log.iter().rev().find_map(|(_, command)| match command {
        Command::Tell { ask: Ask::Heartbeat { position, .. }, .. } => Some(*position),
        _ => None,
    });
    let own = view(0).replication.position();
    assert!(told.flatten().is_some_and(|told| told.position == own && told.seen_ms_ago <= 1_100), "{told:?}");
}

/// A replica says so within a second, and asks the others and the primary itself.
#[test]
fn a_replica_that_does_not_hear_its_primary_says_so() {
    let mut host = Host::new(3, silent);
    let heartbeat =
        || Event::Asked { token: Token(1), ask: Ask::Heartbeat { from: name(0), position: None } };
    for at in (200..=5_000).step_by(200) {
        host.until(at);
        host.happens(heartbeat());
    }
    assert_eq!(host.waiting(), None);
    host.until(5_590);
    assert_eq!(host.waiting(), None);
    host.until(5_610);
    assert_eq!(host.waiting(), Some(Waiting::PrimaryUnheard { instance: name(0) }));
    host.until(6_690);
    let asked = |host: &Host| -> Vec<InstanceName> {
        let ask = |command: &Command| match command {
            Command::Tell { to, ask: Ask::ConfirmDown { primary }, .. } if *primary == name(0) => {
                Some(to.clone())
            }
            _ => None,
        };
        host.log.iter().filter_map(|(_, command)| ask(command)).collect()
    };
    assert_eq!(asked(&host), []);
    host.until(6_710);
    assert_eq!(asked(&host), [name(0), name(1), name(2)]);
    // It is heard again: nothing more is asked.
    host.happens(heartbeat());
    assert_eq!(host.waiting(), None);
    host.until(7_200);
    assert_eq!(asked(&host).len(), 3);
}

/// A flag in the file would be taken for one of now, and that of a primary stays for twice `cluster-node-timeout`.
#[test]
fn what_was_held_for_failed_in_the_last_run_is_not_in_the_next() {
    let founded = nodes_conf::founding(&order(0));
    assert_eq!(nodes_conf::readdressed(&founded, &order(0)), None);
    let mut conf = founded.clone();
    for (index, line) in conf.nodes.iter_mut().filter(|line| line.id != id(0)).enumerate() {
        (line.flags.fail, line.flags.pfail) = (index % 2 == 0, index % 2 == 1);
    }
    assert_eq!(nodes_conf::readdressed(&conf, &order(0)), Some(founded));
    // Nor where a member has moved.
    let mut moved = order(0);
    Arc::make_mut(&mut moved.members).get_mut(&name(1)).expect("a member").address = Some(address(11));
    let today = nodes_conf::readdressed(&conf, &moved).expect("another address");
    assert!(today.nodes.iter().all(|line| !line.flags.fail && !line.flags.pfail));
    assert_eq!(nodes_conf::readdressed(&today, &moved), None);
}

/// What is known of a server at rest is up to a second old. A replica without a data directory is restarted, but not one that was elected
/// since: what it has taken as the primary nobody else has.
#[test]
fn a_wiped_replica_is_asked_what_it_is_before_it_is_stopped() {
    let stopped = |elected: bool| {
        let mut host = Host::new(3, well);
        host.until(4_500);
        host.elected = elected;
        let wiped = Disk {
            owner: Owner::Nobody,
            nodes_conf: NodesFile::Missing,
            files: DataFiles::default(),
            record: None,
            beside: None,
        };
        host.happens(Event::Inspected(Ok(Box::new(wiped))));
        host.until(4_600);
        host.log.iter().any(|(_, command)| matches!(command, Command::Terminate(_)))
    };
    assert!(stopped(false) && !stopped(true));
}

/// What a promotion instead of a lost primary rests on ends: an order that arrives late may find that primary with a lease again.
#[test]
fn an_order_to_promote_that_was_long_on_its_way_is_refused() {
    for (late_ms, taken) in [(100, true), (1_000, false)] {
        let mut host = Host::new(3, well);
        host.until(3_000);
        let look = host.happens(Event::Asked { token: Token(1), ask: Ask::Replication });
        assert!(look.iter().any(|command| matches!(command, Command::Serve { .. })));
        let looked_at = host.log.iter().find_map(|(_, command)| match command {
            Command::Answer { token: Token(1), result: Ok(Answer::Replication { standing, .. }) } => {
                standing.as_ref()?.looked_at
            }
            _ => None,
        });
        host.until(3_000 + late_ms);
        let looked_at = Some(looked_at.unwrap_or(Millis(3_000)));
        let ask =
            Ask::Force { incarnation: Incarnation(1), replaces: Some(id(0)), after: Death::Ended, looked_at };
        host.happens(Event::Asked { token: Token(2), ask });
        let forced = host.log.iter().any(|(_, command)| {
            matches!(command, Command::Serve { command: ServerCommand::FailoverForce { .. }, .. })
        });
        assert_eq!(forced, taken, "{late_ms} ms late");
    }
}
