"""Tables that can be judged at a glance."""

import numpy as np
import pytest

from chiasm.evaluation.report import Report, Row, Target, measured


def test_a_row_says_whether_its_target_is_met():
    def row(figure: float, target: Target | None) -> Row:
        return Row(group="g", what="w", n=1, figure=figure, target=target)

    assert row(0.5, Target(least=0.5)).met is True
    assert row(0.49, Target(least=0.5)).met is False
    assert row(0.2, Target(most=0.1)).met is False
    assert row(0.2, None).met is None


def test_a_share_comes_with_its_interval():
    row = measured("g", "w", np.array([True, False, True, True]), gallery=7, chance=1 / 7)
    assert (row.figure, row.n) == (0.75, 4)
    assert row.low is not None
    assert row.high is not None
    assert row.low < 0.75 < row.high <= 1


def test_the_markdown_names_everything_that_is_needed_to_judge():
    rows = [
        measured(
            "drawings",
            "R@1",
            np.array([True, False]),
            gallery=1300,
            chance=0.01,
            baselines={"pixels": 0.25},
            target=Target(least=0.6),
        ),
        Row(group="speed", what="startup", n=3, figure=5.0, target=Target(most=6.0), unit="s"),
    ]
    text = Report(model="m", revision="r", split="test", rows=rows, notes=["no photographs"]).to_markdown()
    line = next(line for line in text.splitlines() if line.startswith("| R@1"))
    assert "| 2 | 1300 | 50.0 % |" in line
    assert "1.0 %" in line
    assert "pixels: 25.0 %" in line
    assert "≥ 60.0 %: missed" in line
    assert "5.00 s" in text
    assert "≤ 6.00 s: met" in text
    assert "## drawings" in text
    assert "- no photographs" in text


def test_the_plain_data_is_what_json_takes():
    import json

    rows = [measured("g", "w", np.array([1.0, 0.0]), baselines={"b": 0.5}, target=Target(least=0.1))]
    report = Report(model="m", revision="r", split="test", rows=rows)
    again = json.loads(json.dumps(report.to_dict()))
    assert again["rows"][0]["figure"] == pytest.approx(0.5)
    assert again["rows"][0]["met"] is True
    assert again["rows"][0]["target"] == {"least": 0.1, "most": None}
