"""A Chromium without a screen, spoken to in the DevTools protocol through a pipe: what a page asks for, says and shows."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
WAIT = 90.0

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]
# Neither a page nor the browser by itself finds any other machine; what a page asks for there is still recorded.
_ALONE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"

_DECODE = """async (png) => {
  const bitmap = await createImageBitmap(await (await fetch("data:image/png;base64," + png)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  const { data } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
  const reader = new FileReader();
  await new Promise((done) => { reader.onload = done; reader.readAsDataURL(new Blob([data])); });
  return [bitmap.width, bitmap.height, reader.result.split(",")[1]];
}"""


class Chromium:
    """The browser. Each of its pages has a context, and so cookies, a cache and credentials, of its own."""

    def __init__(self, profile: Path) -> None:
        (read_here, written_there), (read_there, written_here) = os.pipe(), os.pipe()
        # The protocol's pipe is descriptor 3 to read and 4 to write.
        words = ["chromium", *_FLAGS, _ALONE, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{read_there} 4>&{written_there}', "bash", *words],
            pass_fds=(read_there, written_there),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_there)
        os.close(written_there)
        self._out = os.fdopen(written_here, "wb", buffering=0)
        self._in = os.fdopen(read_here, "rb")
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}
        self._number = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.version = self.call("Browser.getVersion")["product"]
        self._decoder = self.page()

    def page(self, width: int = 1280, height: int = 800, language: str = "en") -> Page:
        """A new page of a size in CSS pixels, of a reader of a language."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        # workers are listened to as well
        page.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        page.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
        return page

    def pixels(self, png: bytes) -> Pixels:
        """A picture as an array (height, width, 4) of red, green, blue, alpha."""
        width, height, data = self._decoder.evaluate(f"({_DECODE})('{base64.b64encode(png).decode()}')")
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Ask for something and wait for its result. Raises RuntimeError with what the browser says against it."""
        number = self._send(method, session, params)
        answer = self.wait(lambda: self._answers.pop(number, None))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def wait(self, look: Callable[[], Any]) -> Any:
        """What `look` finds, once it finds something. Raises TimeoutError."""
        with self._changed:
            found = self._changed.wait_for(look, WAIT)
        if not found:
            raise TimeoutError(f"Chromium said nothing for {WAIT} s")
        return found

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None) -> None:
        self._send("Browser.close", None, {})
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._out.close()

    def _send(self, method: str, session: str | None, params: dict[str, Any]) -> int:
        with self._changed:
            self._number += 1
            message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
            self._out.write(json.dumps(message).encode() + b"\0")
            return self._number

    def _read(self) -> None:
        left = b""
        while chunk := self._in.read1(1 << 20):
            *whole, left = (left + chunk).split(b"\0")
            for message in map(json.loads, whole):
                with self._changed:
                    self._hear(message)
                    self._changed.notify_all()

    def _hear(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif page := self._pages.get(message.get("sessionId", "")):
            if message["method"] == "Target.attachedToTarget":
                worker = message["params"]["sessionId"]
                self._pages[worker] = page
                for method in ("Network.enable", "Runtime.enable", "Runtime.runIfWaitingForDebugger"):
                    self._send(method, worker, {})
            page.hear(message["method"], message["params"])


class Page:
    """A page of the browser, with its workers."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def hear(self, method: str, params: dict[str, Any]) -> None:
        """Take note of an event."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(json.dumps(params["entry"]))

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self.follow(lambda: self.call("Page.navigate", url=url))

    def follow(self, act: Callable[[], Any]) -> None:
        """Do what leads to another page, and wait until that is loaded."""
        before = self._loaded
        act()
        self._browser.wait(lambda: self._loaded > before)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, which may be a promise."""
        said = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(said["exceptionDetails"])
        return said["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression in the page is true. Raises TimeoutError."""
        deadline = time.monotonic() + WAIT
        while not self.evaluate(f"!!({expression})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true after {WAIT} s: {expression}")
            time.sleep(0.05)

    def text(self, selector: str) -> str | None:
        """The text of the first element that a selector names, or None."""
        found: str | None = self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText")
        return found

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the page, in CSS pixels."""
        measure = "(({x, y, width, height}) => [x + scrollX, y + scrollY, width, height])"
        rectangle = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        left, top, width, height = self.evaluate(f"{measure}({rectangle})")
        return left, top, width, height

    def picture(self, selector: str | None = None) -> bytes:
        """A PNG of the window, or of an element."""
        clip: dict[str, Any] = {}
        if selector:
            left, top, width, height = self.box(selector)
            clip = {"clip": {"x": left, "y": top, "width": width, "height": height, "scale": 1}, "captureBeyondViewport": True}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"])

    def settled(self, selector: str, ready: Callable[[Pixels], bool]) -> Pixels:
        """The pixels of an element, once they are as they should be and change no more. Raises TimeoutError."""
        self.until(f"document.querySelector({json.dumps(selector)})")
        deadline = time.monotonic() + WAIT
        last = b""
        while time.monotonic() < deadline:
            now = self.picture(selector)
            if now == last and ready(pixels := self._browser.pixels(now)):
                return pixels
            last = now
            # a busy machine that draws in software can lose a frame: it is asked for again
            self.evaluate("void window.dispatchEvent(new Event('resize'))")
            time.sleep(0.2)
        raise TimeoutError(f"{selector} is not drawn after {WAIT} s: {self.complaints}")

    def click(self, x: float, y: float) -> None:
        """Click at a place of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
