"""A daemon of our own for a test: in a temporary folder, on free ports of loopback, stopped by its process id. ENGINE
says what its store stands on: `sqlite`, or `postgres`, with the servers that TEST_POSTGRES and TEST_S3 name."""

import contextlib, json, os, pathlib, re, secrets, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, time

import servers
from servers import free_ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("WHARFINGER_BIN", str(ROOT / "target" / "debug" / "wharfinger"))
ENGINE = os.environ.get("ENGINE", "sqlite")
LISTENERS = [("smtp", "smtp", "starttls"), ("submission", "submission", "starttls"),
             ("submissions", "submission", "implicit"), ("http", "http", "none"), ("https", "https", "implicit"),
             ("ftp", "ftp", "starttls"), ("ftps", "ftp", "implicit"), ("imap", "imap", "starttls"),
             ("imaps", "imap", "implicit"), ("pop3", "pop3", "starttls"), ("pop3s", "pop3", "implicit")]


class Embedded:
    """SQLite and files, in the daemon's data folder."""

    def __init__(self, data):
        self.data = data

    def tables(self):
        return {}

    def rows(self, query, *values):
        """What a query finds, or changes; `$1` is the first of `values`."""
        with sqlite3.connect(self.data / "wharfinger.db", isolation_level=None, timeout=30) as database:
            found = database.execute(re.sub(r"\$(\d+)", r"?\1", query), values).fetchall()
        database.close()
        return found

    def columns(self, table):
        return [row[1] for row in self.rows(f"PRAGMA table_info({table})")]

    def places(self):
        """Where the blob store has something."""
        return {str(path.relative_to(self.data / "blobs")) for path in (self.data / "blobs").glob("*/*")}

    def content(self, place):
        return (self.data / "blobs" / place).read_bytes()


class Shared:
    """A PostgreSQL database and a bucket's prefix, for one daemon or several."""

    def __init__(self, url=None):
        for name in ("TEST_POSTGRES", "TEST_S3"):
            if name not in os.environ:
                sys.exit(f"{name} is not set: tests/run starts the servers")
        self.url = self.node_url = url or servers.database(os.environ["TEST_POSTGRES"])
        self.prefix = f"p{secrets.token_hex(6)}"
        self.s3 = servers.S3Client(os.environ["TEST_S3"])
        self.bucket = self.s3.bucket("test")

    def tables(self):
        """What the configuration says of it."""
        return {"storage": f'engine = "postgres"\nurl = "{self.node_url}"\n',
                "blobs": f'kind = "s3"\nendpoint = "{self.s3.endpoint}"\nbucket = "{self.bucket}"\n'
                         f'access_key = "{self.s3.access_key}"\nsecret_key = "{self.s3.secret_key}"\n'
                         f'prefix = "{self.prefix}"\n'}

    def rows(self, query, *values):
        return servers.query(self.url, query, *values)

    def columns(self, table):
        return [name for name, in self.rows("SELECT column_name FROM information_schema.columns "
                                            f"WHERE table_name = '{table}' ORDER BY ordinal_position")]

    def places(self):
        return {key.removeprefix(self.prefix + "/") for key in self.s3.objects(self.bucket, self.prefix + "/")}

    def content(self, place):
        return self.s3.read(self.bucket, f"{self.prefix}/{place}")


class Daemon:
    """A running `wharfinger serve`."""

    def __init__(self, extra="", data=None, store=None, hostname="localhost", mail=None):
        """`mail` is the address and port that other mail servers find it by."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-test-"))
        self.data = pathlib.Path(data) if data else self.folder / "data"
        numbers = free_ports(len(LISTENERS) + 1)
        self.port = {name: number for (name, _, _), number in zip(LISTENERS, numbers)}
        self.telemetry = numbers[-1]
        self.store = store or (Embedded(self.data) if ENGINE == "sqlite" else Shared())
        for table, keys in self.store.tables().items():
            head = f"[{table}]\n"
            extra = extra.replace(head, head + keys) if head in extra else f"{extra}\n{head}{keys}"
        text = f'hostname = "{hostname}"\ndata = "{self.data}"\n{extra}\n'
        if "[telemetry]" not in extra:
            text += f'[telemetry]\nbind = "127.0.0.1:{self.telemetry}"\n'
        for name, protocol, tls in LISTENERS:
            bind = f"127.0.0.1:{self.port[name]}"
            if name == "smtp" and mail:
                bind = "%s:%s" % mail
            text += f'[listen.{name}]\nprotocol = "{protocol}"\nbind = "{bind}"\ntls = "{tls}"\n'
        self.certificate = self.data / "tls" / "self-signed.pem"
        self.config = self.folder / "wharfinger.toml"
        self.config.write_text(text)
        self.process = None

    def start(self):
        log = open(self.folder / "log", "ab")
        # However the test dies, the daemon dies with it.
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", BINARY, "--config", str(self.config)],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(f"the daemon did not start:\n{self.log()}")
            try:
                socket.create_connection(("127.0.0.1", self.telemetry), 1).close()
                if self.cli("status", check=False).returncode == 0:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit(f"the daemon does not answer:\n{self.log()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            sys.exit("the daemon did not end within a minute of SIGTERM")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def cli(self, *arguments, input=None, check=True):
        done = subprocess.run([BINARY, "--config", str(self.config), *arguments], input=input, text=True,
                              capture_output=True)
        if check and done.returncode != 0:
            sys.exit(f"wharfinger {' '.join(arguments)}: {done.stderr}")
        return done

    def json(self, *arguments):
        return json.loads(self.cli(*arguments, "--json").stdout)

    def add(self, name, password, *more):
        self.cli("user", "add", name, "--password-stdin", *more, input=password + "\n")

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def memory(self):
        """The most memory the daemon has used, in bytes."""
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        return 0

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Report:
    """Counts what held and what did not; the last line is for the runner."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def check(self, what, holds, seen=""):
        if holds:
            self.passed += 1
            print(f"ok    {self.name}: {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {self.name}: {what}  {str(seen)[:2000]}", flush=True)
        return holds

    def whole(self, daemon):
        """What must hold at the end, whatever the clients did."""
        verified = daemon.cli("audit", "verify", check=False)
        self.check("the audit log is whole", verified.returncode == 0, verified.stdout + verified.stderr)
        log = daemon.log()
        self.check("the log tells of no fault", "ERROR" not in log and "panicked" not in log, log[-2000:])

    def end(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


@contextlib.contextmanager
def tested(name, extra=""):
    """A report and the daemon it is of, which must be whole in the end."""
    report, daemon = Report(name), Daemon(extra).start()
    try:
        yield report, daemon
        report.whole(daemon)
    finally:
        daemon.stop()
        daemon.remove()
    report.end()


def run(*words, timeout=300, **more):
    """Runs a client; its output as text."""
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout,
                          errors="replace", **more)
