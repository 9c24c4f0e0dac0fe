//! Law 6 for what was asked for and cannot be seen yet: an observation is up to a second old, and two users may ask within it.

use super::machine::Controller;
use crate::placement::zones::quorum;
use std::collections::BTreeSet;
use valkeeper_model::{Ask, InstanceName, Refusal};

impl Controller {
    /// Does this disturb a primary?
    pub(super) fn disturbs(&self, to: &InstanceName, ask: &Ask) -> bool {
        let report = self.observation.as_ref().and_then(|seen| seen.report(to));
        let primary =
            report.and_then(|report| report.view()).is_none_or(valkeeper_model::ServerView::owns_slots);
        matches!(ask, Ask::HandOver { .. }) || matches!(ask, Ask::Restart) && primary
    }

    /// May one more primary be disturbed beside those that were asked and have not answered?
    pub(super) fn may_disturb_also(&self, to: &InstanceName) -> Result<(), Refusal> {
        let of = self.layout.as_ref().map_or(0, |layout| layout.shards.len());
        let others: BTreeSet<_> = self.disturbed.values().filter(|other| *other != to).collect();
        let alive = of.saturating_sub(others.len());
        if others.is_empty() || alive > quorum(of) {
            return Ok(());
        }
        Err(Refusal::MajorityAtRisk { alive, of })
    }
}
