"""The table of results, as Markdown, so that it can be pasted into the README."""

import os
import platform
import statistics


class Row:
    """One measurement: all rounds of the peer and of ours."""

    def __init__(self, title, unit, *, aim, peer, durable, scale=1):
        self.title, self.unit, self.aim, self.peer, self.durable, self.scale = title, unit, aim, peer, durable, scale
        self._rounds = {False: [], True: []}

    def add(self, ours, count, seconds, meter):
        self._rounds[ours].append((count * self.scale / seconds, meter.cpu / count, meter.memory))

    def measured(self, ours):
        """How many rounds."""
        return len(self._rounds[ours])

    def rate(self, ours):
        return statistics.median(rate for rate, _, _ in self._rounds[ours])

    def cpu(self, ours):
        """Server CPU milliseconds for one operation."""
        return 1000 * statistics.median(cpu for _, cpu, _ in self._rounds[ours])

    def memory(self, ours):
        return max(memory for _, _, memory in self._rounds[ours])

    @property
    def ratio(self):
        return self.rate(True) / self.rate(False)

    @property
    def verdict(self):
        if self.aim is None or not (self.measured(True) and self.measured(False)):
            return "for comparison"
        return f"≥ {self.aim:g}×: {'met' if self.ratio >= self.aim else 'missed'}"


class Least(Row):
    """A measurement of which less is better: seconds, or memory; `ratio` says how many times less ours is."""

    def add(self, ours, value, cpu, memory):
        self._rounds[ours].append((value * self.scale, cpu, memory))

    @property
    def ratio(self):
        return self.rate(False) / self.rate(True)


def print_report(rows, rounds, directory):
    print(f"\nMedian of {rounds} alternating rounds; load and server share {os.cpu_count()} cores ({_cpu()}), "
          f"{platform.system()} {platform.release().split('-')[0]}, stores on {_file_system(directory)}.\n")
    print("| | peer | Wharfinger | ratio | aim | CPU ms each, peer / ours | peak MiB, peer / ours "
          "| on disk when acknowledged |")
    print("|---|--:|--:|--:|---|--:|--:|---|")
    for row in rows:
        def each(text):
            return [text(side) if row.measured(side) else "–" for side in (False, True)]

        peer, ours = each(lambda side: f"{_number(row.rate(side))} {row.unit}{_fewer(row.measured(side), rounds)}")
        cpu = " / ".join(each(lambda side: _number(row.cpu(side))))
        memory = " / ".join(each(lambda side: f"{row.memory(side):,.0f}"))
        ratio = f"**{row.ratio:.2f}×**" if "–" not in (peer, ours) else "–"
        print(f"| {row.title} | {row.peer} {peer} | {ours} | {ratio} | {row.verdict} | {cpu} | {memory} "
              f"| {row.durable} |")


def _fewer(measured, rounds):
    """What the heading says of rounds does not hold for what was measured less often."""
    return "" if measured >= rounds else " (once)" if measured == 1 else f" ({measured} rounds)"


def _number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cpu():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(directory):
    best = ("", "unknown")
    with open("/proc/mounts") as file:
        for line in file:
            _, at, kind, *_ = line.split()
            if (directory + "/").startswith(at.rstrip("/") + "/") and len(at) > len(best[0]):
                best = (at, kind)
    return best[1]
