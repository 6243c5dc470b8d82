"""A daemon of our own for a test: in a temporary folder, on free ports of loopback, stopped by its process id."""

import json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("WHARFINGER_BIN", str(ROOT / "target" / "debug" / "wharfinger"))
LISTENERS = [("smtp", "smtp", "starttls"), ("submission", "submission", "starttls"),
             ("submissions", "submission", "implicit"), ("http", "http", "none"), ("https", "https", "implicit"),
             ("ftp", "ftp", "starttls"), ("ftps", "ftp", "implicit")]


def free_ports(count):
    """Ports that were free a moment ago, below the range that the system gives to clients."""
    found, port = [], 20000 + os.getpid() % 8000
    while len(found) < count:
        port += 1
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                found.append(port)
            except OSError:
                pass
    return found


class Daemon:
    """A running `wharfinger serve`."""

    def __init__(self, extra="", data=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-test-"))
        self.data = pathlib.Path(data) if data else self.folder / "data"
        numbers = free_ports(len(LISTENERS) + 1)
        self.port = {name: number for (name, _, _), number in zip(LISTENERS, numbers)}
        self.telemetry = numbers[-1]
        text = f'hostname = "localhost"\ndata = "{self.data}"\n{extra}\n'
        if "[telemetry]" not in extra:
            text += f'[telemetry]\nbind = "127.0.0.1:{self.telemetry}"\n'
        for name, protocol, tls in LISTENERS:
            text += f'[listen.{name}]\nprotocol = "{protocol}"\nbind = "127.0.0.1:{self.port[name]}"\ntls = "{tls}"\n'
        self.config = self.folder / "wharfinger.toml"
        self.config.write_text(text)
        self.process = None

    def start(self):
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([BINARY, "--config", str(self.config)], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log)
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

    def end(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def run(*words, timeout=300, **more):
    """Runs a client; its output as text."""
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout,
                          errors="replace", **more)
