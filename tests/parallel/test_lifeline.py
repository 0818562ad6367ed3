"""What a process hears over its lines: a reason, the end of another, or nothing for too long."""

import json
import socket
import threading

import jax
import pytest

from vlp.parallel import lifeline


@pytest.fixture
def line(monkeypatch, capsys):
    """Enters the lifeline of one of two processes: the other end of its line, and how it ends."""
    ended, codes, opened = threading.Event(), [], []

    def end(code):
        codes.append(code)
        ended.set()
        threading.Event().wait()  # as a process that has ended: its thread does nothing more

    monkeypatch.setattr(lifeline.os, "_exit", end)
    monkeypatch.setattr(lifeline, "PASS_ON_S", 0.0)
    monkeypatch.setattr(lifeline, "BEAT_S", 0.05)
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def enter(*, process, silent_s):
        own, other = socket.socketpair()
        opened.extend([own, other])
        own.settimeout(silent_s)
        monkeypatch.setattr(jax, "process_index", lambda: process)
        monkeypatch.setattr(lifeline, "_joined", lambda: {1 - process: own})
        alive = lifeline.Lifeline()
        alive.__enter__()

        def said():
            assert ended.wait(60) and codes == [1]
            alive._over.set()
            return capsys.readouterr().err

        return other, alive, said

    yield enter
    for each in opened:
        each.close()


@pytest.mark.parametrize("process", [0, 1])
def test_a_process_that_is_silent_ends_the_other(line, process):
    _, _, said = line(process=process, silent_s=0.3)
    assert f"vlp: process {1 - process} gave no sign of life" in said()


@pytest.mark.parametrize("process", [0, 1])
def test_the_end_of_a_process_ends_the_other(line, process):
    other, _, said = line(process=process, silent_s=60)
    other.close()
    assert f"vlp: process {1 - process} was killed, or its machine is gone" in said()


def test_a_reason_is_said_and_names_its_process(line):
    other, _, said = line(process=0, silent_s=60)
    other.sendall(json.dumps({"reason": "the disk is gone", "process": 1}).encode() + b"\n")
    assert said() == "vlp: process 1 failed: the disk is gone\n"


def test_signs_of_life_are_given_and_end_nothing(line):
    other, alive, _ = line(process=0, silent_s=0.5)
    with other.makefile("rb") as beats:
        for _ in range(30):  # three times as long as it would wait for one
            assert beats.readline() == b"{}\n"
            other.sendall(b"{}\n")
        other.sendall(b'{"done": true}\n')
        alive.__exit__(None, None, None)
        assert next(beat for beat in beats if beat != b"{}\n") == b'{"done": true}\n'
