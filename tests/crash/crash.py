#!/usr/bin/env python3
"""Kills the daemon with SIGKILL at random moments while FTPS, HTTPS PUT, SMTP and IMAP are all at work, restarts it,
and finds every acknowledged file and message, byte for byte, and no half-written one; every tagged OK of IMAP holds.

Usage: crash.py [KILLS]      (50 unless told)
"""

import base64, http.client, io, pathlib, random, smtplib, sys, threading, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
import ftps
from content import SEED, content, message, number_of
from harness import Daemon, Report
from mailboxes_after import Mailboxes

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 50
PASSWORD = "a long enough password"
AUTHORIZATION = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
print(f"seed {SEED}")


class Worker(threading.Thread):
    """Sends until the daemon is gone; notes what was begun and what was acknowledged."""

    def __init__(self, daemon, kind, counter):
        super().__init__(daemon=True)
        self.server, self.kind, self.counter = daemon, kind, counter
        self.begun, self.acknowledged = set(), set()

    def run(self):
        try:
            self.session()
        except (OSError, EOFError, http.client.HTTPException, smtplib.SMTPException, *ftps.ftplib.all_errors):
            pass  # killed under our hands

    def each(self, send):
        while True:
            number = next(self.counter)
            self.begun.add(number)
            if send(number):
                self.acknowledged.add(number)


class FtpsWorker(Worker):
    def session(self):
        client = ftps.login(self.server.port["ftp"], "alice", PASSWORD)

        def store(number):
            return client.storbinary(f"STOR f{number}", io.BytesIO(content("f", number))).startswith("226")
        self.each(store)


class HttpsWorker(Worker):
    def session(self):
        client = http.client.HTTPSConnection("127.0.0.1", self.server.port["https"], context=ftps.context(), timeout=60)

        def put(number):
            client.request("PUT", f"/dav/h{number}", content("h", number), {"Authorization": AUTHORIZATION})
            answer = client.getresponse()
            answer.read()
            return answer.status in (201, 204)
        self.each(put)


def send_to_both(client, content):
    """Sends a message to both, or to nobody: `sendmail` goes on with those recipients that are not put off."""
    client.ehlo_or_helo_if_needed()
    if (answer := client.mail("test@example.org"))[0] != 250:
        raise smtplib.SMTPSenderRefused(*answer, "test@example.org")
    for to in ("alice@localhost", "bob@localhost"):
        if (answer := client.rcpt(to))[0] != 250:
            raise smtplib.SMTPRecipientsRefused({to: answer})
    if (answer := client.data(content))[0] != 250:
        raise smtplib.SMTPDataError(*answer)
    return True


class SmtpWorker(Worker):
    def session(self):
        client = smtplib.SMTP("127.0.0.1", self.server.port["smtp"], timeout=60)
        self.each(lambda number: send_to_both(client, message("m", number)))


def verify_files(server, kind, workers, report):
    client = http.client.HTTPSConnection("127.0.0.1", server.port["https"], context=ftps.context(), timeout=60)
    begun = set().union(*(worker.begun for worker in workers))
    acknowledged = set().union(*(worker.acknowledged for worker in workers))
    lost, wrong, extra = [], [], 0
    for number in sorted(begun):
        client.request("GET", f"/dav/{kind}{number}", headers={"Authorization": AUTHORIZATION})
        answer = client.getresponse()
        found = answer.read()
        if answer.status == 404:
            lost += [number] if number in acknowledged else []
        elif answer.status != 200 or found != content(kind, number):
            wrong.append((number, answer.status, len(found)))
        else:
            extra += number not in acknowledged
    name = {"f": "FTPS", "h": "HTTPS"}[kind]
    print(f"{name}: {len(begun)} begun, {len(acknowledged)} acknowledged, {extra} more stored, "
          f"{len(lost)} lost, {len(wrong)} wrong")
    report.check(f"{name}: every acknowledged file is there", acknowledged and not lost, lost)
    report.check(f"{name}: every file there is whole", not wrong, wrong)


def verify_mail(server, workers, report):
    """Reads the store itself, since nothing else must be trusted to show it."""
    begun = set().union(*(worker.begun for worker in workers))
    acknowledged = set().union(*(worker.acknowledged for worker in workers))
    rows = server.store.rows("""SELECT accounts.name, data, place FROM messages JOIN mailboxes ON mailboxes.id = mailbox
        JOIN accounts ON accounts.id = account JOIN blobs ON blobs.id = messages.blob
        LEFT JOIN blob_data ON blob_data.blob = blobs.id
        WHERE accounts.name IN ('alice', 'bob') AND mailboxes.name = 'INBOX'""")
    found, wrong = {"alice": set(), "bob": set()}, []
    for name, data, place in rows:
        raw = bytes(data) if place is None else server.store.content(place)
        number = number_of(raw)
        found[name].add(number)
        if not raw.endswith(message("m", number)):  # a trace header comes before it
            wrong.append(number)
    lost = [(name, number) for name in found for number in acknowledged - found[name]]
    halves = found["alice"] ^ found["bob"]
    print(f"SMTP: {len(begun)} begun, {len(acknowledged)} acknowledged, "
          f"{len(found['alice'] - acknowledged)} more stored, {len(lost)} lost, {len(wrong)} wrong")
    report.check("SMTP: every acknowledged message is in both mailboxes", acknowledged and not lost, lost)
    report.check("SMTP: every message there is whole", not wrong, wrong)
    report.check("SMTP: no message reached one recipient alone", not halves, halves)
    uids = server.store.rows("SELECT COUNT(*) FROM messages JOIN mailboxes ON id = mailbox WHERE uid >= uidnext")
    report.check("SMTP: every UID lies below UIDNEXT", uids[0][0] == 0, uids)


def verify_blobs(server, report):
    """No row without its content, no content that is not what its name says, and nothing left of what was cut off."""
    rows, stored = server.store.rows, server.store.places()
    places = {place for place, in rows("SELECT place FROM blobs WHERE place IS NOT NULL")}
    # What was coming in when the daemon was killed is noted, and removed when nobody has seen it for an hour.
    strays = {place for place, in rows("SELECT place FROM strays")}
    report.check("every content has its row and every row its content", places <= stored <= places | strays,
                 (places - stored, stored - places - strays))
    refs = rows("""SELECT COUNT(*) FROM blobs WHERE refs != (SELECT COUNT(*) FROM nodes WHERE blob = blobs.id)
        + (SELECT COUNT(*) FROM messages WHERE blob = blobs.id)
        + (SELECT COUNT(*) FROM expunged WHERE blob = blobs.id)""")
    report.check("every reference is counted", refs[0][0] == 0, refs)
    used = rows("""SELECT COUNT(*) FROM accounts WHERE kind = 'user' AND used !=
        (SELECT COALESCE(SUM(size), 0) FROM nodes WHERE account = accounts.id) + (SELECT COALESCE(SUM(messages.size), 0)
        FROM messages JOIN mailboxes ON mailboxes.id = mailbox WHERE mailboxes.account = accounts.id)""")
    report.check("every quota counts what is there", used[0][0] == 0, used)


def main():
    report = Report("crash")
    server = Daemon().start()
    server.add("alice", PASSWORD)
    server.add("bob", PASSWORD)
    mailboxes = Mailboxes(server, "alice", PASSWORD)
    mailboxes.furnish()
    counters = {kind: iter(range(1_000_000)) for kind in (FtpsWorker, HttpsWorker, SmtpWorker)}
    workers = []
    for kill in range(KILLS):
        crew = [kind(server, kind.__name__[0], counter) for kind, counter in counters.items() for _ in range(2)]
        writers = mailboxes.crew()
        for worker in crew + writers:
            worker.start()
        time.sleep(random.uniform(0.05, 1.2))
        server.kill()
        for worker in crew + writers:
            worker.join(70)
        workers += crew
        server.start()
        mailboxes.verify(writers)
    print(f"{KILLS} kills")
    for kind, worker_class in (("f", FtpsWorker), ("h", HttpsWorker)):
        verify_files(server, kind, [worker for worker in workers if isinstance(worker, worker_class)], report)
    mailboxes.verify(again=True)
    mailboxes.report(report)
    audit = server.cli("audit", "verify", check=False)
    report.check("the audit log is whole", audit.returncode == 0, audit.stderr)
    print(audit.stdout.strip())
    server.stop()
    verify_mail(server, [worker for worker in workers if isinstance(worker, SmtpWorker)], report)
    verify_blobs(server, report)
    if not report.failed:
        server.remove()
    report.end()


if __name__ == "__main__":
    main()
