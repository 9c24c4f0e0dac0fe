//! Which of its files a server is started from, what is moved out of the way first, and what the record says then (law 13).

use super::SetAside;
use super::machine::Agent;
use crate::failover::copy::{AofFiles, DataFiles, compare_positions, would_be_lost};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use valkeeper_model::{
    AofOnDisk, AsideCause, CopyRecord, CopySource, CopyState, Happened, HeldCopy, Persistence, Position, Role,
};

/// The last snapshot that a run under `persistence: none` has left, such as the one that a replica was sent.
const VOID_SNAPSHOT: &str = "set-aside/none";

/// Beside whom a server starts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beside<'a> {
    /// The shard's primary serves; the histories of its data, empty if they are not known.
    Primary(&'a [Position]),
    /// Nobody is known to serve.
    Nobody,
}

/// What a server is started from.
pub(super) struct CopyChoice {
    /// `Nothing` leaves `appendonly` as `persistence` wants it.
    pub(super) load: CopySource,
    pub(super) set_aside: Vec<SetAside>,
    pub(super) record: CopyRecord,
}

impl Agent {
    pub(super) fn choose_copy(&mut self, role: Role, beside: Beside<'_>) -> CopyChoice {
        let held = self.copy_record.held().cloned().unwrap_or_else(|| HeldCopy::unrecorded(false));
        let files = self.disk.as_ref().map(|disk| disk.files.clone()).unwrap_or_default();
        let (persistence, resync) = (self.persistence(), self.copy_record.resync);
        let causes = set_aside(&held, &files, role, beside, persistence, resync);
        let gone = |source| causes.contains_key(&source);
        let aof = files.aof.is_loadable() && !gone(CopySource::Aof);
        let rdb = files.rdb.is_some() && !gone(CopySource::Rdb);
        // A replica that loads an AOF forgets where in the stream it was and needs a full sync; one that loads an RDB goes on
        // from there. So it starts from the RDB, and AOF is switched on once it is in sync (docs/engine-facts.md). But only
        // beside a primary that serves: without one its AOF may be the newest copy there is.
        let quick = role == Role::Replica && matches!(beside, Beside::Primary(_)) && rdb;
        let load = match held.source {
            _ if quick => CopySource::Rdb,
            CopySource::Aof if aof => CopySource::Aof,
            CopySource::Aof | CopySource::Rdb if rdb => CopySource::Rdb,
            _ => CopySource::Nothing,
        };
        // Nothing to load and AOF promised: the engine makes an empty one. An incomplete one that is left would be loaded.
        let load = if load == CopySource::Nothing && aof { CopySource::Aof } else { load };
        let record = self.record_at_start(role, load, persistence, aof, held.state);
        let set_aside: Vec<SetAside> = causes
            .into_iter()
            .map(|(what, why)| {
                let void = self.copy_record.durable().is_some_and(|record| record.snapshot_void);
                if why == AsideCause::NotPersisted && what == CopySource::Rdb && void {
                    // Each takes the place of the one before: a disk must not fill with what nothing was promised of.
                    return SetAside { what, folder: VOID_SNAPSHOT.to_owned() };
                }
                let folder = format!("set-aside/{}-{what:?}", record.sequence).to_lowercase();
                self.out.record(Happened::CopySetAside {
                    instance: self.name.clone(),
                    why,
                    source: what,
                    folder: folder.clone(),
                });
                SetAside { what, folder }
            })
            .collect();
        if !set_aside.is_empty() {
            self.copy_record.forget_refusals();
        }
        CopyChoice { load, set_aside, record }
    }

    /// What is true of the copy from the moment the server is started, whatever happens to it then.
    fn record_at_start(
        &self,
        role: Role,
        load: CopySource,
        persistence: Persistence,
        aof_is_there: bool,
        state: CopyState,
    ) -> CopyRecord {
        let mut record = self.copy_record.durable().cloned().unwrap_or_else(CopyRecord::first);
        let beside = self.disk.as_ref().and_then(|disk| disk.beside).unwrap_or(0);
        record.sequence = record.sequence.max(beside).max(self.copy_record.sequence_seen()) + 1;
        let appends =
            load == CopySource::Aof || load == CopySource::Nothing && persistence == Persistence::Aof;
        let sound = state == CopyState::Held && aof_is_there;
        // Without a record it is an older Valkeeper's directory, whose AOF counted.
        let was_complete = self.copy_record.durable().is_none_or(|record| record.aof.complete);
        record.aof.complete = appends && sound && load == CopySource::Aof && was_complete;
        if !aof_is_there {
            record.aof.position = None;
        } else if was_complete {
            record.aof.position = record.position().or(record.aof.position);
            // It had all that the snapshot beside it has, also what was recorded nowhere else.
            let snapshot = self.disk.as_ref().and_then(|disk| disk.files.rdb.as_ref()?.position);
            if let (Some(aof), Some(snapshot)) = (record.aof.position, snapshot)
                && compare_positions(snapshot, aof, &record.histories) == Some(Ordering::Greater)
            {
                record.aof.position = Some(snapshot);
            }
        }
        record.aof.stopping = was_complete && aof_is_there && !record.aof.complete;
        // A primary is started from such a directory only once the loss is accepted.
        if role == Role::Primary {
            record.aof.on_disk = AofOnDisk::InPlace;
        }
        record.snapshot_void = persistence == Persistence::None;
        record.role = role;
        record.caught_up = false;
        record.attached = None;
        record
    }
}

/// What must not be loaded, and why.
fn set_aside(
    held: &HeldCopy,
    files: &DataFiles,
    role: Role,
    beside: Beside<'_>,
    persistence: Persistence,
    resync: bool,
) -> BTreeMap<CopySource, AsideCause> {
    let mut causes = BTreeMap::new();
    let mut add = |what, why| {
        causes.entry(what).or_insert(why);
    };
    // The engine reads the manifest at every start, and ends if it cannot.
    match &files.aof {
        AofFiles::Broken(_) => add(CopySource::Aof, AsideCause::Incomplete),
        // A sibling that has more serves.
        AofFiles::Short(_) if role == Role::Replica => add(CopySource::Aof, AsideCause::Incomplete),
        AofFiles::Short(_) | AofFiles::Whole | AofFiles::Absent => {}
    }
    match (held.state, beside) {
        (CopyState::Damaged, _) => add(held.source, AsideCause::Damaged),
        (CopyState::Foreign, _) => add(held.source, AsideCause::Foreign),
        (_, Beside::Primary(theirs)) if persistence != Persistence::None && would_be_lost(held, theirs) => {
            add(held.source, AsideCause::Diverged);
        }
        _ => {}
    }
    if persistence == Persistence::None {
        add(CopySource::Aof, AsideCause::NotPersisted);
        // A replica goes on from its snapshot where the stream is; a primary must come back with nothing.
        if matches!(beside, Beside::Nobody) {
            add(CopySource::Rdb, AsideCause::NotPersisted);
        }
    }
    if resync {
        add(CopySource::Aof, AsideCause::Older);
        add(CopySource::Rdb, AsideCause::Older);
    }
    if role == Role::Primary && held.source == CopySource::Rdb {
        add(CopySource::Aof, AsideCause::Older);
    }
    causes.retain(|what, _| match what {
        CopySource::Aof => files.aof != AofFiles::Absent,
        CopySource::Rdb => files.rdb.is_some(),
        CopySource::Nothing => false,
    });
    causes
}
