#!/usr/bin/env python3
"""Two nodes on one PostgreSQL and one bucket share the outbound queue: one is killed while both send; nothing is lost,
nothing that was confirmed and written down is sent twice, and the other one takes over what the killed one had claimed.

Usage: queue_nodes.py [MESSAGES]      (2000 unless told)
"""

import collections, itertools, os, random, signal, smtplib, sys, threading, time

from harness import Daemon, Report, Shared
from servers import comes, free_ports, wait
from sink import Sink
from transport import Dns, PASSWORD, inbox, waits

MESSAGES = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 2000
SINK, DEAD = "127.0.0.41", "127.0.0.42"
EACH = 20  # connections of a node to one destination
FREED = 150  # how long what a killed node had claimed may stay so
WARNING = 20
LATE = 60  # messages to a destination that is dead
LONG = 12  # how long the sink thinks about who is slow
STALLED = 110  # how long it thinks about a message when it is told to, in seconds: longer than a node may be silent
SENDERS = 3


def plan(step, argument):
    if step == "rcpt" and argument.startswith(("no-", "slow-")):
        return "550 5.1.1 nobody of this name"
    return None


stalls = []  # the recipients whose next message the sink thinks about


def delay(step, argument):
    if step == "data" and stalls:
        stalls.pop()
        return STALLED
    if step == "rcpt" and argument.startswith("slow-"):
        return LONG
    return random.uniform(0.1, 0.6) if step == "end" else 0


class Sender(threading.Thread):
    """Submits on one node until there is nothing left or the node is gone."""

    def __init__(self, node, numbers):
        super().__init__(daemon=True)
        self.node, self.numbers, self.begun, self.acknowledged = node, numbers, set(), set()

    def run(self):
        try:
            with smtplib.SMTP("127.0.0.1", self.node.port["submission"], timeout=60) as session:
                session.login("alice", PASSWORD)
                for number in self.numbers:
                    self.begun.add(number)
                    text = f"Subject: {number}\r\nX-Number: {number}\r\n\r\n" + f"line of {number}\r\n" * (number % 500)
                    if not session.sendmail("alice@a.test", recipients(number), text):
                        self.acknowledged.add(number)
        except (OSError, smtplib.SMTPException):
            pass  # killed under our hands


class Numbers:
    """Each number once, whichever thread asks."""

    def __init__(self, most):
        self.numbers, self.lock = iter(range(1, most + 1)), threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            return next(self.numbers)


def recipients(number):
    return [f"ok-{number}@sink.test"] + ([f"no-{number}@sink.test"] if number % 20 == 0 else [])


def told(node, action="failed"):
    """How often each recipient was told of."""
    found = collections.Counter()
    for notice in inbox(node, "alice"):
        for fields in notice.get_payload()[1].get_payload()[1:]:
            found[fields["Final-Recipient"].removeprefix("rfc822; ")] += fields["Action"] == action
    return +found


def claimed(store):
    """How many rows each process has claimed."""
    rows = store.rows("SELECT holder, COUNT(*) FROM queue WHERE holder <> '' GROUP BY holder")
    return {holder.split()[0]: count for holder, count in rows}


def one_killed(report, one, two, sink):
    """Both take mail and send it, until one is killed; when, and what it had claimed."""
    numbers = Numbers(MESSAGES)
    crew = [Sender(node, numbers) for node in (one, two) for _ in range(SENDERS)]
    for sender in crew:
        sender.start()
    wait("half of it came", lambda: len(sink.taken) >= MESSAGES // 2, 600)
    clients = collections.Counter(taken.client for taken in sink.taken)
    one.process.kill()
    one.process.wait()
    at = time.time()  # the other one takes over what was claimed much later
    held = claimed(two.store)
    print(f"killed after {len(sink.taken)} had come, {dict(clients)}; claimed: {held}; {sink.most} connections at most")
    for sender in crew:
        sender.join(300)
    report.check("both nodes send", min(clients["mx1.a.test"], clients["mx2.a.test"]) > MESSAGES // 20, clients)
    # Those of the node that is gone may have left a number that nobody sent.
    begun = set().union(*(sender.begun for sender in crew))
    acknowledged = set().union(*(sender.acknowledged for sender in crew))
    report.check("the other node takes all that clients have", len(begun) == MESSAGES
                 and len(acknowledged) >= MESSAGES - SENDERS, (len(begun), len(acknowledged)))
    return at, held, begun, acknowledged


def taken_over(report, two, at, held):
    """The other node sends the rest, and in the end also what the killed one had claimed."""
    wait("what nobody had claimed is sent", lambda: set(claimed(two.store)) <= {"n1"} and all(
        row["sending"] for row in waits(two)), 300)
    freed = comes("the rest", lambda: not waits(two), FREED)
    what = f"what the killed node had claimed is taken over within {FREED} s"
    report.check(what, freed and held.get("n1"), (claimed(two.store), held))
    if not freed:
        # As if its time were over: all else can be looked at.
        two.store.rows("UPDATE queue SET due = 0 WHERE holder LIKE 'n1 %'")
    wait("the queue is empty", lambda: not waits(two), 300)
    print(f"all was sent {time.time() - at:.0f} s after the kill")


def verify(report, two, sink, at, begun, acknowledged):
    arrivals = sink.arrivals()
    lost = [number for number in acknowledged if f"ok-{number}@sink.test" not in arrivals]
    wrong = [one for one in sink.taken if one.recipient != f"ok-{one.number}@sink.test" or one.number not in begun]
    print(f"{len(begun)} begun, {len(acknowledged)} acknowledged, {len(arrivals)} reached, {len(lost)} lost")
    report.check("nothing is lost", acknowledged and not lost, lost[:10])
    report.check("each recipient got its own message alone", not wrong, wrong[:3])
    records = [record for record in two.json("audit", "query", "--action", "mail.send", "--limit", "1000000")
               if record["outcome"] == "done"]
    written = collections.Counter(record["target"] for record in records)
    report.check("each was written down as sent once", set(written) == set(arrivals) and max(written.values()) == 1,
                 [one for one in written.items() if one[1] > 1][:5])
    by = {record["target"]: record for record in records}
    twice = [pair for rows in arrivals.values() for pair in itertools.pairwise(rows)]
    wrong = [(first, second) for first, second in twice if not (
        (first.client, second.client) == ("mx1.a.test", "mx2.a.test") and first.begun <= at <= second.begun
        and by[first.recipient]["node"] == "n2" and by[first.recipient]["time"] / 1000 > second.ended)]
    print(f"{len(twice)} came twice")
    report.check("only what the killed node had not written down came twice", not wrong, wrong[:3])
    report.check("and of that, one for each of its connections at most", len(twice) <= EACH, len(twice))
    found = told(two)
    due = {f"no-{number}@sink.test" for number in begun if number % 20 == 0
           and (number in acknowledged or f"ok-{number}@sink.test" in arrivals)}
    report.check("each failure is told once", set(found) == due and set(found.values()) == {1},
                 (set(found) ^ due, [one for one in found.items() if one[1] > 1][:10]))


def lost_claim(report, one, two):
    """Who has lost a claim while a server thought long tells nobody what became of it: who has it now does."""
    before = told(two)
    with smtplib.SMTP("127.0.0.1", one.port["submission"]) as session:
        session.login("alice", PASSWORD)
        session.sendmail("alice@a.test", ["slow-1@sink.test"], "Subject: slow\r\n\r\ntext\r\n")
    wait("it is claimed", lambda: claimed(two.store), 30)
    time.sleep(1)
    # As if its time were over.
    two.store.rows("UPDATE queue SET due = 0 WHERE holder <> ''")
    wait("it is told", lambda: not waits(two), 60)
    time.sleep(2 * LONG)
    new = told(two) - before
    report.check("a failure that two have seen is told once", new == {"slow-1@sink.test": 1}, new)


def paused(report, one, two, sink):
    """A node that stood still while the other one sent what it had claimed does not send it as well."""
    stalls.append("paused@sink.test")
    with smtplib.SMTP("127.0.0.1", one.port["submission"]) as session:
        session.login("alice", PASSWORD)
        session.sendmail("alice@a.test", ["paused@sink.test"], "Subject: paused\r\nX-Number: 0\r\n\r\ntext\r\n")
    begun = time.time()
    wait("a server thinks about it", lambda: not stalls, 60)
    holder = next(iter(claimed(two.store)))
    still, other = (one, two) if holder == "n1" else (two, one)
    os.kill(still.process.pid, signal.SIGSTOP)
    try:
        wait("the other one sends it", lambda: not waits(other), STALLED)
    finally:
        os.kill(still.process.pid, signal.SIGCONT)
    print(f"{holder} stood still for {time.time() - begun:.0f} s")
    time.sleep(max(0, begun + STALLED + 10 - time.time()))
    taken = [one for one in sink.taken if one.recipient == "paused@sink.test"]
    report.check("what a node had claimed before it stood still comes once", len(taken) == 1, taken)


def late(report, one, two):
    """Both nodes see that messages are late; one of them says so."""
    with smtplib.SMTP("127.0.0.1", one.port["submission"]) as session:
        session.login("alice", PASSWORD)
        for number in range(LATE):
            session.sendmail("alice@a.test", [f"late-{number}@dead.test"], "Subject: late\r\n\r\ntext\r\n")
    due = {f"late-{number}@dead.test" for number in range(LATE)}

    def warned():
        return {to: count for to, count in told(two, "delayed").items() if to in due and count}
    wait("all are warned of", lambda: set(warned()) == due, 3 * WARNING)
    time.sleep(WARNING)
    report.check("that a message is late is told once, though both nodes see it", set(warned().values()) == {1},
                 {to: count for to, count in warned().items() if count > 1})

    def dropped():
        two.cli("queue", "drop", "--all", check=False)
        return not waits(two)
    # What is being tried at that moment stays.
    wait("what is dropped is gone", dropped, 30)


def main():
    report, store = Report("queue_nodes"), Shared()
    port, = free_ports(1)
    sink = Sink(SINK, port, plan, delay)
    dns = Dns(["a.test. MX 10 mx.a.test.", f"mx.a.test. A {SINK}", "sink.test. MX 10 mx.sink.test.",
               f"mx.sink.test. A {SINK}", "dead.test. MX 10 mx.dead.test.", f"mx.dead.test. A {DEAD}"])
    settings = (f'[smtp.dns]\nservers = ["127.0.0.1:{dns.port}"]\n[smtp.outbound]\ndane = "off"\nport = {port}\nretry_least = 1\n'
                f'retry_most = 1\nrest_most = 1\nwarning = {WARNING}\nhourly = 0\n'
                f'per_destination = {EACH}\n[auth]\ncleartext = "loopback"\n')
    one, two = (Daemon(f'node = "n{number}"\n{settings}', store=store, hostname=f"mx{number}.a.test").start()
                for number in (1, 2))
    one.cli("domain", "add", "a.test")
    one.add("alice", PASSWORD)
    at, held, begun, acknowledged = one_killed(report, one, two, sink)
    taken_over(report, two, at, held)
    verify(report, two, sink, at, begun, acknowledged)
    one.start()
    lost_claim(report, one, two)
    paused(report, one, two, sink)
    late(report, one, two)
    for node in (one, two):
        report.whole(node)
        report.check("the daemon ends in order", node.stop() == 0)
    sink.stop()
    if not report.failed:
        one.remove()
        two.remove()
    report.end()


if __name__ == "__main__":
    main()
