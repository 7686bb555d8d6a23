"""How often a message is tried, and when a host is left alone."""

from jalebi.webhooks.hosts import FAILURES, MOST_REST, MOST_WAIT, REST, WAITS, Host, Hosts, wait


def no_chance(low: float, high: float) -> float:
    return (low + high) / 2


def test_a_message_is_tried_over_about_a_day_and_then_given_up() -> None:
    waits = [wait(tries, random=no_chance) for tries in range(1, len(WAITS) + 1)]
    assert waits == list(WAITS)
    assert 20 * 3600 <= sum(WAITS) <= 36 * 3600
    assert wait(len(WAITS) + 1) is None


def test_a_wait_is_spread_and_heeds_what_the_receiver_asks_for_within_bounds() -> None:
    assert 0.9 * WAITS[2] <= (wait(3) or 0) <= 1.1 * WAITS[2]
    assert wait(1, 90.0, no_chance) == 90.0
    assert wait(3, 1.0, no_chance) == WAITS[2]
    assert wait(1, 1e9, no_chance) == MOST_WAIT


def test_a_host_that_fails_in_a_row_rests_longer_and_longer_until_one_try_gets_through() -> None:
    host = Host()
    for _ in range(FAILURES - 1):
        host.note(0.0, answered=False)
    assert host.room(0.0, 4) == 4
    host.note(0.0, answered=False)
    assert host.room(REST - 1, 4) == 0
    assert host.room(REST, 4) == 1
    host.busy = 1
    assert host.room(REST, 4) == 0
    host.busy = 0
    host.note(REST, answered=False)
    assert host.room(2 * REST, 4) == 0
    assert host.room(3 * REST, 4) == 1
    for _ in range(30):
        host.note(0.0, answered=False)
    assert host.until == MOST_REST
    host.note(0.0, answered=True)
    assert host.room(0.0, 4) == 4


def test_a_host_of_which_nothing_is_to_be_remembered_is_forgotten() -> None:
    hosts = Hosts()
    hosts["busy"].busy = 1
    hosts["failing"].note(0.0, answered=False)
    hosts["over"].note(0.0, answered=False)
    for _ in range(FAILURES):
        hosts["resting"].note(0.0, answered=False)
    assert hosts["quiet"].room(0.0, 2) == 2
    hosts.forget(REST - 1, {"failing", "quiet"})
    assert hosts.found.keys() == {"busy", "failing", "resting"}
    hosts.forget(REST, {"failing"})
    assert hosts.found.keys() == {"busy", "failing"}
