//! What is missing to the Sentinels, by what the agent of the primary sees of them.

use valkeeper_model::{AgentReport, Layout, SentinelReport, SentinelSeen, SentinelWaiting, Waiting};

/// `primary` is the report of the primary's agent. Without a primary nobody looks at Sentinels, and nothing is said of them.
pub fn judge(layout: &Layout, primary: &AgentReport, waiting: &mut Vec<Waiting>) {
    let names = layout.sentinels.iter().flat_map(|sentinels| sentinels.members.keys());
    waiting.extend(names.filter_map(|name| {
        let sentinel = name.clone();
        let missing = match primary.sentinels.get(name) {
            Some(SentinelSeen::Known(view)) if view.primary.is_at(&primary.address) => return None,
            Some(SentinelSeen::Known(view)) => {
                SentinelWaiting::SentinelLeadsElsewhere { sentinel, to: view.primary.clone() }
            }
            Some(SentinelSeen::Unseen(why)) => {
                SentinelWaiting::SentinelUnseen { sentinel, why: Some(why.clone()) }
            }
            None => SentinelWaiting::SentinelUnseen { sentinel, why: None },
        };
        Some(Waiting::Sentinel(missing))
    }));
}

/// The Sentinels as people are told of them. `primary` is the report of the primary's agent, if there is a primary.
pub fn report(layout: &Layout, primary: Option<&AgentReport>) -> Vec<SentinelReport> {
    let members = layout.sentinels.iter().flat_map(|sentinels| &sentinels.members);
    let told = members.map(|(name, sentinel)| SentinelReport {
        name: name.clone(),
        zone: sentinel.zone.clone(),
        // Whoever has given it a place adds that.
        address: None,
        leads_to: match primary.and_then(|primary| primary.sentinels.get(name)) {
            Some(SentinelSeen::Known(view)) => Some(format!("{}:{}", view.primary.host, view.primary.port)),
            Some(SentinelSeen::Unseen(_)) | None => None,
        },
    });
    told.collect()
}
