import os
import threading
import uuid

from jalebi.ids import new_id


def test_ids_are_uuids_of_version_7_that_carry_their_time() -> None:
    made = uuid.UUID(new_id(32_503_680_000.0))  # a thousand years ahead of every other test
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 32_503_680_000_000


def test_ids_grow_also_where_the_clock_stands_still_and_between_threads() -> None:
    at = 32_503_680_001.0
    made: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        mine.extend(new_id(at) for _ in range(2000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({one for mine in made for one in mine}) == 8000


def test_a_copy_of_the_process_gives_other_ids() -> None:
    reading, writing = os.pipe()
    new_id()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id()[-12:].encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() != new_id()[-12:]
