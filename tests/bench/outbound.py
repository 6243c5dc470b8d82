"""Measures how the outbound queue is emptied, beside Postfix; see `run`.

Many messages of 4 KiB, each with one recipient, go to many domains in turn; a few of the domains are dead: half of them
refuse connections, half never answer. Four parts:

full     The queue was filled while nothing was sent, and no message was tried before. The clock runs from the start of
         the server that may send until the last message to a living domain was taken.
alive    The same without dead domains: the last living message must not come later where some are dead.
slow     As `full`, with fewer messages to fewer domains, and a second for each message until it is taken, as hosts
         take that are far away or look closely. It shows whether a domain's messages go side by side.
through  Twenty sessions hand the messages over while they are sent. The clock runs from the first connection until the
         last message to a living domain was taken.

Why it is fair:
- Both get the same messages in the same order by the same sessions, ask the same DNS server for the same records, and
  send to the same `smtp-sink`, which offers no TLS. Its count of messages is what is measured. At the end it must be
  the number of living recipients, and the queue must hold the dead ones alone.
- What the load takes of this machine, it takes from both. Both queues are on the same disk, and both write durably what
  they take and what became of it.
- Both make 200 connections at once at most and twenty to one domain, and wait thirty seconds for a connection.
- Postfix is Debian's, with the settings of its manual but for the number of processes (its own is 100) and for
  `in_flow_delay`, by which it slows down who hands over more than it sends. It sees an /etc/resolv.conf of its own.
- Its queue is filled while its queue manager does not run. Messages lie then where new ones do: it need not defer them
  first and move them back. Ours is filled while the table `resting` says that all domains rest. Those rows are gone
  before the clock runs.
- In our favour: signing what users send is done when it comes, which `full` does not count (Postfix does not sign). In
  Postfix's: it asks for no IPv6 addresses, and memory that its processes share counts once.
"""

import itertools
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from away import Dns, Domains, Silence, Sink, free_port
from meter import Meter
from peers import Tls
from relays import Relay, Sender
from report import Row, print_report
from submit import submit

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "50000"))
DOMAINS = int(os.environ.get("BENCH_DOMAINS", "1000"))
DEAD = int(os.environ.get("BENCH_DEAD", "10"))
SIDES = os.environ.get("BENCH_SIDES", "peer ours").split()
PARTS = os.environ.get("BENCH_PARTS", "full alive slow through").split()
FEWER = 20  # times fewer domains, and messages, where each takes a second
STALLED = 700  # seconds without any message; what was deferred is tried again sooner
SHARES = (0.5, 0.9, 0.99, 1.0)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is stopped
    base = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp")))
    base.chmod(0o755)
    try:
        tls, rows, notes = Tls(base / "tls"), [], []
        for part in PARTS:
            row, runs = compare(base, tls, part)
            rows.append(row)
            notes += [f"- {row.title}, {run}" for run in runs]
        print_report(rows, ROUNDS, str(base))
        print("\nEvery round:\n\n" + "\n".join(notes))
    finally:
        shutil.rmtree(base, ignore_errors=True)


class Part:
    """What is measured, with how much of what."""

    def __init__(self, name):
        share = FEWER if name == "slow" else 1
        self.through, self.delay = name == "through", 1 if name == "slow" else 0  # seconds
        self.messages, domains = MESSAGES // share, max(DOMAINS // share, 1)
        most = {"alive": 0, "slow": domains // 5}.get(name, domains - 1)
        self.domains = Domains(domains, min(DEAD, most))
        much = f"{self.messages:,} messages to {domains:,} domains, {len(self.domains.dead)} dead"
        self.title = {"full": f"Sending a full queue, {much}", "alive": f"Sending a full queue, {much}",
                      "slow": f"Sending to slow hosts, {much}", "through": f"Taking and sending at once, {much}"}[name]
        self.aim = 2.0 if name == "full" else None
        self.recipients = [f"n{number}@{domain}" for number, domain in
                           zip(range(self.messages), itertools.cycle(self.domains.names))]
        self.living = self.domains.living(self.recipients)


def compare(base, tls, name):
    part, runs = Part(name), []
    row = Row(part.title, "messages/s", aim=part.aim, peer=Relay.name, durable="both")
    for turn in range(ROUNDS):
        for side in ("peer", "ours") if turn % 2 == 0 else ("ours", "peer"):
            if side not in SIDES:
                continue
            run = Run(base / f"{name}-{turn}-{side}", tls, side == "ours", part)
            run.measure()
            row.add(side == "ours", part.living, run.seconds, run.watch)
            runs.append(run.told())
            print(f"{part.title}: {runs[-1]}", file=sys.stderr, flush=True)
    return row, runs


class Run:
    """One server with an empty queue, and a world of its own."""

    def __init__(self, directory, tls, ours, part):
        self.directory, self.part, port = directory, part, free_port()
        directory.mkdir()
        directory.chmod(0o755)
        self.sink = Sink(port, part.delay)
        self.world = [Dns(directory / "dns", part.domains), self.sink, Silence(port)]
        self.server = (Sender if ours else Relay)(directory / "server", tls, directory / "dns", port)

    def measure(self):
        started, part, through = [], self.part, self.part.through
        try:
            for each in self.world:
                each.start()
                started.append(each)
            started.append(self.server)
            self.server.receive(part.domains.names, through)
            os.sync()
            begun = time.monotonic()
            with Watch(self.server.pid, self.sink) if through else Nothing() as self.watch:
                submit(self.server, part.recipients)
                self.filling = time.monotonic() - begun
                if through:
                    self._end()
            if not through:
                if self.sink.count or (waiting := self.server.waiting()) != part.messages:
                    raise SystemExit(f"{self.server.name} should hold {part.messages} messages, and holds {waiting}")
                begun = self.server.release()
                with Watch(self.server.pid, self.sink) as self.watch:
                    self._end()
            self.moments = [self.sink.moment(round(share * part.living)) - begun for share in SHARES]
            self.seconds = self.moments[-1]
        finally:
            for each in reversed(started):
                each.stop()
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self):
        """Waits until the living have theirs, and the queue knows that."""
        living, dead = self.part.living, self.part.messages - self.part.living
        last, since = 0, time.monotonic()
        while self.sink.count < living or self.server.waiting() > dead:
            time.sleep(0.5 if self.sink.count < living else 0.1)
            if self.sink.count != last:
                last, since = self.sink.count, time.monotonic()
            elif time.monotonic() - since > STALLED:
                break
        if (found := (self.sink.count, self.server.waiting())) != (living, dead):
            raise SystemExit(f"{self.server.name}: {found[0]} of {living} messages were taken, "
                             f"{found[1]} wait, of which {dead} should")

    def told(self):
        shares = ", ".join(f"{share:.0%} after {moment:.1f} s" for share, moment in zip(SHARES, self.moments))
        memory = ", ".join(f"{self.watch.at(share * self.part.living):,.0f}" for share in (0.05, 0.25, 0.5, 0.75, 1.0))
        return (f"{self.server.name}: {shares}; filled in {self.filling:.1f} s; {self.sink.sessions:,} "
                f"connections; MiB at 5, 25, 50, 75 and 100 %: {memory}, at most {self.watch.memory:,.0f}")


class Nothing:
    """Nothing is measured while the queue is filled."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Watch(Meter):
    """Also tells how the memory grows with what was sent, and counts all CPU time of the server, which is new."""

    def __init__(self, root, sink):
        super().__init__(root, every=1.0)
        self.sink, self.grown = sink, []

    def __enter__(self):
        super().__enter__()
        self._first = {}
        return self

    def _sample(self):
        peak, self.memory = self.memory, 0.0
        now = super()._sample()
        self.grown.append((self.sink.count, self.memory))
        self.memory = max(peak, self.memory)
        return now

    def at(self, count):
        """MiB when so many messages had been sent."""
        return next((memory for sent, memory in self.grown if sent >= count), self.grown[-1][1])


if __name__ == "__main__":
    main()
