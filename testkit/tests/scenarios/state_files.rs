//! Files of the state directory that are lost or damaged.

use valkeeper_testkit::{Cluster, Manifest, Place, Traffic};

#[test]
fn nothing_is_founded_over_the_data_of_a_layout_that_is_lost_or_damaged() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("lost").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    let _ = traffic.finish(0);
    let before = cluster.status().processes();
    cluster.kill_supervisor();
    let (layout, copy) = (cluster.dir().join("layout.json"), cluster.dir().join("layout.json.copy"));
    let kept = std::fs::read(&layout).unwrap();
    for damaged in [false, true] {
        if damaged {
            std::fs::write(&layout, &kept[..kept.len() / 2]).unwrap();
        } else {
            std::fs::remove_file(&layout).unwrap();
        }
        let plan = cluster.run(&["plan", &cluster.file().to_string_lossy()]);
        for refused in [cluster.try_up(&[]), plan, cluster.run(&["status"])] {
            let what = format!("layout.json is {}", if damaged { "damaged" } else { "gone" });
            let told = refused.err.contains(&what)
                && refused.err.contains("the data of lost-0, lost-1, lost-2, lost-3, lost-4, lost-5")
                && refused.err.contains("hint: `cp ");
            cluster.check(refused.code == Some(1) && told, &format!("it is not told: {refused:?}"));
        }
    }
    let ran = cluster.run(&["delete", "--purge"]);
    cluster.check(ran.code == Some(3) && ran.err.contains("runs"), &format!("servers are not seen: {ran:?}"));
    // As the hint says.
    std::fs::copy(&copy, &layout).unwrap();
    cluster.up();
    cluster.check(cluster.until_whole().processes() == before, "a server was restarted");
    cluster.must(&["down"]);
    std::fs::remove_file(&layout).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let refused = cluster.try_up(&[]);
    let told = refused.err.contains("`valkeeper --cluster lost delete --purge`");
    cluster.check(refused.code == Some(1) && told, &format!("no way out is named: {refused:?}"));
    let kept = cluster.run(&["delete"]);
    cluster.check(kept.code == Some(3) && kept.err.contains("has data"), &format!("{kept:?}"));
    cluster.must(&["delete", "--purge"]);
    cluster.check(!cluster.dir().exists(), "it is not gone");
}
