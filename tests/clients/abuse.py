#!/usr/bin/env python3
"""Bad input: each gets the protocol's clear error, an audit record where it matters, and harms nobody else."""

import base64, ftplib, http.client, io, os, pathlib, resource, smtplib, socket, ssl, subprocess, tempfile, threading, time

import ftps
from harness import Daemon, Report, run

PASSWORD = "a long enough password"
ELSEWHERE = ("127.0.0.2", 0)


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


def guessing(report, daemon):
    before = recorded(daemon, "--action", "auth.login")
    codes, times = [], {"alice": [], "nobody": []}
    for number in range(20):
        begun = time.time()
        codes.append(https(daemon, "GET", "/dav/", headers=basic("alice", f"wrong {number}"), source=ELSEWHERE)[0])
        times["alice"].append(time.time() - begun)
    right = https(daemon, "GET", "/dav/", source=ELSEWHERE)[0]
    report.check("20 wrong passwords are refused", all(code in (401, 429) for code in codes), codes)
    report.check("the right one is not taken meanwhile", right in (401, 429), right)
    report.check("but from where the owner is", https(daemon, "GET", "/dav/")[0] == 200)
    report.check("every try is in the audit log", recorded(daemon, "--action", "auth.login") - before >= 21)
    for _ in range(5):
        begun = time.time()
        unknown = https(daemon, "GET", "/dav/", headers=basic("nobody", "wrong"), source=("127.0.0.4", 0))
        times["nobody"].append(time.time() - begun)
    wrong = https(daemon, "GET", "/dav/", headers=basic("alice", "wrong"), source=("127.0.0.4", 0))
    report.check("an unknown user gets the same answer", unknown == wrong, (unknown, wrong))
    slow, known = sorted(times["nobody"])[2], sorted(times["alice"][:9])[4]
    report.check(f"after as long: {slow * 1000:.0f} and {known * 1000:.0f} ms", 0.3 < slow / known < 3)
    client = ftps.Ftps(context=ftps.context(), source_address=("127.0.0.5", 0), timeout=30)
    client.connect("127.0.0.1", daemon.port["ftp"])
    told = []
    for number in range(6):
        try:
            client.login("alice", f"wrong {number}")
        except (ftplib.Error, OSError, EOFError) as error:
            told.append(str(error)[:3])
    report.check("FTP: 530, and 421 in the end", told[:4] == ["530"] * 4 and "421" in told, told)
    mail = smtplib.SMTP_SSL("127.0.0.1", daemon.port["submissions"], context=ftps.context(), source_address=("127.0.0.6", 0))
    try:
        mail.login("alice", "wrong")
        report.check("SMTP: a wrong password is refused", False)
    except smtplib.SMTPAuthenticationError as error:
        report.check("SMTP: a wrong password is refused", error.smtp_code == 535, error)
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


def lines(report, daemon):
    long = b"x" * (1 << 20) + b"\r\n"
    heard = talk(daemon.port["ftp"], long, b"NOOP\r\n")
    report.check("FTP: a line of 1 MiB: 500, and the session goes on", b"500 " in heard and b"200 " in heard, heard)
    heard = talk(daemon.port["smtp"], long, b"NOOP\r\n")
    report.check("SMTP: a line of 1 MiB: 500, and the session goes on", b"500 " in heard and b"250 " in heard, heard)
    heard = talk(daemon.port["ftp"], b"x" * (8 << 20))
    report.check("FTP: a line without end is given up", b"421" in heard or heard.startswith(b"220"), heard[-100:])
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
            report.check(f"FTP: {command} is refused", str(error)[0] == "5", error)
    report.check("and recorded", recorded(daemon, "--action", "ftp.port") >= 3)
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


def crowd(report, daemon):
    """Ten thousand who say nothing."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    before, idle = daemon.memory(), []
    for number in range(10_000):
        port = daemon.port[("ftp", "smtp", "http")[number % 3]]
        idle.append(socket.create_connection(("127.0.0.1", port), 20, source_address=(f"127.0.1.{1 + number // 250}", 0)))
    time.sleep(2)
    connected = daemon.json("status")["running"]["connections"]
    each = (daemon.memory() - before) / 10_000
    report.check(f"{connected} idle connections at {each:.0f} bytes each", connected >= 9_990 and each < 20_480)
    alive(report, daemon, "10,000 idle connections")
    more, told = [], b""
    for _ in range(320):
        one = socket.create_connection(("127.0.0.1", daemon.port["smtp"]), 5, source_address=("127.0.0.8", 0))
        one.settimeout(5)
        told = one.recv(200)
        more.append(one)
    report.check("one address too many is told so", told.startswith(b"421"), told)
    for one in idle + more:
        one.close()
    alive(report, daemon, "a crowd")


def snails(report, daemon):
    """They read, or write, one byte a second."""
    https(daemon, "PUT", "/dav/large", os.urandom(50 << 20))
    slow = []
    for _ in range(20):
        tls = ftps.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.port["https"]), 10))
        tls.sendall(f"GET /dav/large HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('alice', PASSWORD)['Authorization']}\r\n\r\n".encode())
        slow.append(tls)
        raw = socket.create_connection(("127.0.0.1", daemon.port["smtp"]), 10)
        slow.append(raw)
    before = daemon.memory()
    for second in range(5):
        for one in slow:
            one.recv(1) if isinstance(one, ssl.SSLSocket) else one.sendall(b"E")
        time.sleep(1)
    grown = (daemon.memory() - before) >> 20
    report.check(f"20 who read a byte a second cost {grown} MiB more", grown < 50, grown)
    alive(report, daemon, "snails")
    for one in slow:
        one.close()


def smuggle_http(report, daemon):
    for body in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                 b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"):
        with ftps.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.port["https"]), 10)) as tls:
            tls.sendall(b"PUT /dav/x HTTP/1.1\r\nHost: x\r\n" + body)
            tls.settimeout(5)
            heard = b""
            try:
                while piece := tls.recv(4096):
                    heard += piece
            except OSError:
                pass
        report.check("HTTPS: a request with two lengths is one at the most", heard.count(b"HTTP/1.1") <= 1 and b"\r\n\r\nok" not in heard, heard)


def put(daemon, number):
    """By curl, which listens while it sends."""
    done = run("curl", "-sk", "-u", f"alice:{PASSWORD}", "-T", "-", "-w", "%{http_code}", "-o", "/dev/null",
               f"https://127.0.0.1:{daemon.port['https']}/dav/{number}", input=os.urandom(5 << 20).hex())
    return int(done.stdout or 0)


def full_disk(report):
    """A store on a small tmpfs."""
    folder = tempfile.mkdtemp(prefix="wharfinger-full-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48M", "tmpfs", folder], check=True)
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
        report.check("full disk: logging in and deleting go on", set(gone) == {204}, gone)
        report.check("full disk: the audit log is whole", daemon.cli("audit", "verify", check=False).returncode == 0)
        daemon.stop()
        daemon.remove()
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
        os.rmdir(folder)


def main():
    report = Report("abuse")
    daemon = Daemon("[limits]\nper_address = 300").start()
    for name in ("alice", "bob"):
        daemon.add(name, PASSWORD)
    for attack in (guessing, quota, lines, addresses, paths, smuggle_http, snails, crowd):
        try:
            attack(report, daemon)
        except Exception as error:
            report.check(f"{attack.__name__} ran to its end", False, repr(error))
    report.check("the audit log is whole", daemon.cli("audit", "verify", check=False).returncode == 0)
    report.check("the log tells of no panic", "panicked" not in daemon.log())
    report.check("the daemon ends in order", daemon.stop() == 0)
    full_disk(report)
    if not report.failed:
        daemon.remove()
    report.end()


main()
