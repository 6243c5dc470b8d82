"""The servers that the tests stand on: each is started, and each thing that a test may ask of it is asked."""

import os, shutil, socket, subprocess, sys, time, traceback

import servers
from harness import Report
from servers import S3, HAProxy, Postgres, S3Client, alive, free_ports, query, wait


def postgres(report):
    primary = Postgres().start()
    url = primary.database()
    query(url, "CREATE TABLE t (n BIGINT, b BYTEA)")
    query(url, "INSERT INTO t VALUES ($1, $2), (NULL, '')", 5, b"\0\xff")
    rows = query(url, "SELECT n, b FROM t ORDER BY n")
    report.check("PostgreSQL: numbers, NULL and bytes come back", rows == [(5, b"\0\xff"), (None, b"")], rows)
    durable = primary.sql("SELECT current_setting('fsync'), current_setting('password_encryption')")
    report.check("PostgreSQL: fsync is on, passwords are SCRAM", durable == [("on", "scram-sha-256")], durable)
    try:
        refused = query(url.replace(url.split(":")[2][:32], "0" * 32), "SELECT 1")
    except Exception as error:
        refused = str(error)
    report.check("PostgreSQL: a wrong password is refused", "28P01" in str(refused), refused)
    primary.restart()
    report.check("PostgreSQL: restarted, it has its rows", query(url, "SELECT COUNT(*) FROM t") == [(2,)])
    primary.kill()
    report.check("PostgreSQL: killed, it is gone", not primary.running())
    primary.start()
    report.check("PostgreSQL: and recovers", query(url, "SELECT COUNT(*) FROM t") == [(2,)])
    failover(report, primary, url)


def failover(report, primary, url):
    standby = primary.standby()
    query(url, "INSERT INTO t VALUES (7, '')")
    other = url.replace(f":{primary.port}/", f":{standby.port}/")
    found = query(other, "SELECT COUNT(*) FROM t WHERE n = 7")
    report.check("PostgreSQL: the standby has what was committed", found == [(1,)], found)
    standby.stop()
    held = subprocess.Popen([sys.executable, "-c", "import sys; from servers import query; "
                             "query(sys.argv[1], 'INSERT INTO t VALUES (8, NULL)')", url], cwd=servers.__file__[:-11])
    time.sleep(1.5)
    report.check("PostgreSQL: without its standby it acknowledges nothing", held.poll() is None)
    standby.start()
    report.check("PostgreSQL: and does when that is back", held.wait(20) == 0)
    both = url.replace("@", f"@127.0.0.1:{primary.port},").replace(f":{primary.port}/", f":{standby.port}/")
    primary.kill()
    standby.promote()
    report.check("PostgreSQL: a URL of both finds the one that is left", query(both, "SELECT 1") == [(1,)])
    query(other, "INSERT INTO t VALUES (9, NULL)")
    found = query(other, "SELECT COUNT(*) FROM t WHERE n IN (7, 8, 9)")
    report.check("PostgreSQL: promoted, it has all that was acknowledged and takes more", found == [(3,)], found)
    standby.remove()
    primary.remove()


def tls(report):
    server = Postgres(tls=True).start()
    url = server.database()
    told = query(url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", ca=server.ca)
    report.check("PostgreSQL: with TLS, verified", told == [(True,)], told)
    try:
        told = query(url, "SELECT 1")
    except Exception as error:
        told = str(error)
    report.check("PostgreSQL: not without", "no encryption" in str(told), told)
    standby = server.standby()
    told = standby.sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    report.check("PostgreSQL: nor its standby", told == [(True,)], told)
    server.remove()
    standby.remove()


def s3(report):
    server = S3().start()
    bucket = server.bucket("check")
    keys = ["a", "p/ä b+c", *(f"q/{number:04}" for number in range(60))]
    large = bytes(range(256)) * 40_000
    report.check("S3: objects are stored", all(server.write(bucket, key, key.encode()) for key in keys))
    report.check("S3: large ones too", server.write(bucket, "large", large) and server.read(bucket, "large") == large)
    report.check("S3: and listed", server.objects(bucket) == sorted([*keys, "large"]), server.objects(bucket))
    report.check("S3: by prefix", server.objects(bucket, "p/") == ["p/ä b+c"], server.objects(bucket, "p/"))
    report.check("S3: page by page", server.objects(bucket, "q/", page=7) == sorted(keys[2:]))
    server.delete(bucket, "a")
    report.check("S3: a deleted object is gone", server.read(bucket, "a") is None)
    wrong = S3Client(server.url.replace(server.secret_key, "0" * 32))
    report.check("S3: wrong keys are refused", wrong.request("GET", "/check/large")[0] == 403)
    report.check("S3: a bucket that is not is refused", not server.write("other", "x", b"x"))
    server.pause()
    report.check("S3: paused, it does not answer", server.request("GET", "/check/large", timeout=2)[0] == 0)
    server.resume()
    report.check("S3: resumed, it does", server.read(bucket, "large") == large)
    server.stop()
    report.check("S3: stopped, it is away", server.request("GET", "/check/large", timeout=2)[0] == 0)
    server.start()
    report.check("S3: started again it has its objects", server.read(bucket, "large") == large)
    server.remove()


def haproxy(report):
    front, = free_ports(1)
    back = socket.create_server(("127.0.0.1", 0))
    back.settimeout(10)
    server = HAProxy(f"""defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen test
    bind 127.0.0.1:{front}
    server one 127.0.0.1:{back.getsockname()[1]} send-proxy-v2
""").start()
    back.accept()[0].close()  # the one that saw it ready
    with socket.create_connection(("127.0.0.1", front), 10) as client:
        taken, _ = back.accept()
        client.sendall(b"hello")
        heard = taken.recv(100)
        report.check("HAProxy: connects, and says for whom", heard.startswith(b"\r\n\r\n\0\r\nQUIT\n"), heard)
    server.stop()
    report.check("HAProxy: stopped", not server.running())


def serving(report):
    """As tests/run has it: gone with its input, and when it is killed."""
    for how in ("its input ends", "it is killed"):
        helper = subprocess.Popen([sys.executable, servers.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True)
        line = helper.stdout.readline()
        found = dict(word.split("=", 1) for word in line.split()[1:])
        children = open(f"/proc/{helper.pid}/task/{helper.pid}/children").read().split()
        folders = [os.readlink(f"/proc/{child}/cwd") for child in children]
        up = query(found["TEST_POSTGRES"], "SELECT 1") == [(1,)] and S3Client(found["TEST_S3"]).bucket("test")
        report.check("for many tests: both answer", up and len(children) == 2, line)
        helper.stdin.close() if how == "its input ends" else helper.kill()
        helper.wait(60)
        wait("all of it ends", lambda: not any(alive(child) for child in children), 20)
        report.check(f"for many tests: nothing runs on when {how}", True)
        for folder in folders:
            # PostgreSQL moves to its data, which is below the folder.
            shutil.rmtree(folder.removesuffix("/data"), ignore_errors=True)


def main():
    report = Report("servers")
    for part in (postgres, tls, s3, haproxy, serving):
        try:
            part(report)
        except Exception as error:
            report.check(f"{part.__name__} ran to its end", False, traceback.format_exc())
    report.end()


main()
