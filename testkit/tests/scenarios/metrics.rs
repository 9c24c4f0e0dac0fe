//! `up --metrics`: what is served, and to whom it does no harm.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use valkeeper_testkit::metrics::http;
use valkeeper_testkit::ports::Ports;
use valkeeper_testkit::program::fetched;
use valkeeper_testkit::{Cluster, Link, Manifest, Place};

fn up_with_metrics(cluster: &Cluster<'_>) -> u16 {
    let said = cluster.try_up(&["--metrics", "0"]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    let port = cluster.metrics_port();
    cluster.check(said.err.contains(&format!("metrics: http://127.0.0.1:{port}/metrics")), &said.err);
    port
}

fn primary_port(cluster: &Cluster<'_>) -> u16 {
    let connect: serde_json::Value = serde_json::from_str(&cluster.must(&["connect", "-o", "json"])).unwrap();
    connect["leader"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Does Prometheus take this text, and what does it say of it?
fn promtool(text: &str) -> (bool, String) {
    let mut checking = Command::new(fetched("prometheus-2.42/promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    checking.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = checking.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The link stalls, then ends, and then the source is gone for good.
#[test]
fn the_lag_of_a_cluster_that_follows_grows_while_its_link_stalls() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = Cluster::started(&place, Manifest::standalone("east", 1));
    let link = Link::to(primary_port(&east));
    let manifest = Manifest::standalone("west", 2).following("127.0.0.1", link.port(), "east-auth");
    let west = Cluster::at(&place, manifest, ports.first());
    let port = up_with_metrics(&west);
    let lag = |instance: &str| west.metrics(port).of("redis_replication_lag_bytes", instance);
    let age = |instance: &str| west.metrics(port).of("redis_replication_lag_age_seconds", instance);
    let link_up = |instance: &str| west.metrics(port).of("redis_master_link_up", instance);
    let written = |value: &str| {
        let () = east.told("east-0", &["SET", "key", value]);
    };
    west.until_healthy();
    written("before");
    west.until("nobody is behind", || {
        (["west-0", "west-1"].iter().all(|name| lag(name) == Some(0.0) && link_up(name) == Some(1.0)))
            .then_some(())
    });
    // Nothing passes, and the server has not noticed: the source is asked by another connection.
    link.stall_replication();
    let before = east.count("east-0", "replication", "master_repl_offset");
    for _ in 0..20 {
        written(&"x".repeat(50_000));
    }
    let grown = east.count("east-0", "replication", "master_repl_offset") - before;
    west.check(grown > 1_000_000, &format!("{grown} bytes only"));
    west.until("the lag is what the source has written meanwhile", || {
        (lag("west-0")? >= 1_000_000.0).then_some(())
    });
    west.check(link_up("west-0") == Some(1.0), "the server has noticed");
    let first = lag("west-0").unwrap();
    written(&"y".repeat(500_000));
    west.until("the lag grows", || (lag("west-0")? >= first + 500_000.0).then_some(()));
    // It ends: what is known is told, and since when.
    link.cut();
    west.until("the link is down", || (link_up("west-0")? == 0.0).then_some(()));
    let (known, since) = (lag("west-0"), age("west-0").unwrap());
    west.check(known >= Some(first + 500_000.0), &format!("{known:?} was known"));
    west.until("what is known gets older", || (age("west-0")? >= since + 2.0).then_some(()));
    west.check(lag("west-0") == known, "the lag changed without a source that says so");
    link.go_on();
    west.until("nobody is behind again", || {
        (["west-0", "west-1"].iter().all(|name| lag(name) == Some(0.0) && link_up(name) == Some(1.0)))
            .then_some(())
    });
}

#[test]
fn metrics_tell_who_is_up_and_how_far_replicas_are() {
    let place = Place::new();
    let mut cluster = Cluster::new(&place, Manifest::new("demo"));
    let program = place.path().join("valkey-server");
    std::fs::copy(&cluster.server, &program).unwrap();
    cluster.server = program;
    let port = up_with_metrics(&cluster);
    let status = cluster.until_healthy();
    let metrics = cluster.until("replicas are where their primaries are", || {
        let metrics = cluster.metrics(port);
        let replicas = status.shards.iter().flat_map(|shard| &shard.replicas);
        let mut lags = replicas.map(|name| metrics.of("redis_replication_lag_bytes", name));
        lags.all(|lag| lag == Some(0.0)).then_some(metrics)
    });
    for shard in &status.shards {
        let (primary, replica) = (shard.primary.clone().unwrap(), shard.replicas[0].clone());
        let line = format!(
            "redis_up{{cluster=\"demo\",instance=\"{primary}\",shard=\"{}\",role=\"master\"}} 1",
            shard.name
        );
        cluster.check(metrics.text.lines().any(|found| found == line), &metrics.text);
        cluster.check(metrics.of("redis_connected_slaves", &primary) == Some(1.0), &metrics.text);
        cluster.check(metrics.of("redis_master_link_up", &primary).is_none(), "a primary has no link");
        cluster.check(metrics.of("redis_master_link_up", &replica) == Some(1.0), &metrics.text);
    }
    let version = cluster.info(&status.instances[0].name, "server", "valkey_version");
    cluster.check(metrics.text.contains(&format!("redis_version=\"{version}\"")), &metrics.text);
    let (accepted, said) = promtool(&metrics.text);
    cluster.check(accepted, &said);
    // One that is down stays in sight.
    let replica = cluster.replica("s0");
    cluster.must(&["fence", &replica]);
    let metrics = cluster.until("it is down", || {
        let metrics = cluster.metrics(port);
        (metrics.of("redis_up", &replica) == Some(0.0)).then_some(metrics)
    });
    let (accepted, said) = promtool(&metrics.text);
    cluster.check(accepted, &said);
    let told = metrics.text.lines().filter(|line| line.contains(&format!("\"{replica}\""))).count();
    cluster.check(told == 1, &metrics.text);
    cluster.must(&["unfence", &replica]);
    cluster.until("it is up", || (cluster.metrics(port).of("redis_up", &replica) == Some(1.0)).then_some(()));
    // One that is killed, and cannot be started again.
    let away = place.path().join("away");
    std::fs::rename(&cluster.server, &away).unwrap();
    cluster.kill(&replica);
    cluster
        .until("it is down", || (cluster.metrics(port).of("redis_up", &replica) == Some(0.0)).then_some(()));
    std::fs::rename(&away, &cluster.server).unwrap();
    cluster.until("it is up", || (cluster.metrics(port).of("redis_up", &replica) == Some(1.0)).then_some(()));
    cluster.until_healthy();
}

#[test]
fn who_asks_for_metrics_in_a_bad_way_harms_nobody() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::standalone("solo", 1));
    let port = up_with_metrics(&cluster);
    let asked = |request: &str| {
        let answer = http(port, request.as_bytes());
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    cluster.check(asked("GET / HTTP/1.1\r\n\r\n") == "404", "another path");
    cluster.check(asked("POST /metrics HTTP/1.1\r\n\r\n") == "405", "another method");
    cluster.check(asked("PING\r\n\r\n") == "400", "another protocol");
    let huge = format!("GET /metrics HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(40_000));
    cluster.check(asked(&huge) == "431", "a huge header");
    let dawdle = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET /met").unwrap();
        stream
    };
    let slow: Vec<TcpStream> = (0..10).map(|_| dawdle()).collect();
    cluster.check(asked("GET /metrics HTTP/1.1\r\n\r\n") == "200", "slow clients");
    drop(slow);
    cluster.until_healthy();
    // A port that is taken is told before anything is started; a supervisor that has it already is told as such.
    let said = cluster.try_up(&["--metrics", &port.to_string()]);
    cluster
        .check(said.code == Some(3) && said.err.contains("runs this cluster already"), &format!("{said:?}"));
    let other = Ports::reserve();
    let second = Cluster::at(&place, Manifest::standalone("second", 1), other.first());
    let said = second.try_up(&["--metrics", &port.to_string()]);
    let wanted = format!("cannot serve metrics at 127.0.0.1:{port}");
    second.check(
        said.code == Some(1)
            && said.err.contains(&wanted)
            && said.err.contains("hint: another program has that port"),
        &format!("{said:?}"),
    );
    let said = second.try_up(&["--metrics", "somewhere"]);
    second.check(said.code == Some(2) && said.err.contains("HOST:PORT"), &format!("{said:?}"));
}
