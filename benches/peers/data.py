"""The data sets: found where they are, or made."""
import os, shutil, subprocess, sys, time
from . import generate, place
from .tools import PHONE_PASSWORD
from .versions import fold, switch

class Found:
    def __init__(self, name, root, source, leaf, apple):
        # `leaf` is the folder in `source` that is compared and copied: that of the phone, or `source` itself.
        self.name, self.root, self.source, self.leaf, self.apple = name, root, source, leaf, apple

    def switch(self, version):
        if os.path.exists(f"{self.root}/version"):
            switch(self.root, version)

def find_or_make(name, asked):
    """The data set of this name, or nothing if it cannot be made here, which is said."""
    if name == "rounds":
        return None
    if name == "sources":
        return sources(f"{asked.data}/ds3")
    at = asked.phone or f"{asked.data}/ds1" if name == "phone" else f"{asked.data}/{name}"
    if not os.path.exists(f"{at}/version"):
        say(f"making {at}")
        if name == "phone":
            make_phone(at, asked)
        elif name in ("in-place", "compacted"):
            generate.make_database(at, asked.scale, name == "compacted")
        elif not make_apple(at):
            return None
    source = f"{at}/cur"
    folders = [entry.path for entry in os.scandir(source) if os.path.exists(f"{entry.path}/Manifest.plist")]
    return Found(name, at, source, folders[0] if folders else source, bool(folders))

def make_phone(at, asked):
    """Data set 1: 38,000 files and 3 GiB of a phone, a day later, and a month later."""
    other = os.path.join(place.SHARED, "bench/gen.py")
    if os.path.exists(other) and not asked.phone:
        subprocess.run([sys.executable, other, "make", at], check=True)
    else:
        generate.make(at, asked.scale)

def make_apple(at, size="3G"):
    """An encrypted Apple backup of 3 GiB, and of the day after."""
    generator = os.path.join(place.SHARED, "tools/make_apple_backup.py")
    if not os.path.exists(generator):
        say("no rows for encrypted Apple backups: their generator is not beside this folder")
        return False
    if subprocess.run([place.python(), "-c", "import cryptography"], stderr=subprocess.DEVNULL).returncode:
        say("no rows for encrypted Apple backups: their generator needs Python's `cryptography`, which `benches/run fetch` gets")
        return False
    shutil.rmtree(at, ignore_errors=True)
    make = [place.python(), generator, "--seed", "1", "--size", size, "--password", PHONE_PASSWORD, "--quiet"]
    subprocess.run([*make, "--generation", "1", "--out", f"{at}/cur"], check=True, stdout=subprocess.DEVNULL)
    # The generator replaces files and never writes into them, so what stays the same may stay one file.
    subprocess.run(["cp", "-al", f"{at}/cur", f"{at}/next"], check=True)
    subprocess.run([*make, "--generation", "2", "--out", f"{at}/next"], check=True, stdout=subprocess.DEVNULL)
    fold(f"{at}/cur", f"{at}/next", f"{at}/d12")
    with open(f"{at}/version", "w") as file:
        file.write("v1")
    return True

def sources(at):
    """Data set 3: source files, as they lie on this machine."""
    parts = {"cargo": os.path.join(os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo"), "registry/src"), "gcc": "/usr/lib/gcc"}
    if missing := [path for path in parts.values() if not os.path.isdir(path)]:
        say(f"no rows for source files: {', '.join(missing)} is not there")
        return None
    source = f"{at}/src"
    for name, path in parts.items():
        if not os.path.exists(f"{source}/{name}"):
            os.makedirs(source, exist_ok=True)
            subprocess.run(["cp", "-a", path, f"{source}/{name}"], check=True)
    return Found("sources", at, source, source, False)

def say(sentence):
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)
