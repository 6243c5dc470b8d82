"""Files as users keep them: lftp and rclone put them up over FTPS, curl reads them over HTTPS, a browser at the portal
does both, and the daemon stays small meanwhile. Python's ftplib and http.client look closer."""

import base64, hashlib, http.client, io, os, pathlib, random, re, subprocess, tempfile, time, urllib.parse

import ftps
from harness import ENGINE, ROOT, run, tested

tempfile.tempdir = "/var/tmp"  # where there is room for gigabytes
PASSWORD = "a long enough password"
SMALL, BIG = 1000, 2 << 30
# Parts on their way to a bucket are in memory, up to 32 MiB of all uploads together.
MEMORY = (100 if ENGINE == "sqlite" else 150) << 20


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(folder):
    """The sha256 of every file below `folder`, by its path there."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def source(folder):
    """1,000 small files, a tenth of them in `public`, with names that need care; and a large one, where no two pieces
    are the same."""
    chance = random.Random(2)
    for number in range(SMALL):
        place = folder / ("public" if number % 10 == 0 else f"folder {number % 10}") / str(number // 100)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"ä #{number} 100%+&;=?.bin").write_bytes(chance.randbytes(chance.randrange(6000)))
    (folder / "public" / "index.html").write_text("<!doctype html><title>Alice</title>")
    piece = bytearray(chance.randbytes(16 << 20))
    with open(folder / "big", "wb") as file:
        for number in range(BIG // len(piece)):
            piece[:8] = number.to_bytes(8, "big")
            file.write(piece)


class Https:
    """One connection, logged in unless told otherwise."""

    def __init__(self, daemon, user):
        self.connection = http.client.HTTPSConnection("127.0.0.1", daemon.port["https"], context=ftps.context(),
                                                      timeout=60)
        secret = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        self.headers = {"Authorization": f"Basic {secret}"} if user else {}

    def __call__(self, method, path, body=None, **headers):
        self.connection.request(method, urllib.parse.quote(path), body, {**self.headers, **headers})
        answer = self.connection.getresponse()
        return answer.status, answer.read(), answer.headers


def lftp(daemon, user, scheme, *commands):
    settings = ("set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "
                "set net:max-retries 1")
    return run("lftp", "-u", f"{user},{PASSWORD}", "-e", "; ".join((settings, *commands, "exit")),
               f"{scheme}://127.0.0.1:{daemon.port[scheme]}", timeout=900)


def mirror(report, daemon, folder):
    """Up over FTPS: explicit TLS for one, implicit for the other."""
    for user, scheme in (("alice", "ftp"), ("bob", "ftps")):
        begun = time.time()
        done = lftp(daemon, user, scheme, f"mirror -R --parallel=4 {folder} .")
        report.check(f"lftp mirrors {SMALL} small files and 2 GiB up over {scheme} for {user}, "
                     f"{time.time() - begun:.0f} s", done.returncode == 0, done)


def curl(daemon, user, folder, names, prefix):
    """Reads many files in one run, to files of the same names in `folder`."""
    lines = ["silent", "show-error", "insecure", "fail", "parallel", "parallel-max = 20", "create-dirs"]
    if user:
        lines.append(f'user = "{user}:{PASSWORD}"')
    for name in names:
        lines += [f'url = "https://127.0.0.1:{daemon.port["https"]}{prefix}{urllib.parse.quote(name)}"',
                  f'output = "{folder / name}"']
    config = daemon.folder / "curl.config"
    config.write_text("\n".join(lines) + "\n")
    done = run("curl", "--config", config, timeout=900)
    config.unlink()
    return done


def read_back(report, daemon, sent):
    for user in ("alice", "bob"):
        begun, back = time.time(), daemon.folder / f"https-{user}"
        done = curl(daemon, user, back, sent, "/dav/")
        report.check(f"curl reads every file of {user} over HTTPS, {time.time() - begun:.0f} s", done.returncode == 0,
                     done.stderr)
        found = hashes(back)
        report.check(f"every sha256 is equal ({len(found)} files)", found == sent,
                     set(found.items()) ^ set(sent.items()))
        run("rm", "-r", back)
    public = {name.removeprefix("public/"): digest for name, digest in sent.items() if name.startswith("public/")}
    back = daemon.folder / "site"
    done = curl(daemon, None, back, public, "/~alice/")
    report.check(f"curl reads what is in public without a password ({len(public)} files)",
                 done.returncode == 0 and hashes(back) == public, done.stderr)
    stranger = Https(daemon, None)
    report.check("index.html answers for the folder", stranger("GET", "/~alice/")[1].startswith(b"<!doctype html>"))
    for path, wanted in (("/dav/big", 401), ("/~alice/../big", 400), ("/~alice/big", 404), ("/~nobody/", 404)):
        status = stranger("GET", path)[0]
        report.check(f"a stranger gets {wanted} for {path}", status == wanted, status)
    status = Https(daemon, "bob")("GET", "/dav/../alice/big")[0]
    report.check("one user does not reach another's files", status in (400, 404), status)


def ranges(report, daemon, folder):
    url = f"https://127.0.0.1:{daemon.port['https']}/dav/big"
    with open(folder / "big", "rb") as file:
        def part(first, last):
            file.seek(first)
            return file.read(last - first + 1)

        one, many = (1 << 30, (1 << 30) + 99_999), [(0, 99), (1_500_000_000, 1_500_000_999), (BIG - 500, BIG - 1)]
        wanted = [part(*each) for each in many]
        single = subprocess.run(["curl", "-sSfk", "-u", f"alice:{PASSWORD}", "-r", "%d-%d" % one, url],
                                capture_output=True)
        report.check("curl reads a part beyond 1 GiB", single.stdout == part(*one), single.stderr)
        several = subprocess.run(["curl", "-sSfk", "-u", f"alice:{PASSWORD}", "-r",
                                  "0-99,1500000000-1500000999,-500", "-D", daemon.folder / "head", url],
                                 capture_output=True)
        boundary = re.search(r"multipart/byteranges; boundary=\"?([^\"\r\n]+)", (daemon.folder / "head").read_text())
        parts = several.stdout.split(b"--" + boundary[1].encode())[1:-1] if boundary else []
        heads = [re.search(rb"content-range: bytes (\d+)-(\d+)/(\d+)", part, re.I) for part in parts]
        report.check("curl reads several parts at once",
                     [part.partition(b"\r\n\r\n")[2][:-2] for part in parts] == wanted, several.stderr)
        report.check("each part says where it lies", [tuple(map(int, head.groups())) for head in heads if head]
                     == [(first, last, BIG) for first, last in many], heads)
        status, _, headers = Https(daemon, "alice")("GET", "/dav/big", Range=f"bytes={BIG}-")
        report.check("a part behind the end is 416", (status, headers["content-range"]) == (416, f"bytes */{BIG}"),
                     status)


def crossing(report, daemon):
    """What one protocol does is at once there for the other."""
    web, client = Https(daemon, "alice"), ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    late = []
    for number in range(50):
        content = os.urandom(random.choice((0, 10, 70_000, 300_000)))
        got = io.BytesIO()
        client.storbinary("STOR from ftp", io.BytesIO(content))
        if web("GET", "/dav/from ftp")[:2] != (200, content):
            late.append(f"FTP put {number}")
        web("PUT", "/dav/from https", content)
        client.retrbinary("RETR from https", got.write)
        if got.getvalue() != content:
            late.append(f"HTTPS put {number}")
    report.check("what FTP puts is at once on HTTPS, and the other way", not late, late)
    client.mkd("made")
    client.rename("from ftp", "made/renamed")
    report.check("what FTP renames is at once on HTTPS", [web("HEAD", path)[0] for path in
                 ("/dav/from ftp", "/dav/made/renamed")] == [404, 200])
    web("DELETE", "/dav/from https")
    report.check("what HTTPS deletes is at once gone from FTP", "from https" not in client.nlst())
    web("MKCOL", "/dav/collection")
    report.check("what HTTPS makes is at once on FTP", "collection" in client.nlst())
    client.delete("made/renamed")
    client.rmd("made")
    client.rmd("collection")
    client.quit()


def resuming(report, daemon, folder, sent):
    half = daemon.folder / "half"
    for scheme in ("ftp", "ftps"):
        with open(folder / "big", "rb") as file:
            half.write_bytes(file.read(200 << 20))
        done = lftp(daemon, "alice", scheme, f"get -c big -o {half}")
        report.check(f"lftp resumes a download over {scheme}", done.returncode == 0 and sha256(half) == sent["big"],
                     done)
    with open(half, "r+b") as file:
        file.truncate(900 << 20)
    cut = lftp(daemon, "alice", "ftp", f"put {half} -o again")
    done = lftp(daemon, "alice", "ftp", f"put -c {folder}/big -o again")
    etags = [Https(daemon, "alice")("HEAD", f"/dav/{name}")[2]["etag"] for name in ("big", "again")]
    report.check("lftp resumes an upload", (cut.returncode, done.returncode) == (0, 0) and etags[0] == etags[1],
                 (cut, done, etags))
    half.unlink()


def killed(report, daemon, folder):
    """Uploads whose client dies in the middle: nothing new is seen, and what was there stays whole."""
    web = Https(daemon, "bob")
    web("PUT", "/dav/kept", b"what was there")
    for scheme, port, path in (("ftp", "ftp", "/"), ("ftps", "ftps", "/"), ("https", "https", "/dav/")):
        for name, before in (("new", (404, None)), ("kept", (200, b"what was there"))):
            client = subprocess.Popen(["curl", "-sSk", "--ssl-reqd", "-u", f"bob:{PASSWORD}", "--limit-rate", "20M",
                                       "-T", folder / "big", f"{scheme}://127.0.0.1:{daemon.port[port]}{path}{name}"])
            time.sleep(2)
            running = client.poll() is None
            client.kill()
            client.wait()
            time.sleep(1)
            status, content, _ = web("GET", f"/dav/{name}")
            good = running and status == before[0] and before[1] in (None, content)
            report.check(f"an upload killed over {scheme} leaves {'nothing' if before[0] == 404 else 'the old file'}",
                         good, (running, status, content[:80]))
    client = ftps.login(daemon.port["ftp"], "bob", PASSWORD)
    report.check("and no other name beside it", set(client.nlst()) <= {"Mail", "big", "kept", "public"}
                 | {f"folder {number}" for number in range(1, 10)}, client.nlst())
    left = [path for path in (daemon.data / "blobs" / "new").iterdir()]
    report.check("and nothing on the disk", not left, left)
    client.quit()


def rclone(report, daemon, folder):
    hidden = run("rclone", "obscure", PASSWORD).stdout.strip()
    remote = (f":ftp,host=127.0.0.1,port={daemon.port['ftps']},user=bob,pass='{hidden}',tls=true,"
              "no_check_certificate=true:rclone")
    # One connection at a time: rclone keeps one TLS session for all of them, and here each has its own.
    alone = ["--ftp-concurrency", "1", "--transfers", "1", "--checkers", "1"]
    up = run("rclone", "copy", *alone, folder / "public", remote)
    check = run("rclone", "check", "--download", *alone, folder / "public", remote)
    report.check("rclone copies up over FTPS and reads the same back", (up.returncode, check.returncode) == (0, 0),
                 up.stderr[-800:] + check.stderr[-800:])


def portal(report, daemon):
    url = f"https://127.0.0.1:{daemon.port['https']}/"
    environment = {**os.environ, "NODE_PATH": str(ROOT / "target" / "node" / "node_modules")}
    done = run("node", pathlib.Path(__file__).with_name("portal.mjs"), url, "bob", PASSWORD, env=environment)
    for line in done.stdout.splitlines():
        state, _, what = line.partition(" ")
        report.check(f"portal: {what.strip()}", state == "ok")
    report.check("the browser's run ended well", done.returncode == 0, done.stderr)


def main():
    with tested("files") as (report, daemon):
        daemon.add("alice", PASSWORD)
        daemon.add("bob", PASSWORD)
        folder = daemon.folder / "source"
        source(folder)
        sent = hashes(folder)
        for step, more in ((mirror, [folder]), (read_back, [sent]), (ranges, [folder]), (crossing, []),
                           (killed, [folder]), (resuming, [folder, sent]), (rclone, [folder]), (portal, [])):
            step(report, daemon, *more)
            print(f"      {daemon.memory() / (1 << 20):.1f} MiB used at most so far", flush=True)
        memory = daemon.memory()
        report.check(f"the daemon never used more than {MEMORY >> 20} MiB ({memory / (1 << 20):.1f} MiB)", memory < MEMORY, memory)


main()
