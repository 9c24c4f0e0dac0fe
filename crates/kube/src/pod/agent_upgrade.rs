//! Going on as another program in the same process: the server is our child before and after, and does not notice.

use super::setup::place;
use super::{PodError, system};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The program's name in its folder.
const NAME: &str = "valkeeper";
/// Until when the server may take writes: milliseconds of the monotonic clock.
const LEASE: &str = "VALKEEPER_LEASE_UNTIL_MS";

/// Copies this program into a folder, for the container beside (`valkeeper install`, run by the pod's init container).
pub fn install(folder: &Path) -> io::Result<()> {
    let program = fs::read(std::env::current_exe()?)?;
    write(&folder.join(NAME), &program)
}

/// SHA-256 of the program that runs, hex. Read piece by piece and once: as a whole it would be most of what an agent ever needs.
pub(crate) fn own_digest() -> io::Result<String> {
    static OWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = OWN.get() {
        return Ok(known.clone());
    }
    let (mut program, mut sha) = (fs::File::open("/proc/self/exe")?, Sha256::new());
    let mut piece = vec![0; 64 << 10];
    loop {
        match program.read(&mut piece)? {
            0 => break,
            read => sha.update(&piece[..read]),
        }
    }
    let own = hex(&sha.finalize());
    Ok(OWN.get_or_init(|| own).clone())
}

/// SHA-256, hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Puts a program that was sent in place of ours, once it has shown that it runs here.
pub(super) fn place(program: &[u8]) -> io::Result<PathBuf> {
    let folder = Path::new(place::PROGRAM);
    let tried = folder.join(format!("{NAME}.next"));
    write(&tried, program)?;
    let ran = Command::new(&tried).arg("--version").stdin(Stdio::null()).output();
    let works = ran.as_ref().is_ok_and(|ran| ran.status.success());
    if !works {
        let _ = fs::remove_file(&tried);
        let why = ran.map_or_else(|error| error.to_string(), |ran| ran.status.to_string());
        return Err(io::Error::other(format!("it does not run here: {why}")));
    }
    // A container that is started again later starts as this one.
    let path = folder.join(NAME);
    fs::rename(&tried, &path)?;
    Ok(path)
}

fn write(path: &Path, program: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("part");
    fs::write(&temporary, program)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))?;
    fs::rename(&temporary, path)
}

/// Becomes that program, which is left the end of the lease. Returns only if that fails.
pub(super) fn go_on_as(program: &Path, lease_until: Option<Instant>) -> PodError {
    tracing::info!("going on as another program");
    let mut next = Command::new(program);
    next.args(std::env::args_os().skip(1)).env_remove(LEASE);
    if let Some(until) = lease_until {
        let left = until.saturating_duration_since(Instant::now());
        next.env(LEASE, (monotonic() + left).as_millis().to_string());
    }
    system(format!("{}", program.display()))(next.exec())
}

/// What the program before this one in the same process left.
pub(super) fn lease_left() -> Option<Instant> {
    let until: u64 = std::env::var(LEASE).ok()?.parse().ok()?;
    let left = Duration::from_millis(until).saturating_sub(monotonic());
    Instant::now().checked_add(left)
}

/// The clock that goes on over an `exec`, which `Instant` does not show.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
