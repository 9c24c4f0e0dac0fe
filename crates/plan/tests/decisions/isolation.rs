//! The rule for lost hosts against chance: whenever a majority has confirmed that a primary is down, its lease has ended, long enough
//! for its server to refuse writes for certain, and it gets no other before the promotion is over. Delays and losses of all messages are
//! drawn; every agent has a clock of its own, which starts anywhere; agents start anew and seats change hands meanwhile.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{Epoch, InstanceName, Millis, ShardName};
use valkeeper_plan::hostwatch::lease::{HeartbeatAnswer, Lease};
use valkeeper_plan::hostwatch::voter::{Seat, Voter, may_force};
use valkeeper_plan::hostwatch::{CONFIRM_MS, FENCE_AFTER_MS, HEARTBEAT_MS, PROMISE_MS};

const ASK_MS: u64 = 250;
const END_MS: u64 = 20_000;

struct Chance(u64);

impl Chance {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
struct Weather {
    /// Of a hundred messages, so many are lost.
    lost: u64,
    /// A message takes up to so long.
    delay: u64,
    /// Between cuts of a way, up to so long; 0 for no cuts.
    calm: u64,
    /// Agents start anew and seats change hands after up to so long; 0 for never.
    change: u64,
}

enum Message {
    Heartbeat { to: usize, sent: u64 },
    HeartbeatAnswer { seat: usize, sent: u64, answer: HeartbeatAnswer },
    Question { to: usize, round: u64 },
    Answer { round: u64, silent: u64 },
}

/// The agent on a seat, with its own clock.
struct SeatAgent {
    voter: Voter,
    ahead: u64,
}

struct World {
    chance: Chance,
    weather: Weather,
    seats: Vec<SeatAgent>,
    suspected: InstanceName,
    /// By seat, of the ways to the suspected: cut until then.
    cut_until: Vec<u64>,
    cut_from: Vec<u64>,
    under_way: BTreeMap<(u64, u64), Message>,
    messages: u64,
}

impl World {
    fn new(seed: u64, others: usize, weather: Weather) -> Self {
        let mut world = Self {
            chance: Chance(seed | 1),
            weather,
            seats: Vec::new(),
            suspected: "c-0".parse().expect("a name"),
            cut_until: vec![0; others],
            cut_from: vec![0; others],
            under_way: BTreeMap::new(),
            messages: 0,
        };
        for seat in 0..others {
            let mut agent = world.agent(0);
            agent.voter.founded(Millis(agent.ahead));
            world.seats.push(agent);
            world.cut_from[seat] = 3_000 + world.chance.draw(weather.calm);
        }
        world
    }

    /// An agent whose server takes a seat now, and that remembers nothing.
    fn agent(&mut self, now: u64) -> SeatAgent {
        let ahead = self.chance.draw(1_000_000);
        let at = Millis(now + ahead);
        let mut voter = Voter::new(at);
        voter.saw(&BTreeMap::from([(self.suspected.clone(), Epoch(1))]), at);
        voter.set_seat(Seat::WithQuorum, at);
        SeatAgent { voter, ahead }
    }

    fn send(&mut self, now: u64, message: Message) {
        if self.chance.draw(100) >= self.weather.lost {
            self.messages += 1;
            let at = now + 1 + self.chance.draw(self.weather.delay);
            self.under_way.insert((at, self.messages), message);
        }
    }

    fn cut(&mut self, seat: usize, now: u64) -> bool {
        if self.weather.calm > 0 && now >= self.cut_until[seat] && now >= self.cut_from[seat] {
            self.cut_until[seat] = now + self.chance.draw(4_000);
            self.cut_from[seat] = self.cut_until[seat] + self.chance.draw(self.weather.calm);
        }
        now < self.cut_until[seat]
    }
}

fn seat_name(seat: usize) -> ShardName {
    ShardName::nth(u32::try_from(seat).expect("few") + 1)
}

/// What happened in a run.
#[derive(Debug, Default)]
struct Seen {
    grants: u32,
    unheld: u64,
}

fn play(seed: u64, others: usize, weather: Weather) -> Result<Seen, TestCaseError> {
    let mut world = World::new(seed, others, weather);
    let mut lease = Lease::default();
    let of = others + 1;
    let all: Vec<ShardName> = (0..others).map(seat_name).collect();
    let own_ahead = world.chance.draw(1_000_000);
    let (phase, first) = (world.chance.draw(HEARTBEAT_MS), world.chance.draw(ASK_MS));
    let mut outcome = Seen::default();
    // The oracle's own account: what was answered, by seat, and rounds of testimonies.
    let mut renewals: Vec<(usize, u64)> = Vec::new();
    let mut rounds: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut held_last = 0;
    let mut forbidden_until = 0;
    for now in 0..END_MS {
        let due: Vec<_> = world.under_way.range(..=(now, u64::MAX)).map(|(key, _)| *key).collect();
        for key in due {
            let Some(message) = world.under_way.remove(&key) else { continue };
            match message {
                Message::Heartbeat { to, sent } => {
                    let suspected = world.suspected.clone();
                    let agent = &mut world.seats[to];
                    let at = Millis(now + agent.ahead);
                    agent.voter.heard(&suspected, at);
                    let counts = agent.voter.counts(&suspected, at);
                    let past_promise_window = agent.voter.is_past_promise_window(at);
                    let said = HeartbeatAnswer { counts, has_quorum: true, past_promise_window };
                    if !world.cut(to, now) {
                        world.send(now, Message::HeartbeatAnswer { seat: to, sent, answer: said });
                    }
                }
                Message::HeartbeatAnswer { seat, sent, answer: said } => {
                    let at = Millis(now + own_ahead);
                    let held = lease.held_until(all.iter(), of).is_some_and(|until| at < until);
                    lease.answered(&seat_name(seat), Millis(sent + own_ahead), said, held);
                    if said.counts && (said.past_promise_window || held) {
                        renewals.push((seat, sent));
                    }
                }
                Message::Question { to, round } => {
                    let suspected = world.suspected.clone();
                    let agent = &mut world.seats[to];
                    let silent = agent.voter.confirm_down(&suspected, Millis(now + agent.ahead));
                    if let Some(silent) = silent {
                        world.send(now, Message::Answer { round, silent });
                    }
                }
                Message::Answer { round, silent } => {
                    let testimonies = rounds.entry(round).or_default();
                    testimonies.push(silent);
                    if now < round + 500 && may_force(testimonies.iter().copied(), of) {
                        outcome.grants += 1;
                        let margin = now.saturating_sub(held_last);
                        prop_assert!(margin >= CONFIRM_MS, "held {margin} ms before the testimony of {now}");
                        forbidden_until = forbidden_until.max(round + PROMISE_MS);
                    }
                }
            }
        }
        if now % HEARTBEAT_MS == phase {
            for to in 0..others {
                if !world.cut(to, now) {
                    world.send(now, Message::Heartbeat { to, sent: now });
                }
            }
        }
        if now % ASK_MS == first {
            for to in 0..others {
                world.send(now, Message::Question { to, round: now });
            }
        }
        if weather.change > 0 && world.chance.draw(weather.change) == 0 {
            let seat = usize::try_from(world.chance.draw(others as u64)).expect("few");
            let anew = world.agent(now);
            world.seats[seat] = anew;
        }
        // Held by the oracle: a majority with its own seat, of answers to what was sent less than the time ago.
        let fresh: BTreeSet<usize> = renewals
            .iter()
            .rev()
            .take_while(|(_, sent)| sent + 5_000 > now)
            .filter(|(_, sent)| now - sent < FENCE_AFTER_MS)
            .map(|(seat, _)| *seat)
            .collect();
        let oracle = fresh.len() + 1 > of / 2;
        let held = lease.held_until(all.iter(), of).is_some_and(|until| now + own_ahead < until.0);
        prop_assert_eq!(held, oracle, "at {}", now);
        if held {
            prop_assert!(
                now >= forbidden_until,
                "held at {} in spite of promises until {}",
                now,
                forbidden_until
            );
            held_last = now;
        } else if now > 1_000 {
            outcome.unheld += 1;
        }
    }
    Ok(outcome)
}

fn weather() -> impl Strategy<Value = Weather> {
    let change = prop_oneof![Just(0), 300..5_000_u64];
    (0..60_u64, 1..1_200_u64, prop_oneof![Just(0), 1..6_000_u64], change)
        .prop_map(|(lost, delay, calm, change)| Weather { lost, delay, calm, change })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_lease_outlives_the_testimony_of_a_majority(seed: u64, others in 2..7_usize, weather in weather()) {
        play(seed, others, weather)?;
    }

    #[test]
    fn in_good_weather_the_lease_is_held_and_nobody_is_replaced(seed: u64, others in 2..7_usize, delay in 1..150_u64) {
        let seen = play(seed, others, Weather { lost: 2, delay, calm: 0, change: 0 })?;
        prop_assert_eq!(seen.grants, 0);
        prop_assert_eq!(seen.unheld, 0);
    }
}

/// The first property is worth something only if majorities do confirm in such weather, and leases end.
#[test]
fn bad_weather_is_bad_enough() {
    let weather = Weather { lost: 10, delay: 300, calm: 4_000, change: 0 };
    let all: Vec<Seen> = (1..60).map(|seed| play(seed * 7_919, 2, weather).unwrap()).collect();
    assert!(all.iter().filter(|seen| seen.grants > 0).count() > 10, "{all:?}");
    assert!(all.iter().filter(|seen| seen.unheld > 0).count() > 30, "{all:?}");
}

#[test]
fn two_primaries_cannot_tell_who_is_cut_off() {
    assert!(!may_force([10_000, 10_000].into_iter(), 2));
    assert!(may_force([1_700, 1_700].into_iter(), 3));
    assert!(!may_force([1_700, 1_699].into_iter(), 3));
    assert!(!may_force([9_000, 9_000].into_iter(), 4));
    assert_eq!(Lease::<ShardName>::default().held_until(std::iter::empty(), 2), Some(Millis(u64::MAX)));
    assert_eq!(Lease::default().held_until([seat_name(0)].iter(), 3), None);
}

/// Who was replaced is not let be primary again before the server has said so, however long ago the promise was.
#[test]
fn a_known_successor_outlasts_the_promise() {
    let (old, new): (InstanceName, InstanceName) = ("c-0".parse().unwrap(), "c-3".parse().unwrap());
    let mut voter = Voter::new(Millis(0));
    voter.saw(&BTreeMap::from([(old.clone(), Epoch(1))]), Millis(0));
    voter.set_seat(Seat::WithQuorum, Millis(0));
    assert!(voter.counts(&old, Millis(10)));
    assert_eq!(voter.confirm_down(&old, Millis(2_000)), Some(2_000));
    assert!(!voter.counts(&old, Millis(2_000 + PROMISE_MS - 1)));
    assert!(voter.counts(&old, Millis(2_000 + PROMISE_MS)));
    voter.saw(&BTreeMap::from([(new.clone(), Epoch(4))]), Millis(2_100));
    assert!(!voter.counts(&old, Millis(60_000)));
    assert!(voter.counts(&new, Millis(60_000)));
    voter.saw(&BTreeMap::from([(old.clone(), Epoch(1))]), Millis(60_001));
    assert!(voter.counts(&old, Millis(60_001)));
}

/// A node is frozen and thawed, and its primary gets its role back for the sake of its zone, all within the promise: it refused writes
/// for what was left of it.
#[test]
fn who_is_elected_again_is_let_be_primary_at_once() {
    let (old, new): (InstanceName, InstanceName) = ("c-0".parse().unwrap(), "c-3".parse().unwrap());
    for (again, let_be) in [(Epoch(5), true), (Epoch(1), false)] {
        let mut voter = Voter::new(Millis(0));
        voter.saw(&BTreeMap::from([(old.clone(), Epoch(1))]), Millis(0));
        voter.set_seat(Seat::WithQuorum, Millis(0));
        assert_eq!(voter.confirm_down(&old, Millis(2_000)), Some(2_000));
        voter.saw(&BTreeMap::from([(new.clone(), Epoch(4))]), Millis(2_100));
        assert!(!voter.counts(&old, Millis(2_100)));
        // With the claim that it was replaced in it is one that has not heard, or a view that is older than the last.
        voter.saw(&BTreeMap::from([(old.clone(), again)]), Millis(4_000));
        assert_eq!(voter.counts(&old, Millis(4_000)), let_be, "by a claim of {again:?}");
    }
}

/// No voter has missed heartbeats before there was one to send them, or before one could have heard them.
#[test]
fn silence_counts_from_when_there_was_something_to_hear() {
    let primary: InstanceName = "c-0".parse().unwrap();
    let only = BTreeMap::from([(primary.clone(), Epoch(1))]);
    let mut voter = Voter::new(Millis(0));
    voter.heard(&primary, Millis(0));
    voter.set_seat(Seat::WithQuorum, Millis(0));
    assert_eq!(voter.confirm_down(&primary, Millis(5_000)), Some(0), "it is no primary as far as is known");
    voter.saw(&only, Millis(5_000));
    assert_eq!(voter.confirm_down(&primary, Millis(6_000)), Some(1_000));
    voter.set_seat(Seat::WithoutQuorum, Millis(6_000));
    assert_eq!(voter.confirm_down(&primary, Millis(9_000)), None, "cut off itself");
    voter.set_seat(Seat::WithQuorum, Millis(9_000));
    assert_eq!(voter.confirm_down(&primary, Millis(9_500)), Some(500));
    voter.set_seat(Seat::None, Millis(9_500));
    assert_eq!(voter.confirm_down(&primary, Millis(12_000)), None, "it has no seat");
    assert!(!voter.counts(&primary, Millis(12_000)));
}
