"""The data, the repositories made of it, and what must hold for them after any fault."""
import hashlib, json, os, pathlib, random, re, shutil, sqlite3, subprocess, threading, time

PASSWORD = "correct horse battery staple 42"
NEW_PASSWORD = "another staple battery horse 43"
TO_PASSWORD = "a third horse staple battery 44"
ENDED_BY_KILL = -9


class Finding(Exception):
    """Something that russet promises did not hold."""


class Missing(Exception):
    """A tool is not here, so a part cannot run; the text is the sentence to say."""


class World:
    """Where everything lies, and what all trials share."""

    def __init__(self, binary, work, seed, long, jobs):
        self.binary, self.work, self.seed, self.long, self.jobs = binary, work, seed, long, jobs
        self.rng = random.Random(seed)
        self.lock = threading.Lock()
        self.counter = self.done = 0
        self.until = self.minutes = None
        self.templates = {}
        self.codes = documented_codes(binary)
        self.source = work / "data/source"
        self.generations = make_generations(work / "data", random.Random(seed))
        self.base = self._make_base()

    def begin_part(self, minutes):
        self.minutes = minutes
        self.done, self.until = 0, minutes and time.monotonic() + minutes * 60

    def is_late(self):
        return bool(self.until) and time.monotonic() > self.until

    def folder(self, label):
        with self.lock:
            self.counter += 1
            return self.work / f"{self.counter:05}-{label}"

    def _make_base(self):
        """A repository with the first three generations in it, and a key file that only adds."""
        trial = Trial(self, self.work / "base")
        trial.make_folders()
        # All generations come from the same place, so they are states of the same thing.
        for number in range(3):
            self.show(number)
            trial.expect(["backup", "--from", str(self.source)])
        trial.expect(["key", "add", "--write-only", "--to", str(trial.key_file)])
        self.show(3)
        truth = {digest for _, digest in self.generations[:3]}
        trial.check(truth, truth)
        return trial

    def show(self, number):
        """Puts a generation where the backups look."""
        shutil.rmtree(self.source, ignore_errors=True)
        shutil.copytree(self.generations[number][0], self.source)

    def template(self, case):
        """What a case begins with; made once."""
        with self.lock:
            found = self.templates.get(case.name)
        if found is None:
            found = self.base.copy(self.folder(f"template-{case.name}"))
            case.prepare(found)
            if case.broken is None:
                found.check(case.required, case.allowed)
            with self.lock:
                self.templates[case.name] = found
        return found

    def trial(self, case, below=None):
        """A fresh trial of a case; `below` is a folder on another file system for its repositories."""
        return self.template(case).copy(self.folder(case.name), below)


class Trial:
    """A repository of its own, with cache and state of its own."""

    def __init__(self, world, folder, below=None):
        self.world, self.folder = world, folder
        self.disk = below or folder / "disk"
        self.repo, self.other = self.disk / "repo", self.disk / "other"
        self.key_file = folder / "write.key"
        self.password = PASSWORD
        self.given = {}
        # Snapshots of which it was said that something of the source is not in them.
        self.incomplete = set()

    def make_folders(self):
        for part in ("home", "cache", "state"):
            (self.folder / part).mkdir(parents=True)
        self.disk.mkdir(parents=True, exist_ok=True)

    def copy(self, folder, below=None):
        made = Trial(self.world, folder, below)
        made.make_folders()
        for part in ("home", "cache", "state"):
            shutil.copytree(self.folder / part, folder / part, dirs_exist_ok=True)
        shutil.copytree(self.disk, made.disk, dirs_exist_ok=True)
        if self.key_file.exists():
            shutil.copy2(self.key_file, made.key_file)
        # In the long run every trial takes everything back for itself.
        made.given = {} if self.world.long else {(made.repo, id): digest for (repo, id), digest in self.given.items() if repo == self.repo}
        return made

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def env(self, more=None, key_file=False):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RUSSET_", "XDG_"))}
        env |= {"HOME": str(self.folder / "home"), "XDG_CACHE_HOME": str(self.folder / "cache"), "XDG_STATE_HOME": str(self.folder / "state"),
                "RUSSET_REPO": str(self.repo), "RUSSET_TO_PASSWORD": TO_PASSWORD, "RUST_BACKTRACE": "0"}
        env |= {"RUSSET_KEY_FILE": str(self.key_file)} if key_file else {"RUSSET_PASSWORD": self.password}
        return env | (more or {})

    def argv(self, args, prefix=()):
        return [*prefix, str(self.world.binary), *args, "--json"]

    def start(self, args, prefix=(), env=None, key_file=False):
        """Starts russet with its output in files, so that nobody has to read along."""
        out, err = open(self.folder / "stdout", "wb"), open(self.folder / "stderr", "wb")
        with out, err:
            return subprocess.Popen(self.argv(args, prefix), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                    env=self.env(env, key_file), cwd=self.folder)

    def run(self, args, prefix=(), env=None, key_file=False, limit=300):
        process = self.start(args, prefix, env, key_file)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Finding(f"`russet {' '.join(args)}` had not ended after {limit} s")
        return self.result(process.returncode)

    def result(self, code):
        text = lambda name: (self.folder / name).read_text(errors="replace")
        return Result(code, text("stdout"), text("stderr"))

    def expect(self, args, **how):
        result = self.run(args, **how)
        if result.code != 0:
            raise Finding(f"`russet {' '.join(args)}` ended with {result.code}: {result.err.strip()}")
        return result

    def find_password(self, among):
        """After a change of passwords was cut off, one of them must open the repository."""
        for password in among:
            self.password = password
            result = self.run(["key", "list"])
            if result.code == 0:
                return
            if result.code != 5:
                raise Finding(f"`russet key list` ended with {result.code}: {result.err.strip()}")
        raise Finding("neither the old password nor the new one opens the repository")

    def check(self, required, allowed, sound=True, repo=None):
        """No loss: the repository verifies, and what its snapshots give back is `required` at least, and nothing but `allowed`."""
        repo = repo or self.repo
        env = {"RUSSET_REPO": str(repo)}
        if repo == self.other:
            env["RUSSET_PASSWORD"] = TO_PASSWORD
        verified = self.run(["verify", "--read-data"], env=env)
        if sound and (verified.code != 0 or not verified.json()["sound"]):
            raise Finding(f"verify --read-data ended with {verified.code}: {verified.why()}")
        if not sound and verified.code not in (0, 8):
            raise Finding(f"verify --read-data of a damaged repository ended with {verified.code}: {verified.err.strip()}")
        given = {}
        # A snapshot is there when its file is; asking the program would cost another key derivation.
        listed = sorted(path.name for path in (repo / "snapshots").glob("*") if not path.name.startswith("."))
        # What this trial has given back before is looked at again by verify, and one of it as a whole.
        again = random.choice(listed) if listed else None
        for id in listed:
            if id == again or (repo, id) not in self.given:
                to = self.folder / "out"
                self.expect(["extract", id, "--to", str(to)], env=env)
                self.given[repo, id] = digest(to)
                shutil.rmtree(to)
            given[id] = self.given[repo, id]
            if given[id] not in allowed and id not in self.incomplete:
                raise Finding(f"snapshot {id} gives back what was never stored as one generation")
        missing = set(required) - set(given.values())
        if missing:
            raise Finding(f"{len(missing)} of {len(set(required))} generations are not given back any more")
        return given


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def json(self):
        return json.loads(self.out)

    def why(self):
        """What verify says is wrong, in short."""
        try:
            said = self.json()
            return "; ".join([f"{file['file']}: {file['why']}" for file in said["damaged"]] + [f"{len(said['touched'])} snapshots touched"])
        except (ValueError, KeyError):
            return self.err.strip()


def documented_codes(binary):
    text = subprocess.run([str(binary), "help", "exit-codes"], capture_output=True, text=True, check=True).stdout
    return {int(number): words for number, words in re.findall(r"^ +(\d+)  (.*)$", text, re.M)}


def must_be_a_clear_failure(world, result, codes=None):
    """A fault that could not be got over ends with a sentence and a documented exit code, and never with a panic or a signal."""
    if result.code < 0 or result.code == 101 or result.code not in world.codes or "panicked" in result.err:
        raise Finding(f"ended with {result.code}: {result.err.strip()}")
    if result.code == 0:
        return
    # What verify and repair have to say of a repository is no error but their answer.
    if result.code in (4, 8) and re.search(r'^  "sound": (true|false)', result.out, re.M):
        return
    try:
        # What was said on the way comes before the error.
        sentence = json.loads(result.err[re.search(r"^\{", result.err, re.M).start():])["error"]["message"]
    except (AttributeError, ValueError, KeyError):
        raise Finding(f"ended with {result.code} and without a sentence: {result.err.strip()!r}")
    if len(sentence.split()) < 3:
        raise Finding(f"ended with {result.code} and {sentence!r}, which is no sentence")
    if codes and result.code not in codes:
        raise Finding(f"ended with {result.code} ({world.codes[result.code]}) and not with one of {sorted(codes)}: {sentence}")


def digest(folder):
    """One hash over all paths and contents of a folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(str(path.relative_to(folder)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def make_generations(folder, rng):
    """Five states of a folder: a database, files of noise, and hundreds of small ones; each differs from the one before all over."""
    now = folder / "now"
    for part in ("small", "noise", "deep/er"):
        (now / part).mkdir(parents=True)
    database = sqlite3.connect(now / "messages.sqlite")
    database.execute("create table message (id integer primary key, text text, body blob)")
    made = []
    for generation in range(5):
        for n in range(2000 if generation == 0 else 150):
            database.execute("insert into message (text, body) values (?, ?)", (f"message {n} of {generation}", rng.randbytes(rng.randrange(600))))
        database.execute("update message set text = text || ? where id % 37 = ?", (f", again {generation}", generation))
        database.commit()
        for n in range(300):
            if generation == 0 or rng.random() < 0.15:
                (now / "small" / f"{n:03}.txt").write_text(f"{n} {generation} " * rng.randrange(1, 200))
        for n in range(12):
            if generation == 0 or rng.random() < 0.4:
                (now / "noise" / f"{n}.bin").write_bytes(rng.randbytes(rng.randrange(20_000, 400_000)))
        (now / "deep/er" / f"only-in-{generation}").write_bytes(rng.randbytes(5000))
        if generation:
            (now / "deep/er" / f"only-in-{generation - 1}").unlink()
        if generation == 3:
            # More than one pack, so that a run is cut off between them.
            (now / "video.bin").write_bytes(rng.randbytes(20_000_000))
        kept = folder / f"generation-{generation}"
        shutil.copytree(now, kept)
        made.append((kept, digest(kept)))
    database.close()
    return made


def flip(path, rng):
    """Changes one byte of a file."""
    with open(path, "r+b") as file:
        place = rng.randrange(path.stat().st_size)
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << rng.randrange(8))]))


def listing(folder):
    """What lies in a folder, to see whether a run has left anything."""
    return sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file())


def in_parallel(world, work, items):
    """Runs `work` on all items on a few threads until the time is over; gives back what was found as (item, finding)."""
    from concurrent.futures import ThreadPoolExecutor
    found = []

    def one(item):
        if world.is_late():
            return
        try:
            work(item)
            with world.lock:
                world.done += 1
        except Finding as finding:
            found.append((item, str(finding)))
            print(f"FINDING  {item}: {finding}", flush=True)

    with ThreadPoolExecutor(world.jobs) as pool:
        list(pool.map(one, items))
    return found
