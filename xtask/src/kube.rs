//! `cargo xtask kube`: the programs of a real Kubernetes, built from the Go modules that `testkit/bed/go` pins, in a cache
//! outside the checkout. Prints the folder they are in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::{self, Need};
use crate::{cache, command};

/// One module and what is built from it.
struct Set {
    name: &'static str,
    /// What `go build` takes besides the flags of all sets.
    build: &'static [&'static str],
    /// File names that result. A `go build` of one package gets the name of the file, else that of the package.
    programs: &'static [&'static str],
}

const SETS: &[Set] = &[
    Set {
        name: "kube",
        build: &["tool"],
        programs: &[
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        ],
    },
    // The package is called v3, so the file is named here.
    Set { name: "etcd", build: &["go.etcd.io/etcd/server/v3"], programs: &["etcd"] },
    Set {
        name: "containerd",
        // Of these drivers the headers or the kernel modules are not everywhere, and the bed uses none.
        build: &["-tags", "no_btrfs,no_zfs,no_devmapper", "tool"],
        programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
    },
    Set { name: "coredns", build: &["tool"], programs: &["coredns"] },
];

/// `local`: the toolchain that is there; another one is not fetched behind anybody's back.
const ENVIRONMENT: &[(&str, &str)] = &[("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")];
const FLAGS: &[&str] = &["-trimpath", "-mod=readonly"];
const LINK: &str = "-s -w";

/// Where Kubernetes keeps what it says of itself. Unset, its parts take each other for version 0.
const STAMPED: &[&str] = &["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

/// What the bed runs besides what is built here.
const NEEDS: &[Need] = &[
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("curl", "curl"),
];

pub(crate) fn run() -> Result<()> {
    println!("{}", provide()?.display());
    Ok(())
}

/// The folder with the programs.
pub(crate) fn provide() -> Result<PathBuf> {
    packages::provide(NEEDS)?;
    let modules = command::checkout()?.join("testkit/bed/go");
    let shelf = cache::folder("kube")?;
    let kept = shelf.join(key(&modules)?);
    if !is_whole(&kept) {
        let guard = cache::lock(&shelf, "kube")?;
        if !is_whole(&kept) {
            cache::fill(&shelf, "kube", &kept, |new| build(&modules, new))?;
        }
        drop(guard);
    }
    Ok(kept)
}

fn go(modules: &Path, set: &Set) -> Command {
    let mut go = Command::new("go");
    go.current_dir(modules.join(set.name)).envs(ENVIRONMENT.iter().copied());
    go
}

fn is_whole(folder: &Path) -> bool {
    SETS.iter().flat_map(|set| set.programs).all(|program| folder.join(program).is_file())
}

/// Of all that decides over the outcome: the pins, the flags and the toolchain.
fn key(modules: &Path) -> Result<String> {
    let go = command::output(Command::new("go").env("GOTOOLCHAIN", "local").arg("version"))
        .context("no Go\nhint: needs go 1.26 or newer (Debian: golang-go, from backports if need be)")?;
    let mut all = format!("{go}{ENVIRONMENT:?}{FLAGS:?}{LINK}{STAMPED:?}").into_bytes();
    for set in SETS {
        all.extend(format!("\n{} {:?} {:?}\n", set.name, set.build, set.programs).into_bytes());
        for file in ["go.mod", "go.sum"] {
            let path = modules.join(set.name).join(file);
            all.extend(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(cache::sha256(&all)[..16].to_owned())
}

/// One after the other: go itself keeps all processors busy.
fn build(modules: &Path, new: &Path) -> Result<()> {
    eprintln!("kube: building; from nothing it takes about ten minutes on two processors");
    let version = kubernetes_version(&fs::read_to_string(modules.join("kube/go.mod"))?)?;
    for set in SETS {
        let to = match set.programs {
            [one] => new.join(one),
            _ => new.to_path_buf(),
        };
        let link = if set.name == "kube" { format!("{LINK}{}", stamp(&version)?) } else { LINK.to_owned() };
        eprintln!("kube: {}", set.name);
        command::output(
            go(modules, set)
                .arg("build")
                .args(FLAGS)
                .args(["-ldflags", &link])
                .arg("-o")
                .arg(to)
                .args(set.build),
        )
        .with_context(|| {
            format!(
                "{} could not be built\nhint: needs go 1.26 or newer and a way to the Go module proxy",
                set.name
            )
        })?;
    }
    ensure!(is_whole(new), "go has built other programs than the bed needs");
    let said = command::output(Command::new(new.join("kubectl")).args(["version", "--client"]))?;
    ensure!(said.contains(&version), "expected `{version}` of kubectl, it said: {said}");
    Ok(())
}

/// As go.mod requires it, in a block or on a line of its own.
fn kubernetes_version(modules: &str) -> Result<String> {
    let mut words = modules.lines().map(|line| line.trim_start_matches("require ").split_whitespace());
    let found = words.find_map(|mut words| (words.next() == Some("k8s.io/kubernetes")).then(|| words.next()));
    let version = found.flatten().context("testkit/bed/go/kube/go.mod requires no k8s.io/kubernetes")?;
    Ok(version.to_owned())
}

fn stamp(version: &str) -> Result<String> {
    let mut parts = version.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        anyhow::bail!("{version} is no version of Kubernetes");
    };
    let said = [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)];
    let all =
        STAMPED.iter().flat_map(|place| said.map(|(name, value)| format!(" -X {place}.{name}={value}")));
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_wherever_go_writes_it() {
        let block = "require (\n\ta v1 // indirect\n\tk8s.io/kubernetes v1.36.4 // indirect\n)\nreplace k8s.io/api => k8s.io/api v0.36.4\n";
        assert_eq!(kubernetes_version(block).unwrap(), "v1.36.4");
        assert_eq!(kubernetes_version("require k8s.io/kubernetes v1.37.0\n").unwrap(), "v1.37.0");
        kubernetes_version("require k8s.io/kubernetes-x v1.37.0\n").unwrap_err();
    }

    #[test]
    fn every_place_is_stamped() {
        let stamp = stamp("v1.36.4").unwrap();
        for place in STAMPED {
            assert!(stamp.contains(&format!(
                " -X {place}.gitVersion=v1.36.4 -X {place}.gitMajor=1 -X {place}.gitMinor=36"
            )));
        }
        super::stamp("v1").unwrap_err();
    }

    #[test]
    fn every_program_comes_from_a_module_that_is_pinned() {
        let modules = command::checkout().unwrap().join("testkit/bed/go");
        for set in SETS {
            let pins = fs::read_to_string(modules.join(set.name).join("go.mod")).unwrap();
            let named = |program: &&&str| pins.contains(&format!("/{program}\n"));
            let found = set.programs.iter().filter(named).count();
            assert!(found == set.programs.len() || set.name == "etcd", "{}: {:?}", set.name, set.programs);
            assert!(pins.contains(set.build.last().unwrap()), "{}", set.name);
        }
    }
}
