"""Runs each row by each tool in turn, and keeps every single run as a line of JSON.

Wall time, CPU time and peak memory are those that the kernel counts for the process and its children (`wait4`). `foreign` is what else ran
on the machine meanwhile, in cores: the table leaves a disturbed run out where a quieter one exists.
"""
import json, os, shutil, subprocess, sys, time
from . import data, place, tools

# Row: the version of the data that it needs, what a tool does, and the row that comes before it.
ROWS = {
    "first": ("v1", "backup", None),
    "same": (None, "backup", "first"),
    "v2": ("v2", "backup", "first"),
    "v3": ("v3", "backup", "v2"),
    "open": (None, "open", "first"),
    "list": (None, "list", "first"),
    "restore": (None, "restore", "first"),
    "verify": (None, "verify", "first"),
    "prune": (None, "prune", "v3"),
    "keyed": (None, "keyed", "first"),
}
# The rows of a data set, and the tools that it compares.
SETS = {
    "phone": (list(ROWS), ["russet", "russet-0", *tools.PEERS]),
    "apple": (["first", "v2", "restore"], ["russet", "restic", "cp"]),
    "in-place": (["first", "v2"], ["russet", *tools.PEERS]),
    "compacted": (["first", "v2"], ["russet", *tools.PEERS]),
    "sources": (["first", "restore"], ["russet", *tools.PEERS]),
    "rounds": (["rounds"], []),
}
TICKS = os.sysconf("SC_CLK_TCK")
# More than this, in cores, is a disturbance.
QUIET = 0.12

def wanted(words):
    """Set by set the rows that are asked for: by set, by row, or by both."""
    known = {word for name, (rows, _) in SETS.items() for word in (name, *rows, *(f"{name}/{row}" for row in rows))}
    if unknown := [word for word in words if word not in known]:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(f'{s}/{row}' for s, (rows, _) in SETS.items() for row in rows)}")
    chosen = {s: [row for row in rows if not words or {s, row, f"{s}/{row}"} & set(words)] for s, (rows, _) in SETS.items()}
    return {s: rows for s, rows in chosen.items() if rows}

def with_those_before(rows):
    needed = set()
    for row in rows:
        while row:
            needed.add(row)
            row = ROWS[row][2]
    return [row for row in ROWS if row in needed]

def busy():
    fields = [int(field) for field in open("/proc/stat").readline().split()[1:]]
    return sum(fields) - fields[3] - fields[4]

def wait_until_quiet(at_most):
    start = time.monotonic()
    while True:
        before = busy()
        time.sleep(0.5)
        others = (busy() - before) / TICKS / 0.5
        if others < QUIET or time.monotonic() - start > at_most:
            return others
        time.sleep(1)

def warm():
    """Touches free memory before a step that fills tmpfs. The first touch of a page that a virtual machine gave back to its host costs
    the host's fault, which would be charged to whoever comes first. In a process of its own, so that it counts for nobody's peak."""
    free = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable")) << 10
    code = f"import mmap; mmap.mmap(-1, {min(4 << 30, free // 2)}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)"
    subprocess.run([sys.executable, "-c", code], check=True)

def timed(commands, env, log):
    before, start = busy(), time.monotonic()
    cpu, peak, code = 0.0, 0, 0
    for command in commands:
        with open(log, "ab") as errors:
            child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu, peak, code = cpu + usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss << 10), code or child.returncode
    wall = time.monotonic() - start
    foreign = max(0, ((busy() - before) / TICKS - cpu) / max(wall, 0.05))
    return {"wall": round(wall, 3), "cpu": round(cpu, 2), "peak": peak, "code": code, "foreign": round(foreign, 2)}

def size(folder):
    return sum(os.lstat(os.path.join(d, name)).st_size for d, _, names in os.walk(folder) for name in names)

def came_back(leaf, to):
    """Whether what was restored somewhere below `to` is what was backed up."""
    names = set(os.listdir(leaf))
    found = next((d for d, folders, files in os.walk(to) if names <= {*folders, *files}), None)
    return found is not None and subprocess.run(["diff", "-rq", "--no-dereference", leaf, found], stdout=subprocess.DEVNULL).returncode == 0

def raise_priority():
    """So that other work disturbs little; only root may. A session's group has a share of its own, beside the nice value."""
    try:
        os.nice(-10)
        with open("/proc/self/autogroup", "w") as group:
            group.write("-15")
    except OSError:
        pass

def said(command):
    return subprocess.run(command, capture_output=True, text=True, cwd=place.ROOT).stdout.strip()

def environment():
    """Without what would tell a tool of another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RUSSET_", "RESTIC_", "RUSTIC_", "BORG_", "BUPSTASH_"))}

def measure(rows, names, asked):
    for binary in [place.ALONE] * ("rounds" in rows) + [place.RUSSET] * ("russet" in names):
        if not os.path.exists(binary):
            sys.exit(f"{binary} is not there: `cargo build --release -p russet -p russet-benches` makes it")
    for name in (n for n in names if not os.path.exists(tools.ALL[n].binary)):
        print(f"{name} is left out: `benches/run fetch` gets it", flush=True)
    names = [name for name in names if os.path.exists(tools.ALL[name].binary)]
    raise_priority()
    commit = said(["git", "describe", "--always", "--dirty", "--exclude=*"])
    os.makedirs(os.path.dirname(os.path.abspath(asked.kept)), exist_ok=True)
    with open(asked.kept, "a") as kept:
        def keep(run):
            kept.write(json.dumps({"commit": commit, "day": time.strftime("%Y-%m-%d"), **run}) + "\n")
            kept.flush()
        for of_set, asked_rows in rows.items():
            if of_set == "rounds":
                for rep in range(asked.reps):
                    derive(asked.wait, lambda run: keep({"set": of_set, "rep": rep, **run}))
                continue
            found = data.find_or_make(of_set, asked)
            if not found:
                continue
            for rep in range(asked.reps):
                for name in (n for n in SETS[of_set][1] if n in names):
                    try:
                        one(name, found, asked_rows, asked, lambda run: keep({"set": of_set, "rep": rep, **run}))
                    except subprocess.CalledProcessError as error:
                        # The others' rows are worth having all the same.
                        print(f"{found.name:9} {name:13} left out: {error}", flush=True)

def one(name, found, rows, asked, keep):
    """All rows by one tool, in an empty work folder."""
    work = os.path.join(asked.data, "work")
    shutil.rmtree(work, ignore_errors=True)
    tool = tools.ALL[name](work, found.source, found.leaf, found.apple)
    os.makedirs(tool.cache)
    env, log = {**environment(), **tool.env}, os.path.join(asked.data, "work.log")
    version = said(tool.version()).splitlines()[0]
    # Data that shows its versions is switched by renaming, so that what is the same keeps its inode and times.
    found.switch("v1")
    for command in tool.setup():
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = 0
    for row in with_those_before(rows):
        at, step, _ = ROWS[row]
        if not hasattr(tool, step):
            continue
        if at:
            found.switch(at)
        made += step in ("backup", "keyed")
        for command in tool.before(step):
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if step == "restore":
            shutil.rmtree(tool.to, ignore_errors=True)
            os.makedirs(tool.to)
        before = wait_until_quiet(asked.wait)
        if row in ("first", "v3", "restore"):
            warm()
        run = {"row": row, "tool": name, "version": version, **timed(getattr(tool, step)(made), env, log), "before": round(before, 2)}
        if step in ("backup", "prune"):
            run["repository"] = size(tool.repo)
        if step == "restore":
            run["equal"] = came_back(tool.leaf, tool.to)
            shutil.rmtree(tool.to)
        keep(run)
        print(f"{found.name:9} {name:13} {row:8} {run['wall']:8.2f} s  CPU {run['cpu']:7.2f} s  peak {run['peak'] >> 20:5} MiB  others {run['foreign']:.2f}"
              + (f"  repository {run['repository'] / 2**20:.0f} MiB" if "repository" in run else "")
              + ("  NOT WHAT WAS BACKED UP" if run.get("equal") is False else "") + (f"  ended with {run['code']}" if run["code"] else ""), flush=True)
    found.switch("v1")
    shutil.rmtree(work)

def derive(wait, keep):
    """10,000,000 rounds of PBKDF2: russet's loop, the crate it is checked against, and OpenSSL's as Python calls it."""
    ten_million = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'password', bytes(20), 10_000_000)"
    for name, command in (("russet", [place.ALONE, "rounds"]), ("pbkdf2 crate", [place.ALONE, "rounds", "--by-crate"]), ("OpenSSL", [sys.executable, "-c", ten_million])):
        before = wait_until_quiet(wait)
        run = {"row": "rounds", "tool": name, "version": "", **timed([command], dict(os.environ), os.devnull), "before": round(before, 2)}
        keep(run)
        print(f"rounds    {name:13} {'':8} {run['wall']:8.2f} s", flush=True)
