"""`gencli checkpoints`: what checkpoints there are, what one is and costs, how one comes here, whether it is whole, and other formats."""

from __future__ import annotations

import json

import click

from gencli.errors import RunError, sized
from gencli.option_types import Command, Group, Name, Number, OneOf, Text
from gencli.options import complete_checkpoints

CHECKPOINT = Name(complete_checkpoints, files=True)
LIST_EXAMPLES = """\b
Examples:
  gencli checkpoints list
  gencli checkpoints list --format json
"""
INFO_EXAMPLES = """\b
Examples:
  gencli checkpoints info
  gencli checkpoints info ./my-checkpoint --context 128
  gencli checkpoints info --format json | jq .parameters
"""
CONVERT_EXAMPLES = """\b
Examples:
  gencli checkpoints convert fable-6m fable.gguf
  gencli checkpoints convert fable-6m small.gguf --precision q8_0
  gencli checkpoints convert ./llama.gguf ./llama --precision float16
"""
CHECK_EXAMPLES = """\b
Examples:
  gencli checkpoints check
  gencli checkpoints check ./my-checkpoint && echo whole
"""
PULL_EXAMPLES = """\b
Examples:
  gencli checkpoints pull HuggingFaceTB/SmolLM2-135M
  gencli checkpoints pull owner/name@v1.0
  gencli checkpoints pull owner/name-GGUF --file Q4_K_M
  gencli generate --checkpoint "$(gencli checkpoints pull owner/name)" "Once upon a time"
"""


@click.group(cls=Group)
def checkpoints() -> None:
    """Models on this machine: list them, fetch one, tell what it is and costs, check and convert it."""


@checkpoints.command("list", cls=Command, epilog=LIST_EXAMPLES)
@click.option("--format", "form", type=OneOf("table", "json"), default="table", help="How to write the list. [default: table]")
def list_checkpoints(form: str) -> None:
    """Every checkpoint that has a name.

    Yours come before the shipped ones, then what lies in the hub's cache and among ollama's models; of two with one
    name the second is shadowed.
    """
    from gencli.catalogue import listed
    from gencli.checkpoint_report import checkpoint_table
    from gencli.description import described_or_why
    from gencli.tables import width_of
    from gencli.terminal import Output

    found = [described_or_why(each) for each in listed()]
    output = Output()
    if form == "json":
        output.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        return
    output.write(checkpoint_table(found, width_of(output)))


@checkpoints.command("info", cls=Command, epilog=INFO_EXAMPLES)
@click.argument("checkpoint", metavar="[NAME|PATH]", required=False, envvar="GENCLI_CHECKPOINT", type=CHECKPOINT)
@click.option("--context", "length", type=Number("at least 1", low=1), metavar="N", help="Tell the memory at N positions. [default: all]")
@click.option("--format", "form", type=OneOf("text", "json"), default="text", help="How to write it. [default: text]")
def info(checkpoint: str | None, length: int | None, form: str) -> None:
    """What a checkpoint is and costs.

    Without a name it is the embedded one. Memory is that of weights and KV cache; a run needs a little more.
    """
    from gencli.catalogue import find_checkpoint, name_from
    from gencli.checkpoint_report import description_lines
    from gencli.description import describe
    from gencli.formats import open_checkpoint
    from gencli.terminal import Output

    path = find_checkpoint(checkpoint)
    facts = describe(open_checkpoint(path), length)
    facts["name"] = name_from(checkpoint, path) or facts["name"]
    text = json.dumps(facts, ensure_ascii=False, indent=2) if form == "json" else "\n".join(description_lines(facts))
    Output().write(text + "\n")


@checkpoints.command("check", cls=Command, epilog=CHECK_EXAMPLES)
@click.argument("checkpoint", metavar="[NAME|PATH]", required=False, envvar="GENCLI_CHECKPOINT", type=CHECKPOINT)
def check(checkpoint: str | None) -> None:
    """Read all of a checkpoint: is it whole?

    Every tensor must be there with the shape that its config asks for, and hold numbers. Files are compared with the
    hash they were published with, where one is at hand. Ends with 1 where something is damaged.
    """
    from gencli import integrity
    from gencli.catalogue import find_checkpoint
    from gencli.checkpoint_report import integrity_lines
    from gencli.formats import open_checkpoint
    from gencli.progress import Progress
    from gencli.terminal import Messages, Output

    opened = open_checkpoint(find_checkpoint(checkpoint))
    progress = Progress(Messages())
    try:
        found = integrity.check(opened, lambda done, total: progress.share("checking", done / max(1, total)))
    finally:
        progress.clear()
    if found.damages:
        more = f" And there are {len(found.damages) - 1} more damages." if len(found.damages) > 1 else ""
        raise RunError(f"{opened.path} is damaged: {found.damages[0]}{more}")
    Output().write("\n".join(integrity_lines(opened.name, found)) + "\n")


@checkpoints.command("convert", cls=Command, epilog=CONVERT_EXAMPLES)
@click.argument("source", metavar="SOURCE", type=CHECKPOINT)
@click.argument("target", metavar="TARGET", type=click.Path())
@click.option(
    "--to",
    type=OneOf("huggingface", "gguf"),
    help="A folder with safetensors, or one file for llama.cpp. [default: gguf for a TARGET that ends in .gguf, else huggingface]",
)
@click.option(
    "--precision",
    type=OneOf("float32", "float16", "q8_0"),
    help="How numbers are written; q8_0 (gguf only): 8 bits, a scale every 32. [default: float32 of float32, else float16]",
)
@click.option("--force", is_flag=True, help="Replace a checkpoint that is there already.")
def convert(source: str, target: str, to: str | None, precision: str | None, force: bool) -> None:
    """Write a checkpoint in another format or precision.

    SOURCE is a name or a path; TARGET appears whole or not at all. Settings, tokenizer and chat template come along.
    """
    from pathlib import Path

    from gencli import conversion
    from gencli.catalogue import find_checkpoint
    from gencli.formats import open_checkpoint
    from gencli.progress import Progress
    from gencli.terminal import Messages, Output, visible

    opened = open_checkpoint(find_checkpoint(source))
    to = to or ("gguf" if target.lower().endswith(".gguf") else "huggingface")
    progress = Progress(Messages())
    try:
        size = conversion.convert(
            opened, Path(target), to, precision, force, lambda done, total: progress.share("writing", done / max(1, total))
        )
    finally:
        progress.clear()
    Output().write(f"{visible(target, on_one_line=True)}: {sized(size)}\n")


@checkpoints.command("pull", cls=Command, epilog=PULL_EXAMPLES)
@click.argument("name", metavar="OWNER/NAME[@REVISION]", type=Text())
@click.option("--file", type=Text(), metavar="NAME", help="Of a repository of GGUF files, the one to fetch; a part of its name will do.")
@click.option("--quiet", is_flag=True, help="No progress; only errors.")
def pull_checkpoint(name: str, file: str | None, quiet: bool) -> None:
    """Fetch a checkpoint from the hub, and print the name by which --checkpoint finds it.

    Only what a run needs is fetched, into the cache that other programs share; a pull that was cut off goes on where it
    ended. HF_TOKEN, HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE are respected. No other command fetches anything.
    """
    from gencli.progress import Progress
    from gencli.pulling import pull
    from gencli.terminal import Messages, Output

    messages, output = Messages(quiet), Output()
    progress = Progress(messages)
    try:
        pulled = pull(name, file, lambda doing, done, total: progress.share(f"{doing} ({sized(total)})", done / max(1, total)))
    finally:
        progress.clear()
    if messages.terminal and not quiet:
        came = f"{sized(pulled.fetched)} fetched" if pulled.fetched else "all of it was there"
        messages.line(f"{pulled.files} files, {came}; they lie in {pulled.path}")
    output.write(pulled.name + "\n")
