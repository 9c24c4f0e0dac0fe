//! redis-rs, its asynchronous cluster client, on its defaults. What it does and prints: ../README.md.

use redis::AsyncCommands;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env::var;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Writes one key after the other and remembers which were acknowledged.
struct Writer {
    number: usize,
    acknowledged: Vec<u64>,
    wanted_since: Option<Instant>,
    stopped: bool,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    acked: u64,
    errors: BTreeMap<String, u64>,
    gap: Duration,
}

impl Figures {
    fn waited_since(&mut self, since: Instant) {
        self.gap = self.gap.max(since.elapsed());
    }
}

type Shared = Rc<RefCell<Writer>>;

impl Writer {
    fn new(number: usize) -> Shared {
        let figures = Figures::default();
        let writer = Self { number, acknowledged: Vec::new(), wanted_since: None, stopped: false, figures };
        Rc::new(RefCell::new(writer))
    }

    fn key(&self, n: u64) -> String {
        format!("redis-rs:{}:{}:{n}", std::process::id(), self.number)
    }

    /// The next key, from now on wanted.
    fn wants(&mut self, n: u64) -> Option<String> {
        self.wanted_since.get_or_insert_with(Instant::now);
        (!self.stopped).then(|| self.key(n))
    }

    fn wrote(&mut self, n: u64, result: redis::RedisResult<()>) -> bool {
        match result {
            Ok(()) => {
                self.figures.acked += 1;
                self.acknowledged.push(n);
                if let Some(since) = self.wanted_since.take() {
                    self.figures.waited_since(since);
                }
                true
            }
            Err(error) => {
                *self.figures.errors.entry(error.to_string()).or_default() += 1;
                false
            }
        }
    }

    fn end_phase(&mut self) -> Figures {
        let mut figures = std::mem::take(&mut self.figures);
        if let Some(since) = self.wanted_since.replace(Instant::now()) {
            figures.waited_since(since);
        } else {
            self.wanted_since = None;
        }
        figures
    }
}

async fn write(writer: Shared, mut client: ClusterConnection, pause: Duration) {
    for n in 1.. {
        let Some(key) = writer.borrow_mut().wants(n) else { return };
        let result = client.set(key, n).await;
        let acknowledged = writer.borrow_mut().wrote(n, result);
        sleep(if acknowledged { pause } else { AFTER_FAILURE }).await;
    }
}

fn phase(name: &str, writers: &[Shared]) -> Value {
    let mut all = Figures::default();
    for writer in writers {
        let one = writer.borrow_mut().end_phase();
        all.acked += one.acked;
        all.gap = all.gap.max(one.gap);
        for (text, count) in one.errors {
            *all.errors.entry(text).or_default() += count;
        }
    }
    json!({
        "phase": name,
        "acked": all.acked,
        "errors": all.errors,
        "longest_gap_ms": (all.gap.as_secs_f64() * 10_000.0).round() / 10.0,
    })
}

/// How many were read, how many of them are lost, and how many gave no answer.
async fn read_back(writer: Shared, mut client: ClusterConnection, deadline: Instant) -> [u64; 3] {
    let [mut read, mut lost, mut unreadable] = [0; 3];
    let keys: Vec<(u64, String)> = {
        let writer = writer.borrow();
        writer.acknowledged.iter().map(|n| (*n, writer.key(*n))).collect()
    };
    for (n, key) in keys {
        loop {
            let found: redis::RedisResult<Option<u64>> = client.get(&key).await;
            match found {
                Ok(value) => {
                    read += 1;
                    lost += u64::from(value != Some(n));
                    break;
                }
                Err(_) if Instant::now() > deadline => {
                    unreadable += 1;
                    break;
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
    [read, lost, unreadable]
}

async fn run() -> Result<(), Box<dyn Error>> {
    let seeds = var("VALKEEPER_SEEDS")?;
    let password = std::fs::read_to_string(var("VALKEEPER_PASSWORD_FILE")?)?;
    let client = ClusterClientBuilder::new(seeds.split(',').map(|seed| format!("redis://{seed}")))
        .username(var("VALKEEPER_USERNAME")?)
        .password(password.trim())
        .build()?
        .get_async_connection()
        .await?;
    let pause = Duration::from_millis(var("VALKEEPER_PAUSE_MS")?.parse()?);
    let writers: Vec<Shared> = (0..var("VALKEEPER_WRITERS")?.parse()?).map(Writer::new).collect();
    let running: Vec<_> =
        writers.iter().map(|writer| spawn_local(write(Rc::clone(writer), client.clone(), pause))).collect();
    while writers.iter().any(|writer| writer.borrow().acknowledged.is_empty()) {
        sleep(Duration::from_millis(10)).await;
    }
    println!("{}", json!({ "phase": "ready" }));

    // A thread of its own: reading stdin cannot be given up, and would keep the runtime from ending.
    let (lines, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    while let Some(line) = told.recv().await {
        println!("{}", phase(line.trim(), &writers));
    }
    for writer in &writers {
        writer.borrow_mut().stopped = true;
    }
    for task in running {
        task.await?;
    }

    let mut end = phase("end", &writers);
    let deadline = Instant::now() + Duration::from_secs(60);
    let reading: Vec<_> = writers
        .iter()
        .map(|writer| spawn_local(read_back(Rc::clone(writer), client.clone(), deadline)))
        .collect();
    let mut sums = [0; 3];
    for task in reading {
        for (sum, more) in sums.iter_mut().zip(task.await?) {
            *sum += more;
        }
    }
    for (name, sum) in ["read", "lost", "unreadable"].into_iter().zip(sums) {
        end[name] = sum.into();
    }
    println!("{end}");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    LocalSet::new().run_until(run()).await
}
