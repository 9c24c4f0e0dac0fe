//! Ports of scenarios. Several test programs run at once on one machine, and a port that is free now may be taken the next
//! moment: each cluster gets a block of its own, locked for as long as it lives.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;

/// Ports of one block.
pub const BLOCK: u16 = 40;
/// Bus ports lie 10,000 above: up to here they are below what systems hand out by themselves, and no block's bus ports are
/// another's client ports.
const FIRST: u16 = 10_100;
const BLOCKS: u16 = 240;

/// Ports that are ours until this is dropped.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _lock: File,
}

impl Ports {
    /// A block that nobody has.
    pub fn reserve() -> Self {
        let dir = std::env::temp_dir().join("valkeeper-testkit-ports");
        std::fs::create_dir_all(&dir).expect("the folder of port locks can be made");
        // Spread by process, so that the search is short.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        (0..BLOCKS)
            .map(|n| (start + n) % BLOCKS)
            .find_map(|block| {
                let lock = File::create(dir.join(block.to_string())).ok()?;
                flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
                Some(Self { first: FIRST + block * BLOCK, _lock: lock })
            })
            .expect("a block of ports is free")
    }

    /// The first port.
    pub fn first(&self) -> u16 {
        self.first
    }
}
