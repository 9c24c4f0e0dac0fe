//! Adds up the summaries of libtest and of libtest-mimic, which print the same line.

use std::collections::VecDeque;
use std::fmt;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) ignored: usize,
    /// Of the failed ones, those that were named.
    pub(super) names: Vec<String>,
    /// What panics said: a long log is often kept without its middle, and the end of it has to tell why.
    pub(super) panics: Vec<Panic>,
}

/// What a panic has printed: its first lines, and of a scenario's diagnosis the last events, which tell what led to it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Panic {
    head: Vec<String>,
    events: VecDeque<String>,
    part: Part,
}

/// Which part of it is being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    Status,
    Events,
    Over,
}

impl Panic {
    const HEAD_LINES: usize = 6;
    const EVENTS: usize = 12;
    const LINE_CHARS: usize = 400;
    const EVENT_CHARS: usize = 160;

    fn is_whole(&self) -> bool {
        self.part == Part::Over
    }

    fn read(&mut self, line: &str) {
        self.part = match (self.part, line) {
            (Part::Head, "--- status") => Part::Status,
            (Part::Head | Part::Status, "--- events") => Part::Events,
            (Part::Status | Part::Events, _) if line.starts_with("--- ") => Part::Over,
            _ if ["stack backtrace:", "failures:"].contains(&line) => Part::Over,
            _ if line.starts_with("note: run with `RUST_BACKTRACE") => Part::Over,
            _ if line.starts_with("test ") && line.contains(" ... ") => Part::Over,
            (part, _) => part,
        };
        let cut = |most| line.chars().take(most).collect();
        match self.part {
            Part::Head if self.head.len() < Self::HEAD_LINES => self.head.push(cut(Self::LINE_CHARS)),
            Part::Events if !line.starts_with("--- ") => {
                if self.events.len() == Self::EVENTS {
                    self.events.pop_front();
                }
                self.events.push_back(cut(Self::EVENT_CHARS));
            }
            Part::Head | Part::Status | Part::Events | Part::Over => {}
        }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head.join("\n"))?;
        self.events.iter().try_for_each(|event| write!(f, "\n  {event}"))
    }
}

impl Tally {
    pub(super) fn read(&mut self, line: &str) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.passed += count(summary, "passed");
            self.failed += count(summary, "failed");
            self.ignored += count(summary, "ignored");
        } else if let Some(name) = line.strip_prefix("test ").and_then(failed_name) {
            self.names.push(name.to_owned());
        }
        if line.starts_with("thread '") && line.contains(" panicked at ") {
            self.panics.push(Panic::default());
        }
        if let Some(last) = self.panics.last_mut().filter(|last| !last.is_whole()) {
            last.read(line);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.names.extend(other.names);
        self.panics.extend(other.panics);
    }

    /// A program that crashed or did not compile reports nothing; and a run of no test at all proves nothing.
    pub(super) fn close(&mut self, succeeded: bool) {
        let nothing = self.passed + self.failed == 0;
        if (!succeeded && self.failed == 0) || nothing {
            self.failed += 1;
            self.names.push(if succeeded { "no test ran" } else { "cargo test" }.to_owned());
        }
    }
}

/// libtest writes `name ... FAILED`, libtest-mimic pads the dots: `name   ... FAILED`.
fn failed_name(rest: &str) -> Option<&str> {
    rest.strip_suffix("FAILED")?.trim_end().strip_suffix("...").map(str::trim_end)
}

/// The number in front of `word`, as in `ok. 3 passed; 1 failed;`.
fn count(summary: &str, word: &str) -> usize {
    let words: Vec<&str> = summary.split([' ', ';']).collect();
    words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str], succeeded: bool) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        tally.close(succeeded);
        tally
    }

    #[test]
    fn several_programs_add_up() {
        let lines = [
            "running 2 tests",
            "test a::b ... ok",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test slow ... FAILED",
            "test padded   ... FAILED",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ];
        let names = vec!["slow".to_owned(), "padded".to_owned()];
        assert_eq!(
            tally(&lines, false),
            Tally { passed: 5, failed: 2, ignored: 1, names, panics: Vec::new() }
        );
    }

    #[test]
    fn of_what_panics_said_the_beginning_and_the_last_events_are_kept() {
        let mut lines = vec!["before", "thread 'a::b' (7) panicked at src/a.rs:1:2:", "it is not primary"];
        lines.extend(["more"; 20]);
        lines.extend(["--- status", "a table", "--- events", "the first"]);
        lines.extend(["one"; Panic::EVENTS - 1]);
        lines.extend(["the last", "--- supervisor", "its log"]);
        let panics = tally(&lines, false).panics;
        let [panic] = &panics[..] else { panic!("{panics:?}") };
        let shown = panic.to_string();
        assert!(
            shown.starts_with("thread 'a::b' (7) panicked at src/a.rs:1:2:\nit is not primary\nmore"),
            "{shown}"
        );
        assert!(shown.ends_with("\n  one\n  the last"), "{shown}");
        assert_eq!(shown.lines().count(), Panic::HEAD_LINES + Panic::EVENTS);
        assert!(!shown.contains("a table"), "{shown}");
    }

    #[test]
    fn what_follows_a_panic_is_no_part_of_it() {
        let panicked = "thread 'a::b' (7) panicked at src/a.rs:1:2:";
        for end in ["stack backtrace:", "note: run with `RUST_BACKTRACE=1`", "test a::b ... FAILED"] {
            let panics = tally(&[panicked, "it is so", end, "other"], false).panics;
            assert_eq!(panics[0].to_string(), format!("{panicked}\nit is so"));
        }
    }

    #[test]
    fn a_crash_or_a_compile_error_counts() {
        let tally = tally(&["test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured"], false);
        assert_eq!((tally.passed, tally.failed), (2, 1));
    }

    #[test]
    fn no_test_at_all_counts_as_failed() {
        assert_eq!(tally(&[], true).failed, 1);
        assert_eq!(tally(&["test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured"], true).failed, 1);
    }
}
