#!/usr/bin/env python3
"""Mail by the routes of the configuration: a smarthost that wants TLS and a log-in (another daemon, and one that knows
AUTH LOGIN alone), single domains, and what goes to one host going together."""

import base64, collections, pathlib, smtplib, socket, ssl, threading, time

import neighbours
from harness import Daemon, Report, run
from servers import free_ports, wait
from sink import Sink
from transport import PASSWORD, submit

BEYOND = "b\u00fccher.test"


def main():
    report = Report("routes")
    ports = free_ports(3)
    beyond, single, login = Sink("127.0.0.1", ports[0]), Sink("127.0.0.1", ports[1]), LoginOnly(ports[2])
    # It sends on in the clear to what stands for the rest of the world.
    smart = Daemon('[auth]\ncleartext = "loopback"\n[smtp.outbound]\ndane = "off"\nroutes = [{ domains = ["*"], '
                   f'host = "127.0.0.1:{ports[0]}", tls = "opportunistic" }}]\n').start()
    smart.cli("domain", "add", "a.test")
    smart.add("relay", PASSWORD)
    smart.cli("alias", "add", "alice@a.test", "relay")
    roots = smart.folder / "roots.pem"
    roots.write_text(smart.certificate.read_text() + login.certificate.read_text())
    try:
        for part in (together, unverified, shut_out, singly, many, walks, turns, by_login):
            part(report, smart, beyond, single, login, roots)
        report.whole(smart)
    finally:
        smart.stop()
        smart.remove()
        beyond.stop()
        single.stop()
        login.stop()
    report.end()


class Sender:
    """A daemon with these routes, whose user alice sends."""

    def __init__(self, routes, roots, report, more=""):
        self.report = report
        outbound = (f'dane = "off"\nretry_least = 1\nretry_most = 2\nroots = "{roots}"\n'
                    f'routes = [{", ".join(routes)}]\n{more}')
        self.daemon = Daemon(f'[auth]\ncleartext = "loopback"\n[smtp.outbound]\n{outbound}', hostname="mx.a.test")

    def __enter__(self):
        self.daemon.start()
        self.daemon.cli("domain", "add", "a.test")
        self.daemon.add("alice", PASSWORD)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.report.whole(self.daemon)
        self.daemon.stop()
        self.daemon.remove()

    def send(self, mark, *to):
        submit(self.daemon, "alice", "alice@a.test", list(to),
               f"From: alice@a.test\r\nSubject: {mark}\r\nX-Number: {mark}\r\n\r\nhello\r\n")

    def waiting(self):
        return neighbours.waits(self.daemon)


def route(domains, port, **more):
    names = ", ".join(f'"{name}"' for name in domains)
    more = "".join(f", {name} = {value}" for name, value in more.items())
    return f'{{ domains = [{names}], host = "127.0.0.1:{port}"{more} }}'


def smarthost(smart, password=PASSWORD):
    return route(["*"], smart.port["submissions"], implicit="true", username='"relay"', password=f'"{password}"')


def logins(daemon, outcome):
    return daemon.store.rows("SELECT COUNT(*) FROM audit WHERE action = 'auth.login' AND outcome = $1", outcome)[0][0]


def together(report, smart, beyond, single, login, roots):
    to = [f"user{number}@{number}.test" for number in range(60)]
    with Sender([smarthost(smart)], roots, report) as sender:
        sender.send("1", *to)
        wait("all have it", lambda: len(beyond.taken) == 60, 30)
        report.check("a smarthost takes what goes to sixty domains", sorted(beyond.arrivals()) == sorted(to),
                     sorted(beyond.arrivals()))
        report.check("by one connection and one log-in", logins(smart, "done") == 1, logins(smart, "done"))
        report.check("which sends it on in one transaction", len(beyond.connections) == 1 and
                     len({one.begun for one in beyond.taken}) == 1, beyond.taken)
        wait("the queue is empty", lambda: not sender.waiting())
        report.check("nothing waits", sender.waiting() == [])


def unverified(report, smart, beyond, single, login, roots):
    before = len(neighbours.waits(smart)), logins(smart, "done")
    nobody = roots.parent / "nobody.pem"
    nobody.write_bytes(login.certificate.read_bytes())
    with Sender([smarthost(smart)], nobody, report) as sender:
        sender.send("2", "user@out.test")
        wait("it was tried", lambda: sender.waiting()[0]["attempts"] > 0, 30)
        said = sender.waiting()[0]["said"]
        report.check("a smarthost with a wrong certificate gets nothing", "certificate" in said.lower() and
                     before == (len(neighbours.waits(smart)), logins(smart, "done")), said)


def shut_out(report, smart, beyond, single, login, roots):
    before = logins(smart, "failed") + logins(smart, "refused")
    with Sender([smarthost(smart, password="wrong")], roots, report) as sender:
        for number in range(30):
            sender.send(f"3{number}", f"user@{number}.test")
        wait("it was tried", lambda: any("log us in" in row["said"] or "let us log in" in row["said"]
                                         for row in sender.waiting()), 60)
        waiting = sender.waiting()
        tries = logins(smart, "failed") + logins(smart, "refused") - before
        report.check("with a wrong password all wait", len(waiting) == 30, waiting)
        report.check("and few have knocked", 0 < tries <= 10, tries)


def singly(report, smart, beyond, single, login, roots):
    plain = {"tls": '"opportunistic"'}
    routes = [route(["one.test", "*.below.test", BEYOND], single.server.sockets[0].getsockname()[1], **plain),
              route(["*"], beyond.server.sockets[0].getsockname()[1], **plain)]
    to = ["a@one.test", "a@x.below.test", "a@xn--bcher-kva.test", "b@ONE.test"]
    others = ["a@below.test", "a@xone.test", "a@two.test"]
    before = len(beyond.taken)
    with Sender(routes, roots, report) as sender:
        sender.send("4", *to, *others)
        wait("all have it", lambda: len(single.taken) == 4 and len(beyond.taken) == before + 3, 30)
        found = sorted(single.arrivals())
        report.check("a route takes its domains, those below one, and those beyond ASCII", found == sorted(to), found)
        found = sorted(one.recipient for one in beyond.taken[before:])
        report.check("and no others", found == sorted(others), found)


def many(report, smart, beyond, single, login, roots):
    """A server must take a hundred recipients, and need not take more (RFC 5321 §4.5.3.1.8)."""
    to, before = [f"user{number}@many.test" for number in range(230)], len(single.taken)
    plain = {"tls": '"opportunistic"'}
    with Sender([route(["*"], single.server.sockets[0].getsockname()[1], **plain)], roots, report) as sender:
        sender.send("6", *to)
        wait("all have it", lambda: len(single.taken) == before + len(to), 30)
        taken = single.taken[before:]
        found = sorted(one.recipient for one in taken)
        report.check("a message for 230 reaches each once", found == sorted(to), found)
        sizes = sorted(collections.Counter((one.client, one.begun) for one in taken).values())
        report.check("in transactions of a hundred", sizes == [30, 100, 100], sizes)


def walks(report, smart, beyond, single, login, roots):
    """A connection to a host takes what is due for the domains of its route, of which there are more than the 64 that
    one claim looks at."""
    to, before, single.most = [f"user@{number}.walk.test" for number in range(150)], len(single.taken), 0
    plain = {"tls": '"opportunistic"'}
    with Sender([route(["*"], single.server.sockets[0].getsockname()[1], **plain)], roots, report) as sender:
        single.delay = lambda step, argument: 3 if step == "greeting" else 0
        for number, one in enumerate(to):
            sender.send(f"7{number}", one)
        wait("all have it", lambda: len(single.taken) >= before + len(to), 60)
        single.delay = lambda step, argument: 0
        found = sorted(one.recipient for one in single.taken[before:])
        report.check("150 messages to 150 domains reach their host once", found == sorted(to), found)
        report.check("by no more connections at once than a destination is given", 0 < single.most <= 20, single.most)


def turns(report, smart, beyond, single, login, roots):
    """A host that takes a second for each message has the only connection; another one's turn comes all the same."""
    count, before, others, plain = 20, len(single.taken), len(beyond.taken), {"tls": '"opportunistic"'}
    routes = [route(["slow.test"], single.server.sockets[0].getsockname()[1], **plain),
              route(["*"], beyond.server.sockets[0].getsockname()[1], **plain)]
    with Sender(routes, roots, report, "connections = 1\n") as sender:
        single.delay = lambda step, argument: 1 if step == "end" else 0
        with smtplib.SMTP("127.0.0.1", sender.daemon.port["submission"], timeout=60) as session:
            session.login("alice", PASSWORD)
            slow = [f"user{number}@slow.test" for number in range(count)]
            for number, to in enumerate([*slow, "user@quick.test"]):
                session.sendmail("alice@a.test", [to], f"Subject: turns\r\nX-Number: {800 + number}\r\n\r\nx\r\n")
                number == 0 and wait("the connection is used", lambda: single.open == 1, 30)
        begun = len(single.taken) - before
        wait("three are taken", lambda: len(single.taken) >= before + 3, 60)
        time.sleep(0.5)  # until that is written down
        claimed = sum(row["sending"] for row in sender.waiting())
        wait("the other one has it", lambda: len(beyond.taken) > others, 60)
        waited = len(single.taken) - before
        wait("all have it", lambda: len(single.taken) >= before + count, 60)
        single.delay = lambda step, argument: 0
        report.check("what waits for a slow host is claimed one by one", claimed <= 1, claimed)
        report.check("a slow host does not keep the connection from others", waited - begun <= 8 and waited < count - 1,
                     (begun, waited))
        found = sorted(one.recipient for one in single.taken[before:])
        report.check("and gets each message once", found == sorted(slow), found)


def by_login(report, smart, beyond, single, login, roots):
    with Sender([route(["*"], login.port, implicit="true", username='"relay"', password='"open sesame"')], roots,
                report) as sender:
        sender.send("5", "user@out.test")
        wait("it has it", lambda: login.taken, 30)
        report.check("a server that knows AUTH LOGIN alone lets us in", login.said == ["relay", "open sesame"],
                     login.said)
        report.check("and takes the message", b"Subject: 5" in login.taken[0], login.taken)


class LoginOnly:
    """A submission server with TLS from the first byte on, which knows AUTH LOGIN alone, as some large ones do."""

    def __init__(self, port):
        self.port, self.taken, self.said = port, [], []
        self.certificate, key = (f"/tmp/wharfinger-login-{port}.{kind}" for kind in ("pem", "key"))
        done = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=login",
                   "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout",
                   key, "-out", self.certificate)
        assert done.returncode == 0, done.stderr
        self.certificate, self.key = pathlib.Path(self.certificate), pathlib.Path(key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, self.key)
        self.listening = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.run, daemon=True).start()

    def stop(self):
        self.listening.close()
        self.certificate.unlink()
        self.key.unlink()

    def run(self):
        while True:
            try:
                with self.listening.accept()[0] as plain, self.context.wrap_socket(plain, server_side=True) as tls:
                    self.session(tls.makefile("rwb", buffering=0))
            except ssl.SSLError:
                pass
            except OSError:
                return

    def session(self, stream):
        def ask(text):
            stream.write(text.encode() + b"\r\n")
            return stream.readline().decode().strip()

        command, known = ask("220 login.test ready"), False
        while command:
            verb = command.split(" ")[0].upper()
            if verb == "EHLO":
                command = ask("250-login.test\r\n250 AUTH=LOGIN" if not known else "250 login.test")
            elif command.upper() == "AUTH LOGIN":
                name = base64.b64decode(ask("334 " + base64.b64encode(b"Username:").decode())).decode()
                word = base64.b64decode(ask("334 " + base64.b64encode(b"Password:").decode())).decode()
                self.said, known = [name, word], True
                command = ask("235 2.7.0 welcome")
            elif verb == "DATA":
                lines = [ask("354 go on")]
                while lines[-1] != ".":
                    lines.append(stream.readline().decode().strip())
                self.taken.append("\n".join(lines).encode())
                command = ask("250 2.0.0 taken")
            elif verb == "QUIT":
                stream.write(b"221 2.0.0 bye\r\n")
                return
            elif verb in ("MAIL", "RCPT", "RSET") and known:
                command = ask("250 2.0.0 ok")
            else:
                command = ask("504 5.5.4 not here")


if __name__ == "__main__":
    main()
