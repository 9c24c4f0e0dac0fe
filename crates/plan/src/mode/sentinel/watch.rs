//! The agent of the primary looks at the Sentinels, and tells those that send clients elsewhere.

use crate::protocol::{Command, Outbox};
use std::collections::BTreeMap;
use valkeeper_model::{
    Address, ClusterName, Epoch, InstanceName, Millis, NodeId, SentinelMember, SentinelSeen,
};

/// Between two looks, milliseconds. A Sentinel that was away may send clients elsewhere for as long.
const LOOK_EVERY_MS: u64 = 1_000;
/// After some were told, or did not answer.
const LOOK_AGAIN_MS: u64 = 100;
/// A Sentinel answers within this.
const WITHIN_MS: u64 = 500;

/// What Sentinels are told: where the primary is, and since which configuration epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// What they call the primary.
    pub name: ClusterName,
    /// Where it answers.
    pub primary: Address,
    /// Higher than that of every Sentinel.
    pub config_epoch: Epoch,
    /// Whom to tell, each in the name of another Sentinel: a Sentinel takes no message from one that it does not know without adding it.
    pub to: BTreeMap<InstanceName, Sender>,
}

/// The Sentinel in whose name another one is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its id.
    pub id: NodeId,
    /// Where it listens.
    pub address: Address,
}

/// What the watch needs to know.
#[derive(Debug)]
pub struct Situation<'a> {
    /// Now.
    pub now: Millis,
    /// What the Sentinels call the primary.
    pub name: &'a ClusterName,
    /// The Sentinels.
    pub sentinels: &'a BTreeMap<InstanceName, SentinelMember>,
    /// Where the own server answers, if it is the primary; `None` if it is not, or nobody knows.
    pub leads_at: Option<&'a Address>,
}

/// What the agent of the primary knows of the Sentinels.
#[derive(Debug, Default)]
pub struct SentinelWatch {
    seen: BTreeMap<InstanceName, SentinelSeen>,
    looking: bool,
    next: Option<Millis>,
}

impl SentinelWatch {
    /// When [`SentinelWatch::tick`] is due.
    pub fn wake_at(&self) -> Option<Millis> {
        self.next.filter(|_| !self.looking)
    }

    /// What was seen of each last; nothing while the own server is not the primary.
    pub fn seen(&self) -> &BTreeMap<InstanceName, SentinelSeen> {
        &self.seen
    }

    /// Time has passed, or something has changed.
    pub fn tick(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        if situation.leads_at.is_none() || situation.sentinels.is_empty() {
            (self.seen, self.next) = (BTreeMap::new(), None);
            return;
        }
        if self.looking || self.next.is_some_and(|next| situation.now < next) {
            return;
        }
        self.looking = true;
        out.push(Command::LookAtSentinels {
            name: situation.name.clone(),
            sentinels: placed(situation.sentinels),
            within_ms: WITHIN_MS,
        });
    }

    /// The Sentinels were looked at, or told and then looked at.
    pub fn looked(
        &mut self,
        situation: &Situation<'_>,
        seen: BTreeMap<InstanceName, SentinelSeen>,
        out: &mut Outbox,
    ) {
        self.looking = false;
        let Some(primary) = situation.leads_at else { return };
        self.seen = seen;
        let announcement = self.announcement(situation, primary);
        let all_well =
            announcement.is_none() && self.seen.values().all(|seen| matches!(seen, SentinelSeen::Known(_)));
        let pause = if all_well { LOOK_EVERY_MS } else { LOOK_AGAIN_MS };
        self.next = Some(situation.now.plus(pause));
        if let Some(announcement) = announcement {
            self.looking = true;
            let sentinels = placed(situation.sentinels);
            out.push(Command::TellSentinels {
                announcement: Box::new(announcement),
                sentinels,
                within_ms: WITHIN_MS,
            });
        }
    }

    /// What those have to be told that send clients elsewhere. One epoch above all that were seen: a Sentinel keeps what it knows of an equal
    /// one. One that was away with a higher epoch passes its own on to the others, is seen, and told again.
    fn announcement(&self, situation: &Situation<'_>, primary: &Address) -> Option<Announcement> {
        let views = || {
            self.seen.iter().filter_map(|(name, seen)| match seen {
                SentinelSeen::Known(view) => Some((name, view)),
                SentinelSeen::Unseen(_) => None,
            })
        };
        let elsewhere = views().filter(|(_, view)| !view.primary.is_at(primary));
        let to: BTreeMap<_, _> = elsewhere
            .filter_map(|(name, _)| Some((name.clone(), sender(situation.sentinels, name)?)))
            .collect();
        let newest = views().map(|(_, view)| view.config_epoch).max()?;
        (!to.is_empty()).then(|| Announcement {
            name: situation.name.clone(),
            primary: primary.clone(),
            config_epoch: Epoch(newest.0 + 1),
            to,
        })
    }
}

fn placed(sentinels: &BTreeMap<InstanceName, SentinelMember>) -> BTreeMap<InstanceName, Address> {
    sentinels.iter().filter_map(|(name, member)| Some((name.clone(), member.address.clone()?))).collect()
}

/// Another Sentinel than that one.
fn sender(sentinels: &BTreeMap<InstanceName, SentinelMember>, to: &InstanceName) -> Option<Sender> {
    let others = sentinels.iter().filter(|(name, _)| *name != to);
    let mut placed = others.filter_map(|(_, one)| Some(Sender { id: one.id, address: one.address.clone()? }));
    placed.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::{Followed, SentinelFault, SentinelView};

    fn name(n: u8) -> InstanceName {
        format!("c-sentinel-{n}").parse().expect("a name")
    }

    fn address(port: u16) -> Address {
        Address { ip: std::net::Ipv4Addr::LOCALHOST.into(), port, bus_port: 0 }
    }

    fn sentinels() -> BTreeMap<InstanceName, SentinelMember> {
        let member = |n: u8| SentinelMember {
            id: NodeId::from_bytes([n; 20]),
            address: Some(address(100 + u16::from(n))),
        };
        (0..3).map(|n| (name(n), member(n))).collect()
    }

    fn view(port: u16, epoch: u64) -> SentinelSeen {
        SentinelSeen::Known(SentinelView {
            primary: Followed { host: "127.0.0.1".to_owned(), port },
            config_epoch: Epoch(epoch),
            other_sentinels: 2,
            replicas: Vec::new(),
            fails_over: false,
        })
    }

    /// What the watch of the primary at port 1 does about what it sees.
    fn told(seen: [SentinelSeen; 3]) -> (Option<Announcement>, SentinelWatch) {
        let (cluster, members, primary) = ("c".parse().expect("a name"), sentinels(), address(1));
        let situation =
            Situation { now: Millis(5), name: &cluster, sentinels: &members, leads_at: Some(&primary) };
        let (mut watch, mut out) = (SentinelWatch::default(), Outbox::default());
        watch.tick(&situation, &mut out);
        assert!(
            matches!(&out.take()[..], [Command::LookAtSentinels { sentinels, .. }] if sentinels.len() == 3)
        );
        watch.looked(&situation, (0..3).map(name).zip(seen).collect(), &mut out);
        let announced = out.take().into_iter().find_map(|command| match command {
            Command::TellSentinels { announcement, .. } => Some(*announcement),
            _ => None,
        });
        (announced, watch)
    }

    #[test]
    fn sentinels_that_know_the_primary_are_told_nothing() {
        let (announced, watch) = told([view(1, 7), view(1, 7), view(1, 7)]);
        assert_eq!(announced, None);
        assert_eq!(watch.wake_at(), Some(Millis(5 + LOOK_EVERY_MS)));
    }

    #[test]
    fn those_that_send_clients_elsewhere_are_told_with_a_higher_epoch_than_any_has() {
        let (announced, watch) =
            told([view(2, 3), view(1, 9), SentinelSeen::Unseen(SentinelFault::AuthRefused)]);
        let announced = announced.expect("one is told");
        assert_eq!(announced.config_epoch, Epoch(10));
        assert_eq!(announced.to.keys().collect::<Vec<_>>(), [&name(0)]);
        assert_eq!(announced.to[&name(0)].id, NodeId::from_bytes([1; 20]), "in its own name");
        assert_eq!(watch.wake_at(), None, "the answer comes first");
    }

    #[test]
    fn the_agent_of_a_replica_tells_nobody_anything() {
        let (cluster, members) = ("c".parse().expect("a name"), sentinels());
        let situation = Situation { now: Millis(5), name: &cluster, sentinels: &members, leads_at: None };
        let (mut watch, mut out) = (SentinelWatch::default(), Outbox::default());
        watch.tick(&situation, &mut out);
        watch.looked(&situation, BTreeMap::from([(name(0), view(2, 1))]), &mut out);
        assert_eq!(out.take(), []);
        assert_eq!(watch.wake_at(), None);
    }
}
