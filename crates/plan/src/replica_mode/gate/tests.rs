use super::*;
use valkeeper_model::{Address, EngineKind};

const HISTORY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const ANOTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn history(text: &str) -> ReplicationId {
    text.parse().unwrap()
}

fn passes(own: Option<Position>) -> Allowed {
    let passes = Passes { own, is_empty: own.is_none(), is_closed: false, accepted: None };
    Allowed { passes, source: None }
}

fn own() -> Allowed {
    passes(Some(Position { history: history(HISTORY), offset: Offset(100) }))
}

fn accepting(allowed: Allowed, history: ReplicationId, offset: Offset) -> Allowed {
    let accepted = Some(Position { history, offset });
    Allowed { passes: Passes { accepted, ..allowed.passes }, ..allowed }
}

fn seen(replid: &str, branched_from: Option<(&str, u64)>) -> SourceView {
    SourceView {
        address: Address { ip: [10, 0, 0, 1].into(), port: 6379, bus_port: 16379 },
        engine: EngineKind::Valkey,
        version: "9.1.2".to_owned(),
        follows: None,
        cluster_mode: false,
        replid: history(replid),
        branched_from: branched_from
            .map(|(of, offset)| Position { history: history(of), offset: Offset(offset) }),
        offset: Offset(100),
        keys: 0,
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words.collect::<String>()).into_bytes()
}

/// A connection up to the answer to `PSYNC`, which is read in pieces of that size.
fn connection(allowed: Allowed, answer: &str, size: usize) -> (Gate, Vec<u8>, Option<Cut>) {
    let mut gate = Gate::new(allowed);
    for words in [
        &["PING"][..],
        &["AUTH", "secret"],
        &["REPLCONF", "listening-port", "7101"],
        &["REPLCONF", "capa", "eof", "capa", "psync2"],
        &["PSYNC", HISTORY, "101"],
    ] {
        gate.read_replica(&command(words));
    }
    let answers = format!("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n\n{answer}\r\n");
    let (passed, cut) = read(&mut gate, answers.as_bytes(), size);
    (gate, passed, cut)
}

fn read(gate: &mut Gate, bytes: &[u8], size: usize) -> (Vec<u8>, Option<Cut>) {
    let mut passed = Vec::new();
    for piece in bytes.chunks(size) {
        if let Some(cut) = gate.read_source(piece, &mut passed) {
            return (passed, Some(cut));
        }
    }
    (passed, None)
}

#[test]
fn what_goes_on_passes_as_it_is_however_it_is_cut_into_pieces() {
    let stream = [
        command(&["SELECT", "0"]),
        command(&["SET", "flushall", &"x".repeat(500)]),
        b"\n".to_vec(),
        command(&["MSET", "a", "1", "b", ""]),
    ]
    .concat();
    for size in [1, 2, 7, 64, 4_096] {
        let (mut gate, passed, cut) = connection(own(), "+CONTINUE", size);
        assert!(cut.is_none() && passed.ends_with(b"+CONTINUE\r\n"), "{size}");
        let (passed, cut) = read(&mut gate, &stream, size);
        assert_eq!((passed.as_slice(), cut), (stream.as_slice(), None), "{size}");
    }
}

#[test]
fn a_flush_does_not_pass_unless_it_was_accepted() {
    let before = command(&["SET", "a", "1"]);
    let stream = [before.clone(), command(&["flushall", "async"]), command(&["SET", "b", "2"])].concat();
    let offset = Offset(100 + before.len() as u64);
    for size in [1, 5, 4_096] {
        let (mut gate, ..) = connection(own(), "+CONTINUE", size);
        let (passed, cut) = read(&mut gate, &stream, size);
        assert_eq!(cut, Some(Cut::Held(HeldBack::Flushed { offset })), "{size}");
        assert_eq!(passed, before, "{size}");
        let (mut gate, ..) = connection(accepting(own(), history(HISTORY), offset), "+CONTINUE", size);
        assert_eq!(read(&mut gate, &stream, size), (stream.clone(), None), "{size}");
    }
}

#[test]
fn a_full_copy_passes_where_nothing_of_the_copy_is_lost() {
    let answer = |of: &str| format!("+FULLRESYNC {of} 500");
    let cut = |allowed: Allowed, of: &str| connection(allowed, &answer(of), 4_096).2;
    let with = |source: SourceView| Allowed { source: Some(source), ..own() };
    // The backlog was too small.
    assert_eq!(cut(own(), HISTORY), None);
    assert_eq!(cut(passes(None), ANOTHER), None);
    // It failed over, and goes on where the copy is or later, or has lost what a failover loses.
    assert_eq!(cut(with(seen(ANOTHER, Some((HISTORY, 100)))), ANOTHER), None);
    assert_eq!(cut(with(seen(ANOTHER, Some((HISTORY, 99)))), ANOTHER), None);
    let far = |ahead: u64| {
        let mut allowed = with(seen(ANOTHER, Some((HISTORY, 100))));
        allowed.passes.own = Some(Position { history: history(HISTORY), offset: Offset(100 + ahead) });
        allowed
    };
    assert_eq!(cut(far(1 << 20), ANOTHER), None);
    let held = Some(Cut::Held(HeldBack::OtherHistory { history: history(ANOTHER), keys: 0 }));
    assert_eq!(cut(far((1 << 20) + 1), ANOTHER), held);
    assert_eq!(cut(with(seen(ANOTHER, None)), ANOTHER), held);
    // What it has become since it was seen is not known.
    assert_eq!(cut(with(seen(HISTORY, None)), ANOTHER), Some(Cut::Undecided));
    let accepted = accepting(with(seen(ANOTHER, None)), history(ANOTHER), Offset(0));
    assert_eq!(cut(accepted, ANOTHER), None);
}

#[test]
fn the_stream_after_a_full_copy_is_read_too() {
    let copy = "REDIS0011 with FLUSHALL in it *1\r\n$8\r\nFLUSHALL\r\n";
    let mark = "0123456789012345678901234567890123456789";
    let sized = format!("${}\r\n{copy}", copy.len());
    let marked = format!("$EOF:{mark}\r\n{copy}{mark}");
    for (text, size) in [(&sized, 1), (&sized, 4_096), (&marked, 3), (&marked, 4_096)] {
        let (mut gate, _, cut) = connection(own(), &format!("+FULLRESYNC {HISTORY} 500"), size);
        assert_eq!(cut, None);
        let (passed, cut) = read(&mut gate, text.as_bytes(), size);
        assert_eq!((passed.as_slice(), cut), (text.as_bytes(), None));
        let (passed, cut) = read(&mut gate, &command(&["FLUSHDB"]), size);
        assert_eq!((passed, cut), (Vec::new(), Some(Cut::Held(HeldBack::Flushed { offset: Offset(500) }))));
    }
}

#[test]
fn a_copy_that_was_empty_is_kept_once_it_holds_something() {
    for answer in [format!("+FULLRESYNC {HISTORY} 500"), format!("+CONTINUE {HISTORY}")] {
        let (mut gate, _, cut) = connection(passes(None), &answer, 64);
        assert_eq!(cut, None);
        let copy = if answer.starts_with("+FULL") { b"$3\r\nabc".to_vec() } else { Vec::new() };
        let stream = [copy, command(&["SET", "a", "1"]), command(&["FLUSHALL"])].concat();
        assert!(
            matches!(read(&mut gate, &stream, 64).1, Some(Cut::Held(HeldBack::Flushed { .. }))),
            "{answer}"
        );
    }
}

#[test]
fn what_is_no_stream_is_cut() {
    let (mut gate, ..) = connection(own(), "+CONTINUE", 64);
    assert_eq!(read(&mut gate, b"GET / HTTP/1.1\r\n", 64).1, Some(Cut::NotUnderstood));
    let long = "x".repeat(LONGEST_LINE + 1);
    assert_eq!(Gate::new(own()).read_source(long.as_bytes(), &mut Vec::new()), Some(Cut::NotUnderstood));
}
