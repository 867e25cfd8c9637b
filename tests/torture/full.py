"""The disk is full, out of inodes, or suddenly read-only."""
import os, random, shutil, subprocess, threading, time

from cases import all_cases
from world import Finding, Missing, in_parallel, must_be_a_clear_failure

KIB = 1024


def run(world):
    if os.geteuid() != 0 or not shutil.which("mount"):
        raise Missing("only root can mount a small disk")
    probe = Disk(world.folder("probe"), "size=1m")
    probe.unmount()
    rng = random.Random(world.seed)
    cases = [case for case in all_cases(world)]
    counts = {"full": 0, "inodes": 0, "read-only": 0}
    items = [(case, kind) for case in cases for kind in counts]
    rng.shuffle(items)
    # One of each kind after the other, so that a run whose time is over has seen all of them.
    items = [item for group in zip(*([item for item in items if item[1] == kind] for kind in counts)) for item in group]
    if not world.long:
        items = items[:6]
    lock = threading.Lock()

    def one(item):
        case, kind = item
        stages = {"full": fill_bytes, "inodes": fill_inodes, "read-only": become_read_only}[kind](world, case)
        with lock:
            counts[kind] += stages

    found = in_parallel(world, one, items)
    return found, f"{counts['full']} runs on a full disk, {counts['inodes']} without inodes, {counts['read-only']} on a disk that became read-only"


class Disk:
    def __init__(self, place, options, kind="tmpfs", device="tmpfs"):
        self.place = place
        place.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", kind, "-o", options, device, str(place)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Missing(f"nothing can be mounted here: {done.stderr.strip()}")

    def remount(self, options):
        return subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], capture_output=True).returncode == 0

    def used(self):
        found = os.statvfs(self.place)
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree

    def unmount(self):
        subprocess.run(["umount", str(self.place)], check=True)


def stage(world, case, squeeze, disturb=None):
    """One run on a disk that `squeeze` made too small; true if the run came to its end. Then there is room, and the next run succeeds."""
    folder = world.folder("disk")
    disk = Disk(folder, "size=400m,nr_inodes=20000")
    trial = None
    try:
        trial = world.trial(case, below=folder)
        # The command names the other repository from where it runs.
        (trial.folder / "disk").symlink_to(folder)
        squeeze(disk)
        if disturb:
            result = disturb(disk, case, trial)
        else:
            result = case.run(trial)
        must_be_a_clear_failure(world, result, None if result.code == 0 else {9})
        if not disk.remount("rw,size=400m,nr_inodes=20000"):
            raise Finding("the disk cannot be made writable again")
        if result.code == 0:
            case.check_done(trial, result)
        else:
            case.check_interrupted(trial)
            case.check_next(trial)
        trial.remove()
        return result.code == 0
    except Finding as finding:
        raise Finding(f"{finding} (state in {trial and trial.folder})")
    finally:
        disk.unmount()
        folder.rmdir()


def fill_bytes(world, case):
    room, stages = 0, 0
    while True:
        def squeeze(disk):
            # 0 would be no bound at all, and tmpfs counts pages.
            if not disk.remount(f"size={disk.used()[0] + room}"):
                raise Finding("the disk cannot be made smaller")
        stages += 1
        if stage(world, case, squeeze) or world.is_late():
            return stages
        room = room + 4 * KIB if room < 16 * KIB else int(room * (1.15 if world.long else 2.5)) // (4 * KIB) * 4 * KIB


def fill_inodes(world, case):
    room, stages = 0, 0
    while True:
        def squeeze(disk):
            if not disk.remount(f"nr_inodes={disk.used()[1] + room}"):
                raise Finding("the disk cannot be given fewer inodes")
        stages += 1
        if stage(world, case, squeeze) or world.is_late():
            return stages
        room += 1 if world.long or room < 2 else 4


def become_read_only(world, case):
    """At a moment drawn anew; a disk on which a file is just being written refuses, so it is tried until it does not."""
    rng, stages = random.Random(f"{world.seed} {case.name}"), 0
    for share in [rng.random() for _ in range(6 if world.long else 1)]:
        def disturb(disk, case, trial):
            process = case.start(trial)
            time.sleep(share * 0.6)
            while process.poll() is None and not disk.remount("ro"):
                pass
            process.wait(300)
            return trial.result(process.returncode)
        stage(world, case, lambda disk: None, disturb)
        stages += 1
    return stages
