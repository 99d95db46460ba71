"""The state machine of html/template: where in HTML, CSS, JavaScript or a URL a piece of text ends.

`after_text` is Go's contextAfterText; each transition function reads part of the text and gives the new context and how
much it read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from html.entities import html5
from typing import Any

from tickc.runtime.gotext import quote

from .lex import TemplateError
from .parse import Node
from .strconv import MAX_RUNE


class State(Enum):
    """Where the parser of HTML is; the values are the names that show in error messages."""

    TEXT = "stateText"
    TAG = "stateTag"
    ATTR_NAME = "stateAttrName"
    AFTER_NAME = "stateAfterName"
    BEFORE_VALUE = "stateBeforeValue"
    HTML_CMT = "stateHTMLCmt"
    RCDATA = "stateRCDATA"
    ATTR = "stateAttr"
    URL = "stateURL"
    SRCSET = "stateSrcset"
    JS = "stateJS"
    JS_DQ = "stateJSDqStr"
    JS_SQ = "stateJSSqStr"
    JS_TEMPLATE = "stateJSTmplLit"
    JS_REGEXP = "stateJSRegexp"
    JS_BLOCK_CMT = "stateJSBlockCmt"
    JS_LINE_CMT = "stateJSLineCmt"
    JS_OPEN_CMT = "stateJSHTMLOpenCmt"
    JS_CLOSE_CMT = "stateJSHTMLCloseCmt"
    CSS = "stateCSS"
    CSS_DQ = "stateCSSDqStr"
    CSS_SQ = "stateCSSSqStr"
    CSS_DQ_URL = "stateCSSDqURL"
    CSS_SQ_URL = "stateCSSSqURL"
    CSS_URL = "stateCSSURL"
    CSS_BLOCK_CMT = "stateCSSBlockCmt"
    CSS_LINE_CMT = "stateCSSLineCmt"
    ERROR = "stateError"
    META_CONTENT = "stateMetaContent"
    META_URL = "stateMetaContentURL"
    DEAD = "stateDead"


class Delim(Enum):
    """What ends the attribute value."""

    NONE = "delimNone"
    DOUBLE = "delimDoubleQuote"
    SINGLE = "delimSingleQuote"
    SPACE = "delimSpaceOrTagEnd"


class UrlPart(Enum):
    """How far into a URL."""

    NONE = "urlPartNone"
    PRE_QUERY = "urlPartPreQuery"
    QUERY = "urlPartQueryOrFrag"
    UNKNOWN = "urlPartUnknown"


class JsCtx(Enum):
    """What a slash would start."""

    REGEXP = "jsCtxRegexp"
    DIVISION = "jsCtxDivOp"
    UNKNOWN = "jsCtxUnknown"


class Element(Enum):
    """Elements whose content is not plain HTML."""

    NONE = "elementNone"
    SCRIPT = "elementScript"
    STYLE = "elementStyle"
    TEXTAREA = "elementTextarea"
    TITLE = "elementTitle"
    META = "elementMeta"


class Attr(Enum):
    """Attributes whose value is not plain text."""

    NONE = "attrNone"
    SCRIPT = "attrScript"
    SCRIPT_TYPE = "attrScriptType"
    STYLE = "attrStyle"
    URL = "attrURL"
    SRCSET = "attrSrcset"
    META_CONTENT = "attrMetaContent"


COMMENTS = frozenset({State.HTML_CMT, State.JS_BLOCK_CMT, State.JS_LINE_CMT, State.JS_OPEN_CMT, State.JS_CLOSE_CMT,
                      State.CSS_BLOCK_CMT, State.CSS_LINE_CMT})  # fmt: skip
SCRIPT_LITERALS = frozenset({State.JS_DQ, State.JS_SQ, State.JS_TEMPLATE, State.JS_REGEXP})


@dataclass(eq=False)
class EscapeError:
    """What is wrong, and the node, template or line it is wrong in, as far as they are known."""

    text: str
    node: Node | None = None
    line: int = 0
    name: str = ""

    def raised(self) -> TemplateError:
        if self.node is not None and self.node.tree is not None:
            place = self.node.tree.where(self.node)
            return TemplateError(f"html/template:{place}: {self.text}", int(place.rsplit(":", 2)[1]), self.node.pos)
        if self.line:
            return TemplateError(f"html/template:{self.name}:{self.line}: {self.text}", self.line)
        return TemplateError(f"html/template:{self.name}: {self.text}" if self.name else f"html/template: {self.text}")


class Braces:
    """Brace depths of nested JavaScript template literals, with the sharing that Go's slices have.

    Copies of a context share the cells until a literal opens that finds no room, as Go's append does; what Go accepts
    in a loop depends on it.
    """

    __slots__ = ("cells", "n")

    def __init__(self, cells: list[int], n: int) -> None:
        self.cells = cells
        self.n = n

    def items(self) -> list[int]:
        return self.cells[: self.n]

    def copy(self) -> Braces:
        room = self.n if self.n <= 4 else self.n + self.n % 2
        return Braces(self.items() + [0] * (room - self.n), self.n)

    def opened(self) -> Braces:
        """One literal deeper."""
        cells = self.cells
        if self.n == len(cells):
            cells = cells + [0] * max(1, len(cells))
        cells[self.n] = 0
        return Braces(cells, self.n + 1)

    def closed(self) -> Braces:
        return Braces(self.cells, self.n - 1)

    def add(self, count: int) -> int:
        """Count a brace of the innermost literal; gives the new depth."""
        self.cells[self.n - 1] += count
        return self.cells[self.n - 1]


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Everything that decides how a value must be escaped."""

    state: State = State.TEXT
    delim: Delim = Delim.NONE
    url_part: UrlPart = UrlPart.NONE
    js: JsCtx = JsCtx.REGEXP
    braces: Braces | None = None
    attr: Attr = Attr.NONE
    element: Element = Element.NONE
    node: Node | None = None
    error: EscapeError | None = None

    def key(self) -> tuple[Any, ...]:
        """What two contexts must share to be the same."""
        braces = tuple(self.braces.items()) if self.braces else ()
        return (self.state, self.delim, self.url_part, self.js, braces, self.attr, self.element, self.error)

    def same(self, other: Context) -> bool:
        return self.key() == other.key()

    def to(self, **changes: Any) -> Context:
        return replace(self, **changes)

    def clone(self) -> Context:
        return replace(self, braces=self.braces.copy()) if self.braces else self

    def shown_braces(self) -> str:
        return f"[{' '.join(map(str, self.braces.items()))}]" if self.braces else "[]"

    def __str__(self) -> str:
        parts = (self.state.value, self.delim.value, self.url_part.value, self.js.value, self.shown_braces(),
                 self.attr.value, self.element.value, "<nil>")  # fmt: skip
        return "{" + " ".join(parts) + "}"

    def mangle(self, name: str) -> str:
        """The name of a template when it is called in this context."""
        if self.state is State.TEXT:
            return name
        parts = [f"{name}$htmltemplate", self.state.value]
        parts += [part.value for part, usual in ((self.delim, Delim.NONE), (self.url_part, UrlPart.NONE),
                                                 (self.js, JsCtx.REGEXP)) if part is not usual]  # fmt: skip
        if self.braces is not None:
            parts.append(f"jsBraceDepth({self.shown_braces()})")
        parts += [part.value for part in (self.attr, self.element) if part not in (Attr.NONE, Element.NONE)]
        return "_".join(parts)


def failed(text: str, node: Node | None = None, line: int = 0) -> Context:
    """The context of an error."""
    return Context(State.ERROR, error=EscapeError(text, node, line))


# ------------------------------------------------------------------------------------------------------- characters

_SPACE = " \t\n\f\r"
_ATTR_END = re.compile(r"[ \t\n\f\r=>]|['\"<]")
_TAG_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|[:-][A-Za-z0-9])*")
_JS_SPECIAL = re.compile("[\"`'/{}<\\-#]")
_JS_SPACE = ("\f\n\r\t\v \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
             "\u202f\u205f\u3000\ufeff")  # fmt: skip
_JS_WORD_END = re.compile(r"[$0-9A-Z_a-z]*\Z")
_JS_KEYWORDS = frozenset((
    "break", "case", "continue", "delete", "do", "else", "finally", "in", "instanceof", "return", "throw", "try",
    "typeof", "void",
))  # fmt: skip
_JS_TYPES = frozenset((
    "", "application/ecmascript", "application/javascript", "application/json", "application/ld+json",
    "application/x-ecmascript", "application/x-javascript", "module", "text/ecmascript", "text/javascript",
    "text/javascript1.0", "text/javascript1.1", "text/javascript1.2", "text/javascript1.3", "text/javascript1.4",
    "text/javascript1.5", "text/jscript", "text/livescript", "text/x-ecmascript", "text/x-javascript",
))  # fmt: skip
_HEX = frozenset("0123456789abcdefABCDEF")


def lower(text: str) -> str:
    """Go's ToLower as far as ASCII comes out of it."""
    return text.replace("İ", "i").lower()


def skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _attr_name(text: str, at: int) -> int | Context:
    """Where the attribute name at `at` ends, or the error."""
    found = _ATTR_END.search(text, at)
    if found is None:
        return len(text)
    if found.group() in "'\"<":
        return failed(f"{quote(found.group())} in attribute name: {quote(text[:32])}")
    return found.start()


def _tag_name(text: str, at: int) -> tuple[int, Element]:
    found = _TAG_NAME.match(text, at)
    if found is None:
        return at, Element.NONE
    return found.end(), _ELEMENTS.get(found.group().lower(), Element.NONE)


def next_js(text: str, before: JsCtx) -> JsCtx:
    """Whether a slash after this JavaScript divides or starts a regular expression."""
    text = text.rstrip(_JS_SPACE)
    if not text:
        return before
    last = text[-1]
    if last in "+-":
        return JsCtx.REGEXP if (len(text) - len(text.rstrip(last))) % 2 else JsCtx.DIVISION
    if last == ".":
        return JsCtx.DIVISION if len(text) > 1 and text[-2] in "0123456789" else JsCtx.REGEXP
    if last in ",<>=*%&|^?!~([:;{}":
        return JsCtx.REGEXP
    found = _JS_WORD_END.search(text)
    return JsCtx.REGEXP if found and found.group() in _JS_KEYWORDS else JsCtx.DIVISION


def is_js_type(text: str) -> bool:
    """Whether a script of this MIME type is JavaScript."""
    return lower(text.partition(";")[0]).strip() in _JS_TYPES


def decode_css(text: str) -> str:
    """The text with CSS escapes resolved."""
    out = []
    while True:
        plain, slash, text = text.partition("\\")
        out.append(plain)
        if not slash or not text:
            return "".join(out)
        if text[0] not in _HEX:
            out.append(text[0])
            text = text[1:]
            continue
        end = 1
        while end < len(text) and end < 6 and text[end] in _HEX:
            end += 1
        code = int(text[:end], 16)
        if code > MAX_RUNE:
            code, end = code // 16, end - 1
        out.append("\ufffd" if 0xD800 <= code < 0xE000 else chr(code))
        text = _skip_css_space(text[end:])


def _skip_css_space(text: str) -> str:
    if text.startswith("\r\n"):
        return text[2:]
    return text[1:] if text[:1] in ("\t", "\n", "\f", " ", "\r") else text


def _ends_with_url(text: str) -> bool:
    """Whether CSS ends with the keyword url."""
    if text[-3:].lower() != "url":
        return False
    before = text[-4:-3]
    return not (before and ((before.isascii() and before.isalnum()) or before in "-_" or ord(before) >= 0x80))


_ENTITY = re.compile(r"&(?:#[xX]?[0-9a-fA-F]*;?|[A-Za-z0-9]+;?)")


def unescape(text: str) -> str:
    """Go's html.UnescapeString."""
    return _ENTITY.sub(lambda match: _entity(match.group()), text) if "&" in text else text


def _entity(text: str) -> str:
    if text[1] == "#":
        return _numeric_entity(text)
    name = text[1:]
    if name in html5:
        return html5[name]
    for end in range(min(len(name) - 1, 6), 1, -1):
        if name[:end] in html5:
            return html5[name[:end]] + name[end:]
    return text


def _numeric_entity(text: str) -> str:
    is_hex = text[2:3] in ("x", "X")
    found = re.match(r"[0-9a-fA-F]*" if is_hex else r"[0-9]*", text[3:] if is_hex else text[2:])
    digits = found.group() if found else ""
    if not digits:
        return text
    rest = text[(3 if is_hex else 2) + len(digits) :].removeprefix(";")
    code = int(digits, 16 if is_hex else 10)
    if 0x80 <= code <= 0x9F:
        return bytes((code,)).decode("cp1252", "replace") + rest
    if code == 0 or code > MAX_RUNE or 0xD800 <= code < 0xE000:
        code = 0xFFFD
    return chr(code) + rest


# ------------------------------------------------------------------------------------------------------- attributes

_PLAIN, _CSS, _HTML, _JS, _URL, _SRCSET, _UNSAFE = "plain", "css", "html", "js", "url", "srcset", "unsafe"


def _kinds(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


_ATTR_TYPES = {
    **_kinds(_URL, "action archive background cite classid codebase data formaction href icon longdesc manifest"),
    **_kinds(_URL, "poster profile src usemap xmlns"),
    **_kinds(_UNSAFE, "accept-charset async challenge charset content crossorigin defer enctype form formenctype"),
    **_kinds(_UNSAFE, "formmethod formnovalidate headers http-equiv keytype language method novalidate pattern rel"),
    **_kinds(_UNSAFE, "sandbox type value"),
    **_kinds(_PLAIN, "accept alt autocomplete autofocus autoplay border checked class cols colspan contenteditable"),
    **_kinds(_PLAIN, "contextmenu controls coords datetime default dir dirname disabled draggable dropzone for"),
    **_kinds(_PLAIN, "formtarget height hidden high hreflang id ismap kind label lang list loop low max maxlength"),
    **_kinds(_PLAIN, "media mediagroup min multiple name open optimum placeholder preload pubdate radiogroup"),
    **_kinds(_PLAIN, "readonly required reversed rows rowspan spellcheck scope scoped seamless selected shape size"),
    **_kinds(_PLAIN, "sizes span srclang start step tabindex target title width wrap"),
    "srcdoc": _HTML,
    "srcset": _SRCSET,
    "style": _CSS,
}


def attr_type(name: str) -> str:
    """What the value of the (lower case) attribute is taken for, on the safe side."""
    if name.startswith("data-"):
        name = name[5:]
    elif ":" in name:
        prefix, _, name = name.partition(":")
        if prefix == "xmlns":
            return _URL
    known = _ATTR_TYPES.get(name)
    if known is not None:
        return known
    if name.startswith("on"):
        return _JS
    return _URL if "src" in name or "uri" in name or "url" in name else _PLAIN


def is_plain_attr(name: str) -> bool:
    """Whether the attribute may be named by a template's data."""
    return attr_type(name) == _PLAIN


_ATTRS = {_URL: Attr.URL, _CSS: Attr.STYLE, _JS: Attr.SCRIPT, _SRCSET: Attr.SRCSET}
_ELEMENTS = {"script": Element.SCRIPT, "style": Element.STYLE, "textarea": Element.TEXTAREA, "title": Element.TITLE,
             "meta": Element.META}  # fmt: skip
_CONTENT = {Element.NONE: State.TEXT, Element.SCRIPT: State.JS, Element.STYLE: State.CSS,
            Element.TEXTAREA: State.RCDATA, Element.TITLE: State.RCDATA, Element.META: State.TEXT}  # fmt: skip
ATTR_STATES = {Attr.NONE: State.ATTR, Attr.SCRIPT: State.JS, Attr.SCRIPT_TYPE: State.ATTR, Attr.STYLE: State.CSS,
               Attr.URL: State.URL, Attr.SRCSET: State.SRCSET, Attr.META_CONTENT: State.META_CONTENT}  # fmt: skip

# ------------------------------------------------------------------------------------------------------ transitions

Step = tuple[Context, int]


def _text(c: Context, s: str) -> Step:
    at = 0
    while True:
        i = s.find("<", at)
        if i < 0 or i + 1 == len(s):
            return c, len(s)
        if s.startswith("<!--", i):
            return Context(State.HTML_CMT), i + 4
        i += 1
        ends = s[i] == "/"
        if ends:
            if i + 1 == len(s):
                return c, len(s)
            i += 1
        end, element = _tag_name(s, i)
        if end != i:
            return Context(State.TAG, element=Element.NONE if ends else element), end
        at = end


def _tag(c: Context, s: str) -> Step:
    i = skip_space(s, 0)
    if i == len(s):
        return c, i
    if s[i] == ">":
        element = Element.NONE if c.element is Element.META else c.element
        return Context(_CONTENT[c.element], element=element), i + 1
    end = _attr_name(s, i)
    if isinstance(end, Context):
        return end, len(s)
    if end == i:
        return failed(f"expected space, attr name, or end of tag, but got {quote(s[i:])}"), len(s)
    name = lower(s[i:end])
    if c.element is Element.SCRIPT and name == "type":
        attr = Attr.SCRIPT_TYPE
    elif c.element is Element.META and name == "content":
        attr = Attr.META_CONTENT
    else:
        attr = _ATTRS.get(attr_type(name), Attr.NONE)
    state = State.ATTR_NAME if end == len(s) else State.AFTER_NAME
    return Context(state, element=c.element, attr=attr), end


def _in_attr_name(c: Context, s: str) -> Step:
    end = _attr_name(s, 0)
    if isinstance(end, Context):
        return end, len(s)
    return (c.to(state=State.AFTER_NAME) if end != len(s) else c), end


def _after_name(c: Context, s: str) -> Step:
    i = skip_space(s, 0)
    if i == len(s):
        return c, i
    if s[i] != "=":
        return c.to(state=State.TAG), i
    return c.to(state=State.BEFORE_VALUE), i + 1


def _before_value(c: Context, s: str) -> Step:
    i = skip_space(s, 0)
    if i == len(s):
        return c, i
    delim = {"'": Delim.SINGLE, '"': Delim.DOUBLE}.get(s[i], Delim.SPACE)
    return c.to(state=ATTR_STATES[c.attr], delim=delim), i + (delim is not Delim.SPACE)


def _html_comment(c: Context, s: str) -> Step:
    i = s.find("-->")
    return (c, len(s)) if i < 0 else (Context(), i + 3)


def _special_tag_end(c: Context, s: str) -> Step:
    """The end tag of a script, style, textarea or title, if it is here."""
    if c.element is not Element.NONE:
        if c.element is Element.SCRIPT and (c.state in SCRIPT_LITERALS or c.state in COMMENTS):
            return c, len(s)
        i = _tag_end(s, c.element.value.removeprefix("element").lower() if c.element is not Element.META else "")
        if i >= 0:
            return Context(), i
    return c, len(s)


def _tag_end(s: str, tag: str) -> int:
    at = 0
    while (i := s.find("</", at)) >= 0:
        end = i + 2 + len(tag)
        if s[i + 2 : end].lower() == tag:
            if s[end : end + 1] and s[end] in "> \t\n\f/":
                return i
            at = end
        else:
            at = i + 2
    return -1


def _all(c: Context, s: str) -> Step:
    return c, len(s)


def _url(c: Context, s: str) -> Step:
    if "#" in s or "?" in s:
        return c.to(url_part=UrlPart.QUERY), len(s)
    if skip_space(s, 0) != len(s) and c.url_part is UrlPart.NONE:
        return c.to(url_part=UrlPart.PRE_QUERY), len(s)
    return c, len(s)


def _js(c: Context, s: str) -> Step:
    found = _JS_SPECIAL.search(s)
    if found is None:
        return c.to(js=next_js(s, c.js)), len(s)
    i = found.start()
    c = c.to(js=next_js(s[:i], c.js))
    match s[i]:
        case '"':
            return c.to(state=State.JS_DQ, js=JsCtx.REGEXP), i + 1
        case "'":
            return c.to(state=State.JS_SQ, js=JsCtx.REGEXP), i + 1
        case "`":
            return c.to(state=State.JS_TEMPLATE, js=JsCtx.REGEXP), i + 1
        case "/":
            return _js_slash(c, s, i)
        case "<" if s.startswith("<!--", i):
            return c.to(state=State.JS_OPEN_CMT), i + 4
        case "-" if s.startswith("-->", i):
            return c.to(state=State.JS_CLOSE_CMT), i + 3
        case "#" if s.startswith("#!", i):
            return c.to(state=State.JS_LINE_CMT), i + 2
        case "{" | "}":
            return _js_brace(c, s[i]), i + 1
    return c, i + 1


def _js_slash(c: Context, s: str, i: int) -> Step:
    if s.startswith("//", i):
        return c.to(state=State.JS_LINE_CMT), i + 2
    if s.startswith("/*", i):
        return c.to(state=State.JS_BLOCK_CMT), i + 2
    if c.js is JsCtx.REGEXP:
        return c.to(state=State.JS_REGEXP), i + 1
    if c.js is JsCtx.DIVISION:
        return c.to(js=JsCtx.REGEXP), i + 1
    return failed(f"'/' could start a division or regexp: {quote(s[i : i + 32])}"), len(s)


def _js_brace(c: Context, brace: str) -> Context:
    js = next_js(brace, c.js)
    if c.braces is None or c.braces.n == 0:
        return c.to(js=js)
    if c.braces.add(1 if brace == "{" else -1) >= 0 or brace == "{":
        return c.to(js=js)
    return c.to(braces=c.braces.closed(), state=State.JS_TEMPLATE)


_TEMPLATE_SPECIAL = re.compile(r"[`\\$]")


def _js_template(c: Context, s: str) -> Step:
    at = 0
    while found := _TEMPLATE_SPECIAL.search(s, at):
        i = found.start()
        if s[i] == "\\":
            i += 1
            if i == len(s):
                return failed(f"unfinished escape sequence in JS string: {quote(s)}"), len(s)
        elif s[i] == "`":
            return c.to(state=State.JS), i + 1
        elif s.startswith("${", i):
            braces = c.braces or Braces([], 0)
            return c.to(braces=braces.opened(), state=State.JS), i + 2
        at = i + 1
    return c, len(s)


_JS_ENDS = {State.JS_DQ: re.compile(r'[\\"]'), State.JS_SQ: re.compile(r"[\\']"),
            State.JS_REGEXP: re.compile(r"[\\/\[\]]")}  # fmt: skip


def _js_delimited(c: Context, s: str) -> Step:
    special = _JS_ENDS[c.state]
    at, in_set = 0, False
    while found := special.search(s, at):
        i = found.start()
        if s[i] == "\\":
            i += 1
            if i == len(s):
                return failed(f"unfinished escape sequence in JS string: {quote(s)}"), len(s)
        elif s[i] in "[]":
            in_set = s[i] == "["
        elif s[i] == "/" and i > 0 and s[i - 1 : i + 7].lower() == "</script":
            i += 1
        elif not in_set:
            return c.to(state=State.JS, js=JsCtx.DIVISION), i + 1
        at = i + 1
    if in_set:
        return failed(f"unfinished JS regexp charset: {quote(s)}"), len(s)
    return c, len(s)


def _block_comment(c: Context, s: str) -> Step:
    i = s.find("*/")
    if i < 0:
        return c, len(s)
    return c.to(state=State.JS if c.state is State.JS_BLOCK_CMT else State.CSS), i + 2


_JS_LINE_END = re.compile("[\n\r\u2028\u2029]")
_CSS_LINE_END = re.compile("[\n\f\r]")


def _line_comment(c: Context, s: str) -> Step:
    in_css = c.state is State.CSS_LINE_CMT
    found = (_CSS_LINE_END if in_css else _JS_LINE_END).search(s)
    if found is None:
        return c, len(s)
    return c.to(state=State.CSS if in_css else State.JS), found.start()


_CSS_SPECIAL = re.compile("[(\"'/]")


def _css(c: Context, s: str) -> Step:
    at = 0
    while found := _CSS_SPECIAL.search(s, at):
        i = found.start()
        match s[i]:
            case "(" if _ends_with_url(s[:i].rstrip("\t\n\f\r ")):
                return _css_url(c, s, skip_space(s, i + 1))
            case "/" if s.startswith(("//", "/*"), i):
                return c.to(state=State.CSS_LINE_CMT if s[i + 1] == "/" else State.CSS_BLOCK_CMT), i + 2
            case '"':
                return c.to(state=State.CSS_DQ), i + 1
            case "'":
                return c.to(state=State.CSS_SQ), i + 1
        at = i + 1
    return c, len(s)


def _css_url(c: Context, s: str, at: int) -> Step:
    match s[at : at + 1]:
        case '"':
            return c.to(state=State.CSS_DQ_URL), at + 1
        case "'":
            return c.to(state=State.CSS_SQ_URL), at + 1
    return c.to(state=State.CSS_URL), at


_CSS_DQ_END, _CSS_SQ_END = re.compile(r'[\\"]'), re.compile(r"[\\']")
_CSS_ENDS = {State.CSS_DQ: _CSS_DQ_END, State.CSS_DQ_URL: _CSS_DQ_END, State.CSS_SQ: _CSS_SQ_END,
             State.CSS_SQ_URL: _CSS_SQ_END, State.CSS_URL: re.compile("[\\\\\t\n\f\r )]")}  # fmt: skip


def _css_string(c: Context, s: str) -> Step:
    special = _CSS_ENDS[c.state]
    at = 0
    while found := special.search(s, at):
        i = found.start()
        if s[i] != "\\":
            return c.to(state=State.CSS), i + 1
        i += 1
        if i == len(s):
            return failed(f"unfinished escape sequence in CSS string: {quote(s)}"), len(s)
        c, _ = _url(c, decode_css(s[: i + 1]))
        at = i + 1
    # Go counts the characters of the decoded rest, and reads again what is left of the text.
    rest = decode_css(s[at:])
    c, read = _url(c, rest)
    return c, at + read


def _meta_content(c: Context, s: str) -> Step:
    for i in range(len(s)):
        if i + 3 <= len(s) - 1 and s[i : i + 3].lower() == "url":
            end = skip_space(s, i + 3)
            if end < len(s) and s[end] == "=":
                return c.to(state=State.META_URL), end + 1
    return c, len(s)


def _meta_url(c: Context, s: str) -> Step:
    i = s.find(";")
    return (c, len(s)) if i < 0 else (c.to(state=State.META_CONTENT), i + 1)


TRANSITIONS: dict[State, Callable[[Context, str], Step]] = {
    State.TEXT: _text, State.TAG: _tag, State.ATTR_NAME: _in_attr_name, State.AFTER_NAME: _after_name,
    State.BEFORE_VALUE: _before_value, State.HTML_CMT: _html_comment, State.RCDATA: _special_tag_end,
    State.ATTR: _all, State.URL: _url, State.META_CONTENT: _meta_content, State.META_URL: _meta_url,
    State.SRCSET: _url, State.JS: _js, State.JS_DQ: _js_delimited, State.JS_SQ: _js_delimited,
    State.JS_REGEXP: _js_delimited, State.JS_TEMPLATE: _js_template, State.JS_BLOCK_CMT: _block_comment,
    State.JS_LINE_CMT: _line_comment, State.JS_OPEN_CMT: _line_comment, State.JS_CLOSE_CMT: _line_comment,
    State.CSS: _css, State.CSS_DQ: _css_string, State.CSS_SQ: _css_string, State.CSS_DQ_URL: _css_string,
    State.CSS_SQ_URL: _css_string, State.CSS_URL: _css_string, State.CSS_BLOCK_CMT: _block_comment,
    State.CSS_LINE_CMT: _line_comment, State.ERROR: _all,
}  # fmt: skip

_DELIM_ENDS = {Delim.DOUBLE: re.compile('"'), Delim.SINGLE: re.compile("'"), Delim.SPACE: re.compile("[ \t\n\f\r>]")}
_UNQUOTED_BAD = re.compile("[\"'<=`]")


def after_text(c: Context, s: str) -> Step:
    """The context after a first part of the text `s` read in context `c`, and how long that part is."""
    if c.delim is Delim.NONE:
        ended, i = _special_tag_end(c, s)
        return (ended, 0) if i == 0 else TRANSITIONS[c.state](c, s[:i])
    found = _DELIM_ENDS[c.delim].search(s)
    end = found.start() if found else len(s)
    if c.delim is Delim.SPACE and (bad := _UNQUOTED_BAD.search(s, 0, end)):
        return failed(f"{quote(bad.group())} in unquoted attr: {quote(s[:end])}"), len(s)
    if found is None:
        rest = unescape(s)
        while rest:
            c, read = TRANSITIONS[c.state](c, rest)
            rest = rest[read:]
        return c, len(s)
    element = c.element
    is_type = c.state is State.ATTR and element is Element.SCRIPT and c.attr is Attr.SCRIPT_TYPE
    if is_type and not is_js_type(s[:end]):
        element = Element.NONE
    return Context(State.TAG, element=element), end + (c.delim is not Delim.SPACE)
