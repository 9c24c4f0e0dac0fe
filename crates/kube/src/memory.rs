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

/// Lets go of the program's own code, of which a start uses much that is not used again: of 18 MiB of code an agent at rest uses three. What is
/// used is mapped again from the page cache, some hundred page faults of under a microsecond each.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "there is no safe way to it")]
fn unmap_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    for (start, length) in code_of(&maps, &program) {
        let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
        // SAFETY: the range is one whole mapping of this process, of its program's file, private and not writable, as the kernel lists it. Nobody
        // can have changed a page of it (code has no relocations: the program is built without text relocations), so that each is read
        // from the file again as it was (madvise(2), MADV_DONTNEED on a private file mapping).
        unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(target_os = "linux"))]
fn unmap_code() {}

/// Where the program's code is mapped: start and length, bytes.
fn code_of<'a>(maps: &'a str, program: &'a std::path::Path) -> impl Iterator<Item = (usize, usize)> + 'a {
    maps.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [range, "r-xp", _, _, _, file] = fields[..] else { return None };
        let (start, end) = range.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        (std::path::Path::new(file) == program).then_some((start, end.checked_sub(start)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_let_go() {
        let maps = "\
            1000-3000 r--p 00000000 fe:00 12 /bin/x\n\
            3000-9000 r-xp 00002000 fe:00 12 /bin/x\n\
            9000-a000 rw-p 00008000 fe:00 12 /bin/x\n\
            b000-c000 r-xp 00000000 fe:00 13 /lib/y\n\
            d000-e000 r-xp 00000000 00:00 0 [vdso]\n\
            f000-f800 rw-p 00000000 00:00 0\n";
        let found: Vec<_> = code_of(maps, std::path::Path::new("/bin/x")).collect();
        assert_eq!(found, [(0x3000, 0x6000)]);
    }

    #[test]
    fn a_program_goes_on_without_its_mapped_code() {
        unmap_code();
        assert_eq!("goes on".len(), 7);
    }
}
