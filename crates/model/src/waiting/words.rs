//! Reasons in words.

use super::Waiting;
use crate::{Address, CalledAs, FencedBy, FencedInstances, InstanceName, Paused, ReplicaCause, StoreError};
use std::fmt;

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, CalledAs::default())
    }
}

/// A reason in words, for people who call the command line so.
struct Told<'a>(&'a Waiting, CalledAs);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, self.1)
    }
}

impl Waiting {
    /// In words; what to type stands there as people call the command line.
    pub fn told(&self, called: CalledAs) -> String {
        Told(self, called).to_string()
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each reason: split, a missing one would be no error"
    )]
    fn write(&self, f: &mut fmt::Formatter<'_>, called: CalledAs) -> fmt::Result {
        let names =
            |list: &[InstanceName]| list.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::AgentUnknown { instance, why } => write!(f, "{instance}: its agent {}", why.0),
            Self::PodNotRunning { instance, why } => write!(f, "the pod of {instance} does not run: {why}"),
            Self::InstanceDown { instance } => write!(f, "{instance}: the server is down"),
            Self::ServerUnknown { instance, why } => write!(f, "{instance}: the server runs, but {}", why.0),
            Self::Busy { instance } => write!(
                f,
                "{instance}: busy with a script or a function, and refuses all other commands; `SCRIPT KILL` or \
                 `FUNCTION KILL` ends one that has written nothing"
            ),
            Self::CommandsHeldBack { instance } => write!(
                f,
                "{instance}: takes connections and carries out no command: `CLIENT PAUSE … ALL`, or more load than it can bear"
            ),
            Self::RightMissing { instance, command } => write!(
                f,
                "{instance}: its user `default` has no right to `{command}`, so that nothing is known of it: \
                 `ACL SETUSER default +{command}`"
            ),
            Self::LookRefused { instance, said } => {
                write!(f, "{instance}: the server runs, but does not let itself be looked at: {said}")
            }
            Self::ClientsKeptOut { instance, why } => write!(f, "{instance}: {why}"),
            Self::ClientsPaused { instance, paused: Paused::Writes } => write!(
                f,
                "{instance}: a `CLIENT PAUSE` holds writes back; `CLIENT UNPAUSE` there lets them go"
            ),
            Self::ClientsPaused { instance, paused: Paused::All } => {
                write!(f, "{instance}: a `CLIENT PAUSE` holds all clients back until its time is over")
            }
            Self::SlotsDisowned { instance, slots } => write!(
                f,
                "{instance}: does not serve slots {slots}, which are its shard's: it says itself that it does not own them"
            ),
            Self::SwitchoverHelps { shard, primary, to } => write!(
                f,
                "{shard}: {primary} cannot write its data to disk, {to} can: `valkeeper switchover {shard}`"
            ),
            Self::Loading { instance } => write!(f, "{instance}: the server is loading its data"),
            Self::DiskSilent { instance } => {
                write!(f, "{instance}: its disk does not answer; what waits for it goes on when it does")
            }
            Self::Fenced { instance, by } => {
                let request = format!("`{called} unfence {instance}`");
                let annotation = FencedInstances::ANNOTATION;
                match (by.has(&FencedBy::Request), by.has(&FencedBy::Annotation)) {
                    (true, false) => write!(f, "{instance}: fenced; {request} lets it run again"),
                    (false, true) => write!(
                        f,
                        "{instance}: fenced by the annotation {annotation}; it runs again when it is not named there"
                    ),
                    (true, true) => write!(
                        f,
                        "{instance}: fenced by the annotation {annotation} and by request; it runs again when it is not named there \
                         and after {request}"
                    ),
                    (false, false) if by.has(&FencedBy::Hibernation) => {
                        write!(f, "{instance}: down, since the cluster hibernates")
                    }
                    (false, false) => {
                        write!(f, "{instance}: fenced in a way that only a newer version of Valkeeper lifts")
                    }
                }
            }
            Self::Isolated { instance } => write!(
                f,
                "{instance}: does not reach a majority of the primaries and refuses writes: it may have been replaced"
            ),
            Self::PrimaryUnheard { instance } => {
                write!(f, "{instance}: its replicas do not hear of it; its host may be lost")
            }
            Self::DownUnconfirmed { instance, of } => write!(
                f,
                "{instance}: not heard, but not replaced either: whether it still serves is known only when a majority of \
                 the primaries has not heard of it, and nothing is known of {}",
                names(of)
            ),
            Self::StartFailed { instance, failure } => write!(f, "{instance}: {failure}"),
            Self::SiblingsUnknown { instance, siblings } => write!(
                f,
                "{instance}: not started while nothing is known of {}, which may hold the newest data",
                names(siblings)
            ),
            Self::CopyOnSibling { instance, sibling } => {
                write!(f, "{instance}: not started: {sibling} has the newer or only copy and is not up yet")
            }
            Self::CopyDoubtful { instance, shard, state, why } => {
                let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                write!(
                    f,
                    "{instance}: not started: {state}{why}, and no other copy of {shard} is known to be as new; put the right files \
                     back, or accept the loss with `{called} failover {shard} --accept-data-loss`"
                )
            }
            Self::DirectoryLost { instance } => write!(
                f,
                "{instance}: its data directory was emptied or is gone; what the server holds is in memory only"
            ),
            Self::AofIncomplete { instance } => write!(
                f,
                "{instance}: its append-only file does not hold all of its data yet; until then a loss of power loses writes"
            ),
            Self::AllCopiesMissing { shard } => write!(
                f,
                "{shard}: every copy of its data is gone (a disk not mounted?); bring one back, or accept the loss with \
                 `{called} failover {shard} --accept-data-loss`"
            ),
            Self::TopologyUnknown { instance } => {
                write!(
                    f,
                    "{instance}: its nodes.conf is lost and no other instance answers that could tell the topology"
                )
            }
            Self::NobodyToJoin { instance, shard } => {
                write!(f, "{instance}: joins {shard} when a primary serves there")
            }
            Self::NoPrimary { shard } => write!(f, "{shard}: no primary is seen"),
            Self::FailingOver { shard } => write!(f, "{shard}: failing over"),
            Self::SwitchingOver { shard } => write!(f, "{shard}: switching over"),
            Self::Disturbed { shard, instance, by } => {
                write!(f, "{shard}: {instance} counts as disturbed by {by}")
            }
            Self::OperationWaits { operation, why } => write!(f, "operation {operation} waits: {why}"),
            Self::OperationUnknown { operation, what } => {
                write!(f, "operation {operation} is left alone: {what}")
            }
            Self::RegisterUnusable { shard, why } => write!(
                f,
                "{shard}: its register does not vote, so that a primary that is lost with its disk may have no successor: {why}"
            ),
            Self::NoQuorum { alive, needed } => {
                write!(
                    f,
                    "{alive} primaries can vote and {needed} are needed: no failover by vote is possible"
                )
            }
            Self::SlotsUnserved { slots } => {
                write!(f, "slots {slots} are not served according to a majority of instances")
            }
            Self::ReplicasMissing { shard, in_sync, wanted, causes } => {
                write!(f, "{shard}: {in_sync} of {wanted} replicas in sync")?;
                causes
                    .iter()
                    .try_for_each(|ReplicaCause { instance, fault }| write!(f, "; {instance} {fault}"))
            }
            Self::ReplicaMode(waiting) => waiting.write(f, called),
            Self::Roll(waiting) => write!(f, "{waiting}"),
            Self::Sentinel(waiting) => write!(f, "{waiting}"),
            Self::Resize(waiting) => write!(f, "{waiting}"),
            Self::Kubernetes(waiting) => f.write_str(&waiting.told(called)),
            Self::ZoneShared { shard, zone } => write!(f, "{shard}: primary and replica share zone {zone}"),
            Self::NameElsewhere { instance } => {
                write!(
                    f,
                    "{instance}: its name does not lead to its address yet; no role is switched to it for zones"
                )
            }
            Self::NameUnknown { instance, host } => write!(
                f,
                "{instance}: clients are sent to {host}, which does not lead there: is that the DNS domain of this Kubernetes?"
            ),
            Self::ZoneMajority { zone, primaries, of } => {
                write!(
                    f,
                    "zone {zone} holds {primaries} of {of} primaries: losing it would lose the majority"
                )
            }
            Self::ZoneWithoutNodes { zone } => {
                write!(f, "no node is in zone {zone} any more: what runs there has no place to come back to")
            }
            Self::ViewDiffers { instance } => {
                write!(f, "{instance}: has not learned the current topology yet")
            }
            Self::HeldForFailed { instance, of } => write!(f, "{instance}: holds {of} for failed"),
            Self::Stranger { instance } => {
                write!(f, "{instance}: shakes hands with a node that is not known yet")
            }
            Self::ForeignNode { node, address, known_by } => write!(
                f,
                "node {node} at {} is no member of this cluster, and {known_by} {} it; `valkeeper forget {node}` removes it",
                place(address.as_ref()),
                if *known_by == 1 { "member knows" } else { "members know" }
            ),
            Self::SlotsTaken { shard, slots, node, address } => write!(
                f,
                "{shard}: its slots {slots} are owned by node {node} at {}, whose claim is newer",
                place(address.as_ref())
            ),
            Self::SlotsUnowned { shard, slots } => write!(f, "{shard}: nobody owns its slots {slots}"),
            Self::MembersUnknown { instance, members, count } => {
                let more = if *count > members.len() { ", …" } else { "" };
                write!(f, "{instance}: does not know {count} of the members ({}{more})", names(members))
            }
            Self::StepRefused { refused, why } => {
                write!(f, "{refused} was refused, and is tried again later: {why}")
            }
            Self::PromotionRefused { instance, why } => {
                write!(f, "{instance}: refuses to become primary: {why}")
            }
            Self::MayHaveWon { instance } => write!(
                f,
                "{instance}: was told to become primary and does not answer; another one is promoted when it cannot have won \
                 any more"
            ),
            Self::OpenSlots { instance } => write!(f, "{instance}: has slots that are being moved by hand"),
            Self::OldOrder { instance } => write!(f, "{instance}: its agent still obeys an older order"),
            Self::ConfigDiffers { instance, directives } => {
                write!(f, "{instance}: {} not set yet", directives.join(", "))
            }
            Self::RestartNeeded { instance, directives } => write!(
                f,
                "{instance}: {} can only change by a restart: `{called} restart {instance}`",
                directives.join(", ")
            ),
            Self::ConfigInvalid { instance, directives } => write!(
                f,
                "{instance}: the server does not take the configuration: {}; it keeps what it has: correct the manifest",
                crate::trial::list(directives)
            ),
            Self::ConfigByHand { instance, directives } => write!(
                f,
                "{instance}: {} set by hand: a restart undoes it; write it into spec.redis to keep it",
                directives.join(", ")
            ),
            Self::UsersByHand { instance, users } => write!(
                f,
                "{instance}: ACL users added by hand: {}; a restart undoes that, and the shard's other servers do not know them",
                users.join(", ")
            ),
            Self::PasswordUnusable { instance, why } => {
                write!(
                    f,
                    "{instance}: the wanted password cannot be used: {why}; the server keeps the one it has"
                )
            }
            Self::PersistenceFailing { instance } => {
                write!(f, "{instance}: cannot write its data to disk (full?): see `{called} logs {instance}`")
            }
            Self::MemoryFull { instance, used, limit } => write!(
                f,
                "{instance}: refuses writes, its memory is used up: {used} of {limit} bytes (OOM); raise spec.memory.maxMemory, \
                 or delete keys"
            ),
            Self::ClusterStateFail { instance } => write!(f, "{instance}: its cluster_state is not ok yet"),
            Self::NoSupervisor => write!(f, "no supervisor runs: `{called} up FILE` starts one"),
            Self::NotProvisioned { error } => {
                write!(f, "instances cannot be given what they run on: {error}")
            }
            Self::StoreFailed {
                error: error @ (StoreError::NotWritten { .. } | StoreError::Other { .. }),
            } => {
                write!(f, "the state cannot be stored: {error}")
            }
            Self::StoreFailed { error } => write!(f, "the stored state cannot be read: {error}"),
            Self::Newer(newer) => write!(f, "{newer}"),
        }
    }
}

/// An address, if there is one.
fn place(address: Option<&Address>) -> String {
    address.map_or_else(|| "an unknown address".to_owned(), ToString::to_string)
}
