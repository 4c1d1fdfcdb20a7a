import json
import math
import os
import threading

import pytest

from lightning_tricks.study.runs import store as store_module
from lightning_tricks.study.runs.store import RunStore, run_name, write_atomically

STUDY = {"metric": "val_acc", "num_seeds": 3}


def record(seed=0, value=0.1, arm="mixup", trial=None):
    return {"arm": arm, "seed": seed, "trial": trial, "value": value, "seconds": 1.5}


def add(store, **kwargs):
    run = record(**kwargs)
    store.add(run_name(run["seed"], 1, run["arm"], run["trial"]), run)
    return run


def test_a_run_is_there_for_the_next_process(tmp_path):
    store = RunStore(tmp_path / "new", STUDY)
    store.open()
    runs = [add(store), add(store, seed=1, value=1 / 3), add(store, trial=2), add(store, arm="a/b: ü")]
    again = RunStore(tmp_path / "new", STUDY).finished()
    assert again == {(run["arm"], run["seed"], run["trial"]): run for run in runs}
    assert store.finished() == again


def test_without_a_directory_runs_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = RunStore(None, STUDY)
    store.open()
    add(store)
    assert list(store.finished().values()) == [record()]
    assert list(tmp_path.iterdir()) == []


def test_another_rank_writes_nothing(tmp_path):
    store = RunStore(tmp_path, STUDY)
    store.add("name", record(), write=False)
    assert list(store.finished().values()) == [record()]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_diverged_run_is_plain_json(value, tmp_path):
    store = RunStore(tmp_path, STUDY)
    add(store, value=value)

    def refuse(word):
        raise AssertionError(word)

    (path,) = (tmp_path / "runs").iterdir()
    assert json.loads(path.read_text(), parse_constant=refuse)["value"] is None
    assert math.isnan(RunStore(tmp_path, STUDY).finished()["mixup", 0, None]["value"])


def test_another_study_is_refused(tmp_path):
    store = RunStore(tmp_path, STUDY)
    store.open()
    with pytest.raises(
        ValueError, match=r"holds another study \(num_seeds: 3 there, 10 here\); choose another directory"
    ):
        RunStore(tmp_path, STUDY | {"num_seeds": 10})
    late = RunStore(tmp_path / "late", STUDY | {"metric": "f1"}, remedy="ask again")
    (tmp_path / "late").mkdir()
    (tmp_path / "study.json").rename(tmp_path / "late" / "study.json")
    with pytest.raises(ValueError, match=r'another study \(metric: "val_acc" there, "f1" here\); ask again'):
        late.open()
    with pytest.raises(ValueError, match=r"another study was begun \(num_seeds: 3 there, 4 here\)"):
        store.check(STUDY | {"num_seeds": 4})
    store.check(STUDY)


def test_a_directory_belongs_to_the_study_that_finished_a_run_first(tmp_path):
    first, second = RunStore(tmp_path, STUDY | {"num_seeds": 10}), RunStore(tmp_path, STUDY)
    first.close()
    assert list(tmp_path.iterdir()) == []
    run = add(second)
    with pytest.raises(ValueError, match=r"holds another study \(num_seeds: 3 there, 10 here\)"):
        add(first, seed=1)
    assert list(RunStore(tmp_path, STUDY).finished().values()) == [run]


def test_runs_of_another_study_are_refused(tmp_path):
    add(RunStore(tmp_path, STUDY | {"metric": "f1"}))
    (tmp_path / "study.json").unlink()
    with pytest.raises(ValueError, match=r"seed-0000-arm-01-mixup\.json is not a run of this study"):
        RunStore(tmp_path, STUDY).finished()


@pytest.mark.parametrize("text", ["", '{"arm": "mix', "[1]", "\x00\x00"])
def test_a_damaged_file_is_named(text, tmp_path):
    store = RunStore(tmp_path, STUDY)
    add(store)
    (path,) = (tmp_path / "runs").iterdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mixup\.json is damaged \(.*\); remove it, and its run is done again"):
        store.finished()


def test_a_full_disk_loses_no_finished_run(tmp_path, monkeypatch):
    store = RunStore(tmp_path, STUDY)
    store.open()
    runs = [add(store)]

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(store_module.os, "fsync", full)
        with pytest.warns(UserWarning, match=r"1 finished run\(s\) could not be written .*No space left"):
            runs.append(add(store, seed=1))
        with pytest.warns(UserWarning, match=r"2 finished run\(s\) could not be written"):
            runs.append(add(store, seed=2))
        with pytest.raises(OSError, match="No space left"):
            store.close()
        assert list(store.finished().values()) == runs
        assert list(RunStore(tmp_path, STUDY).finished().values()) == runs[:1]
        assert [path.suffix for path in (tmp_path / "runs").iterdir()] == [".json"], (
            "no leftovers fill the disk further"
        )
    runs.append(add(store, seed=3))
    store.close()
    assert list(RunStore(tmp_path, STUDY).finished().values()) == runs


class Killed(BaseException):
    """Stands for a kill: nothing after it is executed."""


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_kill_inside_a_write_leaves_the_old_text_or_the_new(call, tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_atomically(path, "old")
    outcomes = []
    for place in range(3):
        count = 0
        real = getattr(os, call)

        def killed(*args, real=real, place=place, **kwargs):
            nonlocal count
            count += 1
            if count > place:
                raise Killed
            return real(*args, **kwargs)

        with monkeypatch.context() as process:
            process.setattr(os, call, killed)
            try:
                write_atomically(path, "new")
                outcomes.append("done")
            except Killed:
                outcomes.append("killed")
        assert path.read_text() in ("old", "new")
        write_atomically(path, "old")
    assert outcomes[0] == "killed", f"os.{call} is not called"


def test_a_reader_never_sees_half_a_file(tmp_path):
    path, stop, seen = tmp_path / "run.json", threading.Event(), set()
    texts = {"a" * 200_000, "b" * 100_000}
    write_atomically(path, "a" * 200_000)

    def read():
        while not stop.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for text in sorted(texts):
            write_atomically(path, text)
    stop.set()
    reader.join()
    assert seen <= texts
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_files():
    names = [
        run_name(seed, place, arm, trial)
        for seed in (0, 12345)
        for place, arm in enumerate(["a b", "a-b", "A b", "ü/..", "x" * 300])
        for trial in (None, 0, 1)
    ]
    assert len({name.lower() for name in names}) == len(names)
    assert all(name.isascii() and "/" not in name and len(name) < 100 for name in names)
