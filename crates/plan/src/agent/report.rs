//! What an agent tells of itself.

use super::machine::{Agent, Phase};
use crate::failover::restart_decision::Disk;
use crate::mode::standalone::register::is_seat;
use valkeeper_model::{
    Activity, AgentReport, CopySource, DiskAccess, DiskRole, Generation, Observed, Persistence, Process,
    Unseen, Waiting,
};

impl Agent {
    /// What we know. `None` before the first order: we do not even know where we are.
    pub fn report(&self) -> Option<AgentReport> {
        let order = self.order.as_ref()?;
        let process = match self.process {
            Process::Running { incarnation, .. } => Process::Running { incarnation, pid: self.pid },
            Process::Down => Process::Down,
        };
        // An order is obeyed when the server has been compared with it: until then nobody knows whether it has what is wanted.
        let compared = match &self.phase {
            Phase::Watching(watch) | Phase::HandingOver(watch, ..) => watch.is_current(),
            _ => true,
        };
        let behind = u64::from(!compared);
        Some(AgentReport {
            format: valkeeper_model::Format,
            generation: Generation(order.generation.0.saturating_sub(behind)),
            addresses_hash: order.addresses_hash,
            address: order.myself()?.address.clone()?,
            server: if process == Process::Down {
                Observed::Unknown(Unseen::NotRunning)
            } else {
                self.server.clone()
            },
            process,
            disk_role: self.disk.as_ref().map_or(DiskRole::Lost, Disk::role),
            has_data: self.copy_record.held().is_some_and(|held| held.source != CopySource::Nothing),
            copy: Some(Box::new(self.copy_held())),
            activity: self.activity(),
            disk: if self.disk_silent { DiskAccess::Silent } else { DiskAccess::Answers },
            waiting: self
                .promotion_waits()
                .or_else(|| self.waiting.clone())
                .or_else(|| self.host_watch_waiting())
                .or_else(|| self.directory_waiting())
                .or_else(|| self.aof_waiting()),
            password: self.trials.password.clone(),
            look_refused: self.look_refused.clone(),
            source: self.source_report(),
            sentinels: self.sentinels.seen().clone(),
            seen_ms_ago: self.server.known().map(|_| self.now.since(self.seen_at)),
            pod_template: None,
            primary_position: self.primary_position(),
            last_write: self.last_write.position(),
            register: self.register_fault.clone().filter(|_| is_seat(order)),
        })
    }

    /// What stands in the way of the successor of our server, or of the one that it follows.
    fn promotion_waits(&self) -> Option<Waiting> {
        match &self.phase {
            Phase::Promoting(promotion) => promotion.waiting(),
            _ => self.replacing()?.waiting(),
        }
    }

    /// Whatever is promised but `none`, a server that serves must not be called well while nothing of it is on a disk.
    fn directory_waiting(&self) -> Option<Waiting> {
        let lost = self.has_unmarked_directory();
        let serves =
            self.has_served && self.server.known().is_some() && matches!(self.phase, Phase::Watching(_));
        let promised = self.persistence() != Persistence::None;
        (lost && serves && promised).then(|| Waiting::DirectoryLost { instance: self.name.clone() })
    }

    /// Under `persistence: aof` a server that serves must not be called well before its append-only file holds everything.
    fn aof_waiting(&self) -> Option<Waiting> {
        let serves = self.server.known().is_some();
        (serves && self.lacks_aof()).then(|| Waiting::AofIncomplete { instance: self.name.clone() })
    }

    fn activity(&self) -> Activity {
        match &self.phase {
            Phase::Idle if self.wanted_up() => Activity::Starting,
            Phase::Idle => Activity::Resting,
            Phase::Inspecting | Phase::Consulting(_) | Phase::Launching | Phase::RetryAt { .. } => {
                Activity::Starting
            }
            Phase::Watching(_) if self.server.known().is_none() && self.last_view.is_none() => {
                Activity::Starting
            }
            Phase::Watching(_) => match self.replacing() {
                Some(promotion) => promotion.activity(),
                None => Activity::Watching,
            },
            Phase::Promoting(promotion) => promotion.activity(),
            Phase::HandingOver(..) => Activity::HandingOver,
            Phase::Draining(..) | Phase::Stopping(_) => Activity::Stopping,
        }
    }
}
