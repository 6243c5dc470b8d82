"""Mail as files: what swaks delivered is read byte by byte below `Mail/` by lftp and curl, over FTPS and HTTPS, where
nobody can change it; what was expunged comes back with `wharfinger mail undelete`."""

import base64, ftplib, http.client, io, smtplib, urllib.parse

import ftps
from harness import run, tested

PASSWORD = "a long enough password"
INBOX = "/Mail/INBOX"


def deliver(daemon, messages):
    with smtplib.SMTP("127.0.0.1", daemon.port["smtp"], timeout=60) as client:
        for message in messages:
            client.sendmail("ann@example.org", ["alice@localhost"], message)


def messages():
    """Subjects that need care, and a message that is too large for a row."""
    subjects = ["plain", "=?utf-8?q?Gr=C3=BC=C3=9Fe_an_alle?=", "a/b\\c:d*e?f", "", "x" * 300]
    bodies = ["Hello.\r\n"] * 4 + ["line of a large message\r\n" * 100_000]
    for subject, body in zip(subjects, bodies):
        head = f"From: Ann <ann@example.org>\r\nTo: alice@localhost\r\n"
        yield head + (f"Subject: {subject}\r\n" if subject else "") + "\r\n" + body


NAMES = ["0000000001 plain.eml", "0000000002 Grüße an alle.eml", "0000000003 a_b_c_d_e_f.eml", "0000000004.eml",
         f"0000000005 {'x' * 80}.eml"]


class Https:
    def __init__(self, daemon):
        self.connection = http.client.HTTPSConnection("127.0.0.1", daemon.port["https"], context=ftps.context(),
                                                      timeout=60)
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()}

    def __call__(self, method, path, body=None):
        self.connection.request(method, "/dav" + urllib.parse.quote(path), body, self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read(), answer.headers


def reading(report, daemon, sent):
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    report.check("the home has the folder Mail", client.nlst() == ["Mail"], client.nlst())
    client.cwd(INBOX)
    report.check("ftplib lists the messages by number and subject", client.nlst() == NAMES, client.nlst())
    facts = [facts["perm"] for _, facts in client.mlsd("", ["perm"])]
    report.check("and tells that they can only be read", set(facts) == {"r"}, facts)
    client.quit()
    back = daemon.folder / "mirror"
    done = run("lftp", "-u", f"alice,{PASSWORD}", "-e", "set ssl:verify-certificate no; set ftp:ssl-force yes; "
               f"set ftp:ssl-protect-data yes; mirror Mail {back}; exit", f"ftp://127.0.0.1:{daemon.port['ftp']}")
    found = {path.name: path.read_bytes() for path in (back / "INBOX").glob("*")}
    report.check("lftp mirrors Mail/", done.returncode == 0 and sorted(found) == NAMES, (done, sorted(found)))
    folders = sorted(path.name for path in back.iterdir())
    report.check("with a folder for each mailbox", folders == ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"],
                 folders)
    # The server puts its own fields before what was sent.
    whole = [found.get(name, b"").endswith(content.encode()) for name, content in zip(NAMES, sent)]
    report.check("each ends with what was sent", all(whole), whole)
    web, different = Https(daemon), []
    for name in NAMES:
        target = daemon.folder / "one.eml"
        url = f"https://127.0.0.1:{daemon.port['https']}/dav{INBOX}/{urllib.parse.quote(name)}"
        run("curl", "-sSfk", "-u", f"alice:{PASSWORD}", "-o", target, url)
        status, content, headers = web("GET", f"{INBOX}/{int(name[:10])}.eml")
        if not (target.read_bytes() == content == found.get(name) and headers["content-length"] == str(len(content))):
            different.append((name, status))
    report.check("curl reads the same bytes over HTTPS, and so does who asks by the number alone", not different,
                 different)
    index = web("GET", INBOX + "/")[1].decode()
    report.check("the folder's page links to them", all(urllib.parse.quote(name) in index for name in NAMES[:1]), index)
    etag = web("HEAD", INBOX + "/1.eml")[2]["etag"]
    report.check("with an ETag that holds", etag and etag == web("HEAD", INBOX + "/1 x.eml")[2]["etag"], etag)


def refusing(report, daemon):
    web, client = Https(daemon), ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    for method, path, body in (("PUT", "/1.eml", b"x"), ("PUT", "/new.eml", b"x"), ("DELETE", "/1.eml", None),
                               ("DELETE", "", None), ("MKCOL", "/new", None)):
        status, text, _ = web(method, INBOX + path, body)
        report.check(f"{method} of {INBOX}{path} is 403", status == 403 and b"IMAP" in text, (status, text))
    web("PUT", "/mine", b"mine")
    tries = {"STOR": lambda: client.storbinary(f"STOR {INBOX}/1.eml", io.BytesIO(b"x")),
             "APPE": lambda: client.storbinary(f"APPE {INBOX}/1.eml", io.BytesIO(b"x")),
             "DELE": lambda: client.delete(f"{INBOX}/1.eml"), "RMD": lambda: client.rmd("/Mail"),
             "MKD": lambda: client.mkd("/Mail/new"),
             "MFMT": lambda: client.sendcmd(f"MFMT 20200101000000 {INBOX}/1.eml"),
             "RNTO out of it": lambda: client.rename(f"{INBOX}/1.eml", "/stolen"),
             "RNTO into it": lambda: client.rename("/mine", f"{INBOX}/mine")}
    for name, attempt in tries.items():
        try:
            seen = attempt()
        except ftplib.Error as error:
            seen = str(error)
        report.check(f"{name} is 550", seen.startswith("550 ") and "IMAP" in seen, seen)
    client.cwd(INBOX)
    report.check("and nothing has changed", client.nlst() == NAMES, client.nlst())
    records = daemon.json("audit", "query", "--outcome", "refused")
    report.check("each refusal is in the audit log", len(records) == 13, [record["action"] for record in records])


def undelete(report, daemon):
    """The rows that an expunge leaves, as IMAP makes them."""
    def mail(*more):
        return daemon.json("mail", "undelete", "alice", *more)

    report.check("nothing was expunged yet", mail("--list") == {"messages": [], "more": False}, mail("--list"))
    kept = Https(daemon)("GET", INBOX + "/2.eml")[1]
    daemon.stop()
    rows = daemon.store.rows
    rows("""INSERT INTO expunged (mailbox, modseq, uid, account, name, at, flags, received, blob, size, thread)
            SELECT mailbox, highestmodseq + 1, uid, account, name, saved, flags, received, blob, size, thread
            FROM messages JOIN mailboxes ON mailboxes.id = mailbox WHERE uid <= 3""")
    rows("DELETE FROM messages WHERE uid <= 3")
    rows("UPDATE mailboxes SET highestmodseq = highestmodseq + 1, messages = 2 WHERE name = 'INBOX'")
    listed = mail("--list")["messages"]
    seen = [(each["mailbox"], each["uid"], each["from"], each["subject"]) for each in listed]
    report.check("without the daemon, what was expunged is listed", seen[:2] == [
        ("INBOX", 1, "ann@example.org", "plain"), ("INBOX", 2, "ann@example.org", "Grüße an alle")], seen)
    text = daemon.cli("mail", "undelete", "alice", "--list").stdout
    report.check("for people in lines", len(text.splitlines()) == 3 and "Grüße an alle" in text, text)
    report.check("one message is restored by its UID", mail("--mailbox", "INBOX", "--uid", "2") == {"restored": 1})
    daemon.start()
    again = Https(daemon)("GET", INBOX + "/6.eml")[1]
    report.check("and has a new UID and its old content", again == kept and kept, again)
    report.check("another mailbox's name finds nothing", mail("--mailbox", "Sent") == {"restored": 0})
    report.check("within the daemon, the others are restored", mail("--since", "1h") == {"restored": 2})
    report.check("once", mail() == {"restored": 0} and mail("--list")["messages"] == [])
    nobody = daemon.cli("mail", "undelete", "nobody", check=False)
    report.check("an unknown account is named", nobody.returncode == 1 and "nobody" in nobody.stderr, nobody.stderr)


def main():
    with tested("browse") as (report, daemon):
        daemon.add("alice", PASSWORD)
        sent = list(messages())
        deliver(daemon, sent)
        reading(report, daemon, sent)
        refusing(report, daemon)
        undelete(report, daemon)


main()
