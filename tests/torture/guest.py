"""A guest with a disk: what it wrote, what it was told was done, and what is left when its power is cut."""
import os, pathlib, shutil, struct, subprocess, tempfile

from world import Finding, Missing

BLOCK = 4096
# The file system ends before the disk does. The rest is where the guest says what has been reported to it as done.
BLOCKS, MARK = 24 * 1024, 24 * 1024 + 16
SECTOR = 512
FLUSH, DISCARD, KEPT_AT_ONCE = 1, 4, 2
LIMIT = 1200


def must_be_here():
    rig = os.environ.get("RUSSET_RIG")
    if not rig or not os.access(f"{rig}/vmrun", os.X_OK):
        raise Missing("RUSSET_RIG does not name a guest")
    if os.geteuid() != 0 or not all(map(shutil.which, ("mkfs.ext4", "mount", "losetup"))):
        raise Missing("only root can mount a disk's image, and mkfs.ext4, mount and losetup are needed for it")
    return pathlib.Path(rig)


def make_disk(path, content):
    """An image of ext4 with what is in a folder."""
    with open(path, "wb") as file:
        file.truncate((MARK + 16) * BLOCK)
    made = subprocess.run(["mkfs.ext4", "-q", "-b", str(BLOCK), "-d", str(content), str(path), str(BLOCKS)], capture_output=True, text=True)
    if made.returncode != 0:
        raise Missing(f"mkfs.ext4 makes no disk here: {made.stderr.strip()}")


def mark_command():
    """A shell function that says what is done. It goes past all caches and flushes none, so it makes nothing durable that was not."""
    return f'reported() {{ printf "done %s" "$1" | dd of=/dev/vda bs={BLOCK} seek={MARK} oflag=direct conv=sync,notrunc 2>/dev/null; }}'


def mark_in(image):
    with open(image, "rb") as file:
        file.seek(MARK * BLOCK)
        return read_mark(file.read(BLOCK))


def read_mark(block):
    text = block.rstrip(b"\0").decode(errors="replace")
    return int(text.removeprefix("done ")) if text.startswith("done ") else 0


class Guest:
    """A run in a guest. Everything that reaches its disk is written down in `log`, in order, with each flush."""

    def __init__(self, rig, script, image, console, log):
        log.write_bytes(b"")
        file = lambda path: f'{{"driver":"file","filename":"{path}"}}'
        # An option's commas are written twice.
        disk = f'json:{{"file":{{"driver":"blklogwrites","file":{file(image)},"log":{file(log)}}}}}'.replace(",", ",,")
        self.console, self.log = console, log
        with open(console, "wb") as out:
            self.process = subprocess.Popen([str(rig / "vmrun"), script], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=os.environ | {"DISK": disk, "LIMIT": str(LIMIT)})

    def wait(self):
        code = self.process.wait(LIMIT + 60)
        if code != 0 and self.log.stat().st_size == 0:
            raise Missing("the guest does not start, or cannot write down what reaches its disk")
        if code != 0:
            raise Finding(f"the guest ended with {code}: {self.console.read_text(errors='replace')[-2000:]}")


class Log:
    """What reached the disk: (byte, data) for a write, None for a flush. The format is that of the kernel's dm-log-writes."""

    def __init__(self, path):
        whole = path.read_bytes()
        _, _, _, size = struct.unpack_from("<QQQI", whole)
        self.entries, self.marks = [], []
        at = size
        while at + size <= len(whole):
            sector, sectors, flags, _ = struct.unpack_from("<QQQQ", whole, at)
            at += size
            if flags & FLUSH:
                self.entries.append(None)
            if sectors and not flags & DISCARD:
                data = whole[at:at + sectors * size]
                at += len(data)
                self.entries.append((sector * size, data))
                if sector * size == MARK * BLOCK:
                    self.marks.append((len(self.entries), read_mark(data)))
                if flags & KEPT_AT_ONCE:
                    self.entries.append(None)

    def reported(self, cut):
        """What the guest had been told was done, before entry number `cut`."""
        return max((done for at, done in self.marks if at <= cut), default=0)

    def lay(self, image, cut, kept, rng):
        """What is on the disk when the power goes before entry number `cut`: everything up to the last flush, and of what came later
        nothing, all, or some of it, in no order and torn."""
        before = self.entries[:cut]
        flushed = max((n for n, entry in enumerate(before) if entry is None), default=0)
        with open(image, "r+b") as file:
            for number, entry in enumerate(before):
                if entry is None:
                    continue
                at, data = entry
                if number < flushed or kept == "all":
                    file.seek(at)
                    file.write(data)
                elif kept == "some":
                    for begin in range(0, len(data), BLOCK):
                        piece = data[begin:begin + BLOCK]
                        fate = rng.random()
                        if fate < 0.5:
                            file.seek(at + begin)
                            file.write(piece if fate < 0.4 else piece[:rng.randrange(1, BLOCK // SECTOR) * SECTOR])


class Mounted:
    """An image as this machine sees it after the cut."""

    def __init__(self, image, place):
        self.place = place
        place.mkdir()
        done = subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Finding(f"the disk cannot be mounted after the cut: {done.stderr.strip()}")

    def __enter__(self):
        return self.place

    def __exit__(self, *_):
        subprocess.run(["umount", str(self.place)], check=True)


def visible_folder():
    """A folder that a guest sees too: it has a /var/tmp of its own."""
    return pathlib.Path(tempfile.mkdtemp(prefix="russet-torture-"))
