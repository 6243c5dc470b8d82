#!/usr/bin/env python3
"""Bad input: each gets the protocol's clear error, an audit record where it matters, and harms nobody else."""

import base64, ftplib, http.client, io, os, pathlib, re, resource, smtplib, socket, ssl, subprocess, tempfile
import threading, time

import ftps
from abuse_imap import imap
from abuse_pop3 import pop3
from harness import ENGINE, Daemon, Report, run

PASSWORD = "a long enough password"
ELSEWHERE = ("127.0.0.2", 0)
HEADER_TIMEOUT = 20  # longer than ten thousand connections take


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def https(daemon, method, path, body=None, headers=None, source=None, timeout=60):
    client = http.client.HTTPSConnection("127.0.0.1", daemon.port["https"], context=ftps.context(), timeout=timeout,
                                         source_address=source)
    client.request(method, path, body, headers or basic("alice", PASSWORD))
    answer = client.getresponse()
    content = answer.read()
    client.close()
    return answer.status, content


def talk(port, *pieces, source=None, wait=10):
    """Sends raw bytes, one piece after each reply; all that came back."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), wait, source_address=source) as raw:
        heard += raw.recv(4096)
        for piece in pieces:
            try:
                raw.sendall(piece)
                heard += raw.recv(65536)
            except OSError:
                break
        raw.settimeout(1)
        try:
            while piece := raw.recv(65536):
                heard += piece
        except OSError:
            pass
    return heard


def alive(report, daemon, after):
    """Somebody else, at the same time, is served."""
    try:
        client = ftps.login(daemon.port["ftp"], "bob", PASSWORD, 20)
        client.storbinary("STOR alive", io.BytesIO(b"alive"))
        client.quit()
        status, content = https(daemon, "GET", "/dav/alive", headers=basic("bob", PASSWORD), timeout=20)
        mail = smtplib.SMTP("127.0.0.1", daemon.port["smtp"], timeout=20)
        mail.sendmail("x@example.org", ["bob@localhost"], b"Subject: alive\r\n\r\n.\r\n")
        mail.quit()
        report.check(f"after {after}: others are served", (status, content) == (200, b"alive"), (status, content))
    except Exception as error:
        report.check(f"after {after}: others are served", False, repr(error))


def recorded(daemon, *filters):
    return len(daemon.json("audit", "query", "--limit", "100000", *filters))


def tries(daemon):
    """How many log-ins failed, how many were refused before the password was looked at, and how many more of those the
    records only count."""
    records = daemon.json("audit", "query", "--limit", "100000", "--action", "auth.login")
    counted = [int(count) for record in records for count in re.findall(r" held_back=(\d+)", record["detail"])]
    outcomes = [record["outcome"] for record in records]
    return outcomes.count("failed"), outcomes.count("refused"), sum(counted)


def looked_at(daemon, guess):
    """Guesses until two guesses more were looked at: all of the wait that the second begins, four seconds or more, is
    before who comes next. How many it took."""
    judged, made, end = tries(daemon)[0], 0, time.time() + 120
    while tries(daemon)[0] < judged + 2 and time.time() < end:
        guess("wrong once more")
        made += 1
    return made


def all_told(daemon, before, made, guess):
    """Ten passwords are free, then the account is guarded. What is held back is recorded once in each wait; the others,
    here the right password too, are counted by the next record. `made` is how many tries there were."""
    judged = tries(daemon)[0]
    for _ in range(40):
        time.sleep(0.5)
        guess("wrong again")
        made += 1
        if tries(daemon)[0] > judged:
            break
    failed, refused, counted = (now - then for now, then in zip(tries(daemon), before))
    return failed >= 13 and refused >= 1 and failed + refused + counted >= made, (failed, refused, counted, made)


def guess_ftp(daemon, *passwords):
    """The code that answers the last password."""
    with ftps.Ftps(context=ftps.context(), source_address=("127.0.0.5", 0), timeout=30) as client:
        client.connect("127.0.0.1", daemon.port["ftp"])
        code = ""
        for password in passwords:
            try:
                code = client.login("alice", password)[:3]
            except ftplib.Error as error:
                code = str(error)[:3]
            if code == "421":
                break
        return code


def guess_smtp(daemon, password):
    with smtplib.SMTP_SSL("127.0.0.1", daemon.port["submissions"], context=ftps.context(), timeout=30,
                          source_address=("127.0.0.6", 0)) as mail:
        mail.ehlo()
        return mail.docmd("AUTH PLAIN", base64.b64encode(f"\0alice\0{password}".encode()).decode())[0]


def guessing(report, daemon):
    def guess_https(password):
        return https(daemon, "GET", "/dav/", headers=basic("alice", password), source=ELSEWHERE)[0]

    before = tries(daemon)
    codes = [guess_https(f"wrong {number}") for number in range(20)]
    more = looked_at(daemon, guess_https)
    right = https(daemon, "GET", "/dav/", source=ELSEWHERE)[0]
    report.check("20 wrong passwords are refused", all(code in (401, 429) for code in codes), codes)
    report.check("the right one is not taken meanwhile", right in (401, 429), right)
    report.check("but from where the owner is", https(daemon, "GET", "/dav/")[0] == 200)
    told = all_told(daemon, before, 20 + more + 1, guess_https)
    report.check("every try is in the audit log", *told)
    # In turns, so that whatever else the machine does falls on both; fewer than the ten that are free.
    answers, times = {"alice": [], "nobody": []}, {"alice": [], "nobody": []}
    for number in range(7):
        for name in times:
            begun = time.time()
            answers[name].append(https(daemon, "GET", "/dav/", headers=basic(name, f"wrong {number}"),
                                       source=("127.0.0.4", 0)))
            times[name].append(time.time() - begun)
    report.check("an unknown user gets the same answer", answers["nobody"] == answers["alice"]
                 and answers["nobody"][0][0] == 401, answers)
    slow, known = sorted(times["nobody"])[3], sorted(times["alice"])[3]
    report.check(f"after as long: {slow * 1000:.0f} and {known * 1000:.0f} ms", 0.3 < slow / known < 3)
    before = tries(daemon)
    told = [guess_ftp(daemon, f"wrong {number}") for number in range(20)]
    report.check("FTP: 20 wrong passwords: 530", told == ["530"] * 20, told)
    more = looked_at(daemon, lambda password: guess_ftp(daemon, password))
    told = guess_ftp(daemon, PASSWORD)
    report.check("FTP: the right one is not taken meanwhile", told == "530", told)
    told = guess_ftp(daemon, *(f"wrong {number}" for number in range(8)))
    report.check("FTP: one session is not given tries without end", told == "421", told)
    # That session had one try at least.
    told = all_told(daemon, before, 20 + more + 1 + 1, lambda password: guess_ftp(daemon, password))
    report.check("FTP: every try is in the audit log", *told)
    before = tries(daemon)
    told = [guess_smtp(daemon, f"wrong {number}") for number in range(20)]
    report.check("SMTP: 20 wrong passwords: 535, then 454", told[:5] == [535] * 5 and set(told) <= {535, 454}, told)
    more = looked_at(daemon, lambda password: guess_smtp(daemon, password))
    told = guess_smtp(daemon, PASSWORD)
    report.check("SMTP: the right one is not taken meanwhile", told in (535, 454), told)
    told = all_told(daemon, before, 20 + more + 1, lambda password: guess_smtp(daemon, password))
    report.check("SMTP: every try is in the audit log", *told)
    alive(report, daemon, "guessing")


def quota(report, daemon):
    daemon.add("small", PASSWORD, "--quota", "1M")
    status, _ = https(daemon, "PUT", "/dav/x", os.urandom(2 << 20), basic("small", PASSWORD))
    report.check("HTTPS over quota: 507", status == 507, status)
    client = ftps.login(daemon.port["ftp"], "small", PASSWORD)
    try:
        client.storbinary("STOR x", io.BytesIO(os.urandom(2 << 20)))
        report.check("FTP over quota: 552", False)
    except (ftplib.Error, OSError) as error:
        code = str(error)[:3] if isinstance(error, ftplib.Error) else reply(client)
        report.check("FTP over quota: 552", code == "552", error)
    mail = smtplib.SMTP("127.0.0.1", daemon.port["smtp"])
    try:
        mail.sendmail("x@example.org", ["small@localhost"], b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + b"y\r\n" * 600_000)
        report.check("SMTP over quota: 452", False)
    except smtplib.SMTPException as error:
        report.check("SMTP over quota: 452", "452" in str(error), error)
    report.check("refusals are recorded", recorded(daemon, "--outcome", "refused") >= 3)
    alive(report, daemon, "over quota")


def reply(client):
    try:
        return client.getresp()[:3]
    except (ftplib.Error, EOFError, OSError) as error:
        return str(error)[:3]


def endless(port):
    """Whether the daemon hangs up on a line that does not end, long before all of it was sent."""
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        try:
            for _ in range(64):
                raw.sendall(b"x" * (1 << 20))
        except (ConnectionResetError, BrokenPipeError):
            return True
    return False


def lines(report, daemon):
    long = b"x" * (1 << 20) + b"\r\n"
    heard = talk(daemon.port["ftp"], long, b"NOOP\r\n")
    report.check("FTP: a line of 1 MiB: 500, and the session goes on", b"500 " in heard and b"200 " in heard, heard)
    heard = talk(daemon.port["smtp"], long, b"NOOP\r\n")
    report.check("SMTP: a line of 1 MiB: 500, and the session goes on", b"500 " in heard and b"250 " in heard, heard)
    report.check("FTP: a line without end is given up", endless(daemon.port["ftp"]))
    report.check("SMTP: a line without end is given up", endless(daemon.port["smtp"]))
    before = daemon.json("status")["store"]["messages"]
    start = [b"EHLO a\r\n", b"MAIL FROM:<a@example.org>\r\n", b"RCPT TO:<alice@localhost>\r\n", b"DATA\r\n"]
    for end in (b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n"):
        smuggled = b"Subject: x\r\n\r\nx" + end + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\nevil\r\n.\r\n"
        heard = talk(daemon.port["smtp"], *start, smuggled, source=("127.0.0.7", 0))
        report.check(f"SMTP: {end!r} does not end a message", b"evil" not in heard and heard.count(b"\n354") == 1, heard[-300:])
    report.check("SMTP: nothing was smuggled in", daemon.json("status")["store"]["messages"] == before)
    heard = talk(daemon.port["smtp"], b"EHLO a\r\n", b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
    report.check("SMTP: commands behind STARTTLS are not taken", b"250 2.1.0" not in heard and b"554" in heard, heard)
    heard = talk(daemon.port["ftp"], b"AUTH TLS\r\nUSER alice\r\n")
    report.check("FTP: commands behind AUTH TLS are not taken", b"331" not in heard and b"421" in heard, heard)
    alive(report, daemon, "bad lines")


def addresses(report, daemon):
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    for command in ("PORT 127,0,0,9,200,1", "PORT 192,0,2,1,0,25", "EPRT |1|127.0.0.9|50000|", "PORT 127,0,0,1,0,25"):
        try:
            client.sendcmd(command)
            report.check(f"FTP: {command} is refused", False)
        except ftplib.Error as error:
            report.check(f"FTP: {command} is refused", str(error)[:3] == "501", error)
    report.check("and recorded", recorded(daemon, "--action", "ftp.port") == 4)
    client.storbinary("STOR secret", io.BytesIO(b"secret"))
    client.voidcmd("TYPE I")
    host, port = client.makepasv()
    thief = socket.create_connection(("127.0.0.1", port), 10, source_address=("127.0.0.3", 0))
    client.putcmd("RETR secret")
    thief.settimeout(10)
    try:
        stolen = thief.recv(100)
    except OSError:
        stolen = b""
    own = client.context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), session=client.sock.session)
    report.check("FTP: another address gets nothing", stolen == b"", stolen)
    report.check("FTP: the client itself does", own.recv(100) == b"secret")
    alive(report, daemon, "foreign addresses")


def paths(report, daemon):
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    for command in ("RETR ../bob/alive", "STOR /a/../../x", "CWD /../..", "DELE ..", "MKD a/../b", "RETR a\0b", "CWD \x01"):
        try:
            client.sendcmd(command)
            report.check(f"FTP: {command!r} is refused", False)
        except ftplib.Error as error:
            report.check(f"FTP: {command!r} is refused", str(error)[0] == "5", error)
        except ValueError:
            pass
    for path in ("/dav/../bob/alive", "/dav/%2e%2e/bob", "/dav/a%00b", "/dav/a%2f..%2fb", "/~alice/../../x", "/~alice/%2e%2e/x"):
        raw = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {basic('alice', PASSWORD)['Authorization']}\r\n\r\n"
        with ftps.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.port["https"]), 10)) as tls:
            tls.sendall(raw.encode())
            status = tls.recv(4096).split(b" ")[1]
        report.check(f"HTTPS: {path} is refused", status in (b"400", b"403", b"404"), status)
    alive(report, daemon, "bad paths")


def resident(daemon):
    """The memory the daemon uses now, in bytes."""
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def crowd(report, daemon):
    """Ten thousand who say nothing."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    before, idle = resident(daemon), []
    for number in range(10_000):
        port = daemon.port[("ftp", "smtp", "http")[number % 3]]
        idle.append(socket.create_connection(("127.0.0.1", port), 20, source_address=(f"127.0.1.{1 + number // 250}", 0)))
    time.sleep(2)
    connected = daemon.json("status")["running"]["connections"]
    each = (resident(daemon) - before) / 10_000
    report.check(f"{connected} idle connections at {each:.0f} bytes each", connected >= 9_990 and 0 < each < 20_480)
    alive(report, daemon, "10,000 idle connections")
    for one in idle:
        one.close()
    for number, (name, busy) in enumerate((("smtp", b"421 4.3.2"), ("ftp", b"421 "), ("http", b"HTTP/1.1 503"))):
        source = (f"127.0.0.{20 + number}", 0)
        held = [socket.create_connection(("127.0.0.1", daemon.port[name]), 10, source_address=source) for _ in range(300)]
        time.sleep(0.5)
        with socket.create_connection(("127.0.0.1", daemon.port[name]), 10, source_address=source) as one:
            told = one.recv(200)
        report.check(f"{name}: one more than 300 of an address is told so", told.startswith(busy), told)
        alive(report, daemon, f"300 {name} connections of one address")
        for one in held:
            one.close()
    alive(report, daemon, "a crowd")


def snails(report, daemon):
    """They read, or write, one byte a second."""
    with_password = f"Host: x\r\nAuthorization: {basic('alice', PASSWORD)['Authorization']}\r\n"
    https(daemon, "PUT", "/dav/large", os.urandom(50 << 20))
    before, readers, writers, control = resident(daemon), [], [], []
    for _ in range(20):
        tls = ftps.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.port["https"]), 10))
        tls.sendall(f"GET /dav/large HTTP/1.1\r\n{with_password}\r\n".encode())
        readers.append(tls)
        client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
        client.voidcmd("TYPE I")
        readers.append(client.transfercmd("RETR large"))
        control.append(client)
        writers.append(socket.create_connection(("127.0.0.1", daemon.port["smtp"]), 10))
        tls = ftps.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.port["https"]), 10))
        tls.sendall(f"PUT /dav/slow HTTP/1.1\r\n{with_password}Content-Length: 1000000\r\n\r\n".encode())
        writers.append(tls)
    most = 0
    for _ in range(5):
        for one in readers:
            one.recv(1)
        for one in writers:
            one.sendall(b"E")
        most = max(most, (resident(daemon) - before) >> 20)
        time.sleep(1)
    report.check(f"80 snails cost {most} MiB more while a file of 50 MiB is read by 40 of them", most < 50, most)
    alive(report, daemon, "snails")
    # A head must come within HEADER_TIMEOUT, however it is spread (RFC 9112 §9.5).
    late = ftps.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.port["https"]), 10))
    begun, ended = time.time(), None
    late.settimeout(0.5)
    while ended is None and time.time() - begun < HEADER_TIMEOUT + 10:
        try:
            late.sendall(b"G" if time.time() - begun < 0.1 else b"E")
            late.recv(1000)  # an answer or the end: either way it is over
            ended = time.time() - begun
        except TimeoutError:
            pass
        except OSError:
            ended = time.time() - begun
    report.check("HTTPS: a head that never ends is given up in time", ended and ended < HEADER_TIMEOUT + 5, ended)
    report.check("a file half sent is not there", https(daemon, "GET", "/dav/slow")[0] == 404)
    for one in readers + writers + [late]:
        one.close()
    for client in control:
        client.close()


def smuggle_http(report, daemon):
    for body in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                 b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"):
        with ftps.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.port["https"]), 10)) as tls:
            head = f"PUT /dav/x HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('alice', PASSWORD)['Authorization']}\r\n"
            tls.sendall(head.encode() + body)
            tls.settimeout(5)
            heard, closed = b"", False
            try:
                while piece := tls.recv(4096):
                    heard += piece
                closed = True
            except OSError as error:
                closed = not isinstance(error, TimeoutError)
        # RFC 9112 §6.1: refused, or read by its chunks alone and the connection closed; §6.3 leaves the rest no choice.
        taken = (b"HTTP/1.1 400", b"HTTP/1.1 201") if body.startswith(b"Content-Length: 5\r\nT") else b"HTTP/1.1 400"
        report.check(f"HTTPS: {body[:44]!r}... is one request, and the last",
                     closed and heard.startswith(taken) and heard.count(b"HTTP/1.1") == 1, (closed, heard))
    status, stored = https(daemon, "GET", "/dav/x")
    report.check("HTTPS: nothing beyond the chunks was stored", status == 404 or (status, stored) == (200, b""), stored)
    alive(report, daemon, "requests with two lengths")


def put(daemon, number):
    """By curl, which listens while it sends."""
    done = run("curl", "-sk", "-u", f"alice:{PASSWORD}", "-T", "-", "-w", "%{http_code}", "-o", "/dev/null",
               f"https://127.0.0.1:{daemon.port['https']}/dav/{number}", input=os.urandom(5 << 20).hex())
    return int(done.stdout or 0)


def recovered(daemon):
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    mail = smtplib.SMTP("127.0.0.1", daemon.port["smtp"])
    return [client.storbinary("STOR again", io.BytesIO(b"a" * 1_000_000))[:3],
            https(daemon, "PUT", "/dav/more", b"m" * 1_000_000)[0],
            mail.sendmail("x@example.org", ["alice@localhost"], b"Subject: x\r\n\r\n" + b"y\r\n" * 100_000)]


def full_disk(report):
    """A store on a small tmpfs."""
    folder = tempfile.mkdtemp(prefix="wharfinger-full-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48M", "tmpfs", folder], check=True)
    daemon = None
    try:
        daemon = Daemon("[storage]\nreserve_mib = 8", data=f"{folder}/data").start()
        for name in ("alice", "bob"):
            daemon.add(name, PASSWORD)
        kept = https(daemon, "PUT", "/dav/kept", b"k" * 1_000_000)[0]
        full = [put(daemon, number) for number in range(10)]
        report.check("full disk, HTTPS: 507", kept == 201 and 507 in full and set(full) <= {201, 507}, full)
        client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
        try:
            client.storbinary("STOR more", io.BytesIO(os.urandom(20 << 20)))
            code = "226"
        except ftplib.Error as error:
            code = str(error)[:3]
        except OSError:
            code = reply(client)
        report.check("full disk, FTP: 452", code == "452", code)
        mail = smtplib.SMTP("127.0.0.1", daemon.port["smtp"])
        try:
            mail.sendmail("x@example.org", ["alice@localhost"], b"Subject: x\r\n\r\n" + b"y\r\n" * 3_000_000)
            told = "taken"
        except smtplib.SMTPException as error:
            told = str(error)
        report.check("full disk, SMTP: 452 4.3.1", "452" in told and "4.3.1" in told, told)
        report.check("full disk: what was kept is read", https(daemon, "GET", "/dav/kept")[1] == b"k" * 1_000_000)
        gone = [https(daemon, "DELETE", f"/dav/{number}")[0] for number, code in enumerate(full) if code == 201]
        report.check("full disk: logging in and deleting go on", gone and set(gone) == {204}, gone)
        # What was deleted is kept a while for those who still read it; room that is added counts at once.
        subprocess.run(["mount", "-o", "remount,size=96M", folder], check=True)
        time.sleep(2)
        again = recovered(daemon)
        report.check("full disk: with room again all three take something", again == ["226", 201, {}], again)
        report.check("full disk: the audit log is whole", daemon.cli("audit", "verify", check=False).returncode == 0)
        daemon.stop()
        daemon.remove()
    except Exception as error:
        report.check("full disk ran to its end", False, repr(error))
    finally:
        if daemon and daemon.process.poll() is None:
            daemon.kill()
        subprocess.run(["umount", "-l", folder], check=False)
        os.rmdir(folder)


def strangers(daemon):
    """Connections on which nobody logs in, and when they began."""
    ports = [daemon.port[name] for name in ("imap", "pop3", "ftp")]
    return time.time(), [socket.create_connection(("127.0.0.1", port), 20) for port in ports]


def sent_away(report, begun, silent):
    """Two minutes are enough to log in, whatever a user may take between two commands."""
    time.sleep(max(0, begun + 125 - time.time()))
    told = []
    for one in silent:
        one.settimeout(10)
        with one, one.makefile("rb") as said:
            told.append(said.read().splitlines()[-1])
    report.check("strangers who say nothing are sent away",
                 [line[:5] for line in told] == [b"* BYE", b"-ERR ", b"421 N"], told)


def main():
    report = Report("abuse")
    daemon = Daemon(f"[limits]\nper_address = 300\n[http]\nheader_timeout = {HEADER_TIMEOUT}").start()
    for name in ("alice", "bob"):
        daemon.add(name, PASSWORD)
    begun, silent = strangers(daemon)
    for attack in (guessing, quota, lines, addresses, paths, smuggle_http, pop3, imap, snails, crowd):
        try:
            attack(report, daemon)
        except Exception as error:
            report.check(f"{attack.__name__} ran to its end", False, repr(error))
    sent_away(report, begun, silent)
    report.check("the audit log is whole", daemon.cli("audit", "verify", check=False).returncode == 0)
    report.check("the log tells of no panic", "panicked" not in daemon.log())
    report.check("the daemon ends in order", daemon.stop() == 0)
    if ENGINE == "sqlite":
        full_disk(report)
    else:
        print("      skipped: a full disk of the node, which keeps nothing there")
    if not report.failed:
        daemon.remove()
    report.end()


main()
