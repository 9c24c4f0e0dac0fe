//! Mode `sentinel`: clients ask Sentinels, each a pod, where the primary is.

use valkeeper_testkit::kube::{Bed, KubeCluster, Mode, SET, Shape};

const WATCHED: Shape = Shape { mode: Mode::Sentinel, ..SET };

/// Where a Sentinel sends clients: the address of a pod.
fn answer_of(cluster: &KubeCluster<'_>, at: &str) -> Option<String> {
    let url = format!("redis://:{}@{at}:26379", cluster.password());
    let mut connection = redis::Client::open(url).ok()?.get_connection().ok()?;
    let mut ask = redis::cmd("SENTINEL");
    let address: Vec<String> =
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&cluster.name).query(&mut connection).ok()?;
    address.into_iter().next()
}

fn address_of(cluster: &KubeCluster<'_>, pod: &str) -> Option<String> {
    let ip = cluster.try_kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]).ok()?;
    (!ip.is_empty()).then_some(ip)
}

/// Waits until every Sentinel, and their Service, send clients to the primary.
fn until_all_lead_to_the_primary(cluster: &KubeCluster<'_>) -> String {
    cluster.until("all Sentinels lead to the primary", || {
        let (primary, _) = cluster.roles("s0");
        let wanted = address_of(cluster, &primary)?;
        let sentinels: Vec<String> = (0..3).map(|n| format!("{}-sentinel-{n}", cluster.name)).collect();
        let service = cluster.service("sentinel").host.clone();
        let places = sentinels.iter().map(|name| address_of(cluster, name)).chain([Some(service)]);
        let lead = |place: Option<String>| answer_of(cluster, &place?).filter(|led| *led == wanted);
        places.map(lead).all(|led| led.is_some()).then_some(primary)
    })
}

#[test]
fn sentinels_lead_to_each_successor_and_come_back_when_they_are_lost() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "watched", WATCHED, "");
    cluster.apply();
    cluster.until_healthy();
    let primary = until_all_lead_to_the_primary(&cluster);
    cluster.kill(cluster.process(&primary, true));
    let heir = cluster.until_other_primary("s0", &primary);
    cluster.check(until_all_lead_to_the_primary(&cluster) == heir, "they lead elsewhere");
    // One that is lost with its file comes back as the same one.
    cluster.kubectl(&["delete", "pod", "cache-sentinel-1", "--wait=true"]);
    until_all_lead_to_the_primary(&cluster);
    cluster.until_healthy();
    let connect: serde_json::Value =
        serde_json::from_str(&cluster.said(&["connect", "-o", "json"])).expect("json");
    let expected = format!("cache-sentinel.{}.svc:26379", cluster.namespace);
    cluster.check(connect["sentinels"][0] == expected.as_str(), &format!("{connect}"));
}
