"""Several runs side by side."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ..tasks.metrics import HIGHER_IS_BETTER
from .read import Run
from .tables import _table
from .wording import NAMES, bytes_text, figure, flops_text, metric_name, seconds_text
