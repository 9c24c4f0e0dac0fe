//! How many replicas must be attached for a primary to take writes, between `minSyncReplicas` and `maxSyncReplicas`.

use valkeeper_model::{Part, Replication, ServerConfig};

/// As many as are attached and past their full copy, but at least `minSyncReplicas` and at most `maxSyncReplicas`: one that is lost holds no
/// write up while enough others are there, and one that is back is counted on again. `None` where the number is fixed, and of a replica.
pub fn needed(config: &ServerConfig, replication: &Replication) -> Option<u32> {
    let (min, max) = (config.min_sync_replicas, config.max_sync_replicas);
    if max <= min {
        return None;
    }
    let Part::Primary { replicas } = &replication.part else { return None };
    let online = replicas.iter().filter(|replica| replica.online).count();
    Some(u32::try_from(online).unwrap_or(u32::MAX).clamp(min, max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::server_config;
    use valkeeper_model::{AttachedReplica, ClusterSpec, Link, Offset, ReplicationId};

    fn config(min: u32, max: u32) -> ServerConfig {
        let spec = ClusterSpec {
            min_sync_replicas: min,
            max_sync_replicas: max,
            ..ClusterSpec::new("c".parse().expect("a name"))
        };
        server_config(&spec)
    }

    fn replication(part: Part) -> Replication {
        Replication { part, replid: ReplicationId::from_bytes([1; 20]), offset: Offset(9) }
    }

    fn primary(online: usize, copying: usize) -> Replication {
        let replica = |online| AttachedReplica {
            address: (std::net::Ipv4Addr::LOCALHOST, 1).into(),
            online,
            acknowledged: Offset(9),
        };
        let replicas = [vec![replica(true); online], vec![replica(false); copying]].concat();
        replication(Part::Primary { replicas })
    }

    #[test]
    fn the_number_follows_what_is_attached_within_its_bounds() {
        let config = config(1, 2);
        for (online, copying, expected) in [(3, 0, 2), (2, 0, 2), (1, 1, 1), (0, 2, 1)] {
            assert_eq!(needed(&config, &primary(online, copying)), Some(expected), "{online} {copying}");
        }
        assert_eq!(needed(&config, &replication(Part::Replica { link: Link::Up })), None);
    }

    #[test]
    fn without_room_between_the_bounds_the_number_is_fixed() {
        assert_eq!(needed(&config(1, 0), &primary(3, 0)), None);
        assert_eq!(needed(&config(2, 2), &primary(3, 0)), None);
    }
}
