//! Law 3: when a server may be started, and as what. A primary that was down may come back only if nobody else holds a
//! newer copy: started empty or isolated it would erase its replicas or accept writes that are lost later.

use super::succession::Candidate;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    Activity, AgentReport, AskFailed, DiskAccess, DiskRole, Epoch, InstanceName, Link, Observed, Persistence,
    Process, Role, ServerView, StartFailure, Unseen, Waiting,
};

/// What a data directory holds, as its agent finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Whose it is.
    pub owner: Owner,
    /// Its nodes.conf.
    pub nodes_conf: NodesFile,
    /// Is there an RDB or AOF with data in it?
    pub has_data: bool,
    /// Is there an AOF with data in it?
    pub has_aof: bool,
    /// Is there an RDB file? It carries the replication offset, so that a replica started from it may continue the stream.
    pub has_rdb: bool,
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

impl Disk {
    /// Does its data count? After the directory was emptied there is no AOF any more, and an RDB written later lacks what the
    /// siblings' AOF has: not if one of them has a copy.
    pub fn counts(&self, persistence: Persistence, siblings: &[(InstanceName, Sibling)]) -> bool {
        let copy = |(_, sibling): &(InstanceName, Sibling)| {
            matches!(sibling, Sibling::Cold(_) | Sibling::DownWithData)
        };
        let whole = self.owner == Owner::Ours || persistence != Persistence::Aof;
        self.has_data && (whole || !siblings.iter().any(copy))
    }
}

/// A sibling, judged by whether it may hold a newer copy than a server that is about to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sibling {
    /// Serves the slots already.
    Primary(Box<ServerView>),
    /// Was in sync in this run and runs: law 3 wants it promoted. With the epoch of the claim that it follows.
    Live(Candidate, Option<Epoch>),
    /// Its disk claims the slots with this epoch; it is not serving them now.
    Claims(Epoch),
    /// Runs with what its own disk gave it.
    Cold(Candidate),
    /// Does not run, has data on its disk.
    DownWithData,
    /// Holds nothing.
    Empty,
    /// Nothing is known: it may hold anything (law 1).
    Unknown,
}

/// Judges a sibling by its agent's report.
pub fn judge(name: &InstanceName, answer: &Result<AgentReport, AskFailed>) -> Sibling {
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
    let at_rest = |report: &AgentReport| match &report.disk_role {
        DiskRole::Primary { config_epoch, slots } if !slots.is_empty() => Sibling::Claims(*config_epoch),
        _ if report.has_data => Sibling::DownWithData,
        _ => Sibling::Empty,
    };
    let incarnation = match &report.process {
        Process::Down => return at_rest(report),
        Process::Running { incarnation, .. } => *incarnation,
    };
    match &report.server {
        Observed::Unknown(Unseen::Loading) => at_rest(report),
        Observed::Known(view) if view.owns_slots() => Sibling::Primary(Box::new(view.clone())),
        Observed::Known(view) => {
            let candidate =
                Candidate { instance: name.clone(), incarnation, replication: view.replication.clone() };
            match view.replication.link() {
                Some(Link::Up | Link::Lost) => {
                    let followed = view.primary().and_then(|primary| view.topology.get(&primary));
                    Sibling::Live(candidate, followed.map(|node| node.config_epoch))
                }
                Some(Link::NeverUp) if view.keys > 0 || report.has_data => Sibling::Cold(candidate),
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
pub enum Comeback {
    /// Start as the replica of the one that serves now.
    AsReplicaOf(Box<ServerView>),
    /// Start as the replica of that one, whose disk says that it owns the slots: it will serve, or promote us if only we hold
    /// data. A replica does no harm meanwhile.
    BehindClaim(InstanceName),
    /// Stay down: promote a replica first.
    FailOver {
        /// Also replicas whose copy comes from their own disk: this server's data is gone.
        cold: bool,
    },
    /// Start as primary again.
    AsPrimary,
    /// Stay down until these are known, or a copy comes up.
    Wait(Hold),
}

/// Why a server stays down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Nothing is known of these.
    Unknown(Vec<InstanceName>),
    /// That one has the copy and is not up.
    CopyOn(InstanceName),
    /// Nobody has a copy although there was data.
    NoCopy,
}

/// May the last owner of a shard's slots start again, and as what?
///
/// `own_epoch` is the epoch of its own claim, `whole` whether its own data directory is (a lost nodes.conf means that the data
/// may be lost with it), `has_data` whether it holds data, `accept_loss` whether the user lets the shard come back empty.
pub fn comeback(
    own_epoch: Epoch,
    whole: bool,
    has_data: bool,
    persistence: Persistence,
    accept_loss: bool,
    siblings: &[(InstanceName, Sibling)],
) -> Comeback {
    let find = |wanted: fn(&Sibling) -> bool| siblings.iter().find(|(_, sibling)| wanted(sibling));
    let claim = |view: &ServerView| view.myself().map(|node| node.config_epoch);
    let serving = siblings.iter().filter_map(|(name, sibling)| match sibling {
        Sibling::Primary(view) => Some((name, view)),
        _ => None,
    });
    // One whose claim is older than ours was replaced by us and has not heard of it: what we took since, it does not have.
    let newest = serving.max_by_key(|(_, view)| claim(view));
    let replaced = newest.filter(|(_, view)| whole && claim(view).is_some_and(|epoch| epoch < own_epoch));
    match (newest, replaced) {
        (Some((_, view)), None) => return Comeback::AsReplicaOf(view.clone()),
        // The others will tell it; then it is a replica that can be promoted.
        (_, Some((name, _))) if !has_data => return Comeback::Wait(Hold::CopyOn(name.clone())),
        _ => {}
    }
    // An older claim than what the others know of us is void: who starts with it is told so and follows us, and two servers
    // that follow each other never serve.
    let newer = |epoch: Epoch| epoch > own_epoch || !whole && epoch == own_epoch;
    let newer_claim = siblings.iter().find(|(_, s)| matches!(s, Sibling::Claims(epoch) if newer(*epoch)));
    if let Some((name, _)) = newer_claim {
        // A server whose own file is whole waits for the newer one to serve. One that has lost it could wait for one that waits
        // for it, because it holds the only data.
        let name = name.clone();
        return if whole { Comeback::Wait(Hold::CopyOn(name)) } else { Comeback::BehindClaim(name) };
    }
    let unknown: Vec<_> =
        siblings.iter().filter(|(_, s)| *s == Sibling::Unknown).map(|(name, _)| name.clone()).collect();
    // A replica that follows a newer claim than ours: we have been succeeded, and who did may serve, although nothing is known of it.
    let succeeded =
        |sibling: &Sibling| matches!(sibling, Sibling::Live(_, claim) if *claim > Some(own_epoch));
    if whole && !unknown.is_empty() && siblings.iter().any(|(_, sibling)| succeeded(sibling)) {
        return Comeback::Wait(Hold::Unknown(unknown));
    }
    if find(|s| matches!(s, Sibling::Live(..))).is_some() {
        return Comeback::FailOver { cold: false };
    }
    if !unknown.is_empty() {
        return Comeback::Wait(Hold::Unknown(unknown));
    }
    if has_data {
        return Comeback::AsPrimary;
    }
    if find(|s| matches!(s, Sibling::Cold(_))).is_some() {
        return Comeback::FailOver { cold: true };
    }
    // Without persistence what lies on a disk is what some synchronisation left there: nobody waits for it.
    if persistence != Persistence::None
        && let Some((name, _)) = find(|s| matches!(s, Sibling::DownWithData))
    {
        return Comeback::Wait(Hold::CopyOn(name.clone()));
    }
    // Nobody holds anything. That is what a cluster without persistence promises, and what one looks like that was never
    // written to; a directory that was wiped is another matter.
    if whole || persistence == Persistence::None || accept_loss {
        Comeback::AsPrimary
    } else {
        Comeback::Wait(Hold::NoCopy)
    }
}
