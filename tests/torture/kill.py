"""The program is killed at random moments."""
import random, threading, time

from cases import all_cases
from world import ENDED_BY_KILL, Finding, in_parallel, listing


def run(world):
    cases = all_cases(world)
    wanted = 500 if world.long else 42
    lasts = {case.name: measure(world, case) for case in cases}
    # The time is for the faults, and not for finding their places.
    world.begin_part(world.minutes)
    counts = {"kills": 0, "left something": 0, "several in a row": 0}
    lock = threading.Lock()

    def one(item):
        case, number = item
        rng = random.Random(f"{world.seed} {number}")
        trial = world.trial(case)
        try:
            begins = listing(trial.disk)
            # Now and then the next run is killed too, and the one after.
            in_a_row = rng.choice((1, 1, 1, 2, 3))
            killed = 0
            for _ in range(in_a_row):
                killed += kill_once(case, trial, lasts[case.name], rng)
                if "RUSSET_NEW_PASSWORD" in case.env:
                    case._settle(trial)
            with lock:
                counts["kills"] += killed
                counts["several in a row"] += killed > 1
                counts["left something"] += killed > 0 and listing(trial.disk) != begins
            case.check_interrupted(trial)
            case.check_next(trial)
        except Finding as finding:
            raise Finding(f"{finding} (kept in {trial.folder}, seed {world.seed} {number})")
        trial.remove()

    found, number = [], 0
    while counts["kills"] < wanted and not world.is_late():
        items = [(cases[(number + n) % len(cases)], number + n) for n in range(min(len(cases), wanted - counts["kills"]))]
        number += len(items)
        found += in_parallel(world, one, items)
        if number > 4 * wanted:
            raise Finding("runs end before they can be killed")
    return found, f"{counts['kills']} kills in {world.done + len(found)} trials, {counts['several in a row']} of them with several in a row; " \
                  f"{counts['left something']} left the repository other than it was"


def measure(world, case):
    """How long the command runs, and how long it takes until it has opened the repository."""
    trial = world.trial(case)
    begin = time.monotonic()
    result = case.run(trial)
    whole = time.monotonic() - begin
    if result.code != 0:
        raise Finding(f"{case} ends with {result.code} though nothing disturbs it: {result.err.strip()}")
    begin = time.monotonic()
    trial.run(["backup", "--help"] if case.key_file else ["key", "list"])
    opening = time.monotonic() - begin
    trial.remove()
    return min(opening, whole * 0.9), whole


def kill_once(case, trial, lasts, rng):
    opening, whole = lasts
    # Opening writes nothing, so most kills come after it.
    begin = 0 if rng.random() < 0.05 else opening * 0.9
    process = case.start(trial)
    time.sleep(rng.uniform(begin, whole * 1.02))
    process.kill()
    process.wait()
    return process.returncode == ENDED_BY_KILL
