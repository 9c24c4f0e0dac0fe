//! What an agent makes of a server that does not tell: what it keeps of what it saw, and when silence is the end.

use crate::fleet::{self, id, name};
use std::sync::Arc;
use valkeeper_model::{
    Activity, Address, AgentOrder, AgentReport, Answer, AofRecord, Ask, AttachedReplica, CopyRecord, Death,
    Epoch, Generation, Happened, Incarnation, Link, LookRefused, Member, Millis, Observed, Offset, Part,
    Persistence, Position, ReplicaStanding, Replication, ReplicationId, Role, ServerConfig, ServerView,
    ShardId, ShardName, SlotSet, TopologyNode, Unseen,
};
use valkeeper_plan::agent::{Agent, Command, Event, ExitCause, Reply, ServerCommand, ServerError, Token};
use valkeeper_plan::failover::copy::{AofFiles, DataFiles};
use valkeeper_plan::failover::restart_decision::{Disk, NodesFile, Owner};

const LIMIT_MS: u64 = 5_000;

/// c-0 is the only shard's primary, c-1 its replica.
fn order(to: u8) -> AgentOrder {
    let member = |n: u8| Member {
        shard: ShardName::nth(0),
        shard_id: ShardId::from_bytes([1; 20]),
        node_id: id(n),
        address: Some(Address { ip: [127, 0, 0, 1].into(), port: 7_000 + u16::from(n), bus_port: 17_000 }),
        founding_slots: if n == 0 { SlotSet::all() } else { SlotSet::empty() },
        founder: id(0),
        seat: valkeeper_model::ShardSeat::Held,
    };
    let of_three = fleet::order(to);
    AgentOrder {
        generation: Generation(1),
        config: ServerConfig {
            unresponsive_after_ms: LIMIT_MS,
            persistence: Persistence::None,
            ..of_three.config
        },
        members: Arc::new((0..2).map(|n| (name(n), member(n))).collect()),
        ..of_three
    }
}

fn view(of: u8) -> ServerView {
    let node = |n: u8| TopologyNode {
        role: if n == 0 { Role::Primary } else { Role::Replica },
        primary: (n > 0).then(|| id(0)),
        slots: if n == 0 { SlotSet::all() } else { SlotSet::empty() },
        config_epoch: Epoch(1),
        address: None,
    };
    let part =
        if of == 0 { Part::Primary { replicas: Vec::new() } } else { Part::Replica { link: Link::Up } };
    let replication = Replication { part, replid: ReplicationId::from_bytes([9; 20]), offset: Offset(1) };
    let topology = Arc::new((0..2).map(|n| (id(n), node(n))).collect());
    ServerView::well(id(of), "9.1.2", replication, topology)
}

/// An agent whose server answers at once, or as it is told to.
struct Watched {
    agent: Agent,
    me: u8,
    now: u64,
    /// What looks get instead of an answer.
    refusal: Option<ServerError>,
    /// c-1 is a primary too, and its agent reports this of it.
    second: Option<(Observed<ServerView>, Activity)>,
    /// Its server shows c-1 as an online replica by now.
    attached: bool,
    /// Directives in which its server differs from what it was compared with.
    drift: Vec<String>,
    log: Vec<Command>,
}

impl Watched {
    fn new(me: u8) -> Self {
        Self::differing(me, Vec::new())
    }

    fn differing(me: u8, drift: Vec<String>) -> Self {
        let agent = Agent::new(name(me), Some((Incarnation(1), None)), Millis(0));
        let (refusal, second, attached, log) = (None, None, false, Vec::new());
        let mut watched = Self { agent, me, now: 0, refusal, second, attached, drift, log };
        watched.happens(Event::Order(Box::new(order(me))));
        watched
    }

    fn happens(&mut self, event: Event) {
        for command in self.agent.handle(Millis(self.now), event) {
            self.log.push(command.clone());
            match command {
                Command::Serve { token, command, .. } => {
                    let result = self.serve(&command);
                    self.happens(Event::Served { token, result });
                }
                Command::Tell { token, ask: Ask::Report { fresh: false }, .. } => {
                    if let (Some((server, activity)), Some(own)) = (&self.second, self.agent.report()) {
                        let (server, activity) = (server.clone(), activity.clone());
                        let report = AgentReport { server, activity, look_refused: None, ..own };
                        let result = Ok(Answer::Report(Box::new(report)));
                        self.happens(Event::Told { token, result });
                    }
                }
                _ => {}
            }
        }
    }

    fn serve(&self, command: &ServerCommand) -> Result<Reply, ServerError> {
        match (command, &self.refusal) {
            (_, Some(error)) => Err(error.clone()),
            (ServerCommand::Look(_), None) => {
                let mut view = view(self.me);
                view.config_drift.clone_from(&self.drift);
                if self.second.is_some() {
                    let halves = [SlotSet::part(0, 2), SlotSet::part(1, 2)];
                    for (n, slots) in (0..).zip(halves) {
                        let node = Arc::make_mut(&mut view.topology).get_mut(&id(n)).expect("a member");
                        (node.role, node.primary, node.slots) = (Role::Primary, None, slots);
                    }
                }
                Ok(Reply::View(Box::new(view)))
            }
            (ServerCommand::Replication, None) => {
                let mut replication = view(self.me).replication;
                if let Part::Primary { replicas } = &mut replication.part
                    && self.attached
                {
                    let address = ([127, 0, 0, 1], 7_001).into();
                    replicas.push(AttachedReplica { address, online: true, acknowledged: Offset(1) });
                }
                Ok(Reply::Replication(replication))
            }
            (_, None) => Ok(Reply::Done),
        }
    }

    fn until(&mut self, end: u64) {
        // A silent server keeps a look waiting; here it takes no time, so that ticks are kept apart.
        while let Some(at) = self.agent.wake_at()
            && at.0.max(self.now + 100) <= end
        {
            self.now = at.0.max(self.now + 100);
            self.happens(Event::Tick);
        }
        self.now = end;
    }

    /// The agent of c-1 answers about its replica, which had everything when its link was lost.
    fn finds_its_replica_caught_up(&mut self) {
        let look = self.log.iter().rev().find_map(|command| match command {
            Command::Tell { token, ask: Ask::Replication, .. } => Some(*token),
            _ => None,
        });
        let mut replication = view(1).replication;
        replication.part = Part::Replica { link: Link::Lost };
        let standing = Some(ReplicaStanding {
            follows: Some(id(0)),
            caught_up: true,
            persistence_incomplete: false,
            sequence: None,
            promotion_asked_ms: None,
            looked_at: None,
        });
        let seen = Answer::Replication { incarnation: Incarnation(4), replication, standing };
        self.now += 50;
        self.happens(Event::Told { token: look.expect("its replica is looked at"), result: Ok(seen) });
    }

    fn killed(&self) -> bool {
        self.log.iter().any(|command| matches!(command, Command::Kill(_)))
    }

    fn server(&self) -> (Observed<ServerView>, Option<LookRefused>) {
        let report = self.agent.report().expect("a report");
        (report.server, report.look_refused)
    }
}

#[test]
fn what_was_seen_last_is_not_kept_for_ever() {
    let right = LookRefused::RightMissing { command: "info".to_owned() };
    let cases = [
        (ServerError::Busy, Unseen::Timeout, LookRefused::Busy),
        (ServerError::HeldBack, Unseen::Timeout, LookRefused::HeldBack),
        (ServerError::RightMissing("info".to_owned()), Unseen::Garbled, right),
        (
            ServerError::Refused("ERR no".to_owned()),
            Unseen::Garbled,
            LookRefused::Other { said: "ERR no".to_owned() },
        ),
    ];
    for (error, unseen, refused) in cases {
        let mut watched = Watched::new(0);
        watched.until(3_000);
        assert!(matches!(watched.server(), (Observed::Known(_), None)));
        watched.refusal = Some(error);
        // Told with the next look, while what it was still counts; a pause only when it lasts.
        watched.until(4_000);
        let told = (refused != LookRefused::HeldBack).then(|| refused.clone());
        assert!(matches!(watched.server(), (Observed::Known(_), now) if now == told));
        watched.until(6_000);
        assert_eq!(watched.server(), (Observed::Unknown(unseen), Some(refused)));
        // It lives, however long that lasts.
        watched.until(120_000);
        assert!(!watched.killed());
        watched.refusal = None;
        watched.until(121_000);
        assert!(matches!(watched.server(), (Observed::Known(_), None)));
    }
}

/// What silences one primary may silence all: they are not killed in one moment.
#[test]
fn primaries_that_are_silent_together_are_killed_one_after_the_other() {
    let silent = || Observed::Unknown(Unseen::Timeout);
    // Of c-1's report: what its server is, what its agent does, and how long c-0 waits after its own limit.
    let cases = [
        (Observed::Known(view(0)), Activity::Watching, 0),
        (silent(), Activity::Watching, 0),
        (silent(), Activity::FailingOver, LIMIT_MS),
    ];
    for (server, activity, waits) in cases {
        let mut watched = Watched::new(0);
        watched.second = Some((server, activity.clone()));
        watched.until(1_000);
        watched.refusal = Some(ServerError::Silent(Unseen::Timeout));
        let limit = 1_000 + LIMIT_MS;
        watched.until(limit + waits - 1_100);
        assert!(!watched.killed(), "{activity:?}: too soon");
        watched.until(limit + waits + 1_500);
        assert!(watched.killed(), "{activity:?}: not at all");
    }
}

#[test]
fn an_order_that_is_refused_says_nothing_of_what_the_server_is() {
    let mut watched = Watched::new(1);
    watched.until(3_000);
    let asked =
        Event::Asked { token: Token(900), ask: Ask::Follow { primary: id(0), incarnation: Incarnation(1) } };
    watched.refusal = Some(ServerError::RightMissing("cluster|replicate".to_owned()));
    watched.happens(asked);
    watched.refusal = None;
    assert!(matches!(watched.server(), (Observed::Known(_), None)));
}

#[test]
fn the_successor_of_a_primary_that_was_killed_for_silence_is_given_more_time() {
    let silent = || Some(ServerError::Silent(Unseen::Timeout));
    for (after, spared) in [(Death::Ended, false), (Death::KilledForSilence, true)] {
        let mut watched = Watched::new(1);
        watched.until(1_000);
        let force = Ask::Force { incarnation: Incarnation(1), replaces: None, after, looked_at: None };
        watched.happens(Event::Asked { token: Token(900), ask: force });
        watched.refusal = silent();
        watched.until(1_000 + 2 * LIMIT_MS);
        assert_eq!(!watched.killed(), spared, "{after:?}");
        watched.until(60_000);
        assert!(watched.killed(), "{after:?}");
    }
}

/// And it is told so, by the agent that killed the primary.
#[test]
fn a_successor_is_told_how_its_primary_ended() {
    let mut watched = Watched::new(0);
    watched.until(1_000);
    watched.refusal = Some(ServerError::Silent(Unseen::Timeout));
    watched.until(20_000);
    assert!(watched.killed());
    let told = |command: &Command| matches!(command, Command::Record(Happened::Unresponsive { .. }));
    assert_eq!(watched.log.iter().filter(|command| told(command)).count(), 1);
    let how = "killed".to_owned();
    watched.happens(Event::Exited { incarnation: Incarnation(1), how, cause: ExitCause::Other });
    watched.happens(Event::Inspected(Ok(Box::new(Disk {
        owner: Owner::Ours,
        nodes_conf: NodesFile::Missing,
        files: DataFiles::default(),
        record: None,
        beside: None,
    }))));
    watched.finds_its_replica_caught_up();
    let asked = |command: &Command| match command {
        Command::Tell { ask: Ask::Force { after, .. }, .. } => Some(*after),
        _ => None,
    };
    assert_eq!(watched.log.iter().find_map(asked), Some(Death::KilledForSilence));
}

/// The replica connected after its primary's last look, and was told so: it is not passed over when that primary dies before its next.
#[test]
fn a_replica_that_connected_after_the_last_look_is_in_sync() {
    for shows_it in [false, true] {
        let mut watched = Watched::new(0);
        let mut order = order(0);
        order.generation = Generation(2);
        order.config.persistence = Persistence::Aof;
        watched.happens(Event::Order(Box::new(order)));
        watched.until(3_000);
        watched.attached = shows_it;
        watched.happens(Event::Asked { token: Token(900), ask: Ask::Replication });
        let how = "killed".to_owned();
        watched.happens(Event::Exited { incarnation: Incarnation(1), how, cause: ExitCause::Other });
        let at = Position { history: ReplicationId::from_bytes([9; 20]), offset: Offset(1) };
        let aof = AofRecord { complete: true, position: Some(at), ..AofRecord::default() };
        let record =
            CopyRecord { sequence: 7, role: Role::Primary, histories: vec![at], aof, ..CopyRecord::first() };
        watched.happens(Event::Inspected(Ok(Box::new(Disk {
            owner: Owner::Ours,
            nodes_conf: NodesFile::Missing,
            files: DataFiles { aof: AofFiles::Whole, ..DataFiles::default() },
            record: Some(record),
            beside: Some(7),
        }))));
        watched.finds_its_replica_caught_up();
        let forced = |command: &Command| matches!(command, Command::Tell { ask: Ask::Force { .. }, .. });
        assert_eq!(watched.log.iter().any(forced), shows_it);
    }
}

/// At its first look an agent does not know yet that its server is a replica. The engine could elect it from the moment in which the
/// directive is set, although it has not caught up (law 13).
#[test]
fn a_replica_is_barred_from_elections_from_its_first_look_on() {
    let directive = "cluster-replica-no-failover".to_owned();
    for (me, wanted) in [(0, "no"), (1, "yes")] {
        let watched = Watched::differing(me, vec![directive.clone()]);
        let set = watched.log.iter().find_map(|command| match command {
            Command::Serve { command: ServerCommand::Configure(set), .. } => Some(set.clone()),
            _ => None,
        });
        assert_eq!(set, Some(vec![(directive.clone(), wanted.to_owned())]), "c-{me}");
    }
}

/// Two looks are under way, and the earlier one comes back last: what it shows is over.
#[test]
fn a_look_that_was_overtaken_shows_nothing() {
    let mut watched = Watched::new(1);
    watched.until(3_000);
    let mut looks = Vec::new();
    for token in [Token(900), Token(901)] {
        let commands = watched
            .agent
            .handle(Millis(watched.now), Event::Asked { token, ask: Ask::Report { fresh: true } });
        looks.extend(commands.iter().find_map(|command| match command {
            Command::Serve { token, command: ServerCommand::Look(_), .. } => Some(*token),
            _ => None,
        }));
    }
    let [earlier, later] = looks[..] else { panic!("two looks: {looks:?}") };
    let shown = |link| {
        let mut view = view(1);
        view.replication.part = Part::Replica { link };
        Ok(Reply::View(Box::new(view)))
    };
    watched.happens(Event::Served { token: later, result: shown(Link::Lost) });
    watched.happens(Event::Served { token: earlier, result: shown(Link::Up) });
    let link = watched.server().0.known().and_then(|view| view.replication.link());
    assert_eq!(link, Some(Link::Lost));
}
