"""A mailbox of real-looking messages: twenty shapes of header, 2 to 7 KiB, varied words, the same in each run."""

import base64
import datetime
import itertools
import quopri
import random

SHAPES = [shape.split() for shape in """
plain   Received Received DKIM-Signature User-Agent
plain   Received Received Cc In-Reply-To References X-Mailer
plain   Received List-Id List-Unsubscribe Precedence
plain   Received Received Received References In-Reply-To Newsgroups
plain   Received X-Priority Priority Importance X-Mailer
plain   Return-Path Received Cc Bcc Reply-To
utf8    Received Received DKIM-Signature Content-Language User-Agent
utf8    Received Reply-To Cc References In-Reply-To
utf8    Received List-Id List-Post List-Unsubscribe List-Archive
quoted  Received Received DKIM-Signature ARC-Seal X-Mailer
quoted  Received Return-Path Cc Thread-Topic Thread-Index
quoted  Received Received Received Received Authentication-Results
base64  Received DKIM-Signature X-Mailer
base64  Received Received Cc References In-Reply-To
mixed   Received Received DKIM-Signature Authentication-Results Feedback-ID List-Unsubscribe
mixed   Received Return-Path Reply-To X-Campaign List-Unsubscribe
mixed   Received Received Cc In-Reply-To References Thread-Index
mixed   Received X-Spam-Status X-Spam-Level DKIM-Signature User-Agent
plain   Received Auto-Submitted X-Auto-Response-Suppress Precedence
plain   Received Received Received ARC-Seal Authentication-Results Organization Reply-To
""".strip().splitlines()]

COMMON, RARE, SECOND = "harbour", "quixotrope", "lantern"  # in every third message, in every 9,973th, in every seventh
WITHIN = "ixotro"  # in the middle of the rare word, and of no other
EPOCH = datetime.datetime(2020, 1, 6, 8, tzinfo=datetime.timezone.utc)


def messages(count, first=0):
    """`count` messages from the number `first` on; a number always gives the same message."""
    text = _Text()
    for number in range(first, first + count):
        yield _message(number, text, random.Random(number))


class _Text:
    """Lines of made-up words, of which few are frequent and most are not, as in a language."""

    def __init__(self):
        chance = random.Random("words")
        onset, vowel, coda = "b br c cl d f g gr k l m n p pr r s st t tr v".split(), "aeiou", ("", "", *"nrsl")
        words = ["".join(chance.choice(onset) + chance.choice(vowel) + chance.choice(coda) for _ in range(length))
                 for length in chance.choices((1, 2, 3, 4), (1, 4, 4, 1), k=12_000)]
        frequency = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
        self.words = words
        self.lines = [" ".join(chance.choices(words, cum_weights=frequency, k=chance.randint(8, 12)))
                      for _ in range(30_000)]


def _message(number, text, chance):
    kind, *names = SHAPES[number % len(SHAPES)]
    head = [f"{name}: {_value(name, number, text, chance)}" for name in names if name in TRACE]
    subject = " ".join(chance.choices(text.words, k=chance.randint(2, 7)))
    if kind in ("utf8", "base64"):
        subject = "=?UTF-8?Q?" + subject.replace(" ", "_") + "_gr=C3=BC=C3=9Fe?="
    head += [f"From: {_person(text, chance)}", f"To: {_person(text, chance)}", f"Subject: {subject}",
             f"Date: {_date(number)}", f"Message-ID: {_id(number)}", "MIME-Version: 1.0"]
    head += [f"{name}: {_value(name, number, text, chance)}" for name in names if name not in TRACE]
    lines = chance.choices(text.lines, k=chance.randint(15, 55))
    for word, every in ((COMMON, 3), (SECOND, 7), (RARE, 9973)):
        if number % every == every // 2:
            lines[len(lines) // 2] += " " + word
    content_head, body = _body(kind, lines, number)
    return ("\r\n".join(head + content_head) + "\r\n\r\n").encode() + body


def _body(kind, lines, number):
    """The Content- fields and the content."""
    plain = "\r\n".join(lines) + "\r\n"
    if kind == "plain":
        return ["Content-Type: text/plain; charset=us-ascii"], plain.encode()
    if kind == "mixed":
        boundary = f"=_part_{number:08d}"
        half = len(lines) // 2
        html = "".join(f"<p>{line}</p>\r\n" for line in lines[half // 2:half + half // 2])
        parts = (f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + "\r\n".join(lines[:half + 2])
                 + f"\r\n--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n{html}"
                 f"</body></html>\r\n--{boundary}--\r\n")
        return [f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"'], parts.encode()
    coding = {"utf8": "8bit", "quoted": "quoted-printable", "base64": "base64"}[kind]
    body = (plain + "Mit freundlichen Grüßen – à bientôt\r\n").encode()
    if kind == "quoted":
        body = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    if kind == "base64":
        body = base64.encodebytes(body).replace(b"\n", b"\r\n")
    return ["Content-Type: text/plain; charset=utf-8", f"Content-Transfer-Encoding: {coding}"], body


# Fields that stand before From; the others come after the Message-ID.
TRACE = {"Return-Path", "Received", "DKIM-Signature", "ARC-Seal", "Authentication-Results"}


def _value(name, number, text, chance):
    word = chance.choice(text.words)
    if name == "Received":
        return (f"from {word}.example.org ({word}.example.org [192.0.2.{number % 250}])\r\n\t"
                f"by mx.bench.test with ESMTPS id {chance.getrandbits(64):016x};\r\n\t{_date(number)}")
    if name in ("DKIM-Signature", "ARC-Seal"):
        blob = base64.b64encode(chance.randbytes(192)).decode()
        folded = "\r\n\t".join(blob[at:at + 64] for at in range(0, len(blob), 64))
        return f"v=1; a=rsa-sha256; d={word}.example; s=s1;\r\n\th=From:To:Subject:Date; b={folded}"
    if name == "References":
        return "\r\n ".join(_id(max(0, number - step)) for step in (60, 40, 20))
    if name in ("In-Reply-To", "Return-Path"):
        return _id(max(0, number - 20))
    if name in ("Cc", "Bcc", "Reply-To"):
        return _person(text, chance)
    if name in ("X-Priority", "Priority"):
        return "3" if name == "X-Priority" else "normal"
    if name.startswith("List-"):
        return f"<https://lists.example.net/{word}/{name.lower()}>"
    return f"{word} {chance.getrandbits(32):08x}"


def _person(text, chance):
    first, last = chance.choices(text.words, k=2)
    domain = chance.choice(("example.com", "example.net", "bench.test"))
    return f"{first.title()} {last.title()} <{first}.{last}@{domain}>"


def _id(number):
    return f"<{number:07d}.{number * 2654435761 % 2**32:08x}@mail.example.org>"


def _date(number):
    return (EPOCH + datetime.timedelta(minutes=17 * number)).strftime("%a, %d %b %Y %H:%M:%S +0000")
