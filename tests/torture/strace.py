"""Faults put into system calls with strace, and what its log says about the order of writes."""
import os, pathlib, re, shutil, subprocess

from world import Finding, Missing

WRITES = ["write", "pwrite64"]
SYNCS = ["fsync", "fdatasync"]
RENAMES = ["rename", "renameat", "renameat2", "link", "linkat"]
READS = ["read", "pread64"]
OPENS = ["openat"]
# A file counts as stored when it has one of these names.
KEPT = ("packs/", "index/", "snapshots/", "mirror/", "keys/", "vault/", "condemned/", "config")


def must_be_here():
    if not shutil.which("strace"):
        raise Missing("strace is not installed")
    if subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True).returncode != 0:
        raise Missing("strace may not trace here")


def prefix(log, inject=None):
    names = ",".join(f"?{name}" for name in WRITES + SYNCS + RENAMES + READS + OPENS + ["mkdir", "mkdirat"])
    return ["strace", "-f", "-y", "-qq", "-s", "300", "-e", "signal=none", "-e", f"trace={names}", *(["-e", f"inject={inject}"] if inject else []), "-o", str(log)]


class Call:
    """A call out of a log: which thread, its name, its arguments, what it returned, and whether the fault was put into it."""

    def __init__(self, thread, name, args, result):
        self.thread, self.name, self.args = thread, name, args
        self.failed = result.startswith(("-1", "?"))
        self.injected = "INJECTED" in result
        self.error = (re.search(r"-1 (\w+)", result) or [None, None])[1]

    def path(self):
        """What the call was about: its descriptor's path, or the last name in it."""
        if found := re.match(r"\d+<([^>]*)>", self.args):
            return found[1]
        names = re.findall(r'"((?:[^"\\]|\\.)*)"', self.args)
        return names[-1] if names else ""

    def names(self):
        return re.findall(r'"((?:[^"\\]|\\.)*)"', self.args)


def calls(log):
    """The finished calls of a log, each where it ended."""
    begun = {}
    for line in log.read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[thread] = rest.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", rest):
            rest = begun.pop(thread, "") + rest[resumed.end():]
        if found := re.match(r"(\w+)\((.*)\) += (.*)$", rest):
            yield Call(thread, found[1], found[2], found[3])


def places(case, world, names, below=("disk",)):
    """The calls worth a fault: for each name, the ordinals (counted in a thread, as strace does) of those below the repositories."""
    trial = world.trial(case)
    log = trial.folder / "strace"
    result = case.run(trial, prefix(log))
    if result.code != 0:
        raise Finding(f"{case} ends with {result.code} under strace: {result.err.strip()}")
    check_order(log, trial, True)
    wanted, counted = {}, {}
    for call in calls(log):
        if call.name not in names:
            continue
        counted[call.thread, call.name] = counted.get((call.thread, call.name), 0) + 1
        if any(call.path().startswith(f"{trial.folder / part}/") for part in below):
            wanted.setdefault(call.name, set()).add(counted[call.thread, call.name])
    trial.remove()
    return [(name, ordinal) for name in sorted(wanted) for ordinal in sorted(wanted[name])]


def check_order(log, trial, ended_well=False):
    """No file gets its name before its bytes were synced, no snapshot its own before all that came before it is durable, and a run that
    says that it is done has synced every folder."""
    state, folders = {}, set()
    for call in calls(log):
        path = call.path()
        if call.name == "openat" and "O_CREAT" in call.args and not call.failed:
            state[path] = "written"
        elif call.name in WRITES and path in state:
            state[path] = "written" if state[path] != "failed" else "failed"
        elif call.name in SYNCS:
            if call.failed:
                state[path] = "failed"
            else:
                if state.get(path) != "failed":
                    state[path] = "synced"
                folders.discard(path)
        elif call.name.startswith("mkdir") and not call.failed:
            if path.startswith((f"{trial.repo}/", f"{trial.other}/")):
                folders.add(str(pathlib.Path(path).parent))
        elif call.name in RENAMES and not call.failed:
            begin, end = call.names()[0], call.names()[-1]
            for root in (trial.repo, trial.other):
                name = end.removeprefix(f"{root}/")
                if name == end or not name.startswith(KEPT):
                    continue
                if state.get(begin) != "synced":
                    raise Finding(f"{name} got its name while its bytes were {state.get(begin, 'never written')}")
                if name.startswith("snapshots/"):
                    if late := sorted(folder for folder in folders if folder.startswith(f"{root}/")):
                        raise Finding(f"{name} was there before {late[0]} was synced")
                folders.add(str(pathlib.Path(end).parent))
    if ended_well and folders:
        raise Finding(f"the run ended with 0 and has not synced {sorted(folders)[0]}")
