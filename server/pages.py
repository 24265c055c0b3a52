"""Renders the HTML pages: our templates over pygeoapi's, with one environment a language kept for the process.

pygeoapi's own renderer keeps the first configuration that it translated, for every later caller of that language; here nothing
of a caller is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from babel.support import Translations
from jinja2 import Environment, FileSystemLoader, select_autoescape
from pygeoapi import __version__, l10n, util
from pygeoapi.api import API

from server.request import Request
from server.settings import ROOT

_HELPERS = ("to_json", "get_path_basename", "get_breadcrumbs", "filter_dict_by_key_value")
_FILTERS = ("format_datetime", "format_duration", "human_size")
_TEXTS = ("title", "description", "keywords")


def render(api: API, request: Request, template: str, content: dict[str, Any]) -> bytes:
    """A page made from one of the templates, in the request's language."""
    locale = request.locale
    page = _environment(l10n.locale2str(locale)).get_template(template)
    config = _translated(api.tpl_config, locale)
    return page.render(config=config, data=content, locale=locale, version=__version__).encode()


@lru_cache(maxsize=16)
def _environment(language: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader([str(ROOT / "server" / "templates"), str(util.TEMPLATESDIR)]),
        extensions=["jinja2.ext.i18n"],
        autoescape=select_autoescape(),
        auto_reload=False,
    )
    helpers = {name: getattr(util, name) for name in _HELPERS}
    made.globals.update(helpers)
    made.filters.update(helpers)
    made.filters.update({name: getattr(util, name) for name in _FILTERS})
    made.install_gettext_translations(Translations.load(ROOT / "server" / "locale", [language]))  # type: ignore[attr-defined]
    return made


def _translated(config: dict[str, Any], locale: Any) -> dict[str, Any]:
    """The configuration with the texts that pages print in one language."""

    def texts(block: Any) -> Any:
        return {key: l10n.translate(value, locale) for key, value in block.items()} if isinstance(block, dict) else block

    return {
        **config,
        "metadata": {name: texts(block) for name, block in config["metadata"].items()},
        "resources": {
            name: {**resource, **texts({key: resource[key] for key in _TEXTS if key in resource})}
            for name, resource in config["resources"].items()
        },
    }
