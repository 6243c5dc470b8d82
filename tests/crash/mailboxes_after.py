"""The mailboxes read over IMAP after a kill, and compared with what was acknowledged before it."""

import itertools, re, threading
from collections import defaultdict

from content import number_of
from mailboxes_at_work import Writer
from model import COMMON, POOL, POOL_SIZE, WRITERS, Append, Create, Delete, Ledger, Rename, letter, part
from wire import Imap, uid_set, uids

FAULTS = {"lost": "IMAP: what was acknowledged is there",
          "between": "IMAP: what was not acknowledged is done or not done",
          "wrong": "IMAP: every message is the one that has its UID, byte for byte",
          "repeated": "IMAP: no UID, UIDVALIDITY or MAILBOXID was given twice",
          "back": "IMAP: UIDNEXT and HIGHESTMODSEQ never go back",
          "validity": "IMAP: a mailbox tells one UIDVALIDITY, until it is renamed",
          "counts": "IMAP: STATUS counts what is there",
          "refused": "IMAP: no command is refused"}
STATUS = re.compile(r'\* STATUS "?([^" ]+)"? \((.*)\)$')
ITEMS = "MESSAGES UNSEEN DELETED SIZE UIDVALIDITY UIDNEXT HIGHESTMODSEQ MAILBOXID"


class Mailboxes:
    """One account's, over all rounds: `content` is what they must hold."""

    def __init__(self, server, name, password):
        self.server, self.user, self.lock = server, (name, password), threading.Lock()
        self.content, self.faults = {}, defaultdict(list)
        self.ledger = Ledger(self.faults)
        self.numbers = [itertools.count(WRITERS * POOL_SIZE + writer, WRITERS) for writer in range(WRITERS)]
        self.acknowledged = self.open = self.done = self.reads = 0

    def furnish(self):
        imap = Imap(self.server.port["imaps"], *self.user)
        for name in (*COMMON, POOL):
            self.acknowledge(Create(name), imap.command(f"CREATE {name}"))
        append = Append(POOL, [(number, frozenset()) for number in range(POOL_SIZE)])
        self.acknowledge(append, imap.command(*append.words()))
        self.pool = list(self.content[POOL])

    def crew(self):
        return [Writer(self, writer) for writer in range(WRITERS)]

    def acknowledge(self, command, answer):
        """Notes what a tagged OK promises."""
        told, given = answer.code(command.code) if command.code else None, []
        match command:
            case Create(name):
                self.ledger.made(name, told[0].strip("()"))
            case Delete(name):
                self.ledger.names.pop(name)
            case Rename():
                self.ledger.renamed(command.names(self.content))
            case _ if command.code:
                self.ledger.told(command.to, int(told[0]))
                given = uids(told[-1])
        try:
            command.apply(self.content, given)
        except ValueError:
            self.faults["lost"].append((command, answer.tagged))
        if given:
            numbers = [self.content[command.to][uid][0] for uid in given]
            self.ledger.give(command.to, given, numbers)

    def verify(self, crew=(), again=False):
        """Reads everything after a restart; the bytes of what is new, or of all."""
        imap = Imap(self.server.port["imaps"], *self.user)
        answer = imap.command(f'LIST "" "*" RETURN (STATUS ({ITEMS}))')
        matches = [match for text, _ in answer.untagged if (match := STATUS.match(text.decode()))]
        listing = {match[1]: dict(re.findall(r"([A-Z]+) \(?(\w+)\)?", match[2])) for match in matches}
        self.same_mailboxes(listing)
        found = {}
        for name, status in listing.items():
            book = self.no_step_back(name, status)
            if name in (*COMMON, POOL) or name.startswith("Own"):
                book.whole = set() if again else book.whole
                found[name] = self.read(imap, name, status, book)
            book.floor = book.uidnext
        for writer in crew:
            self.acknowledged += writer.acknowledged
            self.open += writer.open is not None
            self.resolve(writer, found)
        self.content = found

    def same_mailboxes(self, listing):
        """A name has the mailbox that it had; with another name it is the same one."""
        names = {name: status["MAILBOXID"] for name, status in listing.items()}
        for name, ident in names.items():
            before = self.ledger.names.get(name)
            if before not in (None, ident):
                self.faults["lost"].append(f"{name} was {before} and is {ident}")
            if ident not in self.ledger.books:
                self.ledger.made(name, ident)
            elif before is None:
                self.ledger.books[ident].validity = None
        self.ledger.names = names

    def no_step_back(self, name, status):
        book = self.ledger.books[self.ledger.names[name]]
        uidnext, modseq = int(status["UIDNEXT"]), int(status["HIGHESTMODSEQ"])
        if uidnext < book.uidnext or modseq < book.modseq:
            self.faults["back"].append((name, status, f"had been {book.uidnext} and {book.modseq}"))
        return self.ledger.told(name, int(status["UIDVALIDITY"]), uidnext, modseq)

    def read(self, imap, name, status, book):
        """The messages of a mailbox, whose counts must be right."""
        told = imap.command(f"EXAMINE {name}")
        messages, sizes, modseqs = {}, {}, [0]
        for uid, text, _ in imap.command("UID FETCH 1:* (UID FLAGS MODSEQ RFC822.SIZE)").fetched():
            flags = re.search(r"FLAGS \(([^)]*)\)", text.decode())[1].split()
            messages[uid] = frozenset(flags) - {"\\Recent"}
            sizes[uid] = int(re.search(rb"RFC822.SIZE (\d+)", text)[1])
            modseqs.append(int(re.search(rb"MODSEQ \((\d+)\)", text)[1]))
        self.bytes(imap, name, book, sizes)
        seen = {"MESSAGES": len(messages), "UNSEEN": sum("\\Seen" not in flags for flags in messages.values()),
                "DELETED": sum("\\Deleted" in flags for flags in messages.values()), "SIZE": sum(sizes.values()),
                "UIDNEXT": int(told.code("UIDNEXT")[0]), "HIGHESTMODSEQ": int(told.code("HIGHESTMODSEQ")[0])}
        if any(int(status[item]) != value for item, value in seen.items()):
            self.faults["counts"].append((name, status, seen))
        if max(messages, default=0) >= seen["UIDNEXT"] or max(modseqs) > seen["HIGHESTMODSEQ"]:
            self.faults["back"].append((name, seen, max(messages, default=0), max(modseqs)))
        return {uid: (book.given.get(uid), flags) for uid, flags in messages.items()}

    def bytes(self, imap, name, book, sizes):
        """Reads the messages whose bytes nobody has read yet."""
        unread = sorted(set(sizes) - book.whole)
        answer = imap.command(f"UID FETCH {uid_set(unread)} (UID BODY.PEEK[])") if unread else None
        for uid, text, literals in answer.fetched() if answer else ():
            number, known = number_of(literals[0]), book.given.get(uid)
            if known is None:
                self.ledger.give(name, [uid], [number])
            if literals[0] != letter(number) or known not in (None, number) or sizes[uid] != len(literals[0]):
                self.faults["wrong"].append((name, uid, f"{number} instead of {known}", len(literals[0]), sizes[uid]))
            book.whole.add(uid)
            self.reads += 1

    def resolve(self, writer, found):
        """A writer's messages are as acknowledged, the command that was open at the kill being done or not."""
        there, expected = part(found, writer.writer), part(self.content, writer.writer)
        off = differences(expected, there)
        if not off:
            return
        command = writer.open
        if command:
            new = sorted(set(there.get(command.to, ())) - set(expected.get(command.to, ())))
            try:
                command.apply(expected, new)
            except ValueError:
                pass  # more or fewer than it would have made
            else:
                if expected == there:
                    self.done += 1
                    return
        untouched = [(where, was) for where, was, _ in off if was is not None and not touches(command, *where)]
        self.faults["lost" if untouched else "between"].append((writer.writer, command, off))

    def report(self, report):
        print(f"IMAP: {self.acknowledged} commands acknowledged, {self.open} open at a kill ({self.done} done), "
              f"{self.reads} messages read, {len(self.faults['lost'])} lost, {len(self.faults['repeated'])} repeated")
        for fault, what in FAULTS.items():
            found = [one for at, one in enumerate(self.faults[fault]) if one not in self.faults[fault][:at]]
            report.check(what, self.acknowledged and not found, found)


def differences(expected, there):
    """Mailboxes and messages that are not as expected: where, what was expected, what is there."""
    found = []
    for name in expected.keys() | there.keys():
        if name not in expected or name not in there:
            found.append(((name, None), expected.get(name), there.get(name)))
            continue
        for uid in expected[name].keys() | there[name].keys():
            if expected[name].get(uid) != there[name].get(uid):
                found.append(((name, uid), expected[name].get(uid), there[name].get(uid)))
    return found


def touches(command, name, uid):
    """Whether a command may have changed that message, or that mailbox as a whole."""
    if isinstance(command, (Delete, Rename)):
        return f"{name}/".startswith(command.name + "/")
    return command is not None and name == command.mailbox and uid in command.uids
