"""What hostile.py plays: for each case the servers of a domain, by preference, and what becomes of each recipient. An
expectation is a regular expression over `sent`, `failed STATUS`, `kept: what the queue says` and `kept long: …`."""

import dataclasses, time

PLAIN, EARLY, LARGE = "plain", "8-bit", "large"
TLS = "TLS"
OFFERS = ("PIPELINING", "8BITMIME", "SIZE 50000000", "SMTPUTF8")


@dataclasses.dataclass
class Theirs:
    """A server, as Sink takes it."""
    script: dict = dataclasses.field(default_factory=dict)
    offers: tuple = OFFERS
    tls: str = ""


@dataclasses.dataclass
class Case:
    name: str
    servers: list  # nothing for a host where nobody listens
    expected: dict
    text: str = PLAIN
    options: tuple = ()
    talks: list = None  # how many conversations each server has
    taken: list = None  # how many messages each server has taken
    also: dict = dataclasses.field(default_factory=dict)
    endless: bool = False


def one(name, script, expected, second=False, **more):
    """A case of one recipient; `second` brings another host, where all goes well."""
    offers, tls = more.pop("offers", OFFERS), more.pop("tls", "")
    return Case(name, [Theirs(script, offers, tls), *([Theirs()] if second else [])], {"user": expected}, **more)


def endless(piece):
    """Says the same for ever, or until the client has enough; what was said is counted."""
    def answer(talk, _):
        talk.spent = 0
        while talk.spent < 64 << 20:
            talk.say(piece)
            talk.spent += len(piece)
    return answer


def few(sinks, *_):
    return all(getattr(talk, "spent", 1 << 40) < 24 << 20 for talk in sinks[0].talks)


def behind(first, then, seconds=0.2):
    """Says two things, the second after a while."""
    def answer(talk, _):
        talk.say(first)
        time.sleep(seconds)
        return then
    return answer


def replies(*answers):
    """One answer after another; the last one for ever."""
    left = list(answers)

    def answer(talk, line):
        said = left.pop(0) if len(left) > 1 else left[0]
        return said(talk, line) if callable(said) else said
    return answer


def take(talk, content):
    talk.sink.taken.append(content)
    return b"250 2.0.0 taken\r\n"


def first(action):
    """Does it the first time alone."""
    done = []

    def during(talk):
        if not done:
            done.append(talk)
            action(talk)
    return during


def drip(talk):
    for octet in b"220-" + b"x" * 300:
        talk.say(bytes([octet]))
        time.sleep(1)


def read(talk, octets=50_000):
    while len(talk.left) < octets:
        talk.more()


def premature(talk):
    read(talk)
    talk.say(b"250 2.0.0 taken already\r\n")


def too_much(talk):
    """Refuses amid the content, and is gone."""
    read(talk)
    talk.say(b"552 5.3.4 too much\r\n")
    time.sleep(0.5)
    raise EOFError("too much")


def vanish(talk):
    read(talk)
    raise EOFError("gone amid the content")


def limited(number, refusal=b"452 4.5.3 too many recipients\r\n"):
    """No more recipients than that in a transaction."""
    def mail(talk, _):
        talk.count = 0
        return b"250 ok\r\n"

    def rcpt(talk, line):
        talk.count += 1
        if talk.count > number:
            return refusal
        talk.sink.known = getattr(talk.sink, "known", []) + [line.partition(b"<")[2].partition(b">")[0].decode()]
        return b"250 ok\r\n"
    return {"MAIL": mail, "RCPT": rcpt}


def by_name(**answers):
    """RCPT, by the local part."""
    def rcpt(_, line):
        return answers[line.partition(b"<")[2].partition(b"@")[0].decode()]
    return {"RCPT": rcpt}


def alone(sinks, *_):
    """Nothing had come behind a command before it was answered."""
    return all(not talk.ahead for sink in sinks for talk in sink.talks)


def unclear(sinks, *_):
    """No envelope and no content went in the clear."""
    return all(b"MAIL FROM" not in talk.clear for sink in sinks for talk in sink.talks)


def clean(_, failed, recipient):
    """A notification is lines of what can be printed."""
    content = failed[recipient][1] if recipient in failed else b"\0"
    lone = content.replace(b"\r\n", b"")
    return not any(octet < 32 and octet != 9 or octet == 127 for octet in lone)


def labelled(_, failed, recipient):
    """Each part that is beyond ASCII says so (RFC 2045 section 6.2: without a word it is 7bit)."""
    parts = failed[recipient][1].split(b"\r\n--")[1:] if recipient in failed else [b"\xff"]
    return all(part.isascii() or b"Content-Transfer-Encoding: 8bit" in part.partition(b"\r\n\r\n")[0]
               for part in parts)


def short(_, failed, recipient):
    return recipient in failed and len(failed[recipient][1]) < 20_000


GREETINGS = [
    one("greeting 421", {"greeting": b"421 4.3.2 not now\r\n"}, r"kept: .*421.*", talks=[1]),
    one("greeting 450, another host", {"greeting": b"450 later\r\n"}, "sent", True, talks=[1, 1]),
    one("greeting 554", {"greeting": b"554 5.7.1 go away\r\n"}, r"kept: .*554.*", talks=[1]),
    one("greeting 554, another host", {"greeting": b"554 5.7.1 go away\r\n"}, "sent", True, talks=[1, 1]),
    one("greeting of another protocol", {"greeting": b"SSH-2.0-OpenSSH_9.2\r\n"}, r"kept: 4\.5\.0.*"),
    one("greeting that is garbage", {"greeting": bytes(range(256)) * 8}, r"kept: 4\.5\.0.*"),
    one("greeting 1yz", {"greeting": b"120 wait\r\n"}, r"kept: 4\.5\.0.*"),
    one("greeting 250", {"greeting": b"250 hello\r\n"}, r"kept: .*"),
    one("greeting with two codes", {"greeting": b"220-a\r\n250 b\r\n"}, r"kept: 4\.5\.0.*"),
    one("greeting without text", {"greeting": b"220\r\n"}, "sent"),
    one("no greeting", {"greeting": None}, r"kept: 4\.4\.2.*"),
    one("no greeting, another host", {"greeting": None}, "sent", True, talks=[1, 1]),
    one("greeting without an end", {"greeting": endless(b"220-x\r\n" * 1000)}, r"kept: 4\.5\.0.*",
        also={"the client has enough": few}),
    one("line without an end", {"greeting": endless(b"220 " + b"x" * 5000)}, r"kept: 4\.5\.0.*",
        also={"the client has enough": few}),
    one("more behind the greeting", {"greeting": b"220 hi\r\n250-x\r\n250 SIZE 1\r\n"}, r"kept: 4\.5\.0.*",
        taken=[0]),
    Case("nobody listens", [None], {"user": r"kept: 4\.4\.1.*"}),
]
HELLOS = [
    one("EHLO 500", {"EHLO": b"500 what?\r\n"}, "sent", talks=[1]),
    one("EHLO 502", {"EHLO": b"502 no\r\n"}, "sent", talks=[1]),
    one("EHLO 421", {"EHLO": b"421 not now\r\n"}, r"kept: .*421.*", talks=[1]),
    one("EHLO 550", {"EHLO": b"550 5.7.1 go away\r\n"}, r"failed 5\..*", talks=[1]),
    one("EHLO 550, another host", {"EHLO": b"550 go away\r\n"}, "sent", True, talks=[1, 1]),
    one("EHLO, then closed", {"EHLO": None}, r"kept: 4\.4\.2.*", talks=[1]),
    one("EHLO, then closed, another host", {"EHLO": None}, "sent", True, talks=[1, 1]),
    one("EHLO that is garbage", {"EHLO": b"what do you mean?\r\n"}, r"kept: 4\.5\.0.*"),
    one("EHLO without an end", {"EHLO": endless(b"250-X-THING\r\n" * 1000)}, r"kept: 4\.5\.0.*",
        also={"the client has enough": few}),
    one("EHLO with our own name", {"EHLO": b"250 mx.ours.test\r\n"}, r"failed 5\.4\.6", taken=[0]),
    one("EHLO with odd words", {"EHLO": b"250-x\r\n250-size=1\r\n250-SIZE abc\r\n250-AUTH=LOGIN\r\n250 \r\n"}, "sent"),
    one("EHLO with SIZE 0", {}, "sent", offers=("SIZE 0",)),
    one("more behind EHLO", {"EHLO": b"250 x\r\n250 more\r\n"}, r"kept: 4\.5\.0.*", taken=[0]),
    one("more behind EHLO, later", {"EHLO": behind(b"250 x\r\n", b"250 more\r\n")}, r"kept: .*", taken=[0]),
    one("no pipelining", {}, "sent", offers=(), also={"one command at a time": alone}),
]
TLS_CASES = [
    one("STARTTLS 454", {"STARTTLS": b"454 4.7.0 not now\r\n"}, "sent", tls=TLS, talks=[1]),
    one("STARTTLS 501", {"STARTTLS": b"501 no\r\n"}, "sent", tls=TLS, talks=[1]),
    one("STARTTLS 421", {"STARTTLS": lambda talk, _: talk.say(b"421 bye\r\n")}, r"kept: .*", tls=TLS, talks=[1]),
    one("STARTTLS, then closed", {"STARTTLS": None}, r"kept: 4\.4\.2.*", tls=TLS, talks=[1]),
    one("STARTTLS, then no TLS", {"STARTTLS": behind(b"220 go on\r\n", b"500 what?\r\n")}, r"kept: 4\.7\.\d.*",
        tls=TLS, talks=[1], also={"nothing in the clear": unclear}),
    one("STARTTLS, then no TLS, another host", {"STARTTLS": behind(b"220 go on\r\n", b"500 what?\r\n")}, "sent", True,
        tls=TLS, talks=[1, 1]),
    one("STARTTLS and more", {"STARTTLS": lambda *_: b"220 go ahead\r\n250 ok\r\n"}, r"kept: 4\.7\.0.*", tls=TLS,
        talks=[1], also={"nothing in the clear": unclear}),
    one("closed behind the handshake", {"TLS EHLO": None}, r"kept: 4\.\d\.\d.*", tls=TLS, talks=[1]),
    one("another EHLO under TLS", {"EHLO": b"250-x\r\n250-SIZE 1\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
                                   "TLS EHLO": b"250 x\r\n"}, "sent", tls=TLS,
        also={"what was offered before is forgotten": lambda sinks, *_: sinks[0].talks[0].tls and alone(sinks)}),
]
ABLE = [
    one("too large", {}, r"failed 5\.3\.4", text=LARGE, offers=("SIZE 1000",), taken=[0]),
    one("too large for the first host", {}, "sent", True, text=LARGE, offers=("SIZE 1000",), taken=[0, 1]),
    one("8-bit", {}, r"failed 5\.6\.3", text=EARLY, offers=("SIZE",), options=("BODY=8BITMIME",), taken=[0]),
    one("8-bit, another host", {}, "sent", True, text=EARLY, offers=("SIZE",), options=("BODY=8BITMIME",),
        taken=[0, 1]),
    Case("UTF-8 address", [Theirs(offers=("8BITMIME",))], {"j\u00fcrgen": r"failed 5\.6\.7"}, PLAIN, ("SMTPUTF8",),
         taken=[0], also={"the notification says that it is 8-bit": labelled}),
    Case("UTF-8 address, another host", [Theirs(offers=("8BITMIME",)), Theirs()], {"j\u00fcrgen": "sent"}, PLAIN,
         ("SMTPUTF8",), taken=[0, 1]),
]
LATER, NEVER = b"451 4.3.0 later\r\n", b"550 5.1.1 never\r\n"
STEPS = [
    *[one(f"{step} 451", {step: LATER}, r"kept: .*451.*", talks=[1], taken=[0])
      for step in ("MAIL", "RCPT", "DATA", "end")],
    *[one(f"{step} 451, another host", {step: LATER}, "sent", True, talks=[1, 1], taken=[0, 1])
      for step in ("MAIL", "RCPT", "DATA", "end")],
    *[one(f"{step} 550", {step: NEVER}, r"failed 5\.1\.1", talks=[1], taken=[0])
      for step in ("MAIL", "RCPT", "DATA", "end")],
    *[one(f"{step} 550, another host", {step: NEVER}, r"failed 5\.1\.1", True, talks=[1, 0])
      for step in ("MAIL", "RCPT", "DATA", "end")],
    *[one(f"{step} 421", {step: b"421 4.3.2 bye\r\n"}, r"kept: .*421.*", talks=[1], taken=[0])
      for step in ("MAIL", "RCPT", "DATA", "end")],
    *[one(f"{step} 421, then closed", {step: lambda talk, _: talk.say(b"421 4.3.2 bye\r\n")}, r"kept: .*", talks=[1],
          taken=[0]) for step in ("MAIL", "RCPT", "DATA", "end")],
    *[one(f"{step}, then closed", {step: None}, r"kept: 4\.4\.2.*", talks=[1], taken=[0])
      for step in ("MAIL", "RCPT", "DATA")],
    *[one(f"{step}, then closed, another host", {step: None}, "sent", True, talks=[1, 1])
      for step in ("MAIL", "RCPT", "DATA")],
    *[one(f"{step} that is garbage", {step: b"hm\r\n"}, r"kept: 4\.5\.0.*", taken=[0]) for step in ("MAIL", "RCPT")],
    *[one(f"{step} with two codes", {step: b"250-a\r\n251 b\r\n"}, r"kept: 4\.5\.0.*", taken=[0])
      for step in ("MAIL", "RCPT")],
    *[one(f"{step} {code}", {step: b"%d strange\r\n" % code}, r"kept: .*", taken=[0])
      for step in ("MAIL", "RCPT") for code in (150, 354, 650)],
    *[one(f"RCPT {code}", {"RCPT": b"%d fine\r\n" % code}, "sent") for code in (251, 252, 259)],
    one("MAIL refused, then closed, pipelined", {"MAIL": lambda talk, _: talk.say(NEVER)}, r"failed 5\.1\.1",
        taken=[0]),
    one("MAIL refused, then closed", {"MAIL": lambda talk, _: talk.say(NEVER)}, r"failed 5\.1\.1", taken=[0],
        offers=("8BITMIME",)),
    one("RCPT refused, then closed", {"RCPT": lambda talk, _: talk.say(NEVER)}, r"failed 5\.1\.1", taken=[0]),
    one("two answers to MAIL, then RCPT refused", {"MAIL": b"250 ok\r\n250 ok\r\n", "RCPT": NEVER},
        r"(kept|failed).*", taken=[0]),
    one("an answer before RCPT", {"MAIL": behind(b"250 ok\r\n", b"250 ok\r\n"), "RCPT": NEVER}, r"(kept|failed).*",
        taken=[0], offers=("8BITMIME",)),
    one("odd characters", {"RCPT": b"550 5.1.1 no\r\x00\x1b[31m such \xff\x9b user\r\n"}, r"failed 5\.1\.1",
        also={"the notification is clean": clean}),
    one("a long refusal", {"RCPT": b"550-5.1.1 " + b"x" * 900 + b"\r\n" + (b"550-" + b"y" * 900 + b"\r\n") * 90
                           + b"550 z\r\n"}, r"failed 5\.1\.1", also={"the notification is short": short}),
    one("a contradicting status", {"RCPT": b"550 4.2.2 x\r\n"}, r"failed 5\.\d+\.\d+"),
]
SOME = {"good": b"250 ok\r\n", "later": b"450 4.2.1 later\r\n", "never": NEVER}
MANY = [
    Case(f"some recipients{name}", [Theirs(by_name(**SOME), offers)], {
        "good": "sent", "later": r"kept: .*450.*", "never": r"failed 5\.1\.1"}, taken=[1])
    for name, offers in (("", OFFERS), (", no pipelining", ("8BITMIME",)))
] + [
    Case(f"some recipients, then {what}{name}", [Theirs({**by_name(**SOME), **script}, offers)], {
        "good": kept, "later": r"kept: .*", "never": r"failed 5\.1\.1"}, taken=[0])
    for name, offers in (("", OFFERS), (", no pipelining", ("8BITMIME",)))
    for what, script, kept in (("DATA 451", {"DATA": LATER}, r"kept: .*451.*"),
                               ("the end 451", {"end": LATER}, r"kept: .*451.*"),
                               ("closed at DATA", {"DATA": None}, r"kept: .*"),
                               ("closed at the end", {"end": None}, r"kept long: .*"))
] + [
    Case(f"closed between recipients{name}", [Theirs(by_name(
        first=b"250 ok\r\n", second=NEVER, third=None, fourth=None), offers)], {
            "first": r"kept: .*", "second": r"(kept: .*|failed 5\.1\.1)", "third": r"kept: .*", "fourth": r"kept: .*"},
         taken=[0])
    for name, offers in (("", OFFERS), (", no pipelining", ("8BITMIME",)))
] + [
    Case("all recipients refused", [Theirs(by_name(one=NEVER, two=LATER))], {"one": r"failed 5\.1\.1", "two":
         r"kept: .*451.*"}, taken=[0],
         also={"no DATA": lambda sinks, *_: all("DATA" not in talk.verbs() for talk in sinks[0].talks)}),
    Case("four recipients at a time", [Theirs(limited(4))], {f"r{number}": "sent" for number in range(10)}, talks=[1],
         taken=[3], also={"each once": lambda sinks, *_: len(sinks[0].known) == len(set(sinks[0].known)) == 10}),
    one("452 for the first", limited(0), r"kept: .*452.*", taken=[0]),
    Case("552 for too many, and then nothing is taken", [Theirs({**limited(2, b"552 too many recipients\r\n"),
         "DATA": b"451 4.3.0 later\r\n"})], {"r0": r"kept: .*451.*", "r1": r"kept: .*451.*", "r2": r"kept: .*552.*",
         "r3": r"kept: .*552.*"}, taken=[0]),
    Case("552 for the message while one is put off", [Theirs({**by_name(one=LATER, two=b"250 ok\r\n"),
         "end": b"552 too large\r\n"})], {"one": r"kept: .*451.*", "two": r"failed 5\.0\.0"}, taken=[0]),
    one("552 for one alone", limited(0, b"552 5.2.2 full\r\n"), r"failed 5\.2\.2", taken=[0]),
]
ENDS = [
    one("DATA 250", {"DATA": b"250 reset\r\n"}, r"kept: .*4\.5\.0.*", taken=[0]),
    one("250 behind DATA's 354", {"DATA": b"354 go\r\n250 taken\r\n", "end": b"554 5.6.0 no\r\n"},
        r"(kept|failed 5).*"),
    one("250 before the end", {"during": premature, "end": b"554 5.6.0 no\r\n"}, r"(kept|failed 5).*", text=LARGE),
    one("250 before the end, then closed", {"during": premature, "end": None}, r"kept.*", text=LARGE),
    one("refused amid the content", {"during": too_much}, r"failed 5\.3\.4", text=LARGE, talks=[1]),
    one("closed amid the content", {"during": vanish}, r"kept: 4\.4\.2.*", text=LARGE, talks=[1]),
    one("closed amid the content, another host", {"during": vanish}, "sent", True, text=LARGE, talks=[1, 1]),
    one("closed at the end", {"end": None}, r"kept long: 4\.4\.2.*", talks=[1]),
    one("closed at the end, another host", {"end": None}, r"kept long: 4\.4\.2.*", True, talks=[1, 0]),
    *[one(f"end {what}, another host", {"end": octets}, r"kept long: .*", True, talks=[1, 0])
      for what, octets in (("220", b"220 hello\r\n"), ("221", b"221 bye\r\n"), ("354", b"354 go on\r\n"),
                           ("150", b"150 hm\r\n"), ("garbage", b"fine!\r\n"), ("of two codes", b"250-a\r\n251 b\r\n"))],
    one("end 259", {"end": b"259 fine\r\n"}, "sent", talks=[1]),
    one("more behind the end", {"end": b"250 taken\r\n250 more\r\n"}, "sent", talks=[1], taken=[1]),
    one("RSET that is refused", {"RCPT": NEVER, "RSET": b"500 no\r\n"}, r"failed 5\.1\.1"),
    one("QUIT, then garbage", {"QUIT": b"hm"}, "sent", talks=[1], taken=[1]),
]
SILENT = [
    one(f"silent at {step}", {step: lambda talk, _: talk.silent()}, "being tried", True, talks=[1, 0], endless=True)
    for step in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "end")
] + [one("an octet a second", {"greeting": lambda talk, _: drip(talk)}, "being tried", endless=True)]
# The first try of these is refused; `later` tries them again.
AGAIN = [
    one("the end 451, later 250", {"end": replies(LATER, take)}, r"kept: .*451.*"),
    one("RCPT 450, later 250", {"RCPT": replies(LATER, b"250 ok\r\n")}, r"kept: .*451.*"),
    one("greeting 554, later 220", {"greeting": replies(b"554 no\r\n", b"220 yes\r\n")}, r"kept: .*554.*"),
    one("closed amid the content, later 250", {"during": first(vanish)}, r"kept: .*", text=LARGE),
    one("closed at the end, later 250", {"end": replies(None, take)}, r"kept long: .*"),
]
CASES = GREETINGS + HELLOS + TLS_CASES + ABLE + STEPS + MANY + ENDS + SILENT + AGAIN
