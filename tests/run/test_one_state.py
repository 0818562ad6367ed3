"""A checkpoint has one state of the data, in which what all processes counted stands."""

from vlp.run import one_state
from vlp.run.one_state import OneState


class Loader:
    def get_state(self):
        return {"samples": 16, "seen": 8, "rejects": {"image empty": 1}, "parts": [4, 3]}


def test_what_the_processes_counted_is_added_up(monkeypatch):
    assert OneState(Loader()).get_state() == Loader().get_state()
    other = {"samples": 16, "seen": 7, "rejects": {"image empty": 1, "caption empty": 1}}
    monkeypatch.setattr(one_state, "of_all", lambda own: [own, other | {"parts": [2, 3]}])
    assert OneState(Loader()).get_state() == {
        "samples": 16,
        "seen": 15,
        "rejects": {"image empty": 2, "caption empty": 1},
        "parts": [6, 6],
    }
