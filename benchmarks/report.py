"""How are the figures written down? A table of requests a second and of ratios, with the machine and every version."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

LIBRARIES = ("pygeoapi", "granian", "Werkzeug", "SQLAlchemy", "orjson", "shapely", "numpy", "pyproj")
PEERS = ("pygeoapi", "tipg", "uvicorn", "granian", "gunicorn")

Results = Mapping[str, Mapping[str, Any]]


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return {
        "cores": str(os.cpu_count()),
        "processor": cpu[1] if cpu else platform.processor(),
        "memory": f"{int(memory[1]) / 1024**2:.0f} GiB" if memory else "",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: installed(name) for name in LIBRARIES},
    }


def peer_versions(programs: Path) -> dict[str, str]:
    """Versions in the peers' environment."""
    code = f"from importlib.metadata import version; print({{n: version(n) for n in {PEERS}}})"
    run = subprocess.run([str(programs / "python"), "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(run.stdout.replace("'", '"'))
    return {f"{name} (peer)": version for name, version in found.items()}


def figure(entry: Mapping[str, Any] | None) -> str:
    """A cell: a rate, or why there is none."""
    if entry is None:
        return "–"
    if "why" in entry:
        return str(entry["why"])
    rate = entry["per_second"]
    cell = f"{rate:,.0f}" if rate >= 20 else f"{rate:.2g}"
    return f"{cell} ({entry['failed']:.0f} of {entry['requests']:.0f} failed)" if entry.get("failed") else cell


def ratio(own: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    if not own or not other or not own.get("per_second") or not other.get("per_second") or other.get("failed"):
        return "–"
    times = own["per_second"] / other["per_second"]
    return f"{times:,.0f} ×" if times >= 20 else f"{times:.2f} ×"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown(found: Mapping[str, Any]) -> str:
    """The whole report. `found` is what the JSON file holds."""
    targets: Results = found["targets"]
    cases: Mapping[str, str] = found["cases"]
    figures = {key: target.get("cases", {}) for key, target in targets.items()}
    titles = [target["title"] for target in targets.values()]
    rates = [[f"{key} {title}", *(figure(figures[t].get(key)) for t in targets)] for key, title in cases.items()]
    size, load = found["plan"], found["load"]
    parts = [
        f"# Benchmark of {found['date']}",
        (
            f"{size['parcels']:,} parcels, of which {size['released']:,} are open; wrk with {load['connections']} "
            f"connections, {load['seconds']:g} s a case after {load['warmup']:g} s; server, database and load on the "
            "same cores. Every answer was checked once before it was timed: status, number returned, number matched. "
            "F7 and F7x are in features a second, all others in requests a second."
        ),
        table(["", *titles], rates),
    ]
    own = figures.get("tierra")
    if own:
        others = {key: figures[key] for key in targets if not key.startswith("tierra")}
        rows = [[key, *(ratio(own.get(key), other.get(key)) for other in others.values())] for key in cases]
        parts += ["## Ratio of tierra to the others", table(["", *(targets[key]["title"] for key in others)], rows)]
        parts += [_earlier(own, found["earlier"])]
    parts += ["## Memory and start-up", _resources(targets)]
    if found.get("build"):
        build = found["build"]
        parts += [
            "## Build of the edition",
            (
                f"{build['rows_per_second']:,.0f} source rows a second ({build['seconds']:.1f} s in all); peak memory "
                f"{build['peak_mb']:.0f} MB resident, of which anonymous {build['peak_anonymous_mb']:.0f} MB."
            ),
        ]
    notes = [f"- {target['title']}: {target['notes']}" for target in targets.values() if target.get("notes")]
    if notes:
        parts += ["## Notes", "\n".join(notes)]
    parts += ["## Machine and versions", table(["", ""], [[k, v] for k, v in found["machine"].items()])]
    return "\n\n".join(parts) + "\n"


def _earlier(own: Mapping[str, Any], earlier: Mapping[str, Any]) -> str:
    """Ratios to servers that no package registry holds: their figures were taken before, on another machine."""
    keys = earlier["cases"]
    rows = []
    for title, rates in earlier["rates"].items():
        by_case = dict(zip(keys, rates, strict=True))
        rows.append([title, *(f"{by_case[k]:,} ({ratio(own.get(k), {'per_second': by_case[k]})})" for k in keys)])
    return f"### To figures taken earlier\n\n{earlier['note']}\n\n{table(['', *keys], rows)}"


def _resources(targets: Results) -> str:
    rows = []
    for target in targets.values():
        if "start_seconds" in target:
            workers, whole = target["workers"], target["memory"]
            rows.append(
                [
                    target["title"],
                    f"{target['start_seconds']:.2f} s",
                    f"{workers['rss_mb']:.0f}",
                    f"{workers['pss_mb']:.0f}",
                    f"{workers['anonymous_mb']:.0f}",
                    f"{whole['pss_mb']:.0f}",
                ]
            )
    head = [
        "after the cases above",
        "to the first 200",
        "workers: resident, MB",
        "proportional",
        "anonymous",
        "all processes: proportional",
    ]
    return table(head, rows)
