//! Memory that was needed once and is free now, given back to the system: what an operator or an agent takes is to be what it needs.

use std::time::Duration;

/// A start and a hundred new clusters are bursts of minutes.
const EVERY: Duration = Duration::from_secs(60);

/// Gives back what is free, for ever. glibc returns only what is free at the end of its heap: with 100 clusters it kept half of all for nothing.
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        trim();
        unmap_code();
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

/// Lets go of the program's own code and constants, of which a start uses much that is not used again. What is used is mapped again from the page
/// cache, some hundred page faults of under a microsecond each.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "there is no safe way to it")]
fn unmap_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    for (start, length) in code_of(&maps, &program) {
        let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
        // SAFETY: the range is one whole mapping of this process, of its program's file, private and not writable, as the kernel lists it. Nobody
        // has changed a page of it: the program has no text relocations, and what is relocated at the start lies in mappings behind the code, which
        // are left alone. So each page is read from the file again as it was (madvise(2), MADV_DONTNEED on a private file mapping).
        unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(target_os = "linux"))]
fn unmap_code() {}

/// Where the program's code and the constants before it are mapped: start and length, bytes. Behind the code is data, of which a part is not writable
/// any more once it has been relocated.
#[cfg(any(target_os = "linux", test))]
fn code_of(maps: &str, program: &std::path::Path) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [range, rights @ ("r--p" | "r-xp"), _, _, _, file] = fields[..] else { continue };
        if std::path::Path::new(file) != program {
            continue;
        }
        let range = range.split_once('-').and_then(|(start, end)| {
            let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
            Some((start, end.checked_sub(start)?))
        });
        found.extend(range);
        if rights == "r-xp" {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_let_go() {
        let maps = "\
            1000-3000 r--p 00000000 fe:00 12 /bin/x\n\
            3000-9000 r-xp 00002000 fe:00 12 /bin/x\n\
            9000-9800 r--p 00008000 fe:00 12 /bin/x\n\
            9800-a000 rw-p 00008800 fe:00 12 /bin/x\n\
            b000-c000 r-xp 00000000 fe:00 13 /lib/y\n\
            d000-e000 r-xp 00000000 00:00 0 [vdso]\n\
            f000-f800 rw-p 00000000 00:00 0\n";
        let found = code_of(maps, std::path::Path::new("/bin/x"));
        assert_eq!(found, [(0x1000, 0x2000), (0x3000, 0x6000)]);
    }

    #[test]
    fn a_program_goes_on_without_its_mapped_code() {
        unmap_code();
        assert_eq!("goes on".len(), 7);
    }
}
