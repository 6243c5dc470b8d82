"""A DNS server of our own for a test: authoritative for every name, over UDP and TCP, on a free port of loopback.
Nobody keeps what it says (TTL 0). It needs dnspython.

Records are {name: [(type, value), ...]}; names and hosts are without final dot. Values: an address for A and AAAA, a
host for CNAME, NS and PTR, (preference, host) for MX ("" is the null MX), a string or its parts, of text or octets, for
TXT, (usage, selector, matching, octets) for TLSA. ("TIMEOUT", None) leaves without answer what the name has no record
for, ("SERVFAIL", None) refuses it."""

import contextlib, socket, socketserver, struct, threading

import installed
import dns.exception, dns.flags, dns.message, dns.name, dns.rcode, dns.rdata, dns.rdataclass, dns.rdatatype
import dns.rrset

CHAIN = 8
UDP_WITHOUT_EDNS = 512
WAIT = 10


def domain(text):
    """A name, dot by dot: a label may hold anything else."""
    labels = [label.encode() for label in text.removesuffix(".").split(".")] if text not in ("", ".") else []
    return dns.name.Name([*labels, b""])


def parts(value):
    """The strings of a TXT record, cut where they are too long for one."""
    strings = [value] if isinstance(value, (str, bytes)) else list(value)
    octets = [string.encode() if isinstance(string, str) else string for string in strings]
    return [octet[at:at + 255] for octet in octets for at in range(0, max(len(octet), 1), 255)] or [b""]


def rdata(kind, value):
    """The octets of a record."""
    if kind in ("A", "AAAA"):
        return socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, value)
    if kind in ("CNAME", "NS", "PTR"):
        return domain(value).to_wire()
    if kind == "MX":
        return struct.pack("!H", value[0]) + domain(value[1]).to_wire()
    if kind == "TXT":
        return b"".join(bytes([len(part)]) + part for part in parts(value))
    if kind == "TLSA":
        return bytes(value[:3]) + value[3]
    if kind == "SOA":
        return domain("").to_wire() * 2 + struct.pack("!5I", *value)
    raise ValueError(f"records of type {kind} are not served")


def rrset(name, kind, values):
    """What stands in an answer, as it is: a record may be wrong in itself."""
    found = dns.rrset.RRset(name, dns.rdataclass.IN, dns.rdatatype.from_text(kind))
    for value in values:
        found.add(dns.rdata.GenericRdata(found.rdclass, found.rdtype, rdata(kind, value)), 0)
    return found


class Zones:
    """Starts at once. `asked` are the questions so far, as (name, type)."""

    def __init__(self, records=None):
        self.records, self.asked = {}, []
        self.set(records or {})
        self.tcp, self.udp = self.bind()
        self.port = self.udp.server_address[1]
        self.threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
                        for server in (self.udp, self.tcp)]
        for thread in self.threads:
            thread.start()

    def bind(self):
        """Both servers on one port, which must be free for both."""
        for _ in range(50):
            udp = Udp(("127.0.0.1", 0), UdpQuestion)
            try:
                tcp = Tcp(udp.server_address, TcpQuestions)
            except OSError:
                udp.server_close()
                continue
            udp.zones = tcp.zones = self
            return tcp, udp
        raise OSError("no port is free for UDP and TCP")

    def set(self, records):
        """Replaces all zones at once."""
        lower = {}
        for name, rows in records.items():
            for kind, value in rows:
                if kind not in ("TIMEOUT", "SERVFAIL"):
                    rdata(kind, value)
            lower.setdefault(name.removesuffix(".").lower(), []).extend(rows)
        self.records, self.asked = lower, []

    def stop(self):
        for server in (self.udp, self.tcp):
            server.shutdown()
            server.server_close()
        for thread in self.threads:
            thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def answer(self, octets, most=None):
        """The reply to a question, at most so long; None is silence."""
        try:
            question = dns.message.from_wire(octets)
            asked = question.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        reply = dns.message.make_response(question)
        reply.flags |= dns.flags.AA | dns.flags.RA
        records, kind = self.records, dns.rdatatype.to_text(asked.rdtype)
        text = b".".join(asked.name.labels[:-1]).decode("utf-8", "surrogateescape")
        self.asked.append((text, kind))
        rcode = collect(records, asked.name, text.lower(), kind, reply)
        if rcode is None:
            return None
        reply.set_rcode(rcode)
        if not reply.answer and rcode != dns.rcode.SERVFAIL:
            # That of the root: a client knows what is not there, and forgets it at once.
            reply.authority.append(rrset(dns.name.root, "SOA", [(1, 60, 60, 60, 0)]))
        wire = reply.to_wire(max_size=65535)
        room = max(question.payload if question.edns >= 0 else 0, UDP_WITHOUT_EDNS)
        if most is not None and len(wire) > min(most, room):
            reply.answer, reply.authority = [], []
            reply.flags |= dns.flags.TC
            wire = reply.to_wire()
        return wire


def collect(records, name, text, kind, reply):
    """Puts what a name has into the reply, through its aliases; the RCODE, or None for silence."""
    for _ in range(CHAIN):
        rows = records.get(text)
        if rows is None:
            # A name that others are below exists (RFC 8020).
            exists = any(other.endswith("." + text) for other in records)
            return dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN
        values = [value for has, value in rows if has == kind]
        if values:
            reply.answer.append(rrset(name, kind, values))
            return dns.rcode.NOERROR
        if any(has == "TIMEOUT" for has, _ in rows):
            return None
        if any(has == "SERVFAIL" for has, _ in rows):
            return dns.rcode.SERVFAIL
        alias = next((value for has, value in rows if has == "CNAME"), None)
        if alias is None:
            return dns.rcode.NOERROR
        reply.answer.append(rrset(name, "CNAME", [alias]))
        name, text = domain(alias), alias.removesuffix(".").lower()
    return dns.rcode.NOERROR


class Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    max_packet_size = 65535


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class UdpQuestion(socketserver.BaseRequestHandler):
    def handle(self):
        octets, sock = self.request
        if (reply := self.server.zones.answer(octets, most=1232)) is not None:
            with contextlib.suppress(OSError):
                sock.sendto(reply, self.client_address)


class TcpQuestions(socketserver.StreamRequestHandler):
    timeout = WAIT

    def handle(self):
        with contextlib.suppress(OSError):
            while len(size := self.rfile.read(2)) == 2:
                reply = self.server.zones.answer(self.rfile.read(struct.unpack("!H", size)[0]))
                if reply is not None:
                    self.wfile.write(struct.pack("!H", len(reply)) + reply)
