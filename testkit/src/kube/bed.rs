//! The bed, its faults, and the operator in it.

use crate::waiting::until;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
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
        let printed =
            Command::new(&self.program).args(["kube", "manifests"]).output().expect("the program runs");
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

    /// Takes a node off the network, or gives it back.
    pub fn link(&self, node: &str, up: bool) {
        let number = node.strip_prefix("node").expect("a node's name");
        run("ip", &["link", "set", &format!("veth{number}"), if up { "up" } else { "down" }]);
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
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(60)..].join("\n");
            let _ = writeln!(text, "--- kubectl {}\n{last}", args.join(" "));
        }
        text
    }
}

pub(super) fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).stdin(Stdio::null()).status().expect("the command runs");
    assert!(status.success(), "{program} {args:?} ended with {status}");
}
