"""Makes a phone's decrypted backup in three versions, every byte out of a seed.

Databases whose rows land on random pages (one stays in place, one is compacted before each version, as phones upload them, one only
grows), pictures and films that nothing compresses, the same attachments in several places, and thousands of small files of apps. A day
later (v2) a little of it has changed, a month later (v3) a lot. At scale 1 it is 30,000 files and 3 GiB. The layout is that of `versions.py`.
"""
import hashlib, json, os, plistlib, random, shutil, sqlite3, string
from .versions import switch

KIB, MIB = 1 << 10, 1 << 20
DEVICE = "00008130-0011223344556677"
V1 = 1_760_000_000
DAYS = {"v1": 0, "v2": 1, "v3": 31}
# How much of what is new or changes in a version.
CHANGES = {
    "v2": {"photos": 4, "films": 1, "media": 15, "messages": 250, "assets": 300, "samples": 4_000, "small": 400, "gone": 30},
    "v3": {"photos": 36, "films": 3, "media": 220, "messages": 6_000, "assets": 6_000, "samples": 110_000, "small": 4_000, "gone": 450},
}

class Phone:
    def __init__(self, root, seed, scale):
        self.root, self.scale, self.random = root, scale, random.Random(seed)
        letters = self.random.choices(string.ascii_lowercase, k=100_000)
        self.words = ["".join(letters[at:at + 2 + at % 9]) for at in range(0, 90_000, 10)]
        self.files, self.out, self.changed, self.time = {}, f"{root}/cur", set(), V1

    def some(self, number):
        return max(1, int(number * self.scale))

    def text(self, words):
        # Few words are used much: what people write compresses to a third.
        return " ".join(self.words[int(len(self.words) * self.random.random() ** 3)] for _ in range(words))

    def noise(self, least, most):
        return self.random.randbytes(int(least * (most / least) ** self.random.random()))

    def name(self, domain, path):
        name = hashlib.sha1(f"{domain}-{path}".encode()).hexdigest()
        return f"{DEVICE}/{name[:2]}/{name}"

    def path(self, name):
        path = f"{self.out}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def note(self, domain, path, name):
        os.utime(f"{self.out}/{name}", (self.time - self.random.randrange(3_600),) * 2)
        self.files[domain, path] = name
        self.changed.add(name)

    def put(self, domain, path, content):
        name = self.name(domain, path)
        with open(self.path(name), "wb") as file:
            file.write(content)
        self.note(domain, path, name)

    def edit(self, domain, path, change):
        """Changes a copy of the last version, as the phone changed the file itself."""
        name = self.name(domain, path)
        if self.out != f"{self.root}/cur":
            shutil.copyfile(f"{self.root}/cur/{name}", self.path(name))
        change(self.path(name))
        self.note(domain, path, name)

    def picture(self, least=MIB, most=6 * MIB):
        head = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" if self.random.random() < 0.7 else b"\xff\xd8\xff\xe1\x00\x40Exif\0\0"
        return head + self.noise(least, most)

    def film(self):
        return b"\0\0\0\x14ftypqt  \0\0\0\0qt  \0\0\0\x08wide" + self.random.randbytes(int(24 * MIB * min(1, self.scale)))

    def small(self, number):
        kind = number % 4
        if kind == 0:
            return plistlib.dumps({self.text(1): self.text(3) for _ in range(self.random.randrange(3, 60))}, fmt=plistlib.FMT_BINARY)
        if kind == 1:
            return json.dumps([{"id": self.random.random(), "title": self.text(5), "body": self.text(30)} for _ in range(self.random.randrange(2, 40))]).encode()
        return self.noise(300, 12 * KIB) if kind == 2 else self.text(self.random.randrange(30, 2_000)).encode()

    # ---- databases: an index on random ids scatters new rows over the file, as those of a phone do

    def rows(self, db, table, first, number):
        def row(at):
            return at, self.random.randbytes(16).hex(), self.text(1 + int(self.random.expovariate(1 / 12))), self.random.randbytes(40), V1 + at
        db.executemany(f"insert into {table} values (?, ?, ?, ?, ?)", (row(at) for at in range(first, first + number)))

    def database(self, path, table, megabytes):
        with closing(path) as db:
            db.executescript(f"create table {table} (id integer primary key, guid text unique, words text, blob blob, time int); create index by_time on {table} (time)")
            first = 1
            while db.execute("pragma page_count").fetchone()[0] * 4 * KIB < megabytes * MIB * self.scale:
                self.rows(db, table, first, self.some(4_000))
                first += self.some(4_000)

    def grow(self, path, table, number, compact=False):
        with closing(path) as db:
            last = db.execute(f"select max(id) from {table}").fetchone()[0]
            self.rows(db, table, last + 1, number)
            for _ in range(number // 2):
                db.execute(f"update {table} set time = time + 1 where id = ?", (self.random.randrange(1, last),))
            for _ in range(number // 20):
                db.execute(f"delete from {table} where id = ?", (self.random.randrange(1, last),))
            if compact:
                db.commit()
                db.execute("vacuum")

    # ---- versions

    def first(self):
        self.out = f"{self.root}/cur"
        kept = []
        for at in range(self.some(420)):
            picture = self.picture()
            self.put("CameraRollDomain", f"Media/DCIM/100APPLE/IMG_{at:04}.HEIC", picture)
            kept.append(picture)
        for at in range(self.some(20)):
            self.put("CameraRollDomain", f"Media/DCIM/100APPLE/IMG_V{at:03}.MOV", self.film())
        for at in range(self.some(8_000)):
            self.put("CameraRollDomain", f"Media/PhotoData/Thumbnails/{at:05}.JPG", self.picture(4 * KIB, 40 * KIB))
        for at in range(self.some(1_600)):
            again = at % 12 == 0
            self.put("HomeDomain", f"Library/SMS/Attachments/{at:04}/IMG.jpg", self.random.choice(kept) if again else self.picture(30 * KIB, 600 * KIB))
        for (domain, path, table), megabytes in {**DATABASES, MANIFEST: 12}.items():
            self.database(self.path(self.name(domain, path)), table, megabytes)
            self.note(domain, path, self.name(domain, path))
        for at in range(self.some(20_000)):
            self.put(f"AppDomain-com.app{at % 250:03}", f"Documents/{at // 250}.dat", self.small(at))

    def later(self, version, folder):
        much = CHANGES[version]
        self.out, self.time, self.changed = f"{self.root}/{folder}/new", V1 + 86_400 * DAYS[version], set()
        before, gone = set(self.files.values()), set()
        for at in range(self.some(much["photos"])):
            self.put("CameraRollDomain", f"Media/DCIM/101APPLE/{version}_{at:04}.HEIC", self.picture())
        for at in range(much["films"]):
            self.put("CameraRollDomain", f"Media/DCIM/101APPLE/{version}_V{at}.MOV", self.film())
        for at in range(self.some(much["media"])):
            self.put("HomeDomain", f"Library/SMS/Attachments/{version}/{at:04}.jpg", self.picture(30 * KIB, 300 * KIB))
        for domain, path, table in [*DATABASES, MANIFEST]:
            number = self.some(much.get(table, much["small"]))
            self.edit(domain, path, lambda file: self.grow(file, table, number, compact=table == "assets"))
        small = sorted(key for key in self.files if key[1].startswith("Documents/"))
        for domain, path in self.random.sample(small, min(len(small), self.some(much["small"]))):
            self.put(domain, path, self.small(self.random.randrange(4)))
        thumbnails = sorted(key for key in self.files if "Thumbnails" in key[1])
        for key in self.random.sample(thumbnails, min(len(thumbnails) // 2, self.some(much["gone"]))):
            gone.add(self.files.pop(key))
        with open(f"{self.root}/{folder}/lists.json", "w") as file:
            json.dump({"old": sorted((self.changed & before) | gone), "new": sorted(self.changed)}, file)

class closing:
    """An SQLite database with pages of 4 KiB, committed and closed in the end."""
    def __init__(self, path):
        self.db = sqlite3.connect(path)
        self.db.execute("pragma synchronous = off")
        self.db.execute("pragma page_size = 4096")

    def __enter__(self):
        return self.db

    def __exit__(self, *_):
        self.db.commit()
        self.db.close()

# Domain, path and table of each database, and its MiB: messages stay in place, assets are compacted, samples come in order.
DATABASES = {
    ("HomeDomain", "Library/SMS/sms.db", "messages"): 200,
    ("AppDomainGroup-chat", "ChatStorage.sqlite", "messages"): 150,
    ("CameraRollDomain", "Media/PhotoData/Photos.sqlite", "assets"): 80,
    ("HealthDomain", "Health/healthdb_secure.sqlite", "samples"): 100,
}
# It grows with what changes, and is not read as Apple's: to russet this is a folder like any other.
MANIFEST = ("Manifest", "index.db", "entries")

def make_database(root, scale=1.0, compact=False, seed=20261125):
    """Two versions of nothing but a messages database of 200 MiB, which stays in place or is compacted before each."""
    phone = Phone(root, seed, scale)
    key = next(iter(DATABASES))
    os.makedirs(root)
    phone.database(phone.path(phone.name(*key[:2])), key[2], DATABASES[key])
    phone.edit(*key[:2], lambda file: phone.grow(file, key[2], 0, compact))
    phone.out, phone.time, phone.changed = f"{root}/d12/new", V1 + 86_400, set()
    phone.edit(*key[:2], lambda file: phone.grow(file, key[2], CHANGES["v2"][key[2]], compact))
    with open(f"{root}/d12/lists.json", "w") as file:
        json.dump({"old": sorted(phone.changed), "new": sorted(phone.changed)}, file)
    with open(f"{root}/version", "w") as file:
        file.write("v1")

def make(root, scale=1.0, seed=20261125):
    os.makedirs(root)
    phone = Phone(root, seed, scale)
    phone.first()
    phone.later("v2", "d12")
    with open(f"{root}/version", "w") as file:
        file.write("v1")
    switch(root, "v2")
    phone.later("v3", "d23")
    switch(root, "v1")
