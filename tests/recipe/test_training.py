"""The same seed gives the same run, and a run that is stopped goes on as if it never was: bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recipe.export import write, write_card
from recipe.training import Mismatch, Plan, Run, rate, train


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in run.network.state_dict().items()}


def same(one: Run, other: Run) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in run.losses]


def stopping_after(run: Run, steps: int):
    return lambda: run.step < steps


def test_the_same_seed_gives_the_same_curve_and_weights(opened) -> None:
    one, other, third = opened("one"), opened("other"), opened("third", replace(opened("none").settings, seed=1))
    for run in (one, other, third):
        assert train(run, steps=6)
    assert losses(one) == losses(other)
    assert losses(one) != losses(third)
    assert same(one, other)
    assert losses(one)[-1] < losses(one)[0]


def test_an_interrupted_run_ends_with_the_same_weights(opened) -> None:
    whole = opened("whole")
    assert train(whole, steps=9)
    for stop in (2, 5):
        part = opened("parts")
        assert not train(part, steps=9, wanted=stopping_after(part, stop))
    last = opened("parts")
    assert last.step == 5
    assert train(last, steps=9)
    assert losses(last) == losses(whole)
    assert last.batches.drawn == whole.batches.drawn
    assert same(last, whole)
    assert all(torch.equal(a, b) for a, b in zip(last.optimiser.momenta, whole.optimiser.momenta, strict=True))


def test_steps_after_the_last_save_are_done_again_alike(opened) -> None:
    lost = opened("lost")
    train(lost, wanted=stopping_after(lost, 3))
    for _ in range(2):  # and then the power fails
        lost.advance()
    again = opened("lost")
    assert again.step == 3
    for _ in range(2):
        again.advance()
    assert same(again, lost)
    assert losses(again) == losses(lost)


def test_the_plateau_goes_on_until_it_is_stopped_and_can_be_decayed(opened) -> None:
    run = opened("plateau")
    assert not train(run, wanted=stopping_after(run, 5))
    assert run.plan is None
    assert train(run, steps=4, decay_share=1.0)
    assert run.plan == Plan(5, 9)
    assert [row["rate"] for row in run.losses[3:]] == [1.0, 1.0, 1.0, 0.75, 0.5, 0.25]


def test_another_mixture_holds_from_there_on(opened) -> None:
    run = opened("mixed")
    train(run, wanted=stopping_after(run, 5))
    before = dict(run.batches.drawn)
    run.change(mixture={name: 1.0 if name == "stories" else 1e-9 for name in before})
    train(run, wanted=stopping_after(run, 9))
    assert run.batches.drawn["stories"] - before["stories"] >= 3
    assert opened("mixed").settings.mixture == run.settings.mixture


def test_minutes_become_steps_once(opened) -> None:
    run = opened("minutes")
    assert train(run, minutes=0.02)
    assert run.plan is not None
    assert run.step == run.plan.end
    assert opened("minutes").plan == run.plan


def test_the_rate_rises_stays_and_falls() -> None:
    plan = Plan(10, 20)
    assert [rate(step, 4, plan) for step in (0, 1, 3, 9, 10, 15, 19)] == pytest.approx([0.25, 0.5, 1, 1, 1, 0.5, 0.1])
    assert rate(10**6, 4, None) == 1.0


def test_other_tokens_are_refused(opened, data, tmp_path) -> None:
    run = opened("mine")
    run.save()
    other = tmp_path / "tokens"
    other.mkdir()
    for each in data.iterdir():
        (other / each.name).write_bytes(each.read_bytes())
    (other / "chat.npz").write_bytes((data / "stories.npz").read_bytes())
    with pytest.raises(ValueError, match="trained on other tokens"):
        Run(other, run.folder, run.settings)


def test_the_log_is_whole_lines(opened) -> None:
    run = opened("log")
    train(run, steps=3)
    rows = [json.loads(line) for line in run.log_file.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[-1]["tokens"] == 3 * 512
    assert not list(run.folder.glob("*.part"))


def begun_with_an_export(opened, data, checkpoint: Path) -> tuple[Run, Run]:
    """A run of three steps, and another that begins with the checkpoint it was exported to."""
    first = opened("first")
    train(first, steps=3)
    write(data, first.folder, checkpoint)
    further = opened("further", replace(first.settings, seed=1))
    further.begin_with(checkpoint, first.tokens)
    return first, further


def test_a_run_begins_with_the_weights_of_an_exported_one(opened, data, tmp_path) -> None:
    first, further = begun_with_an_export(opened, data, tmp_path / "checkpoint")
    assert all(torch.equal(each, weights(first)[name].half().float()) for name, each in weights(further).items())
    train(further, steps=2)
    assert further.tokens == 5 * first.tokens // 3
    again = opened("further")
    assert again.tokens == further.tokens
    assert same(again, further)
    again.begin_with(tmp_path / "checkpoint", 0)  # a run that is under way keeps its own
    assert same(again, further)


def test_weights_of_another_size_are_refused(opened, data, tmp_path) -> None:
    first = opened("first")
    train(first, steps=1)
    write(data, first.folder, tmp_path / "checkpoint")
    wider = replace(first.settings, size=replace(first.settings.size, mlp=first.settings.size.mlp + 8))
    with pytest.raises(Mismatch, match="do not fit the run's size"):
        opened("wider", wider).begin_with(tmp_path / "checkpoint", 1)


def test_an_export_is_averaged_with_another_checkpoint(opened, data, tmp_path) -> None:
    _, further = begun_with_an_export(opened, data, tmp_path / "old")
    train(further, steps=2)
    write(data, further.folder, tmp_path / "new", tmp_path / "old", 0.25)
    old, new = (load_file(tmp_path / name / "model.safetensors") for name in ("old", "new"))
    for name, each in weights(further).items():
        assert torch.equal(new[f"model.{name}"], (0.75 * each + 0.25 * old[f"model.{name}"].float()).half())
    write_card(data, further.folder, tmp_path / "new")
    assert "a mean: 0.75 of this run's, 0.25 of those it began with" in (tmp_path / "new" / "README.md").read_text()
    write_card(data, further.folder, tmp_path / "old")
    assert "a mean" not in (tmp_path / "old" / "README.md").read_text()


def test_an_average_with_another_size_is_refused(opened, data, tmp_path) -> None:
    first = opened("first")
    train(first, steps=1)
    write(data, first.folder, tmp_path / "old")
    wider = opened("wider", replace(first.settings, size=replace(first.settings.size, mlp=first.settings.size.mlp + 8)))
    train(wider, steps=1)
    with pytest.raises(Mismatch, match="same size"):
        write(data, wider.folder, tmp_path / "new", tmp_path / "old", 0.25)
    assert not (tmp_path / "new").exists()
