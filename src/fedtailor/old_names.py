"""What settings, flags and files that people write were called before: whoever uses an old name is shown the new one."""

from collections.abc import Mapping

# place -> old name -> new one; a place is a file that people write, its section, or a command
OLD_NAMES: Mapping[str, Mapping[str, str]] = {
    "network": {"hub": "server"},
    "policy": {"tell": "reports", "backbone_from_hub": "backbone_from_server"},
    "site join": {
        "--tell": "--reports",
        "--backbone-from-hub": "--backbone-from-server",
        "--no-backbone-from-hub": "--no-backbone-from-server",
    },
    "kit": {"hub": "server", "local/hub.json": "local/server.json"},
}


def new_name(place: str, name: str) -> str | None:
    """Return a sentence that names what a setting, flag or file is called now; None if it never had that name."""
    new = OLD_NAMES[place].get(name)
    return None if new is None else f"{name} is now called {new}; use that name"


def with_new_names(place: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings that fedtailor itself wrote, in the order of old, with the names of today."""
    return {OLD_NAMES[place].get(name, name): value for name, value in settings.items()}
