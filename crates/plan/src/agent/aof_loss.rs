//! An append-only file that is lost under a running server. The server writes on into files that nobody finds any more and reports
//! that all is well (docs/engine-facts.md), so that its data directory is compared with what it reports.

use super::machine::Agent;
use super::{Command, ServerCommand};
use crate::failover::copy::AofFiles;
use crate::failover::restart_decision::{Disk, Owner};
use valkeeper_model::{AofStatus, CopyRecord, Happened, Incarnation, Millis, Persistence};

/// Looks in a row that must find no file: one may fall between two files of a rewrite.
const LOOKS: u32 = 2;
/// The server answers at once and rewrites in the background.
const REWRITE_MS: u64 = 2_000;

/// What was found of the append-only file of a running server.
#[derive(Debug, Default)]
pub(super) struct AofLoss {
    looks: u32,
    /// The run that was told to write its file anew.
    rewritten_by: Option<Incarnation>,
}

impl AofLoss {
    /// Is the file gone?
    pub(super) fn is_certain(&self) -> bool {
        self.looks >= LOOKS
    }
}

impl Agent {
    /// The data directory of our server, which runs, was looked at. The server writes a file that is gone anew.
    pub(super) fn compare_aof(&mut self, now: Millis, disk: &Disk) {
        if disk.owner == Owner::Nobody && self.persistence() == Persistence::Rdb {
            return match disk.files.rdb {
                Some(_) => self.reclaim_directory(now, disk),
                None => drop(self.out.serve(ServerCommand::Save, REWRITE_MS)),
            };
        }
        let shown = self.server.known().and_then(|view| view.aof);
        if self.persistence() != Persistence::Aof || disk.files.aof == AofFiles::Whole {
            self.aof_loss.looks = 0;
            // The agent before this one may have had the file written anew, and what it saw is not known.
            let unclaimed = disk.owner == Owner::Nobody && self.persistence() == Persistence::Aof;
            if unclaimed && self.aof_loss.rewritten_by != self.incarnation() {
                self.rewrite_aof(now);
            } else {
                self.reclaim_directory(now, disk);
            }
        } else if shown == Some(AofStatus::Settled) {
            self.aof_loss.looks += 1;
            if self.aof_loss.looks == LOOKS {
                self.out.record(Happened::AofLost { instance: self.name.clone() });
            }
            if self.aof_loss.is_certain() {
                self.rewrite_aof(now);
            }
        }
    }

    fn rewrite_aof(&mut self, now: Millis) {
        self.aof_loss.rewritten_by = self.incarnation();
        self.out.serve(ServerCommand::RewriteAof, REWRITE_MS);
        // What is true of the file from now on is recorded with the next look at the server.
        if let Some(watch) = self.phase.watch_mut() {
            watch.look_now(now);
        }
    }

    /// The only copy of a shard was in memory, in a server whose data directory somebody had emptied. By now the directory holds everything again.
    fn reclaim_directory(&mut self, now: Millis, disk: &Disk) {
        let (Some(run), Some(view)) = (self.incarnation(), self.server.known()) else { return };
        let snapshot = self.persistence() == Persistence::Rdb;
        let rewritten = self.aof_loss.rewritten_by == Some(run) && view.aof == Some(AofStatus::Settled);
        let anew = snapshot || rewritten;
        if disk.owner != Owner::Nobody || !anew || self.copy_record.is_writing() {
            return;
        }
        let record = self.next_record(run, view);
        if snapshot || record.aof.complete {
            let sequence =
                record.sequence.max(disk.beside.unwrap_or(0)).max(self.copy_record.sequence_seen());
            self.write_by(now, CopyRecord { sequence, ..record }, Command::Reclaim);
        }
    }
}
