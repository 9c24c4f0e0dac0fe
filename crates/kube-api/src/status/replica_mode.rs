//! What a status says of a cluster that follows another: [`ReplicaModeReport`], flat, and with times in place of ages: a status is read long
//! after it was written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use valkeeper_model::{
    HeldBackCopy, InstanceName, Link, Newer, PromotionLoss, ReplicaModeReport, ReplicaModeStage, Source,
    SourcePlace,
};

/// What is known of the lag is written again once it is so much newer.
const LAG_WRITTEN_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// Of a cluster that follows another, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaModeStatus {
    /// What is followed, or was.
    pub source: SourceStatus,
    /// How far it is, in one word.
    pub stage: StageWord,
    /// Who becomes the primary when the cluster is promoted, or has become it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub designated: Option<InstanceName>,
    /// The designated's link to the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// How many bytes the designated was behind the source when that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seen_at: Option<Time>,
    /// The copy that is held back from what the source does, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackCopy>,
    /// Of a cluster that is being promoted, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionStatus>,
    /// Of a cluster that was promoted: the token of that, for the cluster that is to follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A stage that only a newer version knows, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_stage: Option<Newer>,
}

/// The source, under the names that the spec has for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Where it is found.
    #[serde(flatten)]
    pub at: SourcePlace,
    /// The user to connect as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The Secret with its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret_name: Option<String>,
}

/// [`ReplicaModeStage`] without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageWord {
    /// It follows.
    Following,
    /// It is to follow no more.
    Promoting,
    /// It follows no more.
    Promoted,
    /// What only a newer version knows.
    #[serde(other)]
    Newer,
}

/// Who was chosen to become the primary, and what that has cost.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PromotionStatus {
    /// Who; absent before that is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceName>,
    /// What of the source's writes the cluster may lack; absent before that is known, or where nobody could tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<PromotionLoss>,
}

impl ReplicaModeStatus {
    pub(super) fn of(report: &ReplicaModeReport, now: &Time) -> Self {
        let (stage, promotion, newer_stage) = match &report.stage {
            ReplicaModeStage::Following => (StageWord::Following, None, None),
            ReplicaModeStage::Promoting { designated } => {
                let promotion = PromotionStatus { instance: designated.clone(), loss: None };
                (StageWord::Promoting, Some(promotion), None)
            }
            // What a token is made of is in the layout; people are told the token.
            ReplicaModeStage::Promoted { designated, loss, point: _ } => {
                let promotion = PromotionStatus { instance: Some(designated.clone()), loss: *loss };
                (StageWord::Promoted, Some(promotion), None)
            }
            ReplicaModeStage::Newer(newer) => (StageWord::Newer, None, Some(newer.clone())),
        };
        let age = report.lag_age_ms.and_then(|ms| i64::try_from(ms).ok()).map(SignedDuration::from_millis);
        Self {
            source: SourceStatus::of(&report.source),
            stage,
            designated: report.designated.clone(),
            link: report.link,
            lag_bytes: report.lag_bytes,
            lag_seen_at: age.and_then(|age| now.0.checked_sub(age).ok()).map(Time),
            held_back: report.held_back.clone(),
            promotion,
            token: report.token.clone(),
            newer_stage,
        }
    }

    /// The report it was made from, with ages as of `now`; none if another version of Valkeeper wrote it otherwise.
    pub fn report(&self, now: Timestamp) -> Option<ReplicaModeReport> {
        let promotion = self.promotion.clone().unwrap_or_default();
        let stage = match self.stage {
            StageWord::Following => ReplicaModeStage::Following,
            StageWord::Promoting => ReplicaModeStage::Promoting { designated: promotion.instance },
            StageWord::Promoted => {
                let (designated, loss) = (promotion.instance?, promotion.loss);
                ReplicaModeStage::Promoted { designated, loss, point: None }
            }
            StageWord::Newer => ReplicaModeStage::Newer(self.newer_stage.clone()?),
        };
        // Another machine has written the time, and its clock may be ahead of ours.
        let age = |at: &Time| {
            let age = now.duration_since(at.0).max(SignedDuration::ZERO);
            u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
        };
        Some(ReplicaModeReport {
            source: self.source.source(),
            stage,
            designated: self.designated.clone(),
            link: self.link,
            lag_bytes: self.lag_bytes,
            lag_age_ms: self.lag_seen_at.as_ref().map(age),
            held_back: self.held_back.clone(),
            token: self.token.clone(),
        })
    }

    /// The same, with the lag as it was written last unless what is known of it now is much newer.
    pub(super) fn with_lag_as_written(self, written: Option<&Self>) -> Self {
        let Some(written) = written else { return self };
        let is_newer = match (&self.lag_seen_at, &written.lag_seen_at) {
            (Some(now), Some(then)) => now.0.duration_since(then.0) >= LAG_WRITTEN_EVERY,
            (now, then) => now.is_some() != then.is_some(),
        };
        if is_newer {
            return self;
        }
        Self { lag_bytes: written.lag_bytes, lag_seen_at: written.lag_seen_at.clone(), ..self }
    }
}

impl SourceStatus {
    fn of(source: &Source) -> Self {
        let Source { cluster_name, at, user, auth_secret } = source.clone();
        Self { cluster_name, at, user, auth_secret_name: auth_secret }
    }

    fn source(&self) -> Source {
        let Self { cluster_name, at, user, auth_secret_name } = self.clone();
        Source { cluster_name, at, user, auth_secret: auth_secret_name }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use valkeeper_model::{HeldBack, Offset};

    fn at(seconds: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap())
    }

    pub(crate) fn report(stage: ReplicaModeStage) -> ReplicaModeReport {
        let name = |text: &str| text.parse::<InstanceName>().unwrap();
        ReplicaModeReport {
            source: Source {
                cluster_name: Some("east".to_owned()),
                at: SourcePlace::Host { host: "redis-east-leader.shop.svc".to_owned(), port: 6_379 },
                user: Some("replica".to_owned()),
                auth_secret: Some("east-auth".to_owned()),
            },
            stage,
            designated: Some(name("demo-0")),
            link: Some(Link::Up),
            lag_bytes: Some(11),
            lag_age_ms: Some(2_000),
            held_back: Some(HeldBackCopy {
                instance: name("demo-2"),
                why: HeldBack::Flushed { offset: Offset(7) },
            }),
            token: Some("vk1.abc".to_owned()),
        }
    }

    pub(crate) fn promoted() -> ReplicaModeStage {
        let loss = PromotionLoss { behind_bytes: Some(3), unseen_ms: Some(250) };
        ReplicaModeStage::Promoted { designated: "demo-1".parse().unwrap(), loss: Some(loss), point: None }
    }

    #[test]
    fn every_stage_survives_the_status_and_its_ages_grow() {
        let newer: Newer = serde_json::from_str(r#"{"demoting": {"to": "demo-1"}}"#).unwrap();
        for stage in [
            ReplicaModeStage::Following,
            ReplicaModeStage::Promoting { designated: None },
            promoted(),
            ReplicaModeStage::Newer(newer),
        ] {
            let report = report(stage);
            let written = serde_json::to_value(ReplicaModeStatus::of(&report, &at(1_000))).unwrap();
            let read: ReplicaModeStatus = serde_json::from_value(written).unwrap();
            assert_eq!(read.report(at(1_000).0), Some(report.clone()));
            let later = read.report(at(1_005).0).unwrap();
            assert_eq!(later, ReplicaModeReport { lag_age_ms: Some(7_000), ..report });
        }
    }

    #[test]
    fn a_lag_is_news_once_it_is_ten_seconds_newer() {
        let of = |seconds| ReplicaModeStatus::of(&report(ReplicaModeStage::Following), &at(seconds));
        let written = of(1_000);
        let soon = ReplicaModeStatus { lag_bytes: Some(99), ..of(1_009) };
        assert_eq!(soon.with_lag_as_written(Some(&written)), written);
        let later = ReplicaModeStatus { lag_bytes: Some(99), ..of(1_010) };
        assert_eq!(later.clone().with_lag_as_written(Some(&written)), later);
        let unseen = ReplicaModeStatus { lag_bytes: None, lag_seen_at: None, ..of(1_001) };
        assert_eq!(unseen.clone().with_lag_as_written(Some(&written)), unseen);
    }
}
