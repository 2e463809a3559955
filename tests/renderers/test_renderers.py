"""What every renderer on the shelf keeps to, and several of them as one."""

from __future__ import annotations

import pytest

from gencli.registry import find, names
from gencli.renderers import Together
from steps import STARTED


@pytest.mark.parametrize("name", names("renderers"))
def test_a_renderer_shows_and_closes(name):
    kind = find("renderers", name)
    assert callable(kind.show)
    assert callable(kind.close)
    assert kind.__doc__


class Recorder:
    def __init__(self, log, name, failure=None):
        self.log, self.name, self.failure = log, name, failure

    def show(self, event):
        self.log.append((self.name, event.event))

    def close(self):
        self.log.append((self.name, "close"))
        if self.failure:
            raise self.failure


def test_together_they_show_and_close_in_order():
    log = []
    both = Together(Recorder(log, "a"), Recorder(log, "b"))
    both.show(STARTED)
    both.close()
    assert log == [("a", "start"), ("b", "start"), ("a", "close"), ("b", "close")]


@pytest.mark.parametrize("failure", [OSError("no"), KeyboardInterrupt()])
def test_one_that_fails_to_close_does_not_keep_the_others_open(failure):
    log = []
    with pytest.raises(type(failure)):
        Together(Recorder(log, "a", failure), Recorder(log, "b")).close()
    assert log[-1] == ("b", "close")
