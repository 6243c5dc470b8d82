"""The test suite of RFC 7208, taken from the source distribution of pyspf: every scenario's zones are served by a DNS
server of our own, and `judge` says what comes out for each case. It needs PyYAML and dnspython."""

import pathlib, subprocess, sys, tarfile

from installed import SOURCES
import yaml

from zones import Zones

SUITE = "rfc7208-tests.yml"
DEFAULT = "DEFAULT"
NONE = ["NONE"]
# Cases that SMTP cannot carry: their HELO or their sender is not by its syntax.
UNCARRIED = ["toolonglabel", "emptylabel", "nolocalpart", "invalid-domain-long-via-macro", "dorky-sentinel",
             "invalid-hello-macro"]


def fetch():
    """The scenarios of the suite, which tests/run has fetched."""
    if not list(SOURCES.glob("pyspf-*.tar.gz")):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest",
                        SOURCES, "pyspf"], check=True, timeout=300)
    [archive] = SOURCES.glob("pyspf-*.tar.gz")
    with tarfile.open(archive) as packed:
        [member] = [member for member in packed.getmembers() if pathlib.PurePath(member.name).name == SUITE]
        return list(yaml.safe_load_all(packed.extractfile(member)))


def zones_of(scenario):
    """Its zonedata as records. What it calls SPF is TXT, unless the name has TXT of its own; TXT of NONE is none."""
    records = {}
    for name, rows in scenario["zonedata"].items():
        named = [pair for row in rows for pair in (row.items() if isinstance(row, dict) else [(row, None)])]
        has_text = any(kind == "TXT" for kind, _ in named)
        found = []
        for kind, value in named:
            if kind in ("TXT", "SPF"):
                value = [value] if isinstance(value, str) else value
                if value == NONE or kind == "SPF" and has_text:
                    continue
                kind = "TXT"
            found.append((kind, value))
        records[str(name)] = found
    return records


def check(case, result, explanation):
    """What is wrong with an answer, or None."""
    allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
    if result not in allowed:
        return f"{result} instead of {' or '.join(allowed)}"
    wanted = case.get("explanation")
    if wanted is not None and explanation != (None if wanted == DEFAULT else wanted):
        return f"explanation {explanation!r} instead of {wanted!r}"
    return None


def run(judge, zones, scenarios):
    """Asks `judge(client_ip, helo, mail_from)` about every case, with `zones` as the only DNS. It returns the result in
    the words of RFC 8601 with the explanation or None, or None alone if SMTP cannot carry the case. Returns the number
    of cases that are right, those that were not carried, and what is wrong with the others."""
    right, uncarried, wrong = 0, [], []
    for scenario in scenarios:
        zones.set(zones_of(scenario))
        for name, case in scenario["tests"].items():
            answer = judge(case["host"], case["helo"], case["mailfrom"])
            if answer is None:
                uncarried.append(name)
            elif (why := check(case, *answer)) is None:
                right += 1
            else:
                wrong.append(f"{scenario['description']}: {name}: {why}")
    return right, uncarried, wrong


def main(judge_with):
    """Whether each case is right, but for those that SMTP cannot carry. `judge_with(port)` gives the function that
    judges with the DNS server on that port."""
    scenarios = fetch()
    with Zones() as zones:
        right, uncarried, wrong = run(judge_with(zones.port), zones, scenarios)
    for line in wrong:
        print("wrong:", line)
    print(f"SPF: {right} right, {len(wrong)} wrong, {len(uncarried)} that SMTP cannot carry: {' '.join(uncarried)}")
    return not wrong and right > 0 and sorted(uncarried) == sorted(UNCARRIED)
