"""Whom mail is from: the cases of RFC 7208, some 400 messages that dkimpy signs, seals and judges as well, policies of
DMARC and what follows from them, keys of our own domains."""

import email, imaplib, json, smtplib, socket, sys

import spf_suite, trust_table
from harness import Daemon, Report
from zones import Zones

PASSWORD = "a long enough password"
PROXY = "127.0.0.9"
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

    def send(self, sender, recipient, message, utf8=False):
        """The answer to a message, or to what kept it from being sent; every octet goes as it is."""
        more = " SMTPUTF8" if utf8 else ""
        for line in (f"MAIL FROM:<{sender}> BODY=BINARYMIME{more}", f"RCPT TO:<{recipient}>"):
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

    def last(self, folder="INBOX"):
        count = int(self.imap.select(folder)[1][0])
        if count == 0:
            return b""
        data = self.imap.fetch(str(count), "(BODY.PEEK[])")[1]
        return data[0][1]


def results(message):
    """The Authentication-Results field that stands first."""
    found = email.message_from_bytes(message).get_all("Authentication-Results") or [""]
    return f"Authentication-Results: {found[0]}"


def settings(dns, trust):
    return (f'proxies = ["{PROXY}"]\n[smtp]\nmax_errors = 1000000\n[smtp.dns]\nservers = ["127.0.0.1:{dns.port}"]\n'
            f"timeout = 1000\n[smtp.trust]\n{trust}\n[auth]\ncleartext = \"loopback\"\n")


def started(dns, trust):
    daemon = Daemon(settings(dns, trust), hostname=HOST).start()
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
                answer = client.send(sender, f"alice@{OURS}", b"From: a@nowhere.test\r\n\r\nx\r\n", not sender.isascii())
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
    keys = trust_table.Keys()
    zones = Zones(texts(keys.records))
    daemon = started(zones, 'dmarc = "mark"')
    try:
        records = {record["name"].rstrip("."): record["value"] for record in
                   daemon.json("domain", "dns", OURS)["records"] if "_domainkey" in record["name"]}
        zones.set(texts({**keys.records, **records}))
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
            user.sendmail(f"alice@{OURS}", [f"alice@{OURS}"], message.replace(b"signer.test", OURS.encode()), ["BODY=8BITMIME"])
            user.quit()
            return mailbox.last().partition(b"\r\n")[2]

        outcome("dkimpy's signatures", report, trust_table.judged(keys, judge))
        report.check("several From fields are refused", refused and
                     all(message.lower().count(b"\r\nfrom:") + message.lower().startswith(b"from:") > 1
                         for message in refused), f"{len(refused)} messages")
        outcome("our signatures", report, trust_table.verified(keys, signed_by_us, records))
    finally:
        report.whole(daemon)
        daemon.stop()
        daemon.remove()
        zones.stop()


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
    spf(report)
    report.end()


if __name__ == "__main__":
    main()
