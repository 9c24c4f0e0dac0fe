//! The order of the crates and what may lie under the pure ones. The only place where either is written down.

/// A crate and the workspace crates it may depend on, lowest first. A new crate gets a row before it compiles here.
pub(super) const LAYERS: &[(&str, &[&str])] = &[
    ("valkeeper-model", &[]),
    ("valkeeper-metrics", &["valkeeper-model"]),
    ("valkeeper-plan", &["valkeeper-model"]),
    ("valkeeper-sim", &["valkeeper-model", "valkeeper-plan"]),
    ("valkeeper-client", &["valkeeper-model"]),
    ("valkeeper-agent", &["valkeeper-model", "valkeeper-metrics", "valkeeper-plan", "valkeeper-client"]),
    ("valkeeper-engine", &["valkeeper-model", "valkeeper-plan", "valkeeper-client"]),
    (
        "valkeeper-local",
        &["valkeeper-model", "valkeeper-plan", "valkeeper-client", "valkeeper-agent", "valkeeper-engine"],
    ),
    ("valkeeper-kube-api", &["valkeeper-model"]),
    (
        "valkeeper-kube",
        &[
            "valkeeper-model",
            "valkeeper-plan",
            "valkeeper-client",
            "valkeeper-agent",
            "valkeeper-engine",
            "valkeeper-kube-api",
        ],
    ),
    (
        "valkeeper",
        &[
            "valkeeper-model",
            "valkeeper-plan",
            "valkeeper-client",
            "valkeeper-agent",
            "valkeeper-engine",
            "valkeeper-local",
            "valkeeper-kube",
        ],
    ),
];

/// Never shipped. Product crates may use them in their tests only; of each other they may use the testkit.
pub(super) const DEV_SIDE: &[&str] = &["valkeeper-testkit", "valkeeper-bench", "xtask"];

/// Crates whose results depend on their arguments alone: the simulator runs the very code that production runs.
pub(super) const PURE: &[&str] = &["valkeeper-model", "valkeeper-metrics", "valkeeper-plan", "valkeeper-sim"];

/// What has no place under a pure crate, whatever it is used for. A name ending in `*` stands for all that start so.
pub(super) const DENIED: &[(&str, &str)] = &[
    ("tokio*", "an async runtime with sockets, files and timers"),
    ("async-*", "async runtimes and I/O"),
    ("smol*", "an async runtime"),
    ("futures*", "async: decisions are plain functions"),
    ("mio", "polls the operating system"),
    ("polling", "polls the operating system"),
    ("socket2", "sockets"),
    ("hyper*", "HTTP"),
    ("reqwest", "HTTP"),
    ("redis", "talks to servers"),
    ("rustls*", "TLS connections"),
    ("kube*", "talks to Kubernetes"),
    ("k8s-openapi", "pulled in to talk to Kubernetes"),
    ("rustix", "system calls"),
    ("nix", "system calls"),
    ("libc", "system calls"),
    ("windows*", "system calls"),
    ("signal-hook*", "signals"),
    ("memmap2", "files"),
    ("tempfile", "files"),
    ("notify", "files"),
    ("dirs*", "the user's environment"),
    ("getrandom", "randomness that no seed governs"),
    ("rayon*", "threads: their order differs from run to run"),
    ("crossbeam*", "threads: their order differs from run to run"),
    ("parking_lot*", "threads: their order differs from run to run"),
    ("chrono", "reads the clock"),
    ("time", "reads the clock"),
    ("jiff*", "reads the clock and the time zone of the machine"),
    ("tracing-subscriber", "writes logs"),
];

/// Every other crate under a pure one, with why it is fine. A crate in neither table is an error: someone has to look.
/// Procedural macros run in the compiler and need no row.
pub(super) const JUDGED: &[(&str, &str)] = &[
    ("annotate-snippets", "renders the excerpt of a manifest in an error, into a string"),
    ("anstyle", "styles as data"),
    ("arraydeque", "container"),
    ("base64", "codec"),
    ("cfg-if", "macro"),
    ("core_detect", "asks the processor for its features, no system call"),
    ("encoding_rs", "codec"),
    ("encoding_rs_io", "codec over a reader that the caller hands in; we hand in strings"),
    ("granit-parser", "YAML parser"),
    ("itoa", "numbers to text"),
    ("memchr", "searches bytes"),
    ("nohash-hasher", "hashing without a random state"),
    ("num-traits", "traits of numbers"),
    ("scopeguard", "macro"),
    ("serde", "serialisation"),
    ("serde-saphyr", "YAML of manifests; its readers take what the caller hands in"),
    ("serde_core", "serialisation"),
    ("serde_json", "JSON; its maps are ordered trees"),
    ("simdutf8", "checks UTF-8"),
    ("smallvec", "container"),
    ("strsim", "distance between strings, for `did you mean`"),
    ("thiserror", "error types"),
    ("unicode-width", "table"),
    ("zmij", "numbers to text"),
];
