#!/usr/bin/env python3
"""Each planted bug is found within 1,000 seeds: find.py SIM_PLANTED FOLDER"""
import pathlib
import re
import subprocess
import sys

SEEDS = 1000


def run(sim, *arguments):
    """The first seed that fails and why, or None."""
    ran = subprocess.run([sim, *arguments], capture_output=True, text=True, errors="replace")
    return re.search(r"^seed (\d+): (.*)$", ran.stdout, re.MULTILINE)


def find(sim, plant):
    number, first = plant.name.split("-")[0].lstrip("0"), 1
    while found := run(sim, "--plant", number, "--first-seed", str(first), "--seeds", str(SEEDS + 1 - first)):
        if not run(sim, "--first-seed", found[1], "--seeds", "1"):  # well without the plant: it is the plant
            print(f"{plant.stem}: seed {found[1]}: {found[2]}")
            return True
        first = int(found[1]) + 1
    print(f"{plant.stem}: not found in {SEEDS} seeds")
    return False


def main(sim, folder):
    plants = sorted(pathlib.Path(folder).glob("*.plant"))
    results = [find(sim, plant) for plant in plants]
    sys.exit(0 if len(results) == 15 and all(results) else 1)


main(*sys.argv[1:])
