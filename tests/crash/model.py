"""What the mailboxes must hold after a kill, and the commands that change it.

The mailboxes' content is a dict of names, each with a dict of UIDs, each with a message's number and its flags. Several
connections work on the same mailboxes, each on messages of its own: what becomes of one message is therefore known, but
for the command that was open at the kill.
"""

from dataclasses import dataclass, field

from content import message
from wire import uid_set

WRITERS = 3
COMMON = ["Common/a", "Common/b"]
POOL, POOL_SIZE = "Pool", 6  # its messages, the first ones made, belong to all: every writer has a keyword there
SIZES = [0, 1, 700, 700, 5_000, 5_000, 30_000, 65_536, 65_537, 300_000]


def letter(number):
    return message("i", number, SIZES)


def keyword(writer):
    return f"$Pool{writer}"


def part(content, writer):
    """What one writer alone answers for."""
    found = {}
    for name, messages in content.items():
        if name == POOL:
            found[name] = {uid: (number, flags & {keyword(writer)}) for uid, (number, flags) in messages.items()}
        elif name in COMMON:
            found[name] = {uid: kept for uid, kept in messages.items() if kept[0] % WRITERS == writer}
        elif name.startswith(f"Own{writer}/"):
            found[name] = dict(messages)
    return found


def listed(flags):
    return "(" + " ".join(sorted(flags)) + ")"


@dataclass
class Append:
    """One message or several."""
    to: str
    messages: list
    code = "APPENDUID"
    mailbox = None

    def words(self):
        """As it is sent: the text and the literals."""
        words, text = [], f"APPEND {self.to}"
        for number, flags in self.messages:
            words += [f"{text} {listed(flags)} ", letter(number)]
            text = ""
        return words

    def apply(self, content, uids):
        """What it makes of the mailboxes, if these are the UIDs that it gives."""
        content[self.to].update(zip(uids, self.messages, strict=True))


@dataclass
class Store:
    mailbox: str
    uids: list
    how: str
    flags: frozenset
    code = to = None

    def words(self):
        return [f"UID STORE {uid_set(self.uids)} {self.how} {listed(self.flags)}"]

    def apply(self, content, _):
        for uid in self.uids:
            number, flags = content[self.mailbox][uid]
            if self.how.startswith("+"):
                flags = flags | self.flags
            elif self.how.startswith("-"):
                flags = flags - self.flags
            else:
                flags = self.flags
            content[self.mailbox][uid] = number, flags


@dataclass
class Copy:
    mailbox: str
    uids: list
    to: str
    code, name = "COPYUID", "COPY"

    def words(self):
        return [f"UID {self.name} {uid_set(self.uids)} {self.to}"]

    def apply(self, content, uids):
        copies = [content[self.mailbox][uid] for uid in self.uids]
        content[self.to].update(zip(uids, copies, strict=True))


@dataclass
class Move(Copy):
    name = "MOVE"

    def apply(self, content, uids):
        super().apply(content, uids)
        for uid in self.uids:
            del content[self.mailbox][uid]


@dataclass
class Expunge:
    """Of those that are named, the ones with `\\Deleted`."""
    mailbox: str
    uids: list
    code = to = None

    def words(self):
        return [f"UID EXPUNGE {uid_set(self.uids)}"]

    def apply(self, content, _):
        for uid in self.uids:
            if "\\Deleted" in content[self.mailbox][uid][1]:
                del content[self.mailbox][uid]


@dataclass
class Create:
    name: str
    code, mailbox, to = "MAILBOXID", None, None

    def words(self):
        return [f"CREATE {self.name}"]

    def apply(self, content, _):
        content[self.name] = {}


@dataclass
class Delete:
    name: str
    code = mailbox = to = None

    def words(self):
        return [f"DELETE {self.name}"]

    def apply(self, content, _):
        del content[self.name]


@dataclass
class Rename:
    name: str
    new: str
    code = mailbox = to = None

    def words(self):
        return [f"RENAME {self.name} {self.new}"]

    def names(self, known):
        """Those that change: the mailbox's and those below it, with what they become."""
        family = [name for name in known if f"{name}/".startswith(self.name + "/")]
        return {name: self.new + name[len(self.name):] for name in family}

    def apply(self, content, _):
        for name, new in self.names(content).items():
            content[new] = content.pop(name)


@dataclass
class Book:
    """What a mailbox has told of itself. `given` has each UID that it was ever seen to give, with the message's number,
    `whole` those whose bytes were read."""
    validity: int | None = None
    floor: int = 1  # UIDNEXT when the daemon started: what comes is not below
    uidnext: int = 1
    modseq: int = 0
    given: dict = field(default_factory=dict)
    whole: set = field(default_factory=set)


class Ledger:
    """The books of all mailboxes there ever were, by MAILBOXID, and which names they have now."""

    def __init__(self, faults):
        self.books, self.names, self.validities, self.faults = {}, {}, {}, faults

    def made(self, name, ident):
        if ident in self.books:
            self.faults["repeated"].append(f"the MAILBOXID {ident} for {name}")
        self.names[name], self.books[ident] = ident, Book()

    def renamed(self, names):
        for name, new in names.items():
            self.names[new] = self.names.pop(name)
            self.books[self.names[new]].validity = None  # a new one, if the name had a later one before

    def told(self, name, validity, uidnext=1, modseq=0):
        """Notes what a mailbox says of itself; its UIDVALIDITY must be as it was."""
        ident = self.names[name]
        book = self.books[ident]
        if book.validity not in (None, validity):
            self.faults["validity"].append((name, ident, {book.validity, validity}))
        if self.validities.setdefault((name, validity), ident) != ident:
            self.faults["repeated"].append(f"UIDVALIDITY {validity} of {name}, for another mailbox")
        book.validity = validity
        book.uidnext, book.modseq = max(book.uidnext, uidnext), max(book.modseq, modseq)
        return book

    def give(self, name, uids, numbers):
        """Notes UIDs that were given to messages, each for the first time."""
        book = self.books[self.names[name]]
        for uid, number in zip(uids, numbers):
            if uid in book.given or uid < book.floor:
                self.faults["repeated"].append(f"UID {uid} of {name} for {number}, had been {book.given.get(uid)}, "
                                               f"UIDNEXT at the start {book.floor}")
            book.given[uid] = number
            book.uidnext = max(book.uidnext, uid + 1)
