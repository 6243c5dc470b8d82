"""Bad input to IMAP: before and after the log-in, in the grammar, in the pipeline, by many. A part of abuse.py; alone
it runs against a daemon of its own."""

import base64, imaplib, resource, select, smtplib, socket, sys, time, zlib

import ftps
from abuse_messages import messages
from harness import Daemon, Report
from rawimap import Imap, verdict

PASSWORD = "a long enough password"
BIG = (b"4294967296", b"18446744073709551615", b"9" * 60)


def opened(daemon, mailbox="INBOX", **more):
    client = Imap(daemon, "carol", PASSWORD, **more)
    client.say(f"SELECT {mailbox}")
    return client


def literals(report, daemon):
    said = {}
    for size in BIG:
        for command in (b"a LOGIN {%s}", b"a LOGIN alice {%s}", b"a APPEND INBOX {%s}", b"a ID ({%s}", b"a X {%s}"):
            line = command % size
            client = Imap(daemon, tls=False)
            client.send(line + b"\r\n")
            said[line] = client.until(b"a")
            client.close()
            client = Imap(daemon, tls=False)
            client.send(line.replace(b"}", b"+}") + b"\r\n")
            said[line + b" unasked"] = client.rest()
            client.close()
    refused = {line: answer for line, answer in said.items() if not line.endswith(b"unasked")}
    report.check("IMAP: literals of 4 GiB and more before the log-in are not asked for",
                 all(verdict(answer) in ("BAD", "NO") and b"+ " not in answer for answer in refused.values()), refused)
    ended = {line: answer for line, answer in said.items() if line not in refused}
    report.check("IMAP: those that come unasked end the session", all(answer and b"BYE" in answer
                                                                     for answer in ended.values()), ended)
    said = {}
    for size in BIG:
        client = opened(daemon)
        for command in (b"APPEND INBOX {%s}", b"APPEND INBOX ~{%s}", b"SEARCH TEXT {%s}", b"CREATE {%s}"):
            said[command % size] = client.say(command % size)
        client.close()
        client = opened(daemon)
        client.send(b"a APPEND INBOX {%s+}\r\n" % size)
        said[size] = client.rest()
        client.close()
    report.check("IMAP: nor behind it", all(answer and (verdict(answer) in ("BAD", "NO") and b"\n+ " not in answer
                                                        or b"BYE" in answer) for answer in said.values()), said)


def stalled(report, daemon):
    """Literals that stop half-way, in commands and in messages: nothing is kept for the half that is announced."""
    held = []
    for number in range(100):
        client = opened(daemon, source=f"127.0.3.{number % 4 + 1}")
        halves = b"a SEARCH TEXT {200000+}\r\nx", b"a APPEND INBOX {40000000+}\r\nSubject: half\r\n"
        client.send(halves[number % 2])
        held.append(client)
    time.sleep(1)
    return held


def grammar(report, daemon):
    many = 10_000
    deep = {
        "SEARCH": b"SEARCH " + b"(" * many + b"ALL" + b")" * many,
        "SEARCH NOT": b"SEARCH " + b"NOT " * many + b"ALL",
        "SEARCH OR": b"SEARCH " + b"OR ALL " * many + b"ALL",
        "FETCH": b"FETCH 1 " + b"(" * many + b"FLAGS" + b")" * many,
        "BODY": b"FETCH 1 BODY[" + b"(" * many + b"]",
        "fields": b"FETCH 1 BODY[HEADER.FIELDS " + b"(" * many + b"]",
        "LIST": b"LIST " + b"(" * many + b'"" *',
        "RETURN": b'LIST "" * RETURN ' + b"(" * many,
        "STATUS": b"STATUS INBOX " + b"(" * many,
        "ID": b"ID " + b"(" * many,
        "STORE": b"STORE 1 FLAGS " + b"(" * many,
        "QRESYNC": b"SELECT INBOX (QRESYNC " + b"(" * many,
        "SORT": b"SORT " + b"(" * many,
        "APPEND": b"APPEND INBOX " + b"(" * many + b" {1}",
    }
    client = opened(daemon)
    said = {}
    for what, line in deep.items():
        said[what] = client.verdict(line)
        client.verdict("NOOP")
    report.check("IMAP: 10,000 open parentheses are refused wherever they stand", set(said.values()) == {"BAD"}, said)
    said = {"1 MB": client.verdict(b"SEARCH TEXT " + b"x" * 1_000_000), "NUL": client.verdict(b"SEARCH TEXT \"a\0b\""),
            "CR": client.verdict(b"NOOP\rx"), "8 bit": client.verdict(b"\xff\xfe\x80"),
            "empty": client.verdict(b""), "spaces": client.verdict(b"    ")}
    report.check("IMAP: a command of 1 MB and what is none are refused", set(said.values()) == {"BAD"}, said)
    report.check("IMAP: and the session goes on", client.verdict("NOOP") == "OK")
    client.close()


def endless(report, daemon):
    """A line that does not end, in the clear, behind a log-in, in IDLE and in a log-in."""
    ended = {}
    for where in ("before the log-in", "behind it", "in IDLE", "in AUTHENTICATE"):
        inside = where in ("behind it", "in IDLE")
        client = opened(daemon) if inside else Imap(daemon, tls=where == "in AUTHENTICATE")
        if where == "in IDLE":
            client.send(b"a IDLE\r\n")
            client.line()
        elif not inside:
            client.send(b"a AUTHENTICATE PLAIN\r\n" if where == "in AUTHENTICATE" else b"")
        try:
            for _ in range(64):
                client.send(b"x" * (1 << 20))
            ended[where] = False
        except OSError as error:
            ended[where] = not isinstance(error, TimeoutError)
        client.close()
    report.check("IMAP: a line without end is given up", all(ended.values()), ended)


OUTSIDE = ["STARTTLS", "AUTHENTICATE PLAIN AGEAYQ==", "LOGIN alice wrong"]
INSIDE = ["ENABLE CONDSTORE", "SELECT INBOX", "EXAMINE INBOX", "CREATE x", "DELETE x", "RENAME x y", "SUBSCRIBE x",
          "UNSUBSCRIBE x", 'LIST "" *', 'LSUB "" *', "NAMESPACE", "STATUS INBOX (MESSAGES)", "APPEND INBOX {1+}\r\nx",
          'GETQUOTA ""', "GETQUOTAROOT INBOX", 'SETQUOTA "" (STORAGE 1)', "IDLE", "COMPRESS DEFLATE"]
SELECTED = ["CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "SEARCH ALL", "SORT (DATE) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL", "FETCH 1 FLAGS", "STORE 1 FLAGS ()", "COPY 1 x", "MOVE 1 x",
            "UID FETCH 1 FLAGS", "UID SEARCH ALL", "UID EXPUNGE 1", "UID STORE 1 FLAGS ()", "UID COPY 1 x",
            "UID MOVE 1 x"]


def states(report, daemon):
    refused = {}
    for tls in (False, True):
        for command in INSIDE + SELECTED:
            client = Imap(daemon, tls=tls)
            refused[tls, command] = client.verdict(command)
            client.close()
    client = Imap(daemon, tls=False)
    clear = {command: client.say(command) for command in OUTSIDE[1:]}
    client.close()
    report.check("IMAP: no password is looked at in the clear",
                 all(b" NO [PRIVACYREQUIRED] " in answer for answer in clear.values()), clear)
    client = Imap(daemon, "carol", PASSWORD)
    for command in OUTSIDE + SELECTED:
        refused["logged in", command] = client.verdict(command)
        client.say("NOOP")
    client.close()
    client = opened(daemon)
    for command in OUTSIDE:
        refused["selected", command] = client.verdict(command)
    client.close()
    wrong = {at: answer for at, answer in refused.items() if answer != "BAD"}
    report.check(f"IMAP: {len(refused)} commands in the wrong state: BAD", not wrong, wrong)


def injection(report, daemon):
    for behind in (b"b LOGIN alice x\r\n", b"b NOOP", b"b"):
        client = Imap(daemon, tls=False)
        client.send(b"a STARTTLS\r\n" + behind)
        heard = client.rest()
        report.check(f"IMAP: {behind!r} behind STARTTLS is not taken, and ends the session", heard is not None
                     and b"\nb " not in heard and b"a OK" not in heard and heard.startswith(b"a BAD"), heard)
        client.close()
    client = Imap(daemon, tls=False)
    client.send(b"a STARTTLS\r\n")
    taken = client.until(b"a")
    client.raw = ftps.context().wrap_socket(client.raw)
    report.check("IMAP: STARTTLS alone is taken, and what was said before it forgotten", b" OK " in taken
                 and b"LOGINDISABLED" not in client.say("CAPABILITY") and client.verdict("STARTTLS") == "BAD", taken)
    client.close()


def flood(report, daemon):
    """A million commands from one who does not read: the server stops reading too, and loses nothing."""
    client = Imap(daemon, tls=False, window=16 << 10)
    line, sent, most = b"a NOOP\r\n" * 8192, 0, 100 << 20
    client.raw.setblocking(False)
    while sent < most and select.select([], [client.raw], [], 3)[1]:
        sent += client.raw.send(line[sent % 8:])
    report.check(f"IMAP: who does not read is not read from: {sent >> 10} KiB were taken", sent < most)
    heard, missing = 0, -sent % 8
    rest = line[8 - missing:8] + b"b LOGOUT\r\n"
    while True:
        readable, writable, _ = select.select([client.raw], [client.raw] if rest else [], [], 30)
        if writable:
            rest = rest[client.raw.send(rest):]
        if not readable and not writable:
            break
        if readable:
            piece = client.raw.recv(1 << 20)
            heard += piece.count(b"a OK")
            client.input = bytearray(client.input + piece)[-4096:]
            if not piece or b"\nb OK" in client.input:
                break
    whole = (sent + missing) // 8
    report.check(f"IMAP: and all of its {whole} commands are answered", abs(heard - whole) <= whole // 1000 and
                 b"\nb OK" in client.input, (heard, client.input[-200:]))
    client.close()


def names(report, daemon):
    client = opened(daemon)
    level = b"a/" * 1000 + b"a"
    said = {}
    for what, name in (("1,000 levels", level), ("500 bytes", b"n" * 500), ("a level of 300 bytes", b"a/" + b"n" * 300),
                       ("100,000 bytes", b"n" * 100_000), ("..", b'".."'), ("../", b'"../../etc"'), (".", b'"a/./b"'),
                       ("two separators", b'"a//b"'), ("a separator first", b'"/etc"'),
                       ("control characters", b"a&AAE-b"),
                       ("NUL", b"&AAA-"), ("a line's end", b"{4+}\r\na\r\nb"), ("half a surrogate", b"&2AA-"),
                       ("needless modified UTF-7", b"&AGE-"), ("an endless &", b"&AAA"), ("8 bit", b"{2+}\r\n\xff\xfe"),
                       ("*", b'"a*"'), ("%", b'"a%b"'), ("INBOX below itself", b"INBOX/INBOX/INBOX"), ("empty", b'""')):
        said[what] = client.verdict(b"CREATE " + name), client.verdict(b"RENAME x " + name), client.verdict(
            b"SUBSCRIBE " + name)
    bad = {what: answers for what, answers in said.items() if not set(answers) <= {"OK", "NO", "BAD"}}
    report.check("IMAP: no name breaks anything", not bad, bad)
    taken = sorted(what for what, answers in said.items() if answers[0] == "OK")
    print(f"      names that are taken: {', '.join(taken)}")
    hostile = {"1,000 levels", "100,000 bytes", "control characters", "NUL", "a line's end", "8 bit", "..", "../",
               "half a surrogate", "empty"}
    report.check("IMAP: the hostile ones are refused", not hostile & set(taken), taken)
    listed = client.say('LIST "" *')
    controls = [byte for byte in listed.replace(b"\r\n", b"") if byte < 32]
    report.check("IMAP: and are not listed", not controls, listed)
    client.close()


def wildcards(report, daemon):
    """Patterns of 10,000 characters over 2,000 mailboxes."""
    daemon.add("many", PASSWORD)
    client = Imap(daemon, "many", PASSWORD)
    below = b"a" * 48
    lines = b"".join(b"c%d CREATE box%d/%s%d\r\n" % (at, at, below, at) for at in range(1000))
    client.send(lines)
    made = client.until(b"c999").count(b" OK ")
    report.check("IMAP: 2,000 mailboxes are made", made == 1000, made)
    for pattern in (b"%*" * 5000, b"*a" * 5000, b"%a" * 5000 + b"b", b"*" * 10_000, b"%" * 10_000, b"a*" * 20 + b"b",
                    b"*/" * 5000, b"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*ab"):
        for command in (b'LIST "" ', b'LSUB "" ', b'LIST (RECURSIVEMATCH SUBSCRIBED) "" '):
            begun = time.time()
            answer = client.say(command + pattern)
            took = time.time() - begun
            report.check(f"IMAP: {command + pattern[:10]!r}... is answered in {took:.1f} s",
                         verdict(answer) in ("OK", "NO", "BAD") and took < 10, answer[-200:])
    for count, wanted in ((10_000, "BAD"), (100, "OK")):
        begun = time.time()
        answer = client.verdict(b'LIST "" (' + b" ".join([b"*a*a*b"] * count) + b")")
        report.check(f"IMAP: {count} patterns at once: {wanted} in {time.time() - begun:.1f} s",
                     time.time() - begun < 10 and answer == wanted, answer)
    client.close()


def sets(report, daemon):
    client = opened(daemon)
    said = {}
    for what, numbers in (("10,000 ranges", b",".join(b"%d:%d" % (at * 3 + 1, at * 3 + 2) for at in range(10_000))),
                          ("10,000 times everything", b",".join([b"1:4294967295"] * 10_000)),
                          ("10,000 times *", b",".join([b"*"] * 10_000)), ("everything", b"1:4294967295"),
                          ("backwards", b"4294967295:1"), ("too large", b"1:4294967296"), ("zero", b"0:*"),
                          ("commas", b"," * 10_000), ("colons", b":" * 10_000)):
        for command in (b"UID FETCH %s FLAGS", b"FETCH %s FLAGS", b"UID SEARCH UID %s", b"SEARCH NOT %s",
                        b"UID COPY %s Trash", b"UID STORE %s +FLAGS.SILENT (x)", b"UID EXPUNGE %s",
                        b"SELECT INBOX (QRESYNC (1 1 %s))", b"UID MOVE %s INBOX"):
            begun = time.time()
            answer = client.verdict(command % numbers)
            if answer not in ("OK", "NO", "BAD") or time.time() - begun > 5:
                said[what, command] = answer, time.time() - begun
            if client.verdict("NOOP") != "OK":
                break
            client.say("SELECT INBOX")
    report.check("IMAP: sequence sets of every size are answered at once", not said, said)
    client.close()


def repeated(report, daemon):
    """One message, and its header a thousand times."""
    client = Imap(daemon, "carol", PASSWORD)
    client.append(b"Drafts", b"".join(b"X-%d: %s\r\n" % (at, b"a" * 44) for at in range(1000)) + b"\r\nx\r\n")
    client.say("SELECT Drafts")
    items = b" ".join(b"BODY.PEEK[HEADER.FIELDS.NOT (A%d)]" % at for at in range(1000))
    answer = client.say(b"FETCH 1 (" + items + b")")
    report.check(f"IMAP: {len(answer) >> 20} MiB of one header are sent", verdict(answer) == "OK" and
                 len(answer) > 50_000_000, answer[-200:])
    client.close()


def deaf(report, daemon):
    """100 sessions that fetch all there is, again and again, and never read."""
    fill = opened(daemon)
    message = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 14_000
    for _ in range(20):
        fill.append(b"INBOX", message)
    fill.close()
    held = []
    for number in range(100):
        client = opened(daemon, source=f"127.0.4.{number % 4 + 1}", window=16 << 10)
        client.send(b"".join(b"f%d FETCH 1:* (BODY.PEEK[] ENVELOPE BODYSTRUCTURE)\r\n" % at for at in range(200)))
        held.append(client)
    time.sleep(3)
    return held


def decoded(report, daemon):
    """30 sessions that have large parts decoded and large headers picked over, and never read."""
    fill = opened(daemon)
    fill.say("CREATE Decoded")
    line = base64.b64encode(bytes(57)) + b"\r\n"
    part = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: "
    fill.append(b"Decoded", part + b"base64\r\n\r\n" + line * 150_000)
    fill.append(b"Decoded", part + b"quoted-printable\r\n\r\n" + (b"=3D" * 20 + b"=\r\n") * 150_000)
    fill.append(b"Decoded", b"".join(b"X-%d: %s\r\n" % (at, b"x" * 60) for at in range(150_000)) + b"\r\n")
    fill.say("SELECT Decoded")
    answer = fill.say("FETCH 1:2 (BINARY.SIZE[1] BINARY.PEEK[1]<8000000.9>)")
    report.check("IMAP: large parts are decoded",
                 b"1 FETCH (BINARY.SIZE[1] 8550000 BINARY[1]<8000000> ~{9}" in answer and
                 b"2 FETCH (BINARY.SIZE[1] 3000000 BINARY[1]<8000000> {0}" in answer, answer)
    fill.close()
    held = []
    for number in range(30):
        client = opened(daemon, "Decoded", source=f"127.0.8.{number % 4 + 1}", window=16 << 10)
        client.send(b"f FETCH %s\r\n" % (b"1 BINARY.PEEK[1]", b"2 BINARY.PEEK[1]", b"3 BODY.PEEK[HEADER]",
                                        b"3 BODY.PEEK[HEADER.FIELDS.NOT (X-1)]")[number % 4])
        held.append(client)
    time.sleep(5)
    return held


def bombs(report, daemon):
    """1 GB of zeros in 1 MB, as a line and as a message."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    million = bytes(1 << 20)
    bomb = b"".join(packer.compress(million) for _ in range(1024)) + packer.flush(zlib.Z_SYNC_FLUSH)
    for what, start in (("a line", b"a NOOP "), ("a literal", b"a APPEND INBOX {1073741824+}\r\n"),
                        ("rubbish", None)):
        client = opened(daemon)
        report.check("IMAP: COMPRESS is taken", client.verdict("COMPRESS DEFLATE") == "OK")
        first = zlib.compressobj(9, zlib.DEFLATED, -15)
        begun = time.time()
        try:
            client.send(b"\xff" * 1000 if start is None else first.compress(start) + first.flush(zlib.Z_FULL_FLUSH))
            client.send(bomb)
        except OSError:
            pass
        ended = client.rest()
        report.check(f"IMAP: {what} of 1 GB, compressed, ends the session in {time.time() - begun:.1f} s",
                     ended is not None, ended)
        client.close()


def exchanges(report, daemon):
    """AUTHENTICATE with rubbish, and without end."""
    source = "127.0.5.1"
    client = Imap(daemon, source=source)
    said = []
    for response in (b"!!!!", b"", b"====", b"AAAA" * 4000, b"\xff\xfe", b"*", b"AA=A", b"AGFsaWNl"):
        client.send(b"a AUTHENTICATE PLAIN\r\n")
        client.line()
        client.send(response + b"\r\n")
        said.append(verdict(client.until(b"a")))
    report.check("IMAP: rubbish for a response is refused", set(said) <= {"BAD", "NO"} and said.count("BAD") >= 5, said)
    told = b""
    while b"BYE" not in told and len(told) < 10_000:
        told += client.say(b"AUTHENTICATE SCRAM-SHA-256\r\nAAAA")
    report.check("IMAP: and its number limited", b"BYE Too many errors" in told, told[-300:])
    client.close()
    client = Imap(daemon, source=source)
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    client.line()
    client.send(b"x" * 20_000 + b"\r\n")
    report.check("IMAP: a response of 20,000 octets is too long", verdict(client.until(b"a")) == "BAD")
    client.close()


def idling(report, daemon):
    client = opened(daemon)
    said = {}
    for end in (b"done", b"DONE", b"DONE x", b"a NOOP", b"", b"\0\xff", b"x" * 900):
        client.send(b"a IDLE\r\n")
        client.line()
        client.send(end + b"\r\n")
        said[end[:10]] = verdict(client.until(b"a"))
    good = [answer for end, answer in said.items() if end.upper() == b"DONE"]
    report.check("IMAP: rubbish ends IDLE with BAD, DONE with OK", good == ["OK", "OK"] and
                 list(said.values()).count("BAD") == 5, said)
    report.check("IMAP: and the session goes on", client.verdict("NOOP") == "OK")
    client.close()
    held = []
    for number in range(200):
        client = opened(daemon, source=f"127.0.6.{number % 4 + 1}")
        client.send(b"a IDLE\r\n")
        held.append(client)
    return held


def guessing(report, daemon):
    """From many connections and addresses: the guard holds, and an unknown user looks like a known one."""
    daemon.add("guessed", PASSWORD)
    Imap(daemon, "guessed", PASSWORD).close()
    said, times = {}, {"guessed": [], "nobody": []}
    for number in range(120):
        for name in times:
            client = Imap(daemon, source=f"127.0.7.{number % 20 + 1}")
            begun = time.time()
            answer = client.say(f"LOGIN {name} wrong{number}")
            times[name].append(time.time() - begun)
            said.setdefault(name, []).append(answer.split(b"]")[0].split(b" ", 1)[1])
            client.close()
    # Past 100 failures of an account the answer hangs on the second in which it is asked, so only what is said counts.
    same = {name: sorted(set(answers)) for name, answers in said.items()}
    report.check("IMAP: unknown users are told what known ones are", same["guessed"] == same["nobody"]
                 and said["guessed"][:90] == said["nobody"][:90], same)
    known, unknown = (sorted(taken[:15])[7] for taken in times.values())
    report.check(f"IMAP: after as long: {unknown * 1000:.0f} and {known * 1000:.0f} ms", 0.3 < unknown / known < 3)
    # The wait after so many failures may be over any moment: one more that is looked at begins a longer one.
    end = time.time() + 120
    while True:
        client = Imap(daemon, source="127.0.7.40")
        before = client.say("LOGIN guessed wrong")
        if b"[AUTHENTICATIONFAILED]" in before or time.time() > end:
            break
        client.close()
        time.sleep(0.3)
    daemon.store.rows("UPDATE throttle SET failures = 120 WHERE key = $1 AND failures >= 100", "account:guessed")
    answer = client.say(f'LOGIN guessed "{PASSWORD}"')
    report.check("IMAP: after 100 guesses not even the right password is taken elsewhere",
                 b"[AUTHENTICATIONFAILED]" in before and b" NO [UNAVAILABLE]" in answer, (before, answer))
    client.close()
    client = Imap(daemon, source="127.0.7.41")
    told = b"".join(client.say(f"LOGIN nobody x{number}") for number in range(30))
    report.check("IMAP: one session is not given tries without end", b"BYE" in told and told.count(b" NO ") < 30,
                 told[-200:])
    client.close()
    client = Imap(daemon)
    answer = client.say(f'LOGIN guessed "{PASSWORD}"')
    report.check("IMAP: the owner still gets in", b" OK " in answer, answer)
    client.close()


def silent(report, daemon):
    """5,000 connections that say nothing, half of them not even what TLS begins with."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    held = []
    for number in range(5000):
        port = daemon.port["imap" if number % 2 else "imaps"]
        source = (f"127.0.9.{1 + number // 250}", 0)
        held.append(socket.create_connection(("127.0.0.1", port), 20, source_address=source))
    time.sleep(1)
    connected = daemon.json("status")["running"]["connections"]
    report.check(f"IMAP: {connected} connections are held", connected >= 4990, connected)
    return held


# What an attack may cost, in MiB above what was used before.
ATTACKS = ((literals, 16), (grammar, 32), (endless, 16), (states, 32), (injection, 16), (flood, 16), (names, 32),
           (wildcards, 64), (sets, 64), (exchanges, 32), (idling, 48), (guessing, 64), (bombs, 32), (stalled, 64),
           (repeated, 24), (deaf, 160), (decoded, 96), (silent, 100), (messages, 250))


def served(report, daemon, after):
    """Somebody else, at the same time."""
    try:
        begun = time.time()
        with smtplib.SMTP("127.0.0.1", daemon.port["smtp"], timeout=20) as mail:
            mail.sendmail("x@example.org", ["bob@localhost"], f"Subject: after {after}\r\n\r\n.\r\n")
        client = imaplib.IMAP4_SSL("127.0.0.1", daemon.port["imaps"], ssl_context=ftps.context(), timeout=20)
        client.login("bob", PASSWORD)
        client.select()
        found = client.search(None, "SUBJECT", f'"after {after}"')[1][0]
        client.logout()
        report.check(f"IMAP: while {after}: others are served in {time.time() - begun:.1f} s", found != b"", found)
    except Exception as error:
        report.check(f"IMAP: while {after}: others are served", False, repr(error))


def resident(daemon, key):
    for line in open(f"/proc/{daemon.process.pid}/status"):
        if line.startswith(key):
            return int(line.split()[1]) / 1024


def imap(report, daemon, chosen=()):
    """All of it: what each costs at most is measured from where it begins."""
    daemon.add("carol", PASSWORD)
    for attack, limit in ATTACKS:
        name = attack.__name__
        if chosen and name not in chosen:
            continue
        # Forgets the peak of what was before (proc(5)).
        open(f"/proc/{daemon.process.pid}/clear_refs", "w").write("5")
        before, begun, held = resident(daemon, "VmRSS"), time.time(), None
        try:
            held = attack(report, daemon)
        except Exception as error:
            report.check(f"IMAP: {name} ran to its end", False, repr(error))
        served(report, daemon, name)
        cost = resident(daemon, "VmHWM") - before
        report.check(f"IMAP: {name} costs {cost:.0f} MiB at its peak, {time.time() - begun:.0f} s", cost < limit, limit)
        for one in held or []:
            one.close()


def main():
    report = Report("abuse")
    daemon = Daemon("[limits]\nper_address = 300").start()
    daemon.add("bob", PASSWORD)
    imap(report, daemon, sys.argv[1:])
    report.check("the log tells of no panic", "panicked" not in daemon.log())
    report.check("the audit log is whole", daemon.cli("audit", "verify", check=False).returncode == 0)
    report.check("the daemon ends in order", daemon.stop() == 0)
    print(daemon.folder) if report.failed else daemon.remove()
    report.end()


if __name__ == "__main__":
    main()
