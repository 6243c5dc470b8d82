#!/usr/bin/env python3
"""Kills the daemon with SIGKILL while it takes messages from a user and sends them on, at random moments and right when
the other server has answered; starts it again, and finds that every acknowledged message came at least once, that what
came twice had to, and that each failure was told once.

Usage: queue_crash.py [KILLS]      (30 unless told)
"""

import collections, itertools, os, random, smtplib, sys, threading, time

from harness import Daemon, Report
from servers import comes, free_ports, wait
from sink import CLOSE, Sink
from transport import Dns, PASSWORD, inbox, waits

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 30
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
SINK = "127.0.0.21"
# How long after a reply was written a kill may still come before what follows from it is committed.
COMMIT = 5
# How long what a killed process had claimed may stay so.
FREED = 150
WORKERS = 3
print(f"seed {SEED}")
chance = random.Random(SEED)


def plan(step, argument):
    """Sometimes it fails; whom it does not know it never knows."""
    lot = chance.random()
    if step == "rcpt" and argument.startswith("no-"):
        return "550 5.1.1 nobody of this name"
    if step == "greeting" and lot < 0.02:
        return "421 4.3.2 not now" if lot < 0.01 else CLOSE
    if step in ("mail", "rcpt", "data", "end"):
        if lot < 0.03:
            return "451 4.3.0 later"
        if lot < 0.04:
            return CLOSE
    return None


class Killer:
    """Kills the daemon at a moment of its own choice, or at the next reply of a kind that the sink writes."""

    def __init__(self):
        self.daemon, self.armed, self.done, self.times = None, None, threading.Event(), []

    def hear(self, step, reply):
        if self.armed == (step, reply[:3]):
            self.armed = None
            time.sleep(chance.choice((0, 0.001, 0.003, 0.01)))
            self.now()

    def now(self):
        self.daemon.process.kill()
        self.times.append((time.time(), self.why))
        self.done.set()

    def strike(self, daemon, number):
        self.daemon, self.why = daemon, ("any moment", "after a 250", "after a 550")[number % 3]
        self.done.clear()
        time.sleep(chance.uniform(0.05, 1.5))
        if self.why != "any moment":
            self.armed = ("end", "250") if self.why == "after a 250" else ("rcpt", "550")
            self.done.wait(20)
            self.armed = None
        if not self.done.is_set():
            self.why = "any moment"
            self.now()
        daemon.process.wait()


class Sender(threading.Thread):
    """Submits until the daemon is gone; notes what was begun and what was acknowledged."""

    def __init__(self, daemon, numbers):
        super().__init__(daemon=True)
        self.server, self.numbers, self.begun, self.acknowledged = daemon, numbers, set(), set()

    def run(self):
        try:
            with smtplib.SMTP("127.0.0.1", self.server.port["submission"], timeout=60) as session:
                session.login("alice", PASSWORD)
                while True:
                    number = next(self.numbers)
                    self.begun.add(number)
                    text = f"Subject: {number}\r\nX-Number: {number}\r\n\r\n" + f"line of {number}\r\n" * (number % 500)
                    if not session.sendmail("alice@a.test", recipients(number), text):
                        self.acknowledged.add(number)
                    time.sleep(0.05)
        except (OSError, smtplib.SMTPException):
            pass  # killed under our hands


def recipients(number):
    to = [f"ok-{number}@sink.test"]
    to += [f"also-{number}@sink.test"] if number % 4 == 0 else []
    return to + ([f"no-{number}@sink.test"] if number % 3 == 0 else [])


def empty(report, daemon):
    """Waits until the queue is empty. Who may have taken a message is not asked again soon: it is told to hurry."""
    def settled(holders):
        daemon.cli("queue", "retry", "--all")
        time.sleep(0.5)
        return not any(row["sending"] or not holders for row in waits(daemon))
    freed = comes("claims are over", lambda: settled(True), FREED)
    what = f"what a killed process had claimed is free within {FREED} s"
    report.check(what, freed, collections.Counter(row["sending"] for row in waits(daemon)))
    if not freed:
        # As if their time were over: all else can be looked at.
        daemon.store.rows("UPDATE queue SET due = 0 WHERE holder <> ''")
    wait("the queue is empty", lambda: settled(False), 120)


def notices(daemon):
    """How often each failure was told, as (number, recipient)."""
    told = collections.Counter()
    for notice in inbox(daemon, "alice"):
        _, status, content = notice.get_payload()
        number = int(content.get_payload()[0]["X-Number"])
        for fields in status.get_payload()[1:]:
            told[number, fields["Final-Recipient"].removeprefix("rfc822; ")] += fields["Action"] == "failed"
    return told


def verify_arrivals(report, sink, begun, acknowledged):
    arrivals = sink.arrivals()
    good = {number: [to for to in recipients(number) if not to.startswith("no-")] for number in begun}
    lost = [to for number in acknowledged for to in good[number] if to not in arrivals]
    halves = [number for number in begun if len({to in arrivals for to in good[number]}) > 1]
    wrong = [one for rows in arrivals.values() for one in rows if one.recipient not in good.get(one.number, ())]
    print(f"{len(begun)} begun, {len(acknowledged)} acknowledged, {len(arrivals)} recipients reached, {len(lost)} lost")
    report.check("every acknowledged message came to each recipient", acknowledged and not lost, lost)
    report.check("none came to a part of its recipients", not halves, halves)
    report.check("each recipient got its own message alone", not wrong, wrong)
    return arrivals


def verify_twice(report, daemon, killer, sink, arrivals):
    """A second copy is right only where a kill came before the first could be written down: nothing says it was."""
    records = daemon.json("audit", "query", "--action", "mail.send", "--outcome", "done", "--limit", "1000000")
    written = collections.Counter(record["target"] for record in records)
    more = {to: count for to, count in written.items() if count != 1}
    report.check("each was written down as sent once", not more and set(written) == set(arrivals),
                 (more, set(written) ^ set(arrivals)))
    early = [record for record in records if record["target"] in arrivals
             and record["time"] / 1000 < arrivals[record["target"]][-1].at - 0.01]
    report.check("and not before it came for the last time", not early, early[:3])
    twice, unexplained, why = 0, [], collections.Counter()
    slowest = 0
    for to, rows in arrivals.items():
        for first, second in itertools.pairwise(rows):
            twice += 1
            kills = [kill for kill in killer.times if first.begun <= kill[0] <= min(first.at + COMMIT, second.begun)]
            if kills:
                why[kills[0][1]] += 1
                slowest = max(slowest, kills[0][0] - first.at)
            else:
                unexplained.append((first, second))
    kills = dict(collections.Counter(when for _, when in killer.times))
    print(f"{len(killer.times)} kills, {kills}; {twice} came twice, by kills {dict(why)}, the last of these "
          f"{slowest * 1000:.1f} ms after the reply")
    report.check("what came twice was not written down before the kill", not unexplained, unexplained[:3])
    most = 2 * sink.most * len(killer.times)  # a message has two good recipients at most
    report.check("at most what was on its way at a kill came twice", twice <= most, (twice, most))


def verify_notices(report, daemon, begun, acknowledged, arrivals):
    told = notices(daemon)
    refused = {(number, f"no-{number}@sink.test") for number in begun if number % 3 == 0}
    due = {(number, to) for number, to in refused if number in acknowledged or f"ok-{number}@sink.test" in arrivals}
    print(f"{len(due)} failures, {sum(told.values())} told")
    report.check("each failure was told", due and due <= set(told), sorted(due - set(told))[:10])
    report.check("none was told twice", max(told.values(), default=0) == 1,
                 [one for one in told.items() if one[1] > 1][:10])
    report.check("and nothing else was", set(told) <= due, sorted(set(told) - due)[:10])


def verify_store(report, daemon):
    rows = daemon.store.rows
    report.check("nothing is left of what was queued", rows("SELECT COUNT(*) FROM queued")[0][0] == 0)
    refs = rows("""SELECT COUNT(*) FROM blobs WHERE refs != (SELECT COUNT(*) FROM nodes WHERE blob = blobs.id)
        + (SELECT COUNT(*) FROM messages WHERE blob = blobs.id) + (SELECT COUNT(*) FROM queued WHERE blob = blobs.id)
        + (SELECT COUNT(*) FROM expunged WHERE blob = blobs.id)""")
    report.check("every reference to a content is counted", refs[0][0] == 0, refs)


def main():
    report, killer = Report("queue_crash"), Killer()
    port, = free_ports(1)
    sink = Sink(SINK, port, plan, lambda step, argument: chance.uniform(0, 0.02), killer.hear)
    dns = Dns(["a.test. MX 10 mx.a.test.", f"mx.a.test. A {SINK}", "sink.test. MX 10 mx.sink.test.",
               f"mx.sink.test. A {SINK}"])
    daemon = Daemon(f'[smtp.dns]\nservers = ["127.0.0.1:{dns.port}"]\n[smtp.outbound]\ndane = "off"\nport = {port}\nretry_least = 1\n'
                    'retry_most = 1\nrest_most = 1\nwarning = 0\nhourly = 0\n[auth]\ncleartext = "loopback"\n',
                    hostname="mx.a.test").start()
    daemon.cli("domain", "add", "a.test")
    daemon.add("alice", PASSWORD)
    numbers, senders = itertools.count(1), []
    for kill in range(KILLS):
        crew = [Sender(daemon, numbers) for _ in range(WORKERS)]
        for sender in crew:
            sender.start()
        killer.strike(daemon, kill)
        for sender in crew:
            sender.join(70)
        senders += crew
        daemon.start()
    begun = set().union(*(sender.begun for sender in senders))
    acknowledged = set().union(*(sender.acknowledged for sender in senders))
    try:
        empty(report, daemon)
    except TimeoutError as error:
        report.check("the queue is empty", False, (error, waits(daemon)[:5]))
    else:
        report.check("the queue is empty", True)
    arrivals = verify_arrivals(report, sink, begun, acknowledged)
    verify_twice(report, daemon, killer, sink, arrivals)
    verify_notices(report, daemon, begun, acknowledged, arrivals)
    verify_store(report, daemon)
    report.whole(daemon)
    report.check("the daemon ends in order", daemon.stop() == 0)
    sink.stop()
    if not report.failed:
        daemon.remove()
    report.end()


if __name__ == "__main__":
    main()
