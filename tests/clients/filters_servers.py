"""rspamd and clamd as content filters, private to a test: each in a temporary folder, on free ports of loopback, as the
current user, without a download and without a question to DNS elsewhere."""

import socket, urllib.request

from servers import Server, free_ports

# What every scanner for viruses takes for one (EICAR), in two parts, so that this file is not taken for it.
EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def gtube(first="X"):
    """The line that rspamd refuses (X), marks (Y), or wants the subject of rewritten for (Z), whatever else it finds. A
    body needs more than this line alone, a line end at least."""
    return f"{first}JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class Rspamd(Server):
    """A worker that takes requests at `url`, with one rule of its own: the symbol ENVELOPE and a header field tell what
    it was told of the message."""

    RULE = """
rspamd_config:register_symbol({name = 'ENVELOPE', score = 0.0, callback = function(task)
  local told = {tostring(task:get_from_ip()), task:get_helo() or '', task:get_hostname() or '', task:get_user() or ''}
  for _, from in ipairs(task:get_from('smtp') or {}) do table.insert(told, from.addr) end
  for _, to in ipairs(task:get_recipients('smtp') or {}) do table.insert(told, to.addr) end
  task:set_milter_reply({add_headers = {['X-Envelope'] = table.concat(told, ' ')}})
  return true, table.concat(told, ' ')
end})
rspamd_config:register_symbol({name = 'LATER', score = 0.0, callback = function(task)
  if (task:get_subject() or ''):find('later') then task:set_pre_result('soft reject', 'Come back later') end
end})
"""

    def __init__(self, number=None):
        super().__init__("rspamd", last="TERM")  # killed, it would leave its workers behind
        self.port = number or free_ports(1)[0]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        rule, config, user = self.folder / "rule.lua", self.folder / "rspamd.conf", self.folder.owner()
        rule.write_text(self.RULE)
        (self.folder / "plugins").mkdir(exist_ok=True)
        # No plugins, and a DNS server that is not there: nothing leaves this machine.
        config.write_text(f"""
lua = "{rule}";
options {{
    filters = "";
    pidfile = "{self.folder}/pid";
    tempdir = "{self.folder}";
    cache_file = "{self.folder}/symbols.cache";
    hs_cache_dir = "{self.folder}";
    history_file = "{self.folder}/history";
    control_socket = "{self.folder}/control mode=0600";
    url_tld = "/usr/share/rspamd/effective_tld_names.dat";
    dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }}
    local_addrs = [];
    gtube_patterns = "all";
    enable_test_patterns = true;
}}
logging {{ type = "console"; level = "info"; color = false; }}
worker "normal" {{ bind_socket = "127.0.0.1:{self.port}"; count = 1; mime = true; task_timeout = 8s; }}
actions {{ reject = 15; add_header = 6; greylist = 4; rewrite_subject = 8; }}
modules {{ path = "{self.folder}/plugins"; }}
""")
        self.spawn("rspamd", "--no-fork", "--insecure", "--user", user, "--group", self.folder.group(), "-c", config)
        return self.ready(lambda: urllib.request.urlopen(f"{self.url}/ping", timeout=5).status == 200)


class Clamd(Server):
    """A scanner that knows one signature of its own beside the test virus, Test.Wharf: the words in `VIRUS`. It listens
    at `address`, a Unix socket or a port."""

    VIRUS = "the rats are leaving the ship by the third hawser"

    def __init__(self, unix=False, limit="30M"):
        super().__init__("clamd")
        self.limit = limit
        self.address = f"{self.folder}/clamd.ctl" if unix else f"127.0.0.1:{free_ports(1)[0]}"

    def start(self):
        database, config = self.folder / "database", self.folder / "clamd.conf"
        database.mkdir(exist_ok=True)
        signature = "".join(f"{ord(sign):02x}" for sign in self.VIRUS)
        test = EICAR.encode().hex()
        (database / "test.ndb").write_text(f"Test.Wharf:0:*:{signature}\nTest.Eicar:0:*:{test}\n")
        host, _, port = self.address.rpartition(":")
        listen = f"TCPSocket {port}\nTCPAddr {host}" if host else f"LocalSocket {self.address}"
        config.write_text(f"""Foreground yes
DatabaseDirectory {database}
TemporaryDirectory {self.folder}
PidFile {self.folder}/pid
LogTime yes
SelfCheck 0
MaxThreads 4
StreamMaxLength {self.limit}
MaxFileSize {self.limit}
MaxScanSize {self.limit}
{listen}
""")
        (self.folder / "clamd.ctl").unlink(missing_ok=True)
        self.spawn("clamd", "--config-file", config)
        return self.ready(self.pong)

    def pong(self):
        unix = self.address.startswith("/")
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as asked:
            asked.settimeout(5)
            asked.connect(self.address if unix else ("127.0.0.1", int(self.address.rpartition(":")[2])))
            asked.sendall(b"zPING\0")
            return asked.recv(100) == b"PONG\0"
