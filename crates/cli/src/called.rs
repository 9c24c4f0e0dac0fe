//! How this program was called: hints name what people type.

use std::path::Path;
use std::sync::OnceLock;
use valkeeper_model::CalledAs;

static CALLED: OnceLock<CalledAs> = OnceLock::new();

/// As which it was called; to be noted once.
pub(crate) fn note(called: CalledAs) {
    let _ = CALLED.set(called);
}

/// What stands before a command in a hint.
pub(crate) fn called() -> CalledAs {
    CALLED.get().copied().unwrap_or_default()
}

/// By its own name, and by what was asked of it.
pub(crate) fn by_name(name: Option<&Path>, on_kubernetes: bool) -> CalledAs {
    let plugin = name.and_then(Path::file_stem).is_some_and(|name| name == "kubectl-valkeeper");
    match (plugin, on_kubernetes) {
        (true, _) => CalledAs::KubectlValkeeper,
        // Where the environment says it, nobody has to type it.
        (false, true) if std::env::var_os("VALKEEPER_KUBERNETES").is_none() => CalledAs::ValkeeperKubernetes,
        (false, _) => CalledAs::Valkeeper,
    }
}
