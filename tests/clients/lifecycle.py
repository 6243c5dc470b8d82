#!/usr/bin/env python3
"""The daemon's life: the first run without a configuration, what it says to try, reload, drain, the command line."""

import http.client, json, os, pathlib, re, signal, socket, ssl, subprocess, tempfile, time, urllib.request

import ftps
from harness import BINARY, Daemon, Report, run

PASSWORD = "a long enough password"
SPACE = f"wharfinger-{os.getpid()}"


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
                    report.check(f"works as printed: {line.strip().split(' ')[0]} …", done.returncode == 0, (line, done))
            daemon.send_signal(signal.SIGTERM)
            report.check(f"{start} run: ends on SIGTERM", daemon.wait(40) == 0, log.read_text())
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=False)


def certificate(daemon, name):
    done = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}", "-keyout",
               daemon.folder / "key.pem", "-out", daemon.folder / "cert.pem")
    assert done.returncode == 0, done.stderr


def subject(port):
    with socket.create_connection(("127.0.0.1", port)) as plain, ftps.context().wrap_socket(plain) as tls:
        der = tls.getpeercert(binary_form=True)
    return run("openssl", "x509", "-noout", "-subject", input=ssl.DER_cert_to_PEM_cert(der)).stdout


def reload(report, daemon):
    open_session = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    certificate(daemon, "second.test")
    good = daemon.config.read_text()
    daemon.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    report.check("SIGHUP: a new certificate is served", "second.test" in subject(daemon.port["https"]))
    report.check("SIGHUP: an open session goes on", open_session.nlst() == [])
    daemon.config.write_text(good + "\n[limits]\nper_adress = 3\n")
    checked = daemon.cli("check", check=False)
    report.check("check names the nearest key", checked.returncode == 1 and '"per_address"' in checked.stderr, checked.stderr)
    daemon.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    report.check("SIGHUP: a wrong configuration changes nothing and is told of", "per_adress" in daemon.log())
    report.check("SIGHUP: and the daemon serves on", open_session.pwd() == "/")
    extra = daemon.port["https"] + 2000
    changed = re.sub(r'\[listen\.ftps\].*?(?=\[|\Z)', "", good, flags=re.S)
    daemon.config.write_text(changed + f'\n[listen.more]\nprotocol = "https"\nbind = "127.0.0.1:{extra}"\ntls = "implicit"\n')
    daemon.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    report.check("SIGHUP: an added listener serves", "second.test" in subject(extra))
    closed = socket.socket().connect_ex(("127.0.0.1", daemon.port["ftps"])) != 0
    report.check("SIGHUP: a removed listener is closed", closed)


def observe(report, daemon):
    plain = http.client.HTTPConnection("127.0.0.1", daemon.port["http"])
    plain.request("GET", "/x?y")
    answer = plain.getresponse()
    report.check("plain HTTP redirects to HTTPS", answer.status == 308 and answer.headers["Location"].startswith("https://"))
    health = urllib.request.urlopen(f"http://127.0.0.1:{daemon.telemetry}/healthz").read()
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{daemon.telemetry}/metrics").read().decode()
    report.check("/healthz", health == b"ok\n", health)
    report.check("/metrics", "wharfinger_connections" in metrics, metrics[:300])
    lines = [line for line in daemon.log().splitlines() if line.startswith("{")]
    report.check("the log is JSON", lines and all(json.loads(line)["level"] for line in lines))


def command_line(report, daemon, when):
    for words in (["user", "list"], ["user", "show", "alice"], ["alias", "list"], ["domain", "list"], ["audit", "tail"],
                  ["audit", "query", "--user", "alice"], ["audit", "verify"], ["status"]):
        plain, made = daemon.cli(*words, check=False), daemon.cli(*words, "--json", check=False)
        good = plain.returncode == 0 and made.returncode == 0 and json.loads(made.stdout) is not None
        report.check(f"{' '.join(words)} {when}", good, (plain.stderr, made.stderr))
    short = daemon.cli("user", "add", "carol", "--password-stdin", input="short\n", check=False)
    report.check(f"a short password is refused {when}", short.returncode == 1 and "8 characters" in short.stderr, short.stderr)
    twice = daemon.cli("user", "add", "alice", check=False)
    report.check(f"an account is not added twice {when}", twice.returncode == 1 and "already" in twice.stderr, twice.stderr)


def drain(report, daemon):
    """An upload under way at SIGTERM may end, and is kept."""
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    data = client.transfercmd("STOR drained")
    data.sendall(b"x" * 100_000)
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    refused = socket.socket().connect_ex(("127.0.0.1", daemon.port["ftp"])) != 0
    report.check("draining: nobody new is taken", refused)
    data.sendall(b"y" * 100_000)
    data.unwrap()
    data.close()
    report.check("draining: the upload is acknowledged", client.voidresp().startswith("226"))
    report.check("draining: then the daemon ends", daemon.process.wait(40) == 0)


def main():
    report = Report("lifecycle")
    first_run(report)
    daemon = Daemon()
    certificate(daemon, "first.test")
    tls = f'[tls]\ncertificate = "{daemon.folder}/cert.pem"\nkey = "{daemon.folder}/key.pem"\n[log]\nformat = "json"\n'
    daemon.config.write_text(daemon.config.read_text() + tls)
    os.environ["WHARFINGER__LIMITS__PER_ADDRESS"] = "300"
    daemon.start()
    daemon.add("alice", PASSWORD)
    second = run(BINARY, "--config", daemon.config)
    report.check("a second daemon is told that the store is in use", second.returncode == 1 and "in use" in second.stderr, second)
    command_line(report, daemon, "beside the daemon")
    observe(report, daemon)
    reload(report, daemon)
    drain(report, daemon)
    command_line(report, daemon, "without it")
    daemon.start()
    report.check("the drained upload is there", ftps.login(daemon.port["ftp"], "alice", PASSWORD).size("drained") == 200_000)
    daemon.stop()
    for words in (["completions", "bash"], ["man"], ["--help"], ["--version"]):
        report.check(f"wharfinger {' '.join(words)}", len(run(BINARY, *words).stdout) > 10)
    if not report.failed:
        daemon.remove()
    report.end()


main()
