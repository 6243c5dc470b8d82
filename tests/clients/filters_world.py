"""A daemon that mail from outside comes to by way of a proxy, so that it may come from any address."""

import signal, smtplib, time

from harness import Daemon
from neighbours import PASSWORD, inbox, insecure
from zones import Zones

OURS, HOST = "ours.test", "mx.ours.test"
PROXY = "127.0.0.9"


class Outside(smtplib.SMTP):
    """A mail server at any address, by way of a proxy that the daemon trusts."""

    def __init__(self, daemon, address="192.0.2.1", helo="client.test"):
        self.seen_as = address
        super().__init__("127.0.0.1", daemon.port["smtp"], helo, timeout=300, source_address=(PROXY, 0))

    def _get_socket(self, host, port, timeout):
        made = super()._get_socket(host, port, timeout)
        kind, local = ("TCP6", "::1") if ":" in self.seen_as else ("TCP4", "127.0.0.1")
        made.sendall(f"PROXY {kind} {self.seen_as} {local} 40000 25\r\n".encode())
        return made


def answer(session, sender, to, content, options=(), wishes=()):
    """What the server says last, whether it takes the message or not."""
    session.ehlo_or_helo_if_needed()
    code, text = session.mail(sender, options)
    for one in to if code == 250 else ():
        code, text = session.rcpt(one, wishes)
        if code != 250:
            break
    if code == 250:
        code, text = session.data(content)
    else:
        session.rset()
    return f"{code} {text.decode()}"


def letter(mark, text, *fields, sender="x@elsewhere.test"):
    """A message with CRLF throughout."""
    head = [f"Subject: {mark}", f"From: <{sender}>", f"To: <alice@{OURS}>", "Date: Sat, 21 Nov 2026 10:00:00 +0000",
            f"Message-ID: <{mark.replace(' ', '.')}@elsewhere.test>", *fields]
    return ("\r\n".join(head) + "\r\n\r\n" + text + "\r\n").encode()


class World:
    """The daemon with two users, its DNS, and its filters; `settings` changes what it thinks of them by SIGHUP."""

    def __init__(self, rspamd=None, clamd=None, records=None, more=""):
        self.rspamd, self.clamd, self.zones = rspamd, clamd, Zones(records)
        self.text = self.tables(more=more)
        self.daemon = Daemon(self.text, hostname=HOST).start()
        self.daemon.cli("domain", "add", OURS)
        for user in ("alice", "bob"):
            self.daemon.add(user, PASSWORD)

    def tables(self, rspamd="", clamd="", trusted='["203.0.113.0/24"]', more=""):
        text = (f'proxies = ["{PROXY}"]\n[smtp]\nmax_errors = 1000000\n[smtp.dns]\nservers = ["127.0.0.1:'
                f'{self.zones.port}"]\ntimeout = 1000\n[smtp.trust]\ntrusted = {trusted}\n')
        if self.rspamd:
            timeout = "" if "timeout" in rspamd else "timeout = 30\n"
            text += f'[smtp.rspamd]\nurl = "{self.rspamd.url}"\n{timeout}{rspamd}\n'
        if self.clamd:
            timeout = "" if "timeout" in clamd else "timeout = 30\n"
            text += f'[smtp.clamd]\naddress = "{self.clamd.address}"\n{timeout}{clamd}\n'
        return text + f'[auth]\ncleartext = "loopback"\n{more}\n'

    def settings(self, **changes):
        """The daemon reads another configuration."""
        text = self.tables(**changes)
        whole = self.daemon.config.read_text()
        before = len(self.daemon.log())
        self.daemon.config.write_text(whole.replace(self.text, text))
        self.text = text
        self.daemon.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while "read anew" not in (told := self.daemon.log()[before:]):
            if "nothing was changed" in told or time.monotonic() > end:
                raise RuntimeError(f"the configuration was not read anew: {told}")
            time.sleep(0.02)

    def bring(self, content, sender="x@elsewhere.test", to=(f"alice@{OURS}",), address="192.0.2.1", helo="client.test",
              options=(), wishes=()):
        """Mail from outside; what the daemon says of it."""
        with Outside(self.daemon, address, helo) as session:
            return answer(session, sender, to, content, options, wishes)

    def session(self, user="alice"):
        """A user who is logged in, to send."""
        session = smtplib.SMTP("127.0.0.1", self.daemon.port["submission"], timeout=120)
        session.starttls(context=insecure())
        session.login(user, PASSWORD)
        return session

    def has(self, mark, user="alice", folder="INBOX"):
        """The message with a subject; empty where there is none."""
        wanted = f"Subject: {mark}\r\n".encode()
        return next((one for one in reversed(inbox(self.daemon, user, folder)) if wanted in one), b"")

    def junk(self, mark, user="alice"):
        return self.has(mark, user, "Junk")

    def stop(self):
        self.daemon.stop()
        self.daemon.remove()
        self.zones.stop()
