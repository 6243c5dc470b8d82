"""LMTP (RFC 2033): Debian's Postfix and Python hand over mail that they took."""

import email, re, smtplib, time

from forwards_world import A, AUTHOR, ORIGIN
from neighbours import PASSWORD, Postfix, insecure, notification
from servers import free_ports, wait

PORT, SECURE, OTHER = free_ports(3)
LISTENERS = f"""[listen.lmtp]
protocol = "lmtp"
bind = "{A}:{PORT}"
tls = "none"
[listen.lmtps]
protocol = "lmtp"
bind = "{A}:{SECURE}"
tls = "starttls"
"""
C = "127.0.0.36"


def run(report, world):
    world.a.cli("user", "add", "tiny", "--password-stdin", "--quota", "64K", input=PASSWORD + "\n")
    for part in (python, full, told, postfix):
        try:
            part(report, world)
        except Exception as error:
            report.check(f"LMTP, {part.__name__}", False, repr(error))


class Handed(smtplib.LMTP):
    """A session that hears the answer for each recipient."""

    def hand(self, sender, to, content, options=(), wishes=()):
        """What is said of each recipient that was taken, and of those that were not."""
        self.ehlo_or_helo_if_needed()
        code, text = self.mail(sender, options)
        if code != 250:
            return [], [(code, text)]
        answers = [self.rcpt(one, wishes) for one in to]
        refused = [answer for answer in answers if answer[0] != 250]
        if len(refused) == len(to):
            self.rset()
            return [], refused
        first = self.data(content)
        return [first] + [self.getreply() for _ in range(len(to) - len(refused) - 1)], refused


def python(report, world):
    for name, port in (("in the clear", PORT), ("with STARTTLS", SECURE)):
        with Handed(A, port, "lmtp.test") as session:
            session.ehlo()
            has = session.has_extn("starttls")
            if port == SECURE:
                session.starttls(context=insecure())
                session.ehlo()
            report.check(f"LMTP, {name}: offered as the listener says", has == (port == SECURE) and
                         not session.has_extn("starttls") and session.has_extn("pipelining") and
                         session.has_extn("size"), session.esmtp_features)
            mark = f"lmtp {name}"
            taken, refused = session.hand("x@out.test", ["anna@a.test", "nobody@a.test", "adam@a.test", "anna@a.test"],
                                          f"Subject: {mark}\r\nFrom: <x@out.test>\r\n\r\nx\r\n".encode())
            report.check(f"LMTP, {name}: an answer for each that was taken", [code for code,
                                                                              _ in taken] == [250] * 3 and
                         [code for code, _ in refused] == [550], (taken, refused))
            for user in ("anna", "adam"):
                found = world.has(user, mark)
                received = str(email.message_from_bytes((found or [b""])[0])["Received"])
                report.check(f"LMTP, {name}: {user} has it once", len(found) == 1 and re.search(
                    r"with LMTPS " if port == SECURE else r"with LMTP ", received), (len(found), received))
            # The session stands where it should.
            taken, refused = session.hand("x@out.test", ["anna@a.test"], b"Subject: next\r\n\r\nx\r\n")
            report.check(f"LMTP, {name}: and the next one", [code for code, _ in taken] == [250], (taken, refused))
            # The server that hands it over is not where it came from: its address proves nothing of the sender.
            taken, refused = session.hand("alice@signer.test", ["anna@a.test"], world.message(f"checked {port}",
                                                                                              sign=False))
            report.check(f"LMTP, {name}: mail that another server has judged is not refused", [code for code,
                                                                                               _ in taken] ==
                         [250] and world.has("anna", f"checked {port}"), (taken, refused))
            taken, refused = session.hand("x@out.test", ["y@out.test"], b"Subject: relay\r\n\r\nx\r\n")
            report.check(f"LMTP, {name}: no mail for elsewhere", taken == [] and refused[0][0] == 550, (taken, refused))
            session.hand("x@out.test", ["nobody@a.test"], b"")
            code, text = session.docmd("DATA")
            report.check(f"LMTP, {name}: DATA without a recipient", code == 503, (code, text))
    with smtplib.SMTP(A, PORT, timeout=20) as session:
        code, text = session.docmd("EHLO x.test")
        report.check("LMTP: EHLO is refused", code == 500, text)
    with Handed(A, PORT, "lmtp.test") as session:
        world.a.cli("alias", "add", "dots@a.test", "anna", "adam")
        text = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n"
        taken, _ = session.hand("", ["dots@a.test"], text)
        report.check("LMTP: from nobody, to a group, one answer", [code for code, _ in taken] == [250] and
                     all(one.endswith(b"\r\n\r\n.\r\n..\r\n.x\r\n") for one in world.has("adam", "dots")), taken)
    code = binary("anna")
    report.check("LMTP: BDAT has an answer for each too", code == [250, 250], code)
    for name, protocol, port in (("LMTP", Handed, PORT), ("SMTP", smtplib.SMTP, world.port)):
        with protocol(A, port, "lmtp.test", timeout=60, source_address=(ORIGIN, 0)) as session:
            too_large(report, name, session)


def too_large(report, name, session):
    """Only the last chunk is answered for each recipient: what fails before is one reply to one command (RFC 3030)."""
    session.ehlo()
    most = int(session.esmtp_features["size"])
    for last in (False, True):
        session.mail("x@out.test")
        session.rcpt("anna@a.test")
        session.rcpt("adam@a.test")
        content = b"Subject: large\r\n\r\n".ljust(most + 1, b"x")
        session.send(b"BDAT %d%s\r\n" % (len(content), b" LAST" if last else b"") + content + b"NOOP\r\n")
        count = 2 if last and name == "LMTP" else 1
        codes = [session.getreply()[0] for _ in range(count + 1)]
        report.check(f"{name}: answers to a chunk too large{', the last' if last else ''}: {count}", codes ==
                     [552] * count + [250], codes)
        code, text = session.docmd("BDAT", "0 LAST")
        report.check(f"{name}: behind it there is no transaction", code == 503, (code, text))
        session.rset()


def binary(user):
    with Handed(A, PORT, "lmtp.test") as session:
        session.ehlo()
        session.mail("x@out.test")
        session.rcpt(f"{user}@a.test")
        session.rcpt("adam@a.test")
        content = b"Subject: chunks\r\n\r\nx\r\n"
        session.send(b"BDAT %d\r\n" % len(content) + content)
        if session.getreply()[0] != 250:
            return "the first chunk was not taken"
        session.send(b"BDAT 0 LAST\r\n")
        return [session.getreply()[0] for _ in range(2)]


def full(report, world):
    """One of the recipients has no room: the others must not suffer (RFC 2033 section 4.2)."""
    text = b"x" * 70 + b"\r\n"
    content = b"Subject: no room\r\nFrom: <x@out.test>\r\n\r\n" + text * 1500
    with Handed(A, PORT, "lmtp.test") as session:
        taken, refused = session.hand("x@out.test", ["anna@a.test", "tiny@a.test", "adam@a.test"], content)
    codes = [code for code, _ in taken]
    report.check("LMTP, one mailbox is full: that one alone is put off", codes == [250, 452, 250] or
                 (codes == [250, 250] and [code for code, _ in refused] == [452]), (taken, refused))
    report.check("LMTP, one mailbox is full: the others have it", len(world.has("anna", "no room")) == 1 and
                 len(world.has("adam", "no room")) == 1)
    with smtplib.SMTP(A, world.port, timeout=60, source_address=(ORIGIN, 0)) as session:
        session.ehlo()
        session.mail("x@out.test")
        codes = [session.rcpt(f"{user}@a.test")[0] for user in ("anna", "tiny", "adam")]
        code, said = session.data(content.replace(b"no room", b"smtp room"))
    has = len(world.has("anna", "smtp room")), len(world.has("adam", "smtp room"))
    report.check("SMTP, one mailbox is full: the others have it", (codes, code, has) == ([250] * 3, 250, (1, 1)),
                 (codes, code, said, has))
    for name, session in (("SMTP", smtplib.SMTP(A, world.port, timeout=60, source_address=(ORIGIN, 0))),
                          ("LMTP", Handed(A, PORT, "lmtp.test"))):
        with session:
            session.ehlo()
            session.mail("x@out.test", [f"size={len(content)}"])
            answers = [session.rcpt(f"{user}@a.test") for user in ("tiny", "anna")]
        report.check(f"{name}, a message that says how long it is: who has no room is refused at once",
                     [code for code, _ in answers] == [452, 250] and answers[0][1].startswith(b"4.2.2 "), answers)


def told(report, world):
    """Who has no room misses what the others get, and the sender hears of it."""
    world.a.cli("alias", "add", "office@a.test", "anna", "tiny", "adam")
    text = ("x" * 70 + "\r\n") * 1500
    for name, to, address in (("a member of a group", ["office@a.test"], "office@a.test"),
                              ("one of two recipients", ["tiny@a.test", "anna@a.test"], "tiny@a.test"),
                              ("a member, by LMTP", ["office@a.test"], "office@a.test")):
        mark = f"no room for {name}"
        if "LMTP" in name:
            with Handed(A, PORT, "lmtp.test") as session:
                taken, _ = session.hand(AUTHOR, to, world.message(mark, text))
            said = str(taken[0][0])
        else:
            said = world.bring(to, world.message(mark, text))
        report.check(f"no room for {name}: taken", said.startswith("250"), said)
        for user, count in (("anna", 1), ("adam", len(to) % 2), ("tiny", 0)):
            report.check(f"no room for {name}: what {user} has", len(world.has(user, mark)) == count)
        notices = world.heard("signer", f"<{mark.replace(' ', '.')}@signer.test>")
        rows = [(row["Action"], row["Status"], str(row["Final-Recipient"]).replace(" ", "")) for one in notices
                for row in notification(one)[1]]
        report.check(f"no room for {name}: the sender hears of the address", rows == [
            ("failed", "5.2.2", f"rfc822;{address}")], rows)
        refused = world.a.json("audit", "query", "--limit", "1", "--action", "mail.deliver", "--outcome", "refused")
        report.check(f"no room for {name}: the audit log names who got nothing", [
            record["target"] for record in refused] == [address], refused)


def postfix(report, world):
    """Postfix takes mail for a domain, and hands it over by virtual_transport."""
    world.a.cli("domain", "add", "c.test")
    users = ["anna", "adam", "tiny", "ghost"]
    for name, port, level in (("in the clear", PORT, "none"), ("with STARTTLS", SECURE, "encrypt")):
        c = Postfix(C, free_ports(1)[0], "mx.c.test", "c.test", users)
        with open(c.etc / "main.cf", "a") as settings:
            settings.write(f"virtual_transport = lmtp:inet:[{A}]:{port}\nlmtp_tls_security_level = {level}\n"
                           "lmtp_tls_loglevel = 1\nvirtual_mailbox_limit = 0\n"
                           "lmtp_destination_recipient_limit = 50\nmaximal_queue_lifetime = 20s\n")
        with open(c.etc / "master.cf", "a") as services:
            services.write("lmtp unix - - n - - lmtp\n")
        try:
            c.start()
            hand(report, world, c, name)
        finally:
            c.remove()


def hand(report, world, c, name):
    mark, sender = f"postfix {name}", "writer@out.test"
    # Someone here hears what Postfix says of failures.
    with smtplib.SMTP(c.address, c.port, timeout=60) as session:
        session.sendmail(sender, ["anna@c.test", "ghost@c.test", "adam@c.test"],
                         f"Subject: {mark}\r\nFrom: <{sender}>\r\n\r\nby Postfix\r\n")
    status = {}

    def done():
        for user, word, why in re.findall(r"to=<(\w+)@c\.test>.*?status=(\w+) \((.*)\)", c.log()):
            status[user] = (word, why)
        return len(status) == 3
    wait("Postfix has handed it over", done, 30)
    report.check(f"LMTP from Postfix, {name}: who is known has it, who is not comes back",
                 status["anna"][0] == "sent" and
                 status["adam"][0] == "sent" and status["ghost"][0] == "bounced" and "5.1.1" in status["ghost"][1],
                 status)
    report.check(f"LMTP from Postfix, {name}: each once", [len(world.has(user, mark)) for user in ("anna", "adam")] ==
                 [1, 1], status)
    received = [str(one) for one in email.message_from_bytes(world.has("anna", mark)[0]).get_all("Received")]
    word = "LMTPS" if "STARTTLS" in name else "LMTP"
    report.check(f"LMTP from Postfix, {name}: the field says {word}", f"with {word} " in received[0], received)
    status.clear()
    mark += " full"
    begun = len(c.log())
    with smtplib.SMTP(c.address, c.port, timeout=60) as session:
        session.sendmail(sender, ["anna@c.test", "tiny@c.test", "adam@c.test"],
                         f"Subject: {mark}\r\nFrom: <{sender}>\r\n\r\n" + ("x" * 70 + "\r\n") * 1500)
    wait("Postfix has tried", lambda: len(re.findall(r"to=<\w+@c\.test>", c.log()[begun:])) >= 3, 30)
    time.sleep(1)
    found = dict(re.findall(r"to=<(\w+)@c\.test>.*?status=(\w+)", c.log()[begun:]))
    report.check(f"LMTP from Postfix, {name}: a full mailbox is put off alone", found == {
        "anna": "sent", "adam": "sent", "tiny": "deferred"}, (found, c.log()[begun:][-1500:]))
