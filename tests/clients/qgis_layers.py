"""What QGIS makes of a layer: run by the distribution's Python, it answers one JSON task a line with one JSON line.

A task: `url` and `collection`; where wanted `key` (sent by HTTP Basic), `subset` (the layer's filter), `expression` or `rect`
(xmin, ymin, xmax, ymax in the layer's CRS; only what overlaps it is fetched), both filters of a request, and `image` (width,
height, CRS and extent of a drawing).
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# QGIS writes notes to the standard output: they go to the standard error, and answers alone to the former.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from qgis.core import (  # noqa: E402
    Qgis,
    QgsApplication,
    QgsAuthMethodConfig,
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsFillSymbol,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsMarkerSymbol,
    QgsNetworkAccessManager,
    QgsRectangle,
    QgsSettings,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QDate, QDateTime, QSize, Qt, QVariant  # noqa: E402
from qgis.PyQt.QtGui import QColor  # noqa: E402

RED = QColor(255, 0, 0)


def start(proxy: list[str]) -> QgsApplication:
    """QGIS with its network behind a proxy (host, port); gives the application, which must be kept."""
    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], False)
    application.initQgis()
    settings = QgsSettings()
    host, port = proxy
    for name, value in {"Enabled": True, "Type": "HttpProxy", "Host": host, "Port": port}.items():
        settings.setValue(f"proxy/proxy{name}", value)
    QgsNetworkAccessManager.instance().setupDefaultProxyAndCache()
    QgsApplication.authManager().setMasterPassword("only for this test", True)
    return application


def credential(key: str) -> str:
    """The id of an authentication configuration of type Basic, as a user makes one."""
    config = QgsAuthMethodConfig("Basic")
    config.setName("key")
    config.setConfigMap({"username": "any", "password": key, "realm": ""})
    manager = QgsApplication.authManager()
    if not manager.storeAuthenticationConfig(config)[0]:
        raise RuntimeError("QGIS did not store the credential")
    return str(config.id())


def plain(value: Any) -> Any:
    """A value of an attribute as JSON has it."""
    if isinstance(value, QDateTime):
        # QGIS reads seconds as a float, so that a millisecond may be lost.
        return value.toUTC().addMSecs(500).toString(Qt.ISODate)
    if isinstance(value, QDate):
        return value.toString(Qt.ISODate)
    if isinstance(value, QVariant):  # PyQt's NULL
        return None
    return value


def draw(layer: QgsVectorLayer, width: int, height: int, crs: str, extent: list[float]) -> float:
    """The share of red pixels where the layer's symbol is red on white."""
    if layer.geometryType() == QgsWkbTypes.PolygonGeometry:
        symbol = QgsFillSymbol.createSimple({"color": "255,0,0", "outline_style": "no"})
    else:
        symbol = QgsMarkerSymbol.createSimple({"color": "255,0,0", "outline_style": "no", "size": "3"})
    layer.setRenderer(QgsSingleSymbolRenderer(symbol))
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
    settings.setExtent(QgsRectangle(*extent))
    settings.setOutputSize(QSize(width, height))
    settings.setBackgroundColor(QColor(255, 255, 255))
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if job.errors():
        raise RuntimeError("; ".join(error.message for error in job.errors()))
    image = job.renderedImage()
    red = sum(image.pixelColor(x, y) == RED for x in range(width) for y in range(height))
    return float(red / (width * height))


def look(task: dict[str, Any]) -> dict[str, Any]:
    """What a task asks for."""
    uri = f"url='{task['url']}' typename='{task['collection']}'"
    if task.get("key"):
        uri += f" authcfg={credential(task['key'])}"
    if "rect" in task:
        uri += " restrictToRequestBBOX='1'"
    layer = QgsVectorLayer(uri, task["collection"], "OAPIF")
    seen = {"version": Qgis.QGIS_VERSION_INT, "valid": layer.isValid()}
    if not layer.isValid():
        return seen
    if "subset" in task and not layer.setSubsetString(task["subset"]):
        raise RuntimeError(f"QGIS did not take the filter {task['subset']}")
    request = QgsFeatureRequest()
    if "expression" in task:
        request.setFilterExpression(task["expression"])
    if "rect" in task:
        request.setFilterRect(QgsRectangle(*task["rect"])).setFlags(QgsFeatureRequest.ExactIntersect)
    if "image" in task:
        return {**seen, "red": draw(layer, **task["image"])}
    names = layer.fields().names()
    return {
        **seen,
        "count": layer.featureCount(),
        "crs": layer.crs().authid(),
        "geometry": QgsWkbTypes.displayString(layer.wkbType()),
        "fields": {field.name(): field.typeName() for field in layer.fields()},
        "features": [
            {
                "properties": dict(zip(names, map(plain, feature.attributes()), strict=True)),
                "wkb": bytes(feature.geometry().asWkb()).hex() if feature.hasGeometry() else None,
            }
            for feature in layer.getFeatures(request)
        ],
    }


def main() -> None:
    application = start(sys.argv[1].split(":"))
    for line in sys.stdin:
        try:
            answer = look(json.loads(line))
        except Exception as err:  # noqa: BLE001 whatever fails is told to the test
            answer = {"error": repr(err)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    application.exitQgis()


if __name__ == "__main__":
    main()
