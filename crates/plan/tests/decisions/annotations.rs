//! What the annotations of a cluster ask for: fences that are theirs, and hibernation.

use crate::ordered::{name, ordered, runs, spec, started};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::manifest::Annotated;
use valkeeper_model::{
    Activity, AgentOrder, AgentReport, ClusterSpec, FenceRefusal, FencedBy, FencedInstances, Generation,
    Happened, Hibernation, HibernationRefusal, HibernationStage, HibernationWish, InstanceLife, InstanceName,
    Layout, Millis, Observation, Observed, OperationName, Persistence, Phase, Process, Refusal, Report,
    Request, ShardName, Unseen, Waiting,
};
use valkeeper_plan::agent::Token;
use valkeeper_plan::controller::annotations::{Asks, asks};
use valkeeper_plan::controller::{Command, Controller, Event};

type Reports = BTreeMap<InstanceName, Observed<AgentReport>>;

/// A founded cluster of three shards with a replica each (`c-3` is that of `c-0`), and what its agents report.
struct Case {
    controller: Controller,
    reports: Reports,
    at: u64,
}

/// What a request has come to.
#[derive(Debug)]
struct Outcome {
    stored: Option<Layout>,
    answer: Option<Result<(), Refusal>>,
    happened: Vec<String>,
}

impl Case {
    fn new() -> Self {
        Self::changed(|_| ())
    }

    fn changed(change: impl FnOnce(&mut Layout)) -> Self {
        let (founder, given) = ordered(3, |_| ());
        let mut layout = founder.layout().expect("a layout").clone().founded();
        change(&mut layout);
        Self::stored(layout, &given)
    }

    /// A controller that is started on a stored layout.
    fn stored(layout: Layout, given: &BTreeMap<InstanceName, AgentOrder>) -> Self {
        let (controller, _) = started(spec(3), layout, given);
        let known = |(name, order): (&InstanceName, &AgentOrder)| (name.clone(), runs(order, |_| true));
        let mut case = Self { controller, reports: given.iter().map(known).collect(), at: 10 };
        case.obeyed();
        case.look();
        case
    }

    fn layout(&self) -> &Layout {
        self.controller.layout().expect("a layout")
    }

    fn report(&mut self, of: u32) -> &mut AgentReport {
        let Some(Observed::Known(report)) = self.reports.get_mut(&name(of)) else { panic!("a report") };
        report
    }

    /// All agents know of the layout.
    fn obeyed(&mut self) {
        let generation = self.layout().generation;
        for of in 0..6 {
            self.report(of).generation = generation;
        }
    }

    /// Their servers end.
    fn stop(&mut self, these: impl IntoIterator<Item = u32>) {
        for of in these {
            let report = self.report(of);
            (report.process, report.activity) = (Process::Down, Activity::Resting);
            report.server = Observed::Unknown(Unseen::NotRunning);
        }
    }

    /// Agents have stopped the servers of these, and everybody knows of the layout.
    fn stopped(&mut self, these: impl IntoIterator<Item = u32>) {
        self.obeyed();
        self.stop(these);
        self.look();
    }

    /// A look, and what is stored for it.
    fn look(&mut self) -> Vec<Command> {
        self.at += 1_000;
        let at = Millis(self.at);
        let mut commands = self.controller.handle(at, Event::Tick);
        let instances = self.reports.clone();
        let seen = Observation { at, instances, ..Observation::default() };
        commands.extend(self.controller.handle(at, Event::Observed(seen)));
        if commands.iter().any(|command| matches!(command, Command::Commit { .. })) {
            commands.extend(self.controller.handle(at, Event::Committed(Ok(()))));
        }
        if commands.iter().any(|command| matches!(command, Command::Provision(_))) {
            commands.extend(self.controller.handle(at, Event::Provisioned(Ok(BTreeMap::new()))));
        }
        commands
    }

    fn ask(&mut self, request: Request) -> Outcome {
        self.controller.handle(Millis(self.at), Event::Asked { token: Token(7), request });
        let commands = [self.look(), self.look(), self.look()].concat();
        let mut outcome = Outcome { stored: None, answer: None, happened: Vec::new() };
        for command in commands {
            match command {
                Command::Commit { layout, .. } => outcome.stored = Some(*layout),
                Command::Answer { result, .. } => outcome.answer = Some(result),
                Command::Record(happened) => outcome.happened.extend(Happened::type_name(&happened)),
                _ => {}
            }
        }
        outcome
    }

    fn follow(&mut self, annotated: &Annotated) -> Outcome {
        self.ask(Request::FollowAnnotations { annotated: annotated.clone() })
    }

    /// The step is taken, and names its event.
    fn follows(&mut self, annotated: &Annotated, event: &str) {
        let outcome = self.follow(annotated);
        assert_eq!(outcome.answer, Some(Ok(())), "{event}");
        assert!(outcome.happened.iter().any(|one| one == event), "{event}: {:?}", outcome.happened);
    }

    /// Nothing is done, for this reason.
    fn refuses(&mut self, annotated: &Annotated, why: impl Into<Refusal>) {
        let before = self.layout().clone();
        let outcome = self.follow(annotated);
        assert_eq!(outcome.answer, Some(Err(why.into())));
        assert_eq!(*self.layout(), before);
    }

    fn report_of_cluster(&mut self) -> Report {
        let told = self.look().into_iter().rev().find_map(|command| match command {
            Command::Publish(report) => Some(*report),
            _ => None,
        });
        told.expect("a report")
    }

    fn down(&self) -> Vec<u32> {
        (0..6).filter(|of| self.layout().instances[&name(*of)].is_fenced()).collect()
    }
}

fn named(of: impl IntoIterator<Item = u32>) -> Annotated {
    Annotated { fenced: FencedInstances::Named(of.into_iter().map(name).collect()), ..Annotated::default() }
}

fn all() -> Annotated {
    Annotated { fenced: FencedInstances::All, ..Annotated::default() }
}

fn hibernation(wish: HibernationWish) -> Annotated {
    Annotated { hibernation: wish, ..Annotated::default() }
}

fn fence(of: u32) -> Request {
    Request::Fence { instance: name(of), force: false }
}

#[test]
fn an_annotation_lifts_its_own_fences_only() {
    let mut case = Case::new();
    assert_eq!(case.ask(fence(4)).stored.map(|stored| stored.instances[&name(4)].is_fenced()), Some(true));
    case.stopped([4]);
    case.follows(&named([3]), "Fenced");
    case.stopped([3, 4]);
    assert_eq!(case.down(), [3, 4]);
    // Named as well: no order changes for it, and the fence of the command stays when it is named no more.
    let before = case.layout().generation;
    case.follows(&named([3, 4]), "Fenced");
    assert_eq!(case.layout().generation, before);
    let by = FencedBy::Annotation;
    let refused = case.ask(Request::Unfence { instance: name(3) }).answer;
    let fences = case.layout().instances[&name(3)].fences.clone();
    assert!(fences.has(&by));
    assert_eq!(refused, Some(Err(FenceRefusal::FencedByOthers { instance: name(3), by: fences }.into())));
    let restart = case.ask(Request::Restart { instance: name(3) }).answer;
    assert!(matches!(restart, Some(Err(Refusal::Fence(FenceRefusal::FencedByOthers { .. })))), "{restart:?}");
    case.follows(&named([]), "Unfenced");
    case.follows(&named([]), "Unfenced");
    assert_eq!(case.down(), [4]);
    assert_eq!(asks(case.layout(), &named([])), Ok(Asks::Nothing));
    assert!(
        case.ask(Request::Unfence { instance: name(4) }).answer == Some(Ok(())) && case.down().is_empty()
    );
}

#[test]
fn what_cannot_be_followed_as_a_whole_is_not_begun() {
    let mut case = Case::new();
    case.follows(&named([5]), "Fenced");
    case.stopped([5]);
    let unknown = FenceRefusal::UnknownInstances { instances: vec![name(9)] };
    case.refuses(&named([4, 9]), unknown);
    // Both of `s0`: also the one that could be fenced by itself is left.
    let shard = ShardName::nth(0);
    case.refuses(&named([0, 3]), FenceRefusal::NobodyLeft { shard: shard.clone() });
    // The same where the command keeps the other down.
    assert_eq!(case.ask(fence(3)).answer, None, "it is not down yet");
    case.stopped([3, 5]);
    case.refuses(&named([0]), FenceRefusal::NobodyLeft { shard });
    assert_eq!(case.down(), [3, 5]);
}

#[test]
fn laws_hold_for_an_annotation_as_for_the_command() {
    let mut case = Case::new();
    // A primary hands over, and is counted; another one waits for that.
    case.follows(&named([0, 1]), "Fenced");
    assert_eq!(case.down(), [0]);
    assert!(case.layout().ledger.contains_key(&name(0)));
    case.obeyed();
    case.refuses(&named([0, 1]), Refusal::MajorityAtRisk { alive: 1, of: 3 });
    // Replicas come first, so that no primary hands over to one that goes down next; and one that is refused keeps no other from it.
    let mut case = Case::new();
    case.follows(&named([0, 4]), "Fenced");
    assert_eq!(case.down(), [4]);
    case.stopped([4]);
    case.follows(&named([0, 1, 5]), "Unfenced");
    case.follows(&named([0, 1, 5]), "Fenced");
    assert_eq!(case.down(), [5], "c-4 is named no more");
}

#[test]
fn all_of_them_go_down_replicas_first_and_come_back() {
    let mut case = Case::new();
    for _ in 0..3 {
        case.follows(&all(), "Fenced");
    }
    assert_eq!(case.down(), [3, 4, 5]);
    case.obeyed();
    case.refuses(&all(), FenceRefusal::OthersRun { instance: name(0), others: vec![name(3)] });
    case.stopped([3, 4, 5]);
    for _ in 0..3 {
        case.follows(&all(), "Fenced");
    }
    assert_eq!(asks(case.layout(), &all()), Ok(Asks::Nothing));
    for _ in 0..6 {
        case.follows(&named([]), "Unfenced");
    }
    assert_eq!(case.down(), [0; 0]);
}

const ON: HibernationWish = HibernationWish::On;
const OFF: HibernationWish = HibernationWish::Off;

#[test]
fn a_cluster_is_stopped_replicas_first_and_its_pods_go_when_all_are_down() {
    let mut case = Case::new();
    let on = hibernation(ON);
    case.follows(&on, "Hibernating");
    assert_eq!((case.down(), case.layout().hibernation_stage()), (vec![3, 4, 5], HibernationStage::Stopping));
    // Down, but by an agent that does not know yet that it is to stay so: it may start in the next moment.
    case.stop([3, 4, 5]);
    case.refuses(&on, FenceRefusal::OthersRun { instance: name(0), others: vec![name(3)] });
    case.stopped([3, 5]);
    // A replica that does not answer may take over: its primary is not stopped, the others are.
    case.reports.insert(name(4), Observed::Unknown(Unseen::Timeout));
    case.follows(&on, "Hibernating");
    assert_eq!(case.down(), [0, 2, 3, 4, 5]);
    case.refuses(&on, FenceRefusal::OthersRun { instance: name(1), others: vec![name(4)] });
    case.reports.insert(name(4), case.reports[&name(3)].clone());
    case.follows(&on, "Hibernating");
    case.obeyed();
    case.stop([0, 1]);
    case.refuses(&on, HibernationRefusal::NotDown { instances: vec![name(2)] });
    assert_eq!(case.layout().hibernation_stage(), HibernationStage::Stopping);
    case.stopped([0, 1, 2]);
    let before = case.layout().generation;
    case.follows(&on, "Hibernated");
    assert_eq!(case.layout().hibernation_stage(), HibernationStage::Stopped);
    assert!(case.layout().generation > before, "nobody looks after pods within a generation");
    let report = case.report_of_cluster_without_agents();
    assert_eq!((report.phase, report.healthy, report.waiting), (Phase::Hibernated, false, Vec::new()));
    assert_eq!(case.follow(&on).answer, Some(Ok(())));

    case.follows(&hibernation(OFF), "Resuming");
    assert_eq!((case.down(), case.layout().hibernation_stage()), (vec![], HibernationStage::Awake));
    assert_eq!(asks(case.layout(), &hibernation(OFF)), Ok(Asks::Nothing));
}

impl Case {
    /// Its pods are gone.
    fn report_of_cluster_without_agents(&mut self) -> Report {
        self.reports.values_mut().for_each(|report| *report = Observed::Unknown(Unseen::NotAsked));
        let mut report = self.report_of_cluster();
        report.progress.clear();
        report
    }
}

/// Whoever looks after the cluster next, and whatever the annotation says by then.
#[test]
fn it_goes_on_or_turns_round_at_any_step() {
    let (_, given) = ordered(3, |_| ());
    let mut case = Case::new();
    case.follows(&hibernation(ON), "Hibernating");
    case.stopped([3, 4, 5]);
    let (middle, reports) = (case.layout().clone(), case.reports.clone());
    case.follows(&hibernation(OFF), "Resuming");
    assert_eq!(case.down(), [0; 0]);

    let mut another = Case::stored(middle, &given);
    another.reports = reports;
    another.look();
    another.follows(&hibernation(ON), "Hibernating");
    assert_eq!(another.down(), [0, 1, 2, 3, 4, 5]);
    // The layout was put together again from the volumes, which tell of fences only.
    let mut rebuilt = Case::changed(|layout| {
        for one in Arc::make_mut(&mut layout.instances).values_mut() {
            one.fences.set(FencedBy::Hibernation);
        }
    });
    rebuilt.follows(&hibernation(OFF), "Resuming");
    assert_eq!(rebuilt.down(), [0; 0]);
}

#[test]
fn what_is_under_way_is_brought_to_its_end_before() {
    let instances = || vec![name(3)];
    let life = |layout: &mut Layout, life: InstanceLife| {
        Arc::make_mut(&mut layout.instances).get_mut(&name(3)).expect("it").life = life;
    };
    Case::changed(|layout| life(layout, InstanceLife::Leaving))
        .refuses(&hibernation(ON), HibernationRefusal::ComesOrGoes { instances: instances() });
    Case::changed(|layout| layout.config.persistence = Persistence::None)
        .refuses(&hibernation(ON), HibernationRefusal::NothingKept);
    let operation = OperationName::only("moonwalk");
    let of_newer = serde_json::from_value(serde_json::json!({ "kind": "moonwalk" })).expect("an operation");
    Case::changed(|layout| _ = layout.operations.insert(operation.clone(), of_newer))
        .refuses(&hibernation(ON), HibernationRefusal::UnderWay { operation });
    // A primary that is handing over.
    let mut case = Case::new();
    assert_eq!(case.ask(fence(0)).answer, None);
    case.obeyed();
    case.refuses(&hibernation(ON), HibernationRefusal::Disturbed { instances: vec![name(0)] });
    // One that cannot save its data would be ended without.
    let mut case = Case::new();
    case.follows(&hibernation(ON), "Hibernating");
    case.stopped([3, 4, 5]);
    for of in 0..3 {
        let Observed::Known(view) = &mut case.report(of).server else { panic!("a view") };
        view.persistence_failing = true;
    }
    case.refuses(&hibernation(ON), HibernationRefusal::NotSaved { instance: name(0) });
}

#[test]
fn a_cluster_that_hibernates_is_not_changed() {
    let mut case = Case::new();
    case.follows(&hibernation(ON), "Hibernating");
    case.obeyed();
    let hibernates = || Some(Err(HibernationRefusal::Hibernates.into()));
    for request in [fence(1), Request::Unfence { instance: name(3) }, Request::Restart { instance: name(0) }]
    {
        assert_eq!(case.ask(request).answer, hibernates());
    }
    let more = Box::new(ClusterSpec { replicas_per_shard: 2, ..spec(3) });
    assert_eq!(case.ask(Request::Apply { spec: more }).answer, hibernates());
    assert_eq!(case.ask(Request::Apply { spec: Box::new(spec(3)) }).answer, Some(Ok(())));
    // Nothing is mended of it, and nobody is alarmed.
    case.stopped([0, 3, 4, 5]);
    let commands = [case.look(), case.look()].concat();
    let alarms = |command: &&Command| {
        matches!(
            command,
            Command::Tell { .. } | Command::Commit { .. } | Command::Record(Happened::BecameUnhealthy { .. })
        )
    };
    assert_eq!(commands.iter().find(alarms), None);
}

/// A version that does not know of hibernation has let one run: what is left of the word must not take its pod.
#[test]
fn what_an_older_version_has_let_run_is_stopped_again() {
    let mut case = Case::changed(|layout| {
        layout.hibernation = Some(Hibernation::Stopped);
        for (_, one) in Arc::make_mut(&mut layout.instances).iter_mut().filter(|(of, _)| **of != name(3)) {
            one.fences.set(FencedBy::Hibernation);
        }
        layout.generation = Generation(layout.generation.0 + 1);
    });
    assert_eq!(case.layout().hibernation_stage(), HibernationStage::Stopping);
    let phase = case.report_of_cluster_without_agents();
    assert_eq!(phase.phase, Phase::Hibernating);
    assert!(phase.waiting.iter().any(|one| matches!(one, Waiting::AgentUnknown { .. })));
}
