//! What people are told of the cluster, and when it has changed.

use super::Command;
use super::machine::Controller;
use valkeeper_model::{Happened, Millis, Report, Waiting};

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
        let failed = self.store_failed.iter().map(|why| Waiting::StoreFailed { why: why.clone() });
        let lacking = self.not_provisioned.iter().map(|why| Waiting::NotProvisioned { why: why.clone() });
        report.waiting.extend(failed.chain(lacking));
        report.healthy &= self.store_failed.is_none() && self.not_provisioned.is_none();
        report.waiting.extend(self.attempts.reasons(now));
        let was = self.report.as_ref().map(|before| before.healthy);
        match (was, report.healthy, report.waiting.first()) {
            (Some(false) | None, true, _) => self.out.push(Command::Record(Happened::BecameHealthy)),
            (Some(true), false, Some(waiting)) => {
                self.out.push(Command::Record(Happened::BecameUnhealthy { waiting: waiting.clone() }));
            }
            _ => {}
        }
        if self.report.as_ref() != Some(&report) {
            self.changed_at = now;
            self.out.push(Command::Publish(Box::new(report.clone())));
            self.report = Some(report);
        }
    }
}
