"""The dispatcher, simulated: whatever becomes of workers, every request is answered once, and none is lost."""

from __future__ import annotations

import pytest
from dispatch_simulation import CALM, STORM, Simulation, Weather, main, replies_to, units
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos_eval.errors import ModelError
from kosmos_eval.scale.dispatch import Dispatcher


@settings(max_examples=60, deadline=None)
@given(
    workers=st.integers(1, 6),
    requests=st.integers(0, 60),
    unit=st.integers(1, 9),
    depth=st.integers(1, 3),
    weather=st.builds(
        Weather,
        seed=st.integers(0, 10**6),
        lost_nodes=st.integers(0, 3),
        hangs=st.integers(0, 3),
        late=st.integers(0, 3),
        slow=st.sampled_from([0, 0.5]),
        deaf=st.booleans(),
    ),
)
def test_each_request_is_answered_once_whatever_happens(
    workers: int, requests: int, unit: int, depth: int, weather: Weather
) -> None:
    figures = Simulation(requests, workers, unit, depth, weather, node=2).run()  # checks each answer as it comes
    assert figures["answered"] + figures["failed"] == requests
    assert figures["failed"] == 0 or weather.hangs == 3
    assert figures["most_units_in_flight"] <= depth * figures["workers"]


def test_a_unit_that_was_lost_is_asked_first_and_elsewhere() -> None:
    dispatcher: Dispatcher[str] = Dispatcher(units(30, 10), depth=1)
    dispatcher.join("a", "node1", 0)
    dispatcher.join("b", "node2", 0)
    first, second = dispatcher.calls(0)
    assert dispatcher.leave("a", "ended") == []
    dispatcher.join("c", "node1", 0)
    (third,) = dispatcher.calls(0)
    assert (third.worker, third.unit.number) == ("c", 2)
    dispatcher.heard(second, replies_to(second.unit), 0)
    dispatcher.ended(second, 0)
    (again,) = dispatcher.calls(0)
    assert (again.worker, again.unit) == ("b", first.unit)


def test_only_what_a_unit_lacks_fails_after_three_workers() -> None:
    dispatcher: Dispatcher[int] = Dispatcher(units(20, 10), depth=1)
    for worker in range(3):
        dispatcher.join(worker, f"node{worker}", 0)
        bad = next(iter(dispatcher.calls(0)))
        assert bad.unit.number == 0
        replies = list(replies_to(bad.unit))
        found = dispatcher.heard(bad, replies[: 2 + worker], 0)
        assert [a.index for a in found] == ([0, 1] if worker == 0 else [1 + worker])
        failures = dispatcher.leave(worker, f"worker {worker} gave no answer for 9 s")
        assert [a.index for a in failures] == ([4, 5, 6, 7, 8, 9] if worker == 2 else [])
    assert failures[0].response.id == "4"
    assert failures[0].response.error == (
        "3 workers failed while they asked its work unit: worker 2 gave no answer for 9 s"
    )
    dispatcher.join(3, "node3", 0)
    (left,) = dispatcher.calls(0)
    assert left.unit.number == 1
    assert dispatcher.heard(bad, replies, 0) == []  # a worker that was thought dead
    assert len(dispatcher.heard(left, replies_to(left.unit), 0)) == 10
    dispatcher.ended(left, 0)
    assert list(dispatcher.calls(0)) == []
    assert dispatcher.finished


def test_a_worker_hangs_if_it_has_a_unit_and_says_nothing() -> None:
    dispatcher: Dispatcher[str] = Dispatcher(units(40, 10), depth=2, patience=5)
    dispatcher.join("a", "node", 0)
    call, queued = dispatcher.calls(100)
    assert dispatcher.hung(104) == []
    dispatcher.heard(call, [], 104)
    assert dispatcher.hung(108) == []
    assert dispatcher.hung(110) == ["a"]
    dispatcher.heard(queued, [], 110)
    assert dispatcher.hung(111) == []


def test_a_worker_without_a_unit_may_be_silent() -> None:
    dispatcher: Dispatcher[str] = Dispatcher(units(10, 10), patience=5)
    dispatcher.join("idle", "node", 0)
    dispatcher.join("busy", "node", 0)
    assert len(list(dispatcher.calls(0))) == 1
    assert dispatcher.hung(6) == ["idle"]  # which was the first, and got the unit
    dispatcher.leave("idle", "gave no answer")
    assert [call.worker for call in dispatcher.calls(1000)] == ["busy"]
    assert dispatcher.hung(1004) == []


def test_towards_the_end_idle_workers_take_what_others_have_not_begun() -> None:
    dispatcher: Dispatcher[str] = Dispatcher(units(40, 10), depth=2)
    dispatcher.join("a", "node", 0)
    dispatcher.join("b", "node", 0)
    calls = list(dispatcher.calls(0))
    assert dispatcher.recalls() == []
    done = [call for call in calls if call.worker == "a"]
    for call in done:
        dispatcher.heard(call, replies_to(call.unit), 0)
        dispatcher.ended(call, 0)
    assert list(dispatcher.calls(0)) == []
    (recalled,) = dispatcher.recalls()
    assert recalled is [call for call in calls if call.worker == "b"][1]
    (again,) = dispatcher.calls(0)
    assert (again.worker, again.unit) == ("a", recalled.unit)
    assert dispatcher.recalls() == []


def test_when_every_worker_fails_it_stops() -> None:
    dispatcher: Dispatcher[int] = Dispatcher(units(1000, 10))

    def fail() -> None:
        for worker in range(100):
            dispatcher.join(worker, str(worker), 0)
            list(dispatcher.calls(0))
            dispatcher.leave(worker, "no CUDA device")

    with pytest.raises(ModelError, match=r"6 workers failed one after the other.*no CUDA device"):
        fail()


@pytest.mark.slow
@pytest.mark.parametrize(("weather", "utilisation", "tail"), [(CALM, 0.9, 0.15), (STORM, 0.6, 0.4)])
def test_ten_million_requests_over_256_workers(weather: Weather, utilisation: float, tail: float) -> None:
    figures = main(weather=weather)
    print(figures)
    assert (figures["answered"], figures["failed"]) == (10_000_000, 0)
    assert figures["most_units_in_flight"] <= 2 * (256 + 16)
    assert figures["utilisation"] > utilisation
    assert figures["tail_share"] < tail
    assert figures["peak_mib"] < 1024
