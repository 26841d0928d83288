"""Write docs/claims.md and docs/papers/ again from the claims and their evidence, so that no page says what the data do not."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from fedtailor.studies.claims import (
    VERDICTS,
    Claim,
    Evidence,
    Judged,
    Paper,
    effects_text,
    interval_text,
    judge,
    load_papers,
    read_all,
    verdict_of,
)

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# What the papers claim, and what was found here

{count} claims of three papers, in our words: {sums}. This page is made from data that come with the package (`make tables`), and so is
`fedtailor claims list`. None of the papers' full texts was at hand; what they state is known from abstracts and secondary summaries.

```bash
fedtailor claims list
fedtailor claims show fedgen-personal                  # the claim, its test, the evidence
fedtailor claims run fedgen-personal --data DATA       # three seeds; the same command again continues
fedtailor claims run split-bytes --from runs/framework-comparison-small   # from runs that are finished
```

**The rule.** An effect is what one side of a comparison has over the other, with the same seed. From three seeds on, the 95 % interval of the mean effect (Student's t) decides. Bytes and operations do
not depend on chance and are counted once. Where the single values were not kept, mean and standard deviation of the paired effects give the same interval. `transcribed` evidence was copied from
a table that people wrote; `measured` evidence was computed from the runs' own tables.

| verdict | when |
|---|---|
"""
WIDTH, ROW, LEFT, HALF = 760, 26, 250, 190  # of a chart: its width, a row's height, where bars begin, half of their room


def pages() -> dict[str, str]:
    """Return the text of every page and chart, by its name within docs/."""
    known = read_all()
    found = {"claims.md": claims_page(load_papers(), known)}
    for paper in load_papers():
        found[f"papers/{paper.number}.md"] = paper_page(paper, known)
        found[f"papers/{paper.number}.svg"] = chart(paper, known)
    return found


def claims_page(papers: Sequence[Paper], known: Mapping[str, Sequence[Evidence]]) -> str:
    """Return the page of all claims."""
    verdicts = Counter(_verdict(claim, known) for paper in papers for claim in paper.claims)
    sums = ", ".join(f"{verdicts[word]} {word}" for word in VERDICTS if verdicts[word])
    text = HEAD.format(count=verdicts.total(), sums=sums) + "".join(f"| {word} | {when} |\n" for word, when in VERDICTS.items())
    for paper in papers:
        text += f"\n## {paper.title}\n\n[arXiv:{paper.number}](papers/{paper.number}.md)\n\n" + _table(paper, known)
    text += "\n## Evidence\n\nEffects with their seeds, sizes and origin.\n"
    return text + "".join(_evidence(claim, known) for paper in papers for claim in paper.claims if known.get(claim.id))


def paper_page(paper: Paper, known: Mapping[str, Sequence[Evidence]]) -> str:
    """Return a reader's page for one paper."""
    verdicts = Counter(_verdict(claim, known) for claim in paper.claims)
    sums = ", ".join(f"{verdicts[word]} {word}" for word in VERDICTS if verdicts[word])
    runs = "".join(f"| `{command}` | {what} |\n" for command, what in paper.run.items())
    return (
        f"# {paper.title}\n\narXiv:{paper.number}. This page is made from the same data as [all claims](../claims.md).\n\n"
        f"## What it says\n\n{paper.about.strip()}\n\n"
        f"## Run it here\n\n| command | what it does |\n|---|---|\n{runs}\n"
        "`DATA` is a folder with `e2e/`, `ptb/` or `banking77/`: see [recipes](../studies.md#recipes). "
        "`--variant paper` has the paper's size, as far as it is known.\n\n"
        f"## What came out\n\nOf {verdicts.total()} claims: {sums}.\n\n"
        f"![95 % intervals of the effects, each on a scale of its own; the table below has the figures]({paper.number}.svg)\n\n"
        f"{_table(paper, known)}\n"
        "## What was assumed\n\n" + "".join(f"- {each}\n" for each in paper.assumed)
    )


def _verdict(claim: Claim, known: Mapping[str, Sequence[Evidence]]) -> str:
    return verdict_of(claim, judge(claim, known.get(claim.id, [])))


def _table(paper: Paper, known: Mapping[str, Sequence[Evidence]]) -> str:
    rows = ["| claim | says | effect | found | verdict |\n|---|---|---|---|---|\n"]
    for claim in paper.claims:
        judged = judge(claim, known.get(claim.id, []))
        found = "; ".join(filter(None, (_found(each, several=len(judged) > 1) for each in judged)))
        verdict = verdict_of(claim, judged)
        hours = f" ({claim.hours:g} h)" if verdict == "not run" else ""
        rows.append(
            f"| `{claim.id}` | {claim.says} | {claim.measure} | {found or claim.untestable or '–'} | **{verdict}**{hours} |\n"
        )
    return "".join(rows)


def _found(judged: Judged, *, several: bool) -> str:
    """Return effects with their interval in a few words; nothing where nothing was run."""
    if judged.evidence is None:
        return ""
    interval = interval_text(judged.evidence)
    name = f"{judged.comparison.name}: " if several else ""
    return name + effects_text(judged.evidence) + (f" [{interval}]" if interval else "")


def _evidence(claim: Claim, known: Mapping[str, Sequence[Evidence]]) -> str:
    rows = "".join(
        f"| {line.comparison} | {effects_text(line)} | {', '.join(map(str, line.seeds))} | {line.size}{_note(line)} | {line.origin}, `{line.commit}`, {line.machine}; {line.source} |\n"
        for line in known[claim.id]
    )
    notes = "".join(f"\n{note}\n" for note in claim.notes)
    return f"\n### {claim.id}\n\n`{claim.runs}`\n{notes}\n| comparison | effects | seeds | size | from |\n|---|---|---|---|---|\n{rows}"


def _note(line: Evidence) -> str:
    return f" ({line.note})" if line.note else ""


def chart(paper: Paper, known: Mapping[str, Sequence[Evidence]]) -> str:
    """Return a drawing: of each comparison with effects its seeds, interval and verdict, on a scale of its own around no effect."""
    drawn = [
        (claim, each)
        for claim in paper.claims
        for each in judge(claim, known.get(claim.id, []))
        if each.evidence is not None and each.evidence.centre is not None
    ]
    height = ROW * (len(drawn) + 2)
    middle = LEFT + HALF
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" role="img">',
        f"<title>Effects found for the claims of arXiv:{paper.number}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<line x1="{middle}" y1="{ROW}" x2="{middle}" y2="{height - ROW}" stroke="#999999" stroke-dasharray="3 3"/>',
        f'<text x="{middle}" y="{ROW - 8}" text-anchor="middle" fill="#555555">no effect</text>',
        f'<text x="10" y="{height - 8}" fill="#555555">bar: 95 % interval · dots: seeds · ring: mean · triangle: the paper\'s size · green: counts as the same · each row has a scale of its own</text>',
    ]
    for place, (claim, each) in enumerate(drawn, start=1):
        parts += _bar(claim, each, ROW * place + ROW / 2, middle)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(claim: Claim, each: Judged, y: float, middle: float) -> Iterator[str]:
    line, size = each.evidence, each.comparison.size
    assert line is not None
    assert line.centre is not None
    interval = line.interval()
    same = each.comparison.matters if each.comparison.direction == "same" else 0.0
    values = [*line.effects, line.centre, *(interval or ()), *([size] if size is not None else []), same]
    scale = (HALF - 20) / (max(map(abs, values)) or 1.0)
    name = claim.id if len(claim.compare) == 1 else f"{claim.id}: {each.comparison.name}"
    yield f'<text x="10" y="{y + 4:g}" fill="#111111">{escape(name[:44])}</text>'
    if same:
        yield f'<rect x="{middle - same * scale:.1f}" y="{y - 9:g}" width="{2 * same * scale:.1f}" height="18" fill="#009e73" fill-opacity="0.2"/>'
    if interval is not None:
        low, high = (middle + end * scale for end in interval)
        yield f'<line x1="{low:.1f}" y1="{y:g}" x2="{high:.1f}" y2="{y:g}" stroke="#0072b2" stroke-width="5" stroke-opacity="0.5"/>'
    yield from (f'<circle cx="{middle + one * scale:.1f}" cy="{y:g}" r="2.5" fill="#0072b2"/>' for one in line.effects)
    yield f'<circle cx="{middle + line.centre * scale:.1f}" cy="{y:g}" r="5" fill="none" stroke="#111111"/>'
    if size is not None:
        x = middle + size * scale
        yield f'<path d="M{x - 5:.1f} {y - 9:g} h10 l-5 8 z" fill="#d55e00"/>'
    yield f'<text x="{middle + HALF + 5:g}" y="{y + 4:g}" fill="#111111">{escape(each.verdict)}</text>'


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
    sys.stdout.write("wrote claims.md and papers/\n")
