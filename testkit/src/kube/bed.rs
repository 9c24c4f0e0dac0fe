//! The bed, its faults, and the operator in it.

use crate::waiting::{tail, until};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// Where the operator is installed.
pub(super) const OPERATOR_NAMESPACE: &str = "valkeeper-system";
/// Its Deployment.
pub(super) const OPERATOR: &str = "deployment/valkeeper-operator";

/// The bed this process runs in.
#[derive(Debug, Clone)]
pub struct Bed {
    run: PathBuf,
    id: String,
    program: PathBuf,
}

static INSTALLED: Once = Once::new();

impl Bed {
    /// Finds it, with the operator running in it.
    pub fn with_operator() -> Self {
        let said = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set\nhint: these run in a bed: `cargo xtask test --kubernetes`")
            })
        };
        let bed = Self {
            run: said("BED_RUN").into(),
            id: said("BED_ID"),
            program: said("VALKEEPER_PROGRAM").into(),
        };
        INSTALLED.call_once(|| bed.install());
        bed
    }

    /// Installs the operator, or again what was taken away of it.
    pub fn install(&self) {
        self.install_from("valkeeper/valkeeper:dev");
    }

    /// Installs the operator of an image, in the place of what is there.
    pub fn install_from(&self, image: &str) {
        let args = ["kube", "manifests", "--image", image];
        let printed = Command::new(&self.program).args(args).output().expect("the program runs");
        let manifests = String::from_utf8(printed.stdout).expect("text");
        self.apply_text(&manifests, &["--server-side"]);
        self.kubectl(&["-n", OPERATOR_NAMESPACE, "rollout", "status", OPERATOR, "--timeout=90s"]);
    }

    /// The program under test.
    pub fn program(&self) -> Command {
        Command::new(&self.program)
    }

    /// What kubectl says; a failure of it is one of the test.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).unwrap_or_else(|error| panic!("kubectl {}: {error}", args.join(" ")))
    }

    /// What kubectl says, or why it failed.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let ran =
            Command::new("kubectl").args(args).stdin(Stdio::null()).output().expect("kubectl is in the bed");
        if ran.status.success() {
            Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&ran.stderr).into_owned())
        }
    }

    /// Applies a manifest.
    pub fn apply_text(&self, text: &str, args: &[&str]) {
        self.try_apply_text(text, args).unwrap_or_else(|error| panic!("kubectl apply: {error}"));
    }

    /// Applies a manifest, or says why not.
    pub fn try_apply_text(&self, text: &str, args: &[&str]) -> Result<String, String> {
        let mut child = Command::new("kubectl")
            .arg("apply")
            .args(args)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is in the bed");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("kubectl reads");
        let ran = child.wait_with_output().expect("kubectl ends");
        if ran.status.success() {
            Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&ran.stderr).into_owned())
        }
    }

    /// How many operators run; waits until it is so.
    pub fn operators(&self, count: u32) {
        let replicas = format!("--replicas={count}");
        self.kubectl(&["-n", OPERATOR_NAMESPACE, "scale", OPERATOR, &replicas]);
        until(&format!("{count} operators run"), || {
            let pods = self.kubectl(&["-n", OPERATOR_NAMESPACE, "get", "pods", "--no-headers"]);
            let lines: Vec<&str> = pods.lines().collect();
            let ready = lines.iter().filter(|line| line.contains("1/1")).count();
            (lines.len() == count as usize && ready == count as usize).then_some(())
        });
    }

    /// Kills the operator's pod at once, without a word to it.
    pub fn kill_operator(&self) {
        let label = "app.kubernetes.io/name=valkeeper-operator";
        let args = [
            "-n",
            OPERATOR_NAMESPACE,
            "delete",
            "pod",
            "-l",
            label,
            "--grace-period=0",
            "--force",
            "--wait=false",
        ];
        let _ = self.try_kubectl(&args);
    }

    /// The operator that acts, by the lease; empty between two.
    pub fn acting_operator(&self) -> String {
        let path = "jsonpath={.spec.holderIdentity}";
        self.kubectl(&["-n", OPERATOR_NAMESPACE, "get", "lease", "valkeeper-operator", "-o", path])
    }

    /// The process of an operator's pod, as this bed counts them.
    pub fn operator_process(&self, pod: &str) -> Option<u32> {
        let name = format!("VALKEEPER_OPERATOR_NAME={pod}");
        let is_its = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            line.starts_with(b"/valkeeper\0operator")
                && environment.split(|byte| *byte == 0).any(|one| one == name.as_bytes())
        };
        let entries = std::fs::read_dir("/proc").expect("readable").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_its)
    }

    /// Sends a signal to a process.
    pub fn signal(&self, signal: &str, pid: u32) {
        run("kill", &[&format!("-{signal}"), &pid.to_string()]);
    }

    /// Takes a node off the network, or gives it back.
    pub fn link(&self, node: &str, up: bool) {
        let number = node.strip_prefix("node").expect("a node's name");
        run("ip", &["link", "set", &format!("veth{number}"), if up { "up" } else { "down" }]);
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

    /// Has all nodes say of these addresses that nobody is there, at once.
    pub fn nobody_at(&self, network: &str) {
        for node in
            self.kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]).split_whitespace()
        {
            let net = format!("--net=/run/netns/{node}");
            run("nsenter", &[&net, "ip", "route", "replace", "unreachable", network]);
        }
    }

    /// Cuts a node and its pods off the API server, and off nothing else.
    pub fn without_api(&self, node: &str, without: bool) {
        let net = format!("--net=/run/netns/{node}");
        if without {
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
        } else {
            run("nsenter", &[&net, "nft", "delete", "table", "inet", "no_api"]);
        }
    }

    /// Has the bed's DNS go on telling this address for a name, whatever has become of it; `None`: it tells what is so again.
    pub fn pin_name(&self, name: &str, to: Option<&str>) {
        let path = self.run.join("Corefile");
        let before = std::fs::read_to_string(&path).expect("the bed has one");
        let unpinned = before.lines().filter(|line| !line.contains("# pinned"));
        let mut lines: Vec<String> = unpinned.map(str::to_owned).collect();
        if let Some(ip) = to {
            // Of the first server block, which is the one for the cluster's names.
            let pins =
                ["hosts { # pinned", &format!("{ip} {name} # pinned"), "fallthrough # pinned", "} # pinned"];
            lines.splice(1..1, pins.map(str::to_owned));
        }
        std::fs::write(&path, lines.join("\n") + "\n").expect("writable");
        self.stop("dns");
        self.start("dns");
        until("the DNS answers", || {
            let asked = ["--fail", "--silent", "--max-time", "1", "http://10.77.0.1:8181/ready"];
            let asked = Command::new("curl").args(asked).stdout(Stdio::null()).status();
            asked.expect("curl is needed by the bed").success().then_some(())
        });
    }

    /// The node the operator is on.
    pub fn operator_node(&self) -> String {
        let label = "app.kubernetes.io/name=valkeeper-operator";
        let path = "jsonpath={.items[0].spec.nodeName}";
        self.kubectl(&["-n", OPERATOR_NAMESPACE, "get", "pods", "-l", label, "-o", path])
    }

    /// Freezes all pods of a node, or lets them go on.
    pub fn frozen(&self, node: &str, frozen: bool) {
        let path = format!("/sys/fs/cgroup/freezer/{}/{node}/kubepods/freezer.state", self.id);
        std::fs::write(path, if frozen { "FROZEN" } else { "THAWED" }).expect("the freezer works");
    }

    /// Kills a component of the bed.
    pub fn stop(&self, component: &str) {
        let path = self.run.join("pids").join(component);
        let pid = std::fs::read_to_string(path).expect("its pid is known");
        run("kill", &["-KILL", pid.trim()]);
    }

    /// Starts it again.
    pub fn start(&self, component: &str) {
        run(self.run.join("restart").join(component).to_str().expect("text"), &[]);
    }

    /// Empties the folder of a volume.
    pub fn wipe_volume(&self, volume: &str) {
        let (node, number) = volume.rsplit_once('-').expect("a volume's name");
        let folder = self.run.join(node).join("volumes").join(number);
        for entry in std::fs::read_dir(&folder).expect("the volume is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).expect("removable");
            } else {
                std::fs::remove_file(path).expect("removable");
            }
        }
    }

    /// What there is to know when something went wrong.
    pub fn told(&self) -> String {
        let mut text = String::new();
        for args in [
            &["get", "pods", "-A", "-o", "wide"][..],
            &["-n", OPERATOR_NAMESPACE, "logs", OPERATOR, "--tail=60"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
        ] {
            let said = self.try_kubectl(args).unwrap_or_else(|error| error);
            let _ = write!(text, "--- kubectl {}\n{}", args.join(" "), tail(&said, 60));
        }
        for component in ["apiserver", "controllers", "proxy"] {
            let log = std::fs::read(self.run.join(component).with_extension("log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            // What begins with these is a warning or an error.
            let worse = log.lines().filter(|line| line.starts_with(['W', 'E', 'F']));
            let worse = worse.collect::<Vec<_>>().join("\n");
            let runs = if self.runs(component) { "runs" } else { "does not run" };
            let _ = write!(text, "--- {component} {runs}\n{}", tail(&worse, 12));
        }
        text
    }

    fn runs(&self, component: &str) -> bool {
        let pid = std::fs::read_to_string(self.run.join("pids").join(component)).unwrap_or_default();
        !pid.trim().is_empty() && std::path::Path::new("/proc").join(pid.trim()).exists()
    }
}

pub(super) fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).stdin(Stdio::null()).status().expect("the command runs");
    assert!(status.success(), "{program} {args:?} ended with {status}");
}
