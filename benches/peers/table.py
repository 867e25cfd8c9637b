"""The table of a run: what is held against a target, row by row, and then every figure of every tool.

Medians; a run that other work disturbed counts only where there is no quieter one, and a step that failed does not count.
"""
import json, os, statistics, sys
from . import place
from .tools import PEERS

MIB = 1 << 20
DISTURBED = 0.2

class Runs:
    """The runs of one commit: the last one in the file."""
    def __init__(self, kept):
        with open(kept) as file:
            lines = [json.loads(line) for line in file]
        if not lines:
            sys.exit(f"{kept} is empty")
        self.commit, self.day = lines[-1]["commit"], lines[-1]["day"]
        self.runs = [run for run in lines if run["commit"] == self.commit]

    def median(self, of_set, row, tool, what):
        # 3 and 4 are restic's and russet's word for: done, and something in the source was odd. 1 is borg's.
        sound = [run for run in self.runs if (run["set"], run["row"], run["tool"]) == (of_set, row, tool) and run["code"] in (0, 1, 3, 4) and what in run]
        quiet = [run for run in sound if run["foreign"] <= DISTURBED] or sound
        return statistics.median(run[what] for run in quiet) if quiet else None

    def tools(self, of_set, row=None):
        return list(dict.fromkeys(run["tool"] for run in self.runs if run["set"] == of_set and row in (None, run["row"])))

    def rows(self, of_set):
        return list(dict.fromkeys(run["row"] for run in self.runs if run["set"] == of_set))

    def best(self, of_set, row, what, among=PEERS):
        """The least of the peers, and whose it is."""
        found = [(value, tool) for tool in among if (value := self.median(of_set, row, tool, what)) is not None]
        return min(found, default=(None, None))

    def growth(self, of_set, tool, before, after):
        sizes = [self.median(of_set, row, tool, "repository") for row in (before, after)]
        return None if None in sizes else (sizes[1] - sizes[0]) / MIB

    def least_growth(self, of_set, before, after):
        found = [(value, tool) for tool in PEERS if (value := self.growth(of_set, tool, before, after)) is not None]
        return min(found, default=(None, None))

    def peak(self, of_set, tool):
        peaks = [self.median(of_set, row, tool, "peak") for row in self.rows(of_set)]
        return max((peak / MIB for peak in peaks if peak is not None), default=None)

def targets(runs):
    """Row by row: what it is, the best peer's figure and whose it is, russet's figure, what is compared with the target, and the target."""
    def wall(of_set, row, tool="russet"):
        return runs.median(of_set, row, tool, "wall")
    def ratio(one, other):
        return None if one is None or not other else one / other
    def less(one, other):
        return None if None in (one, other) else max(0, one - other)
    seconds, mib = "{:.2f} s".format, "{:,.0f} MiB".format

    def against(title, of_set, row, most, among=PEERS):
        best, whose = runs.best(of_set, row, "wall", among)
        own = wall(of_set, row)
        return title, seconds, best, whose, own, "×", ratio(own, best), most
    def absolute(title, unit, best, own, most):
        return title, unit, *best, own, "", own, most

    phone = "phone"
    yield against("first backup", phone, "first", 0.55)
    yield absolute("unchanged backup, with a key file: no key derivation", seconds, runs.best(phone, "same", "wall"), wall(phone, "keyed"), 0.15)
    yield absolute("… with a password", seconds, runs.best(phone, "same", "wall"), wall(phone, "same"), None)
    yield against("a day later (v2)", phone, "v2", 0.4)
    yield against("a month later (v3)", phone, "v3", 0.4)
    size, whose = runs.best(phone, "first", "repository")
    own = runs.median(phone, "first", "russet", "repository")
    yield "repository after v1", lambda b: mib(b / MIB), size, whose, own, "×", ratio(own, size), 1.0
    own = runs.median(phone, "first", "russet-0", "repository")
    yield "… without the 3 % of parity that no peer writes", lambda b: mib(b / MIB), size, whose, own, "×", ratio(own, size), 1.0
    for title, before, after, most in (("growth for a day (v1→v2)", "first", "v2", 75), ("growth for a month (v2→v3)", "v2", "v3", 480)):
        yield absolute(title, mib, runs.least_growth(phone, before, after), runs.growth(phone, "russet", before, after), most)
    yield against("restore v3", phone, "restore", 0.45)
    yield against("verify every byte", phone, "verify", 0.35)
    yield absolute("list a whole snapshot, less opening", seconds, runs.best(phone, "list", "wall"), less(wall(phone, "list"), wall(phone, "open")), 0.1)
    yield absolute("opening alone: start and key derivation", seconds, (None, None), wall(phone, "open"), None)
    yield absolute("forget and prune to the last two", seconds, runs.best(phone, "prune", "wall"), wall(phone, "prune"), 1.0)
    peaks = [(peak, tool) for tool in PEERS if (peak := runs.peak(phone, tool)) is not None]
    yield absolute("peak memory, the most of any of these", mib, min(peaks, default=(None, None)), runs.peak(phone, "russet"), 330)
    for title, of_set in (("a database of 200 MiB, changed in place: growth for a day", "in-place"), ("… compacted before each backup", "compacted")):
        yield absolute(title, mib, runs.least_growth(of_set, "first", "v2"), runs.growth(of_set, "russet", "first", "v2"), None)
    own, other = (runs.growth("apple", tool, "first", "v2") for tool in ("russet", "restic"))
    yield "encrypted Apple backup: growth for a day", mib, other, "restic", own, "×", ratio(own, other), 0.12
    yield against("… first backup", "apple", "first", 0.25, ["restic"])
    yield against("… Apple's folder made again", "apple", "restore", 2.5, ["cp"])
    yield absolute("10,000,000 rounds of PBKDF2", seconds, runs.best("rounds", "rounds", "wall", ["pbkdf2 crate", "OpenSSL"]), wall("rounds", "rounds"), 0.8)
    yield against("source files: first backup", "sources", "first", 1.0)
    yield against("… restore", "sources", "restore", 1.0)

def first_table(runs):
    yield "| row | best peer | | russet | compared | target | holds |"
    yield "|---|---:|---|---:|---:|---:|---|"
    for title, unit, best, whose, own, sign, compared, most in targets(runs):
        if own is None and best is None:
            continue
        shown = "" if compared is None else f"{sign}{compared:.2f}" if sign else unit(compared)
        target = "" if most is None else f"≤ {sign}{most:.2f}" if sign else f"≤ {unit(most)}"
        holds = "" if most is None or compared is None else "yes" if compared <= most else "**no**"
        cells = (title, "" if best is None else unit(best), whose if best is not None else "", "" if own is None else unit(own), shown, target, holds)
        yield f"| {' | '.join(cells)} |"

FIGURES = (
    ("wall", "wall, seconds (× the fastest)", lambda value: f"{value:.2f}"),
    ("cpu", "CPU, seconds", lambda value: f"{value:.1f}"),
    ("peak", "peak memory, MiB", lambda value: f"{value / MIB:.0f}"),
    ("repository", "repository, MiB", lambda value: f"{value / MIB:,.0f}"),
)

EVERY = [what for what, _, _ in FIGURES]
# What a data set is, and which of its figures say something.
TITLES = {
    "phone": ("a phone's files, decrypted", EVERY),
    "apple": ("an encrypted Apple backup", EVERY),
    "in-place": ("a database, changed in place", ["repository"]),
    "compacted": ("a database, compacted before each backup", ["repository"]),
    "sources": ("source files", EVERY),
    "rounds": ("PBKDF2", ["wall"]),
}

def every_table(runs):
    for of_set in dict.fromkeys(run["set"] for run in runs.runs):
        names = runs.tools(of_set)
        whose, figures = TITLES[of_set]
        for what, title, shown in (figure for figure in FIGURES if figure[0] in figures):
            rows = [row for row in runs.rows(of_set) if any(runs.median(of_set, row, tool, what) is not None for tool in names)]
            yield f"\n**{whose}: {title}**\n"
            yield f"| tool | {' | '.join(rows)} |"
            yield "|---|" + "---:|" * len(rows)
            for tool in names:
                cells = []
                for row in rows:
                    value, fastest = runs.median(of_set, row, tool, what), runs.best(of_set, row, what, names)[0]
                    cells.append("–" if value is None else shown(value) + (f" ×{value / fastest:.1f}" if what == "wall" and fastest else ""))
                yield f"| {tool} | {' | '.join(cells)} |"

def machine():
    """Who measured: processor, cores, memory."""
    def field(path, name):
        with open(path) as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(name)), "?")
    processor = field("/proc/cpuinfo", "model name")
    memory = int(field("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    return f"{os.cpu_count()} cores of {processor}, {memory:.0f} GiB"

def warnings(runs):
    for run in runs.runs:
        at = f"{run['set']}/{run['row']} by {run['tool']}"
        if run["code"] not in (0, 3, 4):
            yield f"{at} ended with {run['code']}"
        if run.get("equal") is False:
            yield f"{at} gave back something else than was backed up"

def markdown(runs):
    versions = dict.fromkeys(run["version"] for run in runs.runs if run["version"] and run["tool"] not in ("cp", "russet", "russet-0"))
    repetitions = max(run["rep"] for run in runs.runs) + 1
    yield f"Commit {runs.commit}, {runs.day}; {machine()}; data and repositories on tmpfs. Medians of {repetitions}."
    yield f"Beside russet: {'; '.join(versions)}.\n"
    yield from first_table(runs)
    yield from every_table(runs)
    yield from (f"\n- {warning}" for warning in dict.fromkeys(warnings(runs)))

BEGIN, END = "<!-- table: written by `benches/run table --write` -->", "<!-- end of table -->"

def show(kept, write):
    lines = "\n".join(markdown(Runs(kept)))
    print(lines)
    if write:
        path = os.path.join(place.ROOT, write)
        with open(path) as file:
            text = file.read()
        if BEGIN not in text or END not in text:
            sys.exit(f"{write} has no place for the table: it lies between {BEGIN} and {END}")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        with open(path, "w") as file:
            file.write(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}")
