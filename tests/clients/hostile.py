#!/usr/bin/env python3
"""Servers that are broken or mean: whatever they say, a message is sent, kept or brought back as it is due, nothing is
taken for sent that was not taken, and nothing has no end."""

import re, time

from harness import Report
from hostile_cases import AGAIN, CASES, EARLY, LARGE, PLAIN, TLS
from neighbours import Dns, Sink, inbox, neighbour, notification, server_context, submit, waits
from servers import free_ports, wait

OURS = "127.0.0.40"
FIRST = 41  # the last number of the first address of theirs


class Played:
    """A case, its servers, and what became of it."""

    def __init__(self, number, case):
        self.case, self.domain = case, f"c{number}.test"
        self.hosts = [f"h{rank}.{self.domain}" for rank in range(len(case.servers))]
        self.sinks, self.addresses = [], []

    def records(self):
        mail = [f"{self.domain}. MX {10 * (rank + 1)} {host}." for rank, host in enumerate(self.hosts)]
        return mail + [f"{host}. A {address}" for host, address in zip(self.hosts, self.addresses)]

    def recipients(self):
        return [f"{name}@{self.domain}" for name in self.case.expected]

    def send(self, daemon):
        text = {PLAIN: b"text\r\n", EARLY: "gr\u00fc\u00dfe\r\n".encode(), LARGE: b"x" * 78 + b"\r\n"}[self.case.text]
        text *= 200_000 if self.case.text == LARGE else 1
        head = f"Subject: {self.domain}\r\nTo: user@{self.domain}\r\n\r\n".encode()
        return submit(daemon, "alice", "alice@ours.test", self.recipients(), head + text, self.case.options)


def main():
    report = Report("hostile")
    port, = free_ports(1)
    played, last = [], FIRST
    for number, case in enumerate(CASES):
        one = Played(number, case)
        one.addresses = [f"127.0.{1 + last // 250}.{1 + last % 250}" for last in range(last, last + len(case.servers))]
        last += len(case.servers)
        played.append(one)
    dns = Dns(["ours.test. MX 10 mx.ours.test.", f"mx.ours.test. A {OURS}",
               *(record for one in played for record in one.records())])
    # Nothing is tried a second time unless the test says so.
    daemon = neighbour(dns, port, "mx.ours.test", OURS, "ours.test", "alice",
                       outbound="retry_least = 600\nretry_most = 600\nwarning = 0")
    context = server_context(dns.folder, "mx.hostile.test")
    try:
        for one in played:
            one.sinks = [Sink(address, port, server.script, server.offers, context if server.tls == TLS else None)
                         if server else None for server, address in zip(one.case.servers, one.addresses)]
        for one in played:
            one.send(daemon)
        judge(report, daemon, played)
        later(report, daemon, [one for one in played if one.case in AGAIN])
        report.whole(daemon)
        stops(report, daemon)
        daemon.remove()
    finally:
        if daemon.process.poll() is None:
            daemon.kill()
        for sink in [sink for one in played for sink in one.sinks if sink]:
            sink.close()
        dns.stop()
    report.end()


def fates(daemon):
    """What the queue, the records and the notifications say of each recipient."""
    rows = {row["recipient"]: row for row in waits(daemon)}
    sent = {record["target"] for record in daemon.json("audit", "query", "--limit", "100000", "--action", "mail.send")
            if record["outcome"] == "done"}
    failed = {}
    for content in inbox(daemon, "alice"):
        whole, told = notification(content)
        for fields in told:
            if fields["Action"] == "failed":
                failed[fields["Final-Recipient"].partition("; ")[2]] = (fields["Status"], content)
    return rows, sent, failed


def judge(report, daemon, played):
    """Compares what became of each recipient with what should."""
    everyone = {recipient for one in played if not one.case.endless for recipient in one.recipients()}

    def settled():
        rows = [row for row in waits(daemon) if row["recipient"] in everyone]
        return all(row["said"] and not row["sending"] for row in rows)
    try:
        wait("each has been tried", settled, 90)
    except TimeoutError as error:
        report.check("each is tried in time", False, (error, [
            (row["recipient"], row["said"]) for row in waits(daemon) if row["sending"] or not row["said"]]))
    time.sleep(2)
    rows, sent, failed = fates(daemon)
    for one in played:
        for name, expected in one.case.expected.items():
            recipient = f"{name}@{one.domain}"
            seen = fate(rows.get(recipient), recipient in sent, failed.get(recipient))
            report.check(f"{one.case.name}: {name} is {expected}", re.fullmatch(expected, seen), seen)
        talks = [len(sink.talks) if sink else 0 for sink in one.sinks]
        taken = [len(sink.taken) if sink else 0 for sink in one.sinks]
        if one.case.talks is not None:
            report.check(f"{one.case.name}: so many conversations", talks == one.case.talks, (talks, verbs(one)))
        if one.case.taken is not None:
            report.check(f"{one.case.name}: so many messages", taken == one.case.taken, (taken, verbs(one)))
        for what, holds in one.case.also.items():
            report.check(f"{one.case.name}: {what}", holds(one.sinks, failed, recipient), (verbs(one), failed.get(
                recipient)))


def fate(row, sent, failed):
    if row and row["said"]:
        rest = (row["due"] - time.time() * 1000) / 1000
        return f"{'kept long' if rest > 900 else 'kept'}: {row['said']}"
    if row:
        return "being tried"
    if sent:
        return "sent"
    return f"failed {failed[0]}" if failed else "gone without a word"


def verbs(one):
    return [[(talk.verbs()[-12:], str(talk.over)) for talk in sink.talks] for sink in one.sinks if sink]


def later(report, daemon, again):
    """What was kept goes when the server has come to its senses, and goes once."""
    for one in again:
        daemon.cli("queue", "retry", "--domain", one.domain)
    recipients = [recipient for one in again for recipient in one.recipients()]
    try:
        wait("all goes", lambda: not any(row["recipient"] in recipients for row in waits(daemon)), 30)
    except TimeoutError:
        pass
    rows, sent, _ = fates(daemon)
    for one in again:
        recipient, = one.recipients()
        seen = fate(rows.get(recipient), recipient in sent, None)
        report.check(f"{one.case.name}: tried again, it is sent", seen == "sent", seen)
        taken = len(one.sinks[0].taken)
        report.check(f"{one.case.name}: it was taken once", taken == 1, taken)


def stops(report, daemon):
    """Servers that are silent do not keep the daemon from its end."""
    begun = time.monotonic()
    try:
        daemon.stop()
    except SystemExit as error:
        report.check("it stops though servers are silent", False, error)
    else:
        took = time.monotonic() - begun
        report.check("it stops though servers are silent", took < 45, took)


if __name__ == "__main__":
    main()
