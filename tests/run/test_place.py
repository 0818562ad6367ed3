"""What is said of a run that goes on: where it stands, and by which optimizer."""

import logging

import pytest

from vlp.run.prepare import _say_place
from vlp.training.checkpoint.checkpoints import Found


@pytest.mark.parametrize(
    ("step", "before", "said"),
    [
        (8, "adamw", ["the run is at step 8, past its end at step 4"]),
        (4, "adamw", ["resuming at step 4 of 4"]),
        (2, "lion", ["resuming at step 2 of 4", "the optimizer was lion and is adamw"]),
    ],
)
def test_a_run_that_goes_on_says_from_where_and_what_is_another(caplog, step, before, said):
    config = dict(optim=dict(optimizer=dict(name=before)))
    found = Found(step, loader=None, config=config, card=None)
    with caplog.at_level(logging.INFO, "vlp"):
        _say_place(found, steps=4, optimizer="adamw")
    assert len(caplog.messages) == len(said)
    for message, start in zip(caplog.messages, said, strict=True):
        assert message.startswith(start)
