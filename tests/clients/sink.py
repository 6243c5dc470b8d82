"""A mail server of our own that writes down what comes, from whom and when; a plan says where it fails."""

import asyncio, collections, re, socket, threading, time

Taken = collections.namedtuple("Taken", "recipient number client begun ended at")
STEPS = ("greeting", "mail", "rcpt", "data", "end")
CLOSE = "close"


class Sink:
    """Listens at once. `plan(step, argument)` is asked before each reply of `STEPS`: it gives None for yes, a reply to
    refuse with, or `CLOSE`; `delay(step, argument)` says how long that takes; `after(step, reply)` hears each reply as
    soon as it was written. A number is what the header field X-Number says, a client what EHLO says."""

    def __init__(self, address, port, plan=None, delay=None, after=None):
        self.address, self.port = address, port
        self.plan = plan or (lambda step, argument: None)
        self.delay, self.after = delay or (lambda step, argument: 0), after or (lambda step, reply: None)
        self.taken, self.connections = [], []
        self.open = self.most = 0
        self.loop = asyncio.new_event_loop()
        listening = socket.create_server((address, port), backlog=1000)
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(listening, ready), daemon=True)
        self.thread.start()
        ready.wait()

    def run(self, listening, ready):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_server(self.session, sock=listening, limit=1 << 24))
        self.loop.call_soon(ready.set)
        self.loop.run_forever()

    def stop(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    async def session(self, reader, writer):
        self.connections.append(time.time())
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await Conversation(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, Closed):
            pass
        finally:
            self.open -= 1
            writer.close()

    def arrivals(self):
        """What was taken of each recipient, in its order."""
        found = collections.defaultdict(list)
        for one in list(self.taken):
            found[one.recipient].append(one)
        return found


class Closed(Exception):
    """The plan ended the connection."""


class Conversation:
    """One connection."""

    def __init__(self, sink, reader, writer):
        self.sink, self.reader, self.writer = sink, reader, writer
        self.recipients, self.begun, self.client = [], None, ""

    async def say(self, step, argument, yes):
        """Answers as the plan wants; whether that was a yes."""
        await asyncio.sleep(self.sink.delay(step, argument))
        planned = self.sink.plan(step, argument)
        if planned == CLOSE:
            raise Closed
        reply = planned or yes
        if step == "end" and not planned:
            self.take(argument)
        self.writer.write(reply.encode() + b"\r\n")
        await self.writer.drain()
        self.sink.after(step, reply)
        return planned is None

    def take(self, content):
        number = re.search(rb"^X-Number: (\d+)\r$", content, re.M)
        for recipient in self.recipients:
            self.sink.taken.append(Taken(recipient, int(number[1]) if number else None, self.client, self.begun,
                                         self.ended, time.time()))

    async def run(self):
        if not await self.say("greeting", "", f"220 sink.test at {self.sink.address}"):
            return
        while line := await self.reader.readline():
            verb, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
            if not await self.command(verb.upper(), argument):
                return

    async def command(self, verb, argument):
        """Whether the connection goes on."""
        address = argument.partition("<")[2].partition(">")[0]
        if verb in ("EHLO", "HELO"):
            self.client = argument
            self.writer.write(b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250 8BITMIME\r\n")
        elif verb == "MAIL":
            self.recipients, self.begun = [], time.time()
            if not await self.say("mail", address, "250 2.1.0 yes"):
                self.begun = None
        elif verb == "RCPT":
            if self.begun and await self.say("rcpt", address, "250 2.1.5 yes"):
                self.recipients.append(address)
            elif not self.begun:
                self.writer.write(b"503 5.5.1 whose\r\n")
        elif verb == "DATA" and not self.recipients:
            self.writer.write(b"554 5.5.1 for whom\r\n")
        elif verb == "DATA":
            if await self.say("data", address, "354 go on"):
                content = await self.reader.readuntil(b"\r\n.\r\n")
                self.ended = time.time()
                await self.say("end", content, "250 2.0.0 taken")
            self.recipients, self.begun = [], None
        elif verb == "QUIT":
            self.writer.write(b"221 2.0.0 bye\r\n")
            await self.writer.drain()
            return False
        else:
            self.recipients, self.begun = [], None
            self.writer.write(b"250 2.0.0 yes\r\n" if verb in ("RSET", "NOOP") else b"502 5.5.1 what\r\n")
        await self.writer.drain()
        return True
