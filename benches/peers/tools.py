"""The tools, as command lines. Each gets what it needs to be at its best, and its fastest setting is a tool of its own.

A method gives the commands of one step, which are timed together. `n` is the number of the snapshot that is made or meant.
"""
import os
from . import place

PASSWORD = "correct-horse-battery"
PHONE_PASSWORD = "a password for the phone"

class Tool:
    """One tool in one empty work folder: `repo`, `cache` and `to` are in it; `source` is the data."""
    binary = None

    def __init__(self, work, source, leaf, apple):
        self.work, self.source, self.leaf, self.apple = work, source, leaf, apple
        self.repo, self.cache, self.to = f"{work}/repo", f"{work}/cache", f"{work}/to"
        self.env = {"HOME": self.cache, "TMPDIR": self.cache, "LC_ALL": "C.UTF-8"}
        self.env |= {f"XDG_{name}_HOME": self.cache for name in ("CACHE", "CONFIG", "DATA", "STATE")}

    def setup(self):
        return []

    def before(self, step):
        """What a step needs first, untimed."""
        return []

    def version(self):
        return [self.binary, "--version"]

class Russet(Tool):
    binary = place.RUSSET

    def __init__(self, *rest):
        super().__init__(*rest)
        self.env |= {"RUSSET_REPO": self.repo, "RUSSET_PASSWORD": PASSWORD, "RUSSET_PHONE_PASSWORD": PHONE_PASSWORD}
        self.with_key = [self.binary, "backup", "--quiet", "--from", self.source, "--key-file", f"{self.cache}/key"]

    def backup(self, n):
        return [[self.binary, "backup", "--quiet", "--from", self.source]]

    def before(self, step):
        # The key's own memory is filled by its first run, as a password's cache is by `first`.
        return [[self.binary, "key", "add", "--write-only", "--to", f"{self.cache}/key"], self.with_key] if step == "keyed" else []

    def keyed(self, n):
        return [self.with_key]

    def open(self, n):
        return [[self.binary, "key", "list"]]

    def list(self, n):
        return [[self.binary, "ls", "-r", "latest"]]

    def restore(self, n):
        whole = ["--as-apple-backup", "--to", f"{self.to}/{os.path.basename(self.leaf)}"] if self.apple else ["--to", self.to]
        return [[self.binary, "extract", "latest", "--quiet", *whole]]

    def verify(self, n):
        return [[self.binary, "verify", "--read-data"]]

    def prune(self, n):
        return [[self.binary, "forget", "--keep-last", "2", "--yes", "--prune", "--nothing-else-runs"]]

class RussetWithoutParity(Russet):
    """What no peer writes, left out here as well."""
    def backup(self, n):
        [command] = super().backup(n)
        return [command if os.path.exists(self.repo) else [*command, "--parity", "0"]]

class Restic(Tool):
    binary = place.RESTIC

    def __init__(self, *rest):
        super().__init__(*rest)
        self.env["RESTIC_PASSWORD"] = PASSWORD
        self.base = [self.binary, "-q", "-r", self.repo, "--cache-dir", self.cache]

    def version(self):
        return [self.binary, "version"]

    def setup(self):
        return [self.base + ["init"]]

    def backup(self, n):
        return [self.base + ["backup", self.source]]

    def list(self, n):
        return [self.base + ["ls", "latest"]]

    def restore(self, n):
        return [self.base + ["restore", "latest", "--target", self.to]]

    def verify(self, n):
        return [self.base + ["check", "--read-data"]]

    def prune(self, n):
        return [self.base + ["forget", "--keep-last", "2", "--prune"]]

class Rustic(Restic):
    binary = place.RUSTIC
    init, put = [], []

    def __init__(self, *rest):
        super().__init__(*rest)
        self.env["RUSTIC_PASSWORD"] = PASSWORD
        self.base = [self.binary, "-r", self.repo, "--cache-dir", self.cache, "--no-progress", "--log-level", "warn"]

    def version(self):
        return [self.binary, "--version"]

    def setup(self):
        return [self.base + ["init", *self.init]]

    def backup(self, n):
        return [self.base + ["backup", *self.put, self.source]]

    def restore(self, n):
        return [self.base + ["restore", "latest", self.to]]

    def prune(self, n):
        return [self.base + ["forget", "--keep-last", "2", "--prune", "--instant-delete", "--keep-delete", "0s"]]

class RusticFast(Rustic):
    init, put = ["--set-compression=-5", "--set-datapack-size", "64MiB"], ["--no-scan"]

class Borg(Tool):
    binary = place.BORG
    put = []

    def __init__(self, *rest):
        super().__init__(*rest)
        self.env |= {"BORG_PASSPHRASE": PASSWORD, "BORG_BASE_DIR": self.cache}

    def setup(self):
        return [[self.binary, "init", "-e", "repokey", self.repo]]

    def backup(self, n):
        return [[self.binary, "create", *self.put, f"{self.repo}::a{n}", self.source]]

    def list(self, n):
        return [[self.binary, "list", f"{self.repo}::a{n}"]]

    def restore(self, n):
        return [["env", "-C", self.to, self.binary, "extract", f"{self.repo}::a{n}"]]

    def verify(self, n):
        return [[self.binary, "check", "--verify-data", self.repo]]

    def prune(self, n):
        return [[self.binary, "prune", "--keep-last", "2", self.repo], [self.binary, "compact", self.repo]]

class BorgFast(Borg):
    put = ["-C", "none", "--noacls", "--noxattrs", "--noflags"]

class Bupstash(Tool):
    binary = place.BUPSTASH
    put = []

    def __init__(self, *rest):
        super().__init__(*rest)
        self.key = ["-k", f"{self.cache}/key", "-r", self.repo]
        self.query = ["--quiet", *self.key, "--query-cache", f"{self.cache}/queries"]

    def setup(self):
        return [[self.binary, "new-key", "-o", f"{self.cache}/key"], [self.binary, "init", "-r", self.repo]]

    def backup(self, n):
        return [[self.binary, "put", "--quiet", *self.put, *self.key, "--send-log", f"{self.cache}/sent", f"name=a{n}", self.source]]

    def list(self, n):
        return [[self.binary, "list-contents", *self.query, f"name=a{n}"]]

    def restore(self, n):
        return [[self.binary, "restore", *self.query, "--into", self.to, f"name=a{n}"]]

    def verify(self, n):
        # It has no check of a repository: reading the last snapshot whole is what comes nearest.
        return [[self.binary, "get", *self.query, f"name=a{n}"]]

    def prune(self, n):
        gone = [[self.binary, "rm", *self.query, f"name=a{old}"] for old in range(1, n - 1)]
        return [*gone, [self.binary, "gc", "--quiet", "-r", self.repo]]

class BupstashFast(Bupstash):
    put = ["--compression", "lz4"]

class Copy(Tool):
    """No archive: what making a folder again is compared with."""
    binary = "/bin/cp"

    def restore(self, n):
        return [[self.binary, "-r", self.leaf, self.to]]

ALL = {
    "russet": Russet,
    "russet-0": RussetWithoutParity,
    "restic": Restic,
    "rustic": Rustic,
    "rustic-5": RusticFast,
    "borg": Borg,
    "borg-none": BorgFast,
    "bupstash": Bupstash,
    "bupstash-lz4": BupstashFast,
    "cp": Copy,
}
PEERS = [name for name in ALL if name not in ("russet", "russet-0", "cp")]
