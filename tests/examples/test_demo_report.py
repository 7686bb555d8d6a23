"""The kind `report`: real PDFs, read back with another library."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_report import report
from pypdf import PdfReader

from jalebi import JobContext, JobFailed, Upload
from jalebi.errors import JobStopped
from tests.examples.fake_link import FakeLink


def texts(content: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages]


def test_a_report_of_the_sample_has_the_200_pages_that_were_asked_for(ctx: JobContext, link: FakeLink) -> None:
    result = report(ctx, "Sweet sales")
    reader = PdfReader(io.BytesIO(link.files["report.pdf"]))
    assert len(reader.pages) == 200
    assert "Page 200 of 200" in reader.pages[199].extract_text()
    assert result == {"pages": 200, "rows": 900, "bytes": len(link.files["report.pdf"])}


def test_it_reports_each_page_in_its_own_unit(ctx: JobContext, link: FakeLink) -> None:
    report(ctx, "Short", pages=4)
    assert [(done, total, unit) for done, total, _, unit in link.positions] == [
        (page, 4, "pages") for page in (1, 2, 3, 4)
    ]


def test_fewer_pages_than_the_rows_would_fill_are_noted_in_the_log(ctx: JobContext, link: FakeLink) -> None:
    report(ctx, "Short", pages=4)
    assert [line for line, _ in link.lines if "shows the first 4" in line]


def test_every_row_is_in_it_with_sums_and_a_chapter_for_each_repeated_value(
    ctx: JobContext, link: FakeLink, tmp_path: Path
) -> None:
    source = tmp_path / "few.csv"
    source.write_text("shop,sweet,units\nDadar,Jalebi,3\nDadar,Peda,4\nColaba,Jalebi,5\nColaba,Barfi,6\n")
    report(ctx, "Few rows", pages=4, csv=str(source))
    summary, everything, colaba, dadar = texts(link.files["report.pdf"])
    assert "18.00" in summary
    assert all(sweet in everything for sweet in ("Jalebi", "Peda", "Barfi"))
    assert "shop: Colaba" in colaba
    assert "Peda" not in colaba
    assert "shop: Dadar" in dadar


@pytest.mark.parametrize(
    "content",
    [
        b"name;price\nBarfi;2\n",
        b"\xef\xbb\xbfname\tprice\nBarfi\t2\n",
        b'name,price\n"Barfi",2,more than the header\n\n',
        "name,,name\nBarfi,जलेबी,€ 2\n".encode(),
        b"name,price\nBarfi \xff\xfe,\n",
        b"name\nBarfi" + b" very long" * 100,
    ],
    ids=["semicolons", "tabs and a mark", "ragged", "other letters", "not UTF-8", "long fields"],
)
def test_any_csv_with_a_header_will_do(
    ctx: JobContext, link: FakeLink, upload: Callable[[bytes], Upload], content: bytes
) -> None:
    assert report(ctx, "Any", pages=2, upload=upload(content))["rows"] == 1
    assert "Barfi" in texts(link.files["report.pdf"])[1]


@pytest.mark.parametrize("content", [b"", b"only,a,header\n", b"\n\n", b'a,b\n"' + b"x" * 200_000])
def test_a_file_that_is_no_table_fails_for_good_with_a_sentence(
    ctx: JobContext, upload: Callable[[bytes], Upload], content: bytes
) -> None:
    with pytest.raises(JobFailed, match=r"needs a header line|is not a CSV") as caught:
        report(ctx, "None", upload=upload(content))
    assert not caught.value.retry


@pytest.mark.parametrize("named", ["/no/such/file.csv", "/", "bad\0name"])
def test_a_file_that_does_not_exist_fails_for_good_with_a_sentence(ctx: JobContext, named: str) -> None:
    with pytest.raises(JobFailed, match="There is no file") as caught:
        report(ctx, "None", csv=named)
    assert not caught.value.retry


def test_a_cancelled_report_stops_between_two_pages(ctx: JobContext, link: FakeLink) -> None:
    link.stop_at = 7
    with pytest.raises(JobStopped):
        report(ctx, "Stopped")
    assert len(link.positions) == 7
    assert not link.files
