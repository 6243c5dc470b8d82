"""The world that mail is sent to: a DNS server that both sides ask, a host that takes everything, one that refuses
connections and one that never answers."""

import re
import socket
import subprocess
import threading
import time

from peers import run

# Addresses of loopback that nobody else uses. The DNS server has port 53: a system's resolver knows no other.
RESOLVER, TAKES, REFUSES, SILENT = "127.77.0.53", "127.77.1.1", "127.77.1.2", "127.77.1.3"


def free_port(addresses=(TAKES, REFUSES, SILENT)):
    """A port that is free on all of them, and stays so on those that nobody listens on."""
    for _ in range(50):
        probes = [socket.socket() for _ in addresses]
        try:
            probes[0].bind((addresses[0], 0))
            port = probes[0].getsockname()[1]
            for probe, address in zip(probes[1:], addresses[1:]):
                probe.bind((address, port))
            return port
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise SystemExit("no port is free on all addresses")


class Domains:
    """`count` domains, each with an MX of its own; `dead` of them, spread evenly, cannot be reached: every other one
    refuses, the rest never answer."""

    def __init__(self, count, dead):
        self.names = [f"d{number}.test" for number in range(1, count + 1)]
        step = count // dead if dead else 0
        self.dead = {self.names[at * step + step // 2]: (REFUSES, SILENT)[at % 2] for at in range(dead)}

    def records(self):
        for name in self.names:
            yield f"{name}. 3600 IN MX 10 mx.{name}."
            yield f"mx.{name}. 3600 IN A {self.dead.get(name, TAKES)}"

    def living(self, recipients):
        return sum(recipient.partition("@")[2] not in self.dead for recipient in recipients)


class Dns:
    """unbound, which knows these domains and nothing else."""

    name = "unbound"

    def __init__(self, directory, domains):
        self.directory = directory
        directory.mkdir()
        (directory / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:5 attempts:2\n")
        local = "\n".join(f"    local-data: '{record}'" for record in domains.records())
        self.config = directory / "unbound.conf"
        self.config.write_text(f"""server:
    interface: {RESOLVER}
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "{directory}"
    pidfile: ""
    use-syslog: no
    module-config: "iterator"
    num-threads: 1
    so-rcvbuf: 0
    so-sndbuf: 0
    local-zone: "test." static
{local}
remote-control:
    control-enable: no
""")

    def start(self):
        run("unbound-checkconf", self.config)
        log = open(self.directory / "output", "wb")
        self.process = subprocess.Popen(["unbound", "-d", "-c", self.config], stdout=log, stderr=log)
        wait(self, RESOLVER, 53)

    def stop(self):
        end(self.process)


class Sink:
    """`smtp-sink`, which takes every message, `delay` whole seconds after DATA; `taken` is [(moment, messages so far)].
    """

    name = "smtp-sink"

    def __init__(self, port, delay=0):
        self.port, self.delay, self.taken = port, delay, [(time.monotonic(), 0)]
        self.sessions = 0

    def start(self):
        # `-c` tells its counters after every message.
        slow = ["-w", str(self.delay)] if self.delay else []
        self.process = subprocess.Popen(["smtp-sink", "-4", "-c", "-u", "nobody", "-m", "1000", *slow,
                                         f"{TAKES}:{self.port}", "1024"], stdout=subprocess.PIPE)
        wait(self, TAKES, self.port)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        tail = b""
        while part := self.process.stdout.read1(1 << 16):
            now, told = time.monotonic(), re.findall(rb"sess=(\d+) quit=\d+ mesg=(\d+)\r", tail + part)
            tail = (tail + part)[-60:]
            if told:
                self.sessions, count = map(int, told[-1])
                if count > self.count:
                    self.taken.append((now, count))

    @property
    def count(self):
        return self.taken[-1][1]

    def moment(self, count):
        """When that many had been taken."""
        return next((moment for moment, taken in self.taken if taken >= count), None)

    def stop(self):
        end(self.process)


class Silence:
    """A port of which nobody ever hears: who connects is not answered, since as many wait to be accepted as may."""

    def __init__(self, port):
        self.port, self.sockets = port, []

    def start(self):
        listener = socket.socket()
        self.sockets.append(listener)
        listener.bind((SILENT, self.port))
        listener.listen(0)
        for _ in range(8):
            client = socket.socket()
            self.sockets.append(client)
            client.settimeout(0.5)
            try:
                client.connect((SILENT, self.port))
            except TimeoutError:
                return
        raise SystemExit("a full listener goes on answering")

    def stop(self):
        for each in self.sockets:
            each.close()


def wait(server, address, port, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.process.poll() is None:
        try:
            return socket.create_connection((address, port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{server.name} does not serve {address}:{port}")


def end(process, seconds=10):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
