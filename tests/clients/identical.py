"""One message, four ways out: what swaks has sent is the same octets over IMAP, over POP3, as a file under `Mail/`
by FTP and by HTTPS."""

import email, io, os, poplib, re, tempfile, urllib.parse

import ftps
from harness import Daemon, Report, run
from mailboxes import LETTERS, LONG, PASSWORD, SENT, append, good, held, login, trust, wire

tempfile.tempdir = "/var/tmp"
NAME = "alice"


def send(report, daemon):
    """By swaks: every kind of message as it stands, and one that swaks makes, with an attachment."""
    def swaks(what, *more):
        done = run("swaks", "--server", "127.0.0.1", "--port", daemon.port["smtp"], "--ehlo", "client.example", "--tls",
                   "--from", "sender@example.org", "--to", f"{NAME}@localhost", *more)
        report.check(f"swaks sends {what}", done.returncode == 0, done.stdout[-500:] + done.stderr)

    for number, content in enumerate(SENT, 1):
        path = daemon.folder / f"message{number}"
        # As it goes over the wire: swaks would tidy the header and take the last dot for its own.
        path.write_bytes(re.sub(rb"^\.", b"..", content, flags=re.M) + b".")
        subject = re.search(rb"Subject: (.*)\r", content)[1].decode()
        swaks(f"the message {subject!r}", "--no-data-fixup", "--data", f"@{path}")
    attached = daemon.folder / "attached"
    attached.write_bytes(os.urandom(300_000))
    swaks("an attachment of 300,000 octets", "--attach-type", "application/octet-stream", "--attach", f"@{attached}",
          "--body", f".\n..\n. dots\nGrüße\n{LONG}\n")
    return attached.read_bytes()


def by_imap(daemon, box):
    return {uid: content for uid, (_, content) in held(daemon, NAME, box).items()}


def by_pop3(daemon, uids):
    client = poplib.POP3_SSL("localhost", daemon.port["pop3s"], context=trust(daemon), timeout=60)
    client.user(NAME)
    client.pass_(PASSWORD)
    found = {uid: b"\r\n".join(client.retr(number)[1]) + b"\r\n" for number, uid in enumerate(uids, 1)}
    client.quit()
    return found


def by_name(name):
    """The UID that a file under `Mail/` is named by."""
    number = re.match(r"(\d+)[ .].*\.?eml$", name)
    return int(number[1]) if number else None


def by_ftp(daemon, box):
    """The contents and the names, by UID."""
    client = ftps.login(daemon.port["ftp"], NAME, PASSWORD)
    client.encoding = "utf-8"
    client.cwd(f"Mail/{box}")
    found, names = {}, {}
    for name in client.nlst():
        content = io.BytesIO()
        if (uid := by_name(name)) is not None:
            client.retrbinary(f"RETR {name}", content.write)
            found[uid], names[uid] = content.getvalue(), name
    client.quit()
    return found, names


def by_lftp(daemon, box):
    place = daemon.folder / "mirrored"
    script = ("set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "
              f"mirror 'Mail/{box}' {place}; exit")
    done = run("lftp", "-u", f"{NAME},{PASSWORD}", "-e", script, f"ftp://127.0.0.1:{daemon.port['ftp']}")
    return {by_name(path.name): path.read_bytes() for path in place.glob("*.eml")}, done


def by_https(daemon, box, names):
    found = {}
    for uid, name in names.items():
        got = daemon.folder / "got"
        url = f"https://localhost:{daemon.port['https']}/dav/" + urllib.parse.quote(f"Mail/{box}/{name}")
        run("curl", "-sSf", "--cacert", daemon.certificate, "-u", f"{NAME}:{PASSWORD}", "-o", got, url)
        found[uid] = got.read_bytes() if got.exists() else b""
        got.unlink(missing_ok=True)
    return found


def main():
    report, daemon = Report("identical"), Daemon().start()
    try:
        daemon.add(NAME, PASSWORD)
        attached = send(report, daemon)
        there = by_imap(daemon, "INBOX")
        report.check("IMAP gives what was sent, below the server's own lines", len(there) == len(SENT) + 1
                     and all(there[uid].endswith(content) for uid, content in enumerate(SENT, 1)), list(there))
        import email
        parts = [part.get_payload(decode=True) for part in email.message_from_bytes(there[len(there)]).walk()]
        report.check("and the attachment that swaks has made", attached in parts)
        report.check("POP3 gives the same octets", by_pop3(daemon, sorted(there)) == there)
        files, names = by_ftp(daemon, "INBOX")
        report.check("the files under Mail/INBOX by FTP are the same octets", files == there, names)
        mirrored, done = by_lftp(daemon, "INBOX")
        report.check("so they are when lftp mirrors them", mirrored == there, (sorted(map(str, mirrored)), done))
        report.check("by HTTPS they are the same octets", by_https(daemon, "INBOX", names) == there)
        with login(daemon, NAME) as client:
            good(client.create(wire(LETTERS)))
        append(daemon, NAME, LETTERS, SENT[1])
        files, names = by_ftp(daemon, LETTERS)
        report.check("what a client has stored is the file, with nothing added, in a mailbox with letters of all kinds",
                     files == {1: SENT[1]} and by_https(daemon, LETTERS, names) == files, (files, names))
        report.whole(daemon)
    finally:
        daemon.stop()
        daemon.remove()
    report.end()


main()
