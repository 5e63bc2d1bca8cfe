"""The old spellings of study files' keys, valid in this version."""

from typing import Any

from compress.errors import UsageError

RENAMED = {
    "": {
        "rule": "constraint",
        "finish": "final_training",
        "start": "initial",
        "rehearsal": "dry_run",
        "otherwise": "fallback",
    },
    "space": {"fraction": "pruning_ratio", "ends": "io_dtype"},
    "training": {"shift_pixels": "crop_padding"},
    "final_training": {"share": "budget_fraction"},
    "initial": {"fractions": "pruning_ratios"},
    "grid": {"fraction": "pruning_ratio"},
}
"""By section (the new name; "": outside of all): old key -> new key."""


def with_new_keys(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of a study file under the new keys, and for each old key the words that name the new one.

    Raises UsageError where a file has both spellings of a key.
    """
    renamed: dict[str, None] = {}  # each once, in the file's order
    values = _rename(values, "", renamed)
    for section, content in values.items():
        if isinstance(content, dict):
            values[section] = _rename(content, section, renamed)
        elif isinstance(content, list):
            values[section] = [
                _rename(entry, section, renamed) if isinstance(entry, dict) else entry for entry in content
            ]
    return values, list(renamed)


def _rename(values: dict[str, Any], section: str, renamed: dict[str, None]) -> dict[str, Any]:
    new_keys = RENAMED.get(section, {})
    found: dict[str, Any] = {}
    for key, value in values.items():
        new_key = new_keys.get(key, key)
        where = f" in [{section}]" if section else ""
        if new_key in found:
            raise UsageError(f'old and new spelling of one key{where}; keep "{new_key}" alone')
        if new_key != key:
            renamed[f'"{key}"{where} is now "{new_key}"'] = None
        found[new_key] = value
    return found
