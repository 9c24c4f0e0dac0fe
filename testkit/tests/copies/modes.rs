//! Changes of `persistence`, live and while all is down, and full stops after them. What must be read back is what the modes
//! promise: `aof` all that was acknowledged, `rdb` what the last snapshot had (a clean `down` takes one), `none` nothing. What
//! an earlier mode had on disk is not lost by a change, and what was deleted before the last promise never comes back.

use crate::engine;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use valkeeper_testkit::power::Slow;
use valkeeper_testkit::{Batch, Cluster, Manifest, Place, power::Outcome};

/// Keys of each shard. The first one's are slow to save, the last one has next to nothing.
const KEYS: [usize; 3] = [1_500, 300, 1];
/// A save of the first shard takes seconds, as that of a large one does.
const SLOW: Slow = Slow::Saving(1_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Aof,
    Rdb,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// `apply --wait`.
    Live,
    /// The manifest is changed between a stop and `up`.
    WhileDown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Down,
    PowerLoss,
}

impl Mode {
    fn manifest(self) -> Manifest {
        Manifest::new("modes").roles_stay().persistence(match self {
            Self::Aof => "aof",
            Self::Rdb => "rdb",
            Self::Off => "none",
        })
    }
}

/// Keys written to every shard at one time.
struct Wave {
    parts: Vec<Batch>,
    written: usize,
    deleted: Option<usize>,
}

/// A cluster, and what it has promised.
struct Life<'a> {
    cluster: Cluster<'a>,
    mode: Mode,
    waves: Vec<Wave>,
    now: usize,
    /// What was written until then, under a mode that keeps it, survives a stop.
    promised: usize,
    /// What was deleted until then stays away.
    buried: usize,
    told: Vec<String>,
}

impl<'a> Life<'a> {
    fn begin(place: &'a Place, server: Option<PathBuf>, mode: Mode) -> Self {
        let mut cluster = Cluster::new(place, mode.manifest());
        if let Some(server) = server {
            cluster.server = server;
        }
        cluster.up();
        cluster.until_whole();
        let told = vec![format!("{mode:?}")];
        let mut life = Self { cluster, mode, waves: Vec::new(), now: 0, promised: 0, buried: 0, told };
        life.write();
        if mode != Mode::Off {
            // A snapshot that grows old: under aof, nothing may ever start from it.
            for instance in &life.cluster.instance_names() {
                life.cluster.save(instance);
            }
            life.promised = life.now;
        }
        // One that stays and one that is deleted after the first change.
        life.write();
        life.write();
        life
    }

    fn write(&mut self) {
        self.now += 1;
        let name = format!("wave{}", self.now);
        let shards = ["s0", "s1", "s2"].into_iter().zip(KEYS);
        let parts = shards.map(|(shard, keys)| self.cluster.write(shard, &name, keys)).collect();
        self.waves.push(Wave { parts, written: self.now, deleted: None });
    }

    /// Deletes the newest keys and writes others.
    fn go_on(&mut self) {
        self.now += 1;
        if let Some(wave) = self.waves.iter_mut().rfind(|wave| wave.deleted.is_none()) {
            for part in &wave.parts {
                self.cluster.remove(part);
            }
            wave.deleted = Some(self.now);
        }
        self.write();
        self.write();
    }

    fn change(&mut self, how: How, to: Mode, stop: Stop) {
        match how {
            How::Live => self.change_live(to),
            How::WhileDown => {
                self.stop(stop);
                self.start(to);
            }
        }
    }

    fn change_live(&mut self, to: Mode) {
        self.told.push(format!("{to:?} live"));
        self.slow(SLOW);
        self.cluster.change(to.manifest());
        let file = self.cluster.file();
        self.cluster.must(&["apply", "--wait", "-f", &file.to_string_lossy()]);
        // A change loses nothing that was promised, and brings nothing back; it promises nothing that was not.
        self.buried = self.now;
        let kept = to == Mode::Aof || self.mode == Mode::Aof && to == Mode::Rdb;
        self.promised = if kept { self.now } else { 0 };
        self.mode = to;
    }

    fn slow(&self, slow: Slow) {
        for instance in [self.cluster.primary("s0"), self.cluster.replica("s0")] {
            self.cluster.slow(&instance, slow);
        }
    }

    fn stop(&mut self, stop: Stop) {
        self.told.push(format!("{stop:?}"));
        match stop {
            Stop::Down => {
                self.slow(Slow::Saving(0));
                self.cluster.must(&["down"]);
            }
            Stop::PowerLoss => self.cluster.lose_power(),
        }
        if self.mode == Mode::Aof || self.mode == Mode::Rdb && stop == Stop::Down {
            (self.promised, self.buried) = (self.now, self.now);
        }
    }

    /// Starts it and sees that it holds what was promised.
    fn start(&mut self, to: Mode) {
        self.told.push(format!("up with {to:?}"));
        self.cluster.change(to.manifest());
        let before = std::mem::replace(&mut self.mode, to);
        match self.cluster.comes_up() {
            Outcome::Whole => {}
            // Nothing was promised, so that no copy is missing that anybody could tell from one that was never there.
            Outcome::Waits if before == Mode::Off || self.promised == 0 => {
                for shard in &["s0", "s1", "s2"] {
                    self.cluster.accept_loss(shard);
                }
                self.cluster.until_whole();
            }
            Outcome::Waits => self.fail("it waits although all is there"),
        }
        let wrong: Vec<String> = self.waves.iter().filter_map(|wave| self.wrong(wave, before)).collect();
        if !wrong.is_empty() {
            self.fail(&wrong.join(", "));
        }
        self.promised = if to == Mode::Off { 0 } else { self.now };
        self.buried = self.now;
        for wave in self.waves.iter_mut().filter(|wave| wave.deleted.is_none()) {
            let parts: Vec<&Batch> = wave.parts.iter().collect();
            if self.cluster.missing(&parts).is_some() {
                for part in &parts {
                    self.cluster.remove(part);
                }
                wave.deleted = Some(self.now);
            }
        }
    }

    fn fail(&self, why: &str) -> ! {
        self.cluster.fail(&format!("{}: {why}", self.told.join(", ")))
    }

    /// What is wrong with a wave after a stop in that mode.
    fn wrong(&self, wave: &Wave, before: Mode) -> Option<String> {
        let parts: Vec<&Batch> = wave.parts.iter().collect();
        let gone = wave.deleted.is_some_and(|deleted| deleted <= self.buried);
        if before == Mode::Off || gone {
            return self.cluster.returned(&parts);
        }
        let kept = wave.deleted.is_none() && wave.written <= self.promised;
        if kept && self.mode != Mode::Off {
            return self.cluster.missing(&parts);
        }
        None
    }
}

/// A cluster begins in a mode, changes it, is stopped and started again.
pub(crate) fn life(server: Option<PathBuf>, first: Mode, changes: &[(How, Mode)], stop: Stop) {
    let place = Place::new();
    let mut life = Life::begin(&place, server, first);
    for (how, to) in changes {
        life.change(*how, *to, stop);
        life.go_on();
    }
    let last = life.mode;
    life.stop(stop);
    life.start(last);
}

use How::{Live, WhileDown};
use Mode::{Aof, Off, Rdb};
use Stop::{Down, PowerLoss};

/// D1: the AOF of before is the state of that moment.
#[test]
fn what_was_written_between_two_times_of_aof_is_kept() {
    life(None, Aof, &[(Live, Rdb), (WhileDown, Aof)], Down);
}

/// D1: `apply --wait` promises what the first rewrite has not done yet.
#[test]
fn aof_switched_on_again_holds_everything_once_it_is_healthy() {
    life(None, Aof, &[(Live, Rdb), (Live, Aof)], PowerLoss);
}

#[test]
fn aof_switched_on_for_the_first_time_holds_everything_once_it_is_healthy() {
    life(None, Rdb, &[(Live, Aof)], PowerLoss);
}

/// L19.
#[test]
fn a_change_to_rdb_after_a_power_loss_starts_from_the_aof() {
    life(None, Aof, &[(WhileDown, Rdb)], PowerLoss);
}

/// D14.
#[test]
fn nothing_returns_once_persistence_is_off() {
    life(None, Aof, &[(Live, Off)], Down);
}

macro_rules! pairs {
    ($($name:ident: $first:ident $second:ident;)*) => { $(mod $name {
        use super::*;
        #[test]
        #[ignore = "longest: the matrix of modes"]
        fn live_then_down() {
            life(None, $first, &[(Live, $second)], Down);
        }
        #[test]
        #[ignore = "longest: the matrix of modes"]
        fn live_then_power_loss() {
            life(None, $first, &[(Live, $second)], PowerLoss);
        }
        #[test]
        #[ignore = "longest: the matrix of modes"]
        fn while_down() {
            life(None, $first, &[(WhileDown, $second)], Down);
        }
        #[test]
        #[ignore = "longest: the matrix of modes"]
        fn after_a_power_loss() {
            life(None, $first, &[(WhileDown, $second)], PowerLoss);
        }
    })* };
}

/// Every pair, in every way: repeated for minutes, so that only `make test-long` runs it.
mod longest {
    use super::*;

    pairs! {
        aof_rdb: Aof Rdb;
        aof_off: Aof Off;
        rdb_aof: Rdb Aof;
        rdb_off: Rdb Off;
        off_aof: Off Aof;
        off_rdb: Off Rdb;
    }
}

engine::both! {
    modes_change_live(server) {
        life(Some(server), Aof, &[(Live, Rdb), (Live, Aof)], PowerLoss);
    }
    modes_change_while_down(server) {
        life(Some(server), Aof, &[(Live, Rdb), (WhileDown, Aof)], Down);
    }
    a_mode_is_off(server) {
        life(Some(server), Rdb, &[(Live, Off)], Down);
    }
}

/// The rewrite is not over when all is stopped: what rdb promised of a clean stop is kept.
#[test]
#[ignore = "long: a stop in the middle of a rewrite"]
fn a_stop_in_the_middle_of_the_first_rewrite_loses_nothing() {
    let place = Place::new();
    let mut life = Life::begin(&place, None, Aof);
    life.change_live(Rdb);
    life.go_on();
    // Some 4,000 keys: fifteen seconds and more, longer than a stop may take in which nothing is written.
    life.slow(Slow::Saving(4_000));
    life.cluster.change(Aof.manifest());
    let file = life.cluster.file();
    life.cluster.must(&["apply", "-f", &file.to_string_lossy()]);
    let primary = life.cluster.primary("s0");
    life.cluster.until("AOF is on", || {
        (life.cluster.info(&primary, "persistence", "aof_enabled") == "1").then_some(())
    });
    life.told.push("Aof live and stopped at once".to_owned());
    life.cluster.must(&["down", "--timeout", "300"]);
    (life.promised, life.buried) = (life.now, life.now);
    life.start(Aof);
}

/// The power is lost in the middle of a change, sooner and later, to and fro. What the mode of before had on disk is kept.
#[test]
#[ignore = "long: ten power losses"]
fn a_power_loss_in_the_middle_of_a_change_loses_nothing() {
    let place = Place::new();
    let mut life = Life::begin(&place, None, Aof);
    for moment in 0..10_u32 {
        let to = if life.mode == Aof { Rdb } else { Aof };
        life.told = vec![format!("moment {moment} of 10, {:?} to {to:?}", life.mode)];
        life.go_on();
        if life.mode == Rdb {
            for instance in life.cluster.instance_names() {
                life.cluster.save(&instance);
            }
        }
        (life.promised, life.buried) = (life.now, life.now);
        life.cluster.change(to.manifest());
        let file = life.cluster.file();
        let mut apply = life.cluster.command(&["--cluster", life.cluster.name(), "apply", "--wait", "-f"]);
        let mut apply = apply.arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(30) * moment);
        life.cluster.lose_power();
        let _ = apply.wait();
        life.start(to);
    }
}
