"""The process that measures: requests on stdin, one JSON object a line; answers on stdout likewise, and nothing else there."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from owae.streams import quiet_stdout


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    with quiet_stdout():
        from owae.registry.registry import Registry

        registry = Registry.discover()
        for line in sys.stdin:
            print(json.dumps(_answer(registry, json.loads(line))), file=answers, flush=True)


def _answer(registry: Any, request: dict[str, Any]) -> dict[str, Any]:
    from owae_bench.measure import measure

    try:
        return measure(registry, request)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a third party's code does, the next size has its turn
        lines = str(error).strip().splitlines()
        return {"reason": f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"}


if __name__ == "__main__":
    main()
