#!/usr/bin/env python3
"""Dead destinations: how often they are tried, what the sender is told and can read in mutt, that they keep nobody
else's mail from going, and that no notification is sent about a notification."""

import collections, email.utils, itertools, re, smtplib, statistics, threading, time

from harness import Daemon, Report
from mutt import on_terminal
from servers import free_ports, wait
from sink import CLOSE, Sink
from transport import Dns, PASSWORD, inbox, waits

LEAST, MOST, REST, LIFETIME, WARNING, NOTIFICATION = 2, 8, 6, 40, 9, 15
LOOK = 5  # how often the queue is looked at for what nothing tells of
SLACK = 0.7
LATE = 4  # that a machine may stand still for; a rest is 6
HOSTS = {name: f"127.0.0.{number}" for number, name in
         enumerate(("living", "closing", "busy", "later", "storm", "bounce"), 31)}
FIRST = 5  # connections at once to who is not known yet
CROWD = 40


def closing(step, argument):
    return CLOSE


def busy(step, argument):
    return "421 4.3.2 not now"


def later(step, argument):
    return "451 4.7.1 come again" if step == "rcpt" else None


def submit(daemon, user, to, subject):
    """When it was acknowledged."""
    with smtplib.SMTP("127.0.0.1", daemon.port["submission"]) as session:
        session.login(user, PASSWORD)
        text = f"From: {user}@a.test\r\nSubject: {subject}\r\nMessage-ID: <{subject}@a.test>\r\n\r\ntext\r\n"
        session.sendmail(f"{user}@a.test", [to], text)
        return time.time()


class Crowd(threading.Thread):
    """Sends one message after another to a destination that is dead, and as many to one that lives."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.server, self.sent = daemon, {}

    def run(self):
        for number in range(CROWD):
            submit(self.server, "bob", f"x{number}@storm.test", f"storm{number}")
            to = f"x{number}@living.test"
            self.sent[to] = submit(self.server, "bob", to, f"living{number}")
            time.sleep(0.4)


def notices(daemon, user):
    """What a user was told, by the subject of the message, in order: (action, status, notification)."""
    told = collections.defaultdict(list)
    for notice in inbox(daemon, user):
        _, status, content = notice.get_payload()
        original = content.get_payload()
        subject = original[0]["Subject"] if content.get_content_type() == "message/rfc822" else original.split(
            "Subject: ")[1].split("\r\n")[0]
        for fields in status.get_payload()[1:]:
            told[subject].append((fields["Action"], fields["Status"], notice))
    return told


def verify_tries(report, name, sink, sent):
    """Each try waits as long as the message is old, within the bounds, a tenth more or less; a rest may make that
    longer."""
    times = sink.connections
    gaps, wrong = list(itertools.pairwise(times)), []
    for number, (one, next) in enumerate(gaps, 1):
        due = min(max(one - sent, LEAST), MOST)
        most = max(1.1 * due, REST) if name != "later" and number >= FIRST else 1.1 * due
        last = next >= sent + LIFETIME - SLACK
        if not (0.9 * due - 1 <= next - one or last) or next - one > most + LATE:
            wrong.append((number, round(due, 2), round(next - one, 2)))
    print(f"{name}: tried {', '.join(f'{at - sent:.1f}' for at in times)} s after it came")
    report.check(f"{name}: it is tried when it should be", not wrong and len(times) >= 5, wrong)
    report.check(f"{name}: at once, and not after its time", times[0] - sent < LATE and
                 times[-1] < sent + LIFETIME + LOOK + LATE, (times[0] - sent, times[-1] - sent))


def verify_told(report, name, told, sent):
    actions = [action for action, *_ in told]
    report.check(f"{name}: one warning comes, and one notification that it is given up",
                 actions == ["delayed", "failed"], actions)
    for action, status, notice in told:
        after = email.utils.parsedate_to_datetime(notice["Date"]).timestamp() - sent
        due = {"delayed": WARNING, "failed": LIFETIME}[action]
        report.check(f"{name}: {action} is told in time", due - 2 <= after <= due + LOOK + LATE, after)
        structure = [part.get_content_type() for part in notice.get_payload()]
        report.check(f"{name}: {action} is a report", notice.get_content_type() == "multipart/report"
                     and notice.get_param("report-type") == "delivery-status"
                     and structure[:2] == ["text/plain", "message/delivery-status"] and len(structure) == 3, structure)
        report.check(f"{name}: {action} has a status that is not for ever", status.startswith("4."), status)
        report.check(f"{name}: {action} comes from nobody", notice.get_all("Return-Path") == ["<>"]
                     and notice["Auto-Submitted"] == "auto-replied", notice.items())


def verify_storm(report, sink, crowd, told, living):
    times = sink.connections
    most = max(sum(at <= other < at + REST - SLACK for other in times) for at in times)
    print(f"storm: {len(times)} connections for {CROWD} messages, {most} of them at most within a rest")
    # A rest begins with as many failures as there are connections; as many may be on their way then.
    report.check("a crowd for a dead destination makes no crowd of connections", most <= 2 * FIRST + 1, most)
    times = len(times) <= (LIFETIME + LOOK + CROWD * 0.5) / REST * (FIRST + 1) + FIRST
    report.check("nor do its messages each try by themselves", times, len(sink.connections))
    wrong = {f"storm{number}": [action for action, *_ in told[f"storm{number}"]] for number in range(CROWD)}
    wrong = {subject: actions for subject, actions in wrong.items() if actions != ["delayed", "failed"]}
    report.check("each of them is told of once as late and once as given up", not wrong, wrong)
    arrivals = living.arrivals()
    waited = [rows[0].at - crowd.sent[to] for to, rows in arrivals.items() if to in crowd.sent]
    print(f"living: {len(waited)} messages, the slowest after {max(waited, default=0) * 1000:.0f} ms")
    report.check("a living destination gets its mail at once meanwhile", len(waited) == CROWD and max(waited) < LATE
                 and statistics.median(waited) < 1,
                 sorted(waited)[-5:])
    report.check("and once", all(len(rows) == 1 for rows in arrivals.values()))


def verify_bounce(report, daemon, sink):
    """What was forwarded in vain came from bounce.test, which is dead."""
    records = [record for record in daemon.json("audit", "query", "--action", "mail", "--limit", "100000")
               if "bounce.test" in record["target"] + record["detail"] or "gone" in record["target"]]
    ends = [record["outcome"] for record in records
            if record["target"] == "r@bounce.test" and record["action"] == "mail.send"]
    report.check("a notification to a dead destination is tried and given up", ends == ["failed"]
                 and len(sink.connections) >= 3, records)
    report.check("nobody is told of that", records and "r@bounce.test" in records[-1]["target"]
                 and records[-1]["action"] == "mail.send", records[-3:])
    queued = [record["detail"] for record in records
              if record["action"] == "mail.queue" and record["target"] == "r@bounce.test"]
    report.check("a notification goes out from nobody", len(queued) == 1 and queued[0].startswith("from=<> "), queued)


def by_mutt(report, daemon):
    settings = daemon.folder / "muttrc"
    settings.write_text(f"""
set folder = "imap://alice@localhost:{daemon.port['imap']}/" spoolfile = "+INBOX"
set imap_user = "alice" imap_pass = "{PASSWORD}" ssl_starttls = no ssl_force_tls = no
set header_cache = "" tmpdir = "{daemon.folder}" record = "" move = no quit = yes wait_key = no beep = no timeout = 2
set sort = mailbox-order charset = "utf-8" sleep_time = 0 attach_format = "%n %m/%M"
ignore *
unignore from to subject
""")

    def screen(keys):
        # It is looked at and left alone.
        _, seen = on_terminal(["mutt", "-n", "-R", "-F", settings, "-e", f'push "{keys}"'], 20)
        return re.sub(r"\x1b[()]?[\[\]?\d;]*[A-Za-z]", " ", seen)

    opened = "<limit>~s came ~x closing@a.test<enter>"
    seen = screen(f"{opened}<display-message>")
    report.check("mutt shows the notification as a sentence", all(text in seen for text in (
        "Your message could not be delivered to the recipients below", "x@closing.test",
        "the connection to mx.closing.test")), seen[-2500:])
    seen = screen(f"{opened}<display-message><half-down>")
    report.check("mutt shows its fields", all(text in seen for text in (
        "Final-Recipient: rfc822; x@closing.test", "Action: failed", "Status: 4.4.7")), seen[-2500:])
    seen = screen(f"{opened}<view-attachments>")
    report.check("mutt lists its parts", all(text in seen for text in (
        "text/plain", "message/delivery-status", "message/rfc822")), seen[-2500:])


def forwarded(daemon):
    """A message from a dead domain that is forwarded to where nobody is: its sender must be told, and cannot be."""
    daemon.cli("alias", "add", "gone@a.test", "x@nowhere.test")
    with smtplib.SMTP("127.0.0.1", daemon.port["smtp"]) as session:
        session.sendmail("r@bounce.test", ["gone@a.test"], "From: r@bounce.test\r\nSubject: gone\r\n\r\ntext\r\n")


def main():
    report = Report("queue_dead")
    port, = free_ports(1)
    plans = {"closing": closing, "busy": busy, "later": later, "storm": closing, "bounce": busy}
    sinks = {name: Sink(address, port, plans.get(name)) for name, address in HOSTS.items()}
    records = [record for name, address in HOSTS.items()
               for record in (f"{name}.test. MX 10 mx.{name}.test.", f"mx.{name}.test. A {address}")]
    dns = Dns(["a.test. MX 10 mx.a.test.", "mx.a.test. A 127.0.0.30", *records])
    daemon = Daemon(f'[smtp.dns]\nservers = ["127.0.0.1:{dns.port}"]\n[smtp.outbound]\ndane = "off"\nport = {port}\n'
                    f'retry_least = {LEAST}\nretry_most = {MOST}\nrest_most = {REST}\nlifetime = {LIFETIME}\n'
                    f'notification_lifetime = {NOTIFICATION}\nwarning = {WARNING}\n[auth]\ncleartext = "loopback"\n',
                    hostname="mx.a.test").start()
    try:
        daemon.cli("domain", "add", "a.test")
        for user in ("alice", "bob"):
            daemon.add(user, PASSWORD)
        forwarded(daemon)
        sent = {name: submit(daemon, "alice", f"x@{name}.test", name) for name in ("closing", "busy", "later")}
        crowd = Crowd(daemon)
        crowd.start()
        crowd.join()
        wait("the queue is empty", lambda: not waits(daemon), LIFETIME + 2 * LOOK + 60)
        told = notices(daemon, "alice")
        for name, at in sent.items():
            verify_tries(report, name, sinks[name], at)
            verify_told(report, name, told[name], at)
        report.check("nobody is told anything else", set(told) == set(sent), set(told))
        verify_storm(report, sinks["storm"], crowd, notices(daemon, "bob"), sinks["living"])
        verify_bounce(report, daemon, sinks["bounce"])
        by_mutt(report, daemon)
        report.whole(daemon)
    finally:
        daemon.stop()
        for sink in sinks.values():
            sink.stop()
    if not report.failed:
        daemon.remove()
    report.end()


if __name__ == "__main__":
    main()
