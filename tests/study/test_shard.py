import pytest

from lightning_tricks.study.runs.runner import parse_shard


@pytest.mark.parametrize(
    ("shard", "parsed"), [(None, (1, 1)), ("1/1", (1, 1)), ("3/4", (3, 4)), (" 2 / 3 ", (2, 3)), ((2, 5), (2, 5))]
)
def test_shares(shard, parsed):
    assert parse_shard(shard) == parsed


@pytest.mark.parametrize("shard", ["", "1", "1/", "a/b", "-1/2", "1/2/3"])
def test_other_words_are_refused(shard):
    with pytest.raises(ValueError, match='needs shard to be of the form "i/n", but got'):
        parse_shard(shard)


@pytest.mark.parametrize("shard", ["0/4", "5/4", (0, 1), (2, 1), "1/0"])
def test_shares_count_from_one(shard):
    with pytest.raises(ValueError, match="counts shares from 1 to their number, but got share"):
        parse_shard(shard)


@pytest.mark.parametrize("shard", [3, (1,), (1, 2, 3), (1.0, 2), {"i": 1}])
def test_other_types_are_refused(shard):
    with pytest.raises(TypeError, match='needs shard to be "i/n" or a pair of integers, but got'):
        parse_shard(shard)
