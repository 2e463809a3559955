"""The recipe's command line: prepare, train, decay, export, evaluate, marks, card, and all as one. Knows no step of the way itself."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

if not __package__:  # started as a folder: python checkpoints/recipe
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def recipe() -> None:
    """From text files to a checkpoint. `all` is the whole way; the other commands are its parts."""


class Mixture(click.ParamType[dict[str, float]]):
    """Shares of the rows by ability, as `prose=0.6,stories=0.1,...`: of all abilities, none of them below 0."""

    name = "mixture"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        from recipe.batches import MIXTURE

        try:
            shares = {name.strip(): float(share) for name, share in (each.split("=") for each in value.split(","))}
        except ValueError:
            self.fail(f"{value!r} is not of the form {','.join(f'{name}={share:g}' for name, share in MIXTURE.items())}.", param, ctx)
        if shares.keys() != MIXTURE.keys():
            self.fail(f"it must name each of {', '.join(MIXTURE)}.", param, ctx)
        if not all(0 < share < float("inf") for share in shares.values()):
            self.fail("every share must be a number over 0.", param, ctx)
        return shares


def mixed(function: click.decorators.FC) -> click.decorators.FC:
    return click.option("--mixture", type=Mixture(), help="Shares of the abilities from here on: prose=0.4,stories=0.14,...")(function)


def sources(function: click.decorators.FC) -> click.decorators.FC:
    place = click.Path(path_type=Path, exists=True)
    function = click.option("--held-out", "held", type=place, help="Books and modules never trained on; else the recipe's list.")(function)
    function = click.option("--code", "code_folder", type=place, help="Folder of Python modules; else this interpreter's own.")(function)
    function = click.option("--chat", type=place, required=True, help="Folder of .jsonl files with messages.")(function)
    function = click.option("--stories", type=place, required=True, help="File of stories between <|endoftext|>.")(function)
    return click.option("--prose", type=place, required=True, help="Folder of .txt files.")(function)


def beginning(function: click.decorators.FC) -> click.decorators.FC:
    def whole(context: click.Context, option: click.Parameter, folder: Path | None) -> Path | None:
        for name in ("README.md", "config.json", "model.safetensors", "tokenizer.json"):
            if folder and not (folder / name).is_file():
                raise click.BadParameter(f"{folder} is no checkpoint of the recipe: there is no {name} in it.")
        return folder

    place = click.Path(path_type=Path, exists=True, file_okay=False)
    return click.option("--from", "beginning", type=place, callback=whole, help="Go on from this checkpoint of the recipe's.")(function)


def budget(function: click.decorators.FC) -> click.decorators.FC:
    function = click.option("--minutes", type=float, help="As many steps as fit, by the pace of the first ones.")(function)
    return click.option("--steps", type=int, help="So many steps.")(function)


def machine(function: click.decorators.FC) -> click.decorators.FC:
    function = click.option("--threads", type=int, default=1, help="Fixed threads give the same bits again.")(function)
    return click.option("--device", default="cpu", help="cpu or cuda.")(function)


def shape(function: click.decorators.FC) -> click.decorators.FC:
    function = click.option("--adam", type=float, help="Peak learning rate of the embedding and the norms.")(function)
    function = click.option("--muon", type=float, help="Peak learning rate of the matrices.")(function)
    function = click.option("--context", type=int, help="Tokens that attention sees in training, from here on; divides 512.")(function)
    function = click.option("--rows", type=int, help="Windows of 512 tokens a step.")(function)
    for name in ("heads", "mlp", "width", "layers"):
        function = click.option(f"--{name}", type=int)(function)
    return click.option("--seed", default=0)(function)


@recipe.command()
@click.argument("data", type=FOLDER)
@sources
@beginning
@click.option("--vocabulary", "size", default=4096, help="Tokens.")
def prepare(data: Path, beginning: Path | None, size: int, **texts: Any) -> None:
    """Filter the texts, hold some out, learn the vocabulary, and write all tokens to the folder DATA."""
    from recipe import corpus, vocabulary

    prose, stories, chat, code, held = (texts[name] for name in ("prose", "stories", "chat", "code_folder", "held"))
    documents = corpus.documents(corpus.Sources(prose, stories, chat, code or Path(os.__file__).parent, held or corpus.HELD_OUT))
    known = vocabulary.of(beginning) if beginning else vocabulary.learn(documents, size)
    counts = vocabulary.write(data, known, documents)
    for ability, each in counts.items():
        click.echo(f"{ability}: " + ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in each.items()))


@recipe.command()
@click.argument("data", type=FOLDER)
@click.option("--run", "folder", type=FOLDER, required=True, help="Where the state and the log lie; a state there is continued.")
@budget
@machine
@mixed
@shape
@beginning
def train(
    data: Path, folder: Path, steps: int | None, minutes: float | None, device: str, threads: int, beginning: Path | None, **given: Any
) -> None:
    """Train on DATA: with --steps or --minutes to the end of a decay, without on the plateau until it is stopped."""
    from recipe.sitting import settings_from, sit

    here = {name: given[name] for name in ("context", "mixture")}
    settings = settings_from(data, given, beginning)
    sit(data, folder, settings, device, threads, steps=steps, minutes=minutes, **here, beginning=beginning)


@recipe.command()
@click.argument("data", type=FOLDER)
@click.option("--run", "folder", type=FOLDER, required=True, help="A run on its plateau; it is left as it is.")
@click.option("--into", type=FOLDER, required=True, help="Where the decayed run lies; a state there is continued.")
@budget
@machine
@mixed
@click.option("--context", default=512, help="Tokens that attention sees while the rate falls.")
def decay(data: Path, folder: Path, into: Path, device: str, threads: int, **given: Any) -> None:
    """Let the learning rate of a copy of a run fall to 0: what a plateau has learned becomes visible."""
    from recipe.sitting import branch, sit

    branch(folder, into)
    sit(data, into, None, device, threads, **given, decay_share=1.0)


@recipe.command()
@click.argument("data", nargs=-1, required=True, type=FOLDER)
@click.option("--into", type=FOLDER, required=True, help="Where each trial lies; those that are done there are not done again.")
@click.option(
    "--vary", "varied", type=(str, str), multiple=True, metavar="NAME VALUE", help="A trial with another width, muon, ...; repeats."
)
@click.option("--mixture", "mixtures", type=Mixture(), multiple=True, help="A trial with these shares; repeats.")
@click.option("--rows", default=8, help="Windows of 512 tokens a step, of every trial.")
@click.option("--steps", default=200, help="Of the defaults; the others get as many as cost the same.")
@click.option("--threads", default=1)
@click.option("-o", "output", type=click.Path(path_type=Path), help="Also write the record there.")
def trials(
    data: tuple[Path, ...], into: Path, varied: tuple[tuple[str, str], ...], mixtures: Any, output: Path | None, **given: int
) -> None:
    """Short trainings at the same cost that differ in one thing each. Further DATA are trials of their vocabularies."""
    from recipe import trials

    try:
        todo = trials.trials(data, given["rows"], varied, mixtures)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    record = trials.measure(todo, into, given["steps"], given["threads"])
    click.echo(record)
    if output:
        output.write_text(record, encoding="utf-8")


@recipe.command()
@click.argument("data", type=FOLDER)
@click.argument("checkpoints", nargs=-1, required=True, type=FOLDER)
@click.option("--most", type=int, help="Bytes of held-out text an ability, at most.")
@click.option("--baselines/--no-baselines", default=True, help="Also xz -9 and a 5-gram model of the same training text.")
@click.option("--threads", default=1)
@click.option("-o", "output", type=click.Path(path_type=Path), help="Also write the figures as JSON.")
def evaluate(data: Path, checkpoints: tuple[Path, ...], most: int | None, baselines: bool, threads: int, output: Path | None) -> None:
    """Bits per byte on the held-out texts of DATA, by ability."""
    from recipe.report import compare

    compare(data, checkpoints, most, baselines, threads, output)


@recipe.command()
@click.argument("checkpoint", type=FOLDER)
@click.option("--data", type=FOLDER, required=True, help="For the held-out stories that distinct-2 is compared with.")
@click.option("--samples", default=100, help="Samples of each kind.")
@click.option("--threads", default=1)
@click.option("-o", "output", type=click.Path(path_type=Path), help="Also write the figures and every sample as JSON.")
def marks(checkpoint: Path, data: Path, samples: int, threads: int, output: Path | None) -> None:
    """What the checkpoint writes: loops, variety, functions that parse, answers that end."""
    from recipe.marks import measure

    measure(checkpoint, data, samples, threads, output)


@recipe.command()
@click.argument("data", type=FOLDER)
@click.option("--run", "folder", type=FOLDER, required=True, help="The run whose weights are written.")
@click.option(
    "--blend",
    type=(FOLDER, click.FloatRange(0, 1)),
    metavar="DIRECTORY SHARE",
    help="Average with the weights of the checkpoint that the run began with.",
)
@click.argument("checkpoint", type=FOLDER)
def export(data: Path, folder: Path, checkpoint: Path, blend: tuple[Path, float] | None) -> None:
    """Write a run's weights as the folder CHECKPOINT, in Hugging Face layout."""
    from recipe.export import write
    from recipe.training import Mismatch

    try:
        write(data, folder, checkpoint, *(blend or ()))
    except Mismatch as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{checkpoint}: {sum(each.stat().st_size for each in checkpoint.iterdir()):,} bytes")


@recipe.command(name="card")
@click.argument("data", type=FOLDER)
@click.option("--run", "folder", type=FOLDER, required=True, help="The run whose curve is drawn.")
@click.option("--figures", type=click.Path(path_type=Path, exists=True), help="What `evaluate -o` wrote.")
@click.option("--samples", type=click.Path(path_type=Path, exists=True), help="What `marks -o` wrote.")
@click.argument("checkpoint", type=FOLDER)
def write_card(data: Path, folder: Path, checkpoint: Path, figures: Path | None, samples: Path | None) -> None:
    """Write the model card (README.md) and the curve of the loss into the folder CHECKPOINT, from what was measured."""
    from recipe.export import write_card as write

    write(data, folder, checkpoint, figures, samples)


@recipe.command(name="all")
@click.argument("checkpoint", type=FOLDER)
@sources
@click.option("--work", type=FOLDER, required=True, help="Where tokens, state and log lie; what is there is continued.")
@click.option("--vocabulary", "size", default=4096, help="Tokens.")
@click.option("--samples", default=100, help="Samples of each kind that are judged.")
@budget
@machine
@mixed
@shape
@beginning
@click.pass_context
def everything(way: click.Context, /, checkpoint: Path, work: Path, size: int, samples: int, **given: Any) -> None:
    """From text files to the folder CHECKPOINT: prepare, train with a decay at the end, export, judge, write the card."""
    if given["steps"] is None and given["minutes"] is None:
        raise click.UsageError("How long may it train? Give --steps or --minutes.")
    data, run, figures, written = work / "data", work / "run", work / "figures.json", work / "marks.json"
    texts = {name: given.pop(name) for name in ("prose", "stories", "chat", "code_folder", "held")}
    if not (data / "counts.json").exists():
        way.invoke(prepare, data=data, size=size, beginning=given["beginning"], **texts)
    way.invoke(train, data=data, folder=run, **given)
    way.invoke(export, data=data, folder=run, checkpoint=checkpoint)
    way.invoke(evaluate, data=data, checkpoints=(checkpoint,), threads=given["threads"], output=figures)
    way.invoke(marks, checkpoint=checkpoint, data=data, samples=samples, threads=given["threads"], output=written)
    way.invoke(write_card, data=data, folder=run, checkpoint=checkpoint, figures=figures, samples=written)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    recipe(prog_name="python -m recipe")
