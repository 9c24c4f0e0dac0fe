//! What `cargo metadata` says, as far as we ask it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Graph {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    id: String,
    pub(super) manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Build,
    Dev,
}

impl Package {
    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }
}

impl Graph {
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// From one workspace crate to the others, as its manifest declares them, optional ones included.
    pub(super) fn arrows<'a>(&'a self, from: &'a Package) -> impl Iterator<Item = (&'a str, Kind)> {
        let members: BTreeSet<&str> = self.members().map(|member| member.name.as_str()).collect();
        from.dependencies.iter().filter(move |to| members.contains(to.name.as_str())).map(|to| {
            let kind = match to.kind.as_deref() {
                None => Kind::Normal,
                Some("dev") => Kind::Dev,
                Some(_) => Kind::Build,
            };
            (to.name.as_str(), kind)
        })
    }

    /// Everything that is linked with `name`, itself left out, on any platform.
    pub(super) fn tree(&self, name: &str) -> BTreeSet<&str> {
        let parents = self.walk(name);
        parents.keys().copied().filter(|found| *found != name).collect()
    }

    /// The shortest way from `name` down to a crate that matches.
    pub(super) fn path_to(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Option<Vec<&str>> {
        let parents = self.walk(name);
        let mut at = parents.keys().copied().find(|found| *found != name && wanted(found))?;
        let mut path = vec![at];
        while let Some(Some(parent)) = parents.get(at) {
            path.push(parent);
            at = parent;
        }
        path.reverse();
        Some(path)
    }

    /// Each crate reached over normal dependencies, with the one it was first reached from. What a procedural macro
    /// depends on runs in the compiler and is not followed.
    fn walk(&self, name: &str) -> BTreeMap<&str, Option<&str>> {
        let packages: BTreeMap<&str, &Package> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let Some(start) = self.members().find(|member| member.name == name) else { return BTreeMap::new() };
        let mut parents = BTreeMap::from([(start.name.as_str(), None)]);
        let mut seen = BTreeSet::from([start.id.as_str()]);
        let mut queue = VecDeque::from([start]);
        while let Some(package) = queue.pop_front() {
            let edges = nodes.get(package.id.as_str()).map_or(&[][..], |node| &node.deps);
            let normal = edges.iter().filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            for next in normal.filter_map(|edge| packages.get(edge.pkg.as_str())) {
                if !next.is_macro() && seen.insert(&next.id) {
                    parents.entry(&next.name).or_insert(Some(package.name.as_str()));
                    queue.push_back(next);
                }
            }
        }
        parents
    }
}
