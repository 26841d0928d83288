"""Options that commands of retrieval have in common."""

from pathlib import Path
from typing import Annotated

import typer

Collection = Annotated[
    Path, typer.Argument(help="The folder that `rag index` made, or the job that it was made for.", metavar="NAME")
]
TopK = Annotated[int | None, typer.Option("--top-k", help="Passages that are found; left out: the job's, or 5.")]
ReaderName = Annotated[
    str | None,
    typer.Option(
        "--reader", help="best-sentence, a causal backbone such as smollm2-135m, or none; left out: the job's, or best-sentence."
    ),
]
ScoreKind = Annotated[str | None, typer.Option("--score", help="hybrid, dense or bm25; left out: hybrid. Of a job: as it says.")]
Share = Annotated[
    str | None,
    typer.Option(
        help="What leaves a client: passages, snippets, answers, scores or embeddings; left out: passages. Of a job: as it says."
    ),
]
Verify = Annotated[bool, typer.Option("--verify", help="Embed what came back; leave out clients that stated wrong scores.")]
Routed = Annotated[
    int | None, typer.Option("--router", help="Centroids a client, by which clients are chosen; left out: all are asked.")
]
Margin = Annotated[
    float | None, typer.Option(help="Of the router: how far below the best client's cosine a client is asked; left out: 0.2.")
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        help="Send the question's vector with noise, and not its text: per unit of distance, the smaller the more noise. With --score dense. "
        "Of a job: as it says."
    ),
]
Fetch = Annotated[
    int | None, typer.Option(help="Passages that are fetched and scored here before --top-k are left. Of a job: as it says.")
]
On = Annotated[Path | None, typer.Option(help="The sites of a network: the folder of net init.", metavar="NET")]
