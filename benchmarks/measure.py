"""How are the figures taken? Requests a second by wrk, features a second by a crawl, memory from the kernel."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

PATHS_LUA = Path(__file__).with_name("paths.lua")
HEADERS = {"Accept": "application/geo+json"}


@dataclass(frozen=True, slots=True)
class Load:
    """How hard and how long wrk asks."""

    connections: int = 8
    threads: int = 1
    seconds: float = 5.0
    warmup: float = 1.0


def fetch(port: int, path: str, headers: Mapping[str, str] = HEADERS, timeout: float = 120.0) -> tuple[int, bytes]:
    """Status and body of one GET on a new connection."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        conn.request("GET", path, headers=dict(headers))
        response = conn.getresponse()
        return response.status, response.read()
    finally:
        conn.close()


def wrk(port: int, paths: Sequence[str], load: Load, headers: Mapping[str, str], once: float) -> dict[str, float]:
    """Requests a second and latencies of asking `paths` round and round; `failed` answers were no 200 and do not count.

    `once` is how long a single request took (seconds): a server so slow that no connection would finish within the
    load's time is given longer, at most a minute.
    """
    seconds = max(load.seconds, min(60.0, 2.5 * once * load.connections))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(paths) + "\n")
        file.flush()
        if load.warmup and once < load.warmup:
            _wrk(port, file.name, load, load.warmup, headers)
        found = _wrk(port, file.name, load, seconds, headers)
    return {"per_second": (found["requests"] - found["failed"]) / found["seconds"], **found}


def _wrk(port: int, file: str, load: Load, seconds: float, headers: Mapping[str, str]) -> dict[str, float]:
    options = [f"-t{load.threads}", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s"]
    asked = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", *options, *asked, "-s", str(PATHS_LUA), f"http://127.0.0.1:{port}", "--", file]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 90)
    found: dict[str, float] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


_LINK = re.compile(rb'\{[^{}]*"rel" ?: ?"next"[^{}]*\}')


def next_link(body: bytes) -> str | None:
    """Where the page's `next` link leads: path and query. Links lie before or after the features, never among them."""
    for part in (body[-20000:], body[:20000]):
        if found := _LINK.search(part):
            href: str = json.loads(found[0])["href"]
            link = urlsplit(href)
            return link.path + (f"?{link.query}" if link.query else "")
    return None


def pages(port: int, path: str, headers: Mapping[str, str] = HEADERS) -> Iterator[bytes]:
    """The bodies of a crawl by `next` on one connection. Raises RuntimeError for an answer that is not 200."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        following: str | None = path
        while following:
            conn.request("GET", following, headers=dict(headers))
            response = conn.getresponse()
            body = response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status} for {following}")
            yield body
            link = next_link(body)
            following = urljoin(following, link) if link else None
    finally:
        conn.close()


def crawl(port: int, path: str, crawlers: int, seconds: float, limit: int) -> dict[str, float]:
    """Features a second of so many crawlers at once, each begun again at the end, until the time is over.

    Every page but the last of a crawl is taken as full (`limit` features); a last one is counted exactly.
    """
    counts = [0] * crawlers
    failures: list[Exception] = []
    started = time.perf_counter()
    ended = [started] * crawlers

    def one(number: int) -> None:
        try:
            while time.perf_counter() - started < seconds:
                for body in pages(port, path):
                    counts[number] += limit if next_link(body) else body.count(b'"Feature"')
                    ended[number] = time.perf_counter()
                    if ended[number] - started >= seconds:
                        return
        except (OSError, RuntimeError, http.client.HTTPException) as err:
            failures.append(err)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(crawlers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(str(failures[0]))
    # Each crawler's own rate: none is charged for the time in which it waited for nothing.
    rate = sum(count / (end - started) for count, end in zip(counts, ended, strict=True) if end > started)
    return {"per_second": rate, "features": sum(counts)}


def tree(root: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            children.setdefault(int(after_name[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def memory(pids: Iterable[int]) -> dict[str, float]:
    """Sums over processes in MB: resident, proportional (shared pages divided among their users), anonymous."""
    sums = {"Rss": 0, "Pss": 0, "Pss_Anon": 0}
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for name in sums:
            if found := re.search(rf"^{name}: +(\d+) kB", text, re.MULTILINE):
                sums[name] += int(found[1])
    return {"rss_mb": sums["Rss"] / 1024, "pss_mb": sums["Pss"] / 1024, "anonymous_mb": sums["Pss_Anon"] / 1024}


def timed(command: Sequence[str], env: Mapping[str, str]) -> dict[str, float]:
    """Run a command to its end: seconds, and the peaks of its resident and (sampled) anonymous memory in MB.

    Resident memory counts the pages of a mapped file too, which the kernel may drop. Raises RuntimeError where the
    command fails.
    """
    started = time.perf_counter()
    anonymous = 0.0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, env=dict(env), stdout=out, stderr=subprocess.STDOUT)
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            anonymous = max(anonymous, memory(tree(process.pid))["anonymous_mb"])
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            out.seek(0)
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{out.read()[-2000:]}")
    return {"seconds": seconds, "peak_mb": usage.ru_maxrss / 1024, "peak_anonymous_mb": anonymous}
