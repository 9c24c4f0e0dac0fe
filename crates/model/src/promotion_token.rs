//! The token of a promotion: what a cluster that was promoted publishes, and what the cluster that is to follow it is given. It names the place
//! in the former source's history from which the promoted side went on, so that the other side can tell which of its own writes that one has.

use crate::{ClusterId, Epoch, Offset, Position, ReplicationId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Where a promotion was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionPoint {
    /// All of the former source's history up to here is in the promoted cluster.
    pub from: Position,
    /// The history that the promoted cluster goes on in.
    pub history: ReplicationId,
    /// The term of the promoted primary: of two promotions of a cluster the later one has the higher.
    pub term: Epoch,
}

/// The token of a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromotionToken {
    /// The cluster that was promoted.
    pub cluster: ClusterId,
    /// Where.
    pub point: PromotionPoint,
}

/// The token that a cluster has gone over to following by: it, and those of promotions before it, are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedToken {
    /// Whose promotion.
    pub cluster: ClusterId,
    /// Which.
    pub term: Epoch,
}

/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TokenFault {
    /// It is not what was published.
    #[error("is damaged: it is not a token as `valkeeper status` shows it")]
    Damaged,
    /// A newer version has written it.
    #[error("is of format {format}, which this version does not know")]
    NewerFormat {
        /// Its format.
        format: u32,
    },
    /// The cluster that is to follow has published it itself.
    #[error("is this cluster's own: it belongs into the manifest of the cluster that is to follow this one")]
    Own,
    /// It tells of a history that the cluster's data never went through.
    #[error("is of another cluster: this one's data never went through the history {history}")]
    OtherCluster {
        /// The history that it tells of.
        history: ReplicationId,
    },
    /// The cluster has followed by it, or by a later one, already.
    #[error("is of an older promotion (term {term}): this cluster has followed by one of term {used} since")]
    OlderPromotion {
        /// Its term.
        term: Epoch,
        /// The newest that was used.
        used: Epoch,
    },
}

impl TokenFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Own => "take the token of the cluster that is to be followed, or write `promote: true`",
            Self::NewerFormat { .. } => "use the version of Valkeeper that has published it",
            Self::Damaged | Self::OtherCluster { .. } | Self::OlderPromotion { .. } => {
                "copy `replicaMode.token` from `valkeeper status -o json` of the cluster that is to be followed, as it is now"
            }
        }
    }
}

const FORMAT: u32 = 1;
/// Before the number of the format.
const HEAD: &str = "vk";

impl PromotionToken {
    /// Its fields, without the check.
    fn body(&self) -> String {
        let PromotionPoint { from, history, term } = self.point;
        format!(
            "{HEAD}{FORMAT}.cluster={}.term={term}.history={}.offset={}.promoted={history}",
            self.cluster, from.history, from.offset.0
        )
    }
}

impl fmt::Display for PromotionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        write!(f, "{body}.check={:016x}", check(&body))
    }
}

impl FromStr for PromotionToken {
    type Err = TokenFault;

    /// Fields that a newer version of the same format adds are passed over.
    fn from_str(text: &str) -> Result<Self, TokenFault> {
        let text = text.trim();
        let (head, _) = text.split_once('.').ok_or(TokenFault::Damaged)?;
        let format: u32 =
            head.strip_prefix(HEAD).and_then(|number| number.parse().ok()).ok_or(TokenFault::Damaged)?;
        if format > FORMAT {
            return Err(TokenFault::NewerFormat { format });
        }
        let (body, sum) = text.rsplit_once(".check=").ok_or(TokenFault::Damaged)?;
        if u64::from_str_radix(sum, 16) != Ok(check(body)) {
            return Err(TokenFault::Damaged);
        }
        let fields: BTreeMap<&str, &str> =
            body.split('.').skip(1).filter_map(|field| field.split_once('=')).collect();
        read(&fields).ok_or(TokenFault::Damaged)
    }
}

fn read(fields: &BTreeMap<&str, &str>) -> Option<PromotionToken> {
    fn field<T: FromStr>(fields: &BTreeMap<&str, &str>, name: &str) -> Option<T> {
        fields.get(name)?.parse().ok()
    }
    let from = Position { history: field(fields, "history")?, offset: Offset(field(fields, "offset")?) };
    let (history, term) = (field(fields, "promoted")?, Epoch(field(fields, "term")?));
    Some(PromotionToken { cluster: field(fields, "cluster")?, point: PromotionPoint { from, history, term } })
}

/// FNV-1a, 64 bits: it finds what was copied in part or typed wrong, and keeps nobody from making a token up.
fn check(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> PromotionToken {
        let id = |n: u8| ReplicationId::from_bytes([n; 20]);
        let from = Position { history: id(0xaa), offset: Offset(10_426) };
        let point = PromotionPoint { from, history: id(0xbb), term: Epoch(2) };
        PromotionToken { cluster: ClusterId::from_bytes([0xcc; 20]), point }
    }

    #[test]
    fn a_token_is_read_as_it_was_published() {
        let text = include_str!("../tests/frozen/promotion-token-1.txt");
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(token().to_string(), text.trim());
        // A newer version adds a field.
        let more = format!("{}.region=b", token().body());
        let more = format!("{more}.check={:016x}", check(&more));
        assert_eq!(more.parse(), Ok(token()));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_told() {
        let text = token().to_string();
        let read = |text: &str| text.parse::<PromotionToken>();
        for damaged in
            ["", "vk1", "token", &text[1..], &text[..text.len() - 1], &text.replace("10426", "10427")]
        {
            assert_eq!(read(damaged), Err(TokenFault::Damaged), "{damaged}");
        }
        assert_eq!(read("vk2.anything"), Err(TokenFault::NewerFormat { format: 2 }));
    }
}
