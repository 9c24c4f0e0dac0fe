//! Where a source is, by the word of its Sentinels.

use crate::source_look::resolved;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use valkeeper_client::{AdminConnection, AskError, Password};
use valkeeper_model::{SourceFault, SourceSentinels};

/// The connections to them: one that is new at each look would fill the ports of this host. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct SentinelsOfSource {
    kept: Arc<Mutex<BTreeMap<SocketAddr, AdminConnection>>>,
}

impl SentinelsOfSource {
    /// The address that more than half of the listed Sentinels give. One alone may have been cut off since before a failover, and would lead
    /// to a primary that nobody follows any more. They are asked with the source's password, as user `default`.
    pub(crate) async fn ask(
        &self,
        sentinels: &SourceSentinels,
        password: Option<&Password>,
        within: Duration,
    ) -> Result<SocketAddr, SourceFault> {
        let mut asking = JoinSet::new();
        for (index, (host, port)) in sentinels.places().enumerate() {
            let (myself, place, name) =
                (self.clone(), (host.to_owned(), port), sentinels.primary_name.clone());
            let password = password.cloned();
            asking
                .spawn(async move { (index, myself.ask_one(place, &name, password.as_ref(), within).await) });
        }
        // In the order of the manifest: a reason must not be another one at each look.
        let answers: BTreeMap<_, _> = asking.join_all().await.into_iter().collect();
        majority(answers.into_values().collect(), sentinels.hosts.len())
    }

    async fn ask_one(
        &self,
        (host, port): (String, u16),
        name: &str,
        password: Option<&Password>,
        within: Duration,
    ) -> Result<SocketAddr, NoPlace> {
        let silent = |why: String| NoPlace::Silent(format!("{host}:{port}: {why}"));
        let unknown = |why: String| NoPlace::Unknown(format!("{host}:{port}: {why}"));
        let asking = async {
            let found = resolved((&host, port), within).await.map_err(silent)?;
            let at = found.first().ok_or_else(|| silent("the name has no address".to_owned()))?;
            let primary = match self.connection(*at, password).primary_by_sentinel(name, within).await {
                Ok(Some(primary)) => primary,
                Ok(None) => return Err(unknown(format!("it knows no primary {name}"))),
                Err(error @ (AskError::Timeout | AskError::Unreachable(_))) => {
                    return Err(silent(error.to_string()));
                }
                Err(error) => return Err(unknown(error.to_string())),
            };
            let found = resolved((&primary.host, primary.port), within).await.map_err(unknown)?;
            found.first().copied().ok_or_else(|| unknown(format!("{} has no address", primary.host)))
        };
        let late = || Err(silent("no answer in time".to_owned()));
        tokio::time::timeout(within, asking).await.unwrap_or_else(|_| late())
    }

    fn connection(&self, at: SocketAddr, password: Option<&Password>) -> AdminConnection {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // As a named user: a server without a password takes any from it, and refuses `AUTH` without a name.
        let new = || AdminConnection::new_as(Some("default".to_owned()), at, None);
        let connection = kept.entry(at).or_insert_with(new).clone();
        connection.set_password(password.cloned());
        connection
    }
}

/// Why a Sentinel gives no place.
#[derive(Debug, PartialEq, Eq)]
enum NoPlace {
    /// It was not reached.
    Silent(String),
    /// It answers, and does not know.
    Unknown(String),
}

/// Where more than half say. A source is out of reach if as many as that cannot be had; if they answer, and do not agree, something else is wrong.
fn majority(answers: Vec<Result<SocketAddr, NoPlace>>, of: usize) -> Result<SocketAddr, SourceFault> {
    let mut counted: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for at in answers.iter().flatten() {
        *counted.entry(*at).or_default() += 1;
    }
    if let Some((at, _)) = counted.into_iter().find(|(_, count)| count * 2 > of) {
        return Ok(at);
    }
    let answered = answers.iter().filter(|answer| !matches!(answer, Err(NoPlace::Silent(_)))).count();
    let said = answers.into_iter().map(|answer| match answer {
        Ok(at) => at.to_string(),
        Err(NoPlace::Silent(why) | NoPlace::Unknown(why)) => why,
    });
    let why = said.collect::<Vec<_>>().join("; ");
    Err(if answered * 2 > of { SourceFault::NotTold { why } } else { SourceFault::Unreachable { why } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_those_that_are_listed_have_to_agree() {
        let at = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let away = || Err(NoPlace::Silent("a:26379: no answer in time".to_owned()));
        assert_eq!(majority(vec![Ok(at(1)), away(), Ok(at(1))], 3), Ok(at(1)));
        let cut_off = majority(vec![Ok(at(1)), away(), away()], 3);
        assert!(matches!(cut_off, Err(SourceFault::Unreachable { .. })), "one of three has answered");
        let split = majority(vec![Ok(at(1)), Ok(at(2))], 2);
        let why = "10.0.0.1:1; 10.0.0.1:2".to_owned();
        assert_eq!(split, Err(SourceFault::NotTold { why }));
        let unknown = || Err(NoPlace::Unknown("a:26379: it knows no primary x".to_owned()));
        assert!(matches!(majority(vec![unknown(), unknown(), away()], 3), Err(SourceFault::NotTold { .. })));
        assert_eq!(majority(vec![Ok(at(2))], 1), Ok(at(2)));
    }
}
