"""The program is killed as it enters each rename, link and sync."""
import random

import strace
from cases import all_cases
from world import ENDED_BY_KILL, Finding, in_parallel


def run(world):
    strace.must_be_here()
    items = []
    for case in all_cases(world):
        items += [(case, name, ordinal) for name, ordinal in strace.places(case, world, strace.RENAMES + strace.SYNCS)]
    total = len(items)
    # The time is for the faults, and not for finding their places.
    world.begin_part(world.minutes)
    # In no order, so that a run whose time is over has seen something of everything.
    random.Random(world.seed).shuffle(items)
    if not world.long:
        items = items[:14]
    killed = []

    def one(item):
        case, name, ordinal = item
        trial = world.trial(case)
        try:
            result = case.run(trial, strace.prefix(trial.folder / "strace", f"{name}:signal=KILL:when={ordinal}"))
            # Threads share the work anew in each run, so the last ordinals may not come.
            if result.code not in (0, ENDED_BY_KILL):
                raise Finding(f"ended with {result.code}: {result.err.strip()}")
            if result.code != 0:
                killed.append(item)
            strace.check_order(trial.folder / "strace", trial, result.code == 0)
            case.check_interrupted(trial)
            case.check_next(trial)
        except Finding as finding:
            raise Finding(f"{finding} (kept in {trial.folder})")
        trial.remove()

    found = in_parallel(world, one, items)
    return found, f"{len(killed)} kills at {world.done + len(found)} of {total} renames, links and syncs of {len(all_cases(world))} commands"
