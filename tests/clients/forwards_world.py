"""Two daemons, one of which forwards to the other; sinks for the servers of others; and a DNS that knows them all.
Mail begins at signer.test, which signs it, and whose policy lets nobody else send for it."""

import re, smtplib, time

import trust_table
from filters_world import answer
from neighbours import PASSWORD, Sink, inbox, insecure, neighbour, waits
from servers import free_ports, wait
from zones import Zones

ORIGIN = "127.0.0.40"
HERE = "127.0.0.1"  # from where the daemons send
A, B = "127.0.0.31", "127.0.0.32"
SINKS = {"out": "127.0.0.33", "plain": "127.0.0.34", "signer": "127.0.0.35"}
OUTBOUND = "retry_least = 1\nretry_most = 2\nrest_most = 2\nlifetime = 30\nwarning = 0"
AUTHOR = "alice@signer.test"


def lost(talk, line):
    """A server that does not know some of its users."""
    return b"550 5.1.1 nobody here\r\n" if b"<lost" in line.lower() else b"250 2.1.5 ok\r\n"


class World:
    def __init__(self, listeners="", hops=50):
        self.keys, self.zones = trust_table.Keys(), Zones()
        self.port, = free_ports(1)
        dsn = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 50000000", "DSN")
        offers = {"out": dsn, "plain": dsn[:-1], "signer": dsn}
        self.sinks = {name: Sink(address, self.port, {"RCPT": lost}, offers[name]) for name, address in SINKS.items()}
        more = (f"[smtp.trust]\ntrusted = []\n[smtp]\nmax_hops = {hops}\nmax_errors = 100000\n"
                'max_message = "1M"\n')
        # neighbour takes anything that has a port for a DNS.
        self.a = neighbour(self.zones, self.port, "mx.a.test", A, "a.test", "anna", "adam", outbound=OUTBOUND,
                           more=more + listeners)
        more = more.replace("trusted = []", 'trusted = []\nsealers = ["a.test"]')
        self.b = neighbour(self.zones, self.port, "mx.b.test", B, "b.test", "bob", outbound=OUTBOUND, more=more)
        self.publish()

    def publish(self):
        """All that DNS says; once more when keys or domains have changed."""
        records = {name: [("TXT", value)] for name, value in self.keys.records.items()}
        records["signer.test"] = [("MX", (10, "mx.signer.test")), ("TXT", f"v=spf1 ip4:{ORIGIN} -all")]
        for name, address in SINKS.items():
            records.setdefault(f"{name}.test", [("MX", (10, f"mx.{name}.test"))])
            records[f"mx.{name}.test"] = [("A", address)]
        for daemon, address in ((self.a, A), (self.b, B)):
            for domain in daemon.json("domain", "list"):
                records[domain] = [("A", address), ("MX", (10, domain)), ("TXT", f"v=spf1 ip4:{HERE} -all")]
                for one in daemon.json("domain", "dns", domain)["records"]:
                    if one["type"] == "TXT" and "._domainkey." in one["name"]:
                        records[one["name"]] = [("TXT", one["value"])]
        self.zones.set(records)
        self.records = records

    def lookup(self):
        """DNS as dkimpy asks for it."""
        texts = {name: value for name, rows in self.records.items() for kind, value in rows if kind == "TXT"}
        return lambda name, timeout=5: texts.get(name.decode().rstrip("."), "").encode() or None

    def message(self, mark, text="Hello\r\n", sign=True, sender=AUTHOR):
        content = (
            f"From: Alice <{sender}>\r\nTo: someone@a.test\r\nSubject: {mark}\r\nMessage-ID: <{mark.replace(' ', '.')}"
                   f"@signer.test>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\n{text}").encode()
        names = [b"from", b"to", b"subject", b"date", b"message-id"]
        return self.keys.sign("rsa", content, (b"relaxed", b"relaxed"), include=names) if sign else content

    def bring(self, to, content, sender=AUTHOR, options=(), wishes=(), address=A, source=ORIGIN, helo="mx.signer.test"):
        """Mail from a server elsewhere."""
        to = [to] if isinstance(to, str) else to
        with smtplib.SMTP(address, self.port, helo, timeout=60, source_address=(source, 0)) as session:
            return answer(session, sender, to, content, options, wishes)

    def submit(self, to, content, options=(), wishes=(), user="anna", sender="anna@a.test"):
        with smtplib.SMTP("127.0.0.1", self.a.port["submission"], timeout=60) as session:
            session.starttls(context=insecure())
            session.login(user, PASSWORD)
            return answer(session, sender, [to] if isinstance(to, str) else to, content, options, wishes)

    def came(self, sink, mark, count=1, seconds=20):
        """What a sink was told of a message: pairs of its commands and the content."""
        def found():
            return [(talk.lines, content) for talk in self.sinks[sink].talks for content in talk.contents
                    if f"Subject: {mark}\r\n".encode() in content]
        wait(f"{count} of {mark} at {sink}", lambda: len(found()) >= count, seconds)
        return found()

    def heard(self, sink, words, seconds=20):
        """The contents with these words in them, which may be within a notification; empty where none came in time."""
        def found():
            return [content for talk in self.sinks[sink].talks for content in talk.contents
                    if words.encode() in content]
        end = time.monotonic() + seconds
        while not found() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)
        return found()

    def has(self, user, mark, daemon=None, folder="INBOX"):
        wanted = f"Subject: {mark}\r\n".encode()
        return [one for one in inbox(daemon or self.a, user, folder) if wanted in one]

    def settle(self):
        wait("nothing waits", lambda: waits(self.a) == [] and waits(self.b) == [], 60)

    def stop(self):
        for daemon in (self.a, self.b):
            daemon.stop()
            daemon.remove()
        for sink in self.sinks.values():
            sink.close()
        self.zones.stop()


def envelope(lines):
    """The sender, its parameters, and the recipients with theirs, of the last transaction."""
    mail = [line.decode() for line in lines if line.upper().startswith(b"MAIL FROM:")][-1]
    rcpt = [line.decode() for line in lines if line.upper().startswith(b"RCPT TO:")]
    sender, more = re.fullmatch(r"MAIL FROM:<(.*?)>(.*)", mail).groups()
    return sender, more, [re.fullmatch(r"RCPT TO:<(.*?)>(.*)", line).groups() for line in rcpt]
