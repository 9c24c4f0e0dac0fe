"""redis-py on its defaults. What it does and prints: ../README.md."""

import collections
import json
import os
import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

WRITERS = int(os.environ["VALKEEPER_WRITERS"])
PAUSE = int(os.environ["VALKEEPER_PAUSE_MS"]) / 1000
PREFIX = f"redis-py:{os.getpid()}"


def addresses(name):
    listed = (address.rsplit(":", 1) for address in os.environ[name].split(","))
    return [(host, int(port)) for host, port in listed]


def connect():
    with open(os.environ["VALKEEPER_PASSWORD_FILE"], encoding="ascii") as file:
        password = file.read().strip()
    login = {"username": os.environ["VALKEEPER_USERNAME"], "password": password}
    if "VALKEEPER_SENTINELS" in os.environ:
        sentinels = Sentinel(addresses("VALKEEPER_SENTINELS"), sentinel_kwargs=login, **login)
        return sentinels.master_for(os.environ["VALKEEPER_PRIMARY_NAME"])
    seeds = [ClusterNode(host, port) for host, port in addresses("VALKEEPER_SEEDS")]
    return RedisCluster(startup_nodes=seeds, **login)


class Writer(threading.Thread):
    """Writes one key after the other and remembers which were acknowledged."""

    def __init__(self, client, number, stop):
        super().__init__(daemon=True)
        self.client, self.number, self.stop = client, number, stop
        self.acknowledged = []
        self.lock = threading.Lock()
        self.wanted_since = None
        self.begin_phase()

    def begin_phase(self):
        self.acked = 0
        self.errors = collections.Counter()
        self.gap = 0.0
        if self.wanted_since is not None:
            self.wanted_since = time.monotonic()

    def run(self):
        n = 0
        while not self.stop.is_set():
            n += 1
            key = f"{PREFIX}:{self.number}:{n}"
            with self.lock:
                self.wanted_since = self.wanted_since or time.monotonic()
            try:
                self.client.set(key, n)
            except Exception as error:  # What an application sees is counted, whatever it is.
                with self.lock:
                    self.errors[f"{type(error).__name__}: {error}"] += 1
                time.sleep(0.01)
                continue
            with self.lock:
                self.acked += 1
                self.acknowledged.append((key, n))
                self.gap = max(self.gap, time.monotonic() - self.wanted_since)
                self.wanted_since = None
            self.stop.wait(PAUSE)

    def end_phase(self):
        with self.lock:
            if self.wanted_since is not None:
                self.gap = max(self.gap, time.monotonic() - self.wanted_since)
            figures = (self.acked, self.errors, self.gap)
            self.begin_phase()
            return figures


def say(**fields):
    print(json.dumps(fields), flush=True)


def phase(name, writers, **more):
    acked, errors, gaps = zip(*(writer.end_phase() for writer in writers))
    say(
        phase=name,
        acked=sum(acked),
        errors=sum(errors, collections.Counter()),
        longest_gap_ms=round(max(gaps) * 1000, 1),
        **more,
    )


def read_back(client, writers):
    deadline = time.monotonic() + 60
    counts = {"read": 0, "lost": 0, "unreadable": 0}
    for writer in writers:
        for key, value in writer.acknowledged:
            while True:
                try:
                    found = client.get(key)
                    counts["read"] += 1
                    counts["lost"] += found != str(value).encode()
                    break
                except Exception:
                    if time.monotonic() > deadline:
                        counts["unreadable"] += 1
                        break
                    time.sleep(0.1)
    return counts


def main():
    client = connect()
    stop = threading.Event()
    writers = [Writer(client, number, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    while not all(writer.acknowledged for writer in writers):
        time.sleep(0.01)
    say(phase="ready")
    for line in sys.stdin:
        phase(line.strip(), writers)
    stop.set()
    for writer in writers:
        writer.join()
    phase("end", writers, **read_back(client, writers))


main()
