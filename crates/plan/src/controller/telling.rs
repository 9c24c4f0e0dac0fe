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
        report.waiting.retain(|waiting| !matches!(waiting, Waiting::StoreFailed { .. }));
        if let Some(why) = &self.store_failed {
            report.waiting.push(Waiting::StoreFailed { why: why.clone() });
            report.healthy = false;
        }
        report.waiting.retain(|waiting| !matches!(waiting, Waiting::StepRefused { .. }));
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
