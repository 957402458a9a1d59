"""Make the saved policies that are shipped with the models in the package.

    python -m recipes.policies pomdp|agg|seq [--work work/policies] [--episodes N] [--out src/trim/embedded]

pomdp: a fit to scored solutions of 2,200 gsm_symbolic problems with random actions, twice: with up to three resamples
of a step, which give data on later drafts, and with one, which leaves more steps to the strong model.

agg, seq: two trainings, one after the other: on the simulated textbook pair, which is fast, then on the embedded pair
with gsm_symbolic problems of the validation split, beginning with the first one's network. Prices are those at which
regenerating a mean step costs 0.002 to 0.5 of a correct answer, in both. A run that was killed is resumed when started
again. The policy goes into OUT/KIND; it is tied to the fingerprints of weak, strong and prm, so it has to be remade
when one of them changes.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from trim.cli.main import main as trim

_SEED = 31


def run(*words: str) -> None:
    """Run a command of `trim`; its failure ends the recipe."""
    if code := trim(list(words)):
        raise SystemExit(code)


def fit(work: Path) -> Path:
    """Record traces with random actions, then fit the POMDP to them."""
    out, recorded = work / "pomdp", []
    for policy in ("random+revise+3", "random+revise+1"):
        recorded.append(str(work / f"{policy}-traces"))
        options = ("--policies", policy, "--parameters", f"{policy}=0.7", "--questions", "2200", "--seed", "5")
        run("eval", "--task", "gsm_symbolic", *options, "--score", "--out", recorded[-1], "--resume")
    run("fit", "pomdp", *recorded, "--out", str(out))
    return out


def train(kind: str, work: Path, *, simulated: int, real: list[str]) -> Path:
    """Both trainings; the folder of the second, which takes the options `real`."""
    first, second = work / f"{kind}-simulated", work / kind
    embedded = ["--source", "embedded", "--task", "gsm_symbolic", "--start", str(first), *real]
    embedded += ["--record", str(work / "record")]  # no step is requested twice
    for folder, options in (
        (first, ["--source", "simulate", "--episodes", str(simulated)]),
        (second, embedded),
    ):
        run("train", kind, *options, "--seed", str(_SEED), "--out", str(folder), "--resume")
    return second


def main() -> None:
    """Train and put in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("pomdp", "agg", "seq"))
    parser.add_argument("--work", type=Path, default=Path("work/policies"))
    parser.add_argument("--simulated", type=int, default=50_000, help="episodes of the first training")
    parser.add_argument("--episodes", type=int, help="of the second training (default: 24000 for agg, 6000 for seq)")
    parser.add_argument("--batch", type=int, help="episodes per update of it (default: 256 for agg, 128 for seq)")
    parser.add_argument("--questions", type=int, default=2_000, help="distinct problems of the second training")
    parser.add_argument("--validation", type=int, default=100, help="held-out problems of the second training")
    parser.add_argument("--out", type=Path, default=Path("src/trim/embedded"))
    args = parser.parse_args()
    args.episodes = args.episodes or (24_000 if args.kind == "agg" else 6_000)
    args.batch = args.batch or (256 if args.kind == "agg" else 128)
    names = ("episodes", "batch", "questions", "validation")
    real = [word for name in names for word in (f"--{name}", str(getattr(args, name)))]
    made = fit(args.work) if args.kind == "pomdp" else train(args.kind, args.work, simulated=args.simulated, real=real)
    target = args.out / args.kind
    target.mkdir(parents=True, exist_ok=True)
    for name in ("policy.json", "arrays.npz"):
        shutil.copy(made / name, target / name)
    print(f"{target}: {sum(path.stat().st_size for path in target.iterdir())} bytes")


if __name__ == "__main__":
    main()
