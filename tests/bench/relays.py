"""Both sides of the comparison of sending: each fills its queue without sending, and then sends."""

import os
import pathlib
import shutil
import signal
import sqlite3
import time

from away import RESOLVER
from peers import DOMAIN, HOST, Postfix, free_port, run
from wharfinger import ACCOUNT, Wharfinger

CONNECTIONS = 200  # at once to other servers; of both sides
NEVER = 1 << 50  # milliseconds


class Sender(Wharfinger):
    """Mail comes by submission, without TLS; its queue rests until it is told to send."""

    def __init__(self, directory, tls, dns, port):
        super().__init__(directory, tls, ["https", "submission"], f"""
[smtp.dns]
servers = ["{RESOLVER}:53"]

[smtp.outbound]
port = {port}
connections = {CONNECTIONS}
dane = "off"
hourly = 0

[auth]
cleartext = "loopback"

[limits]
per_address = 1000
drain = 1
""", users=())
        self.sender, self.login_as = f"{ACCOUNT}@{DOMAIN}", ACCOUNT

    LISTENERS = {**Wharfinger.LISTENERS, "submission": ("submission", "starttls")}

    def receive(self, destinations, sends):
        """Takes mail for these destinations from now on; whether it sends any yet."""
        self.start()
        self.port = self.submission
        if not sends:
            rest = "INSERT INTO resting (destination, until, said) VALUES (?, ?, 'the bench waits')"
            self._change(lambda rows: rows.executemany(rest, [(name, NEVER) for name in destinations]))

    def release(self):
        """Sends what it holds; the moment at which it was told to."""
        self.halt()
        self._change(lambda rows: rows.execute("DELETE FROM resting"))
        os.sync()
        now = time.monotonic()
        self.launch([self.binary, "serve", *self.where()], self.https)
        return now

    def waiting(self):
        """How many recipients wait."""
        rows = sqlite3.connect(f"file:{self._database()}?mode=ro", uri=True)
        try:
            return rows.execute("SELECT COUNT(*) FROM queue").fetchone()[0]
        finally:
            rows.close()

    def halt(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _database(self):
        return next((self.directory / "data").glob("*.db"))

    def _change(self, change):
        rows = sqlite3.connect(self._database(), timeout=30)
        try:
            with rows:
                change(rows)
        finally:
            rows.close()


class Relay(Postfix):
    """As many connections at once as ours; everything else as it is in the package, but for the pause that it makes
    when more comes than goes, which would cost it time. It asks the resolver of the system, so it sees a
    /etc/resolv.conf of its own."""

    def __init__(self, directory, tls, dns, port):
        super().__init__(directory, tls)
        self.dns, self.port_out = dns, port
        self.sender, self.login_as = f"{ACCOUNT}@{DOMAIN}", None

    def receive(self, _destinations, sends):
        self.port = self.smtp = free_port()
        self.conf, self.spool, lib = (self.directory / part for part in ("etc", "spool", "lib"))
        for part in (self.conf, self.spool, lib):
            part.mkdir()
        self.directory.chmod(0o755)
        shutil.chown(lib, "postfix")
        (self.conf / "main.cf").write_text(MAIN.format(relay=self, lib=lib, daemons=self._daemons(), domain=DOMAIN,
                                                       host=HOST, connections=CONNECTIONS))
        self._services(sends)
        run("postfix", "-c", self.conf, "check")
        self._master()

    def release(self):
        self.halt()
        self._services(True)
        os.sync()
        now = time.monotonic()
        self._master()
        return now

    def waiting(self):
        """How many messages are in the queue; each has one recipient."""
        found = set()  # one may be seen on its way from one folder to the other
        for queue in ("maildrop", "incoming", "active", "deferred"):
            found.update(file.name for file in self._queued(queue))
        return len(found)

    def halt(self):
        self.process.terminate()
        self.process.wait(60)

    def _services(self, sends):
        (self.conf / "master.cf").write_text(f"{HOST}:{self.smtp} inet n - n - - smtpd\n{SERVICES}"
                                             f"{SENDING.format(connections=CONNECTIONS) if sends else ''}")

    def _master(self):
        # In a mount namespace of its own; `exec` and `-d` keep the pid.
        inside = 'mount --bind "$1" /etc/resolv.conf && exec "$2" -c "$3" -d'
        self.launch(["unshare", "--mount", "sh", "-c", inside, "sh", self.dns / "resolv.conf",
                     pathlib.Path(self._daemons()) / "master", self.conf], self.smtp)


MAIN = """
compatibility_level = 3.6
queue_directory = {relay.spool}
data_directory = {lib}
daemon_directory = {daemons}
multi_instance_name = bench
maillog_file = {relay.directory}/maillog
maillog_file_prefixes = {relay.directory}
myhostname = mx.{domain}
mydomain = {domain}
mydestination =
local_recipient_maps =
mynetworks = 127.0.0.1/32
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
inet_interfaces = {host}
inet_protocols = ipv4
smtp_tcp_port = {relay.port_out}
default_process_limit = {connections}
in_flow_delay = 0
alias_maps =
alias_database =
biff = no
"""
SERVICES = """
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""
# Without the queue manager mail is taken and stays where it came in.
SENDING = """qmgr unix n - n 300 1 qmgr
smtp unix - - n - {connections} smtp
"""
