//! Writes the definitions of our kinds into the folder that is named. `cargo xtask crds` starts it.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("name a folder")?);
    for (name, definition) in valkeeper_kube_api::crd::definitions() {
        let yaml = serde_saphyr::to_string(&definition)?;
        std::fs::write(folder.join(name), format!("# Made by `cargo xtask crds`.\n{yaml}"))?;
    }
    Ok(())
}
