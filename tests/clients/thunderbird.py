"""Thunderbird under Xvfb, set up through autoconfig by what its account dialog uses, reads, flags, moves and deletes;
Python's imaplib judges on the server."""

import base64, pathlib, re, shutil, socket, tempfile, threading, time

from harness import Daemon, Report
from mailboxes import LETTERS, PASSWORD, PLAIN, deliver, furnish, held, message
from marionette import Thunderbird
from servers import certify

tempfile.tempdir = "/var/tmp"
NAME = "alice"


class Gate(threading.Thread):
    """The standard port of HTTPS for Thunderbird: a proxy that joins `localhost:443` to the daemon's port and nothing
    else."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            octets = client.recv(65536)
            if not octets:
                return
            head += octets
        asked = head.split(b"\r\n")[0].decode()
        if asked.startswith("CONNECT localhost:443 "):
            server = socket.create_connection(("127.0.0.1", self.port))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=self.pour, args=(server, client), daemon=True).start()
            self.pour(client, server)
        else:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        client.close()

    @staticmethod
    def pour(source, sink):
        try:
            while octets := source.recv(65536):
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def preferences(gate):
    script = ("function FindProxyForURL(url) { return url.startsWith('http') ? "
              f"'PROXY 127.0.0.1:{gate.listener.getsockname()[1]}' : 'DIRECT'; }}")
    return {"network.proxy.type": 2, "network.proxy.autoconfig_url": f"data:text/javascript,{script}",
            "network.proxy.allow_hijacking_localhost": True, "network.proxy.no_proxies_on": "",
            "mailnews.auto_config_url": "", "app.update.enabled": False, "app.donation.eoy.version.viewed": 999,
            "datareporting.policy.dataSubmissionEnabled": False, "mail.provider.suppress_dialog_on_startup": True,
            "mailnews.start_page.enabled": False, "mail.biff.show_alert": False, "mail.biff.play_sound": False,
            "mailnews.message_display.disable_remote_image": True, "mail.server.default.check_new_mail": True}


# What the account dialog does when a name, an address and a password are given: it finds, verifies and creates.
SET_UP = """
const [name, address, password] = values;
const load = module => ChromeUtils.importESModule(`resource:///modules/accountcreation/${module}.sys.mjs`)[module];
const signal = new AbortController().signal;
const { value: config } = await load("FindConfig").parallelAutoDiscovery("localhost", address, signal).next();
if (!config) throw new Error("no configuration was found");
load("AccountConfig").replaceVariables(config, name, address, password);
config.rememberPassword = true;
const window = Services.wm.getMostRecentWindow("mail:3pane");
const verified = await new (load("ConfigVerifier"))(window.msgWindow, signal).verifyConfig(config);
const account = await load("CreateInBackend").createAccountInBackend(verified);
const { incoming, outgoing } = config;
return { source: config.source, subsource: config.subSource, key: account.key,
         incoming: [incoming.type, incoming.hostname, incoming.port, incoming.socketType, incoming.username],
         outgoing: [outgoing?.hostname, outgoing?.port, outgoing?.socketType, outgoing?.username] };
"""
# What the other scripts begin with.
COMMON = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const window = Services.wm.getMostRecentWindow("mail:3pane");
const server = MailServices.accounts.accounts.find(one => one.incomingServer.type == "imap").incomingServer;
const pause = () => new Promise(resolve => window.setTimeout(resolve, 100));
const until = async (what, holds) => {
  for (let tries = 0; tries < 600; tries++) {
    const value = await holds();
    if (value) return value;
    await pause();
  }
  throw new Error(`in vain: ${what}`);
};
const folder = name => server.rootFolder.descendants.find(one => one.name == name || one.localizedName == name);
const heads = name => [...folder(name).messages];
const find = (name, subject) => until(`${subject} in ${name}`,
                                      () => heads(name).find(one => one.mime2DecodedSubject == subject));
const heard = call => new Promise((resolve, reject) => call({
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return ""; }, OnStartRunningUrl() {},
  onStopCopy(status) { Components.isSuccessCode(status) ? resolve() : reject(new Error(`copy: ${status}`)); },
  OnStopRunningUrl(url, status) { Components.isSuccessCode(status) ? resolve() : reject(new Error(`url: ${status}`)); },
  QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener", "nsIUrlListener"]),
}));
const update = name => heard(listener => folder(name).QueryInterface(Ci.nsIMsgImapMailFolder)
                                                     .updateFolderWithListener(window.msgWindow, listener));
"""
FOLDERS = COMMON + """
window.document.getElementById("tabmail").currentAbout3Pane.displayFolder(folder("Inbox").URI);
const [names, flags] = values;
const all = () => server.rootFolder.descendants;
await until("folders", () => names.every(folder) && flags.every(flag => all().some(one => one.getFlag(flag))));
return server.rootFolder.descendants.map(one => [one.localizedName, one.flags]);
"""
LIST = COMMON + """
await update(values[0]);
return heads(values[0]).map(one => [one.messageKey, one.mime2DecodedSubject, one.isRead]);
"""
# As who clicks on the folder and on the message.
READ = COMMON + """
const [name, subject, words] = values;
const pane = window.document.getElementById("tabmail").currentAbout3Pane;
pane.displayFolder(folder(name).URI);
const head = await find(name, subject);
const row = await until("the message in the list", () => {
  const index = pane.gDBView?.findIndexOfMsgHdr(head, true);
  return index >= 0 && index < 0xFFFFFFFF ? { index } : null;
});
pane.threadTree.selectedIndex = row.index;
const text = await until("its text on the screen", () => {
  const browser = pane.messageBrowser.contentWindow?.getMessagePaneBrowser?.();
  const body = browser?.contentDocument?.body?.textContent ?? "";
  return body.includes(words) && body;
});
await until("it is marked as read", () => head.isRead);
return text;
"""
RAW = COMMON + """
const head = await find(...values);
const uri = head.folder.getUriForMsg(head);
const { NetUtil } = ChromeUtils.importESModule("resource://gre/modules/NetUtil.sys.mjs");
return await new Promise((resolve, reject) => {
  let octets = "";
  MailServices.messageServiceFromURI(uri).streamMessage(uri, {
    onStartRequest() {},
    onDataAvailable(request, stream, offset, count) { octets += NetUtil.readInputStreamToString(stream, count); },
    onStopRequest(request, status) {
      Components.isSuccessCode(status) ? resolve(window.btoa(octets)) : reject(new Error(`stream: ${status}`));
    },
    QueryInterface: ChromeUtils.generateQI(["nsIStreamListener", "nsIRequestObserver"]),
  }, window.msgWindow, null, false, "");
});
"""
FLAG = COMMON + """
const head = await find(...values);
head.folder.markMessagesFlagged([head], true);
"""
MOVE = COMMON + """
const [from, subject, to] = values;
const head = await find(from, subject);
await heard(listener => MailServices.copy.copyMessages(folder(from), [head], folder(to), true, listener,
                                                       window.msgWindow, true));
"""
DELETE = COMMON + """
const [from, subject] = values;
const head = await find(from, subject);
await heard(listener => folder(from).deleteMessages([head], window.msgWindow, false, false, listener, true));
"""
ARRIVED = COMMON + """
return (await find(...values)).messageKey;
"""


def soon(holds, seconds=60):
    """Thunderbird tells the server after it has told us."""
    end = time.monotonic() + seconds
    while not (value := holds()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


def work(report, server, client):
    address = f"{NAME}@localhost"
    made = client.do(SET_UP, "Alice", address, PASSWORD)
    incoming = ["imap", "localhost", made["incoming"][2], made["incoming"][3], address]
    report.check("it is set up through autoconfig over HTTPS", made["incoming"] == incoming
                 and made["subsource"].endswith("https")
                 and made["incoming"][2] in (server.port["imap"], server.port["imaps"]), made)
    # nsMsgFolderFlags: Drafts, SentMail, Trash, Archive, Junk
    folders = dict(client.do(FOLDERS, [PLAIN, LETTERS, "Inbox"], [0x400, 0x200, 0x100, 0x4000, 0x40000000]))
    report.check("it sees the folders, and which are special", {PLAIN, LETTERS} <= set(folders), folders)
    seen = client.do(LIST, "Inbox")
    before = held(server, NAME)
    report.check("it lists every message with its subject", [line[0] for line in seen] == sorted(before)
                 and [line[1] for line in seen[:3]] == ["plain", "8bit ä", "attachment"] and seen[1][2], seen)
    return before


def judge(report, server, client, before):
    text = client.do(READ, "Inbox", "plain", "a plain text about herrings.")
    report.check("it shows the body of a message", "Hello," in text and "herrings" in text, text)
    report.check("which the server knows as seen", soon(lambda: "\\Seen" in held(server, NAME)[1][0]))
    raw = base64.b64decode(client.do(RAW, "Inbox", "attachment"))
    report.check("it reads a message with an attachment, octet by octet",
                 re.sub(rb"\r?\n", b"\r\n", raw) == before[3][1], raw[:300])
    client.do(FLAG, "Inbox", "dots")
    report.check("it flags", soon(lambda: "\\Flagged" in held(server, NAME)[4][0]))
    client.do(MOVE, "Inbox", "long lines", LETTERS)
    moved = soon(lambda: held(server, NAME, LETTERS).find("long lines")[2])
    report.check("it moves a message to another folder, octet by octet", moved == before[5][1]
                 and 5 not in held(server, NAME), moved[:200])
    client.do(DELETE, "Inbox", "nested")
    trashed = soon(lambda: held(server, NAME, "Trash").find("nested")[2])
    report.check("it deletes a message: it is in Trash", trashed == before[6][1] and 6 not in held(server, NAME))
    fresh = message(90, "just arrived", ["by IDLE"])
    deliver(server, [NAME], fresh)
    begun = time.monotonic()
    key = client.do(ARRIVED, "Inbox", "just arrived")
    report.check(f"a delivery is pushed to it: {time.monotonic() - begun:.1f} s", key == max(held(server, NAME)), key)


def main():
    report = Report("thunderbird")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-ca-"))
    authority = certify(folder, None)
    tls = f'[tls]\ncertificate = "{folder}/server.pem"\nkey = "{folder}/server.key"\n'
    server = Daemon(tls)
    server.certificate = authority
    server.start()
    client = Thunderbird()
    try:
        furnish(server, [NAME])
        gate = Gate(server.port["https"])
        client.trust(server.certificate)
        begun = time.monotonic()
        client.start(preferences(gate))
        before = work(report, server, client)
        judge(report, server, client, before)
        print(f"      {time.monotonic() - begun:.0f} s")
        report.whole(server)
    finally:
        client.stop()
        report.check("the server stops when told", server.stop() == 0)
        server.remove()
        shutil.rmtree(folder)
    report.end()


main()
