//! How clients reach a cluster. The password is never printed, only where it stands (law 11).

use serde::Serialize;
use std::path::{Path, PathBuf};

/// `connect -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connection {
    /// On Kubernetes: host and port that lead to any server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// Host and port of each server.
    pub(crate) seeds: Vec<String>,
    /// In a mode without slots: by role.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) by_role: Option<ByRole>,
    pub(crate) username: &'static str,
    #[serde(flatten)]
    pub(crate) password: PasswordPlace,
}

/// Host and port that lead to a server of a role, whichever that is at the moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ByRole {
    /// To the primary.
    #[serde(rename = "leader")]
    pub(crate) primary: String,
    /// To a replica.
    pub(crate) replica: String,
    /// To any server.
    pub(crate) any: String,
    /// Of the Sentinels; none in mode standalone.
    pub(crate) sentinels: Vec<String>,
    /// What the Sentinels call the primary: the cluster's name.
    #[serde(rename = "masterName")]
    pub(crate) sentinel_name: String,
}

/// Where the password stands.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum PasswordPlace {
    File {
        password_file: PathBuf,
    },
    Secret {
        password_secret: String,
        password_key: &'static str,
        /// Prints the password.
        password_command: String,
    },
}

impl Connection {
    /// For people.
    pub(crate) fn page(&self) -> String {
        let first = self.seeds.first().map_or("-", String::as_str);
        if let (Some(by_role), PasswordPlace::File { password_file }) = (&self.by_role, &self.password) {
            return self.page_by_role(by_role, password_file);
        }
        let url = self.service.as_deref().unwrap_or(first);
        let (host, port) = url.rsplit_once(':').unwrap_or((url, "-"));
        let head = |seeds: &str| {
            format!(
                "url       redis://default@{url} (a cluster: use a client that knows clusters)\nseeds     {seeds}\nusername  default\n"
            )
        };
        match &self.password {
            PasswordPlace::File { password_file } => format!(
                "{}password  in {}\n\nexample   REDISCLI_AUTH=\"$(cat {})\" valkey-cli -c -h {host} -p {port}\n",
                head(&self.seeds.join(" ")),
                password_file.display(),
                quoted(&password_file.to_string_lossy()),
            ),
            PasswordPlace::Secret { password_secret, password_key, password_command } => {
                if let Some(by_role) = &self.by_role {
                    return self.page_in_kubernetes(by_role, password_secret, password_key, password_command);
                }
                let seeds =
                    if self.seeds.is_empty() { "-".to_owned() } else { self.seeds.join("\n          ") };
                format!(
                    "{}password  in Secret {password_secret}, key {password_key}\n\n\
                     password  {password_command}\n\
                     example   REDISCLI_AUTH=\"$({password_command})\" valkey-cli -c -h {host}\n\n\
                     from outside: `kubectl valkeeper cli`. A port-forward reaches one server only: it sends clients on to the names of \
                     other pods, which are known in Kubernetes alone\n",
                    head(&seeds),
                )
            }
        }
    }
}

impl Connection {
    fn page_by_role(&self, by_role: &ByRole, password_file: &Path) -> String {
        let (host, port) = by_role.primary.rsplit_once(':').unwrap_or((&by_role.primary, "-"));
        format!(
            "{}password  in {}\n\n\
             example   REDISCLI_AUTH=\"$(cat {})\" valkey-cli -h {host} -p {port}\n",
            by_role.head(&self.seeds.join(" ")),
            password_file.display(),
            quoted(&password_file.to_string_lossy()),
        )
    }

    fn page_in_kubernetes(&self, by_role: &ByRole, secret: &str, key: &str, command: &str) -> String {
        let (host, _) = by_role.primary.rsplit_once(':').unwrap_or((&by_role.primary, "-"));
        format!(
            "{}password  in Secret {secret}, key {key}\n\n\
             password  {command}\n\
             example   REDISCLI_AUTH=\"$({command})\" valkey-cli -h {host}\n\n\
             from outside: `kubectl valkeeper cli`, or a port-forward to the Service\n",
            by_role.head(&self.seeds.join("\n          ")),
        )
    }
}

impl ByRole {
    /// What the page begins with on both platforms.
    fn head(&self, servers: &str) -> String {
        let sentinels = match self.sentinels.as_slice() {
            [] => String::new(),
            all => format!("sentinels {} (the primary is called {})\n", all.join(" "), self.sentinel_name),
        };
        format!(
            "url       redis://default@{} (always the primary)\n\
             replica   {} (reads; may be behind)\n\
             any       {}\n\
             {sentinels}\
             servers   {servers}\n\
             username  default\n",
            self.primary, self.replica, self.any,
        )
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(quoted("/a/b-c_1.d"), "/a/b-c_1.d");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }

    fn local() -> Connection {
        Connection {
            service: None,
            by_role: None,
            seeds: vec!["127.0.0.1:7000".to_owned(), "127.0.0.1:7001".to_owned()],
            username: "default",
            password: PasswordPlace::File { password_file: "/state/a b/password".into() },
        }
    }

    fn on_kubernetes() -> Connection {
        Connection {
            service: Some("demo-any.shop.svc:6379".to_owned()),
            by_role: None,
            seeds: vec!["demo-0.x:6379".to_owned(), "demo-1.x:6379".to_owned()],
            username: "default",
            password: PasswordPlace::Secret {
                password_secret: "demo-auth".to_owned(),
                password_key: "password",
                password_command: "kubectl get".to_owned(),
            },
        }
    }

    #[test]
    fn each_platform_has_its_own_fields() {
        let document = |connection: &Connection| serde_json::to_string(connection).unwrap();
        assert_eq!(
            document(&local()),
            r#"{"seeds":["127.0.0.1:7000","127.0.0.1:7001"],"username":"default","passwordFile":"/state/a b/password"}"#
        );
        let parsed: serde_json::Value = serde_json::from_str(&document(&on_kubernetes())).unwrap();
        let expected = json!({
            "service": "demo-any.shop.svc:6379", "seeds": ["demo-0.x:6379", "demo-1.x:6379"], "username": "default",
            "passwordSecret": "demo-auth", "passwordKey": "password", "passwordCommand": "kubectl get",
        });
        assert_eq!(parsed, expected);
    }

    #[test]
    fn a_cluster_without_slots_is_reached_by_role() {
        let by_role = ByRole {
            primary: "127.0.0.1:7121".to_owned(),
            replica: "127.0.0.1:7122".to_owned(),
            any: "127.0.0.1:7123".to_owned(),
            sentinels: Vec::new(),
            sentinel_name: "solo".to_owned(),
        };
        let connection = Connection { by_role: Some(by_role), ..local() };
        let parsed = serde_json::to_value(&connection).unwrap();
        let expected = json!({
            "seeds": ["127.0.0.1:7000", "127.0.0.1:7001"], "leader": "127.0.0.1:7121", "replica": "127.0.0.1:7122",
            "any": "127.0.0.1:7123", "sentinels": [], "masterName": "solo", "username": "default",
            "passwordFile": "/state/a b/password",
        });
        assert_eq!(parsed, expected);
        let in_kubernetes = Connection {
            by_role: connection.by_role.as_ref().map(|_| ByRole {
                primary: "solo-leader.shop.svc:6379".to_owned(),
                replica: "solo-replica.shop.svc:6379".to_owned(),
                any: "solo-any.shop.svc:6379".to_owned(),
                sentinels: Vec::new(),
                sentinel_name: "solo".to_owned(),
            }),
            ..on_kubernetes()
        };
        let page = in_kubernetes.page();
        assert!(page.contains("\nreplica   solo-replica.shop.svc:6379 (reads; may be behind)\n"), "{page}");
        assert!(page.contains(" valkey-cli -h solo-leader.shop.svc\n"), "{page}");
        let page = connection.page();
        assert!(
            page.starts_with("url       redis://default@127.0.0.1:7121 (always the primary)\n"),
            "{page}"
        );
        assert!(page.ends_with("valkey-cli -h 127.0.0.1 -p 7121\n"), "{page}");
    }

    #[test]
    fn a_page_says_where_the_password_stands() {
        assert_eq!(
            local().page(),
            "url       redis://default@127.0.0.1:7000 (a cluster: use a client that knows clusters)\n\
             seeds     127.0.0.1:7000 127.0.0.1:7001\n\
             username  default\n\
             password  in /state/a b/password\n\n\
             example   REDISCLI_AUTH=\"$(cat '/state/a b/password')\" valkey-cli -c -h 127.0.0.1 -p 7000\n"
        );
        let page = on_kubernetes().page();
        let expected = "url       redis://default@demo-any.shop.svc:6379 (a cluster: use a client that knows clusters)\n\
             seeds     demo-0.x:6379\n          demo-1.x:6379\n\
             username  default\n\
             password  in Secret demo-auth, key password\n\n\
             password  kubectl get\n\
             example   REDISCLI_AUTH=\"$(kubectl get)\" valkey-cli -c -h demo-any.shop.svc\n\n\
             from outside: ";
        assert!(page.starts_with(expected), "{page}");
    }
}
