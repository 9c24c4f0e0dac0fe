//! Files of the data that are damaged, while all is down or in the moment of a death: on a shard's primary, on its replica, on
//! both. A sound sibling serves and the other one follows it again; with none, the shard waits for a word of the user. What is
//! damaged is set aside, never removed.

use std::fs;
use std::path::{Path, PathBuf};
use valkeeper_testkit::power::Outcome;
use valkeeper_testkit::{Batch, Cluster, Manifest, Place, process};

const SHARDS: [&str; 3] = ["s0", "s1", "s2"];
const GARBAGE: &[u8] = b"\x93garbage that is no file of a server\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    ManifestMissing,
    ManifestEmpty,
    ManifestGarbage,
    BaseMissing,
    BaseZeros,
    BaseCut,
    IncrCut,
    IncrGarbage,
    AofMissing,
    RdbCut,
    RdbGarbage,
    /// The snapshot of another shard.
    RdbForeign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Primary,
    Replica,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// After a `down`.
    Down,
    /// After a power loss.
    PowerLoss,
    /// After the instance alone was killed, before the supervisor sees it.
    Killed,
}

/// What was damaged, and what lies there now.
struct Damaged {
    instance: String,
    damage: Damage,
    left: Option<Vec<u8>>,
}

/// The file of an instance's AOF whose name has this part; the newest, if there are several.
fn aof_file(cluster: &Cluster<'_>, instance: &str, part: &str) -> PathBuf {
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part));
    let found = cluster.aof_files(instance).into_iter().rfind(named);
    found.unwrap_or_else(|| cluster.fail(&format!("{instance} has no AOF file {part}")))
}

/// Damages a file of an instance that is down.
fn do_damage(cluster: &Cluster<'_>, instance: &str, damage: Damage) -> Damaged {
    use Damage as D;
    let file = match damage {
        D::ManifestMissing | D::ManifestEmpty | D::ManifestGarbage => {
            aof_file(cluster, instance, ".manifest")
        }
        D::BaseMissing | D::BaseZeros | D::BaseCut => aof_file(cluster, instance, ".base."),
        D::IncrCut | D::IncrGarbage => aof_file(cluster, instance, ".incr."),
        D::AofMissing => cluster.aof_dir(instance),
        D::RdbCut | D::RdbGarbage | D::RdbForeign => cluster.data_dir(instance).join("dump.rdb"),
    };
    let left = match damage {
        D::ManifestMissing | D::BaseMissing => {
            fs::remove_file(&file).unwrap();
            None
        }
        D::AofMissing => {
            fs::remove_dir_all(&file).unwrap();
            None
        }
        D::ManifestEmpty => Some(Vec::new()),
        D::ManifestGarbage | D::RdbGarbage => Some(GARBAGE.to_vec()),
        D::BaseZeros => Some(vec![0; fs::read(&file).unwrap().len()]),
        D::BaseCut | D::IncrCut | D::RdbCut => {
            let whole = fs::read(&file).unwrap();
            Some(whole[..whole.len() / 2].to_vec())
        }
        // In the middle, so that what follows cannot be told to be commands.
        D::IncrGarbage => {
            let mut whole = fs::read(&file).unwrap();
            let middle = whole.len() / 2;
            whole.splice(middle..middle, GARBAGE.iter().copied());
            Some(whole)
        }
        D::RdbForeign => {
            let anothers = |other: &String| !same_shard(instance, other);
            let other = cluster.instance_names().into_iter().find(anothers).unwrap();
            Some(fs::read(cluster.data_dir(&other).join("dump.rdb")).unwrap())
        }
    };
    if let Some(left) = &left {
        fs::write(&file, left).unwrap();
    }
    Damaged { instance: instance.to_owned(), damage, left }
}

/// Three shards and a replica each: replicas are numbered after the primaries.
fn same_shard(one: &str, other: &str) -> bool {
    let number = |name: &str| name.rsplit('-').next().and_then(|n| n.parse::<u32>().ok()).unwrap();
    number(one) % 3 == number(other) % 3
}

/// A file with this content, anywhere in the folder.
fn find(folder: &Path, content: &[u8]) -> Option<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return find(&path, content);
        }
        fs::read(&path).is_ok_and(|it| it == content).then_some(path)
    })
}

/// What was damaged is kept, and an event says where.
fn set_aside(cluster: &Cluster<'_>, whose: Whose, Damaged { instance, damage, left }: &Damaged) {
    let Some(left) = left.as_ref().filter(|left| !left.is_empty()) else { return };
    // The engine itself mends a cut end. A replica beside its primary may have a new AOF written by the engine, which removes the
    // old one, and nothing shows that a snapshot is another's before the full sync replaces it; but what keeps it from starting
    // is set aside.
    let stops = matches!(damage, Damage::ManifestGarbage | Damage::RdbCut | Damage::RdbGarbage);
    if *damage == Damage::IncrCut || (whose == Whose::Replica && !stops) {
        return;
    }
    let Some(path) = find(&cluster.instance_dir(instance), left) else {
        cluster.fail(&format!("{damage:?}: what {instance} had is removed"));
    };
    // A file that nobody moved needs no word.
    let data = cluster.data_dir(instance);
    if path.parent().is_some_and(|folder| folder == data || folder == cluster.aof_dir(instance)) {
        return;
    }
    let told = cluster.events().iter().any(|event| {
        let folder = event["folder"].as_str().map(|folder| data.join(folder));
        event["instance"] == **instance && folder.is_some_and(|folder| path.starts_with(folder))
    });
    cluster.check(told, &format!("{damage:?}: no event tells of {}", path.display()));
}

/// Every shard has data in the base and in the increment of its AOF, and an older snapshot beside it.
fn fill(cluster: &Cluster<'_>) -> (Vec<Batch>, Vec<Batch>) {
    let gone: Vec<_> = SHARDS.iter().map(|shard| cluster.write(shard, "gone", 50)).collect();
    let early = SHARDS.iter().map(|shard| cluster.write(shard, "early", 300));
    let mut kept: Vec<_> = early.collect();
    for instance in cluster.instance_names() {
        cluster.save(&instance);
    }
    for batch in &gone {
        cluster.remove(batch);
    }
    kept.extend(SHARDS.iter().map(|shard| cluster.write(shard, "middle", 300)));
    for shard in SHARDS {
        cluster.until_replicated(shard);
    }
    if cluster.info("damage-0", "persistence", "aof_enabled") == "1" {
        for instance in cluster.instance_names() {
            cluster.rewrite(&instance);
        }
    }
    kept.extend(SHARDS.iter().map(|shard| cluster.write(shard, "late", 300)));
    for shard in SHARDS {
        cluster.until_replicated(shard);
    }
    (kept, gone)
}

/// A file that was cut is noticed once its length was recorded, which is done when it has certainly reached the disk.
fn until_its_length_is_recorded(cluster: &Cluster<'_>, instance: &str) {
    cluster.until(&format!("the length of {instance}'s AOF is recorded"), || {
        let text = fs::read(cluster.data_dir(instance).join("valkeeper-copy.json")).ok()?;
        let record: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let recorded = record["aof"]["tail"]["bytes"].as_u64()?;
        let length = fs::metadata(aof_file(cluster, instance, ".incr.")).ok()?.len();
        (recorded >= length).then_some(())
    });
}

/// Damages one file in each shard.
fn damaged(mode: &'static str, whose: Whose, when: When, damages: &[Damage]) {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("damage").roles_stay().persistence(mode));
    cluster.until_whole();
    let (kept, gone) = fill(&cluster);
    if damages.contains(&Damage::IncrCut) && when != When::Down {
        for instance in cluster.instance_names() {
            until_its_length_is_recorded(&cluster, &instance);
        }
    }
    let members = |shard: &str| match whose {
        Whose::Primary => vec![cluster.primary(shard)],
        Whose::Replica => vec![cluster.replica(shard)],
        Whose::Both => vec![cluster.primary(shard), cluster.replica(shard)],
    };
    let hit: Vec<(String, Damage)> = SHARDS
        .iter()
        .zip(damages)
        .flat_map(|(shard, damage)| members(shard).into_iter().map(|instance| (instance, *damage)))
        .collect();
    let what = format!("{mode}, {when:?}, {hit:?}");
    let do_all = || hit.iter().map(|(instance, damage)| do_damage(&cluster, instance, *damage)).collect();
    let done: Vec<Damaged> = match when {
        When::Down => {
            cluster.must(&["down"]);
            do_all()
        }
        When::PowerLoss => {
            cluster.lose_power();
            do_all()
        }
        When::Killed => killed(&cluster, &hit, do_all),
    };
    if whose == Whose::Both {
        if cluster.comes_up() == Outcome::Waits {
            // A snapshot that is as new as the file that is gone is enough; without one its user has to say so.
            let mut given_up = Vec::new();
            for shard in &SHARDS[..damages.len()] {
                let command = format!("failover {shard} --accept-data-loss");
                let waits = cluster.until(
                    &format!("{what}: {shard} serves, or the reason names `{command}`"),
                    || {
                        let status = cluster.status();
                        let waits = status.reasons().contains(&command);
                        (waits || status.primary(shard).is_some()).then_some(waits)
                    },
                );
                if waits {
                    given_up.push(*shard);
                }
            }
            cluster.check(
                !given_up.is_empty(),
                &format!("{what}: the cluster waits for a shard that has no other copy"),
            );
            for shard in &given_up {
                cluster.accept_loss(shard);
            }
            cluster.until_whole();
            // What is left of them may be more than nothing; what was not damaged is all there.
            let sound: Vec<_> = kept.iter().filter(|batch| !given_up.contains(&&*batch.shard)).collect();
            cluster.all_there(&what, &sound);
        } else {
            cluster.all_there(&what, &kept.iter().collect::<Vec<_>>());
        }
    } else {
        if when != When::Killed {
            cluster.up();
        }
        cluster.until_whole();
        cluster.all_there(&what, &kept.iter().collect::<Vec<_>>());
        cluster.none_there(&what, &gone.iter().collect::<Vec<_>>());
    }
    for damaged in &done {
        set_aside(&cluster, whose, damaged);
    }
    for shard in SHARDS {
        let after = cluster.write(shard, "after", 10);
        cluster.until_replicated(shard);
        cluster.all_there(&what, &[&after]);
    }
}

/// Kills these, and has their files damaged before the supervisor learns of it; then waits until they are back.
fn killed(
    cluster: &Cluster<'_>,
    hit: &[(String, Damage)],
    do_all: impl Fn() -> Vec<Damaged>,
) -> Vec<Damaged> {
    let supervisor = cluster.supervisor();
    let pids: Vec<_> = hit.iter().map(|(instance, _)| (instance, cluster.pid(instance))).collect();
    process::signal(supervisor, process::Signal::STOP);
    for (_, pid) in &pids {
        process::kill(*pid);
    }
    for (_, pid) in &pids {
        valkeeper_testkit::waiting::until("it is dead", || (!process::alive(*pid)).then_some(()));
    }
    let done = do_all();
    process::signal(supervisor, process::Signal::CONT);
    for (instance, pid) in &pids {
        cluster.until_back(instance, *pid);
    }
    done
}

use Damage::{
    AofMissing, BaseCut, BaseMissing, BaseZeros, IncrCut, IncrGarbage, ManifestEmpty, ManifestGarbage,
    ManifestMissing, RdbCut, RdbForeign, RdbGarbage,
};
use When::{Down, Killed, PowerLoss};
use Whose::{Both, Primary, Replica};

/// L18, L21.
#[test]
fn a_primary_whose_aof_is_damaged_while_all_is_down_takes_its_replicas_copy() {
    damaged("aof", Primary, Down, &[ManifestMissing, BaseZeros, IncrGarbage]);
}

/// D15.
#[test]
fn a_replica_whose_aof_is_damaged_takes_its_primarys_copy() {
    damaged("aof", Replica, Killed, &[ManifestGarbage, BaseMissing, IncrCut]);
}

/// L2.
#[test]
fn a_primary_whose_snapshot_is_damaged_takes_its_replicas_copy() {
    damaged("rdb", Primary, Down, &[RdbForeign, RdbCut, RdbGarbage]);
}

/// One shard's is gone for good; the others serve.
#[test]
fn a_shard_whose_every_aof_is_damaged_waits() {
    damaged("aof", Both, Down, &[ManifestMissing, BaseCut]);
}

macro_rules! matrix {
    ($($name:ident: $mode:literal $whose:ident $when:ident $damages:expr;)*) => {
        $(#[test]
        #[ignore = "longest: the matrix of damages"]
        fn $name() {
            damaged($mode, $whose, $when, &$damages);
        })*
    };
}

/// Every damage of every file: repeated for minutes, so that only `make test-long` runs it.
mod longest {
    use super::*;

    const FIRST: [Damage; 3] = [ManifestMissing, ManifestEmpty, ManifestGarbage];
    const SECOND: [Damage; 3] = [BaseMissing, BaseZeros, BaseCut];
    const THIRD: [Damage; 3] = [IncrCut, IncrGarbage, AofMissing];
    const RDB: [Damage; 3] = [RdbForeign, RdbCut, RdbGarbage];

    matrix! {
        primarys_manifest: "aof" Primary Down FIRST;
        primarys_base: "aof" Primary Down SECOND;
        primarys_incr: "aof" Primary Down THIRD;
        primarys_manifest_after_a_power_loss: "aof" Primary PowerLoss FIRST;
        primarys_base_after_a_power_loss: "aof" Primary PowerLoss SECOND;
        primarys_incr_after_a_power_loss: "aof" Primary PowerLoss THIRD;
        killed_replicas_manifest: "aof" Replica Killed FIRST;
        killed_replicas_base: "aof" Replica Killed SECOND;
        killed_replicas_incr: "aof" Replica Killed THIRD;
        replicas_manifest: "aof" Replica Down FIRST;
        replicas_base: "aof" Replica Down SECOND;
        replicas_incr: "aof" Replica Down THIRD;
        everybodys_manifest: "aof" Both Down FIRST;
        everybodys_base: "aof" Both Down SECOND;
        everybodys_incr: "aof" Both Down [IncrGarbage, AofMissing];
        everybodys_incr_is_cut: "aof" Both Down [IncrCut];
        everybodys_manifest_after_a_power_loss: "aof" Both PowerLoss FIRST;
        replicas_snapshot: "rdb" Replica Down RDB;
        killed_replicas_snapshot: "rdb" Replica Killed RDB;
        everybodys_snapshot: "rdb" Both Down RDB;
    }

    /// One shard a time: a majority must be left to vote.
    #[test]
    #[ignore = "longest: the matrix of damages"]
    fn a_killed_primarys_aof() {
        for damage in FIRST.into_iter().chain(SECOND).chain(THIRD) {
            damaged("aof", Primary, Killed, &[damage]);
        }
    }
}
