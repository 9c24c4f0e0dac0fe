//! The manifests of scenarios.

use std::fmt::Write as _;

/// A manifest in the making. Its defaults are those of the product but for what would make scenarios slow.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// `metadata.name`.
    pub name: String,
    /// Servers in modes `standalone` and `sentinel`; `None` in mode `cluster`.
    pub instances: Option<u32>,
    has_sentinels: bool,
    shards: u32,
    replicas: u32,
    zones: &'static str,
    /// `keep` where the manifest does not ask for more: scenarios set faults by hand.
    drift: &'static str,
    persistence: &'static str,
    node_timeout: &'static str,
    unresponsive_after: &'static str,
    directives: Vec<(String, String)>,
    sync_replicas: Option<(u32, u32)>,
    source: Option<Source>,
    accepted_history: Option<String>,
    /// `imageName`: then no program is named beside the manifest.
    pub image: Option<String>,
    update: Option<(&'static str, &'static str)>,
    is_supervised: bool,
}

/// `replicaMode`.
#[derive(Debug, Clone)]
struct Source {
    /// `host` and `port`, or `sentinel`, as YAML of one line.
    at: String,
    secret: String,
    promote: bool,
    token: Option<String>,
    automatic_after: Option<&'static str>,
}

impl Manifest {
    /// Three shards with a replica each. The engine's own failover is far away, so that whatever happens within seconds is
    /// Valkeeper's doing.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            instances: None,
            has_sentinels: false,
            shards: 3,
            replicas: 1,
            zones: "required",
            drift: "keep",
            persistence: "aof",
            node_timeout: "15s",
            unresponsive_after: "5s",
            directives: Vec::new(),
            sync_replicas: None,
            source: None,
            accepted_history: None,
            image: None,
            update: None,
            is_supervised: false,
        }
    }

    /// Mode `standalone` with so many servers.
    pub fn standalone(name: &str, instances: u32) -> Self {
        Self { instances: Some(instances), zones: "besteffort", ..Self::new(name) }
    }

    /// Mode `sentinel` with so many servers, and three Sentinels.
    pub fn sentinel(name: &str, instances: u32) -> Self {
        Self { has_sentinels: true, ..Self::standalone(name, instances) }
    }

    /// `replicaMode`: following the primary there, with the password in that secret.
    #[must_use]
    pub fn following(self, host: &str, port: u16, secret: &str) -> Self {
        self.following_at(format!("host: \"{host}\"\n      port: {port}"), secret)
    }

    /// The same for the primary that the Sentinels at these ports of this host name.
    #[must_use]
    pub fn following_by_sentinels(self, ports: &[u16], name: &str, secret: &str) -> Self {
        let hosts: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let hosts = hosts.join(", ");
        self.following_at(format!("sentinel: {{ hosts: [{hosts}], masterName: {name} }}"), secret)
    }

    fn following_at(mut self, at: String, secret: &str) -> Self {
        let secret = secret.to_owned();
        self.source = Some(Source { at, secret, promote: false, token: None, automatic_after: None });
        self
    }

    /// `replicaMode.automaticPromotion`, by two witnesses.
    #[must_use]
    pub fn promoted_by_witnesses(mut self, after: &'static str) -> Self {
        self.source = self.source.map(|source| Source { automatic_after: Some(after), ..source });
        self
    }

    /// `replicaMode.promote`.
    #[must_use]
    pub fn promoted(mut self) -> Self {
        self.source = self.source.map(|source| Source { promote: true, ..source });
        self
    }

    /// `replicaMode.token`.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.source = self.source.map(|source| Source { token: Some(token.to_owned()), ..source });
        self
    }

    /// The annotation `redis.io/accept-data-loss`.
    #[must_use]
    pub fn accepting_loss_of(mut self, history: &str) -> Self {
        self.accepted_history = Some(history.to_owned());
        self
    }

    /// `persistence`.
    #[must_use]
    pub fn persistence(mut self, mode: &'static str) -> Self {
        self.persistence = mode;
        self
    }

    /// `shards`.
    #[must_use]
    pub fn shards(mut self, shards: u32) -> Self {
        self.shards = shards;
        self
    }

    /// `replicasPerShard`.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// `zones: besteffort`, so that roles stay where the scenario puts them: after a failover they would be switched back for
    /// the zones' sake.
    #[must_use]
    pub fn roles_stay(mut self) -> Self {
        self.zones = "besteffort";
        self
    }

    /// `drift: correct`.
    #[must_use]
    pub fn corrected(mut self) -> Self {
        self.drift = "correct";
        self
    }

    /// `unresponsiveAfter`.
    #[must_use]
    pub fn unresponsive_after(mut self, time: &'static str) -> Self {
        self.unresponsive_after = time;
        self
    }

    /// `nodeTimeout`.
    #[must_use]
    pub fn node_timeout(mut self, time: &'static str) -> Self {
        self.node_timeout = time;
        self
    }

    /// `minSyncReplicas` and `maxSyncReplicas`.
    #[must_use]
    pub fn sync_replicas(mut self, min: u32, max: u32) -> Self {
        self.sync_replicas = Some((min, max));
        self
    }

    /// `imageName`.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image = Some(image.to_owned());
        self
    }

    /// `update`: how long a canary is watched, and who restarts servers (`rolling`, `manual`).
    #[must_use]
    pub fn update(mut self, canary: &'static str, restart: &'static str) -> Self {
        self.update = Some((canary, restart));
        self
    }

    /// `primaryUpdateStrategy: supervised`.
    #[must_use]
    pub fn supervised(mut self) -> Self {
        self.is_supervised = true;
        self
    }

    /// A directive of the server.
    #[must_use]
    pub fn directive(mut self, name: &str, value: &str) -> Self {
        self.directives.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As YAML.
    pub fn text(&self) -> String {
        let mut text = format!(
            "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: {}\n{}spec:\n  {}\n  zones: {}\n  persistence: \
             {}\n  nodeTimeout: {}\n  unresponsiveAfter: {}\n",
            self.name,
            self.accepted_history.as_ref().map_or_else(String::new, |history| format!(
                "  annotations:\n    redis.io/accept-data-loss: \"{history}\"\n"
            )),
            match self.instances {
                Some(instances) if self.has_sentinels => format!("mode: sentinel\n  instances: {instances}"),
                Some(instances) => format!("mode: standalone\n  instances: {instances}"),
                None => {
                    let Self { shards, replicas, .. } = self;
                    format!("mode: cluster\n  shards: {shards}\n  replicasPerShard: {replicas}")
                }
            },
            self.zones,
            self.persistence,
            self.node_timeout,
            self.unresponsive_after
        );
        if let Some(Source { at, secret, promote, .. }) = &self.source {
            let _ = write!(
                text,
                "  replicaMode:\n    enabled: true\n    promote: {promote}\n    source:\n      {at}\n      \
                 clusterName: east\n      authSecretName: {secret}\n"
            );
        }
        if let Some(after) = self.source.as_ref().and_then(|source| source.automatic_after) {
            let _ = write!(text, "    automaticPromotion:\n      after: {after}\n      witnesses: 2\n");
        }
        if let Some(token) = self.source.as_ref().and_then(|source| source.token.as_ref()) {
            let _ = writeln!(text, "    token: {token}");
        }
        let _ = writeln!(text, "  drift: {}", self.drift);
        if let Some(image) = &self.image {
            let _ = writeln!(text, "  imageName: {image}");
        }
        if let Some((canary, restart)) = self.update {
            let _ = write!(text, "  update:\n    canary: {canary}\n    restart: {restart}\n");
        }
        if self.is_supervised {
            text.push_str("  primaryUpdateStrategy: supervised\n");
        }
        if let Some((min, max)) = self.sync_replicas {
            let _ = write!(text, "  minSyncReplicas: {min}\n  maxSyncReplicas: {max}\n");
        }
        if !self.directives.is_empty() {
            text.push_str("  redis:\n");
        }
        for (name, value) in &self.directives {
            let _ = writeln!(text, "    {name}: \"{value}\"");
        }
        text
    }
}
