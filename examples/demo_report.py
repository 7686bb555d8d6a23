"""The kind `report`: a PDF of so many pages from the rows of a CSV."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from math import isfinite
from typing import Annotated, Any

from demo_input import Table, existing_file, read_table
from pydantic import Field

from jalebi import JobContext, Upload

ROWS_A_PAGE = 30
#: A column with more different values than this is not one to make chapters of.
MAX_GROUPS = 40
MAX_COLUMNS = 8
INK, SAFFRON, PALE = (45, 30, 25), (214, 120, 20), (252, 243, 228)


@dataclass(frozen=True)
class Sheet:
    """What one page shows: some rows of a chapter."""

    chapter: str
    part: str
    rows: list[list[str]]


def report(
    ctx: JobContext,
    title: Annotated[str, Field(description="Printed on every page.", min_length=1, max_length=100)],
    pages: Annotated[int, Field(description="Exactly so many pages.", ge=1, le=2000)] = 200,
    csv: Annotated[
        str, Field(description="Path of a CSV with a header line, on the server. Empty: a year of sample sales.")
    ] = "",
    upload: Annotated[Upload | None, Field(description="Or a CSV of your own; it wins over the path.")] = None,
) -> dict[str, Any]:
    """Render a PDF report from a CSV.

    The first page sums the columns up. Then follow all rows, and chapters: the rows once more for each value of
    every column of words that repeat (each city, each shop …). Where that is less than the pages asked for, the
    chapters start over; where it is more, the report ends early and the log says so.
    """
    source = upload.path if upload is not None else existing_file(csv, "sales.csv")
    table = read_table(source)
    document = new_document(title)
    summary_page(document, table, "your upload" if upload is not None else source.name)
    ctx.progress(1, pages, "Page 1: summary", "pages")
    planned = list(sheets(table))
    if len(planned) + 1 > pages:
        ctx.log(f"The rows would fill {len(planned) + 1} pages; the report shows the first {pages}.")
    for page, sheet in enumerate(islice(cycle(planned), pages - 1), start=2):
        ctx.raise_if_cancelled()
        table_page(document, table.columns, sheet)
        ctx.progress(page, pages, f"Page {page}: {sheet.chapter}", "pages")
    ctx.raise_if_cancelled()
    content = bytes(document.output())
    ctx.attach(content, "report.pdf", "application/pdf")
    return {"pages": pages, "rows": len(table.rows), "bytes": len(content)}


def sheets(table: Table) -> Iterator[Sheet]:
    """Yield every different page that the rows can fill: all of them, then a chapter for each repeated value."""
    yield from _parts("All rows", table.rows)
    for position, column in enumerate(table.columns):
        values = sorted({row[position] for row in table.rows} - {""})
        numbers = all(_number(value) is not None for value in values)
        if not numbers and 1 < len(values) <= min(MAX_GROUPS, len(table.rows) // 2):
            for value in values:
                yield from _parts(f"{column}: {value}", [row for row in table.rows if row[position] == value])


def _parts(chapter: str, rows: list[list[str]]) -> Iterator[Sheet]:
    count = -(-len(rows) // ROWS_A_PAGE)
    for part in range(count):
        chunk = rows[part * ROWS_A_PAGE : (part + 1) * ROWS_A_PAGE]
        yield Sheet(chapter, f"part {part + 1} of {count}, {len(rows)} rows in all", chunk)


def new_document(title: str) -> Any:
    """Return an empty A4 document that puts the title on top of each page and its number below."""
    # Here and not above: every process that runs any kind imports this module, and few of them render.
    from fpdf import FPDF

    class Document(FPDF):
        def header(self) -> None:
            self.set_font("helvetica", "B", 9)
            self.set_text_color(*SAFFRON)
            self.cell(0, 6, _clipped(self, title, self.epw), new_x="LMARGIN", new_y="NEXT")
            self.set_draw_color(*SAFFRON)
            self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())
            self.ln(4)

        def footer(self) -> None:
            self.set_y(-15)
            self.set_font("helvetica", "", 8)
            self.set_text_color(*INK)
            self.cell(0, 6, f"Page {self.page_no()} of {{nb}}", align="C")

        def normalize_text(self, text: str) -> str:
            # The fonts that every PDF reader brings along know Western European letters only.
            return str(super().normalize_text(text.encode("cp1252", "replace").decode("cp1252")))

    document = Document()
    document.core_fonts_encoding = "windows-1252"
    document.set_title(title)
    document.set_creator("Jalebi")
    document.set_auto_page_break(False)
    return document


def summary_page(document: Any, table: Table, source: str) -> None:
    """Add the first page: what the columns hold, and the sums of those that hold numbers."""
    document.add_page()
    _heading(document, "Summary", f"{len(table.rows)} rows from {source}")
    widths = _widths(document, [3.0, 2.0, 3.0, 3.0, 3.0])
    _row(document, widths, "LRRRR", ["Column", "Values", "From", "To", "Sum"], header=True)
    for position, column in enumerate(table.columns[:ROWS_A_PAGE]):
        described = _described([row[position] for row in table.rows])
        _row(document, widths, "LRRRR", [column, *described], shaded=position % 2 == 1)


def _described(fields: list[str]) -> list[str]:
    filled = [field for field in fields if field]
    numbers = [number for number in map(_number, filled) if number is not None]
    count = str(len(set(filled)))
    if filled and len(numbers) == len(filled):
        return [count, *(f"{value:,.2f}" for value in (min(numbers), max(numbers), sum(numbers)))]
    return [count, min(filled, default=""), max(filled, default=""), ""]


def table_page(document: Any, columns: list[str], sheet: Sheet) -> None:
    """Add one page with the rows of a sheet."""
    document.add_page()
    _heading(document, sheet.chapter, sheet.part)
    shown = columns[:MAX_COLUMNS]
    # Wider where the page's own words are longer, within reason.
    lengths = [max(len(row[position]) for row in [columns, *sheet.rows]) for position in range(len(shown))]
    widths = _widths(document, [float(min(max(length, 4), 24)) for length in lengths])
    aligned = "".join(_alignment([row[position] for row in sheet.rows]) for position in range(len(shown)))
    _row(document, widths, aligned, shown, header=True)
    for number, row in enumerate(sheet.rows):
        _row(document, widths, aligned, row[:MAX_COLUMNS], shaded=number % 2 == 1)


def _heading(document: Any, heading: str, below: str) -> None:
    document.set_text_color(*INK)
    document.set_font("helvetica", "B", 15)
    document.cell(0, 9, _clipped(document, heading, document.epw), new_x="LMARGIN", new_y="NEXT")
    document.set_font("helvetica", "", 9)
    document.cell(0, 6, _clipped(document, below, document.epw), new_x="LMARGIN", new_y="NEXT")
    document.ln(3)


def _row(
    document: Any, widths: list[float], aligned: str, fields: list[str], header: bool = False, shaded: bool = False
) -> None:
    document.set_font("helvetica", "B" if header else "", 8)
    document.set_text_color(*((255, 255, 255) if header else INK))
    document.set_fill_color(*(SAFFRON if header else PALE))
    for width, align, field in zip(widths, aligned, fields, strict=True):
        document.cell(width, 7.2, _clipped(document, field, width - 2), fill=header or shaded, align=align)
    document.ln()


def _alignment(fields: list[str]) -> str:
    return "R" if all(_number(field) is not None for field in fields if field) else "L"


def _widths(document: Any, weights: list[float]) -> list[float]:
    return [document.epw * weight / sum(weights) for weight in weights]


def _clipped(document: Any, text: str, width: float) -> str:
    """Shorten text until it fits; measured, as letters differ in width."""
    text = " ".join(text[:200].split())
    if document.get_string_width(text) <= width:
        return text
    while text and document.get_string_width(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        return None
    return number if isfinite(number) else None
