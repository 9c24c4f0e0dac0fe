//! What goes wrong in a bed. What can be mended is mended when its value is dropped, also by a scenario that fails: those after it have a
//! bed as it should be.

use super::bed::{Bed, run};
use crate::waiting::until;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Something that is wrong for as long as this lives.
#[must_use = "it is mended when this is dropped"]
pub struct Fault<'bed>(Option<Box<dyn FnOnce() + 'bed>>);

impl<'bed> Fault<'bed> {
    fn until(mended: impl FnOnce() + 'bed) -> Self {
        Self(Some(Box::new(mended)))
    }

    /// Mends it.
    pub fn mend(self) {}
}

impl std::fmt::Debug for Fault<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fault")
    }
}

impl Drop for Fault<'_> {
    fn drop(&mut self) {
        let Some(mended) = self.0.take() else { return };
        if std::thread::panicking() {
            // A second panic would end the process, and with it all scenarios.
            let _ = catch_unwind(AssertUnwindSafe(mended));
        } else {
            mended();
        }
    }
}

impl Bed {
    /// Sends a signal to a process.
    pub fn signal(&self, signal: &str, pid: u32) {
        run("kill", &[&format!("-{signal}"), &pid.to_string()]);
    }

    /// Takes a node off the network.
    pub fn unlinked(&self, node: &str) -> Fault<'static> {
        let number = node.strip_prefix("node").expect("a node's name");
        let link = format!("veth{number}");
        run("ip", &["link", "set", &link, "down"]);
        Fault::until(move || run("ip", &["link", "set", &link, "up"]))
    }

    /// Freezes all pods of a node.
    pub fn frozen(&self, node: &str) -> Fault<'static> {
        let path = format!("/sys/fs/cgroup/freezer/{}/{node}/kubepods/freezer.state", self.id);
        let freezer = move |state| std::fs::write(&path, state).expect("the freezer works");
        freezer("FROZEN");
        Fault::until(move || freezer("THAWED"))
    }

    /// Cuts a node and its pods off the API server, and off nothing else.
    pub fn without_api(&self, node: &str) -> Fault<'static> {
        let net = net_of(node);
        let hook = |name: &str, hook: &str| {
            let chain = format!("{{ type filter hook {hook} priority 0 ; }}");
            run("nsenter", &[&net, "nft", "add", "chain", "inet", "no_api", name, &chain]);
            let rule = ["ip", "daddr", "10.77.0.1", "tcp", "dport", "6443", "drop"];
            let add = [&net[..], "nft", "add", "rule", "inet", "no_api", name];
            run("nsenter", &add.into_iter().chain(rule).collect::<Vec<_>>());
        };
        run("nsenter", &[&net, "nft", "add", "table", "inet", "no_api"]);
        hook("own", "output");
        hook("pods", "forward");
        Fault::until(move || run("nsenter", &[&net, "nft", "delete", "table", "inet", "no_api"]))
    }

    /// Has the bed's DNS go on telling this address for a name, whatever becomes of it.
    pub fn name_pinned(&self, name: &str, to: &str) -> Fault<'_> {
        let path = self.run.join("Corefile");
        let before = std::fs::read_to_string(&path).expect("the bed has one");
        // Of the first server block, which is the one for the cluster's names.
        let (first, others) = before.split_once('\n').expect("a block begins with a line of its own");
        let pinned = format!("{first}\nhosts {{\n{to} {name}\nfallthrough\n}}\n{others}");
        let dns = move |corefile: &str| {
            std::fs::write(&path, corefile).expect("writable");
            self.stop("dns");
            self.start("dns");
            until("the DNS answers", || {
                let asked = ["--fail", "--silent", "--max-time", "1", "http://10.77.0.1:8181/ready"];
                let asked = Command::new("curl").args(asked).stdout(Stdio::null()).status();
                asked.expect("curl is needed by the bed").success().then_some(())
            });
        };
        dns(&pinned);
        Fault::until(move || dns(&before))
    }

    /// Kills a component of the bed, which is started again when it is mended.
    pub fn stopped(&self, component: &str) -> Fault<'_> {
        self.stop(component);
        let component = component.to_owned();
        Fault::until(move || self.start(&component))
    }

    fn stop(&self, component: &str) {
        let path = self.run.join("pids").join(component);
        let pid = std::fs::read_to_string(path).expect("its pid is known");
        run("kill", &["-KILL", pid.trim()]);
    }

    fn start(&self, component: &str) {
        run(self.run.join("restart").join(component).to_str().expect("text"), &[]);
    }

    /// Begins to drain a node of one instance. Of two pods of a cluster on it the budget lets one go, and which one goes first is chance.
    pub fn drain(&self, node: &str, instance: &str) -> Child {
        let selector = format!("--pod-selector=redis.io/instance={instance}");
        let args = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", &selector];
        Command::new("kubectl")
            .args(args)
            .arg("--timeout=80s")
            .stdout(Stdio::null())
            .spawn()
            .expect("kubectl is in the bed")
    }

    /// Has all nodes refuse what is sent to these addresses, at once and each time. Of routes that lead nowhere they would tell once a second.
    pub fn nobody_listens_at(&self, network: &str) {
        for node in self.nodes() {
            run("nsenter", &[&net_of(&node), "ip", "route", "replace", "local", network, "dev", "lo"]);
        }
    }

    /// No node takes pods.
    pub fn cordoned(&self) -> Fault<'_> {
        let nodes = self.nodes();
        for node in &nodes {
            self.kubectl(&["cordon", node]);
        }
        Fault::until(move || nodes.iter().for_each(|node| drop(self.kubectl(&["uncordon", node]))))
    }

    fn nodes(&self) -> Vec<String> {
        let names = self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split_whitespace().map(str::to_owned).collect()
    }

    fn volume_folder(&self, volume: &str) -> PathBuf {
        let (node, number) = volume.rsplit_once('-').expect("a volume's name");
        self.run.join(node).join("volumes").join(number)
    }

    /// Copies the folder of a volume beside it.
    pub fn snapshot_volume(&self, volume: &str) -> PathBuf {
        let (folder, copy) =
            (self.volume_folder(volume), self.volume_folder(volume).with_extension("snapshot"));
        let _ = std::fs::remove_dir_all(&copy);
        run("cp", &["-a", text(&folder), text(&copy)]);
        copy
    }

    /// Puts a volume back as it was when it was copied. Nobody may use it.
    pub fn put_back_volume(&self, volume: &str, copy: &Path) {
        self.wipe_volume(volume);
        run("cp", &["-a", text(&copy.join(".")), text(&self.volume_folder(volume))]);
        std::fs::remove_dir_all(copy).expect("the copy is ours");
    }

    /// Empties the folder of a volume. Its server may still be at work in it: what has gone by itself is as good as removed.
    pub fn wipe_volume(&self, volume: &str) {
        let folder = self.volume_folder(volume);
        let left =
            || std::fs::read_dir(&folder).expect("the volume is there").flatten().map(|entry| entry.path());
        until("the volume is empty", || {
            for path in left() {
                let removed =
                    if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
                match removed.map_err(|error| error.kind()) {
                    Ok(()) | Err(ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
                    Err(other) => panic!("{}: {other}", path.display()),
                }
            }
            left().next().is_none().then_some(())
        });
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the bed is text")
}

/// The network of a node, for `nsenter`.
fn net_of(node: &str) -> String {
    format!("--net=/run/netns/{node}")
}
