"""The functions html/template puts at the end of pipelines, one for each context.

Values from alert data are plain, except template.JS, which `json` returns.
"""

from __future__ import annotations

import re
from typing import Any

from .context import decode_css, is_plain_attr, lower
from .functions import Function, escape_html
from .gofmt import sprint
from .gojson import JSONError, marshal
from .gotime import GoTime
from .strconv import to_bytes
from .values import ANY, JS, indirect, type_of

FAILSAFE = "ZgotmplZ"
"""What stands in the output for a value that would be unsafe where it is."""


def stringify(args: tuple[Any, ...]) -> str:
    """The text of the arguments; nil ones are nothing."""
    if len(args) == 1 and isinstance(args[0], str):
        return args[0]
    return sprint([indirect(arg) for arg in args if arg is not None])


def _printed(args: tuple[Any, ...]) -> str:
    """The text of the arguments; nil ones show."""
    return sprint([None if arg is None else indirect(arg) for arg in args])


_HTML = {0: "\ufffd", **{ord(c): f"&#{ord(c)};" for c in "\"'+"}, 38: "&amp;", 60: "&lt;", 62: "&gt;"}
_UNQUOTED = {
    **_HTML,
    **{ord(c): f"&#{ord(c)};" for c in "\t\n\v\f\r =`"},
    **{code: f"&#x{code:x};" for code in (*range(0xFDD0, 0xFDF0), *range(0xFFF0, 0x10000))},
    **dict.fromkeys((0, *range(56448, 56576)), "&#xfffd;"),
}
_LOW = {**{code: f"\\u{code:04x}" for code in range(0x20)}, 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r",
        0x2028: "\\u2028", 0x2029: "\\u2029"}  # fmt: skip
_JS_STRING = {**_LOW, **{ord(c): f"\\u{ord(c):04x}" for c in "\"`&'+<>"}, 47: "\\/", 92: "\\\\"}
_JS_TEMPLATE = {**_JS_STRING, **{ord(c): f"\\u{ord(c):04x}" for c in "${}"}}
_JS_REGEXP = {
    **_LOW,
    **{ord(c): f"\\u{ord(c):04x}" for c in "\"&'+<>"},
    **{ord(c): "\\" + c for c in "$()*-./?[\\]^{|}"},
}


def html_text(*args: Any) -> str:
    """For text, quoted attributes, and the content of textarea and title."""
    return html_of(stringify(args))


def html_of(text: str) -> str:
    """`html_text` of a string."""
    return escape_html(text).replace("+", "&#43;")


def html_unquoted(*args: Any) -> str:
    """For an attribute value without quotes."""
    return stringify(args).translate(_UNQUOTED) or FAILSAFE


def html_name(*args: Any) -> str:
    """For the name of an attribute: only names without meaning pass."""
    text = lower(stringify(args))
    safe = text.isascii() and text.isalnum() and is_plain_attr(text)
    return text if safe else FAILSAFE


def comment(*args: Any) -> str:
    """For comments: nothing."""
    return ""


def js_string(*args: Any) -> str:
    """For inside a JavaScript string."""
    return stringify(args).translate(_JS_STRING)


def js_template(*args: Any) -> str:
    """For inside a JavaScript template literal."""
    return stringify(args).translate(_JS_TEMPLATE)


def js_regexp(*args: Any) -> str:
    """For inside a JavaScript regular expression."""
    return stringify(args).translate(_JS_REGEXP) or "(?:)"


_SCRIPT_TAG = re.compile("<(/?)script", re.IGNORECASE | re.ASCII)


def js_value(*args: Any) -> str:
    """For where JavaScript expects an expression: JSON."""
    value = args[0] if len(args) == 1 else _printed(args)
    if isinstance(value, JS):
        return str(value)
    if value is not None and not isinstance(value, GoTime) and type_of(value).stringer:
        value = str(value)
    try:
        text = marshal(value)
    except JSONError as error:
        reason = _SCRIPT_TAG.sub(r"\\x3C\1script", str(error)).replace("*/", "* /").replace("<!--", "\\x3C!--")
        return f" /* {reason} */null "
    return f" {text} " if _is_word(text[0]) or _is_word(text[-1]) else text


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char in "$_")


_CSS = re.compile("[\0\t\n\f\r\"&'()+/:;<>\\\\{}]")


def css_string(*args: Any) -> str:
    """For inside a CSS string."""
    text = stringify(args)

    def escape(match: re.Match[str]) -> str:
        if match.group() == "\\":
            return "\\\\"
        following = text[match.end() : match.end() + 1]
        gap = " " if following == "" or following in "0123456789abcdefABCDEF\t\n\f\r " else ""
        return f"\\{ord(match.group()):x}{gap}"

    return _CSS.sub(escape, text)


def css_value(*args: Any) -> str:
    """For a CSS value: numbers, names and colours pass."""
    text = decode_css(stringify(args))
    if re.search("[\0\"'()/;@\\[\\\\\\]`{}<>]", text) or "--" in text:
        return FAILSAFE
    name = re.sub(r"[^A-Za-z0-9_-]", "", text).lower()
    return FAILSAFE if "expression" in name or "mozbinding" in name else text


# ------------------------------------------------------------------------------------------------------------- URLs

_URL_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_URL_MARKS = frozenset(b"!#$&*+,/:;=?@[]")
_HEX = frozenset(b"0123456789abcdefABCDEF")


def is_safe_url(text: str) -> bool:
    """Whether the URL has no scheme or a harmless one."""
    scheme, colon, _ = text.partition(":")
    return not colon or "/" in scheme or scheme.lower().replace("ſ", "s") in ("http", "https", "mailto")


def _encode(text: str, keep_marks: bool) -> str:
    data = to_bytes(text)
    return "".join(
        chr(b) if b in _URL_LETTERS or (keep_marks and (b in _URL_MARKS or (b == 37 and _is_escape(data, i))))
        else f"%{b:02x}"
        for i, b in enumerate(data)
    )  # fmt: skip


def _is_escape(data: bytes, at: int) -> bool:
    return at + 2 < len(data) and data[at + 1] in _HEX and data[at + 2] in _HEX


def url_filter(*args: Any) -> str:
    """For the start of a URL: only harmless schemes pass."""
    text = stringify(args)
    return text if is_safe_url(text) else "#" + FAILSAFE


def url_part(*args: Any) -> str:
    """For inside a query or fragment."""
    return _encode(stringify(args), False)


def url_normal(*args: Any) -> str:
    """For the rest of a URL: marks keep their meaning."""
    return _encode(stringify(args), True)


def srcset(*args: Any) -> str:
    """For a list of images with sizes."""
    return ",".join(map(_srcset_element, stringify(args).split(",")))


_SRCSET = re.compile(r"([\t\n\f\r ]*)([^\t\n\f\r ]*)([\t\n\f\r 0-9A-Za-z]*)\Z")


def _srcset_element(text: str) -> str:
    found = _SRCSET.match(text)
    if found is None or not is_safe_url(found.group(2)):
        return "#" + FAILSAFE
    return found.group(1) + _encode(found.group(2), True) + found.group(3)


def eval_args(*args: Any) -> str:
    """The text of what a predefined escaper was given, before the escaper of the context gets it."""
    return args[0] if len(args) == 1 and type(args[0]) is str else _printed(args)


ESCAPERS: dict[str, Function] = {
    name: Function(call, (), ANY)
    for name, call in {
        "_html_template_attrescaper": html_text,
        "_html_template_commentescaper": comment,
        "_html_template_cssescaper": css_string,
        "_html_template_cssvaluefilter": css_value,
        "_html_template_htmlnamefilter": html_name,
        "_html_template_htmlescaper": html_text,
        "_html_template_jsregexpescaper": js_regexp,
        "_html_template_jsstrescaper": js_string,
        "_html_template_jstmpllitescaper": js_template,
        "_html_template_jsvalescaper": js_value,
        "_html_template_nospaceescaper": html_unquoted,
        "_html_template_rcdataescaper": html_text,
        "_html_template_srcsetescaper": srcset,
        "_html_template_urlescaper": url_part,
        "_html_template_urlfilter": url_filter,
        "_html_template_urlnormalizer": url_normal,
        "_eval_args_": eval_args,
    }.items()
}
