//! Image archives that `ctr image import` reads. The same content makes the same bytes: no time, no user, entries in order.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::cache;

/// The files of an image by their path, which has no slash in front.
#[derive(Default)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    /// None is a folder.
    bytes: Option<Vec<u8>>,
    mode: u32,
    owner: Owner,
}

/// User and group.
pub(super) type Owner = (u64, u64);

pub(super) const ROOT: Owner = (0, 0);

impl Tree {
    pub(super) fn folder(&mut self, path: &str, mode: u32, owner: Owner) {
        self.put(path, Entry { bytes: None, mode, owner });
    }

    pub(super) fn file(&mut self, path: &str, bytes: Vec<u8>, mode: u32) {
        self.put(path, Entry { bytes: Some(bytes), mode, owner: ROOT });
    }

    /// A copy of a file that can be run or loaded.
    pub(super) fn program(&mut self, path: &str, from: &Path) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, bytes, 0o755);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    fn put(&mut self, path: &str, entry: Entry) {
        for (at, _) in path.match_indices('/') {
            let parent = Entry { bytes: None, mode: 0o755, owner: ROOT };
            self.entries.entry(path[..at].to_owned()).or_insert(parent);
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// In the order of their paths, where a folder comes before what is in it.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let (kind, bytes) = match &entry.bytes {
                Some(bytes) => (EntryType::Regular, bytes.as_slice()),
                None => (EntryType::Directory, &[][..]),
            };
            append(&mut tar, path, kind, bytes, entry.mode, entry.owner)?;
        }
        Ok(tar.into_inner()?)
    }
}

fn append(
    tar: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    bytes: &[u8],
    mode: u32,
    (user, group): Owner,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(user);
    header.set_gid(group);
    header.set_mtime(0);
    header.set_size(u64::try_from(bytes.len())?);
    tar.append_data(&mut header, path, bytes).with_context(|| format!("cannot pack {path}"))
}

pub(super) struct Image {
    /// In full, such as `docker.io/valkey/valkey:9.1.2`: a short name in a manifest stands for it.
    pub(super) name: &'static str,
    pub(super) tree: Tree,
    pub(super) entrypoint: &'static str,
    /// Where the entry point starts.
    pub(super) folder: &'static str,
}

impl Image {
    /// The archive and the hash of its content.
    pub(super) fn archive(&self, architecture: &str) -> Result<(Vec<u8>, String)> {
        let layer = self.tree.layer()?;
        let digest = cache::sha256(&layer);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": [self.entrypoint],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "WorkingDir": self.folder,
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        })
        .to_string();
        // The name of the configuration is the identity of an image: it covers the layer.
        let id = cache::sha256(config.as_bytes());
        let (config_file, layer_file) = (format!("{id}.json"), format!("{digest}/layer.tar"));
        let manifest =
            json!([{ "Config": config_file, "RepoTags": [self.name], "Layers": [layer_file] }]).to_string();
        let mut tar = Builder::new(Vec::with_capacity(layer.len() + 16_384));
        for (path, bytes) in [
            (config_file.as_str(), config.as_bytes()),
            (&layer_file, &layer),
            ("manifest.json", manifest.as_bytes()),
        ] {
            append(&mut tar, path, EntryType::Regular, bytes, 0o644, ROOT)?;
        }
        Ok((tar.into_inner()?, cache::sha256(manifest.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn image(text: &str) -> Image {
        let mut tree = Tree::default();
        tree.file("b/c/run", text.into(), 0o755);
        tree.folder("b", 0o1777, (999, 1000));
        tree.folder("a", 0o755, ROOT);
        Image { name: "local.test/x:1", tree, entrypoint: "/b/c/run", folder: "/" }
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_keep_what_was_said_of_them() {
        let layer = image("x").tree.layer().unwrap();
        let mut found = Vec::new();
        for entry in tar::Archive::new(&layer[..]).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 0);
            found.push((
                entry.path().unwrap().display().to_string(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
            ));
        }
        let expected =
            [("a", 0o755, 0, 0), ("b", 0o1777, 999, 1000), ("b/c", 0o755, 0, 0), ("b/c/run", 0o755, 0, 0)];
        assert_eq!(found, expected.map(|(path, mode, user, group)| (path.to_owned(), mode, user, group)));
    }

    #[test]
    fn the_same_content_makes_the_same_archive_and_another_one_does_not() {
        let (one, hash) = image("x").archive("amd64").unwrap();
        assert_eq!(image("x").archive("amd64").unwrap(), (one, hash.clone()));
        assert_ne!(image("y").archive("amd64").unwrap().1, hash);
        assert_ne!(image("x").archive("arm64").unwrap().1, hash);
    }

    #[test]
    fn the_parts_of_an_archive_are_named_by_their_hash() {
        let (archive, _) = image("x").archive("amd64").unwrap();
        let mut parts = BTreeMap::new();
        for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            parts.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&parts["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "local.test/x:1");
        let config = manifest[0]["Config"].as_str().unwrap();
        assert_eq!(config, format!("{}.json", cache::sha256(&parts[config])));
        let layer = manifest[0]["Layers"][0].as_str().unwrap();
        let digest = cache::sha256(&parts[layer]);
        assert_eq!(layer, format!("{digest}/layer.tar"));
        let config: serde_json::Value = serde_json::from_slice(&parts[config]).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{digest}"));
    }
}
