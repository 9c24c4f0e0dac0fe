//! What a changed manifest makes of following.

use valkeeper_model::{Position, Refusal, ReplicaMode, ReplicaModeSpec, ReplicaModeStage};

/// What the layout of a running cluster is to hold, by what it holds and what is wanted. The same wish again changes nothing.
pub fn follow(
    held: Option<&ReplicaMode>,
    wanted: Option<&ReplicaModeSpec>,
) -> Result<Option<ReplicaMode>, Refusal> {
    let (held, wanted) = match (held, wanted) {
        (None, None) => return Ok(None),
        (None, Some(wanted)) if wanted.promote => return Err(Refusal::NothingToPromote),
        (None, Some(wanted)) => {
            return Err(Refusal::WouldReplaceData { source_name: wanted.source.name() });
        }
        // What was promoted stays told.
        (Some(held), None) if !held.follows() => return Ok(Some(held.clone())),
        (Some(held), None) => return Err(Refusal::FollowsSource { source_name: held.source.name() }),
        (Some(held), Some(wanted)) => (held, wanted),
    };
    match (&held.stage, wanted.promote) {
        (ReplicaModeStage::Following, false) => {
            Ok(Some(ReplicaMode { source: wanted.source.clone(), ..held.clone() }))
        }
        (ReplicaModeStage::Following, true) => Ok(Some(promoting(held))),
        (ReplicaModeStage::Promoting { .. } | ReplicaModeStage::Promoted { .. }, true) => {
            Ok(Some(held.clone()))
        }
        (ReplicaModeStage::Promoting { .. }, false) => Err(Refusal::BeingPromoted),
        (ReplicaModeStage::Promoted { .. }, false) => {
            Err(Refusal::PromotedAlready { source_name: wanted.source.name() })
        }
        (ReplicaModeStage::Newer(_), _) => Ok(Some(held.clone())),
    }
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
    ReplicaMode { stage: ReplicaModeStage::Promoting { designated: None }, ..held.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::{NodeId, Source};

    fn source(port: u16) -> Source {
        let host = "10.0.0.1".to_owned();
        Source { cluster_name: Some("east".to_owned()), host, port, user: None, auth_secret: None }
    }

    fn wanted(port: u16, promote: bool) -> ReplicaModeSpec {
        ReplicaModeSpec { source: source(port), promote }
    }

    fn held(stage: ReplicaModeStage) -> ReplicaMode {
        let (held_back, accepted) = (None, None);
        ReplicaMode { source: source(1), node_id: NodeId::from_bytes([1; 20]), stage, held_back, accepted }
    }

    fn promoted() -> ReplicaModeStage {
        ReplicaModeStage::Promoted { designated: "dr-0".parse().unwrap(), loss: None }
    }

    #[test]
    fn a_source_may_move_while_it_is_followed_and_not_after() {
        let followed = held(ReplicaModeStage::Following);
        let moved = follow(Some(&followed), Some(&wanted(2, false))).unwrap().unwrap();
        assert_eq!((moved.source.port, moved.node_id), (2, followed.node_id));
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
    fn no_data_is_dropped_in_silence() {
        let refused = |held: Option<&ReplicaMode>, wanted: Option<ReplicaModeSpec>| {
            follow(held, wanted.as_ref()).unwrap_err()
        };
        let name = "east".to_owned();
        let again = Refusal::PromotedAlready { source_name: name.clone() };
        assert_eq!(refused(Some(&held(promoted())), Some(wanted(1, false))), again);
        let would = Refusal::WouldReplaceData { source_name: name.clone() };
        assert_eq!(refused(None, Some(wanted(1, false))), would);
        let still = Refusal::FollowsSource { source_name: name };
        assert_eq!(refused(Some(&held(ReplicaModeStage::Following)), None), still);
        assert_eq!(refused(None, Some(wanted(1, true))), Refusal::NothingToPromote);
        let promoting = held(ReplicaModeStage::Promoting { designated: None });
        assert_eq!(refused(Some(&promoting), Some(wanted(1, false))), Refusal::BeingPromoted);
        assert_eq!(promote(None), Err(Refusal::FollowsNobody));
    }
}
