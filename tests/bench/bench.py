"""Measures Wharfinger beside Postfix, nginx and vsftpd and prints the ratios; see `run` for how to call it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from meter import Meter
from report import Row, print_report
from peers import DOMAIN, HOST, RECIPIENTS, Nginx, Postfix, Tls, Vsftpd
from wharfinger import Wharfinger

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CLIENT = "client.bench.test"
SECONDS = 5  # what one round of counted operations should take
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def main(what):
    base = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp")))
    memory = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-bench-", dir="/dev/shm"))
    base.chmod(0o755)
    started, rows = [], []
    try:
        tls = Tls(base / "tls")
        ours = start(Wharfinger(base / "wharfinger", tls, protocols(what)), started)
        if what in ("smtp", "all"):
            rows += smtp(start(Postfix(base / "postfix", tls), started), ours)
        if what in ("https", "all"):
            rows += https(start(Nginx(base / "nginx", tls), started), ours, memory)
        if what in ("ftps", "all"):
            rows += ftps(start(Vsftpd(base / "vsftpd", tls), started), ours, memory)
        print_report(rows, ROUNDS, str(base))
    finally:
        for server in reversed(started):
            server.stop()
        shutil.rmtree(base, ignore_errors=True)
        shutil.rmtree(memory, ignore_errors=True)


def protocols(what):
    """What our side listens for; files are published over HTTPS, so that is always there."""
    return {"smtp": ["https", "smtp"], "https": ["https"], "ftps": ["https", "ftp"]}.get(what, ["https", "smtp", "ftp"])


def start(server, started):
    started.append(server)
    server.start()
    return server


# --- what is measured -------------------------------------------------------------------------------------------------

def smtp(peer, ours):
    """Durable accept: 20 sessions, each to a recipient of its own, since one mailbox is a bottleneck of its own."""
    row = Row("SMTP accept, 10 KiB, 20 sessions", "messages/s", aim=5.0, peer=peer.name,
              durable="both (Postfix queues and then discards, ours delivers to the mailbox)")
    compare(row, peer, ours, deliver, sizes(peer, ours, deliver, 400, 30_000))
    if ours.messages() != ours.accepted:
        raise SystemExit(f"{ours.accepted} messages were accepted, and the store holds {ours.messages()}")
    return [row]


def https(peer, ours, memory):
    small, large = memory / "1k.bin", memory / "100m.bin"
    small.write_bytes(os.urandom(KIB))
    fill(large, 100 * MIB)
    url = {server: {file: server.publish(file) for file in (small, large)} for server in (peer, ours)}

    def fetch(file, *options):
        return lambda server, count: h2load(url[server][file], count, *options)

    rows = []
    for title, options in (("HTTP/1.1, 32 connections", ("--h1", "-c32")),
                           ("HTTP/2, 4 connections of 8 streams", ("-c4", "-m8"))):
        load = fetch(small, *options)
        row = Row(f"HTTPS GET 1 KiB, {title}", "requests/s", aim=0.9, peer=peer.name, durable="reads only")
        rows.append(compare(row, peer, ours, load, sizes(peer, ours, load, 2_000, 200_000)))
    load = fetch(large, "--h1", "-c2")
    row = Row("HTTPS GET 100 MiB, HTTP/1.1", "MiB/s", aim=0.9, peer=peer.name, durable="reads only", scale=100)
    rows.append(compare(row, peer, ours, load, sizes(peer, ours, load, 4, 60)))
    return rows


def ftps(peer, ours, memory):
    source = memory / "1g.bin"
    fill(source, GIB)
    up = Row("FTPS upload of 1 GiB", "MiB/s", aim=1.0, peer=peer.name, scale=1024,
             durable="ours; vsftpd answers before anything is on disk")
    synced = Row("FTPS upload of 1 GiB, on disk at both", "MiB/s", aim=None, peer=peer.name, scale=1024,
                 durable="both: the time vsftpd's file then takes to sync is added")
    down = Row("FTPS download of 1 GiB", "MiB/s", aim=1.0, peer=peer.name, scale=1024, durable="reads only")
    once = {peer: 1, ours: 1}
    compare(up, peer, ours, lambda server, _: upload(server, source), once)
    compare(synced, peer, ours, lambda server, _: upload(server, source) + flush(server, source), once)
    compare(down, peer, ours, lambda server, _: download(server, source), once)
    return [up, synced, down]


def compare(row, peer, ours, load, counts):
    """Alternates between the two servers and keeps the median of each; `load` gives the seconds that `count` took."""
    for turn in range(ROUNDS):
        for server in (peer, ours) if turn % 2 == 0 else (ours, peer):
            os.sync()  # so that nobody pays for what the other left unwritten
            with Meter(server.pid) as meter:
                seconds = load(server, counts[server])
                server.settle()
            row.add(server is ours, counts[server], seconds, meter)
            say(f"{row.title}: {server.name} {row.rate(server is ours):.1f} {row.unit}")
    return row


def sizes(peer, ours, load, least, most):
    """How many operations each server needs to be busy for about SECONDS: a short run first, which also warms it up."""
    def size(server):
        rate = least / max(load(server, least), 0.01)
        server.settle()
        return max(least, min(most, round(rate * SECONDS, -len(str(least)) + 1)))
    return {server: int(size(server)) for server in (peer, ours)}


# --- the load ---------------------------------------------------------------------------------------------------------

def deliver(server, count):
    """`smtp-source` fails on any answer but the expected one, so its success means `count` messages accepted."""
    each = count // len(RECIPIENTS)
    begin = time.monotonic()
    options = ["-4", "-d", "-s", "1", "-m", str(each), "-l", str(10 * KIB), "-M", CLIENT, "-f", f"sender@{CLIENT}"]
    clients = [subprocess.Popen(["smtp-source", *options, "-t", f"{name}@{DOMAIN}", f"{HOST}:{server.smtp}"])
               for name in RECIPIENTS]
    try:
        for client in clients:
            if client.wait(90):
                raise SystemExit(f"smtp-source against {server.name} failed: exit {client.returncode}")
    finally:
        for client in clients:
            client.poll() is None and client.kill()
    seconds = time.monotonic() - begin
    server.accepted += each * len(RECIPIENTS)
    return seconds * count / (each * len(RECIPIENTS))


def h2load(url, count, *options):
    said = command("h2load", "-t1", f"-n{count}", *options, url)
    if not (done := re.search(r"(\d+) succeeded, 0 failed, 0 errored", said)) or int(done[1]) != count:
        raise SystemExit(f"h2load {url}: not every request succeeded\n{said}")
    took = re.search(r"finished in ([\d.]+)(us|ms|s|m)\b", said)
    return float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[took[2]]


def upload(server, source):
    begin = time.monotonic()
    ftp(server, source, "-T", str(source))
    return time.monotonic() - begin


def flush(server, source):
    """The time until what the server stored is on disk; nothing for ours, whose 226 says that it is."""
    begin = time.monotonic()
    if file := server.stored(source.name):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.monotonic() - begin


def download(server, source):
    begin = time.monotonic()
    said = ftp(server, source, "-o", "/dev/null", "-w", "%{size_download}")
    if int(said) != source.stat().st_size:
        raise SystemExit(f"{server.name} sent {said} bytes of {source.stat().st_size}")
    return time.monotonic() - begin


def ftp(server, source, *options):
    url = f"ftp://{HOST}:{server.ftp}/{server.path(source.name)}"
    return command("curl", "-sS", "--ssl-reqd", "--cacert", str(server.tls.ca), "--user", server.login(), *options, url)


def command(*line):
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def fill(path, size):
    """Random content, one block over and over: what is sent is encrypted, so it costs the same."""
    block = os.urandom(MIB)
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(block)


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "all")
