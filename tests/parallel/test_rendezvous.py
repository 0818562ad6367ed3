"""The processes of a run meet before JAX looks for them, or all of them say why not."""

import socket
import threading

import pytest

from vlp.parallel import rendezvous
from vlp.parallel.rendezvous import meet


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def met(port, *processes, timeout_s=20):
    """What each (process, of how many) ends with: None, or its error."""
    ends = {}

    def run(key, number, of):
        try:
            where = f"127.0.0.1:{port}"
            ends[key] = meet(where, num_processes=of, process_id=number, timeout_s=timeout_s)
        except Exception as error:
            ends[key] = error

    threads = [
        threading.Thread(target=run, args=(key, *process)) for key, process in enumerate(processes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [ends[key] for key in range(len(processes))]


def assert_all_say(ends, kind, *facts):
    assert len({str(each) for each in ends}) == 1
    for each in ends:
        assert type(each) is kind and all(fact in str(each) for fact in facts), each


@pytest.mark.parametrize("count", [2, 4])
def test_those_that_should_come_meet_and_leave_the_port_free(port, count):
    for _ in range(2):  # at once again, as after a restart
        assert met(port, *[(number, count) for number in range(count)]) == [None] * count


def test_all_that_came_say_which_ones_are_missing(port):
    ends = met(port, (0, 4), (2, 4), timeout_s=1)
    assert_all_say(ends, RuntimeError, "all 4 processes", "process 1, 3;", "--num-processes")


def test_two_with_one_number_are_refused_on_all_at_once(port):
    ends = met(port, (0, 4), (1, 4), (1, 4), timeout_s=600)
    assert_all_say(ends, ValueError, "--process-id of its own, two have 1", "0 to 3")


@pytest.mark.parametrize(("own", "other"), [((0, 2), (2, 3)), ((0, 3), (1, 2))])
def test_two_counts_are_refused_on_all_at_once(port, own, other):
    ends = met(port, own, other, timeout_s=600)
    facts = f"process 0 has {own[1]} and process {other[0]} has {other[1]}"
    assert_all_say(ends, ValueError, "--num-processes must be the same on all", facts)


def test_a_process_that_came_and_went_may_come_again(port):
    first = threading.Thread(target=lambda: ends.extend(met(port, (0, 3))))
    ends = []
    first.start()
    while True:  # until process 0 listens
        try:
            gone = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            continue
    gone.sendall(b'{"process": 1, "of": 3}\n')
    gone.close()
    assert met(port, (1, 3), (2, 3)) == [None, None]
    first.join()
    assert ends == [None]


def test_what_knocks_by_chance_changes_nothing(port):
    ends = []
    first = threading.Thread(target=lambda: ends.extend(met(port, (0, 2))))
    first.start()
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"process": []}\n', b""):
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port)) as other:
                    other.sendall(said)
                break
            except OSError:
                continue
    assert met(port, (1, 2)) == [None]
    first.join()
    assert ends == [None]


def test_a_coordinator_that_is_not_there_is_said_in_time(port):
    [error] = met(port, (1, 2), timeout_s=1)
    assert isinstance(error, RuntimeError)
    assert f"127.0.0.1:{port}" in str(error) and "same --coordinator" in str(error)


def test_a_port_of_another_run_is_refused(port, monkeypatch):
    monkeypatch.setattr(rendezvous, "FREE_S", 0.0)
    with socket.create_server(("", port)):
        [error] = met(port, (0, 2))
    assert isinstance(error, ValueError) and f"alone on port {port}" in str(error)


def test_process_0_must_run_where_the_coordinator_is(port):
    with pytest.raises(ValueError, match="must name the host of process 0"):
        meet(f"host.invalid:{port}", num_processes=2, process_id=0, timeout_s=0)
