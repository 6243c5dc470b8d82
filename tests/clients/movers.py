"""Mail as other programs leave it, and archives that they have touched: what import and export make of it."""

import collections, fcntl, imaplib, mailbox, os, pty, re, select, shutil, struct, subprocess, termios, time

import ftps
from harness import BINARY
from marionette import Thunderbird

PASSWORD = "a long enough password"
# Thunderbird's local folders: messages from files, of which one is deleted, others are read, flagged and tagged.
FURNISH = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const [folder] = values;
const window = Services.wm.getMostRecentWindow("mail:3pane");
MailServices.accounts.createLocalMailAccount();
const root = MailServices.accounts.localFoldersServer.rootFolder;
root.createSubfolder("Empty", null);
root.createSubfolder("Keep", null);
const keep = root.getChildNamed("Keep");
keep.createSubfolder("Below", null);
const heard = call => new Promise((resolve, reject) => call({
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return ""; },
  onStopCopy(status) { Components.isSuccessCode(status) ? resolve() : reject(new Error(`copy: ${status}`)); },
  QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
}));
const file = number => {
  const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
  file.initWithPath(`${folder}/${number}.eml`);
  return file;
};
for (const number of [0, 1, 2, 3])
  await heard(listener => MailServices.copy.copyFileMessage(file(number), keep, null, false, 0, "", listener,
                                                            window.msgWindow));
const all = [...keep.messages];
keep.markMessagesRead([all[0], all[2]], false);
keep.markMessagesRead([all[1]], true);
keep.markMessagesFlagged([all[1]], true);
keep.addKeywordsToMessages([all[2]], "$Label1 work");
keep.addMessageDispositionState(all[2], Ci.nsIMsgFolder.nsMsgDispositionState_Forwarded);
await heard(listener => keep.deleteMessages([all[3]], window.msgWindow, true, false, listener, false));
return keep.filePath.parent.path;
"""


def message(number):
    lines = ["From: ann@example.org", f"Subject: {number}", f"Message-ID: <{number}@example.org>",
             "Date: Sun, 9 Sep 2001 01:46:40 +0000", "", "Hello.", "", "From me to you", ">From the past", "",
             "From ann@example.org Sun Sep  9 01:46:40 2001", "", "From ", "", ""]
    return "\r\n".join(lines).encode()


def login(daemon, account):
    client = imaplib.IMAP4_SSL("127.0.0.1", daemon.port["imaps"], ssl_context=ftps.context(), timeout=60)
    client.login(account, PASSWORD)
    return client


def held(daemon, account, name):
    """The messages of a mailbox with their flags, in their order."""
    box = login(daemon, account)
    try:
        box.select(f'"{name}"', readonly=True)
        _, answer = box.fetch("1:*", "(FLAGS BODY.PEEK[])")
        return [(set(re.search(rb"FLAGS \((.*?)\)", part[0] + rest)[1].decode().split()) - {"\\Recent"}, part[1])
                for part, rest in zip(answer[::2], answer[1::2])]
    finally:
        box.logout()


def names(daemon, account):
    box = login(daemon, account)
    try:
        return {line.decode().rsplit(' "/" ', 1)[1].strip('"') for line in box.list()[1]}
    finally:
        box.logout()


def take(daemon, *words):
    return daemon.cli("import", *map(str, words), check=False).stdout.splitlines()


def thunderbird(report, daemon, account):
    """What it wrote itself, and as others of its versions write it, whose separators have no date."""
    mails, folder = daemon.folder / "eml", daemon.folder / "thunderbird"
    mails.mkdir()
    for number in range(4):
        (mails / f"{number}.eml").write_bytes(message(number))
    client = Thunderbird()
    try:
        client.start({"app.update.enabled": False, "app.donation.eoy.version.viewed": 999,
                      "datareporting.policy.dataSubmissionEnabled": False,
                      "mail.provider.suppress_dialog_on_startup": True, "mailnews.start_page.enabled": False})
        shutil.copytree(client.do(FURNISH, str(mails)), folder)
    finally:
        client.stop()
    written = (folder / "Keep").read_bytes()
    wanted = [(set(), message(0)), ({"\\Seen", "\\Flagged"}, message(1)),
              ({"$Forwarded", "$Label1", "work"}, message(2))]
    for name, separator in (("Dated", None), ("Bare", b"From \r\n")):
        if separator:
            written = re.sub(rb"(?m)^From - .*\n", separator, written)
            (folder / "Keep").write_bytes(written)
        lines = take(daemon, "mbox", account, folder, "--mailbox", name)
        report.check(f"a folder of Thunderbird's is imported ({name.lower()} separators)", lines[:2] == [
            "3 messages imported, 0 were there already",
            "1 messages left out, which were deleted and not yet compacted away"], (lines, written))
        found = held(daemon, account, f"{name}/Keep")
        report.check("with flags and tags, without its own fields, to the byte",
                     found == wanted, found)
    empty = {f"Bare/{name}" for name in ("Empty", "Keep", "Keep/Below", "Trash")}
    report.check("and the folders without messages", empty <= names(daemon, account), names(daemon, account))


def mutt(path, keys):
    """Mutt on a terminal of its own, until it ends by itself."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm", HOME=str(path.parent))
        settings = f"set crypt_use_gpgme=no move=no quit=yes delete=yes folder={path.parent}"
        os.execvp("mutt", ["mutt", "-n", "-F", "/dev/null", "-f", str(path), "-e", settings, "-e", f"push '{keys}'"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    end, screen = time.monotonic() + 30, b""
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                screen += os.read(terminal, 65536)
            except OSError:
                break
    os.close(terminal)
    os.waitpid(process, 0)
    return screen


def by_python(path):
    box = mailbox.mbox(path)
    last = len(box) - 1
    item = box[last]
    item.set_flags("ROF")
    box[last] = item
    box.flush()
    box.close()


def archive(report, daemon, account):
    """An export to a file that a mail reader has written to, after what it holds was expunged here."""
    for reader, touch in (("mutt", lambda path: mutt(path, "<last-entry><flag-message><quit>")),
                          ("Python", by_python)):
        path = daemon.folder / f"{reader}.mbox"
        box = login(daemon, account)
        box.create(reader)
        for number in range(3):
            box.append(reader, "(a,b)", None, message(number))
        daemon.cli("export", "mbox", account, str(path), "--mailbox", reader)
        before = path.read_bytes()
        screen = touch(path)
        touched = path.read_bytes()
        report.check(f"{reader} flags the last message of an archive", touched != before, screen)
        line = daemon.cli("export", "mbox", account, str(path), "--mailbox", reader).stdout
        report.check("what it has is there", line == "0 messages exported, 3 were there already\n", line)
        box.select(reader)
        box.store("1:2", "+FLAGS", "\\Deleted")
        box.expunge()
        box.append(reader, None, None, message(3))
        box.logout()
        line = daemon.cli("export", "mbox", account, str(path), "--mailbox", reader).stdout
        report.check("and more is added to it", line == "1 messages exported, 1 were there already\n"
                     and path.read_bytes().startswith(touched), line)
        lines = take(daemon, "mbox", account, path, "--mailbox", f"{reader}-back")
        found = held(daemon, account, f"{reader}-back")
        report.check("all of it comes back, as the reader has left it", lines[0].startswith("4 messages imported")
                     and [content for _, content in found] == [message(number) for number in range(4)]
                     and [flags - {"\\Seen"} for flags, _ in found]
                     == [{"a,b"}, {"a,b"}, {"a,b", "\\Flagged"}, set()], (lines, found))


def folders(report, daemon, account):
    """Folders that have nothing in them, or are links."""
    box = login(daemon, account)
    box.create("Empty/Deep")
    box.create("Comma")
    box.append("Comma", "(a,b $Label1)", None, message(1))
    box.logout()
    for form in ("maildir", "mbox"):
        to = daemon.folder / f"empty-{form}"
        daemon.cli("export", form, account, str(to))
        lines = take(daemon, form, account, to, "--mailbox", f"Again-{form}")
        wanted = {f"Again-{form}/{name}" for name in ("Empty/Deep", "Comma")}
        found = names(daemon, account)
        report.check(f"a {form} folder without a message is a mailbox", wanted <= found, (lines, found))
        found = held(daemon, account, f"Again-{form}/Comma")
        report.check("a keyword with a comma is one", [flags for flags, _ in found] == [{"a,b", "$Label1"}], found)
    linked = daemon.folder / "linked"
    for name in ("cur", "new", "tmp", ".Real/cur", ".Real/new"):
        (linked / name).mkdir(parents=True)
    (linked / ".Link").symlink_to(linked / ".Real")
    lines = take(daemon, "maildir", account, linked, "--mailbox", "Linked")
    report.check("a link to a folder is named", len(lines) == 2 and "Link: it is a link" in lines[1], lines)
    found = collections.Counter(name for name in names(daemon, account) if name.startswith("Linked"))
    report.check("and the others are made", found == {"Linked": 1, "Linked/Real": 1}, found)


def hostile(report, daemon, account):
    """Folders by whom nobody trusts, of which whoever runs the command can read and write more."""
    secret, root = daemon.folder / "secret", daemon.folder / "hostile"
    secret.mkdir()
    (secret / "message").write_bytes(b"Subject: secret\n\n")
    for name in ("cur", "new", "tmp", ".Sub"):
        (root / name).mkdir(parents=True)
    os.mkfifo(root / "dovecot-keywords")
    (root / ".Sub" / "cur").symlink_to(secret)
    (root / "cur" / "1.a:2,S").symlink_to(secret / "message")
    (root / "cur" / "2.a:2,Sa").write_bytes(message(1))
    lines = take(daemon, "maildir", account, root, "--mailbox", "Hostile")
    report.check("pipes and links in a Maildir neither hang an import nor lead it elsewhere", len(lines) == 3
                 and lines[0].startswith("1 messages imported") and "link" in lines[1] and "link" in lines[2], lines)
    os.mkfifo(daemon.folder / "pipe")
    lines = take(daemon, "mbox", account, daemon.folder / "pipe", "--mailbox", "Hostile")
    report.check("nor does a pipe for an mbox", "it is not a file" in lines[1], lines)
    for form, place in (("mbox", "Comma.mbox"), ("maildir", ".Comma")):
        to, elsewhere = daemon.folder / f"hostile-{form}", daemon.folder / f"elsewhere-{form}"
        to.mkdir()
        (to / place).symlink_to(elsewhere)
        output = daemon.cli("export", form, account, str(to), check=False).stdout
        report.check(f"an export as {form} follows no link", "Comma: it is a link" in output
                     and not elsewhere.exists(), output)


def at_once(report, daemon, account):
    """Two imports of the same into the same: whoever comes second waits, or is told to."""
    path = daemon.folder / "once.mbox"
    separator = b"From ann@example.org Sun Sep  9 01:46:40 2001\n"
    path.write_bytes(b"".join(separator + message(number).replace(b"\r\nFrom ", b"\r\n>From ").replace(b"\r", b"")
                              for number in range(2000)))
    command = [BINARY, "--config", str(daemon.config), "import", "mbox", account, str(path), "--mailbox", "Once"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    output = [process.communicate()[0] for process in both]
    found = held(daemon, account, "Once")
    report.check("of two imports at once every message is there once", len(found) == 2000, (len(found), output))
