"""Runs a script of a test in processes of its own, and leaves none behind."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 900
"""Seconds after which a script is taken to hang: far beyond what the busiest machine needs."""


def run_script(script, folder, *arguments):
    """Runs the text of a script with ``folder`` as its directory; returns its exit status and what it printed."""
    path = Path(folder) / "script.py"
    path.write_text(textwrap.dedent(script))
    return run_command([path, *arguments], cwd=folder)


def run_command(arguments, cwd=ROOT):
    """Runs Python with these arguments; when it ends, or hangs, no process that it started is left."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=LIMIT)
    finally:
        with suppress(ProcessLookupError):  # the usual case
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
