#!/usr/bin/env python3
"""The PROXY protocol from trusted addresses: who the client is, on every listener and passive port; what is refused;
and HAProxy itself with the configuration in etc/."""

import base64, ftplib, io, os, re, signal, socket, ssl, struct, subprocess, time, urllib.request

import ftps
from harness import BINARY, ROOT, run, tested
from servers import comes

PASSWORD = "a long enough password"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TOLD = "198.51.100.2"
UNTRUSTED = ("127.0.0.2", 0)
FRONT = "127.0.0.8"
PER_ADDRESS = 8
# Ports below the range that the system gives to clients, free on every loopback address but by rare accident.
PASSIVE = 28500 + os.getpid() % 200 * 20
PASSIVE_PORTS = f"{PASSIVE}-{PASSIVE + 19}"


def v1(source, destination=TOLD, port=25):
    return f"PROXY TCP{6 if ':' in source else 4} {source} {destination} 40000 {port}\r\n".encode()


def v2(source, destination=TOLD, port=25, extensions=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    block = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!HH", 40000, port)
    return block2(0x21, 0x21 if ":" in source else 0x11, block + extensions)


def block2(command, family, block):
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(block)) + block


def connect(port, header=b"", source=None, timeout=20):
    raw = socket.create_connection(("127.0.0.1", port), timeout, source_address=source)
    raw.sendall(header)
    return raw


def hear(raw):
    try:
        return raw.recv(65536)
    except OSError as error:
        return repr(error).encode() if isinstance(error, TimeoutError) else b""


def ask(raw, *lines):
    """The reply to each line, after the greeting."""
    heard = [hear(raw)]
    for line in lines:
        raw.sendall(line + b"\r\n")
        heard.append(hear(raw))
    return heard


def mail(port, header, source=None):
    """Delivers a message to alice; the last reply."""
    with connect(port, header, source) as raw:
        lines = (b"EHLO a", b"MAIL FROM:<x@example.org>", b"RCPT TO:<alice@localhost>", b"DATA", b"Subject: x\r\n\r\n.")
        return ask(raw, *lines)[-1]


def tls(raw):
    return ftps.context().wrap_socket(raw)


def get(port, header, password=PASSWORD, source=None):
    """The status of a request to HTTPS."""
    secret = base64.b64encode(f"alice:{password}".encode()).decode()
    with tls(connect(port, header, source)) as web:
        web.sendall(f"GET /dav/ HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {secret}\r\n\r\n".encode())
        return int(hear(web).split()[1])


def submit(port, header, password):
    """The code that answers AUTH on a listener where TLS comes first."""
    secret = base64.b64encode(f"\0alice\0{password}".encode())
    with tls(connect(port, header)) as submission:
        return int(ask(submission, b"EHLO a", b"AUTH PLAIN " + secret)[-1][:3])


def peers(daemon, action):
    return [record["peer"] for record in daemon.json("audit", "query", "--action", action, "--limit", "1000")]


def closed(daemon):
    """How many connections were closed for want of a good header."""
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.telemetry}/metrics") as answer:
        counts = re.findall(r'wharfinger_connections_closed{[^}]*why="proxy"} (\d+)', answer.read().decode())
    return sum(map(int, counts))


class Ftp(ftplib.FTP_TLS):
    """FTPS behind a balancer: headers before the control connection and before each data connection."""

    def __init__(self, port, client):
        # TLS 1.2, as in ftps.login.
        made = ftps.context()
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(context=made, timeout=20)
        self.host, self.client = "127.0.0.1", client
        self.sock = connect(port, v2(client, port=21, extensions=b"\x04\0\x05extra"))
        self.af, self.file = self.sock.family, self.sock.makefile("r", encoding="utf-8")
        self.welcome = self.getresp()
        self.login("alice", PASSWORD)
        self.prot_p()

    def makepasv(self):
        host, port = ftplib.parse227(self.sendcmd("PASV"))
        self.told = host
        return host, port

    def ntransfercmd(self, command, rest=None):
        raw = connect(self.makepasv()[1], v2(self.client))
        self.sendcmd(command)
        return self.context.wrap_socket(raw, session=self.sock.session), None


def told(report, daemon):
    for name, header, peer in (
        ("version 1", v1("192.0.2.1"), "192.0.2.1"),
        ("version 1, IPv6", v1("2001:db8::1", "2001:db8::2"), "2001:db8::1"),
        ("version 1, unknown", b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        ("version 2", v2("192.0.2.2"), "192.0.2.2"),
        ("version 2, IPv6", v2("2001:db8::3", "2001:db8::2"), "2001:db8::3"),
        ("version 2, IPv4 within IPv6", v2("::ffff:192.0.2.4", "2001:db8::2"), "192.0.2.4"),
        ("version 2, extensions", v2("192.0.2.5", extensions=b"\x04\0\x03abc\x20\0\0"), "192.0.2.5"),
        ("version 2, local", block2(0x20, 0, b""), "127.0.0.1"),
    ):
        answer = mail(daemon.port["smtp"], header)
        seen = peers(daemon, "mail.deliver")[-1:]
        report.check(f"{name}: the audit log knows {peer}", answer[:3] == b"250" and seen == [peer], (answer, seen))
    raw = connect(daemon.port["smtp"])
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in v1("192.0.2.6"):
        raw.sendall(bytes([byte]))
        time.sleep(0.01)
    report.check("a header in single bytes is taken", hear(raw)[:3] == b"220")
    raw.close()
    raw = connect(daemon.port["smtp"], v2("192.0.2.6") + b"NOOP\r\n")
    report.check("what comes with the header belongs to the protocol", b"250 " in hear(raw) + hear(raw))
    raw.close()
    report.check("HTTPS behind a header", get(daemon.port["https"], v2("192.0.2.7", port=443)) == 200)
    report.check("HTTPS behind a line", get(daemon.port["https"], v1("192.0.2.7", port=443)) == 200)
    report.check("AUTH behind a header", submit(daemon.port["submissions"], v1("192.0.2.8"), PASSWORD) == 235)
    logins = peers(daemon, "auth.login")
    report.check("log-ins are recorded with the client", {"192.0.2.7", "192.0.2.8"} <= set(logins), logins)
    with connect(daemon.port["http"], v1("192.0.2.7", port=80)) as web:
        web.sendall(b"GET /x HTTP/1.1\r\nHost: example.org\r\n\r\n")
        answer = hear(web)
    report.check("HTTP redirects by the port the client asked", b"https://example.org/x\r\n" in answer, answer)


def throttled(report, daemon):
    port = daemon.port["https"]
    codes = [get(port, v2("192.0.2.50"), f"wrong {number}") for number in range(14)]
    report.check("a client that guesses is held back", codes[0] == 401 and 429 in codes, codes)
    # The wait so far may be over any moment: a long one, if the ten were counted for the client.
    daemon.store.rows("UPDATE throttle SET failures = 20 WHERE key = $1 AND failures >= 10", "pair:alice@192.0.2.50")
    report.check("also with the right password", get(port, v1("192.0.2.50")) == 429)
    report.check("and by another protocol", submit(daemon.port["submissions"], v2("192.0.2.50"), PASSWORD) == 454)
    report.check("others behind the same balancer are not", get(port, v2("192.0.2.51")) == 200)


def files(report, daemon):
    port = daemon.port["ftp"]
    client = Ftp(port, "192.0.2.20")
    content = os.urandom(300_000)
    client.storbinary("STOR proxied", io.BytesIO(content))
    got = io.BytesIO()
    client.retrbinary("RETR proxied", got.write)
    report.check("FTP: data behind headers", got.getvalue() == content)
    report.check("PASV tells the address that the client connected to", client.told == TOLD, client.told)
    report.check("and the audit log knows who", peers(daemon, "file.put")[-1:] == ["192.0.2.20"])
    for name, header in (("another client's header", v2("192.0.2.21")), ("a balancer's own", block2(0x20, 0, b"")),
                         ("no header", b"\x16\x03\x01\0\0"), ("an empty connection", None)):
        client.voidcmd("TYPE I")
        passive = client.makepasv()[1]
        stranger = connect(passive, header or b"")
        if header is None:
            stranger.close()
        client.putcmd("RETR proxied")
        seen = b"" if header is None else hear(stranger)
        own = client.context.wrap_socket(connect(passive, v1("192.0.2.20")), session=client.sock.session)
        got = own.recv(1000)
        own.close()
        report.check(f"FTP data: {name} gets nothing, the client does", seen == b"" and content.startswith(got) and got,
                     (seen, len(got)))
        codes = [client.getmultiline()[:3] for _ in range(2)]
        report.check(f"FTP data: {name} is no matter", codes[0] == "150", codes)
    direct = connect(client.makepasv()[1], source=UNTRUSTED)
    client.putcmd("RETR proxied")
    report.check("FTP data: a direct connection of another address gets nothing", hear(direct) == b"")
    client.close()


def refused(report, daemon):
    before = closed(daemon)
    cases = [
        # What cannot become a header is not waited for; the rest has five seconds.
        ("garbage", os.urandom(4000), 4), ("a command", b"EHLO a\r\n", 4), ("TLS", b"\x16\x03\x01\x02\0\x01\0", 4),
        ("a line without end", b"PROXY UNKNOWN " + b"x" * 5000, 4), ("a leading zero", v1("192.0.2.01"), 4),
        ("an oversized length", SIGNATURE + b"\x21\x11\xff\xff", 4), ("version 3", block2(0x31, 0x11, b"\1" * 12), 4),
        ("UDP", block2(0x21, 0x12, b"\1" * 12), 4), ("a short block", block2(0x21, 0x11, b"\1" * 11), 4),
        ("a long extension", v2("192.0.2.1", extensions=b"\x04\xff\xff"), 4),
        ("nothing", b"", 20), ("half a line", b"PROXY TCP4 192.0.2.1", 20),
        ("half a block", v2("192.0.2.1")[:20], 20),
    ]
    for number, (name, header, longest) in enumerate(cases):
        listener = ("smtp", "https", "submissions", "ftp", "http")[number % 5]
        begun = time.time()
        with connect(daemon.port[listener], header, timeout=40) as raw:
            seen = hear(raw)
        took = time.time() - begun
        report.check(f"{name} on {listener}: closed after {took:.1f} s", seen == b"" and took < longest, seen)
    begun = time.time()
    with connect(daemon.port["smtp"]) as raw:
        try:
            for byte in v2("192.0.2.1", extensions=b"\x04\0\x64" + b"x" * 100):
                raw.sendall(bytes([byte]))
                time.sleep(0.25)
        except OSError:
            pass
    took = time.time() - begun
    report.check(f"a slow header: closed after {took:.1f} s", 4 < took < 20)
    count = closed(daemon) - before
    report.check("each is counted", count == len(cases) + 1, count)
    deliveries = len(peers(daemon, "mail.deliver"))
    heard = ask(connect(daemon.port["smtp"], v1("192.0.2.1"), UNTRUSTED), b"QUIT")
    report.check("a line from elsewhere is a bad command", heard[0][:3] == b"220" and b"500 " in b"".join(heard), heard)
    try:
        code = get(daemon.port["https"], v2("192.0.2.1"), source=UNTRUSTED)
    except (OSError, ssl.SSLError, IndexError):
        code = None
    report.check("a header from elsewhere is no TLS", code is None, code)
    answer = mail(daemon.port["smtp"], b"", UNTRUSTED)
    seen = peers(daemon, "mail.deliver")[deliveries:]
    report.check("who is not behind a balancer is served as before",
                 (answer[:3], seen) == (b"250", ["127.0.0.2"]), (answer, seen))


def limits(report, daemon):
    port = daemon.port["smtp"]
    waiting = [connect(port) for _ in range(3 * PER_ADDRESS)]
    held = [connect(port, header("192.0.2.77")) for header in (v1, v2) * (PER_ADDRESS // 2)]
    greetings = [hear(raw)[:3] for raw in held]
    report.check(f"{PER_ADDRESS} connections of one client", greetings == [b"220"] * PER_ADDRESS, greetings)
    more = hear(connect(port, v2("192.0.2.77")))
    report.check("one more is told that it is too many", more[:3] == b"421", more)
    other = hear(connect(port, v2("192.0.2.78")))
    report.check("another client of the same balancer is served", other[:3] == b"220", other)
    held.pop().close()
    free = comes("a place is free", lambda: hear(connect(port, v1("192.0.2.77")))[:3] == b"220")
    report.check("a place is free again", free)
    for raw in held + waiting:
        raw.close()


def reload(report, daemon):
    def proxies(text):
        before = daemon.log().count("read anew")
        daemon.config.write_text(re.sub(r"(?m)^proxies = .*$", f"proxies = {text}", daemon.config.read_text()))
        daemon.process.send_signal(signal.SIGHUP)
        for _ in range(100):
            if daemon.log().count("read anew") > before:
                break
            time.sleep(0.05)

    proxies('["192.0.2.0/24", "::1"]')
    heard = ask(connect(daemon.port["smtp"], b""), v1("192.0.2.1").strip())
    report.check("SIGHUP: who is no longer trusted is served without a header, and may send none",
                 heard[0][:3] == b"220" and heard[1][:3] == b"500", heard)
    proxies('["127.0.0.1"]')
    report.check("SIGHUP: trusted again", hear(connect(daemon.port["smtp"], v2("192.0.2.1")))[:3] == b"220")
    for text in ('["10.0.0.300"]', '["10.0.0.1/8"]', '"here"'):
        wrong = daemon.folder / "wrong.toml"
        wrong.write_text(f"proxies = {text}\n")
        done = run(BINARY, "--config", wrong, "check")
        named = text.strip('[]"')
        report.check(f"check: {named} is named", done.returncode != 0 and f'"{named}"' in done.stderr, done)


def haproxy_config(daemon, health, lasts):
    """etc/haproxy.cfg, with one node, on the ports of this test; whether it is a last choice too."""
    standard = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110,
                "pop3s": 995, "http": 80, "https": 443, "ftp": 21, "ftps": 990}
    text = (ROOT / "etc" / "haproxy.cfg").read_text()
    text = re.sub(r"(?m)^listen ftp-data-n[23]\n.*\n.*\n|^ +server n[23](-last)? .*\n", "", text)
    text = text if lasts else re.sub(r"(?m)^ +server n1-last .*\n", "", text)
    text = re.sub(r"(?m)^ +(log|user|group|option tcplog)\b.*\n", "", text).replace("maxconn 50000", "maxconn 1000")
    text = text.replace("/readyz", health)
    text = text.replace("port 2090", f"port {daemon.telemetry}")
    text = text.replace(":::42000-42299 v4v6", f"{FRONT}:{PASSIVE_PORTS}")
    for name, port in standard.items():
        text = text.replace(f":::{port} v4v6", f"{FRONT}:{daemon.port[name]}")
        text = re.sub(f"10.0.0.1:{port} ", f"127.0.0.1:{daemon.port[name]} ", text)
    return text.replace("10.0.0.1 ", "127.0.0.1 ").replace("10.0.0.1\n", "127.0.0.1\n")


def haproxy(report, daemon):
    checked = run("haproxy", "-c", "-f", ROOT / "etc" / "haproxy.cfg")
    report.check("HAProxy takes etc/haproxy.cfg", checked.returncode == 0, checked.stdout + checked.stderr)
    url = f"https://{FRONT}:{daemon.port['https']}/dav/web"
    words = ["curl", "-sSk", "-u", f"alice:{PASSWORD}", url]
    process, log = balancer(daemon, "/healthz")
    try:
        through(report, daemon)
        # Longer than it takes to find a node down: its health is asked without a header.
        time.sleep(5)
        done = run(*words)
        report.check("the node is still found well", done.returncode == 0, done.stderr + log.read_text())
    finally:
        process.terminate()
        process.wait(10)
    process, log = balancer(daemon, "/nowhere")
    try:
        failed = comes("HAProxy finds it down", lambda: run(*words).returncode != 0)
        report.check("a node that is not well gets nobody", failed and process.poll() is None, log.read_text())
    finally:
        process.terminate()
        process.wait(10)
    process, log = balancer(daemon, "/nowhere", lasts=True)
    try:
        down = comes("HAProxy finds it down", lambda: "nodes/n1 is DOWN" in log.read_text())
        done = run(*words)
        report.check("unless no other one is", down and done.returncode == 0, done.stderr + log.read_text())
    finally:
        process.terminate()
        process.wait(10)


def balancer(daemon, health, lasts=False):
    """A running HAProxy that asks for `health`, and its log."""
    config, log = daemon.folder / "haproxy.cfg", daemon.folder / "haproxy.log"
    config.write_text(haproxy_config(daemon, health, lasts))
    process = subprocess.Popen(["haproxy", "-db", "-f", config], stdin=subprocess.DEVNULL, stdout=open(log, "wb"),
                               stderr=subprocess.STDOUT)
    for _ in range(100):
        try:
            socket.create_connection((FRONT, daemon.port["https"]), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    return process, log


def through(report, daemon):
    """Real clients through HAProxy, each from its own address."""
    content = os.urandom(2_000_000)
    (daemon.folder / "web").write_bytes(content)
    url = f"https://{FRONT}:{daemon.port['https']}/dav/web"
    words = ["curl", "-sSk", "--interface", "127.0.0.9", "-u", f"alice:{PASSWORD}"]
    up = run(*words, "-T", daemon.folder / "web", url)
    down = run(*words, "-o", daemon.folder / "web-back", url)
    good = (up.returncode, down.returncode) == (0, 0) and (daemon.folder / "web-back").read_bytes() == content
    report.check("curl over HTTPS through HAProxy", good, up.stderr + down.stderr)
    seen = peers(daemon, "file.put")[-1:]
    report.check("the audit log knows curl's address", seen == ["127.0.0.9"], seen)

    sent = run("swaks", "--server", FRONT, "--port", daemon.port["smtp"], "--local-interface", "127.0.0.10", "--tls",
               "--from", "x@example.org", "--to", "alice@localhost", "--hide-all")
    seen = peers(daemon, "mail.deliver")[-1:]
    report.check("swaks with STARTTLS through HAProxy", (sent.returncode, seen) == (0, ["127.0.0.10"]), (sent, seen))

    folder, back = daemon.folder / "many", daemon.folder / "many-back"
    folder.mkdir()
    for number in range(30):
        (folder / f"file {number}").write_bytes(os.urandom(20_000))
    for scheme in ("ftp", "ftps"):
        settings = ("set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "
                    "set net:max-retries 1; set net:socket-bind-ipv4 127.0.0.11; set ftp:fix-pasv-address no; "
                    f"set ftp:prefer-epsv {'yes' if scheme == 'ftps' else 'no'}")
        script = (f"{settings}; mirror -R --parallel=3 '{folder}' {scheme}; "
                  f"mirror --parallel=3 {scheme} '{back}-{scheme}'; exit")
        done = run("lftp", "-u", f"alice,{PASSWORD}", "-e", script, f"{scheme}://{FRONT}:{daemon.port[scheme]}")
        same = run("diff", "-r", folder, f"{back}-{scheme}")
        good = (done.returncode, same.returncode) == (0, 0)
        report.check(f"lftp over {scheme} with passive data through HAProxy", good, (done, same.stdout))
        seen = set(peers(daemon, "file.put")[-30:])
        report.check(f"the audit log knows lftp's address ({scheme})", seen == {"127.0.0.11"}, seen)


def main():
    with tested("proxy", f'proxies = ["127.0.0.1"]\npassive_ports = "{PASSIVE_PORTS}"\n'
                # Nobody is asked in DNS about the addresses that the headers tell.
                f"[limits]\nper_address = {PER_ADDRESS}\n[smtp.trust]\ncheck = false\n") as (report, daemon):
        daemon.add("alice", PASSWORD)
        told(report, daemon)
        throttled(report, daemon)
        files(report, daemon)
        refused(report, daemon)
        limits(report, daemon)
        reload(report, daemon)
        haproxy(report, daemon)


main()
