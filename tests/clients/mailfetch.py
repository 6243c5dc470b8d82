"""Mail fetched away: getmail, fetchmail, and curl as a client of both protocols."""

import re, shlex, subprocess, urllib.parse

from harness import run
from mailboxes import KEPT, LETTERS, PASSWORD, PLAIN, SENT, deliver, held, imap_utf7, message


def bare(folder):
    """The messages in a folder, with CRLF, without what stands above the sender's own header and getmail's own line."""
    contents = [re.sub(rb"\r?\n", b"\r\n", path.read_bytes()) for path in folder.glob("*") if path.is_file()]
    contents = [re.sub(rb"^X-getmail-.*\r\n", b"", content, flags=re.M) for content in contents]
    return sorted(content[content.index(b"From: Sender"):] for content in contents)


def fetched(report, daemon, name, protocol, fetch, folder):
    """`fetch(keep, everything)` runs the client: leaving the messages there or not, those it knows or all."""
    what = f"{name} by {protocol}"
    before, here = held(daemon, name), bare(folder)
    done = fetch(True, True)
    report.check(f"{what}: brings every message, octet by octet", done.returncode == 0
                 and bare(folder) == sorted([*here, *before.bare()]), (done, len(bare(folder))))
    report.check(f"{what}: and leaves them there", sorted(held(daemon, name)) == sorted(before))
    new = message(80, f"new for {what}", ["one more", ".", ""])
    deliver(daemon, [name], new)
    done = fetch(True, False)
    report.check(f"{what}: brings only the new one then", done.returncode == 0 and new in bare(folder)
                 and len(bare(folder)) == len(here) + len(before) + 1, (done, len(bare(folder))))
    done = fetch(False, True)
    left = held(daemon, name)
    report.check(f"{what}: deletes on the server when told to", done.returncode in (0, 1) and not left,
                 (done, sorted(left)))
    for content in SENT[:4]:
        deliver(daemon, [name], content)


def keeper(root):
    """A command that keeps each message given to it as a file; both clients refuse to write themselves as root."""
    (root / "mail").mkdir(parents=True)
    script = root / "keeper"
    script.write_text(f"#!/bin/sh\nexec cat > $(mktemp {shlex.quote(str(root))}/mail/XXXXXXXX)\n")
    script.chmod(0o755)
    return script


def by_getmail(report, daemon, name):
    for protocol, port in (("IMAP", "imaps"), ("POP3", "pop3s")):
        root = daemon.folder / f"getmail-{protocol}"
        script = keeper(root)

        def fetch(keep, everything):
            (root / "rc").write_text(f"""
[retriever]
type = Simple{protocol}SSLRetriever
server = localhost
port = {daemon.port[port]}
username = {name}
password = {PASSWORD}
ca_certs = {daemon.certificate}
{'mailboxes = ("INBOX",)' if protocol == "IMAP" else ""}
[destination]
type = MDA_external
path = {script}
allow_root_commands = true
[options]
read_all = {str(everything).lower()}
delete = {str(not keep).lower()}
delivered_to = false
received = false
""")
            return run("getmail", "--getmaildir", root, "--rcfile", root / "rc")

        fetched(report, daemon, name, protocol, fetch, root / "mail")


def by_fetchmail(report, daemon, name):
    for protocol, port, tls in (("IMAP", "imap", "sslproto tls1.2+"), ("POP3", "pop3s", "ssl")):
        root = daemon.folder / f"fetchmail-{protocol}"
        script, settings = keeper(root), root / "rc"
        settings.touch(0o600)

        def fetch(keep, everything):
            settings.write_text(f"""
set no bouncemail
set invisible
set idfile {root}/ids
poll localhost service {daemon.port[port]} protocol {protocol} {"uidl" if protocol == "POP3" else ""}
  user "{name}" password "{PASSWORD}" {tls} sslcertck sslcertfile {daemon.certificate}
  {"keep" if keep else "nokeep"} {"fetchall" if everything else ""} no rewrite mda "{script}"
""")
            return run("fetchmail", "--nodetach", "--nosyslog", "-v", "-f", settings, "--pidfile", root / "pid")

        fetched(report, daemon, name, protocol, fetch, root / "mail")


class Curl:
    def __init__(self, daemon, name):
        self.daemon = daemon
        self.words = ["curl", "-sS", "--cacert", daemon.certificate, "-u", f"{name}:{PASSWORD}"]

    def __call__(self, scheme, path, *more):
        """What curl prints, or its complaint; bytes."""
        port = self.daemon.port[scheme]
        words = [*self.words, *more, f"{scheme}://localhost:{port}/{path}"]
        done = subprocess.run([str(word) for word in words], capture_output=True, timeout=60)
        return done.stdout if done.returncode == 0 else b"curl %d: " % done.returncode + done.stderr


def by_curl(report, daemon, name):
    curl = Curl(daemon, name)
    before = held(daemon, name)
    listed = curl("imaps", "")
    report.check("curl imaps: lists mailboxes", all(
        word in listed for word in (b"INBOX", PLAIN.encode(), imap_utf7.encode(LETTERS))), listed)
    for scheme, more in (("imaps", []), ("imap", ["--ssl-reqd"])):
        got = curl(scheme, "INBOX;UID=3", *more)
        report.check(f"curl {scheme}: fetches by UID the octets", got == before[3][1], got[:300])
    report.check("curl imaps: fetches a section", curl("imaps", "INBOX;UID=4;SECTION=TEXT")
                 == before[4][1].split(b"\r\n\r\n", 1)[1])
    report.check("curl imaps: searches", curl("imaps", "INBOX?SUBJECT%20attachment").split() == [b"*", b"SEARCH", b"3"])
    box = urllib.parse.quote(imap_utf7.encode(LETTERS).decode())
    (daemon.folder / "upload").write_bytes(KEPT[3])
    said = curl("imaps", box, "-T", daemon.folder / "upload")
    report.check("curl imaps: appends", held(daemon, name, LETTERS).bare() == sorted(KEPT[2:]), said)
    said = curl("imaps", "INBOX", "-X", "STORE 1 +Flags (\\Flagged \\Deleted)")
    report.check("curl imaps: stores flags", {"\\Flagged", "\\Deleted"} <= held(daemon, name)[1][0], said)
    said = curl("imaps", "INBOX", "-X", "EXPUNGE")
    report.check("curl imaps: expunges", b"* 1 EXPUNGE" in said and 1 not in held(daemon, name), said)
    octets = [content for _, content in held(daemon, name).values()]
    wanted = [b"%d %d" % (number, len(content)) for number, content in enumerate(octets, 1)]
    report.check("curl pop3s: lists", curl("pop3s", "").splitlines() == wanted)
    for scheme, more in (("pop3s", []), ("pop3", ["--ssl-reqd"])):
        got = curl(scheme, "3", *more)
        report.check(f"curl {scheme}: retrieves the octets", got == octets[2], got[:300])
    ids = curl("pop3s", "", "-X", "UIDL").splitlines()
    report.check("curl pop3s: UIDL", len({line.split()[1] for line in ids}) == len(octets), ids)
    said = curl("pop3s", "1", "-X", "DELE", "-l")
    report.check("curl pop3s: DELE", 2 not in held(daemon, name) and len(held(daemon, name)) == len(octets) - 1, said)
    for auth in ("PLAIN", "LOGIN"):
        for scheme in ("imaps", "pop3s"):
            said = curl(scheme, "", "--login-options", f"AUTH={auth}")
            report.check(f"curl {scheme}: AUTH {auth}", said and not said.startswith(b"curl"), said)
    said = curl("imaps", "", "-u", f"{name}:wrong")
    report.check("curl imaps: a wrong password is refused", said.startswith(b"curl 67:"), said)


def by_gsasl(report, daemon, name):
    """The mechanisms themselves, by GNU SASL; over IMAP, the PLUS one bound to the TLS channel."""
    for mechanism, password, more in (("PLAIN", PASSWORD, []), ("LOGIN", PASSWORD, []),
                                      ("SCRAM-SHA-256", PASSWORD, ["--no-cb"]), ("SCRAM-SHA-256-PLUS", PASSWORD, []),
                                      ("SCRAM-SHA-256", "wrong", ["--no-cb"])):
        done = run("gsasl", "--imap", "--connect", f"localhost:{daemon.port['imap']}", "-m", mechanism, *more,
                   "-a", name, "-z", name, "-p", password, "--x509-ca-file", daemon.certificate, input="")
        if password == PASSWORD:
            taken = re.search(r"^\. OK.*\n\. LOGOUT", done.stdout, re.M) is not None
            report.check(f"gsasl imap: {mechanism} logs in", done.returncode == 0 and taken,
                         done.stdout[-600:] + done.stderr)
        else:
            report.check(f"gsasl imap: {mechanism} refuses a wrong password", done.returncode != 0
                         and ". NO [AUTHENTICATIONFAILED]" in done.stdout, done.stdout[-600:] + done.stderr)
