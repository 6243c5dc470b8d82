"""Mail as others send it: smtp-source and swaks deliver 5,000 messages, each traced from its 250 to the audit log,
which counts every change and shows every tampering. Python's smtplib and a bare socket look closer."""

import io, os, re, smtplib, socket, tempfile, time

import ftps
from harness import Daemon, Report, run

tempfile.tempdir = "/var/tmp"
PASSWORD = "a long enough password"
ATTACHMENT = 20 << 20
SOURCES = [("alice@localhost", 2400, 10_240, 1), ("bob@localhost", 1200, 2_000, 1), ("team@localhost", 1200, 10_240, 2)]
BY_PYTHON, BY_SWAKS = 150, 50


class Count:
    """What the test has done, to be compared with what the daemon says of it."""

    def __init__(self):
        self.messages = self.copies = self.changes = 0
        self.traces = {}  # trace id: (sender, recipients, whether over TLS)

    def delivered(self, messages, copies_each):
        self.messages += messages
        self.copies += messages * copies_each
        self.changes += messages * copies_each

    def traced(self, text, sender, recipients, tls, copies=None):
        found = re.search(r"250 2\.0\.0 Ok: queued as (\w{16})\b", text)
        if found:
            self.traces[found[1]] = (sender, recipients, tls)
            self.delivered(1, copies or len(recipients))
        return bool(found)


def stored(daemon):
    return daemon.json("status")["store"]["messages"]


def smtp_source(report, daemon, count):
    for recipient, messages, length, copies in SOURCES:
        before, begun = stored(daemon), time.time()
        done = run("smtp-source", "-s", 20, "-m", messages, "-l", length, "-f", "source@example.org", "-t", recipient,
                   f"127.0.0.1:{daemon.port['smtp']}")
        arrived = stored(daemon) - before
        report.check(f"smtp-source delivers {messages} messages to {recipient}, {time.time() - begun:.0f} s",
                     done.returncode == 0 and arrived == messages * copies, (done, arrived))
        count.delivered(messages, copies)


def swaks(daemon, listener, sender, recipients, *more):
    return run("swaks", "--server", "127.0.0.1", "--port", daemon.port[listener], "--ehlo", "client.example", "--from",
               sender, "--to", ",".join(recipients), *more)


def by_swaks(report, daemon, count):
    attachment = daemon.folder / "attachment.bin"
    attachment.write_bytes(os.urandom(ATTACHMENT))
    alice = ["--auth-user", "alice", "--auth-password", PASSWORD]
    kinds = [("in the clear", "smtp", "one@example.org", ["alice@localhost"], [], False, 1),
             ("with STARTTLS", "smtp", "two@example.org", ["alice@localhost", "bob@localhost"], ["--tls"], True, 2),
             ("to an alias", "smtp", "three@example.org", ["team@localhost"], ["--tls"], True, 2),
             ("with an attachment of 20 MiB", "smtp", "four@example.org", ["alice@localhost", "bob@localhost"],
              ["--tls", "--attach-type", "application/octet-stream", "--attach", f"@{attachment}"], True, 2),
             ("by submission with AUTH PLAIN", "submission", "alice@localhost", ["bob@localhost"],
              ["--tls", "--auth", "PLAIN", *alice], True, 1),
             ("by submission with AUTH LOGIN", "submissions", "alice@localhost", ["bob@localhost"],
              ["--tls-on-connect", "--auth", "LOGIN", *alice], True, 1)]
    lost = []
    for number in range(BY_SWAKS):
        # Each kind once, and then those that are quick.
        name, listener, sender, recipients, more, tls, copies = kinds[number if number < len(kinds) else number % 3]
        done = swaks(daemon, listener, sender, recipients, *more)
        good = done.returncode == 0 and count.traced(done.stdout, sender, recipients, tls, copies)
        lost += [] if good else [done.stdout[-500:] + done.stderr]
        if number < len(kinds):
            report.check(f"swaks delivers {name}, and the 250 has a trace id", good, done.stdout[-500:] + done.stderr)
    report.check(f"swaks delivers {BY_SWAKS} messages", not lost, lost)
    attachment.unlink()


def connect(daemon, tls=True):
    client = smtplib.SMTP("127.0.0.1", daemon.port["smtp"], local_hostname="client.example", timeout=60)
    if tls:
        client.starttls(context=ftps.context())
    client.ehlo()
    return client


def by_python(report, daemon, count):
    client, lost = connect(daemon), 0
    for number in range(BY_PYTHON):
        sender, recipients = f"n{number}@example.org", [["alice@localhost"], ["team@localhost"]][number % 2]
        client.mail(sender)
        client.rcpt(recipients[0])
        code, text = client.data(f"Subject: {number}\n\n{'x' * number}\n")
        lost += not count.traced(f"{code} {text.decode()}", sender, recipients, True, 1 + number % 2)
    report.check(f"smtplib delivers {BY_PYTHON} messages with STARTTLS", not lost, lost)
    client.quit()


def say(client, *commands):
    """The reply to the last of some commands, as `250 text`."""
    for command in commands:
        code, text = client.docmd(command)
    return f"{code} {text.decode()}"


def corners(report, daemon, count):
    client = connect(daemon)
    body = b"Subject: corner\r\n\r\nbody\r\n.\r\n"

    def deliver(what, sender, recipient, copies=1, options=""):
        begun = say(client, f"MAIL FROM:<{sender}>{options}", f"RCPT TO:<{recipient}>")
        say(client, "DATA")
        client.send(body)
        code, text = client.getreply()
        traced = count.traced(f"{code} {text.decode()}", sender, [recipient], True, copies)
        report.check(what, traced, (begun, code, text))

    deliver("plus-addressing reaches the account", "plus@example.org", "alice+lists@localhost")
    deliver("the null sender is taken", "", "bob@localhost")
    deliver("postmaster is reached", "post@example.org", "postmaster@localhost")
    deliver("so is <Postmaster> without a domain", "post@example.org", "Postmaster")
    deliver("the alias may stand for one who is named too", "alias@example.org", "team@localhost", 2)
    client.command_encoding = "utf-8"
    deliver("SMTPUTF8 reaches letters of all kinds", "müller@example.org", "jürgen@localhost", 1, " SMTPUTF8")
    begun = say(client, "MAIL FROM:<a@example.org>", "RCPT TO:<someone@elsewhere.example>")
    report.check("a recipient elsewhere is refused with 550", begun.startswith("550 5.7.1"), begun)
    begun = say(client, "RCPT TO:<nobody@localhost>")
    report.check("a recipient that is not is refused with 550", begun.startswith("550 5.1.1"), begun)
    begun = say(client, "RSET", "MAIL FROM:<a@example.org> SIZE=99999999")
    report.check("a message that is too large is refused with 552 before it is sent", begun.startswith("552"), begun)
    client.quit()
    alice = ["--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", PASSWORD]
    for what, reply, listener, sender, recipient, more in (
            ("to relay", 550, "smtp", "a@example.org", "b@elsewhere.example", ["--tls"]),
            ("submission without a log-in", 530, "submission", "alice@localhost", "bob@localhost", ["--tls"]),
            ("submission in another's name", 553, "submission", "bob@localhost", "bob@localhost", alice)):
        done = swaks(daemon, listener, sender, [recipient], *more)
        report.check(f"swaks is refused {what} with {reply}", re.search(rf"^<[~*]\* {reply} ", done.stdout, re.M),
                     done.stdout[-500:])


def chunking(report, daemon, count):
    with socket.create_connection(("127.0.0.1", daemon.port["smtp"]), 30) as client:
        lines = client.makefile("rb")

        def reply():
            while True:
                line = lines.readline().decode()
                if line[3:4] != "-":
                    return line

        reply()
        client.sendall(b"EHLO client.example\r\n")
        reply()
        head, body = b"Subject: chunks\r\n\r\n", b"bare \n and .\r\n.\r\n and NUL-free octets\r\n" * 2000
        client.sendall(b"MAIL FROM:<chunk@example.org> BODY=8BITMIME\r\nRCPT TO:<alice@localhost>\r\n"
                       + b"BDAT %d\r\n" % len(head) + head)
        begun = [reply() for _ in range(3)]
        body = body.replace(b"bare \n", b"")
        client.sendall(b"BDAT %d LAST\r\n" % len(body) + body)
        last = reply()
        good = [line[:3] for line in begun] == ["250"] * 3
        good = count.traced(last, "chunk@example.org", ["alice@localhost"], False) and good
        report.check("BDAT in two pipelined chunks delivers", good, (begun, last))
        client.sendall(b"BDAT 3 LAST\r\nabc")
        report.check("BDAT without a transaction is refused, its octets dropped", reply().startswith("503"))
        client.sendall(b"QUIT\r\n")
        report.check("and the session goes on", reply().startswith("221"))


def traces(report, daemon, count):
    """Every trace id that a 250 told, looked up: the record must agree with what was sent and with what is stored."""
    wrong, now = [], time.time() * 1000
    for trace, (sender, recipients, tls) in count.traces.items():
        records = [record for record in daemon.json("trace", trace) if record["action"] == "mail.deliver"]
        told = [dict(pair.split("=", 1) for pair in record["detail"].split()) for record in records]
        rows = [(size, bytes(name).hex()) for record, fact in zip(records, told)
                for size, name in daemon.store.rows("""SELECT messages.size, hash FROM messages
                    JOIN blobs ON blobs.id = messages.blob WHERE mailbox = $1 AND uid = $2""",
                                                    record["object"], int(fact["uid"]))]
        good = (bool(records) and len(records) == len(rows)
                and {record["target"] for record in records} == set(recipients)
                and all(fact["from"] == f"<{sender}>" and (int(fact["size"]), fact["blob"]) == rows[0] for fact in told)
                and all(record["outcome"] == "done" and record["peer"].startswith("127.0.0.1") for record in records)
                and all(bool(re.match(r"TLSv1\.[23] ", record["tls"])) == tls for record in records)
                and all(0 <= now - record["time"] < 3_600_000 for record in records))
        wrong += [] if good else [(trace, sender, recipients, tls, records, rows)]
    report.check(f"trace tells sender, recipients, size, blob, peer, TLS and time of all {len(count.traces)} trace ids",
                 not wrong, wrong[:1])
    trace, (sender, recipients, _) = next(item for item in count.traces.items() if item[1][2] and len(item[1][1]) == 2)
    text = daemon.cli("trace", trace).stdout
    # It may have been delivered before midnight.
    day = time.strftime("%Y-%m-%dT", time.gmtime(daemon.json("trace", trace)[0]["time"] / 1000))
    wanted = [sender, *recipients, "size=", "blob=", "127.0.0.1", "TLSv1.", day]
    report.check("trace says the same in words", all(word in text for word in wanted), text)
    unknown = daemon.cli("trace", "0" * 16, check=False)
    report.check("trace of an unknown id fails with one line",
                 unknown.returncode == 1 and unknown.stderr.count("\n") == 1, unknown.stderr)


def others(daemon, count):
    """Changes of other kinds: their records are counted too."""
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    client.mkd("folder")
    for number in range(20):
        client.storbinary(f"STOR folder/{number}", io.BytesIO(b"x" * number * 10_000))
    client.rename("folder/1", "folder/renamed")
    client.delete("folder/2")
    client.sendcmd("MFMT 20200202020202 folder/3")
    client.quit()
    secret, url = ["-u", f"bob:{PASSWORD}", "-sSkf"], f"https://127.0.0.1:{daemon.port['https']}/dav/"
    for number in range(20):
        run("curl", *secret, "-T", __file__, f"{url}{number}").check_returncode()
    run("curl", *secret, "-X", "DELETE", f"{url}7").check_returncode()
    daemon.cli("domain", "add", "example.net")
    daemon.cli("user", "quota", "bob", "10G")
    daemon.cli("user", "disable", "bob")
    daemon.cli("user", "enable", "bob")
    daemon.cli("user", "passwd", "bob")
    count.changes += 1 + 20 + 1 + 1 + 1 + 20 + 1 + 5


def tamper(report, daemon):
    """Changes one byte of one record, column by column, and more; each must be seen and the record named."""
    rows, columns = daemon.store.rows, daemon.store.columns("audit")
    chain, last = rows("SELECT chain, MAX(seq) FROM audit GROUP BY chain ORDER BY MAX(seq) DESC LIMIT 1")[0]
    record = rows("""SELECT * FROM audit WHERE action = 'mail.deliver' AND tls <> '' AND chain = $1 AND seq < $2
                  ORDER BY seq DESC LIMIT 1""", chain, last - 10)[0]
    seq = record[columns.index("seq")]

    def verify(what, *names):
        done = daemon.cli("audit", "verify", check=False)
        named = any(re.search(rf"\brecord {name}\b", done.stderr) for name in names)
        report.check(what, done.returncode == 1 and done.stderr.count("\n") == 1 and named, (done, names))

    def one_byte(value):
        if value is None or isinstance(value, int):
            return (value or 0) ^ 1
        if isinstance(value, str):
            return chr(ord(value[0]) ^ 1) + value[1:] if value else "x"
        return bytes([value[0] ^ 1]) + value[1:]

    for column, value in zip(columns, record):
        # A number that is taken already would be refused by the database itself.
        changed = value + (1 << 40) if column in ("chain", "seq") else one_byte(value)
        rows(f"UPDATE audit SET {column} = $1 WHERE chain = $2 AND seq = $3", changed, chain, seq)
        verify(f"one byte of {column} changed: audit verify names record {seq}", seq)
        now = {**dict(zip(columns, record)), column: changed}
        rows(f"UPDATE audit SET {column} = $1 WHERE chain = $2 AND seq = $3", value, now["chain"], now["seq"])

    def keep(condition):
        kept = rows(f"SELECT * FROM audit WHERE chain = {chain} AND {condition}")
        rows(f"DELETE FROM audit WHERE chain = {chain} AND {condition}")
        return kept

    def put_back(kept):
        for row in kept:
            rows(f"INSERT INTO audit VALUES ({','.join(f'${at + 1}' for at in range(len(columns)))})", *row)

    kept = keep(f"seq = {seq}")
    verify("a record removed: the gap is named", seq)
    put_back(kept)
    # Records that no change is counted for, as of a log-in, would not be missed below.
    kept = keep(f"seq > {last - 3}")
    verify("the tail cut: the end is named", last)
    head = rows("SELECT seq, hash FROM chains WHERE id = $1", chain)[0]
    newest = rows("SELECT seq, hash FROM audit WHERE chain = $1 ORDER BY seq DESC LIMIT 1", chain)[0]
    rows("UPDATE chains SET seq = $1, hash = $2 WHERE id = $3", *newest, chain)
    done = daemon.cli("audit", "verify", check=False)
    report.check("the tail cut with the chain's end made to match: the changes do not add up",
                 done.returncode == 1 and "changes" in done.stderr, done)
    rows("UPDATE chains SET seq = $1, hash = $2 WHERE id = $3", *head, chain)
    put_back(kept)
    done = daemon.cli("audit", "verify", check=False)
    report.check("with everything put back the log is whole", done.returncode == 0, done)


def main():
    report, count = Report("mail"), Count()
    daemon = Daemon().start()
    try:
        before = daemon.json("audit", "verify")
        daemon.add("alice", PASSWORD)
        daemon.add("bob", PASSWORD)
        daemon.cli("alias", "add", "team@localhost", "alice", "bob")
        daemon.cli("alias", "add", "jürgen@localhost", "alice")
        count.changes += 4
        smtp_source(report, daemon, count)
        by_python(report, daemon, count)
        by_swaks(report, daemon, count)
        report.check(f"{count.messages} messages in all", count.messages == 5000)
        corners(report, daemon, count)
        chunking(report, daemon, count)
        report.check(f"the store holds all {count.copies} copies", stored(daemon) == count.copies, stored(daemon))
        traces(report, daemon, count)
        others(daemon, count)
        after = daemon.json("audit", "verify")
        made = after["changes"] - before["changes"]
        report.check(f"the log records {made} changes, {count.changes} were made; the accounts count the same",
                     made == count.changes and after["counted"] == after["changes"], (after, before, count.changes))
        memory = daemon.memory() / (1 << 20)
        print(f"      {memory:.1f} MiB used at most")
        log = daemon.log()
        report.check("the log tells of no fault", "ERROR" not in log and "panicked" not in log, log[-2000:])
        daemon.stop()
        tamper(report, daemon)
    finally:
        if daemon.process.poll() is None:
            daemon.stop()
        daemon.remove()
    report.end()


main()
