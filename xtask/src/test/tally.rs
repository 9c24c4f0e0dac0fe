//! Adds up the summaries of libtest and of libtest-mimic, which print the same line.

#[derive(Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) ignored: usize,
    /// Of the failed ones, those that were named.
    pub(super) names: Vec<String>,
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
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.names.extend(other.names);
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
        assert_eq!(tally(&lines, false), Tally { passed: 5, failed: 2, ignored: 1, names });
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
