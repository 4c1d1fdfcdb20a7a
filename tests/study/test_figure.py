from dataclasses import replace

import pytest

from tests.study.results import LONG, result


def draw(study):
    """The figure after its layout, its axes, and its renderer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = study.figure()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return figure, figure.axes[0], canvas.get_renderer()


@pytest.mark.parametrize("num_seeds", [1, 3, 10])
@pytest.mark.parametrize("arms", [None, ["baseline", LONG], ["baseline"]])
def test_no_word_is_cut_off_or_covered(num_seeds, arms):
    figure, axes, renderer = draw(result(num_seeds=num_seeds, arms=arms))
    inches = figure.get_tightbbox(renderer)
    assert inches.x0 >= 0
    assert inches.y0 >= 0
    assert (inches.x1, inches.y1) <= tuple(figure.get_size_inches())
    texts = [*axes.get_yticklabels(), *axes.child_axes[0].get_yticklabels(), axes.xaxis.label, axes.title]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    plot = axes.get_window_extent(renderer)
    for place, (words, box) in enumerate(boxes):
        assert not [other for other, area in boxes[place + 1 :] if box.overlaps(area)], words
        assert not box.overlaps(plot), words


def test_points_intervals_and_verdicts():
    study = result()
    _, axes, _ = draw(study)
    rows = study.rows[1:]
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == [row.arm for row in rows]
    verdicts = [label.get_text() for label in axes.child_axes[0].get_yticklabels()]
    assert verdicts[:4] == [row.verdict for row in rows[:4]]
    assert verdicts[4] == "diverged in 1 of 10 runs"
    points = {line.get_ydata()[0]: line for line in axes.lines[1:] if len(line.get_xdata()) == 1}
    lines = {line.get_ydata()[0]: line for line in axes.lines[1:] if len(line.get_xdata()) == 2}
    for height, row in enumerate(rows[:4]):
        assert list(points[height].get_xdata()) == [row.difference]
        assert list(lines[height].get_xdata()) == [row.low, row.high]
    assert set(points) == set(lines) == {0, 1, 2, 3}
    assert len({line.get_marker() for line in points.values()}) == 4, "told apart without colour"
    assert len({line.get_color() for line in points.values()}) == 4


def test_words_of_the_axes():
    _, axes, _ = draw(result())
    assert axes.get_xlabel().startswith("difference in val_acc on the validation part, 95% interval (right is better)")
    assert axes.get_xlabel().endswith("shaded: the stated margin, ±0.01")
    assert axes.get_title() == ""
    assert len(axes.patches) == 1
    _, axes, _ = draw(result(num_seeds=3, margin=None, mode="min", part="test", confidence=0.9))
    assert axes.get_xlabel() == "difference in val_acc on the test part, 90% interval (left is better)"
    assert axes.get_title() == "Demonstration: 3 seeds cannot decide"
    assert len(axes.patches) == 0


def test_in_percent_everything_is():
    study = result(percent=True)
    _, axes, _ = draw(study)
    assert "on the validation part, in points, 95% interval (right is better)" in axes.get_xlabel()
    assert axes.get_xlabel().endswith("shaded: the stated margin, ±1 point")
    assert axes.patches[0].get_extents().transformed(axes.transData.inverted()).x1 == pytest.approx(1)
    assert axes.child_axes[0].get_yticklabels()[2].get_text() == "no difference beyond ±1 point"
    rows, points = study.rows[1:5], [line for line in axes.lines[1:] if len(line.get_xdata()) == 1]
    lines = [line for line in axes.lines[1:] if len(line.get_xdata()) == 2]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([100 * row.difference for row in rows])
    assert [list(line.get_xdata()) for line in lines] == [[100 * row.low, 100 * row.high] for row in rows]


def test_several_references_are_named():
    references = {"mixup": "baseline", LONG: "mixup"}
    _, axes, _ = draw(result(arms=["baseline", "mixup", LONG], references=references))
    labels = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert labels == ["mixup against baseline", f"{LONG} against mixup"]


@pytest.mark.parametrize("end", [" first", " second"])
def test_a_long_name_leaves_room_and_keeps_its_end(end):
    study = result(arms=["baseline", "mixup"])
    name = "name " * 100 + end
    records = [record | {"arm": record["arm"].replace("mixup", name)} for record in study.records]
    figure, axes, renderer = draw(replace(study, records=records, references={name: "baseline"}))
    label = axes.get_yticklabels()[0]
    assert label.get_text().endswith(end.strip())
    assert label.get_window_extent(renderer).height < figure.bbox.height / 2
