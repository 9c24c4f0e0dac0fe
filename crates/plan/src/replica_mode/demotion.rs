//! A cluster with data of its own goes over to following a source: what is refused, what may be replaced, and what keeps its primary from
//! being demoted for the source.
//!
//! A copy of the cluster that was promoted has everything of the common history up to the point that its token names
//! ([`PromotionToken`]). What was written here after that point it does not have. Offsets alone do not tell what was written: the stream of a
//! primary with replicas goes on by a `PING` every 10 s. So the place of the last write counts, as far as its agent knows it.

use std::collections::BTreeMap;
use valkeeper_model::{
    ClusterId, Demotion, DemotionForecast, DemotionHold, HeldData, InstanceName, Layout, Lost, Position,
    PromotionToken, Refusal, ReplacedCopy, ReplacedData, ReplicaMode, ReplicaModeRefusal, ReplicaModeSpec,
    ReplicationId, Report, Resync, ServerView, SourceView, TokenFault, UsedToken,
};

/// What is known of the data of a cluster.
#[derive(Debug, Clone)]
pub struct OwnData {
    /// Which cluster.
    pub cluster: ClusterId,
    /// What each instance holds; `None` where it was not seen.
    pub copies: BTreeMap<InstanceName, Option<HeldData>>,
    /// Who takes the writes, if that was seen.
    pub primary: Option<InstanceName>,
}

impl OwnData {
    /// By what was seen last; `None` where nobody has looked.
    pub fn of(layout: &Layout, report: Option<&Report>) -> Self {
        let seen = |name: &InstanceName| {
            let one = report?.instances.iter().find(|one| one.name == *name)?;
            one.data.as_deref().cloned()
        };
        let copies = layout.instances.keys().map(|name| (name.clone(), seen(name))).collect();
        let primary = report.and_then(|report| report.shards.first()?.primary.clone());
        Self { cluster: layout.id, copies, primary }
    }

    /// Was each instance seen, and does none hold a key?
    fn is_empty(&self) -> bool {
        !self.copies.is_empty()
            && self.copies.values().all(|data| data.as_ref().is_some_and(|data| data.keys == 0))
    }

    /// What the primary holds, where all instances were seen: one that was not seen may hold more.
    fn whole(&self) -> Option<&HeldData> {
        let all = self.copies.values().all(Option::is_some);
        self.copies.get(self.primary.as_ref()?)?.as_ref().filter(|_| all)
    }

    /// The history in which the primary is, if it was seen.
    pub(super) fn history(&self) -> Option<ReplicationId> {
        self.replaced().history
    }

    fn replaced(&self) -> ReplacedData {
        let primary = self.primary.as_ref().and_then(|primary| self.copies.get(primary)?.as_ref());
        let seen = self.copies.iter().filter_map(|(instance, data)| {
            let HeldData { keys, memory_bytes, .. } = data.as_ref()?;
            Some(ReplacedCopy { instance: instance.clone(), keys: *keys, memory_bytes: *memory_bytes })
        });
        ReplacedData { history: primary.map(|data| data.position.history), copies: seen.collect() }
    }
}

/// That a cluster may go over to following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) demotion: Demotion,
    pub(super) used_token: Option<UsedToken>,
}

/// How what was written compares with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Nothing after its point.
    Covered,
    /// So many bytes of the stream after it, at most; `None` where nobody knows.
    Beyond(Option<u64>),
}

fn written(data: &HeldData, up_to: Position) -> Result<Written, TokenFault> {
    if data.position.history == up_to.history {
        let last = data.last_write.unwrap_or(data.position.offset);
        return Ok(match last.0.checked_sub(up_to.offset.0) {
            None | Some(0) => Written::Covered,
            Some(bytes) => Written::Beyond(Some(bytes)),
        });
    }
    if data.former_histories.contains(&up_to.history) {
        return Ok(Written::Beyond(None));
    }
    Err(TokenFault::OtherCluster { history: up_to.history })
}

/// May the cluster go over to following what is wanted, and at the loss of what?
pub(super) fn judge(
    held: Option<&ReplicaMode>,
    wanted: &ReplicaModeSpec,
    own: &OwnData,
) -> Result<Allowed, Refusal> {
    let refused = |why| Refusal::from(ReplicaModeRefusal::TokenRefused { why });
    let token = wanted.token.as_deref().map(|text| read(text, held, own)).transpose().map_err(refused)?;
    let used_token = token
        .map(|token| UsedToken { cluster: token.cluster, term: token.point.term })
        .or_else(|| held?.used_token);
    let allowed = |demotion| Ok(Allowed { demotion, used_token });
    if own.is_empty() {
        return allowed(Demotion::Empty);
    }
    let (source_name, data) = (wanted.source.name(), own.replaced());
    let is_accepted = wanted.data_loss.accepts(data.history);
    let Some(PromotionToken { point, .. }) = token else {
        return match held {
            _ if is_accepted => allowed(Demotion::LossAccepted),
            Some(_) => Err(ReplicaModeRefusal::PromotedAlready { source_name, data }.into()),
            None => Err(ReplicaModeRefusal::WouldReplaceData { source_name, data }.into()),
        };
    };
    let Some(primary) = own.whole() else {
        return if is_accepted {
            allowed(Demotion::LossAccepted)
        } else {
            Err(ReplicaModeRefusal::DataNotSeen.into())
        };
    };
    match written(primary, point.from).map_err(refused)? {
        Written::Covered => allowed(Demotion::Covered { up_to: point.from, source_history: point.history }),
        Written::Beyond(_) if is_accepted => allowed(Demotion::LossAccepted),
        Written::Beyond(bytes) => {
            let after = point.from.offset;
            Err(ReplicaModeRefusal::WrittenSincePromotion { source_name, after, bytes, data }.into())
        }
    }
}

fn read(text: &str, held: Option<&ReplicaMode>, own: &OwnData) -> Result<PromotionToken, TokenFault> {
    let token: PromotionToken = text.parse()?;
    if token.cluster == own.cluster {
        return Err(TokenFault::Own);
    }
    let used = held.and_then(|held| held.used_token).filter(|used| used.cluster == token.cluster);
    match used {
        Some(used) if token.point.term <= used.term => {
            Err(TokenFault::OlderPromotion { term: token.point.term, used: used.term })
        }
        _ => Ok(token),
    }
}

/// Is the source the one that the cluster goes over to?
pub(super) fn is_meant(demotion: &Demotion, source: &SourceView) -> bool {
    match demotion {
        Demotion::Empty | Demotion::LossAccepted => true,
        Demotion::Covered { source_history, .. } => {
            source.replid == *source_history
                || source.branched_from.is_some_and(|from| from.history == *source_history)
        }
        Demotion::Handover => source.follows.is_none(),
    }
}

/// What keeps a primary from being demoted for the source; `last_write` is the place after which its data has not changed.
pub fn hold(
    demotion: &Demotion,
    source: &SourceView,
    own: &ServerView,
    last_write: Option<Position>,
) -> Option<DemotionHold> {
    let at = own.replication.position();
    if *demotion == Demotion::Handover && source.follows.is_some() && source.replid == at.history {
        return Some(DemotionHold::AwaitsPromotion { at: at.offset });
    }
    if !is_meant(demotion, source) {
        return Some(DemotionHold::OtherSource { history: source.replid });
    }
    match demotion {
        // The copy has gone on from this very history.
        Demotion::Handover => match source.branched_from.filter(|from| from.history == at.history) {
            Some(from) => match written(&held_data(own, last_write), from) {
                Ok(Written::Covered) => None,
                Ok(Written::Beyond(bytes)) => Some(DemotionHold::WrittenSince { bytes }),
                Err(_) => Some(DemotionHold::WrittenSince { bytes: None }),
            },
            None => Some(DemotionHold::OtherSource { history: source.replid }),
        },
        Demotion::LossAccepted => None,
        Demotion::Empty => (own.keys > 0).then_some(DemotionHold::WrittenSince { bytes: None }),
        Demotion::Covered { up_to, .. } => match written(&held_data(own, last_write), *up_to) {
            Ok(Written::Covered) => None,
            Ok(Written::Beyond(bytes)) => Some(DemotionHold::WrittenSince { bytes }),
            Err(_) => Some(DemotionHold::WrittenSince { bytes: None }),
        },
    }
}

/// What a server holds.
pub fn held_data(view: &ServerView, last_write: Option<Position>) -> HeldData {
    let position = view.replication.position();
    HeldData {
        keys: view.keys,
        memory_bytes: view.memory_bytes,
        position,
        last_write: last_write.filter(|last| last.history == position.history).map(|last| last.offset),
        former_histories: view.branched_from.map(|from| from.history).into_iter().collect(),
    }
}

/// What a cluster would go through that `next` makes go over to following; `None` if it does not, or does so already.
pub fn forecast(
    own: &OwnData,
    before: Option<&ReplicaMode>,
    next: Option<&ReplicaMode>,
    wanted: Option<&ReplicaModeSpec>,
) -> Option<DemotionForecast> {
    let demotion = next?.demotion.filter(|_| before.is_none_or(|before| !before.follows()))?;
    let primary = own.whole();
    let token = wanted?.token.as_deref().and_then(|text| text.parse::<PromotionToken>().ok());
    let resync = || {
        let (from, at) = (token?.point.from, primary?.position);
        let bytes = (at.history == from.history).then(|| at.offset.0.saturating_sub(from.offset.0))?;
        Some(if bytes == 0 { Resync::Partial { from: at.offset } } else { Resync::FullBeyond { bytes } })
    };
    let lost = match (demotion, token) {
        (Demotion::Empty | Demotion::Covered { .. } | Demotion::Handover, _) => Lost::Nothing,
        (Demotion::LossAccepted, Some(token)) => {
            let bytes = primary.and_then(|data| match written(data, token.point.from) {
                Ok(Written::Beyond(bytes)) => bytes,
                Ok(Written::Covered) => Some(0),
                Err(_) => None,
            });
            Lost::After { offset: token.point.from.offset, bytes }
        }
        (Demotion::LossAccepted, None) => Lost::All(own.replaced()),
    };
    Some(DemotionForecast { resync: resync().unwrap_or(Resync::Full), lost })
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::{
        DataLoss, Epoch, NodeId, Offset, PromotionPoint, ReplicaModeStage, Source, SourcePlace,
    };

    fn id(n: u8) -> ReplicationId {
        ReplicationId::from_bytes([n; 20])
    }

    /// In history 1 at offset 128, its last write at 100: the rest are `PING`s.
    fn own(last_write: u64, keys: u64) -> OwnData {
        let data = HeldData {
            keys,
            memory_bytes: 1_000,
            position: Position { history: id(1), offset: Offset(128) },
            last_write: Some(Offset(last_write)),
            former_histories: vec![id(9)],
        };
        let name: InstanceName = "east-0".parse().unwrap();
        let copies = [(name.clone(), Some(data))].into();
        OwnData { cluster: ClusterId::from_bytes([1; 20]), copies, primary: Some(name) }
    }

    fn token(cluster: u8, term: u64, history: u8, offset: u64) -> String {
        let from = Position { history: id(history), offset: Offset(offset) };
        let point = PromotionPoint { from, history: id(2), term: Epoch(term) };
        PromotionToken { cluster: ClusterId::from_bytes([cluster; 20]), point }.to_string()
    }

    fn wanted(token: Option<String>, data_loss: DataLoss) -> ReplicaModeSpec {
        let (cluster_name, host) = (Some("west".to_owned()), "10.0.0.1".to_owned());
        let source =
            Source { cluster_name, at: SourcePlace::Host { host, port: 1 }, user: None, auth_secret: None };
        ReplicaModeSpec { source, promote: false, token, data_loss, automatic: None }
    }

    fn used(term: u64) -> ReplicaMode {
        ReplicaMode {
            source: wanted(None, DataLoss::Refused).source,
            node_id: NodeId::from_bytes([7; 20]),
            stage: ReplicaModeStage::Promoted {
                designated: "east-0".parse().unwrap(),
                loss: None,
                point: None,
            },
            held_back: None,
            accepted: None,
            demotion: None,
            before_handover: None,
            used_token: Some(UsedToken { cluster: ClusterId::from_bytes([2; 20]), term: Epoch(term) }),
            automatic: None,
            witnesses: Vec::new(),
        }
    }

    fn refusal(own: &OwnData, held: Option<&ReplicaMode>, token: Option<String>) -> ReplicaModeRefusal {
        match judge(held, &wanted(token, DataLoss::Refused), own) {
            Err(Refusal::ReplicaMode(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_covers_what_was_written_up_to_its_point() {
        let spec = |offset| wanted(Some(token(2, 3, 1, offset)), DataLoss::Refused);
        let allowed = judge(None, &spec(100), &own(100, 5)).unwrap();
        let up_to = Position { history: id(1), offset: Offset(100) };
        assert_eq!(allowed.demotion, Demotion::Covered { up_to, source_history: id(2) });
        assert_eq!(allowed.used_token.map(|used| used.term), Some(Epoch(3)));
        let beyond = refusal(&own(110, 5), None, Some(token(2, 3, 1, 100)));
        assert!(
            matches!(beyond, ReplicaModeRefusal::WrittenSincePromotion { bytes: Some(10), .. }),
            "{beyond:?}"
        );
        let anew = refusal(&own(100, 5), None, Some(token(2, 3, 9, 100)));
        assert!(matches!(anew, ReplicaModeRefusal::WrittenSincePromotion { bytes: None, .. }), "{anew:?}");
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said_before_anything_else() {
        let fault = |held: Option<&ReplicaMode>, token| match refusal(&own(100, 5), held, Some(token)) {
            ReplicaModeRefusal::TokenRefused { why } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(None, "vk1.x".to_owned()), TokenFault::Damaged);
        assert_eq!(fault(None, token(1, 3, 1, 100)), TokenFault::Own);
        assert_eq!(fault(None, token(2, 3, 8, 100)), TokenFault::OtherCluster { history: id(8) });
        let older = TokenFault::OlderPromotion { term: Epoch(3), used: Epoch(3) };
        assert_eq!(fault(Some(&used(3)), token(2, 3, 1, 100)), older);
        assert!(
            judge(Some(&used(2)), &wanted(Some(token(2, 3, 1, 100)), DataLoss::Refused), &own(100, 5))
                .is_ok()
        );
        // Another cluster counts its own terms.
        assert!(
            judge(Some(&used(9)), &wanted(Some(token(3, 1, 1, 100)), DataLoss::Refused), &own(100, 5))
                .is_ok()
        );
    }

    #[test]
    fn data_is_given_up_by_name_only() {
        let data = own(100, 5);
        assert!(matches!(refusal(&data, None, None), ReplicaModeRefusal::WouldReplaceData { .. }));
        assert!(matches!(refusal(&data, Some(&used(1)), None), ReplicaModeRefusal::PromotedAlready { .. }));
        for (loss, is_allowed) in [
            (DataLoss::Accepted, true),
            (DataLoss::AcceptedOf(id(1)), true),
            (DataLoss::AcceptedOf(id(2)), false),
        ] {
            assert_eq!(judge(None, &wanted(None, loss), &data).is_ok(), is_allowed, "{loss:?}");
        }
        assert_eq!(
            judge(None, &wanted(None, DataLoss::Refused), &own(0, 0)).unwrap().demotion,
            Demotion::Empty
        );
        // An instance that is not seen may hold anything.
        let mut unseen = own(0, 0);
        unseen.copies.insert("east-1".parse().unwrap(), None);
        assert!(judge(None, &wanted(None, DataLoss::Refused), &unseen).is_err());
        assert_eq!(refusal(&unseen, None, Some(token(2, 3, 1, 100))), ReplicaModeRefusal::DataNotSeen);
    }

    #[test]
    fn the_engine_goes_on_only_where_the_stream_did_not_go_beyond_the_promotion() {
        let next = ReplicaMode { stage: ReplicaModeStage::Following, ..used(1) };
        let resync = |offset: u64| {
            let spec = wanted(Some(token(2, 3, 1, offset)), DataLoss::Refused);
            let demotion = Some(judge(None, &spec, &own(100, 5)).unwrap().demotion);
            let next = ReplicaMode { demotion, ..next.clone() };
            forecast(&own(100, 5), None, Some(&next), Some(&spec)).unwrap()
        };
        let of = |resync| DemotionForecast { resync, lost: Lost::Nothing };
        assert_eq!(resync(128), of(Resync::Partial { from: Offset(128) }));
        assert_eq!(resync(114), of(Resync::FullBeyond { bytes: 14 }));
    }
}
