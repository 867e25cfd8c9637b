"""The commands that write to a repository, each with what must hold before, while and after it runs."""
from world import NEW_PASSWORD, PASSWORD, TO_PASSWORD, Finding, flip


class Case:
    """One command. `required` must be given back by the repository whatever happens to the run, `allowed` is what may be in it."""

    def __init__(self, world, name, args, required=(0, 1, 2), allowed=None, prepare=None, done=None, env=None, key_file=False, broken=None):
        truth = [digest for _, digest in world.generations]
        self.world, self.name, self.args = world, name, args
        self.required = {truth[n] for n in required}
        self.allowed = self.required | {truth[n] for n in allowed or ()}
        self.prepare = prepare or (lambda trial: None)
        self.done = done or (lambda trial, result: None)
        self.env, self.key_file = env or {}, key_file
        # None: it is sound; "heals": damaged, and reading heals it; "index": nothing can be read until it is repaired.
        self.broken = broken

    def __repr__(self):
        return self.name

    def run(self, trial, prefix=()):
        return trial.run(self.args, prefix=prefix, env=self.env, key_file=self.key_file)

    def start(self, trial, prefix=()):
        return trial.start(self.args, prefix=prefix, env=self.env, key_file=self.key_file)

    def _settle(self, trial):
        if "RUSSET_NEW_PASSWORD" in self.env:
            trial.find_password([PASSWORD, NEW_PASSWORD])

    def check_interrupted(self, trial):
        """What must hold after the run was cut off anywhere."""
        self._settle(trial)
        if self.broken != "index":
            trial.check(self.required, self.allowed, sound=self.broken is None)
        if self.name == "copy":
            verified = trial.run(["verify", "--read-data"], env={"RUSSET_REPO": str(trial.other), "RUSSET_PASSWORD": TO_PASSWORD})
            if verified.code not in (0, 7):
                raise Finding(f"verify of the copy ended with {verified.code}: {verified.why()}")

    def check_next(self, trial):
        """The next run of the same command succeeds without help, and does what it is there for."""
        result = self.run(trial)
        if result.code != 0:
            raise Finding(f"the next run ended with {result.code}: {result.err.strip()}")
        self.check_done(trial, result)

    def check_done(self, trial, result):
        self._settle(trial)
        given = trial.check(self.required, self.allowed)
        self.done(trial, result, given)


def all_cases(world):
    truth = [digest for _, digest in world.generations]
    new = str(world.source)
    nothing = lambda trial, result, given: None

    def backed_up(trial, result, given):
        if given.get(result.json()["snapshot"]) != truth[3]:
            raise Finding("the snapshot that was reported does not give back what was stored")

    def only(*kept):
        def done(trial, result, given):
            if set(given.values()) != {truth[n] for n in kept}:
                raise Finding("what was to be forgotten is still there")
        return done

    def opens_with_new(trial, result, given):
        trial.password = NEW_PASSWORD
        trial.expect(["key", "list"])

    def parity_is_10(trial, result, given):
        if trial.expect(["parity"]).json()["percent"] != 10:
            raise Finding("parity is not what was set")

    def copied(trial, result, given):
        there = trial.check(set(truth[:3]), set(truth[:3]), repo=trial.other)
        if len(there) != len(given):
            raise Finding(f"{len(there)} of {len(given)} snapshots were copied")

    def forgotten(trial):
        trial.expect(["forget", "--keep-last", "1", "--yes"])

    def index_broken(trial):
        for path in [*(trial.repo / "index").iterdir(), *(trial.repo / "mirror/index").iterdir()]:
            flip(path, world.rng)
        (trial.repo / "mirror/config").unlink()

    def bytes_rotten(trial):
        for path in (trial.repo / "packs").rglob("*"):
            if path.is_file():
                flip(path, world.rng)
        flip(sorted((trial.repo / "snapshots").iterdir())[0], world.rng)
        sorted((trial.repo / "mirror/index").iterdir())[0].unlink()

    password = {"RUSSET_NEW_PASSWORD": NEW_PASSWORD}
    return [
        Case(world, "backup", ["backup", "--from", new], allowed=[3], done=backed_up),
        Case(world, "backup-key-file", ["backup", "--from", new], allowed=[3], done=backed_up, key_file=True),
        Case(world, "forget", ["forget", "--keep-last", "2", "--yes"], required=[1, 2], allowed=[0], done=only(1, 2)),
        Case(world, "forget-prune", ["forget", "--keep-last", "2", "--yes", "--prune", "--nothing-else-runs"], required=[1, 2], allowed=[0], done=only(1, 2)),
        Case(world, "prune", ["prune", "--nothing-else-runs", "--max-unused", "0%"], required=[2], prepare=forgotten, done=nothing),
        Case(world, "prune-condemns", ["prune", "--max-unused", "0%"], required=[2], prepare=forgotten, done=nothing),
        Case(world, "key-add", ["key", "add"], env=password, done=opens_with_new),
        Case(world, "key-change", ["key", "change"], env=password, done=nothing),
        Case(world, "key-rotate", ["key", "rotate", "--yes"], env=password, done=nothing),
        Case(world, "key-rotate-reseal", ["key", "rotate", "--reseal", "--yes"], env=password, done=nothing),
        Case(world, "copy", ["copy", "--to", "disk/other"], done=copied),
        Case(world, "repair", ["repair", "--yes"], prepare=index_broken, done=nothing, broken="index"),
        Case(world, "verify-repair", ["verify", "--repair"], prepare=bytes_rotten, done=nothing, broken="heals"),
        Case(world, "parity", ["parity", "10"], done=parity_is_10),
    ]
