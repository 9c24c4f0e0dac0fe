//! Law 3: when a server may be started, and as what. A primary that was down may come back only if nobody else holds a
//! newer copy: started empty or isolated it would erase its replicas or accept writes that are lost later.

use super::copy::{self, DataFiles};
use super::succession::Candidate;
use std::collections::BTreeSet;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    Activity, AgentReport, AskFailed, CopyRecord, CopySource, CopyState, DiskAccess, DiskRole, Epoch,
    HeldCopy, Incarnation, InstanceName, Link, NodeId, Observed, Persistence, Process, Replication, Role,
    ServerView, SlotSet, StartFailure, Unseen, Waiting,
};

/// What a data directory holds, as its agent finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Whose it is.
    pub owner: Owner,
    /// Its nodes.conf.
    pub nodes_conf: NodesFile,
    /// The files that an engine could load.
    pub files: DataFiles,
    /// The record of the copy, in the directory.
    pub record: Option<CopyRecord>,
    /// The sequence of the record that is kept beside the directory.
    pub beside: Option<u64>,
}

/// Whose data directory it is (law 10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's: it was never used, or it was wiped.
    Nobody,
    /// This instance's.
    Ours,
    /// Another's.
    Other(String),
}

/// The state of a nodes.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodesFile {
    /// There is none.
    Missing,
    /// It cannot be read as one: torn or changed by hand.
    Damaged(String),
    /// It is whole.
    Intact(NodesConf),
}

impl Disk {
    /// The role the disk remembers. What lies in a directory without our mark says nothing: a running server writes its
    /// nodes.conf again after the directory was emptied.
    pub fn role(&self) -> DiskRole {
        let (Owner::Ours, NodesFile::Intact(conf)) = (&self.owner, &self.nodes_conf) else {
            return DiskRole::Lost;
        };
        let Some(me) = conf.myself() else { return DiskRole::Lost };
        match (me.flags.role, me.primary) {
            (Some(Role::Replica), Some(of)) => DiskRole::Replica { of },
            _ => DiskRole::Primary { config_epoch: me.config_epoch, slots: me.slots.clone() },
        }
    }
}

/// A sibling, judged by whether it may hold a newer copy than a server that is about to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sibling {
    /// Serves the slots already.
    Primary(Box<ServerView>),
    /// Was in sync in this run and runs: law 3 wants it promoted. With the epoch of the claim that it follows.
    Live(Candidate, Option<Epoch>),
    /// Runs and followed the primary, but was never in sync since it connected last: it holds a part of the stream.
    Stale(Candidate, Box<HeldCopy>),
    /// Its disk claims the slots with this epoch; it is not serving them now.
    Claims(Epoch, Box<HeldCopy>),
    /// Runs with what its own disk gave it.
    Cold(Candidate, Box<HeldCopy>),
    /// Does not run, has data on its disk.
    DownWithData(Box<HeldCopy>),
    /// Holds nothing of this shard.
    Empty,
    /// Nothing is known: it may hold anything (law 1).
    Unknown,
}

impl Sibling {
    fn copy(&self) -> Option<&HeldCopy> {
        match self {
            Self::Stale(_, copy) | Self::Claims(_, copy) | Self::Cold(_, copy) | Self::DownWithData(copy) => {
                Some(copy)
            }
            Self::Primary(_) | Self::Live(..) | Self::Empty | Self::Unknown => None,
        }
    }
}

/// What is known of a shard beyond a sibling's own report.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShardFacts<'a> {
    /// The node ids of its members; `None` if they are not known.
    pub members: Option<&'a BTreeSet<NodeId>>,
    /// The replicas that the lost primary saw attached and online last; `None` if nobody knows.
    pub attached: Option<&'a BTreeSet<InstanceName>>,
    /// The shard's slots; `None` if they are not known.
    pub slots: Option<&'a SlotSet>,
}

impl ShardFacts<'_> {
    /// Does a server with these slots serve the shard?
    fn are_served_by(&self, slots: &SlotSet) -> bool {
        self.slots.is_none_or(|own| slots.are_of(own))
    }
}

/// Judges a sibling by its agent's report.
pub fn judge(name: &InstanceName, answer: &Result<AgentReport, AskFailed>, facts: ShardFacts<'_>) -> Sibling {
    let Ok(report) = answer else { return Sibling::Unknown };
    if report.disk == DiskAccess::Silent && report.view().is_none() {
        return Sibling::Unknown;
    }
    // Another's directory in the place of its own, or one that cannot be read, says nothing of what it holds.
    if let Some(Waiting::StartFailed {
        failure: StartFailure::ForeignData { .. } | StartFailure::DataUnusable { .. },
        ..
    }) = &report.waiting
    {
        return Sibling::Unknown;
    }
    // An agent that has just been started knows neither what its disk holds nor whether the server that it adopted was in sync.
    let unread = report.copy.as_ref().is_some_and(|copy| copy.state == CopyState::Unread);
    if unread && !report.view().is_some_and(ServerView::is_shard_primary) {
        return Sibling::Unknown;
    }
    let copy = || report.copy.clone().unwrap_or_else(|| Box::new(HeldCopy::unrecorded(report.has_data)));
    let at_rest = |report: &AgentReport| match &report.disk_role {
        DiskRole::Primary { slots, .. } if !slots.is_empty() && !facts.are_served_by(slots) => Sibling::Empty,
        DiskRole::Primary { config_epoch, slots } if !slots.is_empty() => {
            Sibling::Claims(*config_epoch, copy())
        }
        _ if copy().source != CopySource::Nothing => Sibling::DownWithData(copy()),
        _ => Sibling::Empty,
    };
    let incarnation = match &report.process {
        Process::Down => return at_rest(report),
        Process::Running { incarnation, .. } => *incarnation,
    };
    match &report.server {
        Observed::Unknown(Unseen::Loading) => at_rest(report),
        Observed::Known(view) if view.is_shard_primary() => {
            if view.slots().is_some_and(|slots| facts.are_served_by(slots)) {
                Sibling::Primary(Box::new(view.clone()))
            } else {
                Sibling::Empty
            }
        }
        // Moved to another shard by hand: what it holds is that shard's.
        Observed::Known(view)
            if facts
                .members
                .is_some_and(|members| view.primary().is_some_and(|of| !members.contains(&of))) =>
        {
            Sibling::Empty
        }
        Observed::Known(view) => {
            let candidate = Candidate {
                instance: name.clone(),
                incarnation,
                replication: view.replication.clone(),
                standing: None,
            };
            let in_sync =
                report.is_caught_up() && facts.attached.is_none_or(|attached| attached.contains(name));
            match view.replication.link() {
                Some(Link::Up | Link::Lost) if in_sync => {
                    let followed = view.primary().and_then(|primary| view.topology.get(&primary));
                    Sibling::Live(candidate, followed.map(|node| node.config_epoch))
                }
                Some(Link::Up | Link::Lost) => {
                    let Replication { replid, offset, .. } = view.replication;
                    Sibling::Stale(candidate, Box::new(copy::in_memory(replid, offset, &copy())))
                }
                Some(Link::NeverUp) if view.keys > 0 || copy().source != CopySource::Nothing => {
                    let Replication { replid, offset, .. } = view.replication;
                    Sibling::Cold(candidate, copy::of_running(replid, offset, copy()))
                }
                Some(Link::NeverUp) | None => Sibling::Empty,
                Some(Link::Syncing) => Sibling::Unknown,
            }
        }
        // A process that has just been started and has not answered yet holds what its disk holds.
        Observed::Unknown(Unseen::NotAsked | Unseen::Unreachable)
            if report.activity == Activity::Starting =>
        {
            at_rest(report)
        }
        Observed::Unknown(_) => Sibling::Unknown,
    }
}

/// What the last known owner of a shard's slots may do when it is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start as the replica of the one that serves now.
    AsReplicaOf(Box<ServerView>),
    /// Start as the replica of that one, whose disk says that it owns the slots: it will serve, or promote us if our copy is the
    /// better one. A replica does no harm meanwhile.
    BehindClaim(InstanceName),
    /// Stay down: promote a replica that was in sync.
    FailOver,
    /// Stay down: promote that one, which runs and whose copy is the best there is.
    Promote {
        /// Whom.
        instance: InstanceName,
        /// The run whose copy was compared.
        incarnation: Incarnation,
    },
    /// Start as primary again.
    AsPrimary,
    /// Stay down until these are known, or a copy comes up.
    Wait(WaitReason),
}

/// Why a server stays down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// Nothing is known of these.
    Unknown(Vec<InstanceName>),
    /// That one has the copy and is not up.
    CopyOn(InstanceName),
    /// Nobody has a copy although there was data.
    NoCopy,
    /// What is on our disk is less than what was there, and nobody has more.
    Doubtful(CopyState),
}

/// Whence the claim of a server on its shard's slots is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// From its own nodes.conf, which is whole.
    OwnFile,
    /// From the others: its own file is lost, and perhaps the data with it.
    ToldByOthers,
}

/// Has the user accepted that acknowledged writes are lost?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// No.
    Refused,
    /// `valkeeper failover SHARD --accept-data-loss`.
    Accepted,
}

/// The last owner of a shard's slots, about to start.
#[derive(Debug, Clone, Copy)]
pub struct Returning<'a> {
    /// The epoch of its claim.
    pub epoch: Epoch,
    /// Whence that is known.
    pub claim: Claim,
    /// What its disk holds.
    pub copy: &'a HeldCopy,
    /// The replicas that it saw attached and online last; `None` if nobody knows.
    pub attached: Option<&'a BTreeSet<InstanceName>>,
    /// What is promised.
    pub persistence: Persistence,
    /// What the user has accepted.
    pub loss: Loss,
}

/// May the last owner of a shard's slots start again, and as what? The first row that fits decides.
///
/// | siblings | own copy | then |
/// | --- | --- | --- |
/// | one serves, with a claim that is not older | any | replica of that one |
/// | one claims with a newer epoch, at rest | better than that one's, or own file lost | replica behind the claim |
/// | one claims with a newer epoch, at rest | otherwise | wait for that one |
/// | one follows a newer claim, another is unknown | any | wait for the unknown |
/// | one runs and was in sync | any | promote it |
/// | one is unknown | any | wait for it |
/// | one holds a copy that is newer, or sound while ours is not | | promote it, or wait until it runs |
/// | none does | held | primary |
/// | none does | doubtful | primary if the newest that can be compared, or if the user accepts the loss; else wait |
pub fn decide_restart(me: &Returning<'_>, siblings: &[(InstanceName, Sibling)]) -> RestartDecision {
    let claim = |view: &ServerView| view.myself().map(|node| node.config_epoch);
    let (own_file, held) = (me.claim == Claim::OwnFile, me.copy.state == CopyState::Held);
    let serving = siblings.iter().filter_map(|(name, sibling)| match sibling {
        Sibling::Primary(view) => Some((name, view)),
        _ => None,
    });
    // One whose claim is older than ours, by our own file or by what the others know of us, was replaced by us and has not heard of
    // it: what we took since, it does not have. It is about to be told, and follows us then; two that follow each other never serve.
    let newest = serving.max_by_key(|(_, view)| claim(view));
    let replaced = newest.filter(|(_, view)| claim(view).is_some_and(|epoch| epoch < me.epoch));
    match (newest, replaced) {
        (Some((_, view)), None) => return RestartDecision::AsReplicaOf(view.clone()),
        // The others will tell it; then it is a replica that can be promoted.
        (_, Some((name, _))) if !held || !own_file => {
            return RestartDecision::Wait(WaitReason::CopyOn(name.clone()));
        }
        _ => {}
    }
    // An older claim than what the others know of us is void: who starts with it is told so and follows us, and two servers
    // that follow each other never serve.
    let newer = |epoch: Epoch| epoch > me.epoch || !own_file && epoch == me.epoch;
    let newer_claim = siblings.iter().find_map(|(name, sibling)| match sibling {
        Sibling::Claims(epoch, copy) if newer(*epoch) => Some((name, copy)),
        _ => None,
    });
    if let Some((name, theirs)) = newer_claim {
        // A server whose own file is whole waits for the newer one to serve. One that has lost it, or that has the better copy, could
        // wait for one that waits for it.
        let better = held && (theirs.state != CopyState::Held || copy::is_newer(me.copy, theirs));
        let name = name.clone();
        return if own_file && !better {
            RestartDecision::Wait(WaitReason::CopyOn(name))
        } else {
            RestartDecision::BehindClaim(name)
        };
    }
    let unknown: Vec<_> =
        siblings.iter().filter(|(_, s)| *s == Sibling::Unknown).map(|(name, _)| name.clone()).collect();
    // A replica that follows a newer claim than ours: we have been succeeded, and who did may serve, although nothing is known of it.
    let succeeded = |sibling: &Sibling| matches!(sibling, Sibling::Live(_, claim) if *claim > Some(me.epoch));
    if own_file && !unknown.is_empty() && siblings.iter().any(|(_, sibling)| succeeded(sibling)) {
        return RestartDecision::Wait(WaitReason::Unknown(unknown));
    }
    if siblings.iter().any(|(_, sibling)| matches!(sibling, Sibling::Live(..))) {
        return RestartDecision::FailOver;
    }
    if !unknown.is_empty() {
        return RestartDecision::Wait(WaitReason::Unknown(unknown));
    }
    match better_copy(me, siblings) {
        Some((name, Sibling::Cold(candidate, _) | Sibling::Stale(candidate, _))) => {
            return RestartDecision::Promote { instance: name.clone(), incarnation: candidate.incarnation };
        }
        Some((name, _)) => return RestartDecision::Wait(WaitReason::CopyOn(name.clone())),
        None => {}
    }
    // What nothing was promised of, or what was never written to, is no loss; a directory that was wiped is another matter.
    let nothing_lost =
        me.copy.state == CopyState::Nothing && (own_file || me.persistence == Persistence::None);
    if held || nothing_lost || me.loss == Loss::Accepted || is_newest_of_known(me, siblings) {
        return RestartDecision::AsPrimary;
    }
    RestartDecision::Wait(match me.copy.state {
        CopyState::Nothing => WaitReason::NoCopy,
        doubtful => WaitReason::Doubtful(doubtful),
    })
}

/// The sibling whose copy should serve in the place of ours.
fn better_copy<'a>(
    me: &Returning<'_>,
    siblings: &'a [(InstanceName, Sibling)],
) -> Option<&'a (InstanceName, Sibling)> {
    let held = me.copy.state == CopyState::Held;
    let rivals = siblings.iter().filter_map(|(name, sibling)| {
        let theirs = sibling.copy()?;
        let in_memory = matches!(sibling, Sibling::Stale(..));
        let better = if me.persistence == Persistence::None {
            // What lies on a disk is what some synchronisation left there; what runs is worth something.
            in_memory
        } else if held {
            copy::is_newer(theirs, me.copy)
                || me.copy.end_lost && !theirs.end_lost && was_in_sync(me, name, theirs)
        } else {
            theirs.state == CopyState::Held
                && (!copy::is_newer(me.copy, theirs) || was_in_sync(me, name, theirs))
        };
        better.then_some((name, theirs))
    });
    let best = copy::newest(rivals)?;
    siblings.iter().find(|(name, _)| name == best)
}

/// Was this sibling in sync when our server served last, by our own record and by the sibling's? The two recorded their offsets at
/// different moments, and an append-only file goes on after the offset that is recorded of it.
fn was_in_sync(me: &Returning<'_>, name: &InstanceName, theirs: &HeldCopy) -> bool {
    theirs.goes_on && theirs.caught_up && me.attached.is_some_and(|attached| attached.contains(name))
}

/// Is our snapshot, in a directory that was emptied before it was written, newer than every other copy? Snapshots are all that was promised
/// then. Every other doubt is one about writes that were promised.
fn is_newest_of_known(me: &Returning<'_>, siblings: &[(InstanceName, Sibling)]) -> bool {
    if me.persistence != Persistence::Rdb || me.copy.state != CopyState::Missing {
        return false;
    }
    let mut others = siblings.iter().filter_map(|(_, sibling)| sibling.copy()).peekable();
    others.peek().is_some() && others.all(|theirs| copy::is_newer(me.copy, theirs))
}
