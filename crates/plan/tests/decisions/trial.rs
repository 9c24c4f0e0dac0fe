//! A configuration that the server program refuses ends no server, and keeps none down that ran before.

use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    Answer, Ask, AskFailed, ClusterSpec, Incarnation, InvalidDirective, Layout, Link, Millis, Offset, Part,
    PasswordFault, Replication, ReplicationId, ServerView, TopologyNode, Trial, UpdateSpec, ZoneName,
};
use valkeeper_plan::agent::{About, Agent, Command, Event, ExitCause, Reply, ServerCommand, Token};
use valkeeper_plan::controller::{self, Controller, orders};
use valkeeper_plan::failover::copy::DataFiles;
use valkeeper_plan::failover::restart_decision::{Disk, NodesFile, Owner};
use valkeeper_plan::mode::cluster::nodes_conf;
use valkeeper_plan::operations::roll;
use valkeeper_plan::placement::{Ids, found};
use valkeeper_plan::view::health;

struct Counted(u8);

impl Ids for Counted {
    fn draw(&mut self) -> [u8; 20] {
        self.0 += 1;
        [self.0; 20]
    }
}

fn layout(databases: &str) -> Layout {
    let mut spec = ClusterSpec::new("c".parse().expect("a name"));
    spec.directives.insert("databases".to_owned(), databases.to_owned());
    spec.replicas_per_shard = 1;
    let zones: Vec<ZoneName> = ["a", "b", "c"].iter().map(|zone| zone.parse().expect("a name")).collect();
    found(&spec, &zones, &mut Counted(0)).expect("a layout")
}

/// The agent of the first replica, and its server.
struct Host {
    agent: Agent,
    now: u64,
    run: u64,
    said: Vec<Command>,
}

impl Host {
    fn ordered(layout: &Layout) -> Self {
        let name = layout.instances.keys().nth(3).expect("a replica").clone();
        let mut host = Self { agent: Agent::new(name, None, Millis(0)), now: 0, run: 0, said: Vec::new() };
        host.order(layout);
        host
    }

    fn order(&mut self, layout: &Layout) {
        let addresses = layout.instances.keys().zip(1..).map(|(name, last)| {
            let ip = [10, 0, 0, last].into();
            (name.clone(), valkeeper_model::Address { ip, port: 6379, bus_port: 16_379 })
        });
        let addresses: BTreeMap<_, _> = addresses.collect();
        let members = orders::members(layout, &addresses).expect("founders have a place");
        let addresses_hash = orders::addresses_hash(layout, &addresses);
        let name = layout.instances.keys().nth(3).expect("a replica");
        let order = orders::order(layout, &members, None, addresses_hash, name).expect("a member");
        self.handle(Event::Order(Box::new(order)));
    }

    fn handle(&mut self, event: Event) {
        self.now += 5_000;
        self.said = self.agent.handle(Millis(self.now), event);
        // A record of the copy is written at once.
        while let Some(n) = self.said.iter().position(|one| matches!(one, Command::Keep(_))) {
            let Command::Keep(record) = self.said.remove(n) else { continue };
            let kept = Event::Kept { sequence: record.sequence, result: Ok(()) };
            let more = self.agent.handle(Millis(self.now), kept);
            self.said.extend(more);
        }
    }

    /// The server is looked at, and shows this.
    fn looks(&mut self, change: impl FnOnce(&mut ServerView)) {
        let look = |said: &[Command]| {
            said.iter().find_map(|command| match command {
                Command::Serve { token, command: ServerCommand::Look(_), .. } => Some(*token),
                _ => None,
            })
        };
        let mut token = look(&self.said);
        while token.is_none() {
            self.handle(Event::Tick);
            token = look(&self.said);
        }
        let conf = nodes_conf::founding(&self.order_now());
        let nodes = conf.nodes.iter().map(|line| {
            let role = line.flags.role.expect("a role");
            let node = TopologyNode {
                role,
                primary: line.primary,
                slots: line.slots.clone(),
                config_epoch: line.config_epoch,
                address: line.address.clone(),
            };
            (line.id, node)
        });
        let me = conf.myself().expect("its own line").id;
        let part = Part::Replica { link: Link::Up };
        let replication = Replication { part, replid: ReplicationId::from_bytes([9; 20]), offset: Offset(1) };
        let mut view = ServerView::well(me, "9.1.2", replication, Arc::new(nodes.collect()));
        change(&mut view);
        let result = Ok(Reply::View(Box::new(view)));
        self.handle(Event::Served { token: token.expect("a look"), result });
    }

    fn order_now(&self) -> valkeeper_model::AgentOrder {
        self.agent.current_order().expect("an order").clone()
    }

    /// Starts it, and tells with how many databases.
    fn starts(&mut self, owner: Owner) -> String {
        self.starts_with(owner, "databases")
    }

    /// Starts it, and tells with what value of this directive.
    fn starts_with(&mut self, owner: Owner, directive: &str) -> String {
        let conf = nodes_conf::founding(&self.order_now());
        let nodes_conf = match owner {
            Owner::Ours => NodesFile::Intact(conf),
            _ => NodesFile::Missing,
        };
        let disk = Disk { owner, nodes_conf, files: DataFiles::default(), record: None, beside: None };
        while !self.said.contains(&Command::Inspect) {
            self.handle(Event::Tick);
        }
        self.handle(Event::Inspected(Ok(Box::new(disk))));
        // What its siblings know is asked first, and nobody is there yet.
        while !self.said.iter().any(|command| matches!(command, Command::Start(_))) {
            self.handle(Event::Tick);
        }
        let plan = self.said.iter().find_map(|command| match command {
            Command::Start(plan) => Some(plan.clone()),
            _ => None,
        });
        self.run += 1;
        self.handle(Event::Started { incarnation: Incarnation(self.run), pid: None });
        let config = plan.expect("a start").config;
        config.into_iter().find(|(name, _)| name == directive).expect("it is set").1
    }

    fn ends(&mut self) {
        let how = "exit code 1".to_owned();
        let cause = ExitCause::Other;
        self.handle(Event::Exited { incarnation: Incarnation(self.run), how, cause });
    }

    fn tried(&mut self, about: About, trial: Trial) {
        let config = Box::new(self.order_now().config);
        self.handle(Event::Tried { about, config, trial });
    }

    fn tries(&self, about: About) -> bool {
        self.said.iter().any(|one| matches!(one, Command::Try { about: for_, .. } if *for_ == about))
    }

    fn answer(&self) -> Option<&Result<Answer, AskFailed>> {
        self.said.iter().find_map(|command| match command {
            Command::Answer { result, .. } => Some(result),
            _ => None,
        })
    }

    fn stops(&self) -> bool {
        self.said.iter().any(|one| matches!(one, Command::Terminate(_) | Command::Kill(_)))
    }

    fn view(&self) -> ServerView {
        self.agent.report().expect("an order").view().expect("a view").clone()
    }
}

fn refuses() -> Trial {
    let why = "argument must be between 1 and 2147483647 inclusive".to_owned();
    Trial::Refuses { directives: vec![InvalidDirective { name: Some("databases".to_owned()), why }] }
}

/// Runs with 16 databases, is ordered to have 0, and has said that it cannot change that while it runs.
fn misordered() -> Host {
    let mut host = Host::ordered(&layout("16"));
    assert_eq!(host.starts(Owner::Nobody), "16");
    host.looks(|_| ());
    assert!(host.said.iter().any(|one| matches!(one, Command::KeepWorkingConfig(_))), "{:?}", host.said);
    let mut wrong = layout("0");
    wrong.generation = wrong.generation.next();
    host.order(&wrong);
    host.looks(|view| view.config_refused = vec!["databases".to_owned()]);
    host
}

#[test]
fn no_restart_is_advised_for_what_the_program_refuses() {
    let mut host = misordered();
    assert!(host.tries(About::Order), "{:?}", host.said);
    assert_eq!(host.view().config_refused, Vec::<String>::new(), "advised before it was tried");
    host.tried(About::Order, refuses());
    host.looks(|view| view.config_refused = vec!["databases".to_owned()]);
    let view = host.view();
    assert!(view.config_refused.is_empty() && view.config_drift.is_empty(), "{view:?}");
    assert_eq!(view.config_invalid.len(), 1);
    // What the program takes needs the restart that is advised.
    let mut host = misordered();
    host.tried(About::Order, Trial::Starts);
    host.looks(|view| view.config_refused = vec!["databases".to_owned()]);
    assert_eq!(host.view().config_refused, ["databases"]);
}

#[test]
fn a_restart_that_would_end_it_for_good_is_refused() {
    let mut host = misordered();
    let ask = |host: &mut Host| host.handle(Event::Asked { token: Token(7), ask: Ask::Restart });
    ask(&mut host);
    assert!(host.tries(About::Restart) && !host.stops(), "{:?}", host.said);
    host.tried(About::Restart, refuses());
    assert!(matches!(host.answer(), Some(Err(AskFailed::ConfigInvalid { .. }))), "{:?}", host.said);
    assert!(!host.stops());
    // Likewise without a password to start with.
    host.handle(Event::Password(Some(PasswordFault::Empty)));
    ask(&mut host);
    host.tried(About::Restart, Trial::Starts);
    assert_eq!(host.answer(), Some(&Err(AskFailed::PasswordUnusable(PasswordFault::Empty))));
    host.handle(Event::Password(None));
    ask(&mut host);
    host.tried(About::Restart, Trial::Starts);
    assert!(host.stops() && host.answer().is_none(), "{:?}", host.said);
}

#[test]
fn a_server_that_dies_before_its_turn_comes_back_as_it_was() {
    let wanted = || {
        let mut wanted = layout("4");
        wanted.config.max_memory = Some(64 << 20);
        wanted.generation = wanted.generation.next();
        wanted
    };
    // In a roll in which its turn has not come; what it takes while it runs, it has taken.
    let awaiting = |unset: &[&str]| {
        let mut host = Host::ordered(&layout("16"));
        host.starts(Owner::Nobody);
        host.looks(|_| ());
        let mut rolling = wanted();
        roll::begin(&layout("16"), &mut rolling, &UpdateSpec::default(), None);
        // Of a founded cluster only.
        assert!(rolling.roll().is_none());
        roll::begin(&layout("16").founded(), &mut rolling, &UpdateSpec::default(), None);
        host.order(&rolling);
        host.looks(|view| view.config_refused = unset.iter().map(|&name| name.to_owned()).collect());
        host
    };
    let mut host = awaiting(&["databases"]);
    host.ends();
    assert_eq!(host.starts(Owner::Ours), "16");
    // A lower limit of before would evict what was written since.
    let mut host = awaiting(&["databases"]);
    host.ends();
    assert_eq!(host.starts_with(Owner::Ours, "maxmemory"), (64 << 20).to_string());
    // Its turn has come.
    let mut host = awaiting(&["databases"]);
    host.order(&Layout { generation: wanted().generation.next(), ..wanted() });
    host.ends();
    assert_eq!(host.starts(Owner::Ours), "4");
}

#[test]
fn a_server_that_dies_starts_with_what_worked() {
    let mut host = misordered();
    host.tried(About::Order, refuses());
    host.ends();
    assert_eq!(host.starts(Owner::Ours), "16");
    // One whose agent does not know yet finds out when the first start fails.
    let mut host = misordered();
    host.ends();
    assert_eq!(host.starts(Owner::Ours), "0");
    host.ends();
    host.tried(About::Order, refuses());
    assert_eq!(host.starts(Owner::Ours), "16");
}

/// The first view of a controller that looks at such a server.
#[test]
fn what_is_not_valid_is_told_instead_of_a_restart() {
    let (mut host, wrong) = (misordered(), layout("0"));
    host.tried(About::Order, refuses());
    host.looks(|view| view.config_refused = vec!["databases".to_owned(), "tcp-backlog".to_owned()]);
    let report = host.agent.report().expect("an order");
    let name = wrong.instances.keys().nth(3).expect("a replica").clone();
    let instances = BTreeMap::from([(name, valkeeper_model::Observed::Known(report))]);
    let observation =
        valkeeper_model::Observation { at: Millis(1), instances, ..valkeeper_model::Observation::default() };
    let judged = health::judge(&valkeeper_plan::view::cluster_view::ClusterView::new(&wrong, &observation));
    let told: Vec<String> = judged.waiting.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|reason| reason.contains("between 1 and")), "{told:?}");
    assert!(!told.iter().any(|reason| reason.contains("restart")), "{told:?}");
}

#[test]
fn a_spec_is_followed_when_its_configuration_has_been_tried() {
    let ids = || Box::new(Counted(0));
    let stored = layout("16");
    let mut spec = ClusterSpec::new("c".parse().expect("a name"));
    spec.replicas_per_shard = 1;
    spec.directives.insert("databases".to_owned(), "16".to_owned());
    let mut controller = Controller::new(spec.clone(), Vec::new(), ids());
    let host = Host::ordered(&stored);
    let report = host.agent.report().expect("an order");
    let name = stored.instances.keys().nth(3).expect("a replica").clone();
    let instances = BTreeMap::from([(name, valkeeper_model::Observed::Known(report))]);
    let seen =
        valkeeper_model::Observation { at: Millis(1), instances, ..valkeeper_model::Observation::default() };
    controller.handle(Millis(0), controller::Event::Tick);
    controller.handle(Millis(0), controller::Event::Loaded(Ok(Some(Box::new(stored)))));
    controller.handle(Millis(0), controller::Event::Provisioned(Ok(BTreeMap::new())));
    controller.handle(Millis(1), controller::Event::Observed(seen.clone()));
    let asks = |controller: &mut Controller, spec: &ClusterSpec| {
        let request = valkeeper_model::Request::Apply { spec: Box::new(spec.clone()) };
        let mut said = controller.handle(Millis(2), controller::Event::Asked { token: Token(1), request });
        said.extend(controller.handle(Millis(2), controller::Event::Observed(seen.clone())));
        said
    };
    let told = |said: &[controller::Command]| {
        said.iter().find_map(|command| match command {
            controller::Command::Tell { token, ask: Ask::Try { config, .. }, .. } => {
                Some((*token, config.directives["databases"].clone()))
            }
            _ => None,
        })
    };
    let commits = |said: &[controller::Command]| {
        said.iter().any(|command| matches!(command, controller::Command::Commit { .. }))
    };
    for (databases, trial, stored) in [("0", refuses(), false), ("32", Trial::Starts, true)] {
        spec.directives.insert("databases".to_owned(), databases.to_owned());
        let said = asks(&mut controller, &spec);
        let (token, tried) = told(&said).expect("it is tried");
        assert!(tried == databases && !commits(&said), "stored before it was tried: {said:?}");
        let result = Ok(Answer::Tried(trial));
        let mut said = controller.handle(Millis(3), controller::Event::Told { token, result });
        let refused =
            said.iter().any(|one| matches!(one, controller::Command::Answer { result: Err(_), .. }));
        said.extend(controller.handle(Millis(4), controller::Event::Observed(seen.clone())));
        assert_eq!((commits(&said), refused), (stored, !stored), "{said:?}");
    }
}
