"""Cells of the terminal's tables as HTML."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from fedtailor.report.page.markup import cell_html, html_of, table_html


def test_styles_become_classes_and_signs_are_escaped():
    assert cell_html("[bold]1 < 2[/]") == "[bold]1 &lt; 2[/]"
    assert cell_html(Text.assemble(("3 → ", "dim"), "2 & 1")) == '<span class="quiet">3 → </span>2 &amp; 1'
    assert cell_html(Text("+5 %", style="green")) == '<span class="better">+5 %</span>'
    assert cell_html(Text("plain", style="not bold")) == "plain"
    assert cell_html(Text("a\nb\u202e")) == "a<br>b\\u202e"


def test_a_row_begins_with_its_header():
    table = Table(show_header=True)
    table.add_column("client")
    table.add_column("loss", justify="right")
    table.add_row("a", Text("2.5"))
    assert table_html(table, "of <clients>") == (
        '<div class="wide" tabindex="0" role="region" aria-label="of &lt;clients&gt;"><table><caption>of &lt;clients&gt;</caption><thead><tr><th scope="col">client</th>'
        '<th scope="col" class="number">loss</th></tr></thead><tbody><tr><th scope="row">a</th><td class="number">2.5</td></tr></tbody></table></div>'
    )


def test_lines_and_tables_that_stand_together_follow_each_other():
    table = Table(show_header=False)
    table.add_column()
    table.add_row("a")
    assert html_of(Group(table, Text("more", style="dim")), "c").endswith('</table></div><p><span class="quiet">more</span></p>')
