"""The servers under test: each a private instance on loopback, started and stopped by its process id."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

HOST = "127.0.0.1"
DOMAIN = "bench.test"
RECIPIENTS = [f"u{n}" for n in range(1, 21)]
PASSWORD = "a long enough bench password"


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_port(port, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            return socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"port {port} did not open within {seconds} s")


def run(*command, **options):
    """Runs a helper command; what it said is shown only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **options)
    if done.returncode:
        line, said = " ".join(map(str, command)), done.stdout.decode(errors="replace")
        raise SystemExit(f"{line}: exit {done.returncode}\n{said}")
    return done.stdout


class Tls:
    """A test CA and one server certificate (ECDSA P-256 for everybody), made anew for each run."""

    def __init__(self, directory):
        directory.mkdir()
        self.ca, self.key, self.cert = (directory / name for name in ("ca.pem", "server.key", "server.pem"))
        self.both = directory / "both.pem"
        ca_key, request, extensions = directory / "ca.key", directory / "server.csr", directory / "ext"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        run("openssl", "req", "-x509", *curve, "-days", "30", "-subj", "/CN=Bench CA", "-keyout", ca_key,
            "-out", self.ca, "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        run("openssl", "req", *curve, "-subj", "/CN=localhost", "-keyout", self.key, "-out", request)
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
                              "extendedKeyUsage=serverAuth\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial",
            "-days", "30", "-extfile", extensions, "-out", self.cert)
        self.both.write_text(self.key.read_text() + self.cert.read_text())
        for file in (self.key, self.both):
            file.chmod(0o600)


class Server:
    """One process that stays in the foreground, with a directory of its own."""

    name = "?"

    def __init__(self, directory, tls):
        self.directory, self.tls = directory, tls
        directory.mkdir()
        self.process = None
        self.accepted = 0  # messages, so far

    def launch(self, command, port, **options):
        log = open(self.directory / "output", "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        wait_port(port)

    @property
    def pid(self):
        return self.process.pid

    def settle(self):
        """Waits until work that was put off is done, so that its CPU time is counted with what caused it."""

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Postfix(Server):
    """Accepts for the bench domain into its queue (synced before the 250), then hands over to `discard`.

    Discarding is the cheapest delivery there is, so the comparison leans towards Postfix.
    """

    name = "Postfix"

    def start(self):
        self.smtp = free_port()
        conf, self.spool, lib = (self.directory / part for part in ("etc", "spool", "lib"))
        for part in (conf, self.spool, lib):
            part.mkdir()
        shutil.chown(lib, "postfix")
        (conf / "recipients").write_text("".join(f"/^{name}@bench\\.test$/ ok\n" for name in RECIPIENTS))
        (conf / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {self.spool}
data_directory = {lib}
daemon_directory = {self._daemons()}
multi_instance_name = bench
maillog_file = {self.directory}/maillog
maillog_file_prefixes = {self.directory}
myhostname = {DOMAIN}
mydestination =
local_recipient_maps =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = regexp:{conf}/recipients
virtual_transport = discard:
default_transport = error:no external mail
inet_interfaces = {HOST}
inet_protocols = ipv4
mynetworks = 127.9.9.9/32
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
disable_dns_lookups = yes
alias_maps =
alias_database =
biff = no
""")
        services = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""
        (conf / "master.cf").write_text(f"{HOST}:{self.smtp} inet n - n - - smtpd{services}")
        run("postfix", "-c", conf, "check")
        # `-d` keeps the master in the foreground, so its pid is ours to stop.
        self.launch([self._daemons() / "master", "-c", conf, "-d"], self.smtp)

    def settle(self):
        until = time.monotonic() + 15
        while time.monotonic() < until and any(self._queued("incoming")) | any(self._queued("active")):
            time.sleep(0.05)

    def _queued(self, queue):
        return (file for file in (self.spool / queue).rglob("*") if file.is_file())

    @staticmethod
    def _daemons():
        return pathlib.Path(run("postconf", "-dh", "daemon_directory").decode().strip())


class Nginx(Server):
    """Static files over HTTP/1.1 and HTTP/2, one worker for each core, no access log."""

    name = "nginx"

    def start(self):
        self.https = free_port()
        files = self.directory / "files"
        files.mkdir()
        self.directory.chmod(0o755)
        conf = self.directory / "nginx.conf"
        temporary = "".join(f"  {kind}_temp_path {self.directory}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf.write_text(f"""
daemon off; user www-data; worker_processes {os.cpu_count()};
pid {self.directory}/pid; error_log {self.directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; default_type application/octet-stream;
{temporary}  server {{
    listen {HOST}:{self.https} ssl http2; server_name localhost; root {files};
    ssl_certificate {self.tls.cert}; ssl_certificate_key {self.tls.key}; ssl_protocols TLSv1.2 TLSv1.3;
  }}
}}
""")
        self.launch(["nginx", "-c", conf], self.https)

    def publish(self, file):
        shutil.copyfile(file, self.directory / "files" / file.name)
        return f"https://{HOST}:{self.https}/{file.name}"


class Vsftpd(Server):
    """Anonymous log-in, so that it needs no system account; TLS on both connections."""

    name = "vsftpd"

    def start(self):
        self.ftp = free_port()
        self.directory.chmod(0o755)
        empty, files = self.directory / "empty", self.directory / "files"
        empty.mkdir()
        files.mkdir()
        (files / "in").mkdir()
        shutil.chown(files / "in", "ftp")  # the user that the package makes
        conf = self.directory / "vsftpd.conf"
        conf.write_text("\n".join([
            "listen=YES", f"listen_address={HOST}", f"listen_port={self.ftp}", "background=NO",
            "anonymous_enable=YES", "local_enable=NO", "ftp_username=ftp", f"anon_root={files}",
            "write_enable=YES", "anon_upload_enable=YES", "anon_other_write_enable=YES", "anon_umask=022",
            "anon_world_readable_only=NO", f"secure_chroot_dir={empty}", "seccomp_sandbox=NO",
            "ssl_enable=YES", "allow_anon_ssl=YES", "force_anon_logins_ssl=YES", "force_anon_data_ssl=YES",
            "require_ssl_reuse=NO", "ssl_ciphers=HIGH", f"rsa_cert_file={self.tls.both}",
            "port_enable=NO", f"pasv_address={HOST}", "pasv_min_port=41000", "pasv_max_port=41200", "xferlog_enable=NO",
        ]) + "\n")
        self.launch(["vsftpd", conf], self.ftp)

    def login(self):
        return "anonymous:bench"

    def path(self, name):
        return f"in/{name}"

    def stored(self, name):
        """The file that is not synced yet when the upload is answered."""
        return self.directory / "files" / "in" / name


class Dovecot(Server):
    """IMAP and POP3 on mailboxes in Maildir, as most guides set Debian's package up (of itself it takes mbox).

    The log-in processes serve many clients each, which is what its manual advises for load; with the package's own
    setting, one process for each session, it would need far more memory.
    """

    name = "Dovecot"
    LIMITS = {"imap-login": "service_count = 0\n  process_min_avail = 2\n  client_limit = 9000\n  process_limit = 2",
              "pop3-login": "service_count = 0\n  process_min_avail = 1\n  client_limit = 1000\n  process_limit = 2",
              "imap": "process_limit = 9000", "pop3": "process_limit = 1000", "auth": "client_limit = 24000",
              "anvil": "client_limit = 24000"}

    def __init__(self, directory, tls, users, hibernate=False):
        super().__init__(directory, tls)
        self.users, self.hibernate = users, hibernate
        self.format = os.environ.get("BENCH_DOVECOT", "maildir")

    def start(self):
        self.imap, self.imaps, self.pop3, self.pop3s = (free_port() for _ in range(4))
        mail = self.directory / "mail"
        mail.mkdir()
        shutil.chown(mail, "mail", "mail")
        self.directory.chmod(0o755)
        passwords = self.directory / "passwd"
        passwords.write_text("".join(f"{name}:{{PLAIN}}{PASSWORD}\n" for name in self.users))
        services = "".join(f"service {name} {{\n  {limits}\n}}\n" for name, limits in self.LIMITS.items())
        ports = "".join(f"service {service}-login {{\n  inet_listener {service} {{\n    port = {plain}\n  }}\n"
                        f"  inet_listener {service}s {{\n    port = {secure}\n    ssl = yes\n  }}\n}}\n"
                        for service, plain, secure in (("imap", self.imap, self.imaps),
                                                       ("pop3", self.pop3, self.pop3s)))
        conf = self.directory / "dovecot.conf"
        conf.write_text(f"""
base_dir = {self.directory}/run
state_dir = {self.directory}/state
instance_name = bench
log_path = {self.directory}/log
protocols = imap pop3
listen = {HOST}
mail_location = {self.format}:~/mail
mail_home = {mail}/%u
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{self.tls.cert}
ssl_key = <{self.tls.key}
mail_fsync = optimized
mail_max_userip_connections = 0
auth_cache_size = 10 M
default_client_limit = 24000
default_vsz_limit = 2 G
{services}{ports}namespace inbox {{
  inbox = yes
  mailbox Trash {{
    auto = create
  }}
  mailbox Archive {{
    auto = create
  }}
}}
passdb {{
  driver = passwd-file
  args = {passwords}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={mail}/%u
}}
{self.HIBERNATE if self.hibernate else ""}""")
        self.launch(["dovecot", "-F", "-c", conf], self.imap)

    def put(self, user, messages):
        """Writes [(content, whether it was read, when it came)] as files, if the format is Maildir: says whether."""
        if self.format != "maildir":
            return False
        home = self.directory / "mail" / user
        folders = [home, home / "mail", *(home / "mail" / name for name in ("cur", "new", "tmp"))]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        for number, (content, read, came) in enumerate(messages):
            file = folders[2] / f"{came}.M{number:06d}P1.bench,S={len(content)}:2,{'S' if read else ''}"
            file.write_bytes(content)
            os.utime(file, (came, came))
            shutil.chown(file, "mail", "mail")
        for folder in folders:
            shutil.chown(folder, "mail", "mail")
        return True

    # Hands sessions in IDLE to one small process; off in the package.
    HIBERNATE = """imap_hibernate_timeout = 5s
service imap-hibernate {
  client_limit = 9000
  unix_listener imap-hibernate {
    mode = 0666
  }
}
service imap {
  unix_listener imap-master {
    user = $default_internal_user
  }
}
"""
