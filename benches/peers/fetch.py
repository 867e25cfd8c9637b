"""Fetches the peers into the cache folder, each once: nothing is installed in the system but what building them needs."""
import glob, os, re, shutil, subprocess, sys
from . import place

# What rustic and bupstash are built with, and what borg's compression and sealing link to.
NEEDED = "libsodium-dev libacl1-dev liblz4-dev libzstd-dev libxxhash-dev libssl-dev pkg-config clang cmake nasm".split()

def fetch(names):
    os.makedirs(place.CACHE, exist_ok=True)
    wanted = {name.split("-")[0] for name in names}
    ways = {"restic": (place.RESTIC, restic), "borg": (place.BORG, borg), "rustic": (place.RUSTIC, rustic), "bupstash": (place.BUPSTASH, bupstash)}
    missing = [name for name, (path, _) in ways.items() if name in wanted and not os.path.exists(path)]
    if missing and missing != ["restic"]:
        build_needs()
    for name in missing:
        print(f"fetching {name}", file=sys.stderr, flush=True)
        try:
            ways[name][1]()
        except subprocess.CalledProcessError as error:
            print(f"{name} cannot be had here: {error}", file=sys.stderr, flush=True)

def run(*command, **env):
    subprocess.run(command, check=True, env={**os.environ, **env})

def build_needs():
    if os.geteuid() == 0 and shutil.which("apt-get"):
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", *NEEDED)
    else:
        print(f"not root, so these are taken to be installed: {' '.join(NEEDED)}", file=sys.stderr)

def restic():
    """The newest restic is in Debian's unstable; its package is unpacked beside the system, from the mirror that the system uses."""
    at = f"{place.CACHE}/aptx"
    for folder in ("lists/partial", "cache/archives/partial", "x"):
        os.makedirs(f"{at}/{folder}", exist_ok=True)
    with open(f"{at}/src.list", "w") as file:
        file.write(f"deb {mirror()} sid main\n")
    with open(f"{at}/apt.conf", "w") as file:
        file.write(f'Dir::Etc::sourcelist "{at}/src.list";\nDir::Etc::sourceparts "/dev/null";\nDir::State::lists "{at}/lists";\nDir::Cache "{at}/cache";\n')
    run("apt-get", "update", "-qq", APT_CONFIG=f"{at}/apt.conf")
    subprocess.run(["apt-get", "download", "-qq", "restic"], check=True, cwd=at, env={**os.environ, "APT_CONFIG": f"{at}/apt.conf"})
    for package in glob.glob(f"{at}/*.deb"):
        run("dpkg-deb", "-x", package, f"{at}/x")

def mirror():
    for path in sorted([*glob.glob("/etc/apt/sources.list.d/*.sources"), *glob.glob("/etc/apt/sources.list.d/*.list"), "/etc/apt/sources.list"]):
        if os.path.exists(path):
            with open(path) as file:
                if found := re.search(r"^(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(\S+)", file.read(), re.MULTILINE):
                    return found[1]
    sys.exit("restic comes from Debian, and this system names no Debian mirror")

def borg():
    # `cryptography` is what the generator of Apple's backups needs.
    run(sys.executable, "-m", "venv", f"{place.CACHE}/venv")
    run(f"{place.CACHE}/venv/bin/pip", "install", "-q", "borgbackup==1.4.5", "cryptography")

def rustic():
    build("rustic-rs", "0.11.4", "--no-default-features")

def bupstash():
    build("bupstash", "0.12.0")

def build(crate, version, *options):
    run("cargo", "install", "-q", crate, "--version", version, "--locked", *options, CARGO_TARGET_DIR=f"{place.CACHE}/build", CARGO_INSTALL_ROOT=place.CACHE)
