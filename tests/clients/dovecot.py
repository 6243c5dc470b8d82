"""Debian's Dovecot with the face of the harness's Daemon: what a clean run of a mail client's test looks like.
`PEER=dovecot imap.py` runs the clients against it; three checks fail there:
it takes passwords from loopback in the clear, twice, and has no SCRAM-SHA-256-PLUS."""

import imaplib, shutil

from servers import Server, certify, free_ports

BOXES = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Trash": "\\Trash", "Junk": "\\Junk", "Archive": "\\Archive"}


class Dovecot(Server):
    def __init__(self):
        super().__init__("dovecot")
        names = ("imap", "imaps", "pop3", "pop3s")
        self.port = dict(zip(names, free_ports(len(names))))
        self.data, self.passwords = self.folder / "mail", {}

    def start(self):
        self.data.mkdir()
        shutil.chown(self.data, "mail", "mail")
        self.folder.chmod(0o755)
        self.passwd().touch()
        self.certificate = certify(self.folder, None)
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(self.configuration())
        self.spawn("dovecot", "-F", "-c", configuration)
        return self.ready(lambda: imaplib.IMAP4("127.0.0.1", self.port["imap"]).shutdown() is None)

    def passwd(self):
        return self.folder / "passwd"

    def configuration(self):
        ports = "".join(f"service {name}-login {{\n inet_listener {name} {{\n port = {self.port[name]}\n }}\n"
                        f" inet_listener {name}s {{\n port = {self.port[name + 's']}\n ssl = yes\n }}\n }}\n"
                        for name in ("imap", "pop3"))
        boxes = "".join(f" mailbox {name} {{\n auto = subscribe\n special_use = {use}\n }}\n"
                        for name, use in BOXES.items())
        return f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
instance_name = test
log_path = {self.folder}/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
mail_plugins = quota
mail_location = mdbox:~/mail
mail_home = {self.data}/%n
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
mail_max_userip_connections = 1000
auth_username_format = %Ln
auth_mechanisms = plain login scram-sha-256
mail_attribute_dict = file:~/attributes
ssl_cert = <{self.folder}/server.pem
ssl_key = <{self.folder}/server.key
pop3_uidl_format = %v.%u
pop3_lock_session = yes
{ports}
protocol imap {{
  mail_plugins = quota imap_quota
  imap_metadata = yes
}}
namespace inbox {{
  inbox = yes
  separator = /
{boxes}}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1G
}}
passdb {{
  driver = passwd-file
  args = {self.passwd()}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={self.data}/%n
}}
"""

    def add(self, name, password, *more):
        self.passwords[name] = password
        with open(self.passwd(), "a") as passwords:
            passwords.write(f"{name}:{{PLAIN}}{password}\n")

    def log(self):
        path = self.folder / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        return super().stop() or 0
