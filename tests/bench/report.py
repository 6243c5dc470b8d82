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
        if self.aim is None:
            return "for comparison"
        return f"≥ {self.aim:g}×: {'met' if self.ratio >= self.aim else 'missed'}"


def print_report(rows, rounds, directory):
    print(f"\nMedian of {rounds} alternating rounds; load and server share {os.cpu_count()} cores ({_cpu()}), "
          f"{platform.system()} {platform.release().split('-')[0]}, stores on {_file_system(directory)}.\n")
    print("| | peer | Wharfinger | ratio | aim | CPU ms each, peer / ours | peak MiB, peer / ours "
          "| on disk when acknowledged |")
    print("|---|--:|--:|--:|---|--:|--:|---|")
    for row in rows:
        peer, ours = (f"{_number(row.rate(side))} {row.unit}" for side in (False, True))
        cpu = " / ".join(_number(row.cpu(side)) for side in (False, True))
        memory = " / ".join(f"{row.memory(side):.0f}" for side in (False, True))
        print(f"| {row.title} | {row.peer} {peer} | {ours} | **{row.ratio:.2f}×** | {row.verdict} | {cpu} | {memory} "
              f"| {row.durable} |")


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
