"""Who comes in, and by what: SCRAM by gsasl and scramp with both channel bindings, app passwords inside and outside of
their scope over SMTP, FTP and HTTPS, that nothing tells whether an account exists, and that sessions end with what
they were opened by."""

import base64, ftplib, io, poplib, re, smtplib, subprocess, tempfile, time

import ftps
from harness import Daemon, Report, run
from rawimap import Imap
import installed
from scramp import ScramClient, ScramException

tempfile.tempdir = "/var/tmp"
PASSWORD = "a long enough password"
SCRAM, PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"


def encode(text):
    return base64.b64encode(text.encode()).decode()


def connect(daemon):
    client = smtplib.SMTP_SSL("127.0.0.1", daemon.port["submissions"], local_hostname="client.example", timeout=60,
                              context=ftps.context())
    client.ehlo()
    return client


def scram(daemon, name, password, mechanism=SCRAM, binding=None, client=None):
    """The replies to each line of a log-in, the challenges decoded; the last one is the verdict."""
    own, client = client is None, client or connect(daemon)
    data = (binding, client.sock) if binding else None
    # It is told of the stronger mechanism only when that is to be used, as if somebody had taken it out of the offer.
    side = ScramClient([mechanism], name, password, channel_binding=data)
    replies = []

    def say(line):
        code, text = client.docmd(line)
        replies.append((code, base64.b64decode(text).decode() if code == 334 else text.decode()))
        return code == 334

    if say(f"AUTH {mechanism} {encode(side.get_client_first())}"):
        side.set_server_first(replies[-1][1])
        if say(encode(side.get_client_final())):
            side.set_server_final(replies[-1][1])
            say("")
    if own:
        client.close()
    return replies


def plain(daemon, name, password):
    client = connect(daemon)
    code, text = client.docmd(f"AUTH PLAIN {encode(f'{chr(0)}{name}{chr(0)}{password}')}")
    return client, f"{code} {text.decode()}"


def newest(daemon):
    """How the newest log-in ended: outcome and detail."""
    record = daemon.json("audit", "query", "--action", "auth.login", "--limit", "1")[-1]
    return record["outcome"], record["detail"]


def by_gsasl(report, daemon):
    def gsasl(mechanism, name, password, *more):
        return run("gsasl", "--smtp", "--starttls", "--x509-ca-file=", f"--connect=127.0.0.1:{daemon.port['submission']}",
                   "--mechanism", mechanism, "--authentication-id", name, "--authorization-id", "", "--password", password,
                   *more, timeout=60, stdin=subprocess.DEVNULL)

    for what, mechanism, more in (("SCRAM-SHA-256", SCRAM, ["--no-cb"]),
                                  ("SCRAM-SHA-256-PLUS by tls-exporter", PLUS, []),
                                  ("PLAIN", "PLAIN", []), ("LOGIN", "LOGIN", [])):
        done = gsasl(mechanism, "alice", PASSWORD, *more)
        report.check(f"gsasl logs in by {what}", done.returncode == 0 and "\n235 " in done.stdout, done)
        report.check(f"and the audit log names {mechanism}",
                     newest(daemon) == ("done", f"password mechanism={mechanism}"), newest(daemon))
    done = gsasl(PLUS, "alice", "another password")
    report.check("gsasl is refused a wrong password", done.returncode != 0 and "535 5.7.8" in done.stdout + done.stderr,
                 done)


def by_scramp(report, daemon):
    for what, mechanism, binding in (("SCRAM-SHA-256", SCRAM, None),
                                     ("SCRAM-SHA-256-PLUS by tls-server-end-point", PLUS, "tls-server-end-point")):
        replies = scram(daemon, "alice", PASSWORD, mechanism, binding)
        codes = [code for code, _ in replies]
        report.check(f"scramp logs in by {what}, and the server proves itself", codes == [334, 334, 235], replies)
        replies = scram(daemon, "alice", "another password", mechanism, binding)
        report.check("and is refused a wrong password", replies[-1] == (535, "5.7.8 Authentication credentials invalid"),
                     replies)
    replies = scram(daemon, "alice@localhost", PASSWORD)
    report.check("the name may have the domain", replies[-1][0] == 235, replies)
    replies = scram(daemon, "alice", PASSWORD, SCRAM, "tls-server-end-point")
    report.check("a client that did not see the offer of channel binding is refused", replies[0][0] == 535, replies)
    report.check("and the audit log says why", "channel binding" in newest(daemon)[1], newest(daemon))
    client = connect(daemon)
    first = ScramClient([SCRAM], "alice", PASSWORD).get_client_first()
    for what, lines, wanted in (
            ("a mechanism that is not", [("AUTH CRAM-MD5", 504)], "5.5.4 .*: PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"),
            ("a name of nothing", [(f"AUTH {SCRAM} {encode('n,,n=,r=abc')}", 501)], "5.5.2 "),
            ("an answer to another challenge", [(f"AUTH {SCRAM} {encode(first)}", 334),
                                                (encode("c=biws,r=other,p=YQ=="), 501)], "5.5.2 "),
            ("an answer taken back", [(f"AUTH {SCRAM}", 334), (encode(first), 334), ("*", 501)], "5.7.0 ")):
        replies = [client.docmd(line) for line, _ in lines]
        good = [code for code, _ in replies] == [code for _, code in lines] and re.match(wanted, replies[-1][1].decode())
        report.check(f"{what} is told as such", good, replies)
    replies = scram(daemon, "alice", PASSWORD, client=client)
    report.check("and the session goes on", replies[-1][0] == 235, replies)
    client.close()


def strangers(report, daemon):
    """Whoever has no account sees what one sees who has one and a wrong password."""
    def challenge(name, mechanism=SCRAM, binding=None):
        replies = scram(daemon, name, "another password", mechanism, binding)
        nonce, salt, count = replies[0][1].split(",")
        return (len(nonce), len(salt), count, replies[1:]), salt

    (known, salt), (unknown, other) = challenge("alice"), challenge("nobody")
    report.check("an unknown name gets the same replies", known == unknown and salt != other, (known, unknown))
    shape, again = challenge("Nobody@localhost", PLUS, "tls-server-end-point")
    report.check("and the same salt each time", again == other and shape == known, (again, other))
    texts = [plain(daemon, name, "another password")[1] for name in ("alice", "nobody")]
    report.check("so it is with PLAIN", texts[0] == texts[1] and texts[0].startswith("535 5.7.8 "), texts)
    daemon.stop()
    daemon.start()
    report.check("after a restart the salts are the same", [challenge("alice")[1], challenge("nobody")[1]] == [salt, other])


def app_passwords(report, daemon):
    def add(label, *more):
        made = daemon.json("user", "app-password", "add", "alice", "--label", label, *more)
        return made["id"], made["password"]

    mail, mail_text = add("phone", "--protocols", "smtp,imap")
    reader, reader_text = add("reader", "--read-only")
    brief, brief_text = add("guest", "--expires", "90d")
    for what, typed in (("as it was shown", mail_text), ("without dashes", mail_text.replace("-", "")),
                        ("with spaces", mail_text.replace("-", " "))):
        client, reply = plain(daemon, "alice", typed)
        client.close()
        report.check(f"an app password typed {what} is taken by PLAIN", reply.startswith("235 "), reply)
        replies = scram(daemon, "alice", typed, PLUS, "tls-server-end-point")
        report.check("and by SCRAM", replies[-1][0] == 235, replies)
    told = newest(daemon)
    report.check("the audit log names it", told == ("done", f'app-password {mail} "phone" mechanism={PLUS}'), told)
    try:
        ftps.login(daemon.port["ftp"], "alice", mail_text)
        report.check("outside of its scope it is refused", False)
    except ftplib.error_perm as error:
        report.check("outside of its scope it is refused", str(error).startswith("530 "), error)
    told = newest(daemon)
    report.check("and the audit log says why", told == ("failed", f'app-password {mail} "phone" is not for ftp'), told)
    report.check("over HTTPS too", curl(daemon, mail_text)[0] == "401", curl(daemon, mail_text))
    _, reply = plain(daemon, "alice", brief_text)
    report.check("one that ends later is taken", reply.startswith("235 "), reply)
    daemon.store.rows("UPDATE credentials SET expires = 1000 WHERE id = $1", brief)
    _, reply = plain(daemon, "alice", brief_text)
    told = newest(daemon)
    report.check("once it has ended it is refused, though it was right a moment ago",
                 reply.startswith("535 ") and told[1] == f'app-password {brief} "guest" has expired mechanism=PLAIN', told)
    read_only(report, daemon, reader_text)
    listed(report, daemon, {mail: mail_text, reader: reader_text, brief: brief_text})


def curl(daemon, password, *more):
    done = run("curl", "-sSk", "-u", f"alice:{password}", "-o", "-", "-w", "\n%{http_code}", *more,
               f"https://127.0.0.1:{daemon.port['https']}/dav/kept")
    text, _, code = done.stdout.rpartition("\n")
    return code, text


def read_only(report, daemon, password):
    report.check("the account's own password writes", curl(daemon, PASSWORD, "-T", __file__)[0] == "201")
    kept = open(__file__).read()
    client = ftps.login(daemon.port["ftp"], "alice", password)
    into = io.BytesIO()
    client.retrbinary("RETR kept", into.write)
    report.check("a read-only one reads over FTP", into.getvalue().decode() == kept)
    for what, change in (("STOR", lambda: client.storbinary("STOR other", io.BytesIO(b"x"))),
                         ("DELE", lambda: client.delete("kept")), ("MKD", lambda: client.mkd("folder")),
                         ("RNTO", lambda: client.rename("kept", "other"))):
        try:
            change()
            report.check(f"it is refused {what}", False)
        except ftplib.error_perm as error:
            report.check(f"it is refused {what}", str(error).startswith("550 ") and "read-only" in str(error), error)
    client.close()
    report.check("it reads over HTTPS", curl(daemon, password) == ("200", kept))
    for method, more in (("PUT", ["-T", "/etc/hostname"]), ("DELETE", ["-X", "DELETE"])):
        code, text = curl(daemon, password, *more)
        report.check(f"it is refused {method}", code == "403" and "read-only" in text, (code, text))
    report.check("nothing was changed", curl(daemon, PASSWORD) == ("200", kept))
    refused = daemon.json("audit", "query", "--user", "alice", "--action", "file", "--outcome", "refused")
    report.check("each refusal is in the audit log", len(refused) == 6 and
                 all("read-only" in record["detail"] for record in refused), refused)
    client, reply = plain(daemon, "alice", password)
    code, text = client.docmd("MAIL FROM:<alice@localhost>")
    report.check("it is refused MAIL in clear words", reply.startswith("235 ") and code == 550 and b"may only read" in text,
                 (reply, code, text))
    client.close()


def listed(report, daemon, made):
    listed = daemon.json("user", "app-password", "list", "alice")
    report.check("they are listed with their scopes",
                 [(one["id"], one["label"], one["protocols"], one["read_only"]) for one in listed] ==
                 list(zip(made, ["phone", "reader", "guest"], [["smtp", "imap"], [], []], [False, True, False])), listed)
    shown = daemon.cli("user", "app-password", "list", "alice").stdout + str(daemon.store.rows("SELECT * FROM audit"))
    report.check("and told nowhere again", not any(text in shown for text in made.values()) and "read-only" in shown)
    kept = str(daemon.store.rows("SELECT * FROM credentials"))
    secrets = [*made.values(), *(text.replace("-", "") for text in made.values()), PASSWORD]
    report.check("the store keeps none of them", not any(text in kept for text in secrets) and "$15000:" in kept)
    first, second, _ = made
    daemon.cli("user", "passwd", "alice", "--password-stdin", input="another long password\n")
    report.check("they outlive a change of the password", plain(daemon, "alice", made[first])[1].startswith("235 "))
    old, new = (scram(daemon, "alice", text)[-1][0] for text in (PASSWORD, "another long password"))
    report.check("which changes for SCRAM too", (old, new) == (535, 235), (old, new))
    daemon.cli("user", "app-password", "remove", "alice", str(first))
    report.check("one that was removed is refused", plain(daemon, "alice", made[first])[1].startswith("535 "))
    gone = daemon.cli("user", "app-password", "remove", "alice", str(first), check=False)
    report.check("and cannot be removed again", gone.returncode == 1 and gone.stderr.count("\n") == 1, gone)
    for wrong in (["--protocols", "gopher"], ["--expires", "never"], ["--expires", "0d"]):
        done = daemon.cli("user", "app-password", "add", "alice", "--label", "x", *wrong, check=False)
        report.check(f"{' '.join(wrong)} is refused", done.returncode != 0 and done.stderr, done)
    daemon.cli("user", "disable", "alice")
    report.check("none of them opens an account that is disabled",
                 plain(daemon, "alice", made[second])[1].startswith("535 ")
                 and scram(daemon, "alice", made[second])[-1][0] == 535)
    daemon.cli("user", "remove", "alice")
    report.check("with the account they are gone", not daemon.store.rows("SELECT 1 FROM credentials WHERE label <> ''"))


class Everywhere:
    """One session of each protocol, opened by a password; what each says when it must not go on."""

    def __init__(self, daemon, name, password):
        self.imap = Imap(daemon, name, password, timeout=30)
        self.imap.say("SELECT INBOX")
        self.idle = Imap(daemon, name, password, timeout=30)
        self.idle.say("SELECT INBOX")
        self.idle.send(b"z IDLE\r\n")
        self.idle.line()
        self.pop3 = poplib.POP3_SSL("127.0.0.1", daemon.port["pop3s"], context=ftps.context(), timeout=30)
        self.pop3.user(name)
        self.pop3.pass_(password)
        self.ftp = ftps.login(daemon.port["ftp"], name, password)
        self.smtp, _ = plain(daemon, name, password)

    def go_on(self):
        """Whether each session still does what it is there for."""
        self.idle.raw.settimeout(0.5)
        try:
            idles = not self.idle.more()
        except TimeoutError:
            idles = True
        return {"imap": b" OK " in self.imap.say("NOOP"), "idle": idles, "pop3": self.pop3.stat() is not None,
                "ftp": self.ftp.voidcmd("NOOP").startswith("200"), "smtp": self.smtp.docmd("NOOP")[0] == 250}

    def told(self):
        """The last words of each session, within its timeout."""
        self.idle.raw.settimeout(30)
        return {"imap": self.imap.line(), "idle": self.idle.line(), "pop3": self.pop3.file.readline(),
                "ftp": self.ftp.file.readline().encode(), "smtp": self.smtp.getreply()[0]}


def withdrawn(report, daemon):
    """Whoever takes a password away means the device that has it now."""
    daemon.add("erin", PASSWORD)

    def app(*more):
        made = daemon.json("user", "app-password", "add", "erin", "--label", "lost", *more)
        return made["id"], made["password"]

    lost, text = app()
    expiring, brief = app("--expires", "1d")
    deeds = (("removed app password", text, lambda: daemon.cli("user", "app-password", "remove", "erin", str(lost))),
             ("changed password", PASSWORD, lambda: daemon.cli("user", "passwd", "erin", "--password-stdin",
                                                               input="another long password\n")),
             ("disabled account", "another long password", lambda: daemon.cli("user", "disable", "erin")))
    for what, password, deed in deeds:
        sessions, other = Everywhere(daemon, "erin", password), Imap(daemon, "erin", brief, timeout=30)
        report.check(f"before it is a {what}, all sessions go on", all(sessions.go_on().values()), sessions.go_on())
        begun = time.time()
        deed()
        told = sessions.told()
        wanted = {"imap": b"* BYE [EXPIRED]", "idle": b"* BYE [EXPIRED]", "pop3": b"-ERR [AUTH]", "ftp": b"421 "}
        report.check(f"a {what} ends the sessions of every protocol, {time.time() - begun:.1f} s",
                     told.pop("smtp") == 421 and all(told[name].startswith(words) for name, words in wanted.items()), told)
        kept = what != "disabled account"
        answer = other.say("NOOP")
        report.check(f"and {'not ' if kept else ''}those of other credentials", (b" OK " in answer) == kept, answer)
        other.close()
    daemon.cli("user", "enable", "erin")
    session = Imap(daemon, "erin", brief, timeout=60)
    daemon.store.rows("UPDATE credentials SET expires = 1000 WHERE id = $1", expiring)
    daemon.cli("user", "quota", "erin", "1G")
    answer = session.line()
    report.check("one that has expired ends its session too", answer.startswith(b"* BYE [EXPIRED]"), answer)


def mail_as_files(report, daemon):
    """`Mail` is for whom mail is."""
    daemon.add("dora", PASSWORD)
    for protocols, seen in (("ftp", False), ("ftp,imap", True)):
        made = daemon.json("user", "app-password", "add", "dora", "--label", protocols, "--protocols", protocols)
        client = ftps.login(daemon.port["ftp"], "dora", made["password"])
        names, reply = client.nlst(), "250"
        try:
            client.cwd("/Mail/INBOX")
        except ftplib.error_perm as error:
            reply = str(error)
        client.close()
        report.check(f"an app password for {protocols} sees {'the' if seen else 'no'} mail",
                     ("Mail" in names) == seen and reply.startswith("250" if seen else "550"), (names, reply))


def throttling(report, daemon):
    daemon.add("carol", PASSWORD)
    # Ten are free; after each of those that follow, the wait is twice as long: from a second on, some end in time.
    codes = []
    while len(codes) < 40 and codes[-1:] != [454]:
        codes.append(scram(daemon, "carol", "another password")[-1][0])
    # The wait so far may be over any moment: a long one, if the ten were counted.
    daemon.store.rows("UPDATE throttle SET failures = 20 WHERE key = $1 AND failures >= 10", "pair:carol@127.0.0.1")
    replies = scram(daemon, "carol", PASSWORD)
    report.check("failures by SCRAM are throttled", codes[:10] == [535] * 10 and 454 in codes, codes)
    report.check("and then the right password has to wait", replies[-1][0] == 454, replies)
    _, reply = plain(daemon, "carol", PASSWORD)
    report.check("and count for every mechanism", reply.startswith("454 4.7.0 "), reply)


def switched_off(report):
    daemon = Daemon("[auth]\nscram = false").start()
    try:
        daemon.add("dora", PASSWORD)
        client = connect(daemon)
        report.check("without SCRAM it is not offered", client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"],
                     client.esmtp_features)
        client.close()
        kept = daemon.store.rows("SELECT scram FROM credentials")
        report.check("and no keys of it are kept", kept and all(keys == "" for keys, in kept), kept)
    finally:
        daemon.stop()
        daemon.remove()


def main():
    report, daemon = Report("auth"), Daemon().start()
    try:
        daemon.add("alice", PASSWORD)
        by_gsasl(report, daemon)
        by_scramp(report, daemon)
        strangers(report, daemon)
        app_passwords(report, daemon)
        mail_as_files(report, daemon)
        withdrawn(report, daemon)
        throttling(report, daemon)
        report.whole(daemon)
    except ScramException as error:
        report.check("the server's words are those of SCRAM", False, error)
    finally:
        daemon.stop()
        daemon.remove()
    switched_off(report)
    report.end()


main()
