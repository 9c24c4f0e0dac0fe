//! Clients of a primary that was demoted while it ran.
//!
//! Such a client keeps its connection, and gets `READONLY` for each write from then on: ioredis on its defaults asks no Sentinel again. Real
//! Sentinels close the connections of a primary that they demote (`sentinelSendSlaveOf`, sentinel.c); ours have no right to, so the agent does.

use valkeeper_model::{Millis, Role};

/// After the demotion, milliseconds: the Sentinels have been told of the successor by then.
const CLOSE_AFTER_MS: u64 = 250;
/// Once more, for those that a Sentinel has led back: one that was away is told within a second.
const CLOSE_AGAIN_AFTER_MS: u64 = 2_000;

/// When the clients of the own server are to be disconnected.
#[derive(Debug, Default)]
pub struct DemotedClients {
    was_primary: bool,
    due: [Option<Millis>; 2],
}

impl DemotedClients {
    /// The own server is seen in that role; `None` where it is not seen.
    pub fn seen(&mut self, now: Millis, role: Option<Role>) {
        match role {
            Some(Role::Primary) => *self = Self { was_primary: true, due: [None; 2] },
            Some(Role::Replica) if self.was_primary => {
                let due = [CLOSE_AFTER_MS, CLOSE_AGAIN_AFTER_MS].map(|ms| Some(now.plus(ms)));
                *self = Self { was_primary: false, due };
            }
            Some(Role::Replica) | None => {}
        }
    }

    /// When they are to be disconnected next.
    pub fn wake_at(&self) -> Option<Millis> {
        self.due.iter().copied().flatten().min()
    }

    /// Are they to be disconnected now?
    pub fn take_due(&mut self, now: Millis) -> bool {
        let mut is_due = false;
        for due in &mut self.due {
            is_due |= due.take_if(|due| *due <= now).is_some();
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_disconnected_twice_after_a_demotion_and_never_otherwise() {
        let mut clients = DemotedClients::default();
        clients.seen(Millis(0), Some(Role::Replica));
        assert_eq!(clients.wake_at(), None, "a replica that never was a primary has readers");
        clients.seen(Millis(10), Some(Role::Primary));
        clients.seen(Millis(20), None);
        clients.seen(Millis(30), Some(Role::Replica));
        clients.seen(Millis(40), Some(Role::Replica));
        assert!(!clients.take_due(Millis(279)));
        assert!(clients.take_due(Millis(280)) && !clients.take_due(Millis(281)));
        assert_eq!(clients.wake_at(), Some(Millis(2_030)));
        assert!(clients.take_due(Millis(2_030)) && clients.wake_at().is_none());
        clients.seen(Millis(3_000), Some(Role::Primary));
        clients.seen(Millis(3_010), Some(Role::Replica));
        clients.seen(Millis(3_020), Some(Role::Primary));
        assert_eq!(clients.wake_at(), None, "it is the primary again");
    }
}
