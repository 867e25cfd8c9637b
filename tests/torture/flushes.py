"""The power goes at any moment of a run that was written down, and the disk keeps of what it was not told to flush as little as it likes.

What was reported as done must be there, whole. One run in a guest gives as many cuts as one wants."""
import random, shlex, shutil, socket, subprocess

import guest
from world import NEW_PASSWORD, PASSWORD, TO_PASSWORD, Finding, Trial, digest, in_parallel


class Step:
    """A command in the guest. `held` are the generations that the repository has after it; `shows` is the one that it stores."""

    def __init__(self, name, args, held, shows=None, env=None, sound=True, shell=None):
        self.name, self.args, self.held, self.shows, self.env, self.sound, self.shell = name, args, held, shows, env or {}, sound, shell


DAMAGE = 'for pack in $(find disk/repo/packs -type f); do printf "\\377" | dd of=$pack bs=1 seek=5000 conv=notrunc,fsync 2>/dev/null; done'
FIRST = Step("what was there before", None, {0, 1})
BACKUP = Step("backup", ["backup", "--from", "{now}"], {0, 1, 2}, shows=2)
FORGET_PRUNE = Step("forget --prune", ["forget", "--keep-last", "2", "--yes", "--prune", "--nothing-else-runs"], {1, 2})
SHORT = [FIRST, BACKUP, FORGET_PRUNE]
LONG = [
    FIRST, BACKUP, Step("forget", ["forget", "--keep-last", "2", "--yes"], {1, 2}),
    Step("prune", ["prune", "--nothing-else-runs", "--max-unused", "0%"], {1, 2}),
    Step("backup again", ["backup", "--from", "{now}"], {1, 2, 3}, shows=3),
    Step("copy", ["copy", "--to", "disk/other"], {1, 2, 3}),
    Step("parity", ["parity", "10"], {1, 2, 3}),
    Step("damage", None, {1, 2, 3}, sound=False, shell=DAMAGE),
    Step("verify --repair", ["verify", "--repair"], {1, 2, 3}),
    Step("key rotate", ["key", "rotate", "--yes"], {1, 2, 3}, env={"RUSSET_NEW_PASSWORD": NEW_PASSWORD}),
]


class OnDisk(Trial):
    """A repository on the guest's disk, with its cache and state on the same disk: the power is cut for them too."""

    def env(self, more=None, key_file=False):
        place = self.disk
        return super().env({"HOME": str(place / "home"), "XDG_CACHE_HOME": str(place / "cache"), "XDG_STATE_HOME": str(place / "state")}
                           | (more or {}), key_file)


class Power:
    def __init__(self, world, rig, source):
        self.world, self.rig, self.source = world, rig, source
        self.steps = LONG if world.long else SHORT
        self.folder = world.folder("power")
        self.folder.mkdir()
        self.truth = make_source(source, random.Random(world.seed))
        self.image = self.folder / "disk.image"
        self.make_first()

    def make_first(self):
        trial = OnDisk(self.world, self.folder / "first", self.folder / "first/content")
        trial.make_folders()
        for number in (0, 1):
            shutil.copytree(self.source / f"g{number}", self.source / "now", dirs_exist_ok=True)
            trial.expect(["backup", "--from", str(self.source / "now")])
            shutil.rmtree(self.source / "now")
        (self.source / "now").mkdir()
        guest.make_disk(self.image, trial.disk)

    def script(self):
        env = {"RUSSET_REPO": "/tmp/cut/disk/repo", "RUSSET_PASSWORD": PASSWORD, "RUSSET_TO_PASSWORD": TO_PASSWORD, "HOME": "/tmp/cut/disk/home",
               "XDG_CACHE_HOME": "/tmp/cut/disk/cache", "XDG_STATE_HOME": "/tmp/cut/disk/state"}
        # Snapshots of one folder belong together only if they come from one computer.
        lines = ["set -e", f"echo {shlex.quote(socket.gethostname())} > /proc/sys/kernel/hostname", guest.mark_command(),
                 "mkdir -p /tmp/cut/disk; cd /tmp/cut; mount -t ext4 /dev/vda disk"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
        for number, step in enumerate(self.steps[1:], 1):
            if step.shows is not None:
                lines.append(f"mount --bind {self.source}/g{step.shows} {self.source}/now")
            if step.shell:
                lines.append(step.shell)
            else:
                words = [str(self.world.binary), *(word.format(now=self.source / "now") for word in step.args), "--json"]
                lines.append(" ".join([*(f"{name}={shlex.quote(value)}" for name, value in step.env.items()), shlex.join(words)]))
            lines.append(f"reported {number}")
        return "\n".join(lines)

    def copy_image(self, name):
        path = self.folder / f"{name}.image"
        subprocess.run(["cp", "--sparse=always", str(self.image), str(path)], check=True)
        return path

    def record(self):
        """One run to its end, written down."""
        log = self.folder / "log"
        image = self.copy_image("recorded")
        guest.Guest(self.rig, self.script(), image, self.folder / "console", log).wait()
        if guest.mark_in(image) != len(self.steps) - 1:
            raise Finding("the guest ended before its last step")
        image.unlink()
        return guest.Log(log)

    def check(self, image, done, name):
        """After the cut: what was reported is there, and what was being done is done by the next run."""
        before, now = self.steps[done], self.steps[min(done + 1, len(self.steps) - 1)]
        digests = lambda numbers: {self.truth[number] for number in numbers}
        trial = OnDisk(self.world, self.folder / name, self.folder / name / "disk")
        trial.folder.mkdir()
        with guest.Mounted(image, trial.disk):
            self.settle(trial, done)
            trial.check(digests(before.held & now.held), digests(before.held | now.held), sound=before.sound and now.sound)
            self.check_copy(trial, done)
            if now.shell:
                now = self.steps[done + 2]
            result = trial.run([word.format(now=self.source / f"g{now.shows}") for word in now.args], env=now.env)
            if result.code != 0:
                raise Finding(f"the next run of {now.name} ended with {result.code}: {result.err.strip()}")
            self.settle(trial, len(self.steps) - 1)
            trial.check(digests(now.held), digests(before.held | now.held))
        image.unlink()
        shutil.rmtree(trial.folder)

    def settle(self, trial, done):
        if any(step.env for step in self.steps[:done + 2]):
            trial.find_password([PASSWORD, NEW_PASSWORD])

    def check_copy(self, trial, done):
        names = [step.name for step in self.steps]
        if "copy" not in names:
            return
        if done >= names.index("copy"):
            held = {self.truth[number] for number in self.steps[names.index("copy")].held}
            trial.check(held, held, repo=trial.other)
        elif done + 1 == names.index("copy"):
            verified = trial.run(["verify", "--read-data"], env={"RUSSET_REPO": str(trial.other), "RUSSET_PASSWORD": TO_PASSWORD})
            if verified.code not in (0, 7):
                raise Finding(f"verify of the copy ended with {verified.code}: {verified.err.strip()}")


def run(world):
    rig = guest.must_be_here()
    source = guest.visible_folder()
    try:
        power = Power(world, rig, source)
        log = power.record()
        cuts = choose(log, random.Random(world.seed), 60 if world.long else 6)
        found = in_parallel(world, lambda cut: cut_in_log(power, log, cut), cuts)
        return found, f"{world.done + len(found)} of {len(cuts)} cuts in {len(log.entries)} writes and flushes of {len(power.steps) - 1} commands"
    finally:
        shutil.rmtree(source, ignore_errors=True)


def choose(log, rng, wanted):
    """Half of the cuts come right after something was reported, when nothing later has flushed it; the others come anywhere."""
    marks = [at for at, _ in log.marks]
    cuts = [(number, marks[number % len(marks)], ("nothing", "some")[number // len(marks) % 2]) for number in range(min(wanted // 2, 2 * len(marks)))]
    while len(cuts) < wanted:
        cuts.append((len(cuts), rng.randrange(1, marks[-1]), ("nothing", "some", "all", "some")[len(cuts) % 4]))
    return [(f"cut-{number}", at, kept) for number, at, kept in cuts]


def cut_in_log(power, log, cut):
    name, at, kept = cut
    image = power.copy_image(name)
    log.lay(image, at, kept, random.Random(f"{power.world.seed} {name}"))
    try:
        power.check(image, log.reported(at), name)
    except Finding as finding:
        raise Finding(f"{finding} (after {log.reported(at)} commands; image {image})")


def make_source(folder, rng):
    """Four small states of a folder; the digest of each."""
    digests = []
    files = {}
    for generation in range(4):
        for n in range(30):
            if generation == 0 or rng.random() < 0.2:
                files[f"small/{n:02}.txt"] = f"{n} {generation} ".encode() * rng.randrange(1, 300)
        for n in range(4):
            if generation == 0 or rng.random() < 0.5:
                files[f"noise/{n}.bin"] = rng.randbytes(rng.randrange(20_000, 200_000))
        files[f"only-in-{generation}"] = rng.randbytes(3000)
        files.pop(f"only-in-{generation - 1}", None)
        for name, content in files.items():
            path = folder / f"g{generation}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        digests.append(digest(folder / f"g{generation}"))
    return digests
