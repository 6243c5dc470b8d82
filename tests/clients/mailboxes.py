"""What the tests of mail clients share: the messages, how they are put into accounts, and a judge, Python's imaplib
on a connection of its own, which says what the server really holds."""

import base64, email.utils, imaplib, random, re, smtplib, ssl

import servers  # makes the packages that tests/run installs importable

import installed
from imapclient import imap_utf7

PASSWORD = "a long enough password"
PLAIN, LETTERS = "Work 2026", "Größe & Maß 日本"
imaplib._MAXLINE = 10_000_000
LONG = "x" * 990


def message(number, subject, body, *headers):
    """A message of CRLF lines in 8-bit UTF-8."""
    date = email.utils.formatdate(1_790_000_000 + number * 3600)
    head = [f"From: Sender {number} <sender{number}@example.org>", "To: Reader <reader@localhost>",
            f"Subject: {subject}", f"Date: {date}", f"Message-ID: <{number}@example.org>", "MIME-Version: 1.0",
            *headers]
    if not any(header.startswith("Content-Type") for header in headers):
        head += ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
    return "\r\n".join([*head, "", *body, ""]).encode()


def attachment(size):
    octets = base64.encodebytes(random.Random(size).randbytes(size)).decode().split()
    return ["--edge", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "",
            "Siehe Anhang: ä",
            "--edge", "Content-Type: application/octet-stream; name=\"data.bin\"",
            "Content-Disposition: attachment; filename*=utf-8''d%C3%A4ta.bin", "Content-Transfer-Encoding: base64", "",
            *octets, "--edge--"]


def nested():
    inner = message(100, "inner", ["the message within"]).decode().split("\r\n")
    return ["--edge", "Content-Type: text/html; charset=utf-8", "", "<p>Größe</p>",
            "--edge", "Content-Type: message/rfc822", "", *inner, "--edge--"]


MIXED = "Content-Type: multipart/mixed; boundary=edge"
# What arrives by SMTP: each subject is one kind of trouble.
SENT = [message(1, "plain", ["Hello,", "", "a plain text about herrings."]),
        message(2, "=?utf-8?q?8bit_=C3=A4?=", ["Grüße aus Köln", "日本語 text"]),
        message(3, "attachment", attachment(100_000), MIXED),
        message(4, "dots", [".", "..", ".a line that begins with a dot", "", "."]),
        message(5, "long lines", [LONG, LONG + "yz", "short"]),
        message(6, "nested", nested(), MIXED),
        message(7, "Re: plain", ["about herrings again"], "In-Reply-To: <1@example.org>",
                "References: <1@example.org>"),
        message(8, "Re: plain", ["and again"], "References: <1@example.org> <7@example.org>")]
# What a client stores itself.
KEPT = [message(20 + number, f"kept {number}", [f"kept, number {number}"]) for number in range(4)]


def trust(daemon):
    return ssl.create_default_context(cafile=daemon.certificate)


def wire(name):
    """A mailbox's name as imaplib has to be given it: in modified UTF-7 and quoted."""
    return '"' + imap_utf7.encode(name).decode() + '"'


def login(daemon, name):
    client = imaplib.IMAP4_SSL("localhost", daemon.port["imaps"], ssl_context=trust(daemon), timeout=60)
    client.login(name, PASSWORD)
    return client


def good(answer):
    """The data of a command that must succeed."""
    status, data = answer
    if status != "OK":
        raise AssertionError((status, data))
    return data


def deliver(daemon, recipients, content, sender="sender@example.org"):
    if "smtp" not in daemon.port:  # Dovecot alone takes no mail
        for name in recipients:
            append(daemon, name, "INBOX", content)
        return
    with smtplib.SMTP("localhost", daemon.port["smtp"], local_hostname="client.example", timeout=60) as client:
        client.sendmail(sender, [f"{name}@localhost" for name in recipients], content, ["BODY=8BITMIME"])


def append(daemon, name, box, content, flags="", date=None):
    with login(daemon, name) as client:
        good(client.append(wire(box), flags, date, content))


def furnish(daemon, names):
    """Accounts with the same mail: SENT in INBOX, the second seen; KEPT in two more mailboxes, with flags and dates."""
    for name in names:
        daemon.add(name, PASSWORD, "--quota", "1G")
    for content in SENT:
        deliver(daemon, names, content)
    for name in names:
        with login(daemon, name) as client:
            for box in (PLAIN, LETTERS):
                good(client.create(wire(box)))
                good(client.subscribe(wire(box)))
            for content, box, flags in zip(KEPT, (PLAIN, PLAIN, LETTERS), ("(\\Seen \\Flagged)", "($Forwarded)", "")):
                good(client.append(wire(box), flags, '"05-Mar-2026 10:11:12 +0100"', content))
            good(client.select())
            good(client.store("2", "+FLAGS.SILENT", "(\\Seen)"))


class Held(dict):
    """A mailbox as it is on the server: flags (without \\Recent) and octets by UID."""

    def subjects(self):
        return sorted(re.search(rb"^Subject: (.*)\r$", content, re.M)[1].decode() for _, content in self.values())

    def find(self, subject):
        """The UID, flags and octets of the one message with this subject, or nothing."""
        line = f"\r\nSubject: {subject}\r\n".encode()
        found = [(uid, *value) for uid, value in self.items() if line in value[1]]
        return found[0] if len(found) == 1 else (None, frozenset(), b"")

    def bare(self):
        """The messages without the lines that the server put on top when it accepted them."""
        return sorted(content[content.index(b"From: Sender"):] for _, content in self.values())


def held(daemon, name, box="INBOX"):
    with login(daemon, name) as client:
        good(client.select(wire(box), readonly=True))
        found = Held()
        for item in good(client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")):
            if isinstance(item, tuple):
                line = item[0]
            else:
                line = (item or b"")
            uid, flags = re.search(rb"UID (\d+)", line), re.search(rb"FLAGS \((.*?)\)", line)
            if isinstance(item, tuple):
                last = int(uid[1])
                found[last] = [frozenset(), item[1]]
            if flags and found:
                found[last][0] = frozenset(flags[1].decode().split()) - {"\\Recent"}
        return found


def boxes(daemon, name):
    """The mailboxes' names."""
    with login(daemon, name) as client:
        lines = [line for line in good(client.list()) if isinstance(line, bytes)]
    return {imap_utf7.decode(re.search(rb'\) "?.{1,3}"? "?(.*?)"?$', line)[1]) for line in lines}
