"""Looks the installed packages up among the known vulnerabilities; fails if there is one, or if the look-up broke.

Where the service cannot be reached the look-up is left out, in so many words. pip-audit's exit status alone cannot
tell: it is 0 too where the service knows none of the packages.
"""

import json
import re
import subprocess
import sys
import urllib.request

SERVICE = "https://pypi.org/pypi/pip/json"
COMMAND = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off", "--format", "json"]


def unreachable() -> str:
    """Why the service cannot be reached; empty if it can."""
    try:
        with urllib.request.urlopen(SERVICE, timeout=10):
            return ""
    except OSError as error:
        return str(error)


def judge(report: str, errors: str) -> tuple[int, str]:
    """The exit status and the words for what pip-audit wrote to its two streams."""
    try:
        packages = json.loads(report)["dependencies"]
    except json.JSONDecodeError:
        last = errors.strip().rpartition("\n")[2]
        if re.search(r"connect|timed out", last, re.IGNORECASE):
            return 0, f"audit: left out, for the service cannot be reached ({last})"
        return 1, f"audit: pip-audit failed\n{errors}"
    found = [f"{it['name']} {it['version']}: {bug['id']}" for it in packages for bug in it.get("vulns", ())]
    if found:
        return 1, "audit: known vulnerabilities\n" + "\n".join(found)
    unknown = [it["name"] for it in packages if "skip_reason" in it]
    audited = len(packages) - len(unknown)
    if not audited:
        return 0, "audit: left out, for the service knows none of the packages"
    rest = f"; not looked up: {', '.join(unknown)}" if unknown else ""
    return 0, f"audit: no known vulnerability in {audited} packages{rest}"


if __name__ == "__main__":
    if reason := unreachable():
        print(f"audit: left out, for the service cannot be reached ({reason})")
    else:
        run = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
        status, words = judge(run.stdout, run.stderr)
        print(words)
        sys.exit(status)
