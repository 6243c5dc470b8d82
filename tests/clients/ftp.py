"""FTP as real clients speak it: lftp (GnuTLS), curl (OpenSSL), Python's ftplib, and rclone where it is
installed."""

import ftplib, io, os, random, shutil, socket, ssl, time

import ftps
from harness import run, tested

PASSWORD = "a long enough password"


def tree(folder, count):
    """`count` small files in ten folders."""
    chance = random.Random(1)
    for number in range(count):
        place = folder / f"folder {number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"ä file {number}").write_bytes(chance.randbytes(chance.randrange(6000)))


def same(one, other):
    return run("diff", "-r", one, other).stdout


def lftp(report, daemon, source):
    for scheme in ("ftp", "ftps"):
        back = daemon.folder / f"back-{scheme}"
        settings = ("set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "
                    "set net:max-retries 1")
        script = (f"{settings}; mirror -R --parallel=4 {source} up-{scheme}; mirror --parallel=4 up-{scheme} {back}; "
                  f"cls -l 'up-{scheme}/folder 1/*' | wc -l; rm -r up-{scheme}; exit")
        url = f"{scheme}://127.0.0.1:{daemon.port[scheme]}"
        begun = time.time()
        done = run("lftp", "-u", f"alice,{PASSWORD}", "-e", script, url, timeout=900)
        seen = (done.returncode, done.stdout[-500:], done.stderr[-500:])
        report.check(f"lftp mirrors over {scheme} both ways, {time.time() - begun:.1f} s", done.returncode == 0, seen)
        report.check(f"lftp got back what it sent over {scheme}", back.exists() and same(source, back) == "", seen)


def curl(report, daemon):
    content = os.urandom(3_000_000)
    (daemon.folder / "whole").write_bytes(content)
    (daemon.folder / "half").write_bytes(content[:1_000_000])
    for scheme in ("ftp", "ftps"):
        for version in (["--tlsv1.3"], ["--tls-max", "1.2"]):
            url = f"{scheme}://127.0.0.1:{daemon.port[scheme]}/curl dir/{version[-1]}".replace(" ", "%20")
            words = ["curl", "-sSk", "--ssl-reqd", *version, "-u", f"alice:{PASSWORD}"]
            up = run(*words, "--ftp-create-dirs", "-T", daemon.folder / "half", url)
            more = run(*words, "-C", "1000000", "-T", daemon.folder / "whole", url)
            down = run(*words, "-o", daemon.folder / "down", url)
            part = run(*words, "-r", "100-199", "-o", daemon.folder / "part", url)
            good = [up.returncode, more.returncode, down.returncode, part.returncode] == [0, 0, 0, 0]
            name = f"curl {version[-1]} over {scheme}"
            report.check(f"{name}: up, resumed, down, a part", good,
                         up.stderr + more.stderr + down.stderr + part.stderr)
            report.check(f"{name}: the bytes", (daemon.folder / "down").read_bytes() == content)
            report.check(f"{name}: the part", (daemon.folder / "part").read_bytes() == content[100:200])
            for made in ("down", "part"):
                (daemon.folder / made).unlink(missing_ok=True)
    clear = run("curl", "-sS", "-u", f"alice:{PASSWORD}", f"ftp://127.0.0.1:{daemon.port['ftp']}/")
    report.check("curl without TLS is refused", clear.returncode == 67, clear)


def python(report, daemon):
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    content = os.urandom(500_000)
    client.storbinary("STOR py", io.BytesIO(content[:200_000]))
    client.storbinary("STOR py", io.BytesIO(content[200_000:]), rest=200_000)
    got = io.BytesIO()
    client.retrbinary("RETR py", got.write, rest=1000)
    report.check("ftplib resumes an upload and a download", got.getvalue() == content[1000:])
    facts = dict(client.mlsd(facts=["type", "size"]))
    report.check("ftplib reads MLSD", facts.get("py") == {"type": "file", "size": "500000"}, facts)
    client.set_pasv(False)
    report.check("ftplib lists over an active connection", "py" in client.nlst())
    client.set_pasv(True)
    # An upload that dies: reset, and ended without close_notify.
    for how in ("reset", "cut"):
        data, _ = client.ntransfercmd(f"STOR {how}")
        data.sendall(content)
        if how == "reset":
            data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socket.socket(fileno=data.detach()).close()
        try:
            answer = client.getresp()
        except ftplib.error_temp as error:
            answer = str(error)
        report.check(f"an upload that was {how} is answered with 426", answer.startswith("426"), answer)
        report.check(f"and leaves nothing ({how})", how not in client.nlst())
    data, _ = client.ntransfercmd("STOR aborted")
    data.sendall(b"half")
    client.putcmd("ABOR")
    report.check("ABOR is answered with 426 and 226",
                 [client.getmultiline()[:3], client.getmultiline()[:3]] == ["426", "226"])
    data.close()
    report.check("and leaves nothing (ABOR)", "aborted" not in client.nlst())
    client.quit()


def strangers(report, daemon):
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    client.storbinary("STOR secret", io.BytesIO(b"secret"))
    for command in ("PORT 127,0,0,2,100,1", "PORT 127,0,0,1,0,22", "EPRT |1|192.0.2.1|5000|"):
        try:
            answer = client.sendcmd(command)
        except ftplib.error_perm as error:
            answer = str(error)
        report.check(f"{command} is refused", answer.startswith("501"), answer)
    host, port = client.makepasv()
    client.putcmd("RETR secret")
    client.getresp()
    stranger = socket.create_connection((host, port), 5, source_address=("127.0.0.2", 0))
    stranger.settimeout(5)
    try:
        seen = stranger.recv(1)
    except OSError:
        seen = b""
    report.check("a data connection from another address gets nothing", seen == b"", seen)
    # The right address, but another TLS session.
    thief = ftps.context().wrap_socket(socket.create_connection((host, port), 5))
    try:
        seen = thief.recv(100)
    except (OSError, ssl.SSLError):
        seen = b""
    report.check("a data connection of another TLS session gets nothing", seen == b"", seen)
    try:
        answer = client.getresp()
    except ftplib.error_perm as error:
        answer = str(error)
    report.check("and the client is told with 522", answer.startswith("522"), answer)
    records = daemon.json("audit", "query", "--action", "ftp.data")
    report.check("both are in the audit log", "ftp.data" in str(records), records)
    client.quit()


def others(report, daemon, source):
    """What is not on every machine."""
    if shutil.which("rclone"):
        hidden = run("rclone", "obscure", PASSWORD).stdout.strip()
        for scheme, tls in (("ftp", "explicit_tls"), ("ftps", "tls")):
            # One connection at a time: rclone keeps one TLS session for all of them, and here each has its own.
            alone = ["--ftp-concurrency", "1", "--transfers", "1", "--checkers", "1"]
            remote = (f":ftp,host=127.0.0.1,port={daemon.port[scheme]},user=alice,pass='{hidden}',{tls}=true,"
                      f"no_check_certificate=true:rclone-{scheme}")
            back = daemon.folder / f"rclone-{scheme}"
            up, down = run("rclone", "copy", *alone, source, remote), run("rclone", "copy", *alone, remote, back)
            check = run("rclone", "check", *alone, source, remote)
            codes = (up.returncode, down.returncode, check.returncode)
            report.check(f"rclone copies over {scheme} and back", codes == (0, 0, 0),
                         up.stderr[-800:] + down.stderr[-800:])
            report.check(f"rclone got back what it sent over {scheme}", back.exists() and same(source, back) == "")


def main():
    with tested("ftp") as (report, daemon):
        daemon.add("alice", PASSWORD)
        tree(daemon.folder / "many", 1000)
        tree(daemon.folder / "few", 50)
        python(report, daemon)
        strangers(report, daemon)
        curl(report, daemon)
        lftp(report, daemon, daemon.folder / "many")
        others(report, daemon, daemon.folder / "few")


main()
