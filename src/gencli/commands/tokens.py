"""`gencli tokens`: how a checkpoint's tokenizer cuts a text. Knows no model and loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gencli.option_types import Command, OneOf
from gencli.options import chat_options, checkpoint_option, prompt_options

if TYPE_CHECKING:
    from gencli.tokenizers import Tokenizer

EXAMPLES = """\b
Examples:
  gencli tokens "Once upon a time"
  printf 'naïve café' | gencli tokens --format json
  gencli tokens --special "<|user|>"
  gencli tokens --chat "What do you like to eat?"
"""


@click.command(cls=Command, epilog=EXAMPLES)
@prompt_options
@chat_options
@click.option("--format", "form", type=OneOf("table", "json"), default="table", help="How to write them. [default: table]")
@checkpoint_option
@click.pass_context
def tokens(context: click.Context, /, form: str, **params: Any) -> None:
    """The tokens of a text: ids, pieces and bytes.

    PROMPT is the text; without it, or with -, stdin is. Start tokens are not shown: the text has none of its own. With --chat
    the tokens are those of the whole conversation, with what the chat template writes around the message.
    """
    import json

    from gencli.catalogue import find_checkpoint
    from gencli.formats import open_checkpoint
    from gencli.request import chat_from, check_chat, prompt_from
    from gencli.tables import table, width_of
    from gencli.terminal import Output
    from gencli.tokenizers import encode_pieces, tokenizer_of

    check_chat(context)
    checkpoint = open_checkpoint(find_checkpoint(params["checkpoint"]))
    prompt = prompt_from(params)
    if params["chat"]:
        prompt = chat_from(params, checkpoint, prompt.text).prompt
    tokenizer = tokenizer_of(checkpoint)
    found = [_described(token_id, tokenizer) for token_id in encode_pieces(tokenizer, prompt.pieces)]
    output = Output()
    if form == "json":
        from gencli.events import dumps

        output.write(dumps(found) + "\n")
        return
    rows = [(each["id"], json.dumps(each["text"], ensure_ascii=False), bytes.fromhex(each["bytes"]).hex(" ")) for each in found]
    output.write(table(("id", "text", "bytes"), rows, width_of(output)))


def _described(token_id: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """A token as JSON values: its id, its text (U+FFFD where it is no character by itself) and its bytes in hex."""
    own = tokenizer.token_bytes[token_id]
    return {"id": token_id, "text": own.decode("utf-8", "replace"), "bytes": own.hex()}
