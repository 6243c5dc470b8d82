#!/usr/bin/env python3
"""Two daemons and Debian's Postfix exchange mail in every direction over STARTTLS: what comes is what was sent, and
what cannot come is told of in a way that everyone reads."""

import email, email.header, random, re, smtplib, time

from harness import Report
from neighbours import (CLIENT, SYSTEM, Dns, Postfix, body, inbox, neighbour, notification, submit, waits)
from servers import free_ports, wait

A, B, C = "127.0.0.21", "127.0.0.22", "127.0.0.23"
CROWD = 120


class Place:
    """One of the three: how mail is sent from there, and what has come."""

    def __init__(self, domain, user, server):
        self.domain, self.user, self.server = domain, user, server
        self.address = f"{user}@{domain}"

    def send(self, to, content, sender=None, options=()):
        sender = self.address if sender is None else sender
        if not isinstance(self.server, Postfix):
            return submit(self.server, self.user, sender, to, content, options)
        with smtplib.SMTP(self.server.address, self.server.port, timeout=60, source_address=(CLIENT, 0)) as session:
            return session.sendmail(sender, to, content, options)

    def has(self, user=None):
        if isinstance(self.server, Postfix):
            return self.server.messages(user or self.user)
        return inbox(self.server, user or self.user)

    def came(self, mark, user=None, count=1, seconds=30):
        """The messages that have a subject, as soon as there are so many."""
        def found():
            return [one for one in self.has(user) if subject(one) == mark]
        wait(f"{count} of {mark} at {self.domain}", lambda: len(found()) >= count, seconds)
        return found()


def subject(content):
    return str(email.header.make_header(email.header.decode_header(
        email.message_from_bytes(content.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n"))["Subject"] or "")))


def message(mark, text, *fields):
    if isinstance(text, str):
        text = text.encode()
    head = "".join(f"{field}\r\n" for field in (f"Subject: {mark}", *fields))
    return head.encode() + b"\r\n" + text


def main():
    report = Report("exchange")
    port, = free_ports(1)
    hosts = "".join(f"{letter}.test. MX 10 mx.{letter}.test.|mx.{letter}.test. A {address}|"
                    for letter, address in (("a", A), ("b", B), ("c", C)))
    dns = Dns([*hosts.strip("|").split("|"), "null.test. MX 0 .", "ring.test. MX 10 mx.c.test.",
               "self.test. MX 10 mx.a.test.", "back.test. MX 5 mx.c.test.", "back.test. MX 10 mx.a.test."], SYSTEM)
    outbound = "retry_least = 1\nretry_most = 2\nrest_most = 2\nlifetime = 60\nwarning = 0"
    a = neighbour(dns, port, "mx.a.test", A, "a.test", "alice", outbound=outbound)
    b = neighbour(dns, port, "mx.b.test", B, "b.test", "bob", outbound=outbound)
    users = ["carol", "jürgen", *(f"r{number}" for number in range(CROWD))]
    c = Postfix(C, port, "mx.c.test", "c.test", users, [("onward", "nobody@b.test")], "ring.test")
    try:
        c.start()
        places = {"a": Place("a.test", "alice", a), "b": Place("b.test", "bob", b), "c": Place("c.test", "carol", c)}
        for one, other in ("ab", "ba", "ac", "ca", "bc", "cb"):
            passes(report, places[one], places[other])
        for part in (crowd, refused, bounces, nowhere, loops):
            guarded(report, part, places)
        wait("both queues are empty", lambda: waits(a) == [] and waits(b) == [])
        report.whole(a)
        report.whole(b)
        panics = re.findall(r".*(?:fatal|panic|warning: process).*", c.log())
        report.check("Postfix has no complaint", not panics, panics)
    except Exception as error:
        report.check("the exchange goes through", False, f"{error!r}\n{a.log()[-2000:]}\n{c.log()[-3000:]}")
    finally:
        for daemon in (a, b):
            daemon.stop()
            daemon.remove()
        c.stop()
        dns.stop()
    report.end()


def guarded(report, part, places):
    """A part that breaks down does not hide the others."""
    try:
        part(report, places)
    except Exception as error:
        report.check(part.__name__, False, repr(error))


def passes(report, sender, to):
    way = f"{sender.domain} to {to.domain}"
    texts = {"dots": b".\r\n..\r\n.two\r\n...\r\nend .\r\n.\r\n", "8-bit": "Grüße, 8 Bit: \u20ac\r\n".encode() * 50,
             "latin": bytes(range(0xA0, 0x100)) + b"\r\n", "long": b"x" * 990 + b"\r\n", "empty": b""}
    numbers = random.Random(way)
    texts["large"] = b"".join(b"%060x%s\r\n" % (numbers.getrandbits(240), b"." * (number % 3))
                              for number in range(82_000))
    for name, text in texts.items():
        mark = f"{name} {way}"
        try:
            sender.send([to.address], message(mark, text, f"From: <{sender.address}>", f"To: <{to.address}>",
                                              "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
                                              "Content-Transfer-Encoding: 8bit"), options=("BODY=8BITMIME",))
            came = to.came(mark)
        except Exception as error:
            report.check(f"{mark}: it comes", False, repr(error))
            # Without the first there is no sense in waiting for the others.
            if name == "dots":
                return
            continue
        same = body(came[0]) == text.replace(b"\r\n", b"\n")
        report.check(f"{mark}: it comes once and as it was", len(came) == 1 and same, f"{len(came)} {came[0][:1500]}")
    guarded_utf8(report, sender, to, way)
    secured(report, sender, to, way)


def guarded_utf8(report, sender, to, way):
    """Addresses beyond ASCII (RFC 6531), where they exist."""
    mark = f"SMTPUTF8 {way}"
    local = "jürgen" if isinstance(to.server, Postfix) else f"{to.user}+größe"
    try:
        sender.send([f"{local}@{to.domain}"], message(f"{mark}", "ü\r\n", f"From: <{sender.address}>",
                                                      f"To: <{local}@{to.domain}>"),
                    options=("SMTPUTF8", "BODY=8BITMIME"))
        came = to.came(mark, local if isinstance(to.server, Postfix) else None)
        whole = email.message_from_bytes(came[0])
        newest = str(whole.get_all("Received")[0])
        report.check(f"{mark}: it comes", len(came) == 1 and f"To: <{local}@".encode() in came[0], came)
        report.check(f"{mark}: with a protocol that says so", "UTF8SMTPS" in newest, newest)
    except Exception as error:
        report.check(f"{mark}: it comes", False, repr(error))


def secured(report, sender, to, way):
    """Both sides say that TLS ran."""
    came = to.came(f"dots {way}")[0]
    received = email.message_from_bytes(came).get_all("Received")
    report.check(f"{way}: the receiver says ESMTPS", "ESMTPS" in received[0] and "TLS" in received[0], received)
    report.check(f"{way}: one return path, that of the sender", email.message_from_bytes(came).get_all(
        "Return-Path") == [f"<{sender.address}>"], came[:800])
    if isinstance(to.server, Postfix):
        told = re.search(r"smtpd\[\d+\]: \S+ TLS connection established from .*TLSv1\.[23]", to.server.log())
        report.check(f"{way}: Postfix's log says that TLS ran", told is not None, to.server.log()[-1500:])
    if isinstance(sender.server, Postfix):
        told = re.search(rf"smtp\[\d+\]: \S+ TLS connection established to mx\.{to.domain}\[.*TLSv1\.[23]",
                         sender.server.log())
        report.check(f"{way}: Postfix's log says that TLS ran", told is not None, sender.server.log()[-1500:])
    else:
        records = [one for one in sender.server.json("audit", "query", "--limit", "1000")
                   if f"to=mx.{to.domain}[" in one["detail"] or f"mx.{to.domain}[" in one["detail"]]
        report.check(f"{way}: the sender's records say that TLS ran", bool(records) and all(
            "tls=TLS" in one["detail"] for one in records), [one["detail"] for one in records][:5])


def crowd(report, places):
    """A message for many goes to each once, whatever the number that one transaction takes."""
    a, c = places["a"], places["c"]
    many = [f"r{number}@c.test" for number in range(CROWD)]
    refused = a.send(many, message("crowd", "to many\r\n"))
    report.check("a crowd: submission takes all", refused == {}, refused)
    wait("the crowd has it", lambda: all(len(c.has(f"r{number}")) >= 1 for number in range(CROWD)))
    time.sleep(2)
    counts = {len(c.has(f"r{number}")) for number in range(CROWD)}
    report.check("a crowd: each has it once", counts == {1}, counts)
    transactions = len(re.findall(r"smtpd\[\d+\]: [0-9A-F]+: client=", c.server.log()))
    report.check("a crowd: in few transactions", transactions < CROWD, transactions)
    many = [f"alice+r{number}@a.test" for number in range(CROWD)]
    refused = c.send(many, message("crowd back", "to many\r\n"))
    a.came("crowd back")

    def taken():
        return set(re.findall(r"to=<(alice\+r\d+@a\.test)>.*status=sent", c.server.log()))
    wait("Postfix has passed all on", lambda: taken() == set(many))
    # An account that a message names more than once has it once from each transaction.
    transactions = len(set(re.findall(r"to=<alice\+r\d+@a\.test>.*status=sent \((.*)\)", c.server.log())))
    came = a.came("crowd back", count=transactions)
    report.check("a crowd from Postfix: all is taken", refused == {} and len(came) == transactions,
                 (refused, len(came), transactions))


def told(report, name, content, recipient, host, kind="5.1.1", action="failed"):
    """A notification that others can read (RFC 3464)."""
    whole, rows = notification(content)
    kinds = [part.get_content_type() for part in whole.get_payload()] if whole.is_multipart() else []
    # A message that is large comes back as its header.
    report.check(f"{name}: a report with its parts", kinds[:2] == ["text/plain", "message/delivery-status"] and
                 kinds[2:] in (["message/rfc822"], ["text/rfc822-headers"]), (kinds, content[:2500]))
    if not rows or len(kinds) != 3:
        return
    fields = whole.get_payload()[1].get_payload()
    report.check(f"{name}: who says so", fields[0]["Reporting-MTA"] == f"dns; {host}", fields[0])
    seen = {name: rows[0][name] for name in ("Final-Recipient", "Action", "Status")}
    report.check(f"{name}: for whom and why", len(rows) == 1 and str(seen["Final-Recipient"]).lower() ==
                 f"rfc822; {recipient}" and seen["Action"] == action and re.fullmatch(kind, str(seen["Status"])),
                 (len(rows), seen))
    report.check(f"{name}: it is from nobody", whole["Return-Path"] in ("<>", "<MAILER-DAEMON>"), whole["Return-Path"])
    report.check(f"{name}: people can read it", recipient in whole.get_payload()[0].get_payload(), content[:2000])


def refused(report, places):
    """An unknown user, at each of them."""
    for one, other in ("ab", "ac", "ca", "cb"):
        sender, to = places[one], places[other]
        before, lost = len(sender.has()), f"nobody@{to.domain}"
        sender.send([lost], message(f"lost {one}{other}", "nobody has it\r\n", "Message-ID: <lost@x.test>"))
        wait(f"{sender.domain} is told", lambda: len(sender.has()) > before)
        time.sleep(1)
        notices = sender.has()[before:]
        report.check(f"an unknown user of {to.domain}: one notification", len(notices) == 1, len(notices))
        told(report, f"an unknown user of {to.domain}", notices[0], lost, f"mx.{sender.domain}")
        report.check(f"an unknown user of {to.domain}: the message came back", b"<lost@x.test>" in notices[0], notices)
    # Known and unknown together: who exists gets it.
    sender, to = places["a"], places["c"]
    before = len(sender.has())
    sender.send(["nobody@c.test", "carol@c.test", "nobody2@c.test"], message("some", "for one\r\n"))
    to.came("some")
    wait("alice is told", lambda: len(sender.has()) > before)
    time.sleep(1)
    rows = [row["Final-Recipient"] for one in sender.has()[before:] for row in notification(one)[1]]
    report.check("some unknown: each is told of once", sorted(rows) == ["rfc822; nobody2@c.test",
                                                                         "rfc822; nobody@c.test"], rows)


def bounces(report, places):
    """Postfix takes a message, passes it on, and tells our user that the third does not have it."""
    a = places["a"]
    before = len(a.has())
    a.send(["onward@c.test"], message("onward", "to b by c\r\n"))
    wait("alice is told by Postfix", lambda: len(a.has()) > before)
    told(report, "a notification that Postfix sent us", a.has()[before], "nobody@b.test", "mx.c.test")
    received = email.message_from_bytes(a.has()[before]).get_all("Received")
    report.check("a notification that Postfix sent us: over TLS", "ESMTPS" in received[0], received)


def nowhere(report, places):
    """Domains that take no mail, and one that does not exist."""
    a = places["a"]
    for lost, kind in (("x@null.test", r"5\.1\.10"), ("x@nowhere.test", r"5\.1\.2")):
        before = len(a.has())
        a.send([lost], message("nowhere", "to none\r\n"))
        wait(f"alice is told of {lost}", lambda: len(a.has()) > before)
        told(report, lost, a.has()[before], lost, "mx.a.test", kind)


def loops(report, places):
    """Mail that would go round in circles comes back at once."""
    a, c = places["a"], places["c"]
    # The host of one is this server itself; that of the other is Postfix, which passes it to itself until it tires.
    for lost, host, kind in (("x@self.test", "mx.a.test", r"5\.4\.6"), ("x@ring.test", "mx.c.test", r"5\.4\.[06]")):
        before = len(a.has())
        a.send([lost], message("loop", "round\r\n"))
        wait(f"alice is told of {lost}", lambda: len(a.has()) > before)
        told(report, lost, a.has()[before], lost, host, kind)
    # The better of two hosts refuses; the other one is this server itself, which must not be tried.
    before = len(a.has())
    a.send(["x@back.test"], message("back", "round\r\n"))
    wait("alice is told of x@back.test", lambda: len(a.has()) > before)
    told(report, "x@back.test", a.has()[before], "x@back.test", "mx.a.test", r"5\..*")
    # Too many servers have seen it.
    before = len(c.has())
    hops = [f"Received: from h{number}.test by h{number + 1}.test; Sat, 21 Nov 2026 10:00:00 +0000"
            for number in range(105)]
    c.send(["alice@a.test"], message("hops", "round\r\n", *hops))
    wait("carol is told", lambda: len(c.has()) > before)
    told(report, "a hundred servers", c.has()[before], "alice@a.test", "mx.c.test", r"5\.4\.6")


if __name__ == "__main__":
    main()
