"""A DNS with signatures (RFC 4035), private to a test: a root of its own, zones beneath it that are signed or not, and
names whose signatures do not hold. ldns signs, and unbound serves.

Usage: signed_zone.py [nsec3]     serves the zones of an example, says port and trust anchor, ends with its input
"""

import hashlib, re, subprocess, sys

from servers import free_ports
from unbound import Unbound

SOA = "@ 300 IN SOA ns. hostmaster. 1 3600 600 86400 60\n@ 300 IN NS ns.\n"


def tlsa(usage, selector, matching, der):
    """What stands behind TLSA for that certificate or key."""
    data = {0: bytes, 1: lambda whole: hashlib.sha256(whole).digest(), 2: lambda whole: hashlib.sha512(whole).digest()}
    return f"{usage} {selector} {matching} {data[matching](der).hex()}"


class SignedZones(Unbound):
    """unbound, which knows a signed root and the zones of the test, and nothing else."""

    def __init__(self, nsec3=False):
        super().__init__("zones", "unbound")
        self.port, = free_ports(1)
        self.denial = ["-n", "-t", "0"] if nsec3 else []

    def start(self, signed, plain=None, broken=()):
        """Serves zones, given as their records by their names, with a final dot or relative; in the signed ones the
        signatures of the broken names (with a final dot) do not hold. The port, and the file with the root's key."""
        keys, delegations = {}, "ns. 300 IN A 127.0.0.1\n"
        for zone, records in signed.items():
            keys[zone] = self.sign(zone, records, broken)
            delegations += f"{zone}. 300 IN NS ns.\n" + (self.folder / f"{keys[zone]}.ds").read_text()
        for zone, records in (plain or {}).items():
            (self.folder / f"{zone}.zone").write_text(self.text(zone, records))
            delegations += f"{zone}. 300 IN NS ns.\n"
        root = self.sign("", delegations.splitlines(), ())
        anchor = self.folder / "anchor"
        # ldns writes a comment behind it, and no time to live.
        key = (self.folder / f"{root}.key").read_text().split(";")[0].split(None, 3)
        anchor.write_text(f". 300 IN DNSKEY {key[3].strip()}\n")
        files = {zone: f"{zone}.zone.signed" for zone in ("", *signed)} | {zone: f"{zone}.zone" for zone in plain or {}}
        self.serve({zone: self.folder / file for zone, file in files.items()})
        return self.port, anchor

    @staticmethod
    def text(zone, records):
        return f"$ORIGIN {zone}.\n$TTL 300\n{SOA}" + "".join(f"{record}\n" for record in records)

    def sign(self, zone, records, broken):
        """Signs a zone with a new key; the name of the key's files."""
        (self.folder / f"{zone}.zone").write_text(self.text(zone, records))
        key = self.ldns("ldns-keygen", "-k", "-a", "ECDSAP256SHA256", f"{zone}.").strip()
        self.ldns("ldns-signzone", *(self.denial if zone else []), "-o", f"{zone}.", f"{zone}.zone", key)
        path = self.folder / f"{zone}.zone.signed"
        lines = path.read_text().splitlines()
        for at, line in enumerate(lines):
            fields = line.split()
            if len(fields) > 4 and fields[0].lower() in broken and fields[3] == "RRSIG":
                # Another signature of the right length.
                fields[-1] = re.sub(r"^.{8}", lambda part: part[0].swapcase()[::-1], fields[-1])
                lines[at] = " ".join(fields)
        path.write_text("\n".join(lines) + "\n")
        return key

    def ldns(self, *words):
        done = subprocess.run(words, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {done.stdout} {done.stderr}")
        return done.stdout

    def serve(self, files):
        zones = "".join(f'auth-zone:\n    name: "{zone}."\n    zonefile: "{file}"\n    for-downstream: yes\n'
                        "    for-upstream: no\n    fallback-enabled: no\n" for zone, file in files.items())
        self.answer("127.0.0.1", self.port, '    local-zone: "test." nodefault', zones)


def example():
    """Of each kind one."""
    digest = tlsa(3, 1, 1, b"a key")
    return {"signed.test": ["@ MX 10 mx", "@ MX 20 mx.plain.test.", "mx A 127.0.0.21", "mx AAAA ::1",
                            f"_25._tcp.mx TLSA {digest}", "alias CNAME mx", "away CNAME mx.plain.test.",
                            f"_25._tcp.away TLSA {digest}", "none A 127.0.0.22", "bad A 127.0.0.23",
                            "badtlsa A 127.0.0.24", f"_25._tcp.badtlsa TLSA {digest}", "other A 127.0.0.26",
                            "_25._tcp.other CNAME _25._tcp.mx", "nomx A 127.0.0.25", "badmx MX 10 mx",
                            "named CNAME nomx", "loop CNAME loop", "*.wild MX 10 mx",
                            "*.walk CNAME mx.other.test.", "far CNAME mx.other.test.", f"_25._tcp.named TLSA {digest}"],
            "other.test": ["mx A 127.0.0.27", f"_25._tcp.mx TLSA {digest}"]}, {
        "plain.test": ["@ MX 10 mx.signed.test.", "mx A 127.0.0.31", f"_25._tcp.mx TLSA {digest}",
                       "alias CNAME mx.signed.test."]}, ["bad.signed.test.", "badmx.signed.test.",
                                                         "_25._tcp.badtlsa.signed.test."]


def main():
    zones = SignedZones("nsec3" in sys.argv)
    print(*zones.start(*example()), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
