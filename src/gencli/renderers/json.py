"""JSON: one object for the whole run, at its end. Knows no terminal."""

from __future__ import annotations

from typing import Any

from gencli.events import Event, Finished, Retracted, Started, Token, dumps, to_dict, without_logits
from gencli.terminal import Output


class Json:
    """`{"start", "samples": [{"text", "ids", "finish"}]}`; with `tokens` each sample also has its token events.

    A run that failed midway leaves what there was: a sample that did not end has `"finish": null`.
    """

    def __init__(self, output: Output, *, tokens: bool = False) -> None:
        self._output, self._tokens = output, tokens
        self._start: dict[str, Any] | None = None
        self._samples: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, list[str]] = {}

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._start = to_dict(event)
            for sample in range(event.first_sample, event.first_sample + event.samples):
                self._texts[sample] = []
                self._samples[sample] = {"text": "", "ids": [], "finish": None, **({"tokens": []} if self._tokens else {})}
        elif isinstance(event, Token):
            self._texts[event.sample].append(event.text)
            self._samples[event.sample]["ids"].append(event.id)
            if self._tokens:
                self._samples[event.sample]["tokens"].append(to_dict(without_logits(event)))
        elif isinstance(event, Retracted):  # their text was held back: what was told stays
            for key in ("ids", "tokens"):
                del self._samples[event.sample].get(key, [])[event.to_step :]
        elif isinstance(event, Finished):
            self._texts[event.sample].append(event.text)
            self._samples[event.sample]["finish"] = to_dict(event)

    def close(self) -> None:
        """Write the object, if a run began."""
        if self._start is None:
            return
        for sample, texts in self._texts.items():
            self._samples[sample]["text"] = "".join(texts)
        whole, self._start = {"start": self._start, "samples": list(self._samples.values())}, None
        self._output.write(dumps(whole) + "\n")
