"""Prints every table of the README and of docs, one after another: ``python -m benchmarks``.

Names choose: ``python -m benchmarks kernels losses``. Each runs in its own process with its defaults; for its
options run it alone, as ``python -m benchmarks.kernels --help``.
"""

import argparse
import subprocess
import sys

TABLES = {
    "kernels": "the kernels beside their peers",
    "growth": "how the costs grow",
    "losses": "cross-entropy of soft labels",
    "adabound": "AdaBound beside its peers, compiled too",
    "overhead": "a step of the Trainer, and the import",
    "pixel_share": "label weights beside pixel shares",
    "distillation": "a student with and without a teacher",
    "calibration": "studies of identical arms",
    "pictures": "the pictures of the README",
}


def main():
    listed = "\n".join(f"  {name:<14}{what}" for name, what in TABLES.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help="the tables to print; all of them where none is named")
    names = parser.parse_args().names or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"there is no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    failed = []
    for name in names:
        print(f"\n## {name}: {TABLES[name]}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"These ended with an error: {', '.join(failed)}")


if __name__ == "__main__":
    main()
