//! A link between two servers that can be stalled: bytes pass through this process, or stay where they are.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A port of this machine that leads to another one, until it is dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    flow: Mutex<Flow>,
    changed: Condvar,
    over: AtomicBool,
}

#[derive(Debug, Default)]
struct Flow {
    stalled: bool,
    cut: bool,
    streams: Vec<TcpStream>,
}

impl Link {
    /// To that port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let own = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.over.load(Ordering::Relaxed) {
                    return;
                }
                accepting.forward(client, port);
            }
        });
        Self { port: own, shared }
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing passes on connections of replication; nobody is told so, as with a host that is gone. Other connections are as ever:
    /// whoever asks the server is answered.
    pub fn stall_replication(&self) {
        self.change(|flow| flow.stalled = true);
    }

    /// Everything passes again.
    pub fn go_on(&self) {
        self.change(|flow| (flow.stalled, flow.cut) = (false, false));
    }

    /// All connections end, and new ones do at once.
    pub fn cut(&self) {
        self.change(|flow| {
            flow.cut = true;
            for stream in flow.streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Flow)) {
        change(&mut self.shared.flow.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn forward(self: &Arc<Self>, client: TcpStream, port: u16) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
        let copies: Option<Vec<TcpStream>> =
            [&client, &server, &client, &server].map(|stream| stream.try_clone().ok()).into_iter().collect();
        let Some(Ok([client_out, server_out, client_kept, server_kept])) =
            copies.map(<[TcpStream; 4]>::try_from)
        else {
            return;
        };
        {
            let mut flow = self.flow.lock().unwrap_or_else(PoisonError::into_inner);
            if flow.cut {
                return;
            }
            flow.streams.extend([client_kept, server_kept]);
        }
        let replicates = Arc::new(AtomicBool::new(false));
        let (there, back) = (Arc::clone(self), Arc::clone(self));
        let said = Arc::clone(&replicates);
        std::thread::spawn(move || there.copy(client, server_out, &said, Direction::There));
        std::thread::spawn(move || back.copy(server, client_out, &replicates, Direction::Back));
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, replicates: &AtomicBool, direction: Direction) {
        let mut bytes = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if direction == Direction::There && bytes[..read].windows(5).any(|word| word == b"PSYNC") {
                replicates.store(true, Ordering::Relaxed);
            }
            let flow = self.flow.lock().unwrap_or_else(PoisonError::into_inner);
            let held = |flow: &mut Flow| flow.stalled && !flow.cut && replicates.load(Ordering::Relaxed);
            drop(self.changed.wait_while(flow, held).unwrap_or_else(PoisonError::into_inner));
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    There,
    Back,
}
