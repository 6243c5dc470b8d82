"""What the crash test sends: known from its kind and its number, so that whatever is found can be told whole or not."""

import base64, random

SEED = random.randrange(1 << 32)
SIZES = [0, 1, 700, 5_000, 30_000, 65_536, 65_537, 300_000, 2_000_000]


def content(kind, number, sizes=SIZES):
    """Mostly small, now and then too large for the database."""
    chance = random.Random(f"{SEED} {kind} {number}")
    size = chance.choice(sizes)
    return chance.randbytes(size)


def message(kind, number, sizes=SIZES):
    """A message of that content; its header tells its number."""
    body = base64.encodebytes(content(kind, number, sizes)).replace(b"\n", b"\r\n")
    return f"Subject: {kind}{number}\r\nX-Number: {number}\r\n\r\n".encode() + body


def number_of(raw):
    return int(raw.partition(b"\r\n\r\n")[0].rpartition(b"X-Number: ")[2].split(b"\r\n")[0])
