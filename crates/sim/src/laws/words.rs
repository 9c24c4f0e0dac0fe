//! What is laid out and told, and that all is well again in time.

use super::LIVENESS_MS;
use crate::fleet::{Fleet, Happening};
use crate::network::Way;
use crate::sabotage::Sabotage;
use valkeeper_model::{Activity, Ask, Layout, Observation, Report, Request, Waiting};
use valkeeper_plan::lint;
use valkeeper_plan::operations;
use valkeeper_plan::view::cluster_view::ClusterView;
use valkeeper_plan::view::health;

/// Between two looks at the whole.
const CHECK_MS: u64 = 250;
/// A user looks at the status so often once the faults are over.
const USER_MS: u64 = 3_000;

/// What is new is seen at the next look.
const UNTOLD_MS: u64 = 4_000;

impl Fleet {
    /// Laws 5 to 8 and 10, of what is stored.
    pub(crate) fn law_of_layouts(&mut self, layout: &Layout) {
        if let Some(violation) = lint::layout(layout).into_iter().next() {
            self.break_law(violation.law, violation.what);
        }
    }

    /// Each step is held against the laws by what its controller sees.
    pub(crate) fn law_of_steps(&mut self, controller: usize, observation: &Observation) {
        let machine = self.controllers[controller].controller.as_ref();
        let Some(layout) = machine.and_then(valkeeper_plan::controller::Controller::layout) else { return };
        let cluster_view = ClusterView::new(layout, observation);
        let report = health::judge(&cluster_view);
        let violations: Vec<_> = operations::due(&cluster_view, &report, &operations::Barred::default())
            .iter()
            .flat_map(|step| lint::step(&cluster_view, step))
            .collect();
        if let Some(violation) = violations.into_iter().next() {
            self.break_law(violation.law, violation.what);
        }
    }

    /// Law 12: what is not well has a reason; law 8: what is not whole is not told to be.
    pub(crate) fn law_of_reports(&mut self, controller: usize, report: &Report) {
        if !report.healthy && report.waiting.is_empty() {
            return self.break_law(12, format!("controller {controller}: not healthy, and no reason given"));
        }
        let now = self.now();
        if report.healthy {
            let down = (0..self.servers.len()).find(|index| {
                let since = self.laws.down_since[*index];
                !self.servers[*index].alive() && since.is_some_and(|at| now > at + 3_000)
            });
            if let Some(down) = down {
                let what = format!("controller {controller}: healthy, with {} down", self.name(down));
                self.break_law(8, what);
            }
        }
    }

    /// Looks at the whole, now and then.
    pub(crate) fn check(&mut self) {
        let now = self.now();
        self.clock.after(CHECK_MS, Happening::Check);
        self.note_quorum();
        for index in 0..self.servers.len() {
            let down = !self.servers[index].alive();
            let since = &mut self.laws.down_since[index];
            *since = down.then(|| since.unwrap_or(now));
        }
        let mut reports = self.controllers.iter().filter_map(|host| host.report.as_ref());
        if reports.any(|report| !report.healthy) {
            self.laws.told_unwell_at = now;
        }
        for shard in 0..self.laws.reigns.len() {
            if self.atoms_of(shard).is_empty() {
                continue;
            }
            let primary = self.laws.primary_of(shard);
            let served = primary.is_some_and(|primary| self.servers[primary].serves());
            let since = &mut self.laws.unserved_since[shard];
            *since = (!served).then(|| since.unwrap_or(now));
            if since.is_some_and(|at| now > at + 8_000) {
                self.law_of_silence(shard);
            }
        }
        if self.sabotage == Some(Sabotage::DisturbEverybody) && now.is_multiple_of(3_000) {
            self.disturb_everybody();
        }
        if let Some(calm) = self.calm_since {
            self.live(calm);
        }
    }

    /// A shard that nobody serves is not told to be well.
    fn law_of_silence(&mut self, shard: usize) {
        let now = self.now();
        if self.network.is_cut(Way::Control) || self.network.lost_in_thousand > 0 {
            return;
        }
        // It was told until just now; what followed on the one cause may not have been looked at yet.
        if now < self.laws.told_unwell_at + UNTOLD_MS {
            return;
        }
        let wrong = self.controllers.iter().any(|host| {
            host.controller.is_some()
                && now > host.up_since + 5_000
                && host.report.as_ref().is_none_or(|report| report.healthy)
        });
        if wrong {
            self.break_law(12, format!("s{shard} has had no primary for 8 s and nobody says so"));
        }
    }

    fn disturb_everybody(&mut self) {
        for shard in 0..self.laws.reigns.len() {
            if let Some(primary) = self.laws.primary_of(shard) {
                let id = self.id();
                let life = self.controllers[0].life;
                let token = valkeeper_plan::agent::Token(id);
                let asker = crate::fleet::asks::Asker::Controller { controller: 0, life, token };
                self.send_ask(asker, primary, Ask::HandOver { to: None }, 1_000);
            }
        }
    }

    /// All well within the bound.
    fn live(&mut self, calm: u64) {
        let now = self.now();
        let trouble = self.trouble();
        match (&trouble, self.laws.well_since) {
            (None, Some(since)) if now >= since + 1_000 => {
                self.law_of_the_end();
                self.finished = true;
            }
            (None, None) => self.laws.well_since = Some(now),
            (None, Some(_)) => {}
            (Some(trouble), _) => {
                self.laws.well_since = None;
                if now > calm + LIVENESS_MS {
                    self.break_law(
                        0,
                        format!("not well {} s after the last fault: {trouble}", LIVENESS_MS / 1_000),
                    );
                } else if now >= self.laws.user_acts_at {
                    self.laws.user_acts_at = now + USER_MS;
                    self.user_acts();
                }
            }
        }
    }

    /// What is not as it should be, truly.
    fn trouble(&self) -> Option<String> {
        for host in &self.controllers {
            match &host.report {
                None => return Some("a controller has not reported".to_owned()),
                Some(report) if !report.healthy => {
                    let reasons: Vec<String> = report.waiting.iter().map(ToString::to_string).collect();
                    return Some(reasons.join("; "));
                }
                Some(_) => {}
            }
        }
        for index in 0..self.servers.len() {
            let shard = self.members.shard_of[index];
            let primary = self.laws.primary_of(shard);
            let server = &self.servers[index];
            let fine = if primary == Some(index) {
                server.serves()
            } else if self.atoms_of(shard).is_empty() {
                server.awake()
            } else {
                server.in_stream() && server.upstream.as_ref().and_then(|upstream| upstream.to) == primary
            };
            if !fine {
                return Some(format!("{} is not well, and nobody says so", self.name(index)));
            }
            let report = self.agents[index].agent.as_ref().and_then(valkeeper_plan::agent::Agent::report);
            if report.is_none_or(|report| report.activity != Activity::Watching) {
                return Some(format!("the agent of {} does not watch", self.name(index)));
            }
        }
        None
    }

    /// The user reads the status and does what it says.
    fn user_acts(&mut self) {
        let reports = self.controllers.iter().filter_map(|host| host.report.as_ref());
        let waiting: Vec<Waiting> = reports.flat_map(|report| report.waiting.clone()).collect();
        for waiting in waiting {
            match waiting {
                Waiting::Fenced { instance, .. } => return self.request(Request::Unfence { instance }),
                Waiting::AllCopiesMissing { shard } | Waiting::CopyDoubtful { shard, .. } => {
                    return self.request(Request::Failover { shard, force: false, accept_data_loss: true });
                }
                Waiting::RestartNeeded { instance, .. } => {
                    return self.request(Request::Restart { instance });
                }
                _ => {}
            }
        }
    }
}
