"""The disk fails: one call, or every call from one on, ends with EIO."""
import random, threading

import strace
from cases import all_cases
from world import Finding, in_parallel, must_be_a_clear_failure


def run(world):
    strace.must_be_here()
    items = []
    for case in all_cases(world):
        found = strace.places(case, world, strace.WRITES + strace.SYNCS + strace.RENAMES + strace.READS + strace.OPENS)
        items += [(case, name, f"{ordinal}{more}") for name, ordinal in found for more in ("", "+")]
    total = len(items)
    # The time is for the faults, and not for finding their places.
    world.begin_part(world.minutes)
    # In no order, so that a run whose time is over has seen something of everything.
    random.Random(world.seed).shuffle(items)
    if not world.long:
        items = items[:14]
    counts = {"failed": 0, "got over": 0, "not reached": 0}
    lock = threading.Lock()

    def one(item):
        case, name, when = item
        trial = world.trial(case)
        log = trial.folder / "strace"
        try:
            result = case.run(trial, strace.prefix(log, f"{name}:error=EIO:when={when}"))
            hit = [call for call in strace.calls(log) if call.injected]
            ours = [call for call in hit if call.path().startswith(f"{trial.disk}/")]
            with lock:
                counts["not reached" if not hit else "failed" if result.code else "got over"] += 1
            # What failed outside of the repositories may not even let the program begin: its libraries are opened too.
            if hit and len(ours) == len(hit):
                must_be_a_clear_failure(world, result)
            elif result.code < 0 or result.code == 101 or "panicked" in result.err:
                raise Finding(f"ended with {result.code}: {result.err.strip()}")
            if result.code == 0 and any(call.name not in strace.READS + strace.OPENS for call in ours):
                # Then everything that failed was written anew: check_order below sees that.
                with lock:
                    counts["written anew"] = counts.get("written anew", 0) + 1
            if any(call.path().startswith(f"{world.source}") for call in hit):
                # The fault hit what was to be kept, too. Then a snapshot must say that it is not whole, and may lack it.
                for snapshot in trial.expect(["snapshots"]).json()["snapshots"]:
                    if not snapshot["whole"]:
                        trial.incomplete.add(snapshot["id"])
            strace.check_order(log, trial, result.code == 0)
            case.check_interrupted(trial) if result.code else case.check_done(trial, result)
            case.check_next(trial)
        except Finding as finding:
            raise Finding(f"{finding} (kept in {trial.folder})")
        trial.remove()

    found = in_parallel(world, one, items)
    return found, f"{world.done + len(found)} of {total} faults: " + ", ".join(f"{number} {what}" for what, number in counts.items())
