"""Whom mail is from: the cases of RFC 7208; messages and chains that dkimpy signs and seals and we judge, and ours that
it judges; and what a strict policy of DMARC keeps from INBOX, however the author is written."""

import base64, email, hashlib, imaplib, re, smtplib, socket, sys, time

import spf_suite, trust_table
from harness import Daemon, Report
from neighbours import Sink
from servers import free_ports, wait
from zones import Zones

PASSWORD = "a long enough password"
PROXY, OUT = "127.0.0.9", "127.0.0.10"
OURS, HOST = "ours.test", "mx.ours.test"


class Client:
    """A mail server at any address, by way of a proxy that the daemon trusts."""

    def __init__(self, daemon, address="192.0.2.1", helo="client.test"):
        kind = "TCP6" if ":" in address else "TCP4"
        local = "::1" if ":" in address else "127.0.0.1"
        self.socket = socket.create_connection(("127.0.0.1", daemon.port["smtp"]), 30, source_address=(PROXY, 0))
        self.socket.sendall(f"PROXY {kind} {address} {local} 40000 25\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.answer()
        self.greeted = self.say(f"EHLO {helo}")

    def answer(self):
        lines = []
        while True:
            line = self.file.readline().decode()
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    def say(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.answer()

    def send(self, sender, recipient, message, utf8=False, body="BINARYMIME"):
        """The answer to a message, or to what kept it from being sent; every octet goes as it is."""
        more = " SMTPUTF8" if utf8 else ""
        for line in (f"MAIL FROM:<{sender}> BODY={body}{more}", f"RCPT TO:<{recipient}>"):
            answer = self.say(line)
            if not answer.startswith("250"):
                self.say("RSET")
                return answer
        self.socket.sendall(b"BDAT %d LAST\r\n" % len(message) + message)
        return self.answer()

    def close(self):
        self.file.close()
        self.socket.close()


class Mailbox:
    """A mailbox here, to read what came last."""

    def __init__(self, daemon, user):
        self.imap = imaplib.IMAP4("127.0.0.1", daemon.port["imap"])
        self.imap.login(user, PASSWORD)

    def count(self, folder="INBOX"):
        return int(self.imap.select(folder)[1][0])

    def last(self, folder="INBOX"):
        count = self.count(folder)
        if count == 0:
            return b""
        data = self.imap.fetch(str(count), "(BODY.PEEK[])")[1]
        return data[0][1]


def results(message):
    """The Authentication-Results field that stands first."""
    found = email.message_from_bytes(message).get_all("Authentication-Results") or [""]
    return f"Authentication-Results: {found[0]}"


def settings(dns, trust, timeout, more):
    return (f'proxies = ["{PROXY}"]\n[smtp]\nmax_errors = 1000000\n[smtp.dns]\nservers = ["127.0.0.1:{dns.port}"]\n'
            f'timeout = {timeout}\n[smtp.trust]\n{trust}\n[auth]\ncleartext = "loopback"\n{more}')


def started(dns, trust, timeout=1000, more=""):
    daemon = Daemon(settings(dns, trust, timeout, more), hostname=HOST).start()
    daemon.cli("domain", "add", OURS)
    daemon.add("alice", PASSWORD)
    return daemon


def spf(report):
    """The cases of the RFC, each with the client's address and a DNS of its own."""
    made = []

    def judge_with(port):
        daemon = started(type("Dns", (), {"port": port}), 'spf_fail = "apply"')
        made.append(daemon)
        mailbox = Mailbox(daemon, "alice")

        def judge(address, helo, sender):
            client = Client(daemon, address, helo)
            try:
                if not client.greeted.startswith("250"):
                    return None
                message = b"From: a@nowhere.test\r\n\r\nx\r\n"
                answer = client.send(sender, f"alice@{OURS}", message, not sender.isascii())
            finally:
                client.close()
            if answer.startswith("501"):
                return None
            if answer.startswith("550 5.7.23"):
                said = answer.partition("the domain says: ")[2]
                return "fail", said.rpartition(" (id ")[0] or None
            if not answer.startswith("250"):
                sys.exit(f"not taken from {address}, {helo}, {sender}: {answer}")
            found = trust_table.results(results(mailbox.last()), "spf")
            return found[0].result, None

        return judge

    try:
        report.check("the cases of RFC 7208 come out right", spf_suite.main(judge_with))
    finally:
        for daemon in made:
            report.whole(daemon)
            daemon.stop()
            daemon.remove()


def texts(records):
    return {name: [("TXT", value)] for name, value in records.items()}


def table(report):
    """What dkimpy signs and seals, and what it says of our signatures and seals."""
    keys, (port,) = trust_table.Keys(), free_ports(1)
    zones, sink = Zones(texts(keys.records)), Sink(OUT, port)
    daemon = started(zones, 'dmarc = "mark"', more=f'[smtp.outbound]\ndane = "off"\nport = {port}\n')
    try:
        daemon.cli("alias", "add", f"onward@{OURS}", "x@out.test")
        records = {record["name"].rstrip("."): record["value"] for record in
                   daemon.json("domain", "dns", OURS)["records"] if "_domainkey" in record["name"]}
        zones.set({**texts({**keys.records, **records}), "out.test": [("MX", (10, "mx.out.test"))],
                   "mx.out.test": [("A", OUT)]})
        mailbox, client = Mailbox(daemon, "alice"), Client(daemon)
        refused = []

        def judge(message, address, helo, sender):
            answer = client.send(sender, f"alice@{OURS}", message)
            if answer.startswith("550 5.6.0"):
                refused.append(message)
                return None
            if not answer.startswith("250"):
                sys.exit(f"not taken: {answer}")
            return results(mailbox.last())

        def signed_by_us(message):
            user = smtplib.SMTP("127.0.0.1", daemon.port["submission"], "client.test")
            user.login("alice", PASSWORD)
            user.sendmail(f"alice@{OURS}", [f"alice@{OURS}"], message.replace(b"signer.test", OURS.encode()),
                          ["BODY=8BITMIME"])
            user.quit()
            return mailbox.last().partition(b"\r\n")[2]

        def sealed_by_us(message):
            """As the next server has it, to which it is forwarded."""
            before = len(sink.taken)
            answer = client.send("sender@elsewhere.test", f"onward@{OURS}", message, body="8BITMIME")
            if not answer.startswith("250"):
                sys.exit(f"not taken to be forwarded: {answer}")
            wait("it is forwarded", lambda: len(sink.taken) > before, 30)
            # A line that begins with a dot has one more on the wire (RFC 5321 §4.5.2).
            return re.sub(rb"^\.", b"", sink.taken[-1], flags=re.M)

        outcome("dkimpy's signatures", report, trust_table.judged(keys, judge))
        report.check("several From fields are refused", refused and
                     all(message.lower().count(b"\r\nfrom:") + message.lower().startswith(b"from:") > 1
                         for message in refused), f"{len(refused)} messages")
        outcome("our signatures", report, trust_table.verified(keys, signed_by_us, records))
        outcome("chains of seals", report, trust_table.chained(keys, judge, sealed_by_us, records))
    finally:
        report.whole(daemon)
        daemon.stop()
        daemon.remove()
        sink.close()
        zones.stop()


VICTIM = "bank.test"
SLOW = "slow._domainkey"
# Forms of From that a reader takes for the victim's, or that name nobody.
FORMS = {
    "spaces around the at sign": "ceo @ bank.test", "a comment before the domain": "ceo@(x)bank.test",
    "a comment behind the domain": "ceo@bank.test (x)", "a dot at the end": "ceo@bank.test.",
    "an angle at the end": "ceo@bank.test>", "an angle at the start": "<ceo@bank.test",
    "a backslash at the end": "ceo@bank.test\\", "folded": "\r\n ceo@bank.test", "in capitals": "CEO@BANK.TEST",
    "a route": "<@evil.test:ceo@bank.test>", "a group of one": "g: ceo@bank.test;", "an empty group": "g:;",
    "a group and an address": "g:;, ceo@bank.test",
    "two angles": "<a@evil.test> <ceo@bank.test>",
    "two domains": "a@evil.test, ceo@bank.test", "no domain": "ceo", "nothing": "",
    "a label with a hyphen first": "ceo@-safe.bank.test", "no room for _dmarc": f"ceo@{'b.' * 119}bank.test",
    "words behind the angle": "<a@evil.test> ceo@bank.test", "a literal": "[ceo@bank.test, ] <a@evil.test>",
    "a word behind the domain": "ceo@bank.test x", "where a name should be": "ceo@bank.test <a@evil.test>",
    "in a route": "<@x,ceo@bank.test:a@evil.test>", "before a name": "ceo@bank.test x <a@evil.test>",
    "no end of a comment": "a@evil.test (<ceo@bank.test>", "more than are kept": "a@evil.test, " * 200 + "ceo@bank.test",
    "behind what is read": "a@evil.test (" + "\r\n ".join(["x" * 900] * 40) + "), ceo@bank.test",
}
# What begins or ends where it should not. Without an end of line the last field is one all the same.
HEADERS = {
    "no From": b"Subject: s\r\n\r\nx\r\n",
    "From without an end of line": b"Subject: s\r\nFrom: ceo@bank.test",
    "a second From without an end of line": b"From: a@evil.test\r\nSubject: s\r\nFrom: ceo@bank.test",
    "two From": b"From: a@evil.test\r\nFrom: ceo@bank.test\r\n\r\nx\r\n",
    "a space before the colon": b"From : ceo@bank.test\r\n\r\nx\r\n",
    "From behind a line that is no field": b"Subject: s\r\nodd\r\nFrom: ceo@bank.test\r\n\r\nx\r\n",
}
BODY = b"x\r\n"
MOST_LINES = 5000


def policies(report):
    """A stranger writes in the name of a domain that wants such mail refused."""
    zones = Zones({f"_dmarc.{VICTIM}": [("TXT", "v=DMARC1; p=reject")], f"{SLOW}.evil.test": [("TIMEOUT", None)],
                   f"{SLOW}.{VICTIM}": [("TIMEOUT", None)]})
    # With the DNS's own time to answer, a key that never comes takes all the time that signatures have.
    daemon = started(zones, 'dmarc = "apply"', timeout=4000)
    try:
        mailbox, client = Mailbox(daemon, "alice"), Client(daemon)

        def bring(message):
            return client.send("x@evil.test", f"alice@{OURS}", message)

        def kept_out(message):
            """Whether it is refused, or in Junk; and what was said."""
            before = mailbox.count("INBOX"), mailbox.count("Junk")
            said = bring(message)
            inbox, junk = mailbox.count("INBOX") - before[0], mailbox.count("Junk") - before[1]
            return inbox == 0 and (said.startswith("550") or said.startswith("250") and junk == 1), (said, inbox, junk)

        said = bring(b"From: a@evil.test\r\nSubject: own\r\n\r\n" + BODY)
        report.check("policies: a domain without one is in INBOX", said.startswith("250") and mailbox.count() == 1,
                     said)
        said = bring(b"From: ceo@bank.test\r\nSubject: s\r\n\r\n" + BODY)
        report.check("policies: the victim's plain name is refused", said.startswith("550 5.7."), said)
        for name, form in FORMS.items():
            report.check(f"policies, {name}: not in INBOX",
                         *kept_out(f"From: {form}\r\nSubject: s\r\n\r\n".encode() + BODY))
        for name, message in HEADERS.items():
            report.check(f"policies, {name}: not in INBOX", *kept_out(message))
        begun = time.monotonic()
        said = bring(signed_by("evil.test") + b"From: ceo@bank.test\r\nSubject: s\r\n\r\n" + BODY)
        took = time.monotonic() - begun
        report.check(f"policies, a signature of another domain whose key never comes ({took:.0f} s): refused",
                     said.startswith("550 5.7."), said)
        said = bring(signed_by(VICTIM) + b"From: ceo@bank.test\r\nSubject: s\r\n\r\n" + BODY)
        report.check("policies, a signature of the victim whose key never comes: put off", said.startswith("451 4.7.0"),
                     said)
        lines(report, bring)
        spared(report, daemon, client, zones)
    finally:
        report.whole(daemon)
        daemon.stop()
        daemon.remove()
        zones.stop()


def spared(report, daemon, client, zones):
    """Who is not the one who sends hears nothing of it, nor what mail without a From is about."""
    zones.set({"forged.test": [("TXT", "v=spf1 -all")], "sender.test": [("TXT", "v=spf1 +all")]})

    def told():
        return daemon.store.rows("SELECT COUNT(*) FROM audit WHERE action = 'mail.queue'")[0][0]
    for domain, expected in (("forged.test", 0), ("sender.test", 1)):
        before = told()
        for line in (f"MAIL FROM:<x@{domain}>", f"RCPT TO:<alice@{OURS}> NOTIFY=SUCCESS"):
            client.say(line)
        message = f"From: x@{domain}\r\nSubject: s\r\n\r\n".encode() + BODY
        client.socket.sendall(b"BDAT %d LAST\r\n" % len(message) + message)
        said = client.answer()
        report.check(f"a success that {domain} asks for is told {expected} times", said.startswith("250") and
                     told() - before == expected, (said, told() - before))
    # Whether it is junk.
    for form, expected in (("MAILER-DAEMON", 0), ("<>", 0), ("Mail System <MAILER-DAEMON>", 0),
                           ("ceo@-safe.bank.test", 1), ("=?utf-8?q?ceo=40bank.test?=", 1)):
        mailbox = Mailbox(daemon, "alice")
        before = mailbox.count("Junk")
        said = client.send("", f"alice@{OURS}", f"From: {form}\r\nSubject: s\r\n\r\n".encode() + BODY)
        junk = mailbox.count("Junk") - before
        report.check(f"a notification from {form}, junk: {expected}", said.startswith("250") and junk == expected,
                     (said, junk))


def signed_by(domain):
    """A signature whose body hash is right, so that its key is asked for."""
    hashed = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    return (f"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d={domain}; s=slow; h=From; bh={hashed}; "
            "b=AAAA\r\n").encode()


def lines(report, bring):
    """Each signature goes through all lines of the header: there are not too many."""
    for more, code in ((0, "250"), (1, "552 5.3.4"), (100_000, "552 5.3.4")):
        count = MOST_LINES + more
        fields = b"From: a@evil.test\r\n" + b"X: 1\r\n" * (count - 2)
        said = bring(fields + b"\r\n" + BODY)
        report.check(f"a header of {count} lines: {code}", said.startswith(code), said)
    said = bring(b"From: a@evil.test\r\n\r\n" + b"x\r\n" * 2 * MOST_LINES)
    report.check("a body may have more lines", said.startswith("250"), said)


def outcome(what, report, found):
    count, wrong = 0, []
    for name, fault in found:
        count += 1
        if fault:
            wrong.append(f"{name}: {fault}")
    report.check(f"{what}: {count} cases", count and not wrong, "\n".join(wrong[:5]))


def main():
    report = Report("trust")
    table(report)
    policies(report)
    spf(report)
    report.end()


if __name__ == "__main__":
    main()
