"""Contextual escaping: follow the HTML through the trees and end every pipeline with the escapers its place needs."""

from __future__ import annotations

import re
from copy import copy
from typing import Any

from tickc.runtime.gotext import quote

from .context import (
    ATTR_STATES,
    COMMENTS,
    SCRIPT_LITERALS,
    Attr,
    Context,
    Delim,
    EscapeError,
    JsCtx,
    State,
    UrlPart,
    after_text,
    failed,
)
from .lex import TemplateError
from .parse import (
    Action,
    Branch,
    Break,
    Call,
    Command,
    Continue,
    Identifier,
    List,
    Node,
    Pipe,
    Range,
    Text,
    Tree,
)

MAX_STEPS = 50_000
"""Nodes the analysis may visit; it reads the body of a loop twice, so nested loops multiply."""


class _LoopEnds:
    """The contexts at the breaks and continues of a loop."""

    def __init__(self, outer: _LoopEnds | None) -> None:
        self.outer = outer
        self.breaks: list[Context] = []
        self.continues: list[Context] = []


class _Budget:
    def __init__(self) -> None:
        self.steps = MAX_STEPS


def escape_trees(trees: dict[str, Tree], name: str) -> None:
    """Edit the trees so that template `name` is safe HTML; raises TemplateError, and edits nothing, where it cannot be.

    Templates that are called in another context than plain text get an edited copy of their own in `trees`.
    """
    escaper = _Escaper(trees, _Budget())
    try:
        end, _ = escaper.tree(Context(), trees[name].root, name, 0)
    except RecursionError:
        raise TemplateError(f"html/template:{name}: templates are nested too deeply") from None
    error = end.error
    if error is not None:
        error.name = name
    elif end.state is not State.TEXT:
        error = EscapeError(f"ends in a non-text context: {end}", name=name)
    if error is not None:
        raise error.raised()
    escaper.commit()


class _Escaper:
    """One pass over the trees; edits are collected and made at the end, or thrown away."""

    def __init__(self, trees: dict[str, Tree], budget: _Budget) -> None:
        self.trees = trees
        self.budget = budget
        self.output: dict[str, Context] = {}
        self.derived: dict[str, Tree] = {}
        self.called: set[str] = set()
        self.actions: dict[Action, list[str]] = {}
        self.calls: dict[Call, str] = {}
        self.texts: dict[Text, str] = {}
        self.loop: _LoopEnds | None = None

    # --- walking

    def node(self, c: Context, node: Node) -> Context:
        self.budget.steps -= 1
        if self.budget.steps < 0:
            raise TemplateError("html/template: exceeded maximum number of steps of the analysis")
        match node:
            case Action():
                return self.action(c, node)
            case Break() | Continue():
                assert self.loop is not None
                (self.loop.breaks if isinstance(node, Break) else self.loop.continues).append(c.to(node=node))
                return Context(State.DEAD)
            case Branch():
                return self.branch(c, node)
            case Call():
                end, name = self.tree(c, node, node.name, node.line)
                if name != node.name:
                    self.calls[node] = name
                return end
            case Text():
                return self.text(c, node)
        return c

    def walk(self, c: Context, nodes: List | None) -> Context:
        for node in nodes.nodes if nodes is not None else ():
            c = self.node(c, node)
            if c.state is State.DEAD:
                break
        return c

    def attempt(self, c: Context, nodes: List) -> tuple[Context, _Escaper]:
        """The context after the nodes, and a copy of this with the edits they need."""
        trial = _Escaper(self.trees, self.budget)
        trial.loop = self.loop
        trial.output = dict(self.output)
        trial.derived = dict(self.derived)
        return trial.walk(c, nodes), trial

    def accept(self, trial: _Escaper) -> None:
        self.output.update(trial.output)
        self.derived.update(trial.derived)
        self.actions.update(trial.actions)
        self.calls.update(trial.calls)
        self.texts.update(trial.texts)
        self.called |= trial.called

    def branch(self, c: Context, node: Branch) -> Context:
        if isinstance(node, Range):
            first = self.loop_body(c, node)
            if first.state is State.ERROR:
                return first
        else:
            first = self.walk(c.clone(), node.body)
        return _join(first, self.walk(c.clone(), node.otherwise), node, node.keyword)

    def loop_body(self, c: Context, node: Range) -> Context:
        """The context after a loop: the body must end as it begins."""
        outer = self.loop
        self.loop = _LoopEnds(outer)
        first = self.walk(c.clone(), node.body)
        if first.state is not State.ERROR:
            first = _join_ends(first, self.loop)
        self.loop = outer
        if first.state is State.ERROR:
            return first
        self.loop = _LoopEnds(outer)
        again, _ = self.attempt(first, node.body)
        first = _join(first, again, node, "range")
        if first.error is not None:
            first.error.line = node.line
            first.error.text = "on range loop re-entry: " + first.error.text
        else:
            first = _join_ends(first, self.loop)
        self.loop = outer
        return first

    # --- templates

    def tree(self, c: Context, node: Node | None, name: str, line: int) -> tuple[Context, str]:
        """The context after template `name`, and the name of the version of it that this context calls."""
        version = c.mangle(name)
        self.called.add(version)
        if version in self.output:
            return self.output[version], version
        tree = self.trees.get(name) or self.derived.get(name)
        if tree is None:
            return failed(f"no such template {quote(name)}", node, line), version
        if version != name:
            known = self.trees.get(version) or self.derived.get(version)
            if known is None:
                known = Tree(version, "", "", _copied(tree.root))
                self.derived[version] = known
            tree = known
        return self.out_context(c, tree), version

    def out_context(self, c: Context, tree: Tree) -> Context:
        end, good = self.template_body(c, tree)
        if not good:
            second, good = self.template_body(end, tree)
            if good:
                end = second
        if not good and end.state is not State.ERROR:
            return failed(f"cannot compute output context for template {tree.name}", tree.root)
        return end

    def template_body(self, c: Context, tree: Tree) -> tuple[Context, bool]:
        self.output[tree.name] = c
        assert tree.root is not None
        end, trial = self.attempt(c, tree.root)
        if end.state is State.ERROR or (tree.name in trial.called and not c.same(end)):
            return end, False
        self.accept(trial)
        return end, True

    # --- actions

    def action(self, c: Context, node: Action) -> Context:
        if node.pipe.variables:
            return c
        c = _nudge(c)
        last = len(node.pipe.commands) - 1
        for stage, command in enumerate(node.pipe.commands):
            name = _identifier(command)
            unquoted = c.state is State.ATTR and c.delim is Delim.SPACE and name == "html"
            if name in _PREDEFINED and (stage < last or unquoted):
                return failed(f"predefined escaper {quote(name)} disallowed in template", node, node.line)
        if c.state is State.ERROR:
            return c
        if c.state in _URL_STATES and c.url_part is UrlPart.UNKNOWN:
            return failed(f"{node} appears in an ambiguous context within a URL", node, node.line)
        escapers = _escapers(c)
        if c.delim is Delim.SPACE:
            escapers.append("_html_template_nospaceescaper")
        elif c.delim is not Delim.NONE:
            escapers.append("_html_template_attrescaper")
        self.actions[node] = escapers
        if c.state is State.JS:
            return c.to(js=JsCtx.DIVISION)
        return c.to(state=State.ATTR_NAME) if c.state is State.TAG else c

    # --- text

    def text(self, c: Context, node: Text) -> Context:
        """Follow the text; comments go, stray `<` become entities, `</script` in strings is broken up."""
        s, out, written, at = node.text, [], 0, 0
        while at < len(s):
            after, read = after_text(c, s[at:])
            end = at + read
            if c.state in (State.TEXT, State.RCDATA):
                stop = end
                if after.state is not c.state:
                    tag = s.rfind("<", at, end)
                    stop = tag if tag >= 0 else end
                for i in _angles(s, at, stop):
                    out.append(s[written:i] + "&lt;")
                    written = i + 1
            elif c.state in COMMENTS and c.delim is Delim.NONE:
                if c.state is State.JS_BLOCK_CMT:
                    out.append("\n" if re.search("[\n\r\u2028\u2029]", s[written:end]) else " ")
                elif c.state is State.CSS_BLOCK_CMT:
                    out.append(" ")
                written = end
            if c.state is not after.state and after.state in COMMENTS and after.delim is Delim.NONE:
                out.append(s[written : end - _OPENERS.get(after.state, 2)])
                written = end
            if c.state in SCRIPT_LITERALS and _SPECIAL_TAG.search(s, at, end):
                out.append(s[written:at] + _SPECIAL_TAG.sub(r"\\x3C\1", s[at:end]))
                written = end
            if at == end and c.state is after.state:
                raise TemplateError(f"html/template: infinite loop in context {c} on {quote(s[at:])}")
            c, at = after, end
        if written and c.state is not State.ERROR:
            if c.state not in COMMENTS or c.delim is not Delim.NONE:
                out.append(s[written:])
            self.texts[node] = "".join(out)
        return c

    def commit(self) -> None:
        self.trees.update(self.derived)
        for action, names in self.actions.items():
            _extend(action.pipe, names)
        for call, name in self.calls.items():
            call.name = name
        for text, edited in self.texts.items():
            text.text = edited


_OPENERS = {State.HTML_CMT: 4, State.JS_OPEN_CMT: 4, State.JS_CLOSE_CMT: 3}
_SPECIAL_TAG = re.compile("<(script|/script|!--)", re.IGNORECASE | re.ASCII)


def _angles(s: str, start: int, stop: int) -> list[int]:
    """Where `<` stands for itself."""
    return [i for i in range(start, stop) if s[i] == "<" and s[i : i + 9].upper() != "<!DOCTYPE"]


def _copied(value: Any) -> Any:
    """A deep copy of nodes; their trees stay the same."""
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if not isinstance(value, Node):
        return value
    twin = copy(value)
    for name in ("nodes", "pipe", "body", "otherwise", "commands", "args"):
        if hasattr(twin, name):
            setattr(twin, name, _copied(getattr(twin, name)))
    return twin


# ---------------------------------------------------------------------------------------------------------- joining


def _nudge(c: Context) -> Context:
    """The context once a value follows without any text."""
    match c.state:
        case State.TAG:
            return c.to(state=State.ATTR_NAME)
        case State.BEFORE_VALUE:
            return c.to(state=ATTR_STATES[c.attr], delim=Delim.SPACE, attr=Attr.NONE)
        case State.AFTER_NAME:
            return c.to(state=State.ATTR_NAME, attr=Attr.NONE)
    return c


def _join(a: Context, b: Context, node: Node, name: str) -> Context:
    """The one context after two branches."""
    if a.state is State.ERROR or b.state is State.DEAD:
        return a
    if b.state is State.ERROR or a.state is State.DEAD:
        return b
    if a.same(b):
        return a
    if a.to(url_part=b.url_part).same(b):
        return a.to(url_part=UrlPart.UNKNOWN)
    if a.to(js=b.js).same(b):
        return a.to(js=JsCtx.UNKNOWN)
    c, d = _nudge(a), _nudge(b)
    if not (c.same(a) and d.same(b)):
        joined = _join(c, d, node, name)
        if joined.state is not State.ERROR:
            return joined
    return failed(f"{{{{{name}}}}} branches end in different contexts: {a}, {b}", node)


def _join_ends(c: Context, loop: _LoopEnds) -> Context:
    for word, ends in (("break", loop.breaks), ("continue", loop.continues)):
        for end in ends:
            assert isinstance(end.node, Break | Continue)
            c = _join(c, end, end.node, "range")
            if c.error is not None:
                c.error.line = end.node.line
                c.error.text = f"at range loop {word}: " + c.error.text
                return c
    return c


# -------------------------------------------------------------------------------------------------------- pipelines

_PREDEFINED = ("html", "urlquery")
_URL_STATES = frozenset({State.URL, State.CSS_DQ, State.CSS_SQ, State.CSS_DQ_URL, State.CSS_SQ_URL, State.CSS_URL})
_BY_STATE = {
    State.META_URL: "urlfilter", State.JS: "jsvalescaper", State.JS_DQ: "jsstrescaper", State.JS_SQ: "jsstrescaper",
    State.JS_TEMPLATE: "jstmpllitescaper", State.JS_REGEXP: "jsregexpescaper", State.CSS: "cssvaluefilter",
    State.TEXT: "htmlescaper", State.RCDATA: "rcdataescaper", State.ATTR_NAME: "htmlnamefilter",
    State.TAG: "htmlnamefilter", State.SRCSET: "srcsetescaper",
}  # fmt: skip


def _escapers(c: Context) -> list[str]:
    """The escapers a context needs, short of the attribute's own."""
    if c.state in _URL_STATES:
        if c.url_part is UrlPart.QUERY:
            return ["_html_template_urlescaper"]
        filters = ["_html_template_urlfilter"] if c.url_part is UrlPart.NONE else []
        in_string = c.state in (State.CSS_DQ, State.CSS_SQ)
        return [*filters, "_html_template_cssescaper" if in_string else "_html_template_urlnormalizer"]
    if c.state in COMMENTS:
        return ["_html_template_commentescaper"]
    return [f"_html_template_{_BY_STATE[c.state]}"] if c.state in _BY_STATE else []


_EQUIVALENT = {
    "_html_template_attrescaper": "html", "_html_template_htmlescaper": "html", "_html_template_rcdataescaper": "html",
    "_html_template_urlescaper": "urlquery", "_html_template_urlnormalizer": "urlquery",
}  # fmt: skip
_REDUNDANT = {
    ("_html_template_commentescaper", "_html_template_attrescaper"),
    ("_html_template_commentescaper", "_html_template_htmlescaper"),
    ("_html_template_cssescaper", "_html_template_attrescaper"),
    ("_html_template_jsregexpescaper", "_html_template_attrescaper"),
    ("_html_template_jsstrescaper", "_html_template_attrescaper"),
    ("_html_template_jstmpllitescaper", "_html_template_attrescaper"),
    ("_html_template_urlescaper", "_html_template_urlnormalizer"),
}


def _identifier(command: Command) -> str:
    first = command.args[0]
    return first.name if isinstance(first, Identifier) else ""


def _plain(name: str) -> str:
    return _EQUIVALENT.get(name, name)


def _extend(pipe: Pipe, names: list[str]) -> None:
    """Make the pipeline end with the escapers; one that the author wrote is not doubled."""
    if not names:
        return
    commands = pipe.commands
    names = list(names)
    last = _identifier(commands[-1])
    keep = len(commands)
    if last in _PREDEFINED:
        if len(commands) == 1 and len(commands[0].args) > 1:
            first = commands[0].args[0]
            commands[0].args[0] = Identifier(first.pos, None, "_eval_args_")
            commands = _appended(commands, last, pipe.pos)
            keep += 1
        same = [i for i, name in enumerate(names) if _plain(name) == _plain(last)]
        for i in same:
            names[i] = last
        keep -= bool(same)
    kept = commands[:keep]
    present = {_plain(_identifier(command)) for command in kept} - {""}
    for name in names:
        if _plain(name) not in present:
            kept = _appended(kept, name, pipe.pos)
    pipe.commands = kept


def _appended(commands: list[Command], name: str, pos: int) -> list[Command]:
    if commands and (_identifier(commands[-1]), name) in _REDUNDANT:
        return commands
    return [*commands, Command(pos, None, [Identifier(pos, None, name)])]
