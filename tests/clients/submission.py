#!/usr/bin/env python3
"""What users send: completed, signed, within limits, and in nobody else's name; and what DNS must say for it."""

import email, email.utils, os, re, smtplib, time

import installed
import dkim

import submission_domain
from filters_world import answer
from harness import Report, run
from neighbours import PASSWORD, Sink, insecure, inbox, neighbour
from servers import free_ports, wait
from zones import Zones

OURS, OUT = "127.0.0.51", "127.0.0.52"
PARTS = os.environ.get("PARTS", "").split()  # some of the functions below; all without it


class World:
    def __init__(self):
        self.address, self.zones, (self.port,) = OURS, Zones(), free_ports(1)
        self.sink = Sink(OUT, self.port, offers=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 50000000", "DSN"))
        self.daemon = neighbour(self.zones, self.port, "mx.a.test", OURS, "a.test", "anna", "adam", more="[smtp]\n"
                                'max_errors = 100000\nmax_message = "1M"\n')
        self.daemon.cli("domain", "add", "second.test")
        for address, *names in (("sales@a.test", "anna"), ("info@second.test", "anna"), ("team@a.test", "anna", "adam"),
                                ("boss@a.test", "adam")):
            self.daemon.cli("alias", "add", address, *names)
        self.publish()

    def publish(self, leave=()):
        """DNS has what the daemon says it must have, but for the records that are left out."""
        records = {"out.test": [("MX", (10, "mx.out.test"))], "mx.out.test": [("A", OUT)], "mx.a.test": [("A", OURS)]}
        for domain in self.daemon.json("domain", "list"):
            for one in self.daemon.json("domain", "dns", domain)["records"]:
                if one["type"] == "TXT" and one["name"] not in leave:
                    records.setdefault(one["name"], []).append(("TXT", one["value"]))
        self.zones.set(records)
        self.texts = {name: value for name, rows in records.items() for kind, value in rows if kind == "TXT"}

    def lookup(self):
        """DNS as dkimpy asks for it."""
        return lambda name, timeout=5: self.texts.get(name.decode().rstrip("."), "").encode() or None

    def session(self, user="anna"):
        session = smtplib.SMTP("127.0.0.1", self.daemon.port["submission"], timeout=60)
        session.starttls(context=insecure())
        session.login(user, PASSWORD)
        return session

    def send(self, content, to="x@out.test", sender="anna@a.test", options=(), wishes=(), user="anna"):
        with self.session(user) as session:
            return answer(session, sender, [to] if isinstance(to, str) else to, content, options, wishes)

    def came(self, mark, seconds=20):
        """What the server outside got."""
        def found():
            return [one for one in self.sink.taken if mark.encode() in one]
        wait(f"{mark} arrives", found, seconds)
        # As it stands on the wire a line may begin with a dot more (RFC 5321 section 4.5.2).
        return re.sub(rb"^\.", b"", found()[-1], flags=re.M)

    def has(self, user, mark):
        return next((one for one in reversed(inbox(self.daemon, user)) if mark.encode() in one), b"")

    def stop(self):
        self.daemon.stop()
        self.daemon.remove()
        self.sink.close()
        self.zones.stop()


def main():
    report, world = Report("submission"), World()
    parts = [fields, results, broken, signatures, programs, senders, authors, sizes, notices, hourly,
             *submission_domain.PARTS]
    try:
        for part in [part for part in parts if not PARTS or part.__name__ in PARTS]:
            try:
                part(report, world)
            except Exception as error:
                report.check(part.__name__, False, repr(error))
        report.whole(world.daemon)
    finally:
        world.stop()
    report.end()


def head(content):
    return email.message_from_bytes(content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")


def fields(report, world):
    said = world.send(b"Subject: bare one\r\nTo: x@out.test\r\n\r\ntext\r\n", ["x@out.test", "adam@a.test"])
    for where, content in (("elsewhere", world.came("bare one")), ("here", world.has("adam", "bare one"))):
        seen = head(content)
        date = email.utils.parsedate_to_datetime(seen["Date"]) if seen["Date"] else None
        report.check(f"fields, {where}: what lacked is added once", said.startswith("250") and all(
            len(seen.get_all(name) or []) == 1 for name in ("Date", "From", "Message-ID", "Subject", "To")),
            seen.items())
        report.check(f"fields, {where}: with good values", date and abs(date.timestamp() - time.time()) < 100 and
                     seen["From"] == "<anna@a.test>" and re.fullmatch(r"<[^@\s]+@a\.test>", seen["Message-ID"]),
                     seen.items())
        report.check(f"fields, {where}: the text as it was", content.endswith(b"\r\n\r\ntext\r\n"), content[-300:])
    whole = (b"From: Anna <anna@a.test>\r\nDate: Fri, 20 Nov 2026 01:02:03 +0100\r\nMessage-ID: <own.id@x.test>\r\n"
             b"Subject: whole one\r\n\r\nx\r\n")
    world.send(whole)
    seen = head(world.came("whole one"))
    report.check("fields that are there stay", (seen.get_all("Date"), seen.get_all("Message-ID"),
                                                seen.get_all("From")) ==
                 (["Fri, 20 Nov 2026 01:02:03 +0100"], ["<own.id@x.test>"], ["Anna <anna@a.test>"]), seen.items())
    for name, field in {"": "Bcc: secret@out.test", "in capitals": "BCC: secret@out.test", "empty": "Bcc:",
                        "folded": "Bcc: one <secret@out.test>,\r\n two <secret2@out.test>,\r\n\tsecret3@out.test",
                        "twice": "bcc: secret@out.test\r\nX-Kept: 1\r\nBcc: secret@out.test",
                        "of a second sending": "Resent-Bcc: secret@out.test",
                        "with a space": "Bcc : secret@out.test",
                        "at the end": "X-Kept: 1\r\nBcc: secret@out.test"}.items():
        mark = f"blind {name or 'plain'}"
        content = f"From: anna@a.test\r\nSubject: {mark}\r\n{field}\r\n\r\nBcc: in the text\r\n".encode()
        world.send(content, ["x@out.test", "secret@out.test", "adam@a.test"])
        for where, came in (("elsewhere", world.came(mark)), ("here", world.has("adam", mark))):
            top = came.partition(b"\r\n\r\n")[0].lower()
            there = re.search(rb"^(resent-)?bcc", top, re.MULTILINE)  # a signature may hold these letters by chance
            kept = b"\nx-kept: 1" in top if "X-Kept" in field else True
            report.check(f"fields, Bcc {name or 'plain'}, {where}: it is gone, and nothing else", not there and
                         b"@out.test" not in top and kept and came.endswith(b"\r\n\r\nBcc: in the text\r\n"), came)
    said = world.send(b"From: anna@a.test\r\nSubject: only blind\r\nBcc: adam@a.test\r\n\r\nx\r\n", "adam@a.test")
    report.check("fields, only blind recipients: taken", said.startswith("250") and not head(world.has(
        "adam", "only blind"))["Bcc"], said)


def results(report, world):
    """What claims to be our own finding goes: those who read it would believe it (RFC 8601 §5)."""
    forms = {"plain": "mx.a.test; dkim=pass header.d=bank.test",
             "in capitals": "MX.A.Test; dkim=pass header.d=bank.test",
             "folded, with a comment": "\r\n (by us) mx.a.test;\r\n dkim=pass header.d=bank.test",
             "quoted": '"mx.a.test"; dkim=pass header.d=bank.test'}
    for name, value in forms.items():
        mark = f"results {name}"
        content = (f"Authentication-Results: {value}\r\nFrom: anna@a.test\r\n"
                   f"Authentication-Results: mx.other.test; spf=pass\r\nSubject: {mark}\r\n\r\nx\r\n").encode()
        said = world.send(content, ["x@out.test", "adam@a.test"])
        report.check(f"results, {name}: taken", said.startswith("250"), said)
        for where, came in (("elsewhere", world.came(mark)), ("here", world.has("adam", mark))):
            seen = head(came)
            report.check(f"results, {name}, {where}: what claims to be ours is gone, and nothing else",
                         seen["Subject"] == mark and b"bank.test" not in came and b"mx.other.test; spf=pass" in came,
                         came[:2000])
        report.check(f"results, {name}: dkimpy finds the signatures good", verifies(world, world.came(mark)))


def broken(report, world):
    """What is hardly a message becomes one, or is refused."""
    for name, content, text in (("no header", b"just a text 1\r\nand more\r\n", b"just a text 1\r\nand more\r\n"),
                                ("no header, two parts", b"just a text 2\r\n\r\nand more\r\n",
                                 b"just a text 2\r\n\r\nand more\r\n"),
                                ("an empty line first", b"\r\njust a text 3\r\n", b"just a text 3\r\n"),
                                ("no end of the header", b"From: anna@a.test\r\nSubject: just a text 4\r\n", b""),
                                ("a line that is no field", b"From: anna@a.test\r\nnonsense\r\nSubject: y\r\n\r\n"
                                 b"just a text 5\r\n", b"just a text 5\r\n")):
        mark = re.search(rb"just a text \d", content)[0].decode()
        said = world.send(content, ["x@out.test", "adam@a.test"])
        if not said.startswith("250"):
            report.check(f"broken, {name}: refused for good", said[:1] == "5", said)
            continue
        came = world.came(mark)
        seen = head(came)
        report.check(f"broken, {name}: it has Date, From and Message-ID", all(
            len(seen.get_all(one) or []) == 1 for one in ("Date", "From", "Message-ID")), came)
        report.check(f"broken, {name}: its text is text", email.message_from_bytes(came).get_payload().endswith(
            text.decode()) and (not text or text in came.partition(b"\r\n\r\n")[2]), came)
        try:
            report.check(f"broken, {name}: dkimpy finds the signature good", verifies(world, came), came[:2500])
        except dkim.DKIMException as error:
            report.check(f"broken, {name}: dkimpy finds the signature good", False, repr(error))
    said = world.send(b"", "adam@a.test")
    report.check("broken, nothing at all: an answer", said[:3] in ("250", "550", "554"), said)


def verifies(world, content):
    """Each of its signatures, and there is one with RSA and one with Ed25519."""
    kinds = re.findall(rb"^DKIM-Signature:[^;]*;\s*a=([\w-]+)", content, re.M)
    judge = dkim.DKIM(content)
    return sorted(kinds) == [b"ed25519-sha256", b"rsa-sha256"] and all(
        judge.verify(idx=number, dnsfunc=world.lookup()) for number in range(len(kinds)))


def signatures(report, world):
    for name, sender, content in (
            ("plain", "anna@a.test", b"From: anna@a.test\r\nSubject: sig plain\r\n\r\nx\r\n"),
            ("no From", "anna@a.test", b"Subject: sig no From\r\n\r\nx\r\n"),
            ("an alias", "sales@a.test", b"From: Sales <sales@a.test>\r\nSubject: sig an alias\r\n\r\nx\r\n"),
            ("another domain", "info@second.test",
             b"From: info@second.test\r\nSubject: sig another domain\r\n\r\nx\r\n"),
            ("two domains", "anna@a.test", b"From: info@second.test\r\nSubject: sig two domains\r\n\r\nx\r\n"),
            ("capitals", "Anna@A.TEST", b"From: ANNA@A.Test\r\nSubject: sig capitals\r\n\r\nx\r\n"),
            ("a detail", "anna+x@a.test", b"From: anna+x@a.test\r\nSubject: sig a detail\r\n\r\nx\r\n"),
            ("from nobody", "", b"From: anna@a.test\r\nSubject: sig from nobody\r\n\r\nx\r\n"),
            ("empty body", "anna@a.test", b"From: anna@a.test\r\nSubject: sig empty body\r\n\r\n"),
            ("odd lines", "anna@a.test",
             b"From: anna@a.test\r\nSubject: sig odd lines\r\n\r\n.\r\n..\r\n a \t b  \r\n\t\r\n"
             b"\r\n\r\n"), ("folded", "anna@a.test",
                            b"From: anna@a.test\r\nSubject: sig folded\r\nTo: a@out.test,\r\n b@out.test,"
                            b"\r\n\tc@out.test\r\nReferences: <1@x>\r\n <2@x>\r\n\r\nx\r\n"),
            ("8-bit", "anna@a.test", "From: Änna <anna@a.test>\r\nSubject: sig 8-bit\r\n\r\nGrüße\r\n".encode()),
            ("signed before", "anna@a.test", b"DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=s; h=from; bh=AA==; "
             b"b=AA==\r\nFrom: anna@a.test\r\nSubject: sig signed before\r\n\r\nx\r\n"),
            ("900 KB", "anna@a.test",
             b"From: anna@a.test\r\nSubject: sig 900 KB\r\n\r\n" + b"0123456789 abc\r\n" * 56_000)):
        said = world.send(content, sender=sender, options=["BODY=8BITMIME"])
        if not report.check(f"signatures, {name}: taken", said.startswith("250"), said):
            continue
        came = world.came(f"sig {name}")
        domain = "second.test" if "second" in content.decode("latin-1") else "a.test"
        ours = re.findall(rb"^DKIM-Signature: v=1; a=(.*?);.*?\sd=(.*?);", came, re.M | re.S)
        report.check(f"signatures, {name}: by the author's domain", [d.decode() for _, d in ours[:2]] == [domain] * 2,
                     ours)
        if name == "signed before":
            good = [dkim.DKIM(came).verify(idx=number, dnsfunc=world.lookup()) for number in range(2)]
            report.check(f"signatures, {name}: dkimpy finds ours good", good == [True, True], good)
        else:
            report.check(f"signatures, {name}: dkimpy finds both good", verifies(world, came), came[:2500])


def programs(report, world):
    """As programs write them."""
    root = world.daemon.folder / "programs"
    root.mkdir()
    port = world.daemon.port["submission"]
    attachment = root / "data.bin"
    attachment.write_bytes(bytes(range(256)) * 100)
    done = run("swaks", "--server", f"127.0.0.1:{port}", "--from", "anna@a.test", "--to", "x@out.test", "--tls",
               "--auth", "PLAIN", "--auth-user", "anna", "--auth-password", PASSWORD, "--header", "Subject: by swaks",
               "--body", "a line\n.\nÄ\n", "--attach", f"@{attachment}")
    report.check("swaks sends", done.returncode == 0, done.stdout[-1500:] + done.stderr)
    settings = root / "muttrc"
    settings.write_text(f'set smtp_url = "smtp://anna@localhost:{port}/" smtp_pass = "{PASSWORD}" ssl_starttls = yes\n'
                        'set smtp_authenticators = "plain"\n'
                        f'set ssl_force_tls = yes certificate_file = "{world.daemon.certificate}" record = ""\n'
                        'set from = "anna@a.test" use_from = yes realname = "Änna" charset = "utf-8" copy = no\n'
                        f'set tmpdir = "{root}" use_envelope_from = yes write_bcc = yes\n'
                        'set dsn_notify = "success,failure" dsn_return = "hdrs"\n')
    done = run("mutt", "-n", "-F", settings, "-s", "by mutt", "-b", "hidden@out.test", "-a", attachment, "--",
               "x@out.test",
               input="Grüße\n.\nFrom here\n", env={**os.environ, "HOME": str(root), "LC_ALL": "C.UTF-8"})
    report.check("mutt sends", done.returncode == 0, done.stdout + done.stderr)
    letter = root / "letter"
    letter.write_bytes(b"From: anna@a.test\r\nTo: x@out.test\r\nSubject: by curl\r\n\r\n.\r\nby curl\r\n")
    done = run("curl", "-sS", "-k", "--ssl-reqd", f"smtp://127.0.0.1:{port}/client.test", "--user", f"anna:{PASSWORD}",
               "--mail-from", "anna@a.test", "--mail-rcpt", "x@out.test", "--upload-file", letter)
    report.check("curl sends", done.returncode == 0, done.stderr)
    made = email.message.EmailMessage()
    made[
        "Subject"], made[
            "From"], made["To"], made["Bcc"] = "by smtplib", "Änna <anna@a.test>", "x@out.test", "hidden@out.test"
    made.set_content("Grüße\n" * 50)
    made.add_alternative("<p>Grüße</p>", subtype="html")
    with world.session() as session:
        session.send_message(made)
    for program in ("swaks", "mutt", "curl", "smtplib"):
        came = world.came(f"Subject: by {program}")
        report.check(f"{program}: dkimpy finds both signatures good", verifies(world, came), came[:2500])
        seen = head(came)
        report.check(f"{program}: complete, and nobody is hidden in it", all(len(seen.get_all(one) or []) == 1
                                                                             for one in (
            "Date", "From", "Message-ID")) and b"hidden@" not in came, seen.items())
    talk = next(talk for talk in world.sink.talks for one in talk.contents if b"Subject: by mutt" in one)
    told = b" ".join(talk.lines).decode()
    report.check("mutt: its wishes are passed on", "RET=HDRS" in told and re.search(
        r"x@out\.test> NOTIFY=(SUCCESS,FAILURE|FAILURE,SUCCESS)", told), told)
    recipients = sum(talk.lines.count(line) for talk in world.sink.talks for line in talk.lines
                     if b"hidden@out.test" in line)
    report.check("mutt and smtplib: who is hidden has it", recipients >= 2, recipients)


def senders(report, world):
    for sender, good in (("anna@a.test", True), ("anna+x@a.test", True), ("sales@a.test", True), ("team@a.test", True),
                         ("info@second.test", True), ("ANNA@A.TEST", True), ('"anna"@a.test', True),
                         ("anna@second.test", True), ("adam@a.test", False), ("boss@a.test", False),
                         ("nobody@a.test", False), ("x@out.test", False), ("postmaster@a.test", False),
                         ("anna@out.test", False),
                         ("anna@a.test.", False), ('"adam"@a.test', False), ("SRS0=AAAAAAAA=AA=a.test=anna@a.test",
                                                                             False)):
        said = world.send(b"Subject: s\r\n\r\nx\r\n", "adam@a.test", sender)
        report.check(f"senders, MAIL FROM {sender}: {'taken' if good else 'refused'}", said.startswith("250")
                     if good else
                     said[:3] in ("553", "550", "501"), said)
    found = world.daemon.json("audit", "query", "--action", "mail.sender", "--outcome", "refused")
    report.check("senders, refusals are in the audit log", {"adam@a.test", "x@out.test"} <= {
        one["target"] for one in found}, found[-3:])


OTHERS = ["adam@a.test", "<adam@a.test>", "Anna <adam@a.test>", "ceo@out.test", "anna@a.test, adam@a.test",
          "adam@a.test, anna@a.test", "anna@a.test\r\n ,ceo@out.test", "team: adam@a.test;",
          "team: anna@a.test, adam@a.test;",
          "<@a.test:adam@a.test>", '"anna@a.test" <adam@a.test>', "anna@a.test <adam@a.test>",
          "(anna@a.test) adam@a.test",
          "adam@a.test (anna@a.test)", '"adam"@a.test', "adam @ a.test", "\r\n adam@a.test", "<adam@a.test",
          "adam@a.test>",
          "=?utf-8?q?adam=40a.test?=", "adam(x)@a.test", "ad(x)am@a.test", "anna@a.test adam@a.test",
          "<anna@a.test> <adam@a.test>",
          "anna@a.test;adam@a.test", "adam", "", "undisclosed:;", "adam@[127.0.0.51]", "ceo@out.test\x00, anna@a.test",
          "<anna@a.test>, ", "Anna <anna@a.test>, <>", "=?utf-8?b?YWRhbUBhLnRlc3Q=?= <anna@a.test>",
          "(" + "\r\n ".join(["x" * 900] * 150) + ") adam@a.test", "anna@a.test, " * 200 + "adam@a.test",
          "(Adam <adam@a.test>", "[adam@a.test, ] <anna@a.test>", "<anna@a.test> adam@a.test", "anna+ adam@a.test",
          "<@x,adam@a.test:anna@a.test>", '"anna+ <adam@a.test>"@a.test', "adam@a.test x <anna@a.test>"]
# Forms of which a reader shows the user's own address at least, or none.
HARMLESS = {"=?utf-8?b?YWRhbUBhLnRlc3Q=?= <anna@a.test>", "<anna@a.test>, ", "Anna <anna@a.test>, <>", "",
            "undisclosed:;"}


def authors(report, world):
    """The From field, in every form: it never names somebody else."""
    for number, form in enumerate(OTHERS):
        content = f"From: {form}\r\nSubject: author {number};\r\n\r\nx\r\n".encode()
        said = world.send(content, "adam@a.test")
        came = world.has("adam", f"author {number};") if said.startswith("250") else b""
        report.check(f"authors, From {form[:60]!r}: refused", said[:1] == "5" or form in HARMLESS, (said,
                                                                                               head(came)["From"]))
    for name, lines in {"a second field": "From: anna@a.test\r\nFrom: adam@a.test", "a space before the colon":
                        "From : adam@a.test", "in capitals": "FROM: adam@a.test", "a second one in capitals":
                        "From: anna@a.test\r\nfrom: adam@a.test", "a second one with a space":
                        "From: anna@a.test\r\nFrom : adam@a.test",
                        "a tab before the colon": "From\t: adam@a.test",
                        "the colon on the next line": "From\r\n : adam@a.test",
                        "Sender": "From: anna@a.test\r\nSender: adam@a.test",
                        "more than are looked up": "From: anna@a.test" + "\r\nResent-From: anna@a.test" * 201,
                        "Resent-From": "From: anna@a.test\r\nResent-From: adam@a.test",
                        "Resent-Sender": "From: anna@a.test\r\nRESENT-SENDER: Adam <adam@a.test>"}.items():
        said = world.send(f"{lines}\r\nSubject: author {name};\r\n\r\nx\r\n".encode(), "adam@a.test")
        came = world.has("adam", f"author {name};") if said.startswith("250") else b""
        report.check(f"authors, {name}: refused", said[:1] == "5", (said, came[-300:]))
    for form in ("g:;, <anna@a.test> <ceo@bank.test>", "g: anna@a.test; <anna@a.test> <ceo@bank.test>"):
        said = world.send(f"From: {form}\r\nSubject: author of a group\r\n\r\nx\r\n".encode(), "adam@a.test")
        report.check(f"authors, a group, {form}: refused", said.startswith("550 5.6.0"), said)
    said = world.send(b"From: anna@a.test\r\nSender: sales@a.test\r\nSubject: own\r\n\r\nx\r\n", "adam@a.test")
    report.check("authors, an own Sender: taken", said.startswith("250"), said)
    for form in ("anna@a.test", "anna@a.test <anna@a.test>", "Anna @ Home <anna@a.test>", "[A] Anna <anna@a.test>", "Änna <anna@a.test>", "sales@a.test", "anna@a.test, sales@a.test", "team@a.test",
                 "Anna <anna+list@a.test>", '"Anna, A." <info@second.test>'):
        said = world.send(f"From: {form}\r\nSubject: own\r\n\r\nx\r\n".encode(), "adam@a.test")
        report.check(f"authors, own {form}: taken", said.startswith("250"), said)


def sizes(report, world):
    with world.session() as session:
        session.ehlo()
        report.check("SIZE is told", session.esmtp_features.get("size") == str(1 << 20), session.esmtp_features)
        code, text = session.mail("anna@a.test", [f"SIZE={(1 << 20) + 1}"])
        report.check("SIZE: a larger one is refused at MAIL", code == 552 and text.startswith(b"5.3.4"), (code, text))
        said = answer(session, "anna@a.test", ["adam@a.test"], b"Subject: s\r\n\r\n" + b"x" * 70 + b"\r\n" +
                      b"0123456789abcd\r\n" * (1 << 16), ["SIZE=5"])
        report.check("SIZE: what is larger than was told is refused at its end", said.startswith("552 5.3.4"), said)
        said = answer(session, "anna@a.test", ["adam@a.test"], b"Subject: after large\r\n\r\nx\r\n")
        report.check("SIZE: the session goes on", said.startswith("250"), said)
        code, text = session.mail("anna@a.test", ["SIZE=abc"])
        report.check("SIZE: nonsense is refused", code == 501, (code, text))


def notices(report, world):
    said = world.send(b"From: anna@a.test\r\nSubject: with wishes\r\n\r\nx\r\n", sender="anna@a.test",
                      options=["RET=FULL", "ENVID=A+2BB"], wishes=["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;first@x.test"])
    world.came("with wishes")
    talk = next(talk for talk in world.sink.talks for one in talk.contents if b"with wishes" in one)
    told = b" ".join(talk.lines).decode()
    report.check("DSN: all is passed on", said.startswith("250") and "RET=FULL" in told and "ENVID=A+2BB" in told and
                 re.search("NOTIFY=(FAILURE,DELAY|DELAY,FAILURE)", told) and "ORCPT=rfc822;first@x.test" in told, told)


def hourly(report, world):
    """To how many elsewhere an account may send in an hour."""
    if (left := 3600 - time.time() % 3600) < 60:
        time.sleep(left + 1)  # with the hour the count begins anew
    world.daemon.add("eager", PASSWORD)
    submission_domain.reread(world.daemon, "hourly = 0", "hourly = 5")

    def send(to, user="eager"):
        return world.send(b"Subject: hourly\r\n\r\nx\r\n", to, f"{user}@a.test", user=user)
    said = [send(f"h{number}@out.test") for number in range(4)]
    report.check("hourly: up to the limit all is taken", all(one.startswith("250") for one in said), said)
    said = send(["h5@out.test", "h6@out.test"])
    report.check("hourly: more recipients than are left: refused whole, to be tried later", said[:3] in ("450", "451",
                                                                                                         "452"),
                 said)
    said = send("h5@out.test")
    report.check("hourly: what is left is still to be had", said.startswith("250"), said)
    said = send("h6@out.test")
    report.check("hourly: then it is refused", said[:1] in "45" and "in an hour" in said, said)
    report.check("hourly: mail to users here is not counted", send("adam@a.test").startswith("250"))
    report.check("hourly: others may send", send("other@out.test", "anna").startswith("250"))
    found = [one for one in world.daemon.json("audit", "query", "--user", "eager", "--outcome", "refused")
             if "in an hour" in one["detail"]]
    report.check("hourly: each refusal is in the audit log", len(found) == 2 and found[0]["action"].startswith("mail."),
                 found)
    world.daemon.stop()
    world.daemon.start()
    said = send("h7@out.test")
    report.check("hourly: a restart forgets nothing", said[:1] in "45", said)
    world.daemon.cli("alias", "add", "out@a.test", "h8@out.test")
    said = send("out@a.test")
    report.check("hourly: an alias is no way around it", said[:1] in "45", said)
    submission_domain.reread(world.daemon, "hourly = 5", "hourly = 0")
    report.check("hourly: without a limit again", send("h9@out.test").startswith("250"))


if __name__ == "__main__":
    main()
