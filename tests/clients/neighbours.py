"""Mail servers that Wharfinger has to do with: a DNS that tells where they are, Debian's Postfix, and a sink that
records what it is told and says what the test wants."""

import email, email.policy, imaplib, shutil, smtplib, socket, ssl, subprocess, threading, time

from harness import Daemon
from servers import Server, free_ports
from unbound import Unbound

PASSWORD = "a long enough password"
SYSTEM = "127.0.0.24"  # where the DNS answers on the port that the system's resolver asks
CLIENT = "127.0.0.99"  # from here Postfix takes mail for others


class Dns(Unbound):
    """unbound, which knows the zones of the test and nothing else; at `system` it also has the usual port."""

    def __init__(self, records, system=None):
        super().__init__("unbound", "unbound")
        self.port, = free_ports(1)
        local = "".join(f"    local-data: '{record}'\n" for record in records)
        if system:
            # The usual port is root's: it stays root.
            self.user = None
        self.answer("127.0.0.1", self.port, f'    do-not-query-localhost: no\n    local-zone: "test." static\n{local}',
                    also=f"{system}@53" if system else "")


def certify(folder, name):
    """A certificate that signs itself, and its key."""
    certificate, key = folder / "server.pem", folder / "server.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate], check=True,
                   capture_output=True)
    return certificate, key


class Postfix(Server):
    """Debian's Postfix for one domain. It finds others by the DNS at SYSTEM, which it takes for the system's own, and
    keeps the mail of each user in a Maildir."""

    def __init__(self, address, port, host, domain, users, aliases=(), relayed=""):
        super().__init__("postfix", last="TERM")
        self.folder.chmod(0o755)
        self.address, self.port = address, port
        self.etc, self.mail = self.folder / "etc", self.folder / "mail"
        for folder in (self.etc, self.mail, self.folder / "queue", self.folder / "lib"):
            folder.mkdir()
        shutil.chown(self.mail, "nobody")
        shutil.chown(self.folder / "lib", "postfix")
        certificate, key = certify(self.folder, host)
        (self.etc / "mailboxes").write_text("".join(f"{user}@{domain} {user}/\n" for user in users))
        (self.etc / "aliases").write_text("".join(f"{one}@{domain} {to}\n" for one, to in aliases))
        (self.folder / "resolv.conf").write_text(f"nameserver {SYSTEM}\noptions timeout:2\n")
        settings = {
            "compatibility_level": 3.6, "queue_directory": self.folder / "queue", "data_directory": self.folder / "lib",
            "command_directory": "/usr/sbin", "daemon_directory": "/usr/lib/postfix/sbin", "mail_owner": "postfix",
            "setgid_group": "postdrop", "maillog_file": self.folder / "log",
            "maillog_file_prefixes": self.folder, "myhostname": host, "mydestination": "",
            "local_recipient_maps": "", "alias_maps": "", "alias_database": "",
            "inet_interfaces": "loopback-only", "proxy_interfaces": address,
            "inet_protocols": "ipv4", "smtp_bind_address": address, "smtp_tcp_port": port,
            "mynetworks": f"{CLIENT}/32", "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
            "virtual_mailbox_domains": domain, "virtual_mailbox_base": self.mail, "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534", "virtual_mailbox_maps": f"texthash:{self.etc}/mailboxes",
            "virtual_alias_maps": f"texthash:{self.etc}/aliases", "virtual_mailbox_limit": 0,
            "message_size_limit": 20 << 20, "relay_domains": relayed, "hopcount_limit": 200, "notify_classes": "",
            "smtputf8_enable": "yes", "smtpd_peername_lookup": "no", "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": certificate, "smtpd_tls_key_file": key, "smtpd_tls_loglevel": 1,
            "smtpd_tls_received_header": "yes", "smtp_tls_security_level": "may", "smtp_tls_loglevel": 1,
            "minimal_backoff_time": "2s", "maximal_backoff_time": "4s", "queue_run_delay": "2s", "biff": "no"}
        (self.etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        unix = ("pickup unix n - n 60 1", "cleanup unix n - n - 0", "qmgr unix n - n 300 1",
                "tlsmgr unix - - n 1000? 1", "rewrite unix - - n - -", "bounce unix - - n - 0", "defer unix - - n - 0",
                "trace unix - - n - 0",
                "verify unix - - n - 1", "flush unix n - n 1000? 0", "proxymap unix - - n - -", "smtp unix - - n - -",
                "relay unix - - n - -", "showq unix n - n - -", "error unix - - n - -", "retry unix - - n - -",
                "discard unix - - n - -", "virtual unix - n n - -", "anvil unix - - n - 1", "scache unix - - n - 1",
                "postlog unix-dgram n - n - 1")
        programs = {"rewrite": "trivial-rewrite", "defer": "bounce", "trace": "bounce", "relay": "smtp",
                    "retry": "error", "postlog": "postlogd"}
        (self.etc / "master.cf").write_text(f"{address}:{port} inet n - n - - smtpd\n" + "".join(
            f"{line} {programs.get(name, name)}\n" for line in unix for name in [line.split()[0]]))

    def start(self):
        # Only what runs in the namespace sees the other resolv.conf.
        # Its master ends the processes of its group, which must not be ours.
        self.spawn("/usr/bin/setsid", "/usr/bin/unshare", "-m", "/bin/sh", "-c",
                   'mount --bind "$0" /etc/resolv.conf && postfix check && exec /usr/lib/postfix/sbin/master -d',
                   self.folder / "resolv.conf", MAIL_CONFIG=str(self.etc))
        return self.ready(lambda: socket.create_connection((self.address, self.port), 1).recv(3) == b"220", 30)

    def stop(self):
        self.end(15)

    def remove(self):
        self.stop()
        super().remove()

    def messages(self, local):
        """The octets of each message in a Maildir, in the order in which they came."""
        files = sorted((self.mail / local / "new").glob("*"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        return [file.read_bytes() for file in files]


class Talk:
    """One connection to a sink, as far as it went."""

    def __init__(self, sink, raw):
        self.sink, self.raw, self.began = sink, raw, time.monotonic()
        self.lines, self.contents = [], []  # commands, and contents as they came, up to the end that is no part of them
        self.clear = b""   # all that came before TLS began
        self.left = b""    # what came and was not taken yet
        self.tls = False
        self.ahead = []    # commands behind which more had come before they were answered
        self.over = None   # why it ended

    def more(self):
        piece = self.raw.recv(65536)
        if not piece:
            raise EOFError("closed by the client")
        if not self.tls:
            self.clear += piece
        self.left += piece

    def line(self):
        while b"\n" not in self.left:
            self.more()
        line, _, self.left = self.left.partition(b"\n")
        return line + b"\n"

    def content(self):
        """Up to CRLF.CRLF, and nothing else ends it."""
        self.left = b"\r\n" + self.left
        seen = 0
        while (end := self.left.find(b"\r\n.\r\n", seen)) < 0:
            seen = max(0, len(self.left) - 4)
            self.more()
        content, self.left = self.left[2:end + 2], self.left[end + 5:]
        return content

    def say(self, octets):
        self.raw.sendall(octets)

    def silent(self):
        """Says nothing more, until the client is gone."""
        while True:
            self.more()

    def verbs(self):
        return [line.split()[0].upper().decode(errors="replace") if line.split() else "" for line in self.lines]

    def run(self):
        script = self.sink.script
        self.perform("greeting", b"", script.get("greeting", b"220 sink.test ESMTP\r\n"))
        while True:
            line = self.line()
            self.lines.append(line.rstrip(b"\r\n"))
            verb = (line.split() or [b""])[0].upper().decode(errors="replace")
            if self.left:
                self.ahead.append(verb)
            step = f"TLS {verb}" if self.tls and f"TLS {verb}" in script else verb
            said = self.perform(step, line, script.get(step, self.usual(verb)))
            if verb == "STARTTLS" and said == b"220 go ahead\r\n":
                self.raw = self.sink.context.wrap_socket(self.raw, server_side=True)
                self.tls, self.left = True, b""
            elif verb == "DATA" and said.startswith(b"354"):
                during = script.get("during")
                if during:
                    during(self)
                content = self.content()
                self.contents.append(content)
                answer = script.get("end", b"250 2.0.0 taken\r\n")
                if not callable(answer) and answer is not None and answer.startswith(b"2"):
                    self.sink.taken.append(content)
                self.perform("end", content, answer)
            elif verb == "QUIT":
                return

    def perform(self, step, line, answer):
        """Answers; nothing is the end of the connection."""
        if callable(answer):
            answer = answer(self, line)
        if answer is None:
            raise EOFError(f"closed at {step}")
        if answer:
            self.say(answer)
        return answer

    def usual(self, verb):
        if verb == "EHLO":
            words = list(self.sink.offers)
            if self.sink.context and not self.tls:
                words.append("STARTTLS")
            words = ["sink.test", *words]
            return "".join(f"250{'-' if number < len(words) else ' '}{word}\r\n"
                           for number, word in enumerate(words, 1)).encode()
        return {"STARTTLS": b"220 go ahead\r\n", "DATA": b"354 go ahead\r\n", "QUIT": b"221 goodbye\r\n"}.get(
            verb, b"250 2.0.0 ok\r\n")


class Sink:
    """A server that takes everything and records it, but for what its script says: a step is `greeting`, a command,
    `TLS` with a command, or `end`; what it says are octets, nothing to close, or a function of the talk and the line.
    `during` is called before a content is read."""

    def __init__(self, address, port, script=None, offers=("PIPELINING", "8BITMIME", "SIZE 50000000"), context=None):
        self.script, self.offers, self.context = script or {}, offers, context
        self.talks, self.taken = [], []
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(50)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                raw, _ = self.socket.accept()
            except OSError:
                return
            raw.settimeout(120)
            talk = Talk(self, raw)
            self.talks.append(talk)
            threading.Thread(target=self.one, args=(talk,), daemon=True).start()

    def one(self, talk):
        try:
            talk.run()
        except Exception as error:
            talk.over = error
        finally:
            try:
                talk.raw.close()
            except OSError:
                pass

    def close(self):
        # Closing alone does not wake who accepts.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def server_context(folder, name):
    """TLS as a server, with a certificate that signs itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certify(folder, name))
    return context


def insecure():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def neighbour(dns, port, host, address, domain, *users, outbound="", more=""):
    """A daemon for a domain, which finds others by `dns`."""
    daemon = Daemon(f'[smtp.dns]\nservers = ["127.0.0.1:{dns.port}"]\n[smtp.outbound]\ndane = "off"\nport = {port}\nhourly = 0\n{outbound}\n'
                    f'[auth]\ncleartext = "loopback"\n{more}', hostname=host, mail=(address, port)).start()
    daemon.cli("domain", "add", domain)
    for user in users:
        daemon.add(user, PASSWORD)
    return daemon


def submit(daemon, user, sender, to, content, options=(), wishes=()):
    """By a user, with STARTTLS; the recipients that were refused."""
    with smtplib.SMTP("127.0.0.1", daemon.port["submission"], timeout=60) as session:
        session.starttls(context=insecure())
        session.login(user, PASSWORD)
        return session.sendmail(sender, to, content, options, wishes)


def inbox(daemon, user, folder="INBOX"):
    """The octets of each message."""
    session = imaplib.IMAP4("127.0.0.1", daemon.port["imap"], timeout=60)
    try:
        session.login(user, PASSWORD)
        if session.select(folder, readonly=True)[1] == [b"0"]:
            return []
        return [part[1] for part in session.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
    finally:
        session.logout()


def waits(daemon):
    return daemon.json("queue", "list")["recipients"]


def body(content):
    return content.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


def notification(content):
    """A notification, and the fields on each recipient; none where it is no notification. The parser of the library
    knows the ASCII kind alone (RFC 6533 brought the other)."""
    content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")  # Postfix's files have no CR
    message = email.message_from_bytes(content, policy=email.policy.SMTPUTF8)
    if message.get_content_type() != "multipart/report" or len(message.get_payload()) < 2:
        return message, []
    boundary = b"\r\n--" + message.get_boundary().encode()
    status = content.split(boundary)[2].partition(b"\r\n\r\n")[2]
    blocks = [block for block in status.split(b"\r\n\r\n") if block.strip()]
    return message, [email.message_from_bytes(block, policy=email.policy.SMTPUTF8) for block in blocks[1:]]
