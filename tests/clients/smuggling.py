#!/usr/bin/env python3
"""One message stays one: octets that some servers take for the end of a message are refused or are content, as they
come and as they go on; and what is said in the clear around STARTTLS is not taken for something said under TLS."""

import base64, pathlib, shutil, socket, tempfile, time

from harness import Report
from neighbours import (PASSWORD, Dns, Sink, inbox, insecure, neighbour, server_context, submit, waits)
from servers import free_ports, wait

OURS, OUT, HOSTILE = "127.0.0.27", "127.0.0.28", "127.0.0.29"

# What some server has taken for the end of a message. Only the last ones are content that may stand in a message.
ENDS = {
    "LF . LF": b"\n.\n", "LF . CRLF": b"\n.\r\n", "CRLF . LF": b"\r\n.\n", "CR . CRLF": b"\r.\r\n",
    "CRLF . CR": b"\r\n.\r", "CR . CR": b"\r.\r", "LF . CR": b"\n.\r", "CR . LF": b"\r.\n", "LFLF . LF": b"\n\n.\n",
    "CR CRLF . CRLF": b"\r\r\n.\r\n", "CRLF . CR CRLF": b"\r\n.\r\r\n", "LF CR . LF CR": b"\n\r.\n\r",
    "CRLF NUL . CRLF": b"\r\n\x00.\r\n", "CRLF . NUL CRLF": b"\r\n.\x00\r\n", "CR NUL LF . CRLF": b"\r\x00\n.\r\n",
    "CRLF . CR NUL LF": b"\r\n.\r\x00\n", "NUL LF . LF NUL": b"\x00\n.\n\x00", "CRLF . NUL LF": b"\r\n.\x00\n",
    "CR . NUL CR": b"\r.\x00\r", "VT . VT": b"\v.\v", "FF . FF": b"\f.\f", "NEL": b"\xc2\x85.\xc2\x85",
    "NEL in Latin-1": b"\x85.\x85", "LINE SEPARATOR": b"\xe2\x80\xa8.\xe2\x80\xa8", "CRLF .. CRLF": b"\r\n..\r\n",
    "CRLF . SP CRLF": b"\r\n. \r\n", "CRLF SP . CRLF": b"\r\n .\r\n", "CRLF . TAB CRLF": b"\r\n.\t\r\n",
    "0x8d 0x8a": b"\x8d\x8a.\x8d\x8a", "two dots, LF": b"\r\n..\n", "CRLF . . CRLF": b"\r\n. .\r\n",
    "full-width": "\r\n\uff0e\r\n".encode(),
}
SMUGGLED = (b"MAIL FROM:<admin@ours.test>\r\nRCPT TO:<alice@ours.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n"
            b"in\r\n.\r\n")


def main():
    report = Report("smuggling")
    port, = free_ports(1)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-smuggling-"))
    context = server_context(folder, "mx.out.test")
    dns = Dns(["ours.test. MX 10 mx.ours.test.", f"mx.ours.test. A {OURS}", "out.test. MX 10 mx.out.test.",
               f"mx.out.test. A {OUT}", "hostile.test. MX 10 mx.hostile.test.", f"mx.hostile.test. A {HOSTILE}"])
    # A test is no client that makes mistakes.
    daemon = neighbour(dns, port, "mx.ours.test", OURS, "ours.test", "alice",
                       outbound="retry_least = 600\nretry_most = 600", more="[smtp]\nmax_errors = 1000\n")
    sink = Sink(OUT, port, context=context)
    try:
        for pieces in (1, 2, 3):
            as_server(report, daemon, (OURS, port), pieces)
        counted(report, daemon, (OURS, port))
        injected(report, daemon, (OURS, port))
        as_client(report, daemon, sink)
        hostile(report, daemon, port, context)
        report.whole(daemon)
    finally:
        daemon.stop()
        daemon.remove()
        sink.close()
        dns.stop()
        shutil.rmtree(folder)
    report.end()


def may(content):
    """How many messages come of it, and what that is: a line end that is none is refused, and all else is content; but
    a NUL, which neither 7bit nor 8bit content may hold (RFC 2045 section 2.8), may be either."""
    alone = content.replace(b"\r\n", b"")
    if b"\r" in alone or b"\n" in alone:
        return (0,), "refused"
    return ((0, 1), "refused or content") if b"\0" in content else ((1,), "content")


class Raw:
    """A connection on which octets go as they are."""

    def __init__(self, address):
        self.raw = socket.create_connection(address, 20)
        self.heard = b""
        self.hear()

    def hear(self, seconds=20.0):
        """What comes within the time, as soon as it is a whole reply."""
        self.raw.settimeout(seconds)
        came = b""
        try:
            while not (came.endswith(b"\n") and came.splitlines()[-1][3:4] == b" "):
                piece = self.raw.recv(65536)
                if not piece:
                    break
                came += piece
        except OSError:
            pass
        self.heard += came
        return came

    def say(self, octets, seconds=20.0):
        try:
            self.raw.sendall(octets)
        except OSError:
            return b""
        return self.hear(seconds)

    def login(self):
        self.say(b"AUTH PLAIN " + base64.b64encode(f"\0alice\0{PASSWORD}".encode()) + b"\r\n")

    def begin(self, to=b"alice@ours.test", data=b"DATA\r\n"):
        self.say(b"EHLO client.test\r\n")
        self.say(b"MAIL FROM:<alice@ours.test> BODY=8BITMIME\r\n")
        self.say(b"RCPT TO:<%s>\r\n" % to)
        return self.say(data) if data else b""


def smuggled(daemon):
    """Whether a message is there whose own header is the smuggled one."""
    return [one for one in inbox(daemon, "alice") if b"\r\nSubject: smuggled\r\n" in one.partition(b"\r\n\r\n")[0]
            + b"\r\n"]


def as_server(report, daemon, address, pieces):
    """Each end, and behind it another message; in one piece, or cut right behind the end or within it."""
    for name, end in ENDS.items():
        session, mark = Raw(address), f"{name} {pieces}"
        session.begin()
        head = b"Subject: first %s\r\n\r\ntext" % mark.encode()
        parts = {1: [head + end + SMUGGLED], 2: [head + end, SMUGGLED],
                 3: [head + end[:-1], end[-1:], SMUGGLED]}[pieces]
        answered = b""
        for part in parts:
            answered += session.say(part, 0.3)
        answered += session.hear(0.2 if answered else 5)
        session.raw.close()
        report.check(f"{mark}: one answer to one message", answered.count(b"250 ") + answered.count(b"354 ") <= 1,
                     answered)
        first = [one for one in inbox(daemon, "alice") if b"Subject: first %s\r\n" % mark.encode() in one]
        whole = all(b"MAIL FROM:<admin@ours.test>" in one for one in first)
        report.check(f"{mark}: nothing is smuggled", smuggled(daemon) == [] and len(first) <= 1 and whole, answered)
        allowed, what = may(end)
        report.check(f"{mark}: {what}", len(first) in allowed, (len(first), answered))


def counted(report, daemon, address):
    """BDAT counts: nothing in its octets is an end or a command."""
    for name, end in {**ENDS, "CRLF . CRLF": b"\r\n.\r\n"}.items():
        for cut in (False, True):
            session, mark = Raw(address), f"BDAT {name} {'cut' if cut else 'whole'}"
            session.begin(data=None)
            content = b"Subject: first %s\r\n\r\ntext" % mark.encode() + end + SMUGGLED
            at = content.index(end + b"MAIL") + len(end) - 1 if cut else 0
            if cut:
                session.say(b"BDAT %d\r\n%s" % (at, content[:at]))
            answered = session.say(b"BDAT %d LAST\r\n%sNOOP\r\n" % (len(content) - at, content[at:]))
            answered += session.hear(0.3)
            session.raw.close()
            first = [one for one in inbox(daemon, "alice") if b"Subject: first %s\r\n" % mark.encode() in one]
            allowed, what = may(content)
            report.check(f"{mark}: {what}", smuggled(daemon) == [] and len(first) in allowed and
                         all(end + b"MAIL" in one for one in first), answered)
    session = Raw(address)
    session.begin(data=None)
    said = session.say(b"BDAT 5\r\nx\r\n.\r") + session.say(b"\n.\r\nRSET\r\n")
    report.check("BDAT: what follows the count is a command again", b"250" in said and b"500" in said, said)
    session.raw.close()
    session = Raw(address)
    session.begin(data=None)
    session.say(b"BDAT 20\r\nSubject: mixed\r\n\r\nxx")
    said = session.say(b"DATA\r\n")
    report.check("DATA does not follow BDAT", said[:1] == b"5", said)
    session.raw.close()


def injected(report, daemon, address):
    """Commands in the clear behind STARTTLS are not run under TLS (CVE-2011-0411); what came before is forgotten."""
    ports = {"smtp": address, "submission": ("127.0.0.1", daemon.port["submission"])}
    behind = {"NOOP": b"NOOP\r\n", "EHLO": b"EHLO injected.test\r\n",
              "a transaction": b"EHLO injected.test\r\n" + SMUGGLED,
              "RSET without CR": b"RSET\n", "a part of a command": b"NO", "an empty line": b"\r\n",
              "TLS and a command": b"\x16\x03\x01\x00\x05NOOP\r\n"}
    for name, what in behind.items():
        for place, where in ports.items():
            for late in (False, True):
                mark = f"{name} behind STARTTLS, {place}, {'later' if late else 'at once'}"
                session = Raw(where)
                session.say(b"EHLO client.test\r\n")
                said = session.say(b"STARTTLS\r\n" + (b"" if late else what))
                if late:
                    session.raw.sendall(what)
                    time.sleep(0.2)
                report.check(f"{mark}: it is not run", b"injected" not in said and b"250" not in said, said)
                try:
                    session.raw.settimeout(5)
                    secure = insecure().wrap_socket(session.raw)
                except OSError:
                    report.check(f"{mark}: no TLS after it", smuggled(daemon) == [])
                    continue
                secure.settimeout(1)
                try:
                    early = secure.recv(4096)
                except OSError:
                    early = b""
                report.check(f"{mark}: nothing of it is answered under TLS", early == b"", early)
                secure.close()
    for place, where in ports.items():
        session = Raw(where)
        session.say(b"EHLO client.test\r\n")
        session.say(b"STARTTLS\r\n")
        session.raw = insecure().wrap_socket(session.raw)
        said = session.say(b"MAIL FROM:<x@elsewhere.test>\r\n")
        report.check(f"{place}: what was said before TLS is forgotten", said[:3] in (b"503", b"530"), said)
        said = session.say(b"EHLO client.test\r\n")
        report.check(f"{place}: TLS is not offered twice", b"STARTTLS" not in said and said[:3] == b"250", said)
        session.raw.close()


def unstuffed(content):
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]


def as_client(report, daemon, sink):
    """What users put in goes on as one message of whole lines, with its dots doubled."""
    submission = ("127.0.0.1", daemon.port["submission"])
    head = b"Subject: onward\r\n\r\n"
    texts = {name: b"text" + end + SMUGGLED for name, end in {**ENDS, "CRLF . CRLF": b"\r\n.\r\n"}.items()}
    texts |= {"a dot at the end": b"text\r\n.", "no line end": b"text", "no text": b"", "only a dot": b".",
              "only the end": b".\r\n", "two ends": b".\r\n.\r\n", "dots": b".\r\n" * 100_000,
              "two dots": b"x\r\n..\r\n" * 40_000, "lines with dots": b".x\r\n.y.\r\n" * 30_000,
              "a long line of dots": b"." * 900 + b"\r\n" + b"." * 131_072, "NUL": b"\x00.\x00\r\n.\x00\r\n"}
    for name, text in texts.items():
        content = head + text
        allowed, _ = may(content)
        session = Raw(submission)
        session.say(b"EHLO client.test\r\n")
        session.login()
        session.begin(b"user@out.test", data=None)
        before = len(sink.taken)
        said = session.say(b"BDAT %d LAST\r\n%s" % (len(content), content))
        session.raw.close()
        if 1 not in allowed or 0 in allowed and said[:1] == b"5":
            report.check(f"onward, {name}: refused", said[:1] == b"5" and waits(daemon) == [], said)
            continue
        onward(report, daemon, sink, name, before, content, said)
    content = head + b"cut\r\n.\r\n" + SMUGGLED
    session = Raw(submission)
    session.say(b"EHLO client.test\r\n")
    session.login()
    session.begin(b"user@out.test", data=None)
    before = len(sink.taken)
    for at in range(len(content)):
        session.say(b"BDAT 1\r\n" + content[at:at + 1])
    said = session.say(b"BDAT 0 LAST\r\n")
    onward(report, daemon, sink, "octet by octet", before, content, said)
    said = b"\n".join(line for talk in sink.talks for line in talk.lines)
    report.check("onward: no command came out of a content", b"admin@ours.test" not in said, said[:2000])
    report.check("onward: all of it under TLS", all(talk.tls for talk in sink.talks) and sink.talks)


def onward(report, daemon, sink, name, before, content, said):
    """What the sink was told is one message, with the octets that were put in."""
    if not report.check(f"onward, {name}: taken", said[:3] == b"250", said):
        return
    try:
        wait("it goes on", lambda: len(sink.taken) > before and waits(daemon) == [], 20)
    except TimeoutError:
        report.check(f"onward, {name}: it goes on", False, waits(daemon))
        return
    came = sink.taken[before:]
    sent = came[0]
    alone = sent.replace(b"\r\n", b"")
    report.check(f"onward, {name}: one message of lines with CRLF", len(came) == 1 and b"\r" not in alone
                 and b"\n" not in alone, sent[:1000])
    lines = sent.split(b"\r\n")
    report.check(f"onward, {name}: no line begins with one dot", not any(line[:1] == b"." and line[:2] != b".."
                                                                         for line in lines), sent[:1000])
    whole = content if content.endswith(b"\r\n") else content + b"\r\n"
    report.check(f"onward, {name}: it is what was put in", unstuffed(sent).endswith(b"\r\n" + whole) or
                 unstuffed(sent) == whole, (sent[:600], whole[:200]))


def hostile(report, daemon, port, context):
    """A server, or who stands before it, speaks in the clear behind its answer to STARTTLS (CVE-2021-38371)."""
    extra = b"250-mx.hostile.test\r\n250 AUTH PLAIN\r\n250 ok\r\n250 ok\r\n354 go ahead\r\n250 taken\r\n"

    def later(talk, _):
        talk.say(b"220 go ahead\r\n")
        time.sleep(0.2)
        return extra
    ways = {"in the same packet": lambda talk, _: b"220 go ahead\r\n" + extra, "a little later": later,
            "half a line": lambda talk, _: b"220 go ahead\r\n250",
            "a line end": lambda talk, _: b"220 go ahead\r\n\r\n",
            "no TLS at all": lambda talk, _: b"220 go on in the clear\r\n"}
    for name, answer in ways.items():
        sink = Sink(HOSTILE, port, {"STARTTLS": answer}, context=context)
        submit(daemon, "alice", "alice@ours.test", ["user@hostile.test"], b"Subject: secret\r\n\r\nsecret\r\n")
        try:
            wait("it was tried", lambda: sink.taken or [row for row in waits(daemon) if row["attempts"] and
                                                       not row["sending"]], 20)
        except TimeoutError:
            pass
        rows = waits(daemon)
        sink.close()
        daemon.cli("queue", "drop", "--all")
        first = sink.talks[0] if sink.talks else None
        spoke = first.clear.partition(b"STARTTLS\r\n")[2] if first else b""
        report.check(f"{name}: nothing in the clear behind STARTTLS", spoke[:1] in (b"", b"\x16"), spoke[:200])
        report.check(f"{name}: nothing is taken for sent", sink.taken == [] and len(rows) == 1, (rows, sink.taken))
        report.check(f"{name}: nothing of it goes in the clear on another connection",
                     not any(b"MAIL FROM" in talk.clear for talk in sink.talks), [talk.clear for talk in sink.talks])


if __name__ == "__main__":
    main()
