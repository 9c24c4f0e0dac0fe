//! The data directory, looked at and written for the agent.

use super::{Look, Runner};
use crate::copy_files::ServerIs;
use crate::data_dir::Marker;
use crate::files::ANSWERS_WITHIN;
use crate::handle::Input;
use crate::os;
use std::time::Instant;
use valkeeper_model::CopyRecord;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_plan::agent::Event;
use valkeeper_plan::failover::restart_decision::{Disk, Owner};

impl Runner {
    pub(super) fn marker(&self) -> Option<Marker> {
        Some(Marker { cluster: self.agent.cluster()?, instance: self.setup.name.clone() })
    }

    /// Writes the record of the copy. With a marker into a directory that is the server's own again, and is marked so then.
    pub(super) fn keep(&self, record: CopyRecord, reclaimed: Option<Marker>) {
        let (input, data, files) = (self.input.clone(), self.setup.home.data(), self.files.clone());
        let server = if self.running.is_some() { ServerIs::Running } else { ServerIs::Down };
        tokio::spawn(async move {
            let sequence = record.sequence;
            let keep = move || match reclaimed {
                Some(marker) => data.keep(&record, server).and_then(|()| data.mark(&marker)),
                None => data.update_record(&record, server),
            };
            let kept = files.with(keep).await.flatten();
            if let Err(error) = &kept {
                tracing::warn!(%error, "cannot write the record of a copy");
            }
            let result = kept.map_err(|error| error.to_string());
            let _ = input.send(Input::Event(Event::Kept { sequence, result }));
        });
    }

    /// Writes the file of roles and terms, if the directory is marked as this instance's: a vote in another's would be nobody's.
    pub(super) fn keep_roles(&self, number: u64, roles: NodesConf) {
        let Some(marker) = self.marker() else { return };
        let (input, data, files) = (self.input.clone(), self.setup.home.data(), self.files.clone());
        tokio::spawn(async move {
            let kept = files.with(move || data.keep_roles(&roles, &marker)).await.flatten();
            if let Err(error) = &kept {
                tracing::warn!(%error, "cannot write who is the primary of which term");
            }
            let result = kept.map_err(|error| error.to_string());
            let _ = input.send(Input::Event(Event::RolesKept { number, result }));
        });
    }

    pub(super) fn inspect(&mut self) {
        self.silent_at.get_or_insert_with(|| Instant::now() + ANSWERS_WITHIN);
        if self.look == Look::None { self.begin_look() } else { self.look = Look::Another }
    }

    pub(super) fn begin_look(&mut self) {
        let Some(marker) = self.marker() else { return };
        self.look = Look::One;
        let data = self.setup.home.data();
        let pid = self.running.as_ref().map(|run| run.process.pid);
        let (files, input) = (self.files.clone(), self.input.clone());
        tokio::spawn(async move {
            let look = files.with(move || {
                let disk = data.inspect(&marker)?;
                let elsewhere = pid.is_some_and(|pid| os::works_in(pid, data.path()) == Some(false));
                // Replaced under a running server, which keeps what it writes in the removed one: as good as wiped.
                Ok(if elsewhere { Disk { owner: Owner::Nobody, ..disk } } else { disk })
            });
            let found = look.await.flatten().map_err(|error| error.to_string());
            let _ = input.send(Input::Looked(found.map(Box::new)));
        });
    }

    pub(super) fn looked(&mut self, found: Result<Box<Disk>, String>) -> Option<Event> {
        if std::mem::replace(&mut self.look, Look::None) == Look::Another {
            self.begin_look();
            return None;
        }
        self.silent_at = None;
        Some(Event::Inspected(found))
    }
}
