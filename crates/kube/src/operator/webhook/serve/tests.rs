use super::super::certificate::tests::made;
use super::*;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

async fn served(serving: Arc<Serving>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, serving));
    at
}

/// Asks as an API server does that trusts these CAs; status and body.
async fn ask(at: SocketAddr, trusted: &str, request: &str) -> std::io::Result<(u16, String)> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
        roots.add(ca.unwrap()).unwrap();
    }
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from("valkeeper-webhook.system.svc").unwrap();
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(at).await?).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn it_answers_who_trusts_its_ca() {
    let (certified, ..) = made();
    let serving = Arc::new(Serving::default());
    let at = served(Arc::clone(&serving)).await;
    let trusted = certified.ca.trusted();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "7", "operation": "CREATE", "object": {"metadata": {"name": "demo"}, "spec": {"mode": "cluster", "replicasPerShard": 1}},
            "kind": {"group": "redis.io", "version": "v1", "kind": "RedisCluster"},
        },
    });
    let question = post("/validate?timeout=5s", &review.to_string());
    assert!(ask(at, &trusted, &question).await.is_err(), "there is no certificate yet");
    serving.serve_as(certified.clone()).unwrap();
    let (status, body) = ask(at, &trusted, &question).await.unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &answer["response"]), (200, &json!({"uid": "7", "allowed": true})));
    // From one connection to the next it is another certificate.
    let (other, ..) = made();
    let other_trusted = other.ca.trusted();
    assert!(ask(at, &other_trusted, &question).await.is_err());
    serving.serve_as(other).unwrap();
    assert_eq!(ask(at, &other_trusted, &question).await.unwrap().0, 200);
    assert!(ask(at, &trusted, &question).await.is_err());
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let (certified, ..) = made();
    let trusted = certified.ca.trusted();
    let serving = Arc::new(Serving::default());
    serving.serve_as(certified).unwrap();
    let at = served(serving).await;
    for (request, status) in [
        (post("/validate", "{}"), 400),
        (post("/validate", "\u{0}"), 400),
        (post("/other", "{}"), 404),
        ("GET /validate HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        (format!("POST /validate HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 5 << 20), 413),
    ] {
        assert_eq!(ask(at, &trusted, &request).await.unwrap().0, status, "{request}");
    }
}
