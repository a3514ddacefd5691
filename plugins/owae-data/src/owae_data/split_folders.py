"""Tells by their names which folders of a set of pictures, or files of a table or of shards, are its splits.

The usual names are these, in any case: train, training; val, valid, validation, dev; test, testing. Whoever has a folder for training
and one of the others has splits. What is like that by half (one of them alone, `train2017`, `Test_images`, `trian`, splits below the
classes) could be split or classes; taken for classes it would be trained on its own test examples, so it is refused.

Files are split by the first word of their name (`train-00000-of-00002.parquet`) or the name of their folder. Files of which some are named
like splits and the rest are not, or by half (`my_train.csv`, `train2017.tar`), are refused too, unless each is named in the config.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from owae.errors import DataError

Role = Literal["train", "validation", "test"]

_NAMES: dict[Role, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_ROLES: dict[str, Role] = {name: role for role, names in _NAMES.items() for name in names}
_UNUSUAL = {"eval", "evaluation", "holdout", "heldout", "trn", "tst"}  # said of splits, and of nothing else
_ENDINGS = "set|sets|data|split|images|imgs|pictures|pics|files|folder"
_ALIKE = 0.88  # of long words: one letter more or fewer

log = logging.getLogger(__name__)


def find_splits(folder: Path, names: list[str]) -> dict[Literal["train", "test"], str] | None:
    """Returns the sub-folders that are for training and for testing, or None where there are no such.

    Validation pictures are for testing where nothing else is, and stay unused beside a folder for testing. Pictures outside are passed
    over, with a warning.

    Args:
        folder: The set.
        names: Its pictures, as paths relative to it with forward slashes.

    Raises:
        DataError: The folders are like splits by half.
    """
    inside = sorted({name.split("/")[0] for name in names if "/" in name})
    there = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    roles: dict[Role, list[str]] = defaultdict(list)
    for name in there:
        if role := split_role(name):
            roles[role].append(name)
    for found in roles.values():
        if len(found) > 1:
            raise _half(folder, f"folders {_listed(found)}, which mean the same split")
    halves = [name for name in inside if not split_role(name) and _is_near(name)]
    for parent in sorted({parent for name in names for parent in _parents(name)}):
        below = {name[len(parent) + 1 :].split("/")[0] for name in names if name.startswith(f"{parent}/")}
        if _is_split({role for each in below if (role := split_role(each))}):
            own = f"; path = '{folder / parent}' would take those" if len(inside) == 1 else ""
            raise _half(folder, f"splits below '{parent}', which is no split itself{own}")
    if halves or (roles and not _is_split(set(roles))):
        raise _half(folder, f"folders {_listed(sorted({*halves, *(name for found in roles.values() for name in found)}))}")
    if not roles:
        return None
    chosen: dict[Literal["train", "test"], str] = {"train": roles["train"][0], "test": (roles["test"] or roles["validation"])[0]}
    for part in chosen.values():
        if not any(name.startswith(f"{part}/") for name in names):
            raise DataError(f"{folder} has folders {_listed(list(chosen.values()))}, but there are no pictures in '{part}'")
    others = sorted({name.split("/")[0] for name in names} - set(chosen.values()))
    if others:
        count = sum(name.split("/")[0] in others for name in names)
        log.warning(
            "%s: %d pictures outside %s are passed over: %s", folder, count, _listed(list(chosen.values())), _listed(others)
        )
    return chosen


def split_files(paths: Sequence[Path], place: str, *, named: bool = False) -> dict[Literal["train", "test"], list[Path]] | None:
    """Returns which files are for training and which for testing, or None where they are one set, of which examples are to be held out.

    Files for validation are for testing where none are; others are passed over, with a warning.

    Args:
        paths: The files, in order.
        place: What messages call them.
        named: Whether the user has named each of them; those of a folder or a pattern are refused where they are like splits by half.

    Raises:
        DataError: They are.
    """
    roles: dict[Role | None, list[Path]] = defaultdict(list)
    for path in paths:
        roles[split_role(re.split(r"[-_.]", path.name)[0]) or split_role(path.parent.name)].append(path)
    tests = roles["test"] or roles["validation"]
    if roles["train"] and tests:
        unused = [path.name for path in paths if path not in tests and path not in roles["train"]]
        if unused:
            text = "%d files are passed over, being neither for training nor for testing: %s"
            log.warning(text, len(unused), ", ".join(unused[:10]))
        return {"train": roles["train"], "test": tests}
    if not named and len({_likely_role(path.name) or split_role(path.parent.name) for path in paths}) > 1:
        listed = _listed(sorted(path.name for path in paths)[:10])
        raise DataError(
            f"{place} has files {listed}: splits or one set? For splits begin their names with train and test or val, or give test_path; "
            "a path that names those that are meant takes them alone"
        )
    return None


def _likely_role(name: str) -> str | None:
    """What a file may be for, by the words of its name; "?" where it could be several things, None for nothing."""
    for word in re.findall(r"[^\W\d_]+", name.casefold()):
        if _is_near_word(word):
            return split_role(word) or split_role(re.sub(f"({_ENDINGS})$", "", word)) or "?"
    return None


def split_role(name: str) -> Role | None:
    """Tells which split a name stands for, in any case; None for none."""
    return _ROLES.get(name.strip(" _-.").casefold())


def _is_split(roles: set[Role]) -> bool:
    return "train" in roles and len(roles) > 1


def _is_near(name: str) -> bool:
    """Tells whether a name has a word in it that a split is called by, or nearly so."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return any(map(_is_near_word, re.findall(r"[^\W\d_]+", apart.casefold())))


def _is_near_word(word: str) -> bool:
    if word in _ROLES or word in _UNUSUAL or re.sub(f"({_ENDINGS})$", "", word) in _ROLES:
        return True
    for usual in _ROLES:
        # Two letters in each other's place: "trian"; of long words one letter too many or too few: "trainning".
        if len(usual) > 3 and len(word) == len(usual) and sorted(word) == sorted(usual) and word[0] == usual[0]:
            return True
        if len(usual) > 6 and word[0] == usual[0] and difflib.SequenceMatcher(None, word, usual).ratio() > _ALIKE:
            return True
    return False


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _half(folder: Path, what: str) -> DataError:
    return DataError(
        f"{folder} has {what}: splits or classes? For splits name them {', '.join(_NAMES['train'])} and {', '.join(_NAMES['test'])} or "
        f"{', '.join(_NAMES['validation'])}, beside each other; splits = false takes all folders for classes"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
