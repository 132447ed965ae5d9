"""Are damaged files refused, or read right?

    python benchmarks/quality/fuzzing.py [--files 100000] [--minutes M]   # writes docs/results/fuzzing.md
    python benchmarks/quality/fuzzing.py --quick                          # a few hundred files, writes nothing
    make fuzz [MINUTES=5] [SEED=0]                                        # for some minutes, exit code 1 with findings

Damages files (flipped bits, lost and repeated blocks and lines, changed and exchanged numbers, changed declared counts)
and reads each. Findings: an error that is no `InputError` (uncaught); more than 10 s of CPU time (hung); a pattern that
differs from that of the undamaged file, without a note, although the damaged file itself contradicts it (silent).
Every file follows from the seed and its number. `--state FOLDER` keeps totals and findings, so that a run which was
stopped goes on with the next number; with `--minutes` it ends by itself. FOLDER of `--collection` (default: the
environment variable XXACT_SHARED_DATA, else ../shared/data) has formats/ and cases/; without it the files that the
tests make are damaged. JSON: `fuzzed`, `uncaught`, `hung`, `silent`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository

import hashlib
import json
import os
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np

from benchmarks.fuzzing.mutations import mutate
from benchmarks.fuzzing.seeds import all_targets
from benchmarks.fuzzing.targets import Target
from benchmarks.harness import REPOSITORY, argument_parser, finish, markdown_table
from xxact_core.errors import InputError

SECONDS = 10.0
"""CPU time after which a reader counts as hung [s]."""

MEMORY = 6 * 2**30
"""Address space of this process [bytes]."""

WEIGHTS = {"patterns": 80, "structures": 8, "formulas": 4, "checkpoints": 1, "sessions": 2, "recipes": 2}
"""Relative numbers of files of each kind; 1 for the others."""

QUICK_FILES = 400
_SAVE_EVERY = 200


class HungError(BaseException):
    """Raised in a reader that takes too long; not an `Exception`, so that no reader handles it."""


@dataclass(frozen=True)
class Outcome:
    """What a reader made of a damaged file."""

    kind: str
    """`refused`, `read`, `uncaught`, `hung` or `silent`."""

    target: str
    seed: str
    mutation: str
    reason: str = ""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `HungError` in the block after so much CPU time of this process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise HungError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def damaged_file(targets: Sequence[Target], number: int, *, seed: int) -> tuple[Target, str, bytes, str]:
    """Target, name of the undamaged file, damaged content and name of the damage of one number."""
    random = np.random.default_rng([seed, number])
    weights = np.array([WEIGHTS.get(target.name, 1) for target in targets], dtype=float)
    target = targets[int(random.choice(len(targets), p=weights / weights.sum()))]
    names = list(target.seeds)
    likely = np.array([1 / max(200, len(target.seeds[name])) for name in names])  # the same time for each file
    name = names[int(random.choice(len(names), p=likely / likely.sum()))]
    data, mutation = mutate(target.seeds[name], random)
    return target, name, data, mutation


def fuzz_one(target: Target, name: str, data: bytes, mutation: str) -> Outcome:
    """Read one damaged file."""
    original = target.original(name)
    try:
        with time_limit(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = target.read(data, name)
    except InputError:
        return Outcome("refused", target.name, name, mutation)
    except HungError:
        return Outcome("hung", target.name, name, mutation, "".join(traceback.format_exc(limit=-3)))
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        return Outcome("uncaught", target.name, name, mutation, reason[:300])
    wrong = target.silently_wrong(data, read, target.seeds[name], original)
    return Outcome("silent" if wrong else "read", target.name, name, mutation, wrong)


@dataclass
class State:
    """Totals so far, kept in a folder."""

    folder: Path
    number: int
    totals: Counter[str]

    @classmethod
    def load(cls, folder: Path) -> State:
        """The state in a folder, or a new one."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "totals.json"
        if not path.is_file():
            return cls(folder, 0, Counter())
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(folder, values["number"], Counter(values["totals"]))

    def save(self) -> None:
        """Write the totals."""
        part = self.folder / "totals.part"
        part.write_text(json.dumps({"number": self.number, "totals": self.totals}, indent=1), encoding="utf-8")
        part.replace(self.folder / "totals.json")

    def add(self, outcome: Outcome, data: bytes) -> None:
        """Count an outcome, and keep the file of a finding."""
        self.totals[f"{outcome.target}|{outcome.kind}"] += 1
        if outcome.kind in {"uncaught", "hung", "silent"}:
            (self.folder / f"{self.number:07d}-{Path(outcome.seed).name}").write_bytes(data)
            with (self.folder / "findings.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"number": self.number, **outcome.__dict__}) + "\n")


def fuzz(targets: Sequence[Target], state: State, *, files: int, seed: int, until: float = float("inf")) -> None:
    """Read damaged files from the next number on."""
    while state.number < files and time.monotonic() < until:
        target, name, data, mutation = damaged_file(targets, state.number, seed=seed)
        state.add(fuzz_one(target, name, data, mutation), data)
        state.number += 1
        if state.number % _SAVE_EVERY == 0:
            state.save()
    state.save()


def totals_now(folder: Path, targets: Sequence[Target]) -> Counter[str]:
    """Totals of a state; its findings are read again, as the code may have been repaired since."""
    totals, named = State.load(folder).totals.copy(), {target.name: target for target in targets}
    path = folder / "findings.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        found = json.loads(line)
        data = next(folder.glob(f"{found['number']:07d}-*")).read_bytes()
        again = fuzz_one(named[found["target"]], found["seed"], data, found["mutation"])
        totals[f"{found['target']}|{found['kind']}"] -= 1
        totals[f"{found['target']}|{again.kind}"] += 1
    return totals


def table(totals: Counter[str]) -> str:
    """Totals by kind of file."""
    kinds = ("refused", "read", "uncaught", "hung", "silent")
    names = sorted({key.split("|")[0] for key in totals})
    rows = [
        [
            name,
            f"{sum(totals[f'{name}|{kind}'] for kind in kinds):,}",
            *(f"{totals[f'{name}|{kind}']:,}" for kind in kinds),
        ]
        for name in names
    ]
    rows.append(
        ["all", f"{totals.total():,}", *(f"{sum(totals[f'{name}|{kind}'] for name in names):,}" for kind in kinds)]
    )
    return markdown_table(["files of", "damaged", "refused", "read", "uncaught", "hung", "silently different"], rows)


def main() -> None:
    """Fuzz, print totals, write the page."""
    parser = argument_parser(__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="damaged files in total")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after this time")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--state", type=Path, help="folder of totals and findings; a temporary one by default")
    parser.add_argument(
        "--add", type=Path, action="append", default=[], help="state of another run, added to the totals"
    )
    parser.add_argument("--only", help="fuzz one kind of file, such as patterns")
    parser.add_argument("--no-page", action="store_true", help="write no page of results")
    parser.add_argument("--replay", type=int, help="read one number again and print what comes of it")
    parser.add_argument(
        "--collection",
        type=Path,
        default=Path(os.environ.get("XXACT_SHARED_DATA", REPOSITORY.parent / "shared" / "data")),
    )
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    targets = [one for one in all_targets(arguments.collection) if arguments.only in {None, one.name}]
    if arguments.replay is not None:
        target, name, data, mutation = damaged_file(targets, arguments.replay, seed=arguments.seed)
        print(fuzz_one(target, name, data, mutation))
        print(target.read(data, name))
        return
    with tempfile.TemporaryDirectory() as scratch:
        state = State.load(arguments.state or Path(scratch))
        until = time.monotonic() + (20 if arguments.quick else 60 * arguments.minutes)
        fuzz(
            targets, state, files=QUICK_FILES if arguments.quick else arguments.files, seed=arguments.seed, until=until
        )
    digest = hashlib.sha256()
    for target in targets:
        for name in sorted(target.seeds):
            digest.update(target.seeds[name])
    totals = sum((totals_now(folder, targets) for folder in arguments.add), state.totals)
    figures = {"fuzzed": totals.total()} | {
        kind: sum(count for key, count in totals.items() if key.endswith(kind))
        for kind in ("uncaught", "hung", "silent")
    }
    finish(
        __file__,
        table(totals),
        figures,
        quick=arguments.quick or arguments.no_page or arguments.only is not None,
        title="Damaged files",
        introduction=(
            f"Files with flipped bits, lost and repeated parts, and changed numbers, made from "
            f"{sum(len(target.seeds) for target in targets)} undamaged ones. Refused: with a message that names "
            "what is wrong. Silently different: read without a note, although the damaged file itself contradicts the "
            "result (its number of points, limits, step, anode, formula or digest)."
        ),
        data_digest=digest.hexdigest(),
        seed=arguments.seed,
    )
    sys.exit(1 if arguments.no_page and any(figures[kind] for kind in ("uncaught", "hung", "silent")) else 0)


if __name__ == "__main__":
    main()
