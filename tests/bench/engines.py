"""Measures the engines against each other: SQLite and files, PostgreSQL and S3, one node and three of them; and from
which size on a content is better off in the bucket."""

import base64
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from peers import DOMAIN, HOST, PASSWORD, RECIPIENTS, Tls
from wharfinger import Wharfinger

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
import servers  # noqa: E402, the test servers of the client tests

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = 5
ACCOUNTS = RECIPIENTS[:8]
MESSAGES = 150
CLIENT = "client.bench.test"
PUT = """
local count = 0
function request()
    count = count + 1
    local name = string.format("%s-%d", PREFIX, count)
    return wrk.format("PUT", "/dav/" .. name, {Authorization = AUTH}, string.rep(name .. " ", SIZE / (#name + 1) + 1))
end
"""
GET = """
local count = 0
function request()
    count = count + 1
    return wrk.format("GET", string.format("/dav/%s-%d", PREFIX, count % (MADE - 10) + 2), {Authorization = AUTH})
end
"""
PUT_SECONDS = 3  # seconds of putting before what was put is read


def main(what):
    base = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp")))
    base.chmod(0o755)
    started = []
    try:
        tls = Tls(base / "tls")
        postgres, bucket = servers.Postgres().start(), servers.S3().start()
        started += [bucket, postgres]
        bucket.bucket("bench")

        def shared(name, url, first, small=64):
            extra = shared_store(url, bucket, name, small)
            return begin(Wharfinger(base / name, tls, ["https", "smtp"], extra, first), started)

        if what in ("engines", "all"):
            url = postgres.database()
            sqlite = begin(Wharfinger(base / "sqlite", tls, ["https", "smtp"]), started)
            nodes = [shared(f"node{number}", url, number == 1) for number in (1, 2, 3)]
            engines([("SQLite", [sqlite]), ("PostgreSQL, one node", nodes[:1]), ("PostgreSQL, three nodes", nodes)])
        if what in ("blobs", "all"):
            blobs(shared("rows", postgres.database(), True, 1024), shared("objects", postgres.database(), True, 1))
    finally:
        for server in reversed(started):
            server.stop()
        shutil.rmtree(base, ignore_errors=True)


def shared_store(url, bucket, prefix, small=64):
    """The configuration of a store of many nodes; contents above `small` KiB go to the bucket."""
    return f"""
[storage]
engine = "postgres"
url = "{url}"
connections = 16

[blobs]
kind = "s3"
endpoint = "{bucket.endpoint}"
bucket = "bench"
access_key = "{bucket.access_key}"
secret_key = "{bucket.secret_key}"
prefix = "{prefix}"
small_kib = {small}
"""


def begin(server, started):
    started.append(server)
    server.start()
    return server


def engines(stores):
    loads = [("files of 1 KiB put over HTTPS, 32 connections", "files/s", lambda nodes: put(nodes, 1 << 10)),
             ("messages of 4 KiB by SMTP, 20 sessions", "messages/s", deliver)]
    print("\n| durable writes | " + " | ".join(name for name, _ in stores) + " |\n|---|" + "--:|" * len(stores))
    for title, unit, load in loads:
        rates = alternate([nodes for _, nodes in stores], load)
        cells = [f"{rate:,.0f} {unit} ({rate / rates[0]:.2f}×)" for rate in rates]
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


def blobs(rows, objects):
    print("\n| size | in a row, put/s | in the bucket, put/s | in a row, get/s | in the bucket, get/s |")
    print("|--:|--:|--:|--:|--:|")
    for size in (16, 64, 256, 1000):
        puts = alternate([[rows], [objects]], lambda nodes: put(nodes, size << 10))
        gets = alternate([[rows], [objects]], lambda nodes: get(nodes[0], size << 10))
        print(f"| {size} KiB | " + " | ".join(f"{rate:,.0f}" for rate in puts + gets) + " |", flush=True)


def alternate(sides, load):
    """The median rate of each side, measured in turn."""
    rates = [[] for _ in sides]
    for turn in range(ROUNDS):
        order = range(len(sides)) if turn % 2 == 0 else reversed(range(len(sides)))
        for at in order:
            os.sync()
            rates[at].append(load(sides[at]))
    return [statistics.median(side) for side in rates]


def put(nodes, size):
    """New files all the time; each account on one of the nodes."""
    clients = [wrk(nodes[at % len(nodes)], name, size, PUT) for at, name in enumerate(ACCOUNTS)]
    return sum(rate(client) for client in clients)


def get(node, size):
    """As many files as were put in a few seconds, in turn, so that they are too many for the caches."""
    name, prefix = ACCOUNTS[0], f"g{time.monotonic_ns():x}"
    made, _ = done(wrk(node, name, size, PUT, prefix, PUT_SECONDS))
    return rate(wrk(node, name, size, GET.replace("MADE", str(made)), prefix))


def wrk(node, name, size, script, prefix=None, seconds=SECONDS):
    prefix = prefix or f"f{time.monotonic_ns():x}"
    auth = "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()
    file = node.directory / f"{name}.lua"
    file.write_text(f'PREFIX, AUTH, SIZE = "{prefix}", "{auth}", {size}\n{script}')
    client = subprocess.Popen(["wrk", "-t1", "-c4", f"-d{seconds}", "--timeout", "30", "-s", str(file),
                               f"https://{HOST}:{node.https}/"], stdout=subprocess.PIPE, text=True)
    return client


def rate(client):
    return done(client)[1]


def done(client):
    """How many requests there were, and how many in a second."""
    said, _ = client.communicate(timeout=120)
    count, found = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s*([\d.]+)", said)
    if client.returncode or not count or not found or "Non-2xx" in said:
        raise SystemExit(f"wrk: not every request succeeded\n{said}")
    return int(count[1]), float(found[1])


def deliver(nodes):
    begun = time.monotonic()
    options = ["-4", "-d", "-s", "1", "-m", str(MESSAGES), "-l", "4096", "-M", CLIENT, "-f", f"sender@{CLIENT}"]
    clients = [subprocess.Popen(["smtp-source", *options, "-t", f"{name}@{DOMAIN}",
                                 f"{HOST}:{nodes[at % len(nodes)].smtp}"]) for at, name in enumerate(RECIPIENTS)]
    if any([client.wait(120) for client in clients]):
        raise SystemExit("smtp-source failed")
    return MESSAGES * len(clients) / (time.monotonic() - begun)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "all")
