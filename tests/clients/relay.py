#!/usr/bin/env python3
"""Not an open relay: whatever form an address has, a stranger's mail for somewhere else is refused, or is taken for a
mailbox that is here; nothing of it waits to be sent, and a server that waits for it elsewhere hears nothing."""

import base64, re, socket, time

from harness import Report
from neighbours import PASSWORD, Dns, Sink, inbox, neighbour, waits
from servers import free_ports

OURS, OUT = "127.0.0.25", "127.0.0.26"

# A path, or the whole line where it says RCPT. `{port}` is that of mail.
RECIPIENTS = {
    "an outside address": "user@out.test",
    "upper case": "USER@OUT.TEST",
    "a final dot": "user@out.test.",
    "a subdomain outside": "user@mx.out.test",
    "percent hack": "user%out.test@ours.test",
    "percent hack at our host": "user%out.test@mx.ours.test",
    "percent hack at our address": "user%out.test@[127.0.0.25]",
    "percent hack, twice": "user%out.test%ours.test@ours.test",
    "percent hack, quoted": '"user%out.test"@ours.test',
    "percent hack without a domain": "user%out.test",
    "bang path": "out.test!user",
    "bang path at ours": "out.test!user@ours.test",
    "bang path through ours": "ours.test!out.test!user",
    "bang path, quoted": '"out.test!user"@ours.test',
    "bang and percent": "out.test!user%ours.test@ours.test",
    "source route": "@ours.test:user@out.test",
    "source route of our host": "@mx.ours.test:user@out.test",
    "source route of two": "@ours.test,@out.test:user@out.test",
    "source route of our address": "@[127.0.0.25]:user@out.test",
    "source route back to ours": "@out.test:user%out.test@ours.test",
    "source route, quoted": '"@ours.test:user"@out.test',
    "a colon in the local part": "ours.test:user@out.test",
    "quoted, at ours": '"user@out.test"@ours.test',
    "quoted, at our host": '"user@out.test"@mx.ours.test',
    "quoted, alone": '"user@out.test"',
    "quoted with a backslash": '"user\\@out.test"@ours.test',
    "a backslash": "user\\@out.test@ours.test",
    "two at signs": "user@out.test@ours.test",
    "two at signs, ours first": "user@ours.test@out.test",
    "an empty quoted part": '""@out.test',
    "a null in quotes at ours": '"user@out.test\\\x00"@ours.test',
    "our address, no such user": "user@[127.0.0.25]",
    "our address, whole path within": "user@out.test@[127.0.0.25]",
    "an address outside": "user@[127.0.0.26]",
    "an IPv6 address outside": "user@[IPv6:::ffff:127.0.0.26]",
    "an address without brackets": "user@127.0.0.26",
    "an address as a number": "user@2130706458",
    "an address as a number in brackets": "user@[2130706458]",
    "a port": "user@[127.0.0.26]:{port}",
    "a port behind the domain": "user@out.test:{port}",
    "a comment": "user(@ours.test)@out.test",
    "a comment at the end": "user@out.test(ours.test)",
    "a list": "alice@ours.test,user@out.test",
    "a list with a semicolon": "alice@ours.test;user@out.test",
    "two paths": "RCPT TO:<alice@ours.test> <user@out.test>",
    "two paths without a space": "RCPT TO:<alice@ours.test><user@out.test>",
    "angle brackets within": "<user@out.test>",
    "angle brackets left open": "RCPT TO:<user@out.test",
    "no angle brackets": "RCPT TO:user@out.test",
    "text before the path": "RCPT TO:alice@ours.test <user@out.test>",
    "a space before the path": "RCPT TO: <user@out.test>",
    "a space before the colon": "RCPT TO :<user@out.test>",
    "a tab": "RCPT\tTO:<user@out.test>",
    "lower case command": "rcpt to:<user@out.test>",
    "a space in the domain": "user@ours.test .out.test",
    "a space in the local part": "user @out.test",
    "a NUL behind ours": "user@out.test\x00@ours.test",
    "a NUL before ours": "alice@ours.test\x00.out.test",
    "a CR": "alice@ours.test\rRCPT TO:<user@out.test>",
    "an LF": "RCPT TO:<alice@ours.test>\nRCPT TO:<user@out.test>",
    "a CR and an LF in the path": "alice@ours.test>\r\nRCPT TO:<user@out.test",
    "a full-width dot": "user@out\uff0etest",
    "a full-width at": "user\uff20out.test@ours.test",
    "a full-width percent": "user\uff05out.test@ours.test",
    "an ideographic full stop": "user@out\u3002test",
    "capital letters beyond ASCII": "user@\uff4f\uff55\uff54.test",
    "a zero-width space": "user@ours.test\u200b.out.test",
    "octets that are no UTF-8": b"user\xff@out.test",
    "an overlong at sign": b"user\xc1\x80out.test@ours.test",
    "a domain within ours": "user@out.test.ours.test",
    "ours within a domain": "user@ours.test.out.test",
    "an encoded word": "=?utf-8?q?user=40out.test?=@ours.test",
    "HTML escapes": "user&#64;out.test@ours.test",
    "URL escapes": "user%40out.test@ours.test",
    "UTF-7": "user+AEA-out.test@ours.test",
    "a detail with a domain": "alice+user@out.test@ours.test",
    "a detail": "alice+user%out.test@ours.test",
    "a program": "|/bin/true@out.test",
    "a program at ours": '"|/bin/true"@ours.test',
    "postmaster outside": "postmaster@out.test",
    "postmaster by percent": "postmaster%out.test",
    "postmaster by percent at ours": "postmaster%out.test@ours.test",
    "postmaster with an at": "postmaster@",
    "an empty local part": "@out.test",
    "NOTIFY": "RCPT TO:<user@out.test> NOTIFY=SUCCESS,FAILURE",
    "ORCPT of ours": "RCPT TO:<user@out.test> ORCPT=rfc822;alice@ours.test",
    "ORCPT of theirs": "RCPT TO:<nobody@ours.test> ORCPT=rfc822;user@out.test",
    "RELAY": "RCPT TO:<user@out.test> RELAY=yes",
    "a very long local part": "x" * 300 + "@out.test",
    "a very long route": "@ours.test," * 100 + "@ours.test:user@out.test",
}
SENDERS = ["<>", "<alice@ours.test>", "<user@out.test>", "<user@mx.ours.test>", "<postmaster@ours.test>",
           "<root@localhost>", "<user@[127.0.0.25]>", "<x@elsewhere.test> AUTH=<>",
           "<x@elsewhere.test> AUTH=alice@ours.test"]


class Session:
    """Raw SMTP: lines go as they are."""

    def __init__(self, address, port, hello=b"EHLO client.test"):
        self.raw = socket.create_connection((address, port), 20)
        self.heard = b""
        self.reply()
        self.code = self.say(hello)

    def say(self, line):
        self.raw.sendall(line + b"\r\n")
        return self.reply()

    def reply(self):
        """The code of the last reply there is: lines with line ends in them are answered more than once."""
        code = b""
        while not re.search(rb"(^|\n)\d{3} [^\n]*\n$", code):
            piece = self.raw.recv(65536)
            if not piece:
                return "closed"
            code += piece
        self.raw.settimeout(0.05)
        try:
            while piece := self.raw.recv(65536):
                code += piece
        except OSError:
            pass
        self.raw.settimeout(20)
        self.heard += code
        # One yes among them is a yes.
        codes = [line[:3].decode() for line in code.splitlines() if line[3:4] == b" "]
        return next((one for one in codes if one.startswith("2")), codes[-1])

    def close(self):
        self.raw.close()


class Trial:
    """The daemon, the server outside that must hear nothing, and what was tried."""

    def __init__(self, report):
        self.report, self.number = report, 0
        self.port, = free_ports(1)
        self.dns = Dns(["ours.test. MX 10 mx.ours.test.", f"mx.ours.test. A {OURS}", "out.test. MX 10 mx.out.test.",
                        f"mx.out.test. A {OUT}", f"out.test. A {OUT}", "*.out.test. MX 10 mx.out.test."])
        self.sink = Sink(OUT, self.port)
        self.daemon = neighbour(self.dns, self.port, "mx.ours.test", OURS, "ours.test", "alice",
                                outbound="retry_least = 1\nretry_most = 2")

    def session(self, hello=b"EHLO client.test"):
        return Session(OURS, self.port, hello)

    def judge(self, name, session, code):
        """What follows RCPT: a recipient that was taken gets a message, which must stay here."""
        self.number += 1
        mark = f"relay-{self.number}"
        if code.startswith("2"):
            session.say(b"DATA")
            said = session.say(b"Subject: %s\r\n\r\nx\r\n." % mark.encode())
            taken = said.startswith("2")
        else:
            taken = False
        session.close()
        here = any(mark.encode() in one for user in ("alice", "admin") for one in self.inbox(user)) if taken else False
        left = [row["recipient"] for row in waits(self.daemon)] if taken else []
        self.report.check(f"{name}: {'taken for a mailbox here' if here else 'refused'}",
                          (not taken or here) and not left, (code, left, session.heard[-300:]))

    def inbox(self, user):
        try:
            return inbox(self.daemon, user)
        except Exception:
            return []

    def recipient(self, name, form, sender=b"<x@elsewhere.test>", hello=b"EHLO client.test", before=()):
        session = self.session(hello)
        for line in before:
            session.say(line)
        said = session.say(b"MAIL FROM:" + sender + (b" SMTPUTF8" if hello[:4] == b"EHLO" else b""))
        if not said.startswith("2"):
            # A form of the sender may be refused too; then the plain one shows what remains.
            said = session.say(b"MAIL FROM:<x@elsewhere.test>")
        line = form if isinstance(form, bytes) else form.replace("{port}", str(self.port)).encode()
        if not line.upper().startswith(b"RCPT"):
            line = b"RCPT TO:<" + line + b">"
        self.judge(name, session, session.say(line))


def main():
    report = Report("relay")
    trial = Trial(report)
    try:
        for name, form in RECIPIENTS.items():
            trial.recipient(name, form)
        for sender in SENDERS:
            trial.recipient(f"from {sender}", "user@out.test", sender.encode())
        others(trial)
        submission(trial)
        time.sleep(3)
        report.check("nothing waits to be sent", waits(trial.daemon) == [], waits(trial.daemon))
        report.check("the server outside heard nothing", trial.sink.talks == [],
                     [talk.lines for talk in trial.sink.talks])
        proof(trial)
        report.whole(trial.daemon)
    finally:
        trial.daemon.stop()
        trial.daemon.remove()
        trial.sink.close()
        trial.dns.stop()
    report.end()


def others(trial):
    """Forms of the session, not of the address."""
    login = base64.b64encode(b"\0alice\0wrong")
    plain = {"HELO with our name": (b"HELO mx.ours.test", ()), "EHLO with our name": (b"EHLO mx.ours.test", ()),
             "EHLO localhost": (b"EHLO localhost", ()), "EHLO with our address": (b"EHLO [127.0.0.25]", ()),
             "EHLO with their name": (b"EHLO mx.out.test", ()),
             "XCLIENT": (b"EHLO client.test", (b"XCLIENT ADDR=127.0.0.1 NAME=localhost LOGIN=alice",)),
             "XFORWARD": (b"EHLO client.test", (b"XFORWARD ADDR=127.0.0.1 NAME=localhost SOURCE=LOCAL",)),
             "PROXY": (b"EHLO client.test", (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25",)),
             "after a failed AUTH": (b"EHLO client.test", (b"AUTH PLAIN " + login,)),
             "after an AUTH that was given up": (b"EHLO client.test", (b"AUTH LOGIN", b"*")),
             "after RSET": (b"EHLO client.test", (b"MAIL FROM:<alice@ours.test>", b"RCPT TO:<alice@ours.test>",
                                                  b"RSET")),
             "ETRN": (b"EHLO client.test", (b"ETRN out.test", b"ETRN @out.test")),
             "TURN": (b"EHLO client.test", (b"TURN", b"ATRN out.test")),
             "SEND and SAML": (b"EHLO client.test", (b"SEND FROM:<x@elsewhere.test>", b"SAML FROM:<x@elsewhere.test>")),
             "VRFY and EXPN before": (b"EHLO client.test", (b"VRFY user@out.test", b"EXPN user@out.test")),
             "BURL": (b"EHLO client.test", (b"BURL imap://mx.ours.test/INBOX;UID=1 LAST",))}
    for name, (hello, before) in plain.items():
        trial.recipient(name, "user@out.test", hello=hello, before=before)
    session = trial.session()
    session.say(b"MAIL FROM:<x@elsewhere.test>")
    session.say(b"RCPT TO:<alice@ours.test>")
    trial.report.check("behind a recipient that is here", not session.say(b"RCPT TO:<user@out.test>").startswith("2"),
                       session.heard)
    # The message itself names others.
    session.say(b"DATA")
    session.say(b"To: user@out.test\r\nBcc: user@out.test\r\nResent-To: user@out.test\r\nErrors-To: user@out.test\r\n"
                b"Disposition-Notification-To: user@out.test\r\nReturn-Receipt-To: user@out.test\r\nSubject: names\r\n"
                b"Apparently-To: user@out.test\r\n\r\nx\r\n.")
    session.close()
    for verb in (b"VRFY user@out.test", b"EXPN user@out.test", b"VRFY alice@ours.test"):
        session = trial.session()
        code = session.say(verb)
        trial.report.check(f"{verb.decode()} tells nothing", code[:1] == "5" or code == "252", session.heard)
        session.close()


def submission(trial):
    """The port for users, to somebody who is none."""
    for name, before in {"no log-in": (), "a failed log-in": (b"AUTH PLAIN " + base64.b64encode(b"\0alice\0wrong"),),
                         "a log-in given up": (b"AUTH LOGIN", b"*"),
                         "a sender of ours": ()}.items():
        session = Session("127.0.0.1", trial.daemon.port["submission"])
        for line in before:
            session.say(line)
        code = session.say(b"MAIL FROM:<alice@ours.test>" if "sender" in name else b"MAIL FROM:<x@elsewhere.test>")
        trial.report.check(f"submission, {name}: MAIL is refused", code[:1] == "5", session.heard)
        trial.judge(f"submission, {name}", session, session.say(b"RCPT TO:<user@out.test>"))


def proof(trial):
    """The same server outside does hear of what a user sends: it was not deaf."""
    session = Session("127.0.0.1", trial.daemon.port["submission"])
    session.say(b"AUTH PLAIN " + base64.b64encode(f"\0alice\0{PASSWORD}".encode()))
    for line in (b"MAIL FROM:<alice@ours.test>", b"RCPT TO:<user@out.test>", b"DATA", b"Subject: mine\r\n\r\nx\r\n."):
        code = session.say(line)
    session.close()
    end = time.monotonic() + 20
    while not trial.sink.taken and time.monotonic() < end:
        time.sleep(0.1)
    trial.report.check("a user may send there", code == "250" and len(trial.sink.taken) == 1, session.heard)


if __name__ == "__main__":
    main()
