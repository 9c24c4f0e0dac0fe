use super::*;

const LIMITS: Limits = Limits { connections: 2, head: 1_024, within: Duration::from_millis(500) };

/// A server that says the path it was asked for.
async fn served() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, LIMITS, |path| {
        std::future::ready(match path.as_str() {
            "/well" => Plain::Well(true),
            "/ill" => Plain::Well(false),
            "/text" => Plain::Text { kind: "text/plain", body: "hello".to_owned() },
            _ => Plain::Unknown,
        })
    }));
    at
}

async fn said(at: std::net::SocketAddr, words: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(words).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn a_request_is_answered_by_its_path_and_method() {
    run(async {
        let at = served().await;
        let status = async |request: &str| {
            let answer = said(at, format!("{request}\r\nHost: a\r\n\r\n").as_bytes()).await;
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            answer.split(' ').nth(1).map(str::to_owned)
        };
        for (request, wanted) in [
            ("GET /well HTTP/1.1", "200"),
            ("GET /ill HTTP/1.1", "503"),
            ("GET /well?name=value HTTP/1.0", "200"),
            ("GET /welladay HTTP/1.1", "404"),
            ("POST /well HTTP/1.1", "405"),
            ("HEAD /well HTTP/1.1", "405"),
            ("GET /well", "400"),
            ("GET /well SMTP", "400"),
            ("*1\r\n$4\r\nPING", "400"),
        ] {
            assert_eq!(status(request).await.as_deref(), Some(wanted), "{request}");
        }
        let text = said(at, b"GET /text HTTP/1.1\r\n\r\n").await;
        assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\nhello"), "{text}");
    });
}

#[test]
fn a_request_that_is_too_long_is_refused_and_its_sender_hears_so() {
    run(async {
        let at = served().await;
        let request = format!("GET /well HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(LIMITS.head * 20));
        let answer = said(at, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    });
}

/// Who says nothing, or a byte at a time, is cut off, and the others are served.
#[test]
fn clients_that_dawdle_hold_nobody_up_for_long() {
    run(async {
        let at = served().await;
        let mut slow = Vec::new();
        for _ in 0..LIMITS.connections * 3 {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(b"GET /we").await.unwrap();
            slow.push(stream);
        }
        let answer = said(at, b"GET /well HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for mut stream in slow {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty(), "half a request was answered");
        }
    });
}
