//! Acknowledged writes and who may take them.

use super::Reign;
use crate::fleet::Fleet;
use crate::history::{Tip, Tips};
use crate::network::Way;
use crate::server::{Process, Rise};
use valkeeper_model::Persistence;

/// A host that was frozen takes what lies in its sockets until its agent, thawed too, has been heard by its server.
const THAW_MS: u64 = 400;
/// A primary that is awake again has been heard of by all others.
const AWAKE_KNOWN_MS: u64 = 200;

impl Fleet {
    /// Somebody is primary now.
    pub(crate) fn law_of_succession(&mut self, server: usize, how: Rise) {
        let shard = self.servers[server].shard();
        let before = self.laws.reigns[shard];
        let (epoch, run) = (self.servers[server].table[server].config_epoch, self.servers[server].run);
        let reign = Reign { primary: server, run, epoch, how, since: self.now() };
        match how {
            Rise::Boot => {
                if !self.boots_rightly(server, before) {
                    return;
                }
                if self.setup.persistence != Persistence::Aof {
                    let kept = self.live_copies(shard, server);
                    self.history.excuse_missing(self.atoms_of(shard), &kept);
                }
            }
            Rise::Planned => self.hands_over_rightly(server, before),
            Rise::Natural if self.serves_undisturbed(before) => {
                let names =
                    (self.name(server).clone(), before.map(|before| self.name(before.primary).clone()));
                self.break_law(3, format!("{} is elected although {:?} serves", names.0, names.1));
            }
            Rise::Force | Rise::Takeover | Rise::NoOne if self.servers[server].had_caught_up() => {
                self.excuse_all_but(shard, &[server]);
            }
            // Who was neither in sync nor the primary in this run has an old copy: what the dead primary's disk holds stays owed.
            Rise::Natural if self.servers[server].had_caught_up() || self.laws.reigned[server] == run => {
                self.excuse_all_but(shard, &[server]);
            }
            Rise::Natural | Rise::Force | Rise::Takeover | Rise::NoOne => {
                let mut kept = vec![self.servers[server].data.tips];
                if let Some(before) = before
                    && matches!(self.servers[before.primary].process, Process::Down | Process::Loading)
                {
                    kept.extend(self.servers[before.primary].disk.copies());
                    kept.extend(
                        self.laws.stashed[before.primary].iter().flat_map(crate::server::Disk::copies),
                    );
                }
                self.history.excuse_missing(self.atoms_of(shard), &kept);
            }
        }
        if before.is_none_or(|before| before.epoch <= epoch) {
            self.laws.reigns[shard] = Some(reign);
            self.laws.reigned[server] = run;
        }
    }

    /// Does the primary serve, started a while ago, with nothing in its way for a while that the engine's own failure detector could see?
    fn serves_undisturbed(&self, before: Option<Reign>) -> bool {
        let Some(before) = before else { return false };
        let primary = &self.servers[before.primary];
        let cut = self.was_cut_within(2 * self.setup.node_timeout_ms);
        let frozen = self.agents[before.primary].frozen.is_some() || self.is_thawing(before.primary);
        let quiet = !cut && !frozen && self.network.lost_in_thousand == 0;
        // Two replicas may be elected one after the other before the first is heard of.
        let known = before.since + 1_000 < self.now();
        // Nor is it heard of at once that a hanging one is awake again: votes are on their way.
        let awake = primary.awake() && primary.awake_since + AWAKE_KNOWN_MS < self.now();
        primary.run == before.run && primary.serves() && awake && quiet && known
    }

    /// Is the bus cut, or was it so lately?
    fn was_cut_within(&self, window: u64) -> bool {
        self.network.is_cut(Way::Bus) || self.network.last_cut.is_some_and(|at| self.now() < at + window)
    }

    fn excuse_all_but(&mut self, shard: usize, servers: &[usize]) {
        let kept: Vec<Tips> = servers.iter().map(|server| self.servers[*server].data.tips).collect();
        self.history.excuse_missing(self.atoms_of(shard), &kept);
    }

    fn live_copies(&self, shard: usize, but: usize) -> Vec<Tips> {
        let live =
            self.shard_members(shard).filter(|index| *index == but || self.servers[*index].live_copy());
        live.map(|index| self.servers[index].data.tips).collect()
    }

    /// Law 3: a primary is not started again while its successor serves. False if its claim is an old one.
    fn boots_rightly(&mut self, server: usize, before: Option<Reign>) -> bool {
        let Some(before) = before.filter(|before| before.primary != server) else { return true };
        let successor = &self.servers[before.primary];
        let reigns = successor.run == before.run && successor.serves();
        if reigns
            && self.servers[server].started_at > before.since + 3_000
            && !self.network.is_cut(Way::Agents)
        {
            let names = (self.name(server).clone(), self.name(before.primary).clone());
            self.break_law(3, format!("{} started as primary although {} serves", names.0, names.1));
        }
        self.servers[server].table[server].config_epoch >= before.epoch
    }

    /// Law 2: a handover loses nothing that the old primary took.
    fn hands_over_rightly(&mut self, server: usize, before: Option<Reign>) {
        let shard = self.servers[server].shard();
        if let Some(before) = before {
            let old = &self.servers[before.primary];
            let lost = old.alive()
                && old.run == before.run
                && !self.history.contains(&self.servers[server].data.tips, &old.data.tips);
            if lost {
                let names = (self.name(before.primary).clone(), self.name(server).clone());
                let what = format!("the handover from {} to {} loses writes", names.0, names.1);
                return self.break_law(2, what);
            }
        }
        self.excuse_all_but(shard, &[server]);
    }

    /// A server has taken a write.
    pub(crate) fn law_of_writes(&mut self, server: usize, tip: Tip) {
        let shard = self.servers[server].shard();
        let Some(reign) = self.laws.reigns[shard] else { return };
        if reign.primary == server {
            return;
        }
        // The engine's window: its own election does not wait until the old primary is dead, and who is cut off learns late.
        let window = 2 * self.setup.node_timeout_ms + 5_000;
        let cut = self.was_cut_within(window) && !self.must_not_write(server, reign, window);
        if reign.how == Rise::Natural || cut || self.is_thawing(server) {
            return self.history.excuse(tip);
        }
        let names = (self.name(server).clone(), self.name(reign.primary).clone());
        self.break_law(3, format!("{} takes writes although {} is the primary", names.0, names.1));
    }

    fn is_thawing(&self, host: usize) -> bool {
        self.agents[host].thawed_at.is_some_and(|at| self.now() < at + THAW_MS)
    }

    /// On hosts of their own, whoever was replaced by vote refused writes before, whether it knows of that or not.
    fn must_not_write(&self, server: usize, reign: Reign, window: u64) -> bool {
        let in_part = self.network.is_cut_in_part(Way::Bus)
            || self.network.last_cut_in_part.is_some_and(|at| self.now() < at + window);
        self.setup.own_hosts && reign.how == Rise::Force && !in_part && self.agents[server].frozen.is_none()
    }

    /// A client got its OK. The write may be gone already; then it must have been allowed to go.
    pub(crate) fn law_of_acknowledgement(&mut self, from: usize, tip: Tip) {
        if self.history.get(tip).excused || self.history.holds(&self.servers[from].data.tips, tip) {
            return;
        }
        self.law_of_copies(self.servers[from].shard(), "its acknowledgement");
    }

    /// A process has ended or a disk was wiped: what only that one had is gone, and nobody could help it.
    pub(crate) fn law_of_deaths(&mut self, _server: usize, shard: usize) {
        let copies = self.all_copies();
        self.history.excuse_missing(self.atoms_of(shard), &copies);
    }

    /// While the cluster is founded, an emptied directory is taken for a new one: what its shard holds is forfeit.
    pub(crate) fn law_of_young_clusters(&mut self, shard: usize) {
        if self.store.layout.as_ref().is_none_or(valkeeper_model::Layout::is_founding) {
            self.laws.forfeit[shard] = true;
            self.history.excuse_missing(self.atoms_of(shard), &[]);
        }
    }

    fn all_copies(&self) -> Vec<Tips> {
        let mut copies = self.copies();
        copies.extend(self.laws.stashed.iter().flatten().flat_map(crate::server::Disk::copies));
        copies
    }

    /// Some copy was replaced by another: no owed write may have been only in that one.
    pub(crate) fn law_of_copies(&mut self, shard: usize, by: &str) {
        let (atoms, copies) = (self.atoms_of(shard), self.all_copies());
        if self.laws.forfeit[shard] {
            self.history.excuse_missing(atoms, &copies);
        }
        let missing = self.history.missing(atoms, &copies, true);
        if let Some(first) = missing.first() {
            let what = format!(
                "s{shard}: {} acknowledged writes are in no copy any more after {by}, the first of depth {}",
                missing.len(),
                self.history.depth(*first)
            );
            self.break_law(3, what);
        }
    }

    /// In the end everything owed is where clients read it.
    pub(super) fn law_of_the_end(&mut self) {
        for shard in 0..self.laws.reigns.len() {
            let Some(primary) = self.laws.primary_of(shard) else { continue };
            let server = &self.servers[primary];
            let missing = self.history.missing(server.owned_by(primary), &[server.data.tips], true);
            if !missing.is_empty() {
                let what = format!(
                    "s{shard}: {} acknowledged writes are not on the primary in the end, the first of depth {}",
                    missing.len(),
                    self.history.depth(missing[0])
                );
                self.break_law(3, what);
            }
        }
    }

    /// Law 3 at the command itself: the dead primary's end is certain, and the chosen replica is the best of the live ones.
    pub(super) fn is_the_best(&mut self, chosen: usize) {
        let shard = self.servers[chosen].shard();
        let Some(reign) = self.laws.reigns[shard].filter(|reign| reign.primary != chosen) else { return };
        let old = &self.servers[reign.primary];
        let harmless = self.setup.own_hosts
            && (old.refuses_writes()
                || self.agents[reign.primary].frozen.is_some()
                || self.is_thawing(reign.primary));
        if old.process != Process::Down && old.run == reign.run && old.is_primary() && !harmless {
            let names = (self.name(chosen).clone(), self.name(reign.primary).clone());
            let what = format!("{} is promoted while the process of {} lives", names.0, names.1);
            return self.break_law(3, what);
        }
        let (atoms, tips) = (self.atoms_of(shard), self.servers[chosen].data.tips);
        let others: Vec<usize> = self.shard_members(shard).filter(|index| *index != chosen).collect();
        for other in &others {
            let sibling = &self.servers[*other];
            let seen =
                self.agents[*other].agent.is_some() && self.now() > self.laws.unseen_at[*other] + 1_000;
            let calm = self.network.slowness_ms == 0 && !self.network.is_cut(Way::Agents);
            // What was lost with the right of an earlier primary is nobody's claim any more.
            let owed = self.history.missing(atoms, &[tips], true);
            let better = self.history.contains(&sibling.data.tips, &tips)
                && owed.iter().any(|owed| self.history.holds(&sibling.data.tips, *owed));
            if sibling.live_copy() && !sibling.in_stream() && seen && calm && better {
                let names = (self.name(chosen).clone(), self.name(*other).clone());
                let depths = (self.history.size(&tips), self.history.size(&sibling.data.tips));
                let what = format!(
                    "{} with {} writes is promoted although {} has {}",
                    names.0, depths.0, names.1, depths.1
                );
                return self.break_law(3, what);
            }
        }
        if self.servers[chosen].live_copy() {
            return;
        }
        // A copy from its own disk is right only when the dead primary has nothing that is newer.
        let mut newer: Vec<Tips> = self.servers[reign.primary].disk.copies().collect();
        newer.extend(
            others
                .iter()
                .filter(|index| self.servers[**index].live_copy())
                .map(|index| self.servers[*index].data.tips),
        );
        let owed = self.history.missing(atoms, &[tips], true);
        let lost =
            owed.iter().filter(|owed| newer.iter().any(|copy| self.history.holds(copy, **owed))).count();
        if lost > 0 {
            let what =
                format!("{} is promoted with an old copy: {lost} writes are elsewhere", self.name(chosen));
            self.break_law(3, what);
        }
    }
}
