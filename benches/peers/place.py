"""Where things lie: what is fetched and kept in the cache folder, what is fast to read and write on tmpfs."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, "../.."))
SHARED = os.path.join(os.path.dirname(ROOT), "shared")

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "russet-bench")
DATA = "/dev/shm/russet-bench"

RUSSET = os.path.join(ROOT, "target/release/russet")
ALONE = os.path.join(ROOT, "target/release/russet-benches")
RESTIC = os.path.join(CACHE, "aptx/x/usr/bin/restic")
BORG = os.path.join(CACHE, "venv/bin/borg")
RUSTIC = os.path.join(CACHE, "bin/rustic")
BUPSTASH = os.path.join(CACHE, "bin/bupstash")

def python():
    """A Python that has `cryptography`, if there is one."""
    own = os.path.join(CACHE, "venv/bin/python")
    return own if os.path.exists(own) else "python3"
