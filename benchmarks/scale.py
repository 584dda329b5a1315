"""How time and memory of training grow with networks, images, width and updates.

Each row is one call of the engine with Nielsen's recipe in a process of its own, whose workers start anew;
one thing is changed at a time. Seconds are those of the whole call, memory is that of its largest worker.

    python benchmarks/scale.py [--json FILE]
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
BASE = {"networks": 100, "images": 5000, "hidden": 20, "updates": 100}
VALUES = {
    "networks": (1, 10, 100, 1000, 10_000),
    "images": (500, 5000, 50_000),
    "hidden": (10, 20, 24, 25, 100, 300),
    "updates": (1, 10, 100, 500, 5000),
}


def largest(stop: threading.Event, found: list[int]) -> None:
    """Append the bytes that each of this process's children holds, again and again."""
    while not stop.wait(0.05):
        for child in psutil.Process().children(recursive=True):
            try:
                found.append(child.memory_info().rss)
            except psutil.NoSuchProcess:
                pass


def measured(networks: int, images: int, hidden: int, updates: int) -> dict[str, float]:
    """Seconds, memory of the largest worker in MiB, and the median accuracy in %."""
    sys.path.insert(0, str(ROOT))
    from lib.ensembles import ensemble
    from lib.questions import phases

    epoch = images // phases.Phase.batch
    each = {"epochs": updates // epoch} if updates > epoch else {"epochs": 1, "updates": updates}
    phase = phases.Phase(looks=(), images=images, hidden=hidden, **each).config()
    stop, held = threading.Event(), [0]
    watch = threading.Thread(target=largest, args=(stop, held), daemon=True)
    watch.start()
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"SGD_BOOK_CHUNKS": place, "SGD_BOOK_PROGRESS": os.devnull}
        begin = time.perf_counter()
        found = ensemble.run(phases.job, {"x": phase}, range(networks), chunk=phases.CHUNK)["x"]
        seconds = time.perf_counter() - begin
    stop.set()
    watch.join()
    return {"seconds": seconds, "memory": max(held) / 2**20, "accuracy": np.median(found["accuracy"])}


def alone(setting: dict[str, int]) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--row", json.dumps(setting)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write what was measured there")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measured(**args.row)))
        return
    once = functools.cache(lambda *setting: alone(dict(zip(BASE, setting, strict=True))))
    once(*BASE.values())  # data and code come from the disk once
    once.cache_clear()
    start = once(*(BASE | {"networks": 1, "updates": 1}).values())["seconds"]
    print(f"start, with one network and one update: {start:.1f} s\n")
    print("| changed | value | seconds | without the start | us per update and network | MiB | accuracy % |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for name, values in VALUES.items():
        for value in values:
            setting = BASE | {name: value}
            row = setting | {"changed": name} | once(*setting.values())
            rows.append(row)
            own = row["seconds"] - start
            per = 1e6 * own / (row["networks"] * row["updates"])
            cells = (
                f"{row['seconds']:.1f} | {own:.1f} | {per:.0f} | {row['memory']:.0f} | {row['accuracy']:.1f}"
            )
            print(f"| {name} | {value} | {cells} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"start": start, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
