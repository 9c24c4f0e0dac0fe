//! New connections to a server, made only to see whether it lets clients in, and whether it is there at all.

use super::AdminConnection;
use crate::Endpoint;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use valkeeper_model::AccessFault;

/// Longest first line of a reply that is read.
const LONGEST_LINE: u64 = 4_096;

impl AdminConnection {
    /// Connects anew as clients do, with the password that this connection uses, and says `PING`.
    pub async fn try_as_client(&self, within: Duration) -> Result<(), AccessFault> {
        let password = self.password();
        let words = password.as_ref().map(|password| password.reveal().as_bytes());
        tokio::time::timeout(within, enter(self.endpoint(), words))
            .await
            .unwrap_or(Err(AccessFault::NoAnswer))
    }

    /// Does the server answer on a new connection? It refuses an `AUTH` without a password before it looks at anything else: also while
    /// `CLIENT PAUSE` holds all commands back, and while it is busy with a script. A stopped or hung server does not.
    pub async fn answers_strangers(&self, within: Duration) -> bool {
        let answer = async {
            let mut door = Door::open(self.endpoint()).await?;
            door.say(&[b"AUTH"]).await
        };
        matches!(tokio::time::timeout(within, answer).await, Ok(Ok(_)))
    }
}

async fn enter(endpoint: &Endpoint, password: Option<&[u8]>) -> Result<(), AccessFault> {
    let mut door = Door::open(endpoint).await.map_err(|_| AccessFault::NotListening)?;
    let no_answer = |_: io::Error| AccessFault::NoAnswer;
    let first = door.say(&[b"PING"]).await.map_err(no_answer)?;
    match (code(&first), password) {
        (Some("NOAUTH"), Some(password)) => {
            let said = door.say(&[b"AUTH", b"default", password]).await.map_err(no_answer)?;
            match code(&said) {
                None => {}
                Some("WRONGPASS" | "NOAUTH") => return Err(AccessFault::PasswordRefused),
                Some(code) => return Err(AccessFault::Refused { code: code.to_owned() }),
            }
            let said = door.say(&[b"PING"]).await.map_err(no_answer)?;
            match code(&said) {
                Some("NOAUTH" | "DENIED") => Err(AccessFault::PasswordRefused),
                // It is let in; what else is wrong shows elsewhere.
                _ => Ok(()),
            }
        }
        // Told to a connection that has asked for nothing yet: the server closes it then.
        (Some("ERR"), _) => Err(AccessFault::TooManyClients { limit: None }),
        (Some("DENIED"), _) => Err(AccessFault::Refused { code: "DENIED".to_owned() }),
        (Some("NOAUTH"), None) => Err(AccessFault::PasswordRefused),
        (_, Some(_)) => Err(AccessFault::NoPasswordNeeded),
        (_, None) => Ok(()),
    }
}

/// The first word of an error reply.
fn code(line: &str) -> Option<&str> {
    line.strip_prefix('-')?.split_whitespace().next()
}

struct Door(BufReader<TcpStream>);

impl Door {
    async fn open(endpoint: &Endpoint) -> io::Result<Self> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command and reads the first line of the reply.
    async fn say(&mut self, words: &[&[u8]]) -> io::Result<String> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).into_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        // A server that hangs up at once may have said why.
        let sent = self.0.get_mut().write_all(&request).await;
        let mut line = String::new();
        match (&mut self.0).take(LONGEST_LINE).read_line(&mut line).await? {
            0 => Err(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(line),
        }
    }
}
