#!/usr/bin/env python3
"""The daemon's life: the first run without a configuration, what it says to try, reload, drain, the command line."""

import http.client, io, json, os, pathlib, re, shutil, signal, socket, ssl, subprocess, tempfile, time, urllib.request

import ftps
from harness import BINARY, Daemon, Report, free_ports, run
from servers import comes, wait

PASSWORD = "a long enough password"
SPACE = f"wharfinger-{os.getpid()}"
PER_ADDRESS = 30


def first_run(report):
    """In a network namespace of its own, so that the default ports are free."""
    folder = tempfile.mkdtemp(prefix="wharfinger-first-")
    inside = ["ip", "netns", "exec", SPACE]
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
    try:
        for start in ("first", "second"):
            log = pathlib.Path(folder, f"log-{start}")
            daemon = subprocess.Popen([*inside, BINARY], cwd=folder, stdin=subprocess.DEVNULL, stdout=open(log, "wb"),
                                      stderr=subprocess.STDOUT)
            for _ in range(200):
                if "ready" in log.read_text():
                    break
                time.sleep(0.05)
            text = log.read_text()
            ports = ("2025", "2587", "2465", "2021", "2990", "2080", "2443", "2090")
            report.check(f"{start} run: the table tells what listens where", all(port in text for port in ports), text)
            told = re.findall(r"password +(\S+) +\(shown once\)", text)
            report.check(f"{start} run: the password is told {'once' if start == 'first' else 'no more'}",
                         len(told) == (1 if start == "first" else 0), text)
            tries = text.split("Try:\n")[1].splitlines()[:3] if "Try:\n" in text else []
            if start == "first":
                report.check("three commands to try", len([line for line in tries if line.startswith("  ")]) == 3, text)
                for line in tries:
                    done = run(*inside, "bash", "-c", line.strip(), cwd=folder)
                    report.check(f"works as printed: {line.strip().split(' ')[0]} …", done.returncode == 0,
                                 (line, done))
            daemon.send_signal(signal.SIGTERM)
            report.check(f"{start} run: ends on SIGTERM", daemon.wait(40) == 0, log.read_text())
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=False)
    if not report.failed:
        shutil.rmtree(folder)


def certificate(daemon, name):
    done = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
               "-keyout", daemon.folder / "key.pem", "-out", daemon.folder / "cert.pem")
    assert done.returncode == 0, done.stderr


def subject(port):
    with socket.create_connection(("127.0.0.1", port)) as plain, ftps.context().wrap_socket(plain) as tls:
        der = tls.getpeercert(binary_form=True)
    return run("openssl", "x509", "-noout", "-subject", input=ssl.DER_cert_to_PEM_cert(der)).stdout


def take_up(daemon, context, session=None):
    """Whether a TLS session is taken up again, and the one that a later connection may take up."""
    with socket.create_connection(("127.0.0.1", daemon.port["https"])) as plain, \
            context.wrap_socket(plain, session=session) as tls:
        return tls.session_reused, tls.session


def hangup(daemon, text):
    """Sends SIGHUP with another configuration; what the log said to it."""
    before = len(daemon.log())
    daemon.config.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    for _ in range(100):
        time.sleep(0.05)
        told = daemon.log()[before:]
        if "read anew" in told or "nothing was changed" in told:
            break
    return [json.loads(line) for line in told.splitlines()]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def soon(what, holds):
    return comes(what, holds, 5)


def reload(report, daemon):
    open_session = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    good = daemon.config.read_text()
    context = ftps.context()
    # Before TLS 1.3 the session is there with the handshake.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, began = take_up(daemon, context)
    hangup(daemon, good)
    report.check("SIGHUP: a TLS session outlasts it", take_up(daemon, context, began)[0])
    certificate(daemon, "second.test")
    hangup(daemon, good)
    # Its client would bind a log-in to the certificate it saw.
    report.check("SIGHUP: a TLS session ends with its certificate", take_up(daemon, context, began)[0] is False)
    report.check("SIGHUP: a new certificate is served", "second.test" in subject(daemon.port["https"]))
    report.check("SIGHUP: an open session goes on", open_session.nlst() == ["Mail"])

    # Each of these is wrong in another place, and comes with another certificate and another listener.
    certificate(daemon, "third.test")
    spare, = free_ports(1)
    added = f'\n[listen.more]\nprotocol = "https"\nbind = "127.0.0.1:{spare}"\ntls = "implicit"\n'
    taken = socket.create_server(("127.0.0.1", 0))
    for what, wrong, names in (
            ("an unknown key", "[limits]\nper_adress = 3\n", '"per_address"'),
            ("an unknown key of a protocol", "[smtp]\nmax_mesage = 3\n", '"max_message"'),
            ("broken TOML", "[limits\n", "TOML"),
            ("a level that is none", "", "[log]"),
            ("an address that is taken", f'[listen.taken]\nprotocol = "ftp"\ntls = "starttls"\n'
             f'bind = "127.0.0.1:{taken.getsockname()[1]}"\n', "another program listens there")):
        text = good.replace('format = "json"', 'format = "json"\nlevel = "a=b=c"') if not wrong else good + wrong
        told = [line for line in hangup(daemon, text + added) if line["level"] == "ERROR"]
        good_line = len(told) == 1 and names.lower() in told[0]["error"].lower()
        report.check(f"SIGHUP with {what} logs one clear line", good_line, told)
        kept = "second.test" in subject(daemon.port["https"]) and not listens(spare) and open_session.pwd() == "/"
        report.check(f"SIGHUP with {what} changes nothing", kept, daemon.log()[-500:])
        if "unknown" in what:
            checked = daemon.cli("check", check=False)
            report.check(f"check names the nearest key for {what}", checked.returncode == 1 and names in checked.stderr
                         and checked.stderr.count("\n") == 1, checked)

    changed = re.sub(r"\[listen\.ftps\].*?(?=\[|\Z)", "", good, flags=re.S).replace("[listen.https]", "[listen.web]")
    hangup(daemon, changed + added)
    report.check("SIGHUP: an added listener serves", listens(spare) and "third.test" in subject(spare))
    closed = soon("a removed listener is closed", lambda: not listens(daemon.port["ftps"]))
    report.check("SIGHUP: a removed listener is closed", closed)
    report.check("SIGHUP: a renamed listener serves on", "third.test" in subject(daemon.port["https"]))
    report.check("SIGHUP: and the open session goes on", open_session.nlst() == ["Mail"])
    told = hangup(daemon, good)
    back = soon("all of it is back", lambda: not listens(spare) and listens(daemon.port["ftps"])
                and listens(daemon.port["https"]))
    report.check("SIGHUP: and all of it back", back, told)
    open_session.quit()


def limits(report, daemon):
    """The environment said PER_ADDRESS connections; one more is told why and turned away."""
    held = []
    for _ in range(PER_ADDRESS + 1):
        held.append(socket.create_connection(("127.0.0.1", daemon.port["ftp"]), 10))
        held[-1].settimeout(10)
    greetings = [client.recv(200)[:3] for client in held]
    report.check("the environment overrides a limit", greetings == [b"220"] * PER_ADDRESS + [b"421"], greetings[-2:])
    for client in held:
        client.close()


def observe(report, daemon):
    plain = http.client.HTTPConnection("127.0.0.1", daemon.port["http"])
    plain.request("GET", "/x?y")
    answer = plain.getresponse()
    report.check("plain HTTP redirects to HTTPS",
                 answer.status == 308 and answer.headers["Location"].startswith("https://"))
    health = urllib.request.urlopen(f"http://127.0.0.1:{daemon.telemetry}/healthz").read()
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{daemon.telemetry}/metrics").read().decode()
    report.check("/healthz", health == b"ok\n", health)
    report.check("/metrics", "wharfinger_connections" in metrics, metrics[:300])
    lines = [line for line in daemon.log().splitlines() if line.startswith("{")]
    report.check("the log is JSON", lines and all(json.loads(line)["level"] for line in lines))


COMMANDS = ["user add carol --password-stdin --quota 1G", "user list", "user show carol", "user disable carol",
            "user passwd carol --password-stdin", "user quota carol 2G", "user enable carol",
            "alias add sales@localhost alice carol", "alias list", "alias remove sales@localhost",
            "domain add example.org", "domain list", "domain remove example.org", "user remove carol", "user add dora",
            "user passwd dora", "user remove dora", "audit tail -n 3",
            "audit query --user alice --action auth --outcome done --limit 5", "audit verify", "status", "check"]


def command_line(report, daemon, when):
    """Every command, in words and as JSON: each of them undoes what it did."""
    for more in ([], ["--json"]):
        wrong = {}
        for words in COMMANDS:
            given = PASSWORD + "\n" if "--password-stdin" in words else None
            done = daemon.cli(*words.split(), *more, input=given, check=False)
            good = done.returncode == 0 and done.stdout and not done.stderr
            try:
                good = good and (not more or json.loads(done.stdout) is not None)
            except ValueError:
                good = False
            if not good:
                wrong[words] = (done.returncode, done.stdout, done.stderr)
        report.check(f"{len(COMMANDS)} commands {when}{' as JSON' if more else ''}", not wrong, wrong)
    for what, words, given, told in (
            ("a short password", "user add eve --password-stdin", "short\n", "8 characters"),
            ("a short new password", "user passwd alice --password-stdin", "short\n", "8 characters"),
            ("no password", "user add eve --password-stdin", "\n", "no password"),
            ("an account that is there", "user add alice", None, "already"),
            ("an account that is not", "user show nobody", None, "nobody"),
            ("an alias for nobody", "alias add x@localhost nobody", None, "nobody"),
            ("an address that is none", "alias add x alice", None, ""),
            ("a trace id that is none", "trace x", None, "sixteen")):
        done = daemon.cli(*words.split(), input=given, check=False)
        good = done.returncode == 1 and told in done.stderr and done.stderr.count("\n") == 1 and not done.stdout
        report.check(f"{what} is refused in one line {when}", good, done)


def drain(report, daemon):
    """A slow upload and a slow download under way at SIGTERM may end."""
    content = os.urandom(40_000_000)
    client, web = (ftps.login(daemon.port["ftp"], "alice", PASSWORD) for _ in range(2))
    web.storbinary("STOR large", io.BytesIO(content))
    web.quit()
    data = client.transfercmd("STOR drained")
    data.sendall(b"x" * 100_000)
    back = daemon.folder / "large"
    download = subprocess.Popen(["curl", "-sSfk", "--limit-rate", "4M", "-u", f"alice:{PASSWORD}", "-o", back,
                                 f"https://127.0.0.1:{daemon.port['https']}/dav/large"])
    wait("the download runs", lambda: back.exists() and back.stat().st_size > 0)
    daemon.process.send_signal(signal.SIGTERM)
    # Shorter than the download, which it is to wait for.
    refused = soon("nobody new is taken", lambda: not any(map(listens, daemon.port.values())))
    report.check("draining: nobody new is taken", refused, [*filter(listens, daemon.port.values())])
    time.sleep(1)
    report.check("draining: the daemon waits", daemon.process.poll() is None and download.poll() is None)
    data.sendall(b"y" * 100_000)
    data.unwrap()
    data.close()
    report.check("draining: the upload is acknowledged", client.voidresp().startswith("226"))
    whole = download.wait(60) == 0 and back.read_bytes() == content
    report.check("draining: the download comes to its end", whole)
    report.check("draining: then the daemon ends", daemon.process.wait(40) == 0)


def main():
    report = Report("lifecycle")
    first_run(report)
    daemon = Daemon()
    certificate(daemon, "first.test")
    tls = f'[tls]\ncertificate = "{daemon.folder}/cert.pem"\nkey = "{daemon.folder}/key.pem"\n[log]\nformat = "json"\n'
    daemon.config.write_text(daemon.config.read_text() + tls)
    os.environ["WHARFINGER__LIMITS__PER_ADDRESS"] = str(PER_ADDRESS)
    daemon.start()
    daemon.add("alice", PASSWORD)
    second = run(BINARY, "--config", daemon.config)
    told = second.stderr.count("\n") == 1 and "in use" in second.stderr
    report.check("a second daemon is told in one line that the store is in use", second.returncode == 1 and told,
                 second)
    limits(report, daemon)
    ftps.login(daemon.port["ftp"], "alice", PASSWORD).quit()  # so that the audit log has something of hers
    command_line(report, daemon, "beside the daemon")
    observe(report, daemon)
    reload(report, daemon)
    drain(report, daemon)
    command_line(report, daemon, "without it")
    daemon.start()
    size = ftps.login(daemon.port["ftp"], "alice", PASSWORD).size("drained")
    report.check("the drained upload is there", size == 200_000, size)
    daemon.stop()
    for words in (["completions", "bash"], ["completions", "zsh"], ["completions", "fish"], ["man"], ["--help"],
                  ["--version"]):
        done = run(BINARY, *words)
        report.check(f"wharfinger {' '.join(words)}", done.returncode == 0 and len(done.stdout) > 10, done)
    if not report.failed:
        daemon.remove()
    report.end()


main()
