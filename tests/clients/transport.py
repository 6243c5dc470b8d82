"""Mail between servers: two daemons find each other by a DNS of their own (unbound), and tell senders what became of
their messages."""

import email, imaplib, smtplib, ssl

from harness import Daemon, Report
from neighbours import Dns
from servers import comes, free_ports, wait

PASSWORD = "a long enough password"
A, B, DEAD = "127.0.0.11", "127.0.0.12", "127.0.0.13"


def main():
    report = Report("transport")
    port, = free_ports(1)
    dns = Dns(["a.test. MX 10 mx.a.test.", f"mx.a.test. A {A}", "b.test. MX 10 dead.b.test.", "b.test. MX 20 mx.b.test.",
               f"dead.b.test. A {DEAD}", f"mx.b.test. A {B}", "dead.test. MX 10 dead.b.test.", "null.test. MX 0 ."])
    outbound = (f'[smtp.dns]\nservers = ["127.0.0.1:{dns.port}"]\n[smtp.outbound]\ndane = "off"\nport = {port}\nretry_least = 1\nretry_most = 2\n'
                'rest_most = 2\nlifetime = 30\nwarning = 3\n[auth]\ncleartext = "loopback"\n')
    a = Daemon(outbound, hostname="mx.a.test", mail=(A, port)).start()
    b = Daemon(outbound, hostname="mx.b.test", mail=(B, port)).start()
    try:
        for daemon, domain, user in ((a, "a.test", "alice"), (b, "b.test", "bob")):
            daemon.cli("domain", "add", domain)
            daemon.add(user, PASSWORD)
        there(report, a, b)
        failing(report, a)
        report.whole(a)
        report.whole(b)
    finally:
        for daemon in (a, b):
            daemon.stop()
        print(a.log()[-3000:])
    report.end()


def submit(daemon, user, sender, to, content):
    with smtplib.SMTP("127.0.0.1", daemon.port["submission"]) as session:
        session.starttls(context=insecure())
        session.login(user, PASSWORD)
        return session.sendmail(sender, to, content)


def insecure():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def inbox(daemon, user):
    """The messages in INBOX."""
    session = imaplib.IMAP4("127.0.0.1", daemon.port["imap"])
    session.login(user, PASSWORD)
    count = int(session.select("INBOX", readonly=True)[1][0])
    parts = session.fetch("1:*", "(BODY.PEEK[])")[1] if count else []
    found = [part[1] for part in parts if isinstance(part, tuple)]
    session.logout()
    return [email.message_from_bytes(content) for content in found]


def waits(daemon):
    return daemon.json("queue", "list")["recipients"]


def there(report, a, b):
    content = "Subject: onward\r\n\r\n.\r\n..two\r\nend\r\n"
    submit(a, "alice", "alice@a.test", ["bob@b.test"], content)
    wait("bob has it", lambda: len(inbox(b, "bob")) == 1)
    came = inbox(b, "bob")[0]
    report.check("a message goes from one server to the other", came.get_payload() == ".\r\n..two\r\nend\r\n", came)
    received = came.get_all("Received")
    report.check("over TLS, though the first host is dead", len(received) == 2 and "TLS" in received[0], received)
    report.check("with one return path", came.get_all("Return-Path") == ["<alice@a.test>"], came.items())
    # It is taken before it is written down that it was.
    report.check("nothing waits", comes("nothing waits", lambda: waits(a) == []), waits(a))
    submit(a, "alice", "alice@a.test", ["bob@b.test", "alice@a.test"], content)
    wait("both have it", lambda: len(inbox(b, "bob")) == 2 and len(inbox(a, "alice")) == 1)
    report.check("a message goes here and there", True)


def failing(report, a):
    before = len(inbox(a, "alice"))
    to = ["nobody@b.test", "x@nowhere.test", "x@null.test"]
    submit(a, "alice", "alice@a.test", to, "Subject: comes back\r\nMessage-ID: <1@a.test>\r\n\r\ntext\r\n")
    wait("three notifications", lambda: len(inbox(a, "alice")) == before + 3)
    notices = inbox(a, "alice")[before:]
    statuses = set()
    for notice in notices:
        parts = notice.get_payload()
        fields = parts[1].get_payload()[1]
        statuses.add((fields["Final-Recipient"], fields["Action"], fields["Status"]))
        report.check("a notification has its parts", notice.get_content_type() == "multipart/report" and [
            part.get_content_type() for part in parts] == ["text/plain", "message/delivery-status", "message/rfc822"],
            notice)
        report.check("and the message", parts[2].get_payload()[0]["Message-ID"] == "<1@a.test>", notice)
    report.check("each recipient's status is told", statuses == {
        ("rfc822; nobody@b.test", "failed", "5.1.1"), ("rfc822; x@nowhere.test", "failed", "5.1.2"),
        ("rfc822; x@null.test", "failed", "5.1.10")}, statuses)
    before = len(inbox(a, "alice"))
    submit(a, "alice", "alice@a.test", ["x@dead.test"], "Subject: dead\r\n\r\ntext\r\n")
    wait("a warning", lambda: len(inbox(a, "alice")) == before + 1)
    warning = inbox(a, "alice")[-1].get_payload()[1].get_payload()[1]
    report.check("the sender is told that it takes long", warning["Action"] == "delayed" and "Will-Retry-Until" in warning,
                 warning)
    tries = waits(a)[0]["attempts"]
    wait("a failure", lambda: len(inbox(a, "alice")) == before + 2)
    report.check("it was tried again and again", tries >= 1, tries)
    failure = inbox(a, "alice")[-1].get_payload()[1].get_payload()[1]
    report.check("and that it is given up", (failure["Action"], failure["Status"][:1]) == ("failed", "4"), failure)
    report.check("nothing waits then", waits(a) == [], waits(a))


if __name__ == "__main__":
    main()
