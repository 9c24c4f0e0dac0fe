//! One observation: every agent is asked for its report at once, and what is not answered when it ends is unknown (law 1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{
    AgentReport, Answer, AskFailed, InstanceName, Millis, Observation, Observed, StartFailure, Topology,
    Unseen, Waiting,
};

/// An agent that does not report within this is unknown.
const REPORT_WITHIN_MS: u64 = 2_000;
/// Once an agent says that it does not hear its primary, the others have so long from one answer to the next: when a host is
/// lost, those on the others say so sooner than the time of who is on it is up, and people are told within a second.
const PRIMARY_UNHEARD_MS: u64 = 150;

/// An observation under way.
#[derive(Debug)]
pub struct Observing {
    begun_at: Millis,
    /// When an agent last answered, once one has said that it does not hear its primary.
    unheard_at: Option<Millis>,
    unanswered: BTreeSet<InstanceName>,
    instances: BTreeMap<InstanceName, Observed<AgentReport>>,
    /// Those that differ: most servers show the same.
    topologies: Vec<Arc<Topology>>,
}

impl Observing {
    /// How long each agent may take for its report, milliseconds.
    pub const ANSWER_WITHIN_MS: u64 = REPORT_WITHIN_MS;

    /// These are asked now.
    pub fn begin(now: Millis, asked: impl IntoIterator<Item = InstanceName>) -> Self {
        Self {
            begun_at: now,
            unheard_at: None,
            unanswered: asked.into_iter().collect(),
            instances: BTreeMap::new(),
            topologies: Vec::new(),
        }
    }

    /// An agent's answer, or why there is none.
    pub fn answered(&mut self, now: Millis, from: InstanceName, answer: Result<Answer, AskFailed>) {
        if !self.unanswered.remove(&from) {
            return;
        }
        let seen = match answer {
            Ok(Answer::Report(report)) => Observed::Known(self.with_shared_topology(*report)),
            Err(AskFailed::Unseen(unseen)) => Observed::Unknown(unseen),
            Ok(_) | Err(_) => Observed::Unknown(Unseen::Garbled),
        };
        let waiting = seen.known().and_then(|report| report.waiting.as_ref());
        if self.unheard_at.is_some() || matches!(waiting, Some(Waiting::PrimaryUnheard { .. })) {
            self.unheard_at = Some(now);
        }
        self.instances.insert(from, seen);
    }

    fn with_shared_topology(&mut self, mut report: AgentReport) -> AgentReport {
        if let Observed::Known(view) = &mut report.server {
            match self.topologies.iter().find(|known| **known == view.topology) {
                Some(known) => view.topology = Arc::clone(known),
                None => self.topologies.push(Arc::clone(&view.topology)),
            }
        }
        report
    }

    /// Who has not answered yet.
    pub fn unanswered(&self) -> &BTreeSet<InstanceName> {
        &self.unanswered
    }

    /// When it is over although somebody has not answered.
    pub fn wake_at(&self) -> Millis {
        let in_time = self.begun_at.plus(REPORT_WITHIN_MS);
        self.unheard_at.map_or(in_time, |at| in_time.min(at.plus(PRIMARY_UNHEARD_MS)))
    }

    /// What was seen.
    pub fn finish(
        self,
        names_elsewhere: BTreeSet<InstanceName>,
        not_starting: BTreeMap<InstanceName, StartFailure>,
    ) -> Observation {
        let mut instances = self.instances;
        instances.extend(self.unanswered.into_iter().map(|name| (name, Observed::Unknown(Unseen::Timeout))));
        Observation { at: self.begun_at, instances, names_elsewhere, not_starting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u32) -> InstanceName {
        InstanceName::nth(&"c".parse().expect("a name"), n)
    }

    fn begun(at: u64) -> Observing {
        Observing::begin(Millis(at), (0..3).map(name))
    }

    fn report(waiting: Option<Waiting>) -> Answer {
        let report = include_bytes!("../../../model/tests/frozen/report-1.json");
        let report: AgentReport = serde_json::from_slice(report).expect("a report");
        Answer::Report(Box::new(AgentReport { waiting, ..report }))
    }

    fn unheard() -> Answer {
        report(Some(Waiting::PrimaryUnheard { instance: name(2) }))
    }

    #[test]
    fn it_is_over_when_all_have_answered() {
        let mut observing = begun(100);
        observing.answered(Millis(101), name(0), Ok(report(None)));
        observing.answered(Millis(102), name(1), Err(AskFailed::Unseen(Unseen::Unreachable)));
        assert_eq!(observing.unanswered().iter().collect::<Vec<_>>(), [&name(2)]);
        observing.answered(Millis(103), name(2), Err(AskFailed::NotRunning));
        assert!(observing.unanswered().is_empty());
        let observation = observing.finish(BTreeSet::from([name(1)]), BTreeMap::new());
        assert_eq!((observation.at, observation.names_elsewhere), (Millis(100), BTreeSet::from([name(1)])));
        assert!(observation.instances[&name(0)].known().is_some());
        assert_eq!(observation.instances[&name(1)], Observed::Unknown(Unseen::Unreachable));
        assert_eq!(observation.instances[&name(2)], Observed::Unknown(Unseen::Garbled));
    }

    #[test]
    fn a_silent_agent_has_its_whole_time_while_every_primary_is_heard() {
        let mut observing = begun(100);
        assert_eq!(observing.wake_at(), Millis(2_100));
        observing.answered(Millis(101), name(0), Ok(report(None)));
        observing.answered(Millis(102), name(1), Ok(report(Some(Waiting::NoSupervisor))));
        assert_eq!(observing.wake_at(), Millis(2_100));
        let observation = observing.finish(BTreeSet::new(), BTreeMap::new());
        assert_eq!(observation.instances[&name(2)], Observed::Unknown(Unseen::Timeout));
    }

    #[test]
    fn a_silent_agent_is_not_waited_for_when_a_primary_is_unheard() {
        let mut observing = begun(100);
        observing.answered(Millis(101), name(0), Ok(unheard()));
        assert_eq!(observing.wake_at(), Millis(251));
        // Others that answer show that answers are still coming.
        observing.answered(Millis(200), name(1), Ok(report(None)));
        assert_eq!(observing.wake_at(), Millis(350));
        let observation = observing.finish(BTreeSet::new(), BTreeMap::new());
        assert_eq!(observation.instances[&name(2)], Observed::Unknown(Unseen::Timeout));
    }

    #[test]
    fn nobody_has_more_than_its_whole_time() {
        let mut observing = begun(100);
        observing.answered(Millis(2_050), name(0), Ok(unheard()));
        assert_eq!(observing.wake_at(), Millis(2_100));
    }

    #[test]
    fn an_agent_answers_once_and_equal_topologies_are_kept_once() {
        let mut observing = begun(100);
        for n in 0..3 {
            observing.answered(Millis(101), name(n), Ok(report(None)));
        }
        observing.answered(Millis(102), name(0), Err(AskFailed::Unseen(Unseen::Timeout)));
        let observation = observing.finish(BTreeSet::new(), BTreeMap::new());
        let topologies: Vec<_> = (0..3)
            .map(|n| match &observation.instances[&name(n)] {
                Observed::Known(AgentReport { server: Observed::Known(view), .. }) => &view.topology,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(topologies.iter().all(|topology| Arc::ptr_eq(topology, topologies[0])));
    }
}
