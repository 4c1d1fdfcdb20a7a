"""What .ci/audit.py makes of pip-audit's reports; pip-audit itself is not needed."""

import importlib.util
import json
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("audit", Path(__file__).parents[1] / ".ci" / "audit.py")
audit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(audit)

SAFE = {"name": "rich", "version": "15.0.0", "vulns": []}
BAD = {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.14.1+cpu)"}


@pytest.mark.parametrize(
    ("packages", "status", "words"),
    [
        ([SAFE], 0, "audit: no known vulnerability in 1 packages"),
        ([SAFE, UNKNOWN], 0, "audit: no known vulnerability in 1 packages; not looked up: torch"),
        ([UNKNOWN], 0, "audit: left out, for the service knows none of the packages"),
        ([SAFE, BAD, UNKNOWN], 1, "audit: known vulnerabilities\njinja2 2.4.1: PYSEC-2019-217"),
    ],
)
def test_report(packages, status, words):
    assert audit.judge(json.dumps({"dependencies": packages, "fixes": []}), "") == (status, words)


def test_lost_connection_is_left_out():
    errors = "Traceback\nConnectionError: Could not connect to PyPI's vulnerability feed\n"
    status, words = audit.judge("", errors)
    assert status == 0
    assert words.startswith("audit: left out, for the service cannot be reached (ConnectionError: Could not")


def test_any_other_failure_fails():
    errors = "usage: pip-audit\npip-audit: error: unrecognized arguments: --skip-editable\n"
    assert audit.judge("", errors) == (1, f"audit: pip-audit failed\n{errors}")


def test_a_service_that_does_not_answer_is_unreachable(monkeypatch):
    monkeypatch.setattr(audit, "SERVICE", "http://127.0.0.1:9/")
    assert "refused" in audit.unreachable()
