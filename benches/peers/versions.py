"""A folder in several versions, of which one is shown.

`cur` is what is backed up, `d12` and `d23` hold what is new in the next version and, once switched, what it replaced; `version` says which
one is shown. Switching only renames: what is the same keeps its inode and its times, as on a disk.
"""
import json, os, shutil

def move(old, new):
    os.makedirs(os.path.dirname(new), exist_ok=True)
    os.rename(old, new)

def switch(root, version):
    with open(f"{root}/version") as file:
        now, then = int(file.read()[1:]), int(version[1:])
    while now != then:
        low = now if now < then else now - 1
        step = f"{root}/d{low}{low + 1}"
        with open(f"{step}/lists.json") as file:
            lists = json.load(file)
        # Forwards what is there goes to `old` and what is new comes; backwards the same in turn.
        ways = [("old", "cur", "old"), ("new", "new", "cur")] if now < then else [("new", "cur", "new"), ("old", "old", "cur")]
        for which, source, target in ways:
            place_of = {"cur": f"{root}/cur", "old": f"{step}/old", "new": f"{step}/new"}
            for path in lists[which]:
                move(f"{place_of[source]}/{path}", f"{place_of[target]}/{path}")
        now += 1 if now < then else -1
        with open(f"{root}/version", "w") as file:
            file.write(f"v{now}")

def fold(now, later, into):
    """Of `later` only what is not a file of `now` is kept, as what a switch brings."""
    def files(root):
        return {os.path.relpath(os.path.join(d, name), root): os.lstat(os.path.join(d, name)).st_ino for d, _, names in os.walk(root) for name in names}
    old, new = files(now), files(later)
    changed = [path for path, inode in new.items() if old.get(path) != inode]
    for path in changed:
        move(f"{later}/{path}", f"{into}/new/{path}")
    shutil.rmtree(later)
    lists = {"old": sorted(path for path, inode in old.items() if new.get(path) != inode), "new": sorted(changed)}
    with open(f"{into}/lists.json", "w") as file:
        json.dump(lists, file)
