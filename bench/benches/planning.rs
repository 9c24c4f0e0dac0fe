//! One round of the controller over a large cluster: goal 20 ms for 1,000 shards of three.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use valkeeper_bench::planning::World;

fn planning(c: &mut Criterion) {
    let world = World::healthy(1_000, 2);
    c.bench_function("plan 1,000 shards of 3, healthy", |b| b.iter(|| black_box(world.plan())));
    let world = World::troubled(1_000, 2);
    c.bench_function("plan 1,000 shards of 3, views differ", |b| b.iter(|| black_box(world.plan())));
}

criterion_group!(benches, planning);
criterion_main!(benches);
