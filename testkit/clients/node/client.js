// node-redis or ioredis, whichever the first argument names, on its defaults. What it does and prints: ../README.md.
'use strict';

const fs = require('node:fs');
const readline = require('node:readline');
const { performance } = require('node:perf_hooks');
const { setTimeout: sleep } = require('node:timers/promises');

const NAME = process.argv[2];
const WRITERS = Number(process.env.VALKEEPER_WRITERS);
const PAUSE = Number(process.env.VALKEEPER_PAUSE_MS);

const addresses = (listed) =>
  listed.split(',').map((address) => {
    const at = address.lastIndexOf(':');
    return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
  });

async function bySentinels(log, username, password) {
  const sentinels = addresses(process.env.VALKEEPER_SENTINELS);
  const name = process.env.VALKEEPER_PRIMARY_NAME;
  if (NAME === 'ioredis') {
    const Redis = require('ioredis');
    const logins = { username, password, sentinelUsername: username, sentinelPassword: password };
    const client = new Redis({ sentinels, name, ...logins });
    client.on('error', log);
    return client;
  }
  const { createSentinel } = require('redis');
  const login = { username, password };
  const client = createSentinel({
    name,
    sentinelRootNodes: sentinels,
    nodeClientOptions: login,
    sentinelClientOptions: login,
  });
  client.on('error', log);
  await client.connect();
  return client;
}

async function connect() {
  const username = process.env.VALKEEPER_USERNAME;
  const password = fs.readFileSync(process.env.VALKEEPER_PASSWORD_FILE, 'ascii').trim();
  // Both want a listener: without one, node ends the program at the first lost connection.
  const log = (error) => console.error(String(error));
  if (process.env.VALKEEPER_SENTINELS) return bySentinels(log, username, password);
  const seeds = addresses(process.env.VALKEEPER_SEEDS);
  if (NAME === 'ioredis') {
    const { Cluster } = require('ioredis');
    const client = new Cluster(seeds, { redisOptions: { username, password } });
    client.on('error', log);
    return client;
  }
  const { createCluster } = require('redis');
  const client = createCluster({
    rootNodes: seeds.map(({ host, port }) => ({ url: `redis://${host}:${port}` })),
    defaults: { username, password },
  });
  client.on('error', log);
  await client.connect();
  return client;
}

class Writer {
  constructor(client, number) {
    Object.assign(this, { client, number, acknowledged: [], wantedSince: null, stopped: false });
    this.beginPhase();
  }

  beginPhase() {
    Object.assign(this, { acked: 0, errors: {}, gap: 0 });
    if (this.wantedSince !== null) this.wantedSince = performance.now();
  }

  async run() {
    for (let n = 1; !this.stopped; n += 1) {
      const key = `${NAME}:${process.pid}:${this.number}:${n}`;
      this.wantedSince ??= performance.now();
      try {
        await this.client.set(key, String(n));
      } catch (error) {
        this.errors[error] = (this.errors[error] ?? 0) + 1;
        await sleep(10);
        continue;
      }
      this.acked += 1;
      this.acknowledged.push([key, String(n)]);
      this.gap = Math.max(this.gap, performance.now() - this.wantedSince);
      this.wantedSince = null;
      await sleep(PAUSE);
    }
  }

  endPhase() {
    if (this.wantedSince !== null) this.gap = Math.max(this.gap, performance.now() - this.wantedSince);
    const { acked, errors, gap } = this;
    this.beginPhase();
    return { acked, errors, gap };
  }
}

const say = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);

function phase(name, writers, more = {}) {
  const all = writers.map((writer) => writer.endPhase());
  const errors = {};
  for (const one of all) {
    for (const [text, count] of Object.entries(one.errors)) errors[text] = (errors[text] ?? 0) + count;
  }
  say({
    phase: name,
    acked: all.reduce((total, one) => total + one.acked, 0),
    errors,
    longest_gap_ms: Math.round(Math.max(...all.map((one) => one.gap)) * 10) / 10,
    ...more,
  });
}

async function readBack(client, writers) {
  const deadline = performance.now() + 60_000;
  const counts = { read: 0, lost: 0, unreadable: 0 };
  const readKey = async ([key, value]) => {
    for (;;) {
      try {
        const found = await client.get(key);
        counts.read += 1;
        if (found !== value) counts.lost += 1;
        return;
      } catch {
        if (performance.now() > deadline) {
          counts.unreadable += 1;
          return;
        }
        await sleep(100);
      }
    }
  };
  await Promise.all(
    writers.map(async (writer) => {
      for (const entry of writer.acknowledged) await readKey(entry);
    }),
  );
  return counts;
}

async function main() {
  const client = await connect();
  const writers = Array.from({ length: WRITERS }, (_, number) => new Writer(client, number));
  const running = writers.map((writer) => writer.run());
  while (!writers.every((writer) => writer.acknowledged.length > 0)) await sleep(10);
  say({ phase: 'ready' });
  for await (const line of readline.createInterface({ input: process.stdin })) phase(line.trim(), writers);
  for (const writer of writers) writer.stopped = true;
  await Promise.all(running);
  phase('end', writers, await readBack(client, writers));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
