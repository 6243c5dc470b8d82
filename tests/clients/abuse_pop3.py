"""Bad input to POP3: before the log-in, around STLS, in the pipeline, at the lock. A part of abuse.py."""

import base64, hashlib, hmac, secrets, smtplib, socket, time

import ftps

PASSWORD = b"a long enough password"


class Pop3:
    """One connection, by lines."""

    def __init__(self, port, tls=False):
        self.raw = socket.create_connection(("127.0.0.1", port), 30)
        if tls:
            self.raw = ftps.context().wrap_socket(self.raw)
        self.file = self.raw.makefile("rb")
        self.greeting = self.line()

    def line(self):
        return self.file.readline()

    def send(self, octets):
        self.raw.sendall(octets)

    def say(self, command):
        self.send(command + b"\r\n")
        return self.line()

    def rest(self):
        """All that comes until the server closes; `None` when it does not."""
        try:
            return self.file.read()
        except TimeoutError:
            return None
        except OSError:
            return b""

    def login(self, name, password):
        self.say(b"USER " + name)
        return self.say(b"PASS " + password)

    def end(self):
        self.file.close()
        self.raw.close()


def deliver(daemon, name, count):
    with smtplib.SMTP("127.0.0.1", daemon.port["smtp"], timeout=30) as client:
        for number in range(count):
            client.sendmail("x@example.org", [f"{name}@localhost"], f"Subject: {number}\r\n\r\n.{number}\r\n".encode())


def before_login(report, daemon):
    client = Pop3(daemon.port["pop3"])
    said = {line: client.say(line) for line in (
        b"USER bob", b"PASS secret", b"AUTH PLAIN AGJvYgB4", b"RETR 1", b"DELE 1", b"\xff\xfe", b"NOOP\0", b"TOP 1 1",
        b"RETR " + b"9" * 200, b"x" * 254, b"x" * 100_000)}
    report.check("POP3: what has no place before the log-in is refused", all(answer.startswith(b"-ERR") for answer
                                                                              in said.values()), said)
    told = b"".join(client.say(b"GARBAGE") for _ in range(9))
    report.check("POP3: too many errors end a session", b"Too many errors" in told + (client.rest() or b""), told)
    client.end()
    client = Pop3(daemon.port["pop3"])
    try:
        for _ in range(100):
            client.send(b"x" * (1 << 20))
    except OSError:
        pass
    report.check("POP3: a line without end is given up", client.rest() is not None)
    client.end()
    client = Pop3(daemon.port["pop3s"], tls=True)
    answer = client.say(b"AUTH PLAIN " + b"A" * 12_000)
    report.check("POP3: a long response is read and refused", answer.startswith(b"-ERR"), answer)
    client.end()


def injection(report, daemon):
    client = Pop3(daemon.port["pop3"])
    client.send(b"STLS\r\nUSER bob\r\nPASS guess\r\n")
    heard = client.rest()
    report.check("POP3: what stands behind STLS ends the session", heard is not None
                 and heard.startswith(b"-ERR Nothing may follow STLS") and heard.count(b"\n") == 1, heard)
    client.end()
    client = Pop3(daemon.port["pop3"])
    report.check("POP3: STLS alone is taken", client.say(b"STLS").startswith(b"+OK"))
    client.file.close()
    client.raw = ftps.context().wrap_socket(client.raw)
    client.file = client.raw.makefile("rb")
    report.check("POP3: and the log-in goes by it", client.login(b"bob", PASSWORD).startswith(b"+OK"))
    client.say(b"QUIT")
    client.end()


def pipeline(report, daemon):
    deliver(daemon, "bob", 3)
    client = Pop3(daemon.port["pop3s"], tls=True)
    client.login(b"bob", PASSWORD)
    client.send(b"NOOP\r\nDELE 1\r\nRSET\r\nUIDL 1\r\n" * 250 + b"DELE 1\r\nQUIT\r\n")
    answers = (client.rest() or b"").splitlines()
    report.check("POP3: 1,000 commands at once are answered in order", len(answers) == 1002 and
                 all(answers[at].startswith(b"+OK 1 ") for at in range(3, 1000, 4)) and answers[-1].startswith(b"+OK"),
                 answers[-3:])
    client.end()


def lock(report, daemon):
    first, second = (Pop3(daemon.port["pop3s"], tls=True) for _ in range(2))
    entered = first.login(b"bob", PASSWORD)
    locked = second.login(b"bob", PASSWORD)
    report.check("POP3: the mailbox is locked to a second session", entered.startswith(b"+OK") and
                 locked.startswith(b"-ERR [IN-USE]"), (entered, locked))
    deliver(daemon, "bob", 1)
    report.check("POP3: deliveries go on, and numbers stay", first.say(b"STAT").split()[1] == entered.split()[2])
    first.say(b"DELE 1")
    first.end()
    # On PostgreSQL unlocking is a commit. A maildrop that is in use is no error of the client's that is counted.
    for _ in range(40):
        again = second.login(b"bob", PASSWORD)
        if not again.startswith(b"-ERR [IN-USE]"):
            break
        time.sleep(0.25)
    kept = again.startswith(b"+OK") and int(again.split()[2]) == int(entered.split()[2]) + 1
    report.check("POP3: a broken session unlocks and removes nothing", kept, again)
    second.say(b"QUIT")
    second.end()


def scram(report, daemon):
    """SCRAM-SHA-256-PLUS (RFC 7677, RFC 5929) from its RFCs: with the certificate of the connection, and of another."""
    for right in (True, False):
        client = Pop3(daemon.port["pop3s"], tls=True)
        binding = hashlib.sha256(client.raw.getpeercert(binary_form=True)).digest() if right else bytes(32)
        header, nonce = b"p=tls-server-end-point,,", base64.b64encode(secrets.token_bytes(12))
        first = b"n=bob,r=" + nonce
        asked = client.say(b"AUTH SCRAM-SHA-256-PLUS " + base64.b64encode(header + first))
        challenge = base64.b64decode(asked[2:])
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        keys = hashlib.pbkdf2_hmac("sha256", PASSWORD, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        secret = hmac.digest(keys, b"Client Key", "sha256")
        final = b"c=" + base64.b64encode(header + binding) + b",r=" + fields[b"r"]
        whole = b",".join((first, challenge, final))
        proof = bytes(a ^ b for a, b in zip(secret, hmac.digest(hashlib.sha256(secret).digest(), whole, "sha256")))
        answer = client.say(base64.b64encode(final + b",p=" + base64.b64encode(proof)))
        if right:
            proved = b"v=" + base64.b64encode(hmac.digest(hmac.digest(keys, b"Server Key", "sha256"), whole, "sha256"))
            report.check("POP3: the server proves itself in SCRAM-SHA-256-PLUS", base64.b64decode(answer[2:]) == proved,
                         answer)
            answer = client.say(b"")
            report.check("POP3: SCRAM-SHA-256-PLUS logs in", answer.startswith(b"+OK"), answer)
        else:
            report.check("POP3: a proof for another connection is refused", answer.startswith(b"-ERR [AUTH]"), answer)
        client.end()


def pop3(report, daemon):
    """All of it."""
    for part in (before_login, injection, pipeline, lock, scram):
        part(report, daemon)
