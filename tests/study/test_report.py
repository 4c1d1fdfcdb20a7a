import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.study.results import LONG, result

VOID = {"meta", "img"}


class Page(HTMLParser):
    """The page's words, attributes and cells; refuses tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.words, self.rows = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data
        elif self.open[-1:] != ["style"]:
            self.words.append(data)


def test_everything_is_on_the_page():
    study = result(settings={"num_seeds": 10, "metric": "val_acc", "trainer_options": {"devices": 7}, "lr_grid": [0.5]})
    page = Page(study.html())
    words = " ".join(page.words)
    for note in study.notes():
        assert note in words
    for verdict in ("helps", "hurts", "No difference beyond ±margin", "Inconclusive with n seeds"):
        assert verdict in words
    assert "demonstration" not in words
    header, baseline, mixup = page.rows[:3]
    assert dict(zip(header, mixup, strict=True)) == {
        "arm": "mixup",
        "verdict": "helps",
        "difference": "+0.0298",
        "interval": "+0.0275 to +0.0321",
        "adjusted p": "< 0.001",
        "mean": "0.9817",
        "seeds": "10",
        "diverged": "0",
        "s per run": "2.5",
        "peak MB": "700",
    }
    assert baseline[:5] == ["baseline", "", "", "", ""]
    adabound = page.rows[6]
    assert adabound[:8] == ["adabound", "diverged in 1 of 10 runs", "", "", "1.000", "", "10", "1"]
    rows = {row[0]: row[1] for row in page.rows if len(row) == 2}
    expected = {"confidence": "0.95", "margin": "0.01", "part": "validation", "seeds": "0 to 9", "num_seeds": "10"}
    assert expected.items() <= rows.items()
    assert (rows["trainer_options › devices"], rows["lr_grid"]) == ("7", "[0.5]")
    assert {"lightning-tricks", "lightning", "torch"} <= set(rows)
    runs = page.rows[-60:]
    assert [row[0] for row in runs[:3]] == ["baseline", "mixup", LONG]
    assert runs[11][:4] == ["adabound", "1", "nan", "True"]


def test_in_percent_everything_is():
    header, baseline, mixup, _, cosine = (page := Page(result(percent=True).html())).rows[:5]
    assert header[2:6] == ["difference points", "interval", "adjusted p", "mean %"]
    assert mixup[2:6] == ["+2.98", "+2.75 to +3.21", "< 0.001", "98.17"]
    assert baseline[5] == f"{100 * result().rows[0].value:.2f}"
    assert cosine[1] == "no difference beyond ±1 point"
    assert ["margin", "1 point"] in page.rows
    runs = page.rows[-61:]
    place = runs[0].index("value %")
    assert float(runs[1][place]) == pytest.approx(100 * result().records[0]["value"], rel=1e-5)


def test_several_references_have_a_column():
    rows = Page(result(references={"mixup": "baseline", LONG: "mixup"}).html()).rows
    assert [row[2] for row in rows[:4]] == ["against", "", "baseline", "mixup"]


def test_a_demonstration_is_marked():
    page = Page(result(num_seeds=3).html())
    assert "With 3 seeds this is a demonstration" in " ".join(page.words)
    assert ("class", "warning") in page.attributes
    one = Page(result(num_seeds=1).html())
    assert one.rows[2][3] == "needs 2 seeds"


def test_a_confirmation_says_so():
    words = " ".join(Page(result(part="test").html()).words)
    assert "One trick on the test part" in words
    assert "was not read" not in words


def test_the_page_needs_no_other_file():
    text = result().html()
    page = Page(text)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert not re.search(r"https?:|url\(|@import|<script", text.replace(sources[0], ""))


def test_words_of_the_user_stay_words():
    study = result(num_seeds=2, arms=["baseline", "mixup"], settings={"num_seeds": 2, "metric": "<b>&", "x": "</td>"})
    records = [{**record, "arm": record["arm"].replace("mixup", "<i>mix & up</i>")} for record in study.records]
    page = Page(replace(study, records=records).html())
    assert page.rows[2][0] == "<i>mix & up</i>"
    assert ["x", "</td>"] in page.rows
    assert any("<b>& after the last epoch" in words for words in page.words)
