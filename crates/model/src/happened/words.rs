//! What has happened, in words.

use super::Happened;
use crate::{CalledAs, CopySource, SlowCommand};
use std::fmt;

impl fmt::Display for Happened {
    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each event: split, a missing one would be no error"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founded { instances } => {
                write!(f, "cluster laid out: {instances} instances are to be made")
            }
            Self::DisturbanceEnded { shard, instance, why } => {
                write!(f, "{shard}: {instance} counts as disturbed no more: {why}")
            }
            Self::Joined { shard, instance } => write!(f, "{instance} has joined {shard}"),
            Self::Formed => f.write_str("cluster formed: every shard is served"),
            Self::Started { instance } => write!(f, "{instance} started"),
            Self::Adopted { instance } => write!(f, "{instance} was running and is watched again"),
            Self::PasswordAdded { instance, former_ms } => {
                let seconds = former_ms / 1_000;
                write!(
                    f,
                    "{instance} accepts the changed password, and the former one for another {seconds} s"
                )
            }
            Self::PasswordReplaced { instance } => {
                write!(f, "{instance} does not accept the former password any more")
            }
            Self::Died { instance, how, role: Some(role) } => write!(f, "{instance} ({role}) died: {how}"),
            Self::Died { instance, how, role: None } => write!(f, "{instance} died: {how}"),
            Self::Unresponsive { instance, silent_ms } => {
                write!(f, "{instance} killed: silent for {silent_ms} ms")
            }
            Self::SlowCommand { instance, slow: SlowCommand { command, client, took_ms } } => write!(
                f,
                "{instance} did not answer while it carried out {command} of {client} for {took_ms} ms"
            ),
            Self::FailedOver { shard, from, to, took_ms } => {
                let took = match took_ms {
                    Some(ms) => format!(" in {ms} ms"),
                    None => ", found dead when its watch began".to_owned(),
                };
                write!(f, "{shard} failed over from {from} to {to}{took}; writes not replicated yet are lost")
            }
            Self::RoseByItself { shard, instance, from } => {
                let from = from.as_ref().map(|from| format!(" instead of {from}")).unwrap_or_default();
                write!(
                    f,
                    "{instance} became primary of {shard}{from}, not by Valkeeper: by the engine's own election or by hand"
                )
            }
            Self::Rewired { instance, follows: Some(primary) } => {
                write!(f, "{instance} follows another node, not by Valkeeper: {primary}")
            }
            Self::Rewired { instance, follows: None } => {
                write!(f, "{instance} has become a primary without slots, not by Valkeeper")
            }
            Self::IdentityReset { instance, found } => {
                write!(
                    f,
                    "{instance} was given another node id by hand ({found}); it is restarted with its own"
                )
            }
            Self::SlotsTakenBack { shard, instance, slots } => {
                write!(f, "{instance} owns slots {slots} of {shard} again, which nobody owned any more")
            }
            Self::Forgotten { nodes } => {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "removed from every server: {}", nodes.join(", "))
            }
            Self::BetterCopyPromoted { shard, from, to, state } => {
                write!(f, "{shard}: {to} serves in the place of {from}: {state}")
            }
            Self::TakenOver { shard, to, alive, needed } => {
                write!(
                    f,
                    "{shard} taken over by {to} without a vote: {alive} primaries could vote, {needed} were needed"
                )
            }
            Self::AofLost { instance } => {
                write!(
                    f,
                    "{instance}: its append-only file is gone from its data directory; the server writes it anew"
                )
            }
            Self::BroughtHome { shard, from, to } => {
                write!(f, "{shard}: {to} takes over from {from}, which belongs to another shard")
            }
            Self::SwitchedOver { shard, from, to, paused_ms } => {
                write!(
                    f,
                    "{shard} switched over from {from} to {to}; writes held for {paused_ms} ms, none lost"
                )
            }
            Self::SwitchoverAbandoned { shard, why } => {
                write!(f, "{shard}: switchover given up, nothing changed: {why}")
            }
            Self::PodDisrupted { instance, why } => {
                write!(f, "the pod of {instance} is taken away by Kubernetes: {why}")
            }
            Self::NodesConfRebuilt { instance } => {
                write!(f, "{instance}: nodes.conf was lost or damaged and was rebuilt")
            }
            Self::EndedUnsaved { instance } => write!(
                f,
                "{instance} could not save its data when it was stopped (disk full?): its writes since the last snapshot are not on its disk"
            ),
            Self::SourceOutOfReach { source, witnesses } => {
                let told: Vec<String> = witnesses.iter().map(ToString::to_string).collect();
                write!(f, "{source} is out of reach of {}: the cluster is promoted", told.join(", "))
            }
            Self::HandoverBegun { to } => {
                write!(
                    f,
                    "handing over to {to}: writes are held until it is promoted, and it is followed then"
                )
            }
            Self::HandoverCancelled => f.write_str("the handover was cancelled: writes are taken again"),
            Self::ReplicaModePromoteRequested { source } => {
                write!(f, "promotion asked for: {source} is to be followed no more")
            }
            Self::ReplicaClusterPromoted { instance, source, loss } => {
                write!(f, "{instance} is the primary, and {source} is followed no more")?;
                match loss {
                    Some(loss) => write!(f, "; {loss}"),
                    None => f.write_str("; what it may lack of the source's writes is not known"),
                }
            }
            Self::CopyHeldBack { instance, why } => {
                write!(f, "{instance}: its copy is held back, since {why}")
            }
            Self::SourceAccepted { source } => {
                write!(f, "what {source} does was accepted: no copy is held back from it any more")
            }
            Self::ReplicaModeSourceUpdated { place } => write!(f, "the source is at {place} from now on"),
            Self::Fenced { instance } => write!(f, "{instance} fenced"),
            Self::Unfenced { instance } => write!(f, "{instance} unfenced"),
            Self::Isolated { instance, shard } => {
                write!(
                    f,
                    "{instance} does not reach a majority of the primaries, which may replace it: it refuses writes to {shard}"
                )
            }
            Self::IsolationEnded { instance, shard } => {
                write!(f, "{instance} ({shard}) is not isolated any more")
            }
            Self::CopiesDiffer { instance, keys, primary_keys } => write!(
                f,
                "{instance} holds {keys} keys where its primary holds {primary_keys}: it takes its primary's copy anew"
            ),
            Self::CopySetAside { instance, why, source, folder } => {
                let files = match source {
                    CopySource::Aof => "append-only file",
                    CopySource::Rdb => "snapshot",
                    CopySource::Nothing => "no file",
                };
                write!(
                    f,
                    "{instance}: its {files} {why}; moved to {folder} in its data directory, not deleted"
                )
            }
            Self::LossAccepted { shard } => write!(f, "{shard}: the loss of its data was accepted"),
            Self::StartFailed { instance, failure } => write!(f, "{instance} could not start: {failure}"),
            Self::ConfigChanged { directives } => {
                write!(f, "configuration changed: {}", directives.join(", "))
            }
            Self::ConfigPutBack { instance, directives } => {
                write!(f, "{instance}: {} changed by hand and put back", directives.join(", "))
            }
            Self::BecameHealthy => f.write_str("cluster healthy"),
            Self::BecameUnhealthy { .. } => f.write_str(&self.told(CalledAs::default())),
            Self::Slots(happened) => happened.fmt(f),
            Self::Stopped => f.write_str("supervisor stopped"),
            Self::Resize(happened) => write!(f, "{happened}"),
            Self::Hibernation(happened) => write!(f, "{happened}"),
            Self::Roll(happened) => write!(f, "{happened}"),
            Self::Newer(newer) => write!(f, "{newer}"),
        }
    }
}
