from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jalebi import JobContext, track
from jalebi.context import check_file_name, clean_text, current
from jalebi.errors import JobStopped


class Recorder:
    """A link that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.cancelled = False

    def progress(self, done: float, total: float | None, message: str | None, unit: str | None) -> None:
        self.said.append((done, total, message, unit))

    def log(self, message: str, level: str) -> None:
        self.said.append((level, message))

    def attach(self, source: Path | bytes, name: str, media_type: str | None) -> None:
        self.said.append((source, name, media_type))

    def acknowledge(self) -> None:
        """Take that the job has heard."""

    def inputs(self) -> Path:
        return Path("/nowhere")


@pytest.fixture
def link() -> Recorder:
    return Recorder()


@pytest.fixture
def ctx(link: Recorder) -> JobContext:
    return JobContext("id", 1, "kind", link)


def test_tracking_reports_each_finished_item(ctx: JobContext, link: Recorder) -> None:
    assert list(ctx.track("ab", unit="letters")) == ["a", "b"]
    assert link.said == [(0, 2, None, "letters"), (1, 2, None, "letters"), (2, 2, None, "letters")]


async def test_tracking_an_async_iterable_does_the_same(ctx: JobContext, link: Recorder) -> None:
    async def letters() -> AsyncIterator[str]:
        for letter in "ab":
            yield letter

    assert [letter async for letter in ctx.track(letters(), total=2)] == ["a", "b"]
    assert [done for done, *_ in link.said] == [0, 1, 2]


def test_an_iterator_has_no_total_unless_it_is_given(ctx: JobContext, link: Recorder) -> None:
    list(ctx.track(iter("ab")))
    assert link.said[0] == (0, None, None, None)


def test_tracking_stops_where_the_job_is_cancelled(ctx: JobContext, link: Recorder) -> None:
    seen = []

    def work() -> None:
        for item in ctx.track(range(10)):
            seen.append(item)
            link.cancelled = item == 3

    with pytest.raises(JobStopped):
        work()
    assert seen == [0, 1, 2, 3]
    assert ctx.cancelled


def test_track_outside_of_a_job_is_just_the_iterable() -> None:
    items: object = [1, 2]
    assert track([1]) == [1]  # type: ignore[comparison-overlap]
    assert track(items) is items  # type: ignore[call-overload]


def test_track_inside_of_a_job_finds_it(ctx: JobContext, link: Recorder) -> None:
    token = current.set(ctx)
    try:
        assert list(track([1])) == [1]
    finally:
        current.reset(token)
    assert len(link.said) == 2


def test_text_that_no_store_would_take_is_made_plain(ctx: JobContext, link: Recorder) -> None:
    ctx.log("a\0b\ud800c", "error")
    assert link.said == [("error", "a\ufffdb?c")]
    assert clean_text("plain ü") == "plain ü"
    ctx.log("x" * 20_000)
    assert link.said[1][1].endswith("(3616 more characters)")


@pytest.mark.parametrize("done", [float("nan"), float("inf")])
def test_progress_must_be_a_number(ctx: JobContext, done: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        ctx.progress(done)


def test_a_level_must_be_known(ctx: JobContext) -> None:
    with pytest.raises(ValueError, match="level"):
        ctx.log("x", "loud")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\nb", "a\r\nSet-Cookie: x", "\0", "x" * 256])
def test_a_name_that_is_no_files_name_is_refused(ctx: JobContext, name: str) -> None:
    with pytest.raises(ValueError, match="file's name"):
        ctx.attach(b"", name)


def test_odd_names_of_files_are_fine() -> None:
    for name in ("report ☃.pdf", "a;b", 'a"b', ".hidden", "x" * 255):
        check_file_name(name)


def test_a_message_that_is_no_text_becomes_one(ctx: JobContext, link: Recorder) -> None:
    said: Any = 5
    ctx.progress(1, 2, message=said, unit=said)
    assert link.said == [(1.0, 2.0, "5", "5")]
