"""The writers that change mailboxes over IMAP until the daemon is killed, and note each command and its tagged OK."""

import random, threading

from model import COMMON, POOL, POOL_SIZE, WRITERS, keyword
from model import Append, Copy, Create, Delete, Expunge, Move, Rename, Store
from wire import Imap

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted", "$Forwarded", "$Junk", "work", "later"]
MANY = 40  # messages of one writer; above it makes no more until some are expunged


class Writer(threading.Thread):
    def __init__(self, work, writer):
        super().__init__(daemon=True)
        self.work, self.writer, self.numbers = work, writer, work.numbers[writer]
        self.selected, self.open, self.acknowledged = None, None, 0

    def run(self):
        try:
            self.imap = Imap(self.work.server.port["imaps"], *self.work.user)
            while True:
                self.once(self.choose())
        except (OSError, EOFError):
            pass  # killed under our hands

    def once(self, command):
        if command.mailbox and (command.mailbox != self.selected or random.random() < 0.3):
            self.select(command.mailbox)
        self.open = command
        answer = self.imap.command(*command.words(), wait=random.random() < 0.3)
        with self.work.lock:
            if answer.ok:
                self.acknowledged += 1
                self.work.acknowledge(command, answer)
            else:
                self.work.faults["refused"].append((command, answer.tagged))
            self.open = None

    def select(self, name):
        answer = self.imap.command(f"SELECT {name}")
        with self.work.lock:
            if answer.ok:
                self.selected = name
                told = (int(answer.code(code)[0]) for code in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ"))
                self.work.ledger.told(name, *told)
            else:
                self.work.faults["refused"].append((f"SELECT {name}", answer.tagged))

    def choose(self):
        """The next command, on messages of its own."""
        with self.work.lock:
            mine = {name: [uid for uid, (number, _) in messages.items() if number % WRITERS == self.writer]
                    for name, messages in self.work.content.items()
                    if name in COMMON or name.startswith(f"Own{self.writer}/")}
        full = [name for name in mine if mine[name]]
        if not full:
            return self.append(mine)
        name = random.choice(full)
        some = sorted(random.sample(mine[name], random.randint(1, len(mine[name]))))
        if sum(map(len, mine.values())) > MANY:
            return random.choice([Expunge(name, mine[name]), Store(name, some, "+FLAGS", frozenset(["\\Deleted"]))])
        choices = [(self.append, 5, mine), (self.store, 5, name, some), (self.pool, 2), (self.folder, 2, mine),
                   (Copy, 2, name, some[:5], random.choice(list(mine))), (Expunge, 3, name, some),
                   (Move, 4, name, some, random.choice(list(mine)))]
        make, _, *words = random.choices(choices, [choice[1] for choice in choices])[0]
        return make(*words)

    def append(self, mine):
        count = random.choice([1, 1, 2, 5])
        return Append(random.choice(list(mine)), [(next(self.numbers), self.flags()) for _ in range(count)])

    def flags(self):
        return frozenset(random.sample(FLAGS, random.choice([0, 1, 1, 3])))

    def store(self, name, some):
        how = random.choice(["+FLAGS", "-FLAGS", "FLAGS"]) + random.choice(["", ".SILENT"])
        return Store(name, some, how, self.flags())

    def pool(self):
        """A keyword of its own on messages that the others have theirs on at the same time."""
        some = sorted(random.sample(self.work.pool, random.randint(1, POOL_SIZE)))
        return Store(POOL, some, random.choice(["+FLAGS", "-FLAGS"]), frozenset([keyword(self.writer)]))

    def folder(self, mine):
        """Names are few, so that they come again."""
        tops = [f"Own{self.writer}/{letter}" for letter in "abc"]
        there = [name for name in mine if name not in COMMON]
        free = [name for name in tops + [f"{tops[0]}/below"] if name not in there]
        unused = [name for name in tops if not any(f"{one}/".startswith(name + "/") for one in there)]
        choices = [Create(random.choice(free))] if free else []
        if there:
            choices.append(Delete(random.choice(there)))
        if unused and set(tops) & set(there):
            choices.append(Rename(random.choice(sorted(set(tops) & set(there))), random.choice(unused)))
        chosen = random.choice(choices)
        if not isinstance(chosen, Create):
            self.selected = None
        return chosen
