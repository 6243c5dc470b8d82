#!/usr/bin/env python3
"""Mail as real clients send it: swaks, smtp-source, smtplib; what `trace` tells; and that the audit log can be proved."""

import base64, os, re, smtplib, sqlite3, subprocess

import ftps
from harness import Daemon, Report, run

PASSWORD = "a long enough password"
SOURCES = [("alice", 2000), ("bob", 2000), ("team", 900)]
QUEUED = re.compile(r"250 2\.0\.0 .* ([0-9a-hjkmnp-tv-z]{16})")


def swaks(daemon, port, *more):
    return run("swaks", "--server", f"127.0.0.1:{daemon.port[port]}", "--from", "a@example.org", *more, timeout=120)


def deliver(report, daemon):
    """Sends everything; how many copies must lie in mailboxes, and the trace ids."""
    copies, traces = 0, []
    big = daemon.folder / "big.bin"
    big.write_bytes(os.urandom(15 << 20))  # 20 MiB once it is encoded
    ways = [("smtp", "alice", ["-tls"]), ("smtp", "team", ["-tls", "--attach", f"@{big}"]),
            ("submission", "bob", ["-tls", "-a", "PLAIN", "-au", "alice", "-ap", PASSWORD]),
            ("submissions", "alice", ["-tlsc", "-a", "LOGIN", "-au", "bob", "-ap", PASSWORD, "--attach", f"@{big}"]),
            ("smtp", "alice+list", []), ("smtp", "postmaster", [])]
    for port, to, more in ways:
        sender = ["--from", {"alice": "alice@localhost", "bob": "bob@localhost"}.get(more[4] if "-au" in more else "", "a@example.org")]
        done = swaks(daemon, port, "--to", f"{to}@localhost", *more, *sender)
        found = QUEUED.search(done.stdout)
        report.check(f"swaks to {to} by {port}: the 250 carries a trace id", found, done.stdout[-600:])
        if found:
            traces.append((found[1], to, "-tls" in more or "-tlsc" in more))
            copies += 2 if to == "team" else 1
    client = smtplib.SMTP("127.0.0.1", daemon.port["smtp"])
    client.starttls(context=ftps.context())
    client.sendmail("", ["bob@localhost"], b"Subject: none\r\n\r\nfrom nobody\r\n")
    client.sendmail("a@example.org", ["alice@localhost"], "Subject: grüße\r\n\r\nx\r\n".encode(), ["SMTPUTF8"])
    copies += 2
    refused = {}
    for to in ("someone@elsewhere.example", "nobody@localhost"):
        client.mail("a@example.org")
        refused[to] = client.rcpt(to)
        client.rset()
    report.check("a recipient elsewhere is refused", refused["someone@elsewhere.example"][0] == 550, refused)
    report.check("an unknown recipient is refused", refused["nobody@localhost"][0] == 550, refused)
    for to, count in SOURCES:
        done = run("smtp-source", "-c", "-d", "-s", "20", "-m", count, "-l", "10240", "-f", "a@example.org", "-t",
                   f"{to}@localhost", f"127.0.0.1:{daemon.port['smtp']}")
        report.check(f"smtp-source delivers {count} to {to}", done.returncode == 0, done.stderr)
        copies += count * (2 if to == "team" else 1)
    chunks = smtplib.SMTP("127.0.0.1", daemon.port["smtp"])
    for count in range(100):
        chunks.ehlo_or_helo_if_needed()
        chunks.mail("a@example.org")
        chunks.rcpt("bob@localhost")
        body = f"Subject: {count}\r\n\r\n".encode() + os.urandom(300).hex().encode()
        chunks.send(f"BDAT {len(body) // 2}\r\n".encode() + body[: len(body) // 2])
        chunks.getreply()
        chunks.send(f"BDAT {len(body) - len(body) // 2} LAST\r\n".encode() + body[len(body) // 2:])
        code, text = chunks.getreply()
        if code != 250:
            report.check("BDAT", False, text)
    return copies + 100, traces


def trace(report, daemon, traces):
    for trace_id, to, tls in traces:
        told = daemon.cli("trace", trace_id).stdout
        wanted = [f"{to}@localhost", "from=<", "size=", "blob=", "127.0.0.1", "time      20", "uid="]
        wanted += ["TLSv1."] if tls else []
        missing = [word for word in wanted if word not in told]
        report.check(f"trace {trace_id} tells all of it", not missing, (missing, told))


def tamper(report, daemon):
    """Each of these changes what was written; each must be found and named."""
    database = sqlite3.connect(daemon.data / "wharfinger.db")
    (middle,) = database.execute("SELECT MAX(seq) / 2 FROM audit").fetchone()
    row = database.execute("SELECT * FROM audit WHERE seq = ?", (middle,)).fetchone()
    columns = [column[1] for column in database.execute("PRAGMA table_info(audit)")]
    for column in ("target", "detail", "outcome", "peer", "trace", "hash", "previous", "time"):
        old = row[columns.index(column)]
        new = bytes([old[0] ^ 1]) + old[1:] if isinstance(old, bytes) else old + 1 if isinstance(old, int) else chr(ord(old[0]) ^ 1) + old[1:]
        database.execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (new, middle))
        database.commit()
        done = daemon.cli("audit", "verify", check=False)
        named = str(middle) in done.stderr
        report.check(f"one changed byte of {column} is found and named", done.returncode != 0 and named, done.stderr)
        database.execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (old, middle))
        database.commit()
    for what, where in (("a removed record", f"seq = {middle}"), ("a cut tail", f"seq > {middle}")):
        kept = database.execute(f"SELECT * FROM audit WHERE {where}").fetchall()
        database.execute(f"DELETE FROM audit WHERE {where}")
        database.commit()
        done = daemon.cli("audit", "verify", check=False)
        report.check(f"{what} is found", done.returncode != 0 and str(middle) in done.stderr, done.stderr)
        database.executemany(f"INSERT INTO audit VALUES ({','.join('?' * len(columns))})", kept)
        database.commit()
    report.check("mended, the log is whole again", daemon.cli("audit", "verify", check=False).returncode == 0)


def main():
    report = Report("mail")
    daemon = Daemon().start()
    for name in ("alice", "bob"):
        daemon.add(name, PASSWORD)
    daemon.cli("alias", "add", "team@localhost", "alice", "bob")
    copies, traces = deliver(report, daemon)
    status = daemon.json("status")["store"]
    report.check(f"{copies} copies lie in mailboxes", status["messages"] == copies, status)
    trace(report, daemon, traces)
    verified = daemon.json("audit", "verify")
    # The domain, three accounts, the alias, and one change for each copy.
    wanted = 1 + 3 + 1 + copies
    report.check(f"{wanted} changes, {wanted} records of them",
                 verified["changes"] == verified["counted"] == wanted, verified)
    print(f"{verified}, {daemon.memory() >> 20} MiB at most")
    daemon.stop()
    tamper(report, daemon)
    if not report.failed:
        daemon.remove()
    report.end()


main()
