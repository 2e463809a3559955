"""Trials differ in one thing each, cost the same, and are not done twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from recipe.__main__ import recipe
from recipe.training import Settings
from recipe.trials import cost, trials

MIXTURE = "prose=0.6,stories=0.1,chat=0.1,functions=0.1,modules=0.1"


def test_each_differs_in_one_thing(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(data, other)
    todo = trials([data, other], 2, [("width", "64"), ("muon", "0.1")], [{"prose": 0.6, "stories": 0.4}])
    assert [each.name(data) for each in todo] == ["the defaults", "width 64", "muon 0.1", "mixture 60/40", "vocabulary 320"]
    assert all(each.given["rows"] == 2 and len(each.given) <= 2 for each in todo)
    assert [each.data for each in todo] == [data] * 4 + [other]


@pytest.mark.parametrize(("name", "value", "told"), [("wdth", "3", "no wdth to vary. Choices: context, "), ("width", "wide", "invalid")])
def test_what_cannot_be_varied_is_a_sentence(name: str, value: str, told: str, data: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(recipe, ["trials", str(data), "--into", str(tmp_path), "--vary", name, value])
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())


def test_a_step_costs_what_its_products_do() -> None:
    base = Settings()
    assert cost(replace(base, rows=2 * base.rows)) == 2 * cost(base)
    assert cost(replace(base, context=2 * base.context)) > cost(base)
    wider = cost(replace(base, size=replace(base.size, width=2 * base.size.width)))
    assert 2 * cost(base) < wider < 4 * cost(base)


@pytest.mark.slow
def test_the_record_has_every_trial_and_is_continued(data: Path, tmp_path: Path) -> None:
    words = ["trials", str(data), "--into", str(tmp_path / "runs"), "--rows", "1", "--steps", "2", "-o", str(tmp_path / "trials.md")]
    more = ["--vary", "context", "128", "--mixture", MIXTURE]
    first = CliRunner().invoke(recipe, words + more[:3])
    assert first.exit_code == 0, first.output
    both = CliRunner().invoke(recipe, words + more)
    assert both.exit_code == 0, both.output
    once, again = first.stdout.splitlines(), (tmp_path / "trials.md").read_text().splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in again[-5:]] == [
        "trial",
        "---",
        "the defaults",
        "context 128",
        "mixture 60/10/10/10/10",
    ]
    assert set(again) >= {line for line in once if line}  # what was measured before stands there again
    assert "from step 2" in both.stderr
