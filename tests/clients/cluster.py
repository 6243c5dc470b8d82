"""Three nodes on one PostgreSQL and one bucket, behind HAProxy: what one does all know at once; and when nodes are
killed, PostgreSQL restarts or fails over to its standby, or the bucket is away, nothing acknowledged is lost and
clients see temporary errors alone.

Usage: cluster.py      SECONDS_EACH is how long the load goes on around each event (8)
"""

import collections, http.client, io, itertools, json, os, pathlib, re, select, smtplib, statistics, subprocess, sys
import threading, time, urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "crash"))
import crash, ftps, servers
from harness import BINARY, Daemon, Report, Shared, run

PASSWORD = crash.PASSWORD
SECONDS = float(os.environ.get("SECONDS_EACH", "8"))
AWAY = float(os.environ.get("SECONDS_AWAY", "30"))  # how long the bucket is away
BALANCER = "127.0.0.3"  # where HAProxy's connections come from: ours come from 127.0.0.1, and need no PROXY header
BROKEN = (OSError, EOFError, http.client.HTTPException, smtplib.SMTPServerDisconnected)


class Cluster:
    """Everything that the test stands on: servers of its own, since it kills them."""

    def __init__(self):
        self.postgres, self.s3 = servers.Postgres().start(), servers.S3().start()
        os.environ["TEST_POSTGRES"], os.environ["TEST_S3"] = self.postgres.url, self.s3.url
        self.store = Shared()
        self.standby = self.postgres.standby()
        # Each node knows both, and finds the one that takes writes.
        one = f"127.0.0.1:{self.postgres.port}"
        self.store.node_url = self.store.url.replace(one, f"{one},127.0.0.1:{self.standby.port}")
        self.nodes = [self.node(number).start() for number in (1, 2, 3)]
        self.proxy = self.balance().start()

    def node(self, number):
        first = 43_000 + 300 * number
        return Daemon(f'node = "n{number}"\nproxies = ["{BALANCER}"]\npassive_ports = "{first}-{first + 299}"',
                      store=self.store)

    def balance(self):
        """HAProxy as etc/haproxy.cfg has it, on free ports."""
        self.port = dict(zip(("smtp", "https", "ftp"), servers.free_ports(3)))
        text = ("defaults\n mode tcp\n timeout connect 3s\n timeout client 2m\n timeout server 2m\n retries 3\n"
                f" option redispatch 1\n source {BALANCER}\n option httpchk GET /readyz\n"
                " option allbackups\n default-server inter 500ms fall 2 rise 1 send-proxy-v2\n")
        for name, port in self.port.items():
            text += f"listen {name}\n bind 127.0.0.1:{port}\n"
            for number, node in enumerate(self.nodes, 1):
                text += f" server n{number} 127.0.0.1:{node.port[name]} check port {node.telemetry}\n"
                text += f" server n{number}-last 127.0.0.1:{node.port[name]} backup\n"
        return servers.HAProxy(text)


# --- what one node does, the others know ---

def https(port, method, path, body=None, user="alice", password=PASSWORD, headers=()):
    client = http.client.HTTPSConnection("127.0.0.1", port, context=ftps.context(), timeout=60)
    secret = crash.base64.b64encode(f"{user}:{password}".encode()).decode()
    client.request(method, path, body, {"Authorization": f"Basic {secret}", **dict(headers)})
    answer = client.getresponse()
    found = answer.read()
    client.close()
    return answer.status, found


def at_once(report, one, two):
    client, stale = ftps.login(one.port["ftp"], "alice", PASSWORD), []
    for number in range(100):
        name = f"at-once-{number % 10}"
        https(two.port["https"], "GET", f"/dav/{name}")  # node 2 knows the old one now
        body = crash.content("once", number) or b"x"
        client.storbinary(f"STOR {name}", io.BytesIO(body))
        answer = https(two.port["https"], "GET", f"/dav/{name}")
        stale += [] if answer == (200, body) else [(number, answer[0], len(answer[1]), len(body))]
    client.quit()
    what = "100 files put by FTP on node 1 are read by HTTPS on node 2 at once, never an older one"
    report.check(what, not stale, stale)


class Feed:
    """What `wharfinger events` tells of carol. It is read without a buffer of Python's, which would hide it from
    select."""

    def __init__(self, node):
        words = [BINARY, "--config", str(node.config), "--json", "events", "--user", "carol"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, bufsize=0)
        self.read = b""

    def comes(self, seconds):
        """Whether something comes in time, or the end."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def change(self, seconds=30):
        """The next change; nothing when none comes in time."""
        end = time.monotonic() + seconds
        while b"\n" not in self.read:
            piece = self.process.stdout.read(65536) if self.comes(max(0, end - time.monotonic())) else b""
            if not piece:
                return None
            self.read += piece
        line, _, self.read = self.read.partition(b"\n")
        return json.loads(line)


def feed(report, one, three):
    def deliver(subject):
        """When it was acknowledged."""
        with smtplib.SMTP("127.0.0.1", three.port["smtp"]) as mail:
            mail.sendmail("x@example.org", ["carol@localhost"], f"Subject: {subject}\r\n\r\n")
            return time.monotonic()

    watch, times, wrong = Feed(one), [], []
    try:
        # It tells of nothing from before it began to follow: when that is, a message a second finds out.
        for _ in range(60):
            if watch.comes(1):
                break
            deliver("a probe")
        newest, = three.store.rows("SELECT changes FROM accounts WHERE name = 'carol'")[0]
        while (change := watch.change()) and change["number"] < newest:
            pass
        for number in range(newest + 1, newest + 21):
            begun = deliver(number)
            change = watch.change()
            times.append(time.monotonic() - begun)
            if change is None:
                wrong.append(f"nothing in {times[-1]:.0f} s")
                break
            told = (change["account"], change["action"], change["number"])
            wrong += [] if told == ("carol", "mail.deliver", number) else [change]
    finally:
        watch.process.terminate()
        watch.process.wait(10)
    median = statistics.median(times)
    what = f"20 messages delivered on node 3 are on the feed of node 1, half of them within {median * 1000:.0f} ms"
    report.check(what, len(times) == 20 and median < 0.5 and not wrong, wrong)


def log_ins(report, one, two):
    def guess(number):
        return https(one.port["https"], "GET", "/dav/", user="carol", password=f"wrong {number}")[0]
    codes = [guess(number) for number in range(15)]
    # The wait so far may be over any moment: a long one, if the ten were counted.
    one.store.rows("UPDATE throttle SET failures = 20 WHERE key = $1 AND failures >= 10", "pair:carol@127.0.0.1")
    other = https(two.port["https"], "GET", "/dav/", user="carol")[0]
    report.check("failed log-ins on node 1 throttle on node 2", codes[0] == 401 and other == 429, (codes, other))
    https(two.port["https"], "GET", "/dav/", user="dave")
    one.cli("user", "passwd", "dave", "--password-stdin", input="another long password\n")
    old = https(two.port["https"], "GET", "/dav/", user="dave")[0]
    new = https(two.port["https"], "GET", "/dav/", user="dave", password="another long password")[0]
    report.check("a password changed on node 1 is the one on node 2", (old, new) == (401, 200), (old, new))
    report.check("a browser that logged in on node 1 is logged in on node 2, until it logs out", *browser(one, two))
    records = two.json("audit", "query", "--limit", "100000")
    report.check("the audit log tells which node it was", {"n1", "n2", "n3"} <= {record["node"] for record in records})


def browser(one, two):
    """Logs in with the portal's form on one node and goes on with another."""
    jar = {}

    def ask(node, method, path, **fields):
        client = http.client.HTTPSConnection("127.0.0.1", node.port["https"], context=ftps.context(), timeout=60)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items()),
                   "Origin": f"https://127.0.0.1:{node.port['https']}"}
        if fields:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        client.request(method, path, urllib.parse.urlencode(fields) if fields else None, headers)
        answer = client.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            jar[name] = value
        return answer.status, answer.read().decode()
    ask(one, "GET", "/")
    token = jar["__Host-wharfinger-form"]
    seen = [ask(one, "POST", "/login", csrf=token, name="alice", password=PASSWORD)[0]]
    status, page = ask(two, "GET", "/files/")
    seen += [status, "at-once-1" in page]
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    seen += [ask(two, "POST", "/logout", csrf=csrf[1] if csrf else "")[0]]
    seen += ["at-once-1" in ask(one, "GET", "/files/")[1]]
    return seen == [303, 200, True, 303, False], seen


# --- the load, and what happens meanwhile ---

class Load(threading.Thread):
    """Sends through HAProxy until it is told to stop, and notes what became of each thing."""

    def __init__(self, cluster, counters):
        super().__init__(daemon=True)
        self.cluster, self.counter, self.over = cluster, counters[type(self)], threading.Event()
        self.begun, self.acknowledged, self.refused, self.broken = set(), set(), [], []
        self.seen = collections.Counter()

    def run(self):
        while not self.over.is_set():
            try:
                self.session()
            # First what was answered: smtplib's errors are OSErrors, all of them.
            except (ftps.ftplib.error_temp, ftps.ftplib.error_perm, ftps.ftplib.error_reply,
                    smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
                self.answered(error)
            except BROKEN as error:
                self.seen["broken"] += 1
                self.broken.append(f"{type(self).__name__}: {error!r}")
            time.sleep(0.05)

    def each(self, send):
        while not self.over.is_set():
            number = next(self.counter)
            self.begun.add(number)
            if send(number):
                self.acknowledged.add(number)
                self.seen["acknowledged"] += 1

    def answered(self, error):
        """Notes a refusal: only those that say "try again" are allowed."""
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            code = next(iter(error.recipients.values()))[0]
        else:
            code = getattr(error, "smtp_code", None) or int(str(error)[:3])
        self.seen["temporary" if 400 <= code < 500 else "permanent"] += 1
        self.refused += [] if 400 <= code < 500 else [str(error)]


class FtpsLoad(Load):
    def session(self):
        client = ftps.login(self.cluster.port["ftp"], "alice", PASSWORD)

        def store(number):
            try:
                answer = client.storbinary(f"STOR f{number}", io.BytesIO(crash.content("f", number)))
            except (ConnectionError, ftps.ssl.SSLError):
                answer = client.voidresp()  # the data connection was given up; the other one says why
            return answer.startswith("226")
        self.each(store)


class HttpsLoad(Load):
    def session(self):
        port = self.cluster.port["https"]
        client = http.client.HTTPSConnection("127.0.0.1", port, context=ftps.context(), timeout=60)

        def put(number):
            head = {"Authorization": crash.AUTHORIZATION, "Content-Length": str(len(crash.content("h", number)))}
            client.request("PUT", f"/dav/h{number}", headers=head)
            try:
                client.sock.sendall(crash.content("h", number))
                answer = client.getresponse()
                answer.read()
            except (ConnectionError, ftps.ssl.SSLError):
                # It was answered before all was sent.
                answer = client.getresponse()
                answer.read()
                client.close()
            if answer.status not in (201, 204):
                self.seen["temporary" if answer.status == 503 else "permanent"] += 1
                self.refused += [] if answer.status == 503 else [answer.status]
            return answer.status in (201, 204)
        self.each(put)


class SmtpLoad(Load):
    def session(self):
        client = smtplib.SMTP("127.0.0.1", self.cluster.port["smtp"], timeout=60)

        def send(number):
            body = crash.base64.encodebytes(crash.content("m", number)).replace(b"\n", b"\r\n")
            message = f"Subject: m{number}\r\nX-Number: {number}\r\n\r\n".encode() + body
            return crash.send_to_both(client, message)
        self.each(send)


def under_load(report, cluster, what, event, counters):
    """Lets the load run before, while and after something happens; the workers."""
    crew = [kind(cluster, counters) for kind in (FtpsLoad, HttpsLoad, SmtpLoad) for _ in range(2)]
    for worker in crew:
        worker.start()
    time.sleep(SECONDS / 2)
    before = sum(worker.seen["acknowledged"] for worker in crew)
    event(cluster)
    during = sum(worker.seen["acknowledged"] for worker in crew)
    time.sleep(SECONDS / 2)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not all(node_ready(node) for node in cluster.nodes):
        time.sleep(0.1)
    time.sleep(1)
    after = sum(worker.seen["acknowledged"] for worker in crew)
    for worker in crew:
        worker.over.set()
    for worker in crew:
        worker.join(90)
    seen = sum((worker.seen for worker in crew), collections.Counter())
    print(f"      {what}: {seen['acknowledged']} acknowledged, {seen['temporary']} told to try again, {seen['broken']} "
          f"connections broken", flush=True)
    refused = [text for worker in crew for text in worker.refused]
    report.check(f"{what}: clients saw temporary errors alone", not refused, refused[:5])
    report.check(f"{what}: it recovered alone", before > 0 and after > during, (before, during, after))
    broken = collections.Counter(text for worker in crew for text in worker.broken)
    hung = [worker for worker in crew if worker.is_alive()] + [text for text in broken if "timed out" in text]
    report.check(f"{what}: nothing hangs", not hung, hung)
    if event is not kill_nodes:
        report.check(f"{what}: no connection is broken without a word", not broken, broken)
    return crew


def node_ready(node):
    client = http.client.HTTPConnection("127.0.0.1", node.telemetry, timeout=5)
    try:
        client.request("GET", "/readyz")
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


def kill_nodes(cluster):
    for node in cluster.nodes:
        node.kill()
        time.sleep(1)
        node.start()
        time.sleep(1)


def restart_postgres(cluster):
    cluster.postgres.restart()


def bucket_away(cluster):
    cluster.s3.stop()
    time.sleep(AWAY)
    cluster.s3.start()


def fail_over(cluster):
    cluster.postgres.kill()
    time.sleep(2)
    cluster.standby.promote()
    cluster.store.url = cluster.store.url.replace(f":{cluster.postgres.port}/", f":{cluster.standby.port}/")


def main():
    report, cluster = Report("cluster"), Cluster()
    one, two, three = cluster.nodes
    for name in ("alice", "bob", "carol", "dave"):
        one.add(name, PASSWORD)
    at_once(report, one, two)
    feed(report, one, three)
    log_ins(report, one, two)
    counters, crews = {kind: itertools.count() for kind in (FtpsLoad, HttpsLoad, SmtpLoad)}, []
    for what, event in (("every node killed in turn", kill_nodes), ("PostgreSQL restarted", restart_postgres),
                        ("the bucket away", bucket_away), ("failed over to the standby", fail_over)):
        crews += under_load(report, cluster, what, event, counters)
    for kind, worker_class in (("f", FtpsLoad), ("h", HttpsLoad)):
        crash.verify_files(two, kind, [worker for worker in crews if isinstance(worker, worker_class)], report)
    for node in cluster.nodes:
        done = node.cli("audit", "verify", check=False)
        report.check("the audit log is whole", done.returncode == 0, done.stdout + done.stderr)
        report.check("the daemon ends in order", node.stop() == 0)
        report.check("no panic in its log", "panicked" not in node.log())
    crash.verify_mail(three, [worker for worker in crews if isinstance(worker, SmtpLoad)], report)
    twice = three.store.rows("""SELECT COUNT(*) FROM (SELECT mailbox, blob FROM messages GROUP BY mailbox, blob
                             HAVING COUNT(*) > 1) AS twice""")
    report.check("no message was delivered twice", twice[0][0] == 0, twice)
    crash.verify_blobs(three, report)
    if not report.failed:
        for node in cluster.nodes:
            node.remove()
    report.end()


main()
