//! Virtual time: what happens when. Equal times keep the order in which they were planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Planned<T> {
    at: u64,
    order: u64,
    what: T,
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<T> Eq for Planned<T> {}
impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Planned<T> {
    /// The earliest is the greatest, as the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The clock and what is planned on it.
#[derive(Debug)]
pub struct Clock<T> {
    now: u64,
    planned: BinaryHeap<Planned<T>>,
    count: u64,
}

impl<T> Clock<T> {
    /// At zero, with nothing planned.
    pub fn new() -> Self {
        Self { now: 0, planned: BinaryHeap::new(), count: 0 }
    }
    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now
    }
    /// Plans something so many milliseconds from now.
    pub fn after(&mut self, ms: u64, what: T) {
        self.at(self.now + ms, what);
    }
    /// Plans something; not in the past.
    pub fn at(&mut self, at: u64, what: T) {
        self.count += 1;
        self.planned.push(Planned { at: at.max(self.now), order: self.count, what });
    }
    /// Goes on to what is next.
    pub fn go_on(&mut self) -> Option<T> {
        let planned = self.planned.pop()?;
        self.now = planned.at;
        Some(planned.what)
    }
    /// How many things were planned in all.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl<T> Default for Clock<T> {
    fn default() -> Self {
        Self::new()
    }
}
