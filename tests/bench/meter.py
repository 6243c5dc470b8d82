"""What a server costs: CPU time and memory of its whole process tree, read from /proc."""

import os
import threading

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """(parent, ticks of itself, ticks of its dead children), or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def tree(root):
    """`root` and all its living descendants, as {pid: (parent, own ticks, ticks of dead children)}."""
    all_stats, children = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(name)):
            all_stats[int(name)] = stat
            children.setdefault(stat[0], []).append(int(name))
    found, frontier = {}, [root]
    while frontier:
        pid = frontier.pop()
        if pid in all_stats and pid not in found:
            found[pid] = all_stats[pid]
            frontier += children.get(pid, [])
    return found


def memory(root):
    """KiB that `root` and its descendants hold now."""
    return sum(map(_pss, tree(root)))


def _pss(pid):
    """Proportional memory in KiB, so that pages shared by many workers count once."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


class Meter:
    """Watches the tree under one pid while a `with` block runs: `.cpu` seconds and `.memory` peak in MiB.

    A process that is gone is counted by what its parent collected at `wait`, or, when nobody waited for it, by what it
    had used when it was last seen.
    """

    def __init__(self, root, every=0.2):
        self.root, self.every = root, every
        self.cpu = 0.0
        self.memory = 0.0
        self._stop = threading.Event()
        self._seen = {}

    def __enter__(self):
        self._first = self._sample()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        last = self._sample()
        by_parents = self._total(last) - self._total(self._first)
        by_sight = sum(now - self._first[pid][1] if pid in self._first else now for pid, now in self._seen.items())
        self.cpu = max(by_parents, by_sight) / TICK

    def _watch(self):
        while not self._stop.wait(self.every):
            self._sample()

    def _sample(self):
        now = tree(self.root)
        for pid, (_, own, _) in now.items():
            self._seen[pid] = own
        self.memory = max(self.memory, sum(map(_pss, now)) / 1024)
        return now

    @staticmethod
    def _total(sample):
        return sum(own + dead for _, own, dead in sample.values())
