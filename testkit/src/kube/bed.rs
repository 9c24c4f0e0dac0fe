//! The bed, its faults, and the operator in it.

use crate::waiting::{tail, until};
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
    pub(super) run: PathBuf,
    pub(super) id: String,
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
        for args in [&["kube", "crds"][..], &["kube", "manifests", "--image", image]] {
            let printed = Command::new(&self.program).args(args).output().expect("the program runs");
            let manifests = String::from_utf8(printed.stdout).expect("text");
            self.apply_text(&manifests, &["--server-side"]);
        }
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

    /// The node the operator is on.
    pub fn operator_node(&self) -> String {
        let label = "app.kubernetes.io/name=valkeeper-operator";
        let path = "jsonpath={.items[0].spec.nodeName}";
        self.kubectl(&["-n", OPERATOR_NAMESPACE, "get", "pods", "-l", label, "-o", path])
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
