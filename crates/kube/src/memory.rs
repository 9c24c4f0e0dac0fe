//! Memory that was needed once and is free now, given back to the system: what an operator takes is to be what its clusters need.

use std::time::Duration;

/// A start and a hundred new clusters are bursts of minutes.
const EVERY: Duration = Duration::from_secs(60);

/// Gives back what is free, for ever. glibc returns only what is free at the end of its heap: with 100 clusters it kept half of all for nothing.
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        trim();
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "there is no safe way to it")]
fn trim() {
    // SAFETY: it takes no pointer, and may be called at any time from any thread (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}
