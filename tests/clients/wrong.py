"""What is configured wrongly is told in one line that says what to do; an object that the bucket lost is named, and
harms nothing else; a database or a bucket that is frozen lets nobody wait for ever."""

import base64, http.client, io, os, time

import ftps, servers
from harness import BINARY, Daemon, Report, Shared, run

PASSWORD = "a long enough password"
LIMIT = 2  # seconds that the database or the bucket may take
PATIENT = 5  # where a busy machine must not turn one error into "did not answer"


def https(daemon, method, path, body=None):
    """The status, the content, and how long it took."""
    client = http.client.HTTPSConnection("127.0.0.1", daemon.port["https"], context=ftps.context(), timeout=60)
    secret = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    begun = time.monotonic()
    client.request(method, path, body, {"Authorization": f"Basic {secret}"})
    answer = client.getresponse()
    found = answer.read()
    client.close()
    return answer.status, found, time.monotonic() - begun


def misconfigured(report, postgres, s3):
    """Each fault alone, in a configuration that is good but for it."""
    store = Shared()
    good = Daemon(f"[storage]\ntimeout = {PATIENT}", store=store)
    text = good.config.read_text()
    done = run(BINARY, "--config", good.config, "check")
    report.check("the good configuration is good", done.returncode == 0, done.stderr)
    secret, port = store.url.split("@")[0].rpartition(":")[2], f":{postgres.port}/"
    newer = Shared()
    Daemon(store=newer).start().stop()
    newer.rows("INSERT INTO schema_version (version, applied) VALUES (999, 0)")
    for what, old, new, hint in (
            ("a URL that is none", "postgres://", "mysql://", "postgres://user:password@host"),
            ("a wrong password", secret, "wrong", "correct the user and password"),
            ("a database that is not there", store.url, store.url + "x", "create it"),
            ("a port where nobody listens", port, ":9/", "start it or correct [storage] url"),
            ("a database that does not speak TLS", "[storage]\n", '[storage]\ntls = "verify"\n', "TLS"),
            ("a bucket that is not there", 'bucket = "test"', 'bucket = "nowhere"', "or correct [blobs] bucket"),
            ("a wrong secret key", s3.secret_key, "wrong", "correct [blobs] secret_key"),
            ("a wrong access key", s3.access_key, "nobody", "correct [blobs] access_key"),
            ("an endpoint where nobody listens", s3.endpoint, "http://127.0.0.1:9", "correct [blobs] endpoint"),
            ("PostgreSQL without a bucket", 'kind = "s3"', 'kind = "disk"', 'needs [blobs] kind = "s3"'),
            ("an engine that is none", 'engine = "postgres"', 'engine = "postgress"', 'did you mean "postgres"?')):
        good.config.write_text(text.replace(old, new))
        for command in ("check", "serve"):
            done = run(BINARY, "--config", good.config, command, timeout=60)
            told = done.stderr.strip().splitlines()
            holds = done.returncode == 1 and told and hint in told[-1] and secret not in done.stderr
            lines = [line for line in told if line.startswith("wharfinger:")]
            report.check(f"{what}: {command} says so in one line", holds and len(lines) == 1, done.stderr)
    good.config.write_text(text.replace(store.url, newer.url))
    done = run(BINARY, "--config", good.config, "serve", timeout=60)
    holds = done.returncode == 1 and "999" in done.stderr
    report.check("a database that is too new: told in one line", holds, done.stderr)
    good.remove()


def encrypted(report):
    """PostgreSQL that takes TLS alone, with a certificate of an authority of its own."""
    postgres, kept = servers.Postgres(tls=True).start(), os.environ["TEST_POSTGRES"]
    store = Shared(servers.database(postgres.url, postgres.ca))
    daemon = Daemon(f'[storage]\ntls = "verify"\nca = "{postgres.ca}"', store=store).start()
    daemon.add("alice", PASSWORD)
    report.check("over TLS that is verified it works", https(daemon, "PUT", "/dav/x", b"x")[0] == 201)
    daemon.stop()
    daemon.config.write_text(daemon.config.read_text().replace(f'ca = "{postgres.ca}"\n', ""))
    done = run(BINARY, "--config", daemon.config, "check", timeout=60)
    told = "correct [storage] ca" in done.stderr
    report.check("an authority that the system does not know is told", told, done.stderr)
    daemon.remove()
    postgres.stop()
    os.environ["TEST_POSTGRES"] = kept


def lost(report, s3):
    daemon = Daemon().start()
    daemon.add("alice", PASSWORD)
    large = os.urandom(300_000)
    https(daemon, "PUT", "/dav/lost", large)
    place, = daemon.store.places()
    s3.delete(daemon.store.bucket, f"{daemon.store.prefix}/{place}")
    https(daemon, "PUT", "/dav/kept", large[::-1])
    status = https(daemon, "GET", "/dav/lost")[0]
    report.check("an object that the bucket lost: HTTPS says 500", status == 500, status)
    line = next((line for line in daemon.log().splitlines() if "is lost" in line), "")
    report.check("the log names its path and its owner", "/lost of alice is lost" in line, line)
    client = ftps.login(daemon.port["ftp"], "alice", PASSWORD)
    try:
        client.retrbinary("RETR lost", lambda piece: None)
        said = "226"
    except ftps.ftplib.all_errors as error:
        said = str(error)
    report.check("FTP says 451", said.startswith("451"), said)
    kept = []
    client.retrbinary("RETR kept", kept.append)
    report.check("other files are not harmed, and the session goes on", b"".join(kept) == large[::-1])
    client.quit()
    again = https(daemon, "PUT", "/dav/lost", large)[0], https(daemon, "GET", "/dav/lost")[:2]
    report.check("putting it again brings it back", again == (204, (200, large)), again[0])
    daemon.stop()
    daemon.remove()


def frozen(report, postgres, s3):
    daemon = Daemon(f"[storage]\ntimeout = {LIMIT}").start()
    daemon.add("alice", PASSWORD)
    https(daemon, "PUT", "/dav/x", os.urandom(300_000))
    s3.pause()
    small = https(daemon, "PUT", "/dav/small", b"x")
    large = https(daemon, "PUT", "/dav/large", os.urandom(300_000))
    report.check("a frozen bucket: what is small is stored", small[0] == 201, small)
    report.check(f"what is large is answered with 503, after {large[2]:.0f} s", large[0] == 503 and large[2] < 30, large)
    got = https(daemon, "GET", "/dav/x")
    report.check(f"what is there cannot be read now: 503, after {got[2]:.0f} s", got[0] == 503 and got[2] < 30, got[0])
    s3.resume()
    postgres.pause()
    answers = [https(daemon, "PUT", "/dav/y", b"y") for _ in range(4)]
    slowest = max(answer[2] for answer in answers)
    what = f"a frozen database: 503, the slowest after {slowest:.0f} s, the last after {answers[-1][2]:.1f} s"
    report.check(what, all(answer[0] == 503 for answer in answers) and slowest < 30, answers)
    postgres.resume()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and https(daemon, "PUT", "/dav/y", b"y")[0] not in (201, 204):
        time.sleep(0.2)
    report.check("both are used again by themselves", https(daemon, "PUT", "/dav/z", os.urandom(300_000))[0] == 201)
    daemon.stop()
    report.check("no panic in the log", "panicked" not in daemon.log())
    daemon.remove()


def main():
    report, postgres, s3 = Report("wrong"), servers.Postgres().start(), servers.S3().start()
    os.environ["TEST_POSTGRES"], os.environ["TEST_S3"] = postgres.url, s3.url
    misconfigured(report, postgres, s3)
    encrypted(report)
    lost(report, s3)
    frozen(report, postgres, s3)
    report.end()


main()
