from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fewmask.engine.loggers import CsvLogger, read_metrics


def test_rows_and_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(path)
    logger.log(10, {"phase": "train", "loss": 0.123456789})
    logger.log(20, {"phase": "train", "loss": 0.1, "val_dice": 0.5})
    logger.log(30, {"phase": "train", "loss": 0.0})
    assert path.read_text() == ("iteration,phase,loss,val_dice\n10,train,0.123457,\n20,train,0.1,0.5\n30,train,0,\n")


def test_rows_after_the_checkpoint_go(tmp_path):
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(path)
    for i in (1, 2, 3, 4):
        logger.log(i, {"loss": float(i)})
    again = CsvLogger(path, after=2)
    assert [row["iteration"] for row in read_metrics(path)] == ["1", "2"]
    again.log(3, {"loss": 30.0})
    assert [row["loss"] for row in read_metrics(path)] == ["1", "2", "30"]


def test_a_torn_last_row_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("iteration,phase,loss\n1,train,0.5\n2,tr")
    CsvLogger(path, after=5).log(2, {"phase": "train", "loss": 0.25})
    assert [row["loss"] for row in read_metrics(path)] == ["0.5", "0.25"]


def test_no_file_no_rows(tmp_path):
    assert read_metrics(tmp_path / "none.csv") == []
    (tmp_path / "empty.csv").write_text("")
    assert read_metrics(tmp_path / "empty.csv") == []


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(
    lambda name: name != "iteration"
)


@settings(max_examples=40)
@given(
    rows=st.lists(st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=4), max_size=8),
    cut=st.integers(0, 8),
)
def test_any_rows_come_back_whole_and_cut_where_the_run_continues(tmp_path_factory, rows, cut):
    path = tmp_path_factory.mktemp("log") / "metrics.csv"
    log = CsvLogger(path)
    for number, row in enumerate(rows, start=1):
        log.log(number, row)

    def read():
        return [{k: v for k, v in row.items() if v and k != "iteration"} for row in read_metrics(path)]

    expected = [{name: f"{value:.6g}" for name, value in row.items()} for row in rows]
    assert read() == expected
    CsvLogger(path, after=cut)
    assert read() == expected[:cut]
