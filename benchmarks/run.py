"""Measures the server and its peers: `make bench`, or `python -m benchmarks.run --help`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import click

from benchmarks import measure, peers, plan, postgis, report, targets
from benchmarks.postgis import Unavailable
from benchmarks.targets import Target

HERE = Path(__file__).resolve().parent
NAMES = ("tierra", "tierra-key", "bare", "bare-gunicorn", "pygeoapi-gpkg", "pygeoapi-postgis", "tipg")
PAGE = 10_000
CRAWL = {"F7": ("crawl by next, features a second", 1), "F7x": ("the same, 8 crawls at once", 8)}


def check(target: Target, case: plan.Case) -> tuple[float, str | None]:
    """Ask once before timing: how long it took, and what is wrong with the answer (None: nothing)."""
    started = time.perf_counter()
    status, body = measure.fetch(target.port, target.items + case.queries[0], target.headers)
    took = time.perf_counter() - started
    if status != 200:
        return took, f"{status}"
    answer = json.loads(body)
    if answer["type"] == "Feature":
        return took, None
    returned, matched = len(answer["features"]), answer.get("numberMatched")
    low, high = case.returned
    if not low <= returned <= high:
        return took, f"returns {returned:,}, not {low:,}" + (f"–{high:,}" if high > low else "")
    if case.matched is not None and matched is not None and matched != case.matched:
        return took, f"matches {matched:,}, not {case.matched:,}"
    return took, None


def deep_by_key(target: Target, depth: int, released: int) -> str | None:
    """The query of the page that follows `depth` features of a crawl, ten long; None for a server without such links.

    Raises RuntimeError where that page is not the one that `offset` gives.
    """
    limit = min(PAGE, depth)
    done, link = 0, None
    for body in measure.pages(target.port, f"{target.items}?limit={limit}", target.headers):
        done += limit
        link = measure.next_link(body)
        if link is None:
            raise RuntimeError(f"a crawl ended after {done:,} of {released:,}")
        if done + limit > depth:
            break
    if link is None:
        return None
    members = {**dict(parse_qsl(urlsplit(link).query)), "limit": "10"}
    if "offset" in members:
        return None
    query = f"?{urlencode(members)}"
    pages = [measure.fetch(target.port, target.items + q, target.headers)[1] for q in (query, f"?limit=10&offset={done}")]
    ids = [[feature["id"] for feature in json.loads(page)["features"]] for page in pages]
    if ids[0] != ids[1]:
        raise RuntimeError("the page by key is not the page by offset")
    return query


def measured(target: Target, what: plan.Plan, load: measure.Load, wanted: set[str], say: Callable[[str], None]) -> dict[str, Any]:
    """All wanted cases of one server, its memory and its start-up."""
    log = HERE / ".data" / "logs" / f"{target.key}.log"
    with targets.running(target, log) as (pid, start):
        found: dict[str, Any] = {}
        by_key = None
        if target.next and target.key == "tierra" and "F6k" in wanted:
            by_key = deep_by_key(target, what.deep, what.released)
        elif target.key.startswith("bare"):
            by_key = f"?limit=10&after={sorted(what.ids)[len(what.ids) * 8 // 10]}"
        matched = what.parcels if target.whole else what.released
        for case in plan.cases(what, matched, target.hits, by_key):
            if case.key not in wanted:
                continue
            say(f"{target.title}: {case.key}")
            if case.key in target.cannot:
                found[case.key] = {"why": target.cannot[case.key]}
                continue
            found[case.key] = _one(target, case, load)
        for key, (_, crawlers) in CRAWL.items():
            if key in wanted and target.next:
                say(f"{target.title}: {key}")
                found[key] = _crawled(target, crawlers, load)
        pids = measure.tree(pid)
        return {
            "title": target.title,
            "notes": target.notes,
            "cases": found,
            "start_seconds": start,
            "memory": measure.memory(pids),
            "workers": measure.memory(p for p in pids if p != pid),
        }


def _one(target: Target, case: plan.Case, load: measure.Load) -> dict[str, Any]:
    try:
        check(target, case)  # the first answer opens files and fills caches
        once, wrong = check(target, case)
        if wrong:
            return {"why": f"wrong: {wrong}"}
        return measure.wrk(target.port, [target.items + q for q in case.queries], load, target.headers, once)
    except TimeoutError:
        return {"why": "no answer in 120 s"}


def _crawled(target: Target, crawlers: int, load: measure.Load) -> dict[str, Any]:
    try:
        return measure.crawl(target.port, f"{target.items}?limit={PAGE}", crawlers, load.seconds, PAGE)
    except (RuntimeError, OSError) as err:
        return {"why": str(err)}


@contextmanager
def all_targets(package: Path, wanted: tuple[str, ...]) -> Iterator[dict[str, Callable[[], Target]]]:
    """How to make each wanted target; PostgreSQL runs for as long as one of them may need it."""
    with ExitStack() as stack:
        running: list[int] = []

        def database() -> int:
            if not running:
                running.append(stack.enter_context(postgis.cluster(package)))
            return running[0]

        makers: dict[str, Callable[[], Target]] = {
            "tierra": lambda: targets.tierra(package),
            "tierra-key": lambda: targets.tierra_with_key(package),
            "bare": lambda: targets.bare(package),
            "bare-gunicorn": lambda: peers.bare_gunicorn(package),
            "pygeoapi-gpkg": lambda: peers.pygeoapi_geopackage(package),
            "pygeoapi-postgis": lambda: peers.pygeoapi_postgis(package, database()),
            "tipg": lambda: peers.tipg_postgis(database()),
        }
        yield {name: makers[name] for name in NAMES if name in wanted}


@click.command()
@click.option("--parcels", default=500_000, show_default=True, help="How many parcels the data has; made once, then kept.")
@click.option("--only", "names", default=",".join(NAMES), show_default=True, help="Servers, separated by commas.")
@click.option("--cases", default="F1,F2,F3,F4,F5,F6k,F6o,F7,F7x,F8", show_default=True, help="Cases, separated by commas.")
@click.option("--duration", default=5.0, show_default=True, help="Seconds a case.")
@click.option("--warmup", default=1.0, show_default=True, help="Seconds before each case that do not count.")
@click.option("--connections", default=8, show_default=True)
@click.option("--threads", default=1, show_default=True, help="Threads of wrk.")
@click.option("--build/--no-build", default=True, help="Approve and build the edition first (needed once), and time it.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "results", help="Folder of the report.")
def main(
    parcels: int,
    names: str,
    cases: str,
    duration: float,
    warmup: float,
    connections: int,
    threads: int,
    build: bool,
    out: Path,
) -> None:
    """Measure requests a second, features a second, memory, start-up and the build of an edition."""
    unknown = set(names.split(",")) - set(NAMES)
    if unknown:
        raise click.BadParameter(f"unknown: {', '.join(sorted(unknown))}", param_hint="--only")
    load = measure.Load(connections, threads, duration, warmup)
    package = plan.generate(parcels, HERE / ".data" / str(parcels))
    what = plan.draw(package)

    def say(text: str) -> None:
        click.echo(text, err=True)

    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load": asdict(load),
        "plan": {k: v for k, v in asdict(what).items() if k not in ("boxes", "ids")},
        "machine": report.machine(),
        "earlier": json.loads((HERE / "earlier.json").read_text(encoding="utf-8")),
        "targets": {},
    }
    if build and any(name.startswith(("tierra", "bare")) for name in names.split(",")):
        say("building the edition")
        built = targets.tierra_build(package)
        found["build"] = {**built, "rows_per_second": what.parcels / built["seconds"]}
    with all_targets(package, tuple(names.split(","))) as makers:
        for name, make in makers.items():
            try:
                found["targets"][name] = measured(make(), what, load, set(cases.split(",")), say)
            except Unavailable as err:
                say(str(err))
                found["targets"][name] = {"title": name, "notes": f"not measured: {err}"}
    titles = {case.key: case.title for case in plan.cases(what, 0, "", "by key")} | {k: title for k, (title, _) in CRAWL.items()}
    found["cases"] = {key: titles[key] for key in cases.split(",")}
    if set(makers) - {"tierra", "tierra-key", "bare"}:
        found["machine"] |= report.peer_versions(peers.programs())
    if {"tipg", "pygeoapi-postgis"} & set(makers):
        found["machine"]["PostgreSQL"] = postgis.version()
    out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(found)
    (out / f"{found['date']}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / f"{found['date']}.md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
