"""Go's text/template and html/template, for alert ids, messages and details.

template = parse("{{ .ID }} is {{ .Level }}", "message", data_shape="message")
template.render({"ID": "cpu:host=a", "Level": "CRITICAL", …})
"""

from __future__ import annotations

from .gotime import Duration, GoTime, set_local_zone
from .lex import TemplateError
from .template import Template, parse
from .values import Missing

__all__ = ["Duration", "GoTime", "Missing", "Template", "TemplateError", "parse", "set_local_zone"]
