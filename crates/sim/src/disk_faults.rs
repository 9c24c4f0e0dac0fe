//! Disks that are put back as they were before, and files that are lost from them.

use crate::faults::Fault;
use crate::fleet::Fleet;

impl Fleet {
    pub(crate) fn disk_strikes(&mut self, fault: Fault) {
        match fault {
            Fault::CopyDisk(whom) => {
                let server = self.resolve(whom);
                self.copied_disk = Some((server, self.servers[server].copy_of_disk()));
            }
            Fault::OldDisk(whom) => {
                let server = self.resolve(whom);
                (0..self.servers.len()).for_each(|server| self.crash(server));
                if let Some((_, disk)) = self.copied_disk.take().filter(|(of, _)| *of == server) {
                    self.servers[server].disk = disk;
                    self.law_of_deaths(server, self.members.shard_of[server]);
                }
            }
            Fault::LoseAof(whom) => {
                let server = self.resolve(whom);
                (0..self.servers.len()).for_each(|server| self.crash(server));
                self.servers[server].disk.aof = None;
                self.law_of_deaths(server, self.members.shard_of[server]);
            }
            _ => {}
        }
    }
}
