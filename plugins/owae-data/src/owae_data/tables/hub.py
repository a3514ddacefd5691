"""Sets of the Hugging Face hub by name: their Parquet files are downloaded, or found in the hub's cache, and read as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from owae.errors import DataError
from owae_data.base import Extent, Fraction, ValueRange, quiet
from owae_data.tables.source import Table

CONVERTED = "refs/convert/parquet"  # the branch on which the hub keeps sets that came in other files, as Parquet


class Hub(Table):
    """A set of the Hugging Face hub: `{ kind = "hub", name = "ylecun/mnist" }`, read as `table` reads its Parquet files.

    They are downloaded by huggingface_hub, into its cache, and found there without a network. A set that is saved elsewhere is read by
    `table` without that package.

    Args:
        name: Of the set, as in its address: owner/name.
        subset: The folder of the one part that is wanted, where a set consists of several.
        revision: A branch, tag or commit; by default the newest, or the hub's own conversion where that has no Parquet files.
        columns: The columns that make an example; this and the following as for `table`.
        image: The column of pictures.
        label: The column of classes; false for none.
        standardise: Whether columns are shifted and scaled.
        holdout: The share to hold out for testing where no file is for that.
        channels: Of pictures: 1 for grey, 3 for RGB.
        size: Of pictures: height and width to resize to.
        crop: Of pictures: height and width of the middle part to keep before that.
        background: Of pictures: what shows through where they are transparent.
        skip_broken: Of pictures: leave those that cannot be read out.
        value_range: Of pictures: what black and white stand for.
    """

    name = "hub"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        name: str,
        subset: str | None = None,
        revision: str | None = None,
        columns: list[str] | None = None,
        image: str | Literal[False] | None = None,
        label: str | Literal[False] | None = None,
        standardise: bool = False,
        holdout: Fraction = 0.1,
        channels: Literal[1, 3] | None = None,
        size: Extent | None = None,
        crop: Extent | None = None,
        background: Literal["white", "black"] = "white",
        skip_broken: bool = False,
        value_range: ValueRange = (0.0, 1.0),
    ) -> None:
        super().__init__(
            split,
            path=fetch(name, subset, revision),
            columns=columns,
            image=image,
            label=label,
            standardise=standardise,
            holdout=holdout,
            channels=channels,
            size=size,
            crop=crop,
            background=background,
            skip_broken=skip_broken,
            value_range=value_range,
        )


def fetch(name: str, subset: str | None, revision: str | None) -> Path:
    """Downloads the Parquet files of a set, or finds them in the hub's cache. Returns their folder.

    Raises:
        DataError: There is no way to the hub and they are not in the cache, or the set has no such files.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataError("sets of the hub are fetched by huggingface_hub: pip install 'owae-data[hub]'") from error
    pattern = "*.parquet" if subset is None else f"{subset}/*.parquet"
    for branch in (revision,) if revision is not None else (None, CONVERTED):
        try:
            with quiet():
                found = huggingface_hub.snapshot_download(name, repo_type="dataset", revision=branch, allow_patterns=[pattern])
        except Exception as error:  # of requests, of the hub's own kinds, or a ValueError for a name that is none
            raise DataError(
                f"the set '{name}' cannot be had from the hub and is not in its cache ({error}); check the name and the network, or "
                "save its Parquet files elsewhere and read them by kind = 'table', path = 'FOLDER'"
            ) from error
        folder = Path(found) if subset is None else Path(found) / subset
        files = list(folder.rglob("*.parquet"))
        if files:
            parts = sorted({path.relative_to(folder).parts[0] for path in files if len(path.relative_to(folder).parts) > 1})
            own = [part for part in parts if part not in ("data", "train", "test", "validation", "val", "dev")]
            if len(own) > 1:
                raise DataError(f"the set '{name}' consists of several: {', '.join(own)}; subset = '{own[0]}' takes one")
            return folder
    raise DataError(
        f"the set '{name}' has no Parquet file{'' if subset is None else f' in {subset}'}, nor does the hub's conversion; other files "
        "are read by 'table', 'image-folder' or 'arrays' when they are downloaded"
    )
