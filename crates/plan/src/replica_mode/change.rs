//! What a changed manifest makes of following.

use super::demotion::{self, OwnData};
use valkeeper_model::{
    BeforeHandover, ClusterId, DataLoss, Demotion, NodeId, Position, Refusal, ReplacedData, ReplicaMode,
    ReplicaModeRefusal, ReplicaModeReport, ReplicaModeSpec, ReplicaModeStage, Source,
};

/// What a wish comes to.
enum Change {
    /// What is held stays.
    None,
    /// A cluster with a primary of its own is to follow.
    GoOver,
    /// It is followed on; the source may be another from now on.
    Follow,
    /// The following is to end.
    Promotion,
}

/// What the layout of a running cluster is to hold, by what it holds and what is wanted. The same wish again changes nothing.
pub fn follow(
    held: Option<&ReplicaMode>,
    wanted: Option<&ReplicaModeSpec>,
    own: &OwnData,
) -> Result<Option<ReplicaMode>, Refusal> {
    let change = judge(held.map(|held| (&held.source, &held.stage)), wanted)?;
    Ok(match (held, wanted, change) {
        (held, Some(wanted), Change::GoOver) => Some(go_over(held, wanted, own)?),
        (Some(held), Some(wanted), Change::Follow) => {
            // Who goes over already, and is held up by what was written since, may give it up.
            let gives_up = held.demotion.filter(|_| wanted.data_loss.accepts(own.history()));
            let demotion = gives_up.map(|_| Demotion::LossAccepted).or(held.demotion);
            let (source, automatic) = (wanted.source.clone(), wanted.automatic);
            Some(ReplicaMode { source, demotion, automatic, ..held.clone() })
        }
        (Some(held), _, Change::Promotion) => Some(promoting(held)),
        (held, ..) => held.cloned(),
    })
}

/// Why a running cluster, as people are told of it, does not take that wish; `None` if it does, as far as can be said without a look at its
/// data. A promotion is never taken back without a word of the data: that it may be empty is not known here.
pub fn refuse_change(held: Option<&ReplicaModeReport>, wanted: Option<&ReplicaModeSpec>) -> Option<Refusal> {
    let change = match judge(held.map(|held| (&held.source, &held.stage)), wanted) {
        Ok(change) => change,
        Err(refusal) => return Some(refusal),
    };
    let says_nothing =
        |wanted: &&ReplicaModeSpec| wanted.token.is_none() && wanted.data_loss == DataLoss::Refused;
    match (change, held, wanted.filter(says_nothing)) {
        (Change::GoOver, Some(_), Some(wanted)) => {
            let (source_name, data) = (wanted.source.name(), ReplacedData::default());
            Some(ReplicaModeRefusal::PromotedAlready { source_name, data }.into())
        }
        _ => None,
    }
}

fn judge(
    held: Option<(&Source, &ReplicaModeStage)>,
    wanted: Option<&ReplicaModeSpec>,
) -> Result<Change, Refusal> {
    let ((source, stage), wanted) = match (held, wanted) {
        (None, None) => return Ok(Change::None),
        (None, Some(wanted)) if wanted.promote => return Err(Refusal::NothingToPromote),
        (None, Some(_)) => return Ok(Change::GoOver),
        // What was promoted stays told.
        (Some((_, stage)), None) if !stage.follows() => return Ok(Change::None),
        (Some((source, _)), None) => return Err(Refusal::FollowsSource { source_name: source.name() }),
        (Some(held), Some(wanted)) => (held, wanted),
    };
    match (stage, wanted.promote) {
        (ReplicaModeStage::Following, false) => Ok(Change::Follow),
        (ReplicaModeStage::Following, true) => Ok(Change::Promotion),
        // The manifest that wished for a promotion without a person is applied again and again after it.
        (ReplicaModeStage::Promoting { .. } | ReplicaModeStage::Promoted { .. }, false)
            if leaves_promotion_to_witnesses(wanted) && wanted.source == *source =>
        {
            Ok(Change::None)
        }
        (ReplicaModeStage::Promoting { .. }, false) => Err(Refusal::BeingPromoted),
        (ReplicaModeStage::Promoted { .. }, false) => Ok(Change::GoOver),
        (ReplicaModeStage::Promoting { .. } | ReplicaModeStage::Promoted { .. }, true)
        | (ReplicaModeStage::Newer(_), _) => Ok(Change::None),
    }
}

/// A cluster with a primary of its own goes over to following, if nothing is lost by that, or a person has accepted it.
fn go_over(
    held: Option<&ReplicaMode>,
    wanted: &ReplicaModeSpec,
    own: &OwnData,
) -> Result<ReplicaMode, Refusal> {
    let allowed = demotion::judge(held, wanted, own)?;
    Ok(ReplicaMode {
        source: wanted.source.clone(),
        node_id: held.map_or_else(|| NodeId::of_source(own.cluster), |held| held.node_id),
        stage: ReplicaModeStage::Following,
        held_back: None,
        accepted: None,
        demotion: Some(allowed.demotion),
        used_token: allowed.used_token,
        automatic: wanted.automatic,
        witnesses: Vec::new(),
        before_handover: None,
    })
}

/// The same for a user who has a copy of this cluster take its place: writes are held, and the copy is followed once it is promoted.
pub fn hand_over(
    held: Option<&ReplicaMode>,
    copy: Source,
    cluster: ClusterId,
) -> Result<ReplicaMode, Refusal> {
    if let Some(held) = held.filter(|held| held.follows()) {
        let is_same = held.demotion == Some(Demotion::Handover) && held.source == copy;
        return if is_same {
            Ok(held.clone())
        } else {
            Err(Refusal::FollowsSource { source_name: held.source.name() })
        };
    }
    let before = BeforeHandover { replica_mode: held.cloned().map(Box::new) };
    Ok(ReplicaMode {
        source: copy,
        node_id: held.map_or_else(|| NodeId::of_source(cluster), |held| held.node_id),
        stage: ReplicaModeStage::Following,
        held_back: None,
        accepted: None,
        demotion: Some(Demotion::Handover),
        before_handover: Some(Box::new(before)),
        used_token: held.and_then(|held| held.used_token),
        automatic: None,
        witnesses: Vec::new(),
    })
}

/// What is held once a handover is cancelled; `None` if there is none to cancel, as the cluster follows the promoted copy already, or takes
/// writes as before.
pub fn cancel_hand_over(held: Option<&ReplicaMode>) -> Option<Option<Box<ReplicaMode>>> {
    let held = held.filter(|held| held.demotion == Some(Demotion::Handover))?;
    Some(held.before_handover.as_ref().and_then(|before| before.replica_mode.clone()))
}

/// Does the manifest say nothing of whether the cluster is promoted by now?
fn leaves_promotion_to_witnesses(wanted: &ReplicaModeSpec) -> bool {
    wanted.automatic.is_some() && wanted.token.is_none() && wanted.data_loss == DataLoss::Refused
}

/// The same for a user who asks for the promotion alone.
pub fn promote(held: Option<&ReplicaMode>) -> Result<ReplicaMode, Refusal> {
    let held = held.ok_or(Refusal::FollowsNobody)?;
    Ok(match held.stage {
        ReplicaModeStage::Following => promoting(held),
        ReplicaModeStage::Promoting { .. }
        | ReplicaModeStage::Promoted { .. }
        | ReplicaModeStage::Newer(_) => held.clone(),
    })
}

/// The same for a user who gives up the copy that is held back. `source` is where the source's stream is now.
pub fn accept(held: Option<&ReplicaMode>, source: Option<Position>) -> Result<ReplicaMode, Refusal> {
    let held = held.filter(|held| held.follows()).ok_or(Refusal::FollowsNobody)?;
    if held.held_back.is_none() {
        return Err(Refusal::NothingHeldBack);
    }
    let accepted = Some(source.ok_or(Refusal::SourceNotSeen)?);
    Ok(ReplicaMode { held_back: None, accepted, ..held.clone() })
}

fn promoting(held: &ReplicaMode) -> ReplicaMode {
    let stage = ReplicaModeStage::Promoting { designated: None };
    ReplicaMode { stage, demotion: None, ..held.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use valkeeper_model::{AutomaticPromotion, SourcePlace};

    /// Nobody has looked.
    fn own() -> OwnData {
        let copies = BTreeMap::from([("dr-0".parse().unwrap(), None)]);
        OwnData { cluster: ClusterId::from_bytes([2; 20]), copies, primary: None }
    }

    fn follow(
        held: Option<&ReplicaMode>,
        wanted: Option<&ReplicaModeSpec>,
    ) -> Result<Option<ReplicaMode>, Refusal> {
        super::follow(held, wanted, &own())
    }

    fn source(port: u16) -> Source {
        let host = "10.0.0.1".to_owned();
        Source {
            cluster_name: Some("east".to_owned()),
            at: SourcePlace::Host { host, port },
            user: None,
            auth_secret: None,
        }
    }

    fn wanted(port: u16, promote: bool) -> ReplicaModeSpec {
        ReplicaModeSpec {
            source: source(port),
            promote,
            token: None,
            data_loss: DataLoss::Refused,
            automatic: None,
        }
    }

    fn held(stage: ReplicaModeStage) -> ReplicaMode {
        ReplicaMode {
            source: source(1),
            node_id: NodeId::from_bytes([1; 20]),
            stage,
            held_back: None,
            accepted: None,
            demotion: None,
            before_handover: None,
            used_token: None,
            automatic: None,
            witnesses: Vec::new(),
        }
    }

    fn promoted() -> ReplicaModeStage {
        ReplicaModeStage::Promoted { designated: "dr-0".parse().unwrap(), loss: None, point: None }
    }

    #[test]
    fn a_source_may_move_while_it_is_followed_and_not_after() {
        let followed = held(ReplicaModeStage::Following);
        let moved = follow(Some(&followed), Some(&wanted(2, false))).unwrap().unwrap();
        assert_eq!((&moved.source, moved.node_id), (&source(2), followed.node_id));
        let done = held(promoted());
        assert_eq!(follow(Some(&done), Some(&wanted(2, true))), Ok(Some(done.clone())));
        assert_eq!(follow(Some(&done), None), Ok(Some(done)));
    }

    #[test]
    fn a_promotion_is_asked_for_once_however_often_the_manifest_is_applied() {
        let followed = held(ReplicaModeStage::Following);
        let once = follow(Some(&followed), Some(&wanted(1, true))).unwrap().unwrap();
        assert_eq!(once.stage, ReplicaModeStage::Promoting { designated: None });
        assert_eq!(follow(Some(&once), Some(&wanted(1, true))), Ok(Some(once.clone())));
        assert_eq!(promote(Some(&once)), Ok(once));
    }

    #[test]
    fn a_manifest_that_leaves_the_promotion_to_witnesses_holds_after_it() {
        let automatic = Some(AutomaticPromotion { after_ms: 30_000, witnesses: 2 });
        let left = ReplicaModeSpec { automatic, ..wanted(1, false) };
        let done = held(promoted());
        assert_eq!(follow(Some(&done), Some(&left)), Ok(Some(done.clone())));
        let promoting = held(ReplicaModeStage::Promoting { designated: None });
        assert_eq!(follow(Some(&promoting), Some(&left)), Ok(Some(promoting.clone())));
        // Another source is another wish, and no data is dropped for it.
        let elsewhere = ReplicaModeSpec { automatic, ..wanted(2, false) };
        assert!(follow(Some(&done), Some(&elsewhere)).is_err());
        let followed = held(ReplicaModeStage::Following);
        assert_eq!(follow(Some(&followed), Some(&left)).unwrap().unwrap().automatic, automatic);
    }

    #[test]
    fn no_data_is_dropped_in_silence() {
        let refused = |held: Option<&ReplicaMode>, wanted: Option<ReplicaModeSpec>| {
            follow(held, wanted.as_ref()).unwrap_err()
        };
        let name = "east".to_owned();
        let again = refused(Some(&held(promoted())), Some(wanted(1, false)));
        assert!(matches!(again, Refusal::ReplicaMode(ReplicaModeRefusal::PromotedAlready { .. })), "{again}");
        let would = refused(None, Some(wanted(1, false)));
        assert!(
            matches!(would, Refusal::ReplicaMode(ReplicaModeRefusal::WouldReplaceData { .. })),
            "{would}"
        );
        let still = Refusal::FollowsSource { source_name: name };
        assert_eq!(refused(Some(&held(ReplicaModeStage::Following)), None), still);
        assert_eq!(refused(None, Some(wanted(1, true))), Refusal::NothingToPromote);
        let promoting = held(ReplicaModeStage::Promoting { designated: None });
        assert_eq!(refused(Some(&promoting), Some(wanted(1, false))), Refusal::BeingPromoted);
        assert_eq!(promote(None), Err(Refusal::FollowsNobody));
    }
}
