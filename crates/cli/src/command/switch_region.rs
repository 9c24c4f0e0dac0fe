//! `switch-region`: the cluster that follows another takes its place, and the other follows it from then on.
//!
//! The order keeps every write, whoever dies in between. The primary holds writes before its copy is promoted, and is demoted only for a copy
//! that has gone on from where its own stream ended: its agent judges that, not this command. A command that dies before the promotion leaves
//! writes held for half a minute; one that dies after it leaves nothing to be done.

use crate::called::called;
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use crate::target::local::LocalPlatform;
use crate::target::local::primary::{primary_connection, primary_port};
use anyhow::Context as _;
use std::time::{Duration, Instant};
use valkeeper_client::AdminConnection;
use valkeeper_local::{ClusterDir, Control, ControlAnswer, ControlRequest, StateDir};
use valkeeper_model::{
    ClusterName, ClusterSpec, DemotionHold, Offset, Refusal, ReplicaModeStage, ReplicaModeWaiting, Report,
    Request, Source, SourcePlace, Waiting,
};

const ASKED_WITHIN: Duration = Duration::from_secs(2);
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// Writes are held for 30 s at most ([`valkeeper_plan`]): a promotion begins within the first half of that, or not at all.
const HELD_WITHIN: Duration = Duration::from_secs(10);
const EQUAL_WITHIN: Duration = Duration::from_secs(5);
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);
const PROMOTED_WITHIN: Duration = Duration::from_secs(60);
const FOLLOWED_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One of the two clusters.
struct Side {
    name: ClusterName,
    dir: ClusterDir,
    control: Control,
}

impl Side {
    fn of(state: &StateDir, name: &ClusterName) -> Self {
        let dir = state.cluster(name);
        Self { name: name.clone(), control: Control::new(dir.clone()), dir }
    }

    async fn report(&self) -> anyhow::Result<Report> {
        let answer = self.control.ask(&ControlRequest::Status, ASKED_WITHIN).await;
        let seen = match answer.with_context(|| format!("cluster {}", self.name))? {
            ControlAnswer::Status(seen) => seen.report,
            ControlAnswer::Done | ControlAnswer::DownUnsaved(_) | ControlAnswer::Refused(_) => None,
        };
        seen.with_context(|| format!("cluster {} was not looked at yet", self.name))
    }

    async fn request(&self, request: Request) -> anyhow::Result<()> {
        self.ask(request).await?.map_err(|refusal| Failure::from(refusal).into())
    }

    async fn ask(&self, request: Request) -> anyhow::Result<Result<(), Refusal>> {
        let answer = self.control.ask(&ControlRequest::Do(request), REQUEST_WITHIN).await;
        Ok(match answer.with_context(|| format!("cluster {}", self.name))? {
            ControlAnswer::Refused(refusal) => Err(refusal),
            ControlAnswer::Done | ControlAnswer::DownUnsaved(_) | ControlAnswer::Status(_) => Ok(()),
        })
    }

    /// Ends a handover. In its first moments no look has shown yet that writes are held: a refusal for that is waited out.
    async fn cancel_handover(&self) -> anyhow::Result<()> {
        let until = Instant::now() + CANCELLED_WITHIN;
        loop {
            match self.ask(Request::CancelHandOver).await? {
                Err(Refusal::HandoverNotSeen) if Instant::now() < until => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(refusal) => return Err(Failure::from(refusal).into()),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// How it is followed.
    fn as_source(&self) -> anyhow::Result<Source> {
        let port = primary_port(&self.dir)?;
        Ok(Source {
            cluster_name: Some(self.name.to_string()),
            at: SourcePlace::Host { host: port.ip().to_string(), port: port.port() },
            user: None,
            auth_secret: Some(ClusterSpec::made_secret(&self.name)),
        })
    }
}

pub(super) async fn switch_region(
    here: &LocalPlatform,
    from: &ClusterName,
    to: &ClusterName,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let state = here.state_dir()?;
    let (old, new) = (Side::of(&state, from), Side::of(&state, to));
    let ended = ending.told()?;
    tokio::pin!(ended);
    let began = Instant::now();
    match begin(&old.report().await?, &new.report().await?, &old, &new)? {
        Begin::AtFirst => {}
        Begin::Anew => old.cancel_handover().await?,
        Begin::PromotedAlready => {
            eprintln!("{to} is promoted; {from} follows it");
            return until_over(&old, &new, began).await;
        }
    }
    let (before, after) = (primary_connection(&old.dir)?, primary_connection(&new.dir)?);
    eprintln!("{from} holds writes, until {to} is promoted");
    old.request(Request::HandOverTo { copy: Box::new(new.as_source()?) }).await?;
    let equal = tokio::select! {
        equal = until_equal(&old, &before, &after) => equal,
        () = ended.as_mut() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(why) = equal {
        old.cancel_handover().await.context("writes are taken again within 30 s")?;
        let what = format!("{to} was not promoted, and {from} takes writes again: {why:#}");
        return Err(Failure { kind: Kind::Failed, what, hint: None }.into());
    }
    eprintln!("{to} has everything; it is promoted");
    new.request(Request::Promote).await?;
    until_over(&old, &new, began).await
}

/// From the promotion on everything goes on by itself.
async fn until_over(old: &Side, new: &Side, began: Instant) -> anyhow::Result<()> {
    let (from, to) = (&old.name, &new.name);
    let held = until_promoted(new, began).await?;
    eprintln!("{to} takes writes, {} ms after they were held; {from} follows it now", held.as_millis());
    until_followed(old).await?;
    let Source { at, .. } = new.as_source()?;
    let SourcePlace::Host { host, port } = at else { return Ok(()) };
    eprintln!(
        "The manifests are to say so too. Of {to}: `promote: true` under replicaMode, or no replicaMode. Of {from}:\n  replicaMode:\n    enabled: \
         true\n    source:\n      host: {host}\n      port: {port}\n      clusterName: {to}\n      authSecretName: {}",
        ClusterSpec::made_secret(to)
    );
    Ok(())
}

/// Where to begin: a command that has died may have left something.
enum Begin {
    AtFirst,
    /// Writes may be held, or may not be held any more.
    Anew,
    PromotedAlready,
}

/// Nothing is begun that would have to wait for more than a moment.
fn begin(old: &Report, new: &Report, from: &Side, to: &Side) -> anyhow::Result<Begin> {
    let refuse = |what: String, hint: String| Err(Failure::new(Kind::Unsafe, what, hint).into());
    let status = |side: &Side| format!("`{} --cluster {} status` says why", called(), side.name);
    let copy = to.as_source()?;
    let has_begun = old
        .replica_mode
        .as_deref()
        .is_some_and(|mode| mode.stage == ReplicaModeStage::Following && mode.source == copy);
    let follower = new.replica_mode.as_deref();
    let is_copy = follower.is_some_and(|mode| mode.stage == ReplicaModeStage::Following);
    let is_promoted = follower.is_some_and(|mode| {
        matches!(mode.stage, ReplicaModeStage::Promoting { .. } | ReplicaModeStage::Promoted { .. })
    });
    if has_begun && is_promoted {
        return Ok(Begin::PromotedAlready);
    }
    if !old.healthy && !has_begun {
        return refuse(format!("cluster {} is not healthy", from.name), status(from));
    }
    if !is_copy {
        let hint =
            format!("`replicaMode` in its manifest, with {} as the source, makes it follow", from.name);
        return refuse(format!("cluster {} follows nobody", to.name), hint);
    }
    if !new.healthy || follower.is_none_or(|mode| mode.held_back.is_some() || mode.lag_bytes.is_none()) {
        return refuse(format!("cluster {} is not in sync with its source", to.name), status(to));
    }
    Ok(if has_begun { Begin::Anew } else { Begin::AtFirst })
}

/// Until writes are held there and everything before has come here.
async fn until_equal(old: &Side, before: &AdminConnection, after: &AdminConnection) -> anyhow::Result<()> {
    let until = Instant::now() + HELD_WITHIN;
    let end = loop {
        match held_at(&old.report().await?) {
            Ok(Some(end)) => break end,
            Ok(None) => {}
            Err(why) => anyhow::bail!("{why}"),
        }
        anyhow::ensure!(Instant::now() < until, "writes are not held after {} s", HELD_WITHIN.as_secs());
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let until = Instant::now() + EQUAL_WITHIN;
    loop {
        let (theirs, ours) =
            (before.replication(ASKED_WITHIN).await?, after.replication(ASKED_WITHIN).await?);
        anyhow::ensure!(theirs.replid == ours.replid, "the copy is not in the history of its source");
        if ours.offset >= end {
            return Ok(());
        }
        let behind = end.0.saturating_sub(ours.offset.0);
        anyhow::ensure!(
            Instant::now() < until,
            "the copy is {behind} bytes behind after {} s",
            EQUAL_WITHIN.as_secs()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where the stream of the old primary ends, once writes are held.
fn held_at(report: &Report) -> Result<Option<Offset>, String> {
    for waiting in &report.waiting {
        if let Waiting::ReplicaMode(ReplicaModeWaiting::DemotionHeld { why, .. }) = waiting {
            return match why {
                DemotionHold::AwaitsPromotion { at } => Ok(Some(*at)),
                other => Err(other.to_string()),
            };
        }
    }
    Ok(None)
}

async fn until_promoted(new: &Side, began: Instant) -> anyhow::Result<Duration> {
    let until = Instant::now() + PROMOTED_WITHIN;
    loop {
        let report = new.report().await?;
        if report.replica_mode.is_some_and(|mode| matches!(mode.stage, ReplicaModeStage::Promoted { .. })) {
            return Ok(began.elapsed());
        }
        anyhow::ensure!(
            Instant::now() < until,
            "cluster {} is being promoted, and does not get there",
            new.name
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn until_followed(old: &Side) -> anyhow::Result<()> {
    let until = Instant::now() + FOLLOWED_WITHIN;
    loop {
        let report = old.report().await?;
        if report.healthy && report.replica_mode.as_ref().is_some_and(|mode| mode.lag_bytes.is_some()) {
            return Ok(());
        }
        if Instant::now() >= until {
            let what = format!(
                "cluster {} does not follow {} s after the promotion",
                old.name,
                FOLLOWED_WITHIN.as_secs()
            );
            let hint = format!(
                "it takes no writes, and goes on by itself; `{} --cluster {} status` says why",
                called(),
                old.name
            );
            return Err(Failure::new(Kind::TimedOut, what, hint).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
