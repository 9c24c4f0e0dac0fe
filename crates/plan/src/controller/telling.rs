//! What people are told of the cluster, and when it has changed.

use super::Command;
use super::machine::Controller;
use crate::view::causes::{self, Cause};
use valkeeper_model::{Happened, Millis, Phase, Report, Waiting};

/// An order that is not obeyed for so long is trouble; before that it is on its way.
const ORDER_MS: u64 = 5_000;

/// What the events have said last.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Was the cluster healthy?
    healthy: Option<bool>,
    /// Since when only orders are on their way.
    ordering_since: Option<Millis>,
}

fn without_data(report: &Report) -> Report {
    let mut report = report.clone();
    for one in &mut report.instances {
        (one.data, one.keys, one.memory_bytes) = (None, None, None);
    }
    report
}

impl Controller {
    pub(super) fn publish_again(&mut self, now: Millis) {
        if let Some(report) = self.report.clone() {
            self.publish(now, report);
        }
    }

    pub(super) fn publish(&mut self, now: Millis, mut report: Report) {
        let ours = |waiting: &Waiting| {
            matches!(
                waiting,
                Waiting::StoreFailed { .. } | Waiting::NotProvisioned { .. } | Waiting::StepRefused { .. }
            )
        };
        report.waiting.retain(|waiting| !ours(waiting));
        let failed = self.store_failed.iter().map(|error| Waiting::StoreFailed { error: error.clone() });
        let lacking =
            self.not_provisioned.iter().map(|error| Waiting::NotProvisioned { error: error.clone() });
        report.waiting.extend(failed.chain(lacking));
        report.healthy &= self.store_failed.is_none() && self.not_provisioned.is_none();
        report.waiting.extend(self.attempts.reasons(now));
        // Whoever reads the first reason only reads a cause.
        report.waiting = causes::of(&report).into_iter().flat_map(Cause::into_all).collect();
        self.record_health(now, &report);
        if self.report.as_ref() != Some(&report) {
            // A stream that goes on is no news of the cluster: it is looked at as often as before.
            if self.report.as_ref().map(without_data) != Some(without_data(&report)) {
                self.changed_at = now;
            }
            self.out.push(Command::Publish(Box::new(report.clone())));
            self.report = Some(report);
        }
    }

    /// Events say that a cluster became healthy, or is so no more. A new order reaches the agents a moment after it is stored: the
    /// status says so meanwhile, but a cluster that was well is not unwell for it.
    fn record_health(&mut self, now: Millis, report: &Report) {
        if report.healthy {
            self.told.ordering_since = None;
            if self.told.healthy != Some(true) {
                self.told.healthy = Some(true);
                self.out.push(Command::Record(Happened::BecameHealthy));
            }
            return;
        }
        // It is told what it does: that it is not healthy meanwhile is no news.
        if matches!(report.phase, Phase::Hibernating | Phase::Hibernated) {
            self.told.healthy = Some(false);
        }
        if self.told.healthy != Some(true) {
            return;
        }
        let on_its_way = report.waiting.iter().all(|one| !one.is_flaw() || one.is_order_on_its_way());
        let since = *self.told.ordering_since.get_or_insert(now);
        if on_its_way && now.since(since) < ORDER_MS {
            return;
        }
        // Remarks that make no cluster unhealthy come last.
        let Some(first) = report.waiting.first() else { return };
        self.told.healthy = Some(false);
        self.out.push(Command::Record(Happened::BecameUnhealthy { waiting: first.clone() }));
    }
}
