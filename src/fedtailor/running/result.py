"""What a run has made."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run has made."""

    folder: Path
    summary: dict[str, Any]

    @property
    def history(self) -> "pd.DataFrame":
        """A row a round, as in rounds.parquet."""
        import pandas as pd

        return pd.read_parquet(self.folder / "rounds.parquet")

    def model(self) -> Any:
        """Return the customized model in float32, ready for a forward pass or `generate`."""
        from ..export import load_customized

        return load_customized(self.folder)
