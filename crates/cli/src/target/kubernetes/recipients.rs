//! Which servers get a command, and the names that lead to them.

use super::status::seen;
use crate::args::Recipients;
use crate::called::called;
use crate::failure::{Failure, Kind};
use crate::target::in_pod::ServerPlace;
use valkeeper_kube::api::names::{DEFAULT_DOMAIN, host};
use valkeeper_kube::remote::Remote;
use valkeeper_model::InstanceName;

/// `None`: the primary of its keys.
pub(super) async fn recipients(remote: &Remote, to: &Recipients) -> anyhow::Result<Option<Vec<ServerPlace>>> {
    if to.instance.is_none() && !to.all && !to.all_primaries {
        return Ok(None);
    }
    let status = seen(remote).await?;
    let names: Vec<InstanceName> = match &to.instance {
        Some(instance) if status.instances.iter().any(|one| one.name == *instance) => vec![instance.clone()],
        Some(instance) => {
            let hint = format!("`{} status` lists them", called());
            return Err(Failure::new(Kind::Usage, format!("there is no instance `{instance}`"), hint).into());
        }
        None if to.all => status.instances.into_iter().map(|one| one.name).collect(),
        None => status.shards.into_iter().filter_map(|shard| shard.primary).collect(),
    };
    let object = remote.object().await.map_err(Failure::from)?;
    let announced = |name: &InstanceName| object.status.as_ref()?.instances_status.get(name)?.host.clone();
    // An older operator says no name; it gave the usual ones.
    let place = |name: InstanceName| {
        let usual = || host(remote.name(), &name, remote.namespace(), DEFAULT_DOMAIN);
        (name.to_string(), announced(&name).unwrap_or_else(usual))
    };
    Ok(Some(names.into_iter().map(place).collect()))
}
