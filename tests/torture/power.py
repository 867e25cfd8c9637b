"""The power is cut: a small guest with a disk of its own is killed while russet runs in it, and the disk is looked at here.

What the guest has synced stays, what it has not is gone. What it said on its console before the cut was finished, so it must be there."""
import os, pathlib, random, re, shlex, shutil, signal, subprocess, time

from world import PASSWORD, Finding, Missing

KIB = 1024


def run(world):
    rig = os.environ.get("RUSSET_RIG")
    if not rig or not os.access(f"{rig}/vmrun", os.X_OK):
        raise Missing("RUSSET_RIG does not name a guest")
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        raise Missing("only root, with mkfs.ext4, can look at the guest's disk")
    wanted, cuts, finished, left, found = 50 if world.long else 3, 0, 0, 0, []
    rng = random.Random(world.seed)
    number = 0
    while cuts < wanted and not world.is_late():
        number += 1
        cut = Cut(world, rig, rng, number)
        try:
            ended = cut.run()
            cuts += ended
            finished += len(cut.reported)
            cut.check()
            left += cut.new_files
            shutil.rmtree(cut.folder)
        except Finding as finding:
            found.append((f"cut {number}", f"{finding} (kept in {cut.folder})"))
            print(f"FINDING  cut {number}: {finding}", flush=True)
        if number > 2 * wanted + 3:
            raise Finding("the guest ends before its power can be cut")
    return found, f"{cuts} power cuts, {finished} runs reported as finished before them, all of them looked for; {left} cuts left the disk with more than those"


class Cut:
    def __init__(self, world, rig, rng, number):
        self.world, self.rig, self.rng = world, rig, rng
        self.folder = world.folder("power")
        self.mount = self.folder / "mnt"
        self.mount.mkdir(parents=True)
        self.image, self.console = self.folder / "disk.img", self.folder / "console"
        # Backups with the key that only adds, or everything that removes and writes again, with the password.
        self.letting_go = number % 3 == 0
        self.reported, self.new_files = [], 0
        self.truth = {digest: place for place, digest in world.generations}
        with open(self.image, "wb") as image:
            image.truncate(192 * KIB * KIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)
        self.look(self._furnish)
        self.before = set(os.listdir(world.base.repo / "snapshots"))

    def _furnish(self):
        """The guest sees little of this machine for sure, so what it needs comes on the disk."""
        shutil.copytree(self.world.base.repo, self.mount / "repo")
        shutil.copy2(self.world.binary, self.mount / "russet")
        shutil.copy2(self.world.base.key_file, self.mount / "key")
        for number in (1, 2):
            shutil.copytree(self.world.generations[number][0], self.mount / f"source-{number}")

    def look(self, at):
        """Mounts the disk here; the journal is replayed as after any power cut."""
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.mount)], check=True)
        try:
            return at()
        finally:
            subprocess.run(["umount", str(self.mount)], check=True)

    def script(self):
        """What the guest does until its power is cut: runs whose end it reports as soon as it knows of it."""
        russet = "/run/disk/russet"
        lines = ["mkdir -p /run/r/source /run/disk && mount /dev/vda /run/disk", "export HOME=/run/r XDG_CACHE_HOME=/run/r/cache XDG_STATE_HOME=/run/r/state",
                 "export RUSSET_REPO=/run/disk/repo"]
        backup = f"RUSSET_KEY_FILE=/run/disk/key {russet} backup --from /run/r/source --json 2>/run/r/err"
        report = "sed -n 's/^ *\"snapshot\": \"\\(.*\\)\".*/FINISHED \\1 /p'"
        lines.append("echo BEGIN")
        for turn in range(40):
            # Not the large file: the emulated processor would be busy with nothing else.
            lines.append(f"rm -rf /run/r/source; cp -r /run/disk/source-{1 + turn % 2} /run/r/source; head -c 200000 /dev/urandom > /run/r/source/noise; "
                         f"(cd /run/r/source && find . -type f -exec sha256sum {{}} + | sort | sha256sum | sed 's/^/SOURCE /'); "
                         f"if {backup} >/run/r/out; then {report} /run/r/out; else echo FAILED backup; cat /run/r/err; fi")
            if self.letting_go:
                lines.append(f"if RUSSET_PASSWORD={shlex.quote(PASSWORD)} {russet} forget --keep-last 2 --yes --prune --nothing-else-runs --json "
                             ">/run/r/out 2>/run/r/err; then echo LETGO; else echo FAILED forget; cat /run/r/err; fi")
        return "\n".join(lines)

    def run(self):
        """True if the power was cut while the guest was at work."""
        env = os.environ | {"DISK": str(self.image), "LIMIT": "900"}
        with open(self.console, "wb") as console:
            vm = subprocess.Popen([f"{self.rig}/vmrun", self.script()], stdout=console, stderr=subprocess.STDOUT, env=env)
        # So many runs are let through, and then the power goes somewhere in the next one, which takes about as long as the one before.
        wanted, share = self.rng.choice((0, 1, 1, 2, 3)), self.rng.uniform(0, 1.1)
        begun, marks, until = None, [], None
        while vm.poll() is None and (until is None or time.monotonic() < until):
            time.sleep(0.05)
            said = self.console.read_bytes()
            begun = begun or (time.monotonic() if b"SOURCE" in said else None)
            while len(marks) < said.count(b"FINISHED") + said.count(b"LETGO"):
                marks.append(time.monotonic())
            if until is None and begun and len(marks) >= wanted:
                times = [begun, *marks]
                last = times[-1] - times[-2] if marks else 15
                until = time.monotonic() + share * last
        running = vm.poll() is None
        for pid in machines(vm.pid):
            os.kill(pid, signal.SIGKILL)
        vm.wait()
        said = self.console.read_text(errors="replace")
        if begun is None:
            raise Finding(f"the guest did not begin: {said[-500:]}")
        if "FAILED" in said:
            raise Finding(f"a run failed in the guest: {said[said.index('FAILED'):][:500]}")
        self.reported = re.findall(r"^FINISHED ([0-9a-f]{64}) ", said, re.M)
        self.let_go = "LETGO" in said
        self.said = said
        return running

    def check(self):
        self.look(self._check)

    def _check(self):
        trial = self.world.base.copy(self.world.folder("looked"))
        shutil.rmtree(trial.disk)
        trial.repo = self.mount / "repo"
        verified = trial.run(["verify", "--read-data"])
        if verified.code != 0:
            raise Finding(f"verify --read-data ended with {verified.code}: {verified.why()}")
        there = [path for path in os.listdir(trial.repo / "snapshots") if not path.startswith(".")]
        kept = [*sorted(self.before), *self.reported] if not self.letting_go else self.reported[-1:]
        sources = re.findall(r"^SOURCE ([0-9a-f]{64}) ", self.said, re.M)
        for id in kept:
            if id not in there:
                raise Finding(f"snapshot {id} was reported as finished and is gone")
        for id in there:
            to = trial.folder / "out"
            trial.expect(["extract", id, "--to", str(to)])
            listed = subprocess.run("find . -type f -exec sha256sum {} + | sort | sha256sum", shell=True, cwd=to, capture_output=True, text=True, check=True).stdout[:64]
            known = set(self.truths()) | set(sources)
            if listed not in known or id in self.reported and listed != sources[self.reported.index(id)]:
                raise Finding(f"snapshot {id} does not give back what was stored")
            shutil.rmtree(to)
        self.new_files = set(there) != self.before | set(self.reported) or any(trial.repo.rglob(".russet-*"))
        # The next run needs no help.
        trial.expect(["prune", "--nothing-else-runs"])
        trial.expect(["backup", "--from", str(self.world.source)])
        after = trial.run(["verify", "--read-data"])
        if after.code != 0:
            raise Finding(f"after the next run, verify --read-data ended with {after.code}: {after.why()}")
        trial.remove()

    def truths(self):
        for place, _ in self.world.generations:
            yield subprocess.run("find . -type f -exec sha256sum {} + | sort | sha256sum", shell=True, cwd=place, capture_output=True, text=True, check=True).stdout[:64]


def machines(parent):
    """The emulators among the descendants of a process."""
    children = pathlib.Path(f"/proc/{parent}/task/{parent}/children")
    try:
        pids = [int(pid) for pid in children.read_text().split()]
    except OSError:
        return
    for pid in pids:
        yield from machines(pid)
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("qemu"):
                yield pid
        except OSError:
            pass
