"""Template text -> syntax trees: the parser of Go's text/template/parse.

Error texts, and the lines they name, are Go's. A node knows the tree it was written in, for the error messages of a
run, and prints itself as Go prints it. Positions are indices into the text; Go's byte columns are worked out when a
message needs them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field

from tickc.runtime.gotext import quote

from .lex import Item, Lexer, TemplateError, Token
from .strconv import (
    GoSyntaxError,
    clean,
    from_bytes,
    parse_float,
    parse_int,
    parse_uint,
    rune,
    to_bytes,
    unquote,
    unquote_char,
)

MAX_NESTING = 100
"""Nested control actions plus parentheses that are accepted (Go: 10000 parentheses, any number of actions)."""

# ----------------------------------------------------------------------------------------------------------- nodes


@dataclass(slots=True, eq=False)
class Node(ABC):
    """A piece of a template; `str(node)` is its source as Go would write it."""

    pos: int
    tree: Tree | None

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(slots=True, eq=False)
class Text(Node):
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True, eq=False)
class List(Node):
    nodes: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        return "".join(map(str, self.nodes))


@dataclass(slots=True, eq=False)
class Identifier(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True, eq=False)
class Variable(Node):
    """`$x.Field`: the variable's name with its `$`, then the fields."""

    names: list[str]

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(slots=True, eq=False)
class Field(Node):
    names: list[str]

    def __str__(self) -> str:
        return "".join("." + name for name in self.names)


@dataclass(slots=True, eq=False)
class Chain(Node):
    """`(pipeline).Field` or `function.Field`."""

    node: Node
    names: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        inner = f"({self.node})" if isinstance(self.node, Pipe) else str(self.node)
        return inner + "".join("." + name for name in self.names)


@dataclass(slots=True, eq=False)
class Dot(Node):
    def __str__(self) -> str:
        return "."


@dataclass(slots=True, eq=False)
class Nil(Node):
    def __str__(self) -> str:
        return "nil"


@dataclass(slots=True, eq=False)
class Bool(Node):
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(slots=True, eq=False)
class Number(Node):
    """A number in every type it fits; None where it does not."""

    text: str
    as_int: int | None = None
    as_uint: int | None = None
    as_float: float | None = None
    as_complex: complex | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True, eq=False)
class String(Node):
    quoted: str
    text: str

    def __str__(self) -> str:
        return self.quoted


@dataclass(slots=True, eq=False)
class Command(Node):
    args: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


@dataclass(slots=True, eq=False)
class Pipe(Node):
    line: int
    assigns: bool = False
    variables: list[Variable] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def __str__(self) -> str:
        head = ", ".join(map(str, self.variables)) + (" = " if self.assigns else " := ") if self.variables else ""
        return head + " | ".join(map(str, self.commands))


@dataclass(slots=True, eq=False)
class Action(Node):
    line: int
    pipe: Pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


@dataclass(slots=True, eq=False)
class Branch(Node):
    """`if`, `range` or `with`, told apart by class."""

    line: int
    pipe: Pipe
    body: List
    otherwise: List | None

    keyword = ""

    def __str__(self) -> str:
        other = f"{{{{else}}}}{self.otherwise}" if self.otherwise is not None else ""
        return f"{{{{{self.keyword} {self.pipe}}}}}{self.body}{other}{{{{end}}}}"


class If(Branch):
    keyword = "if"


class Range(Branch):
    keyword = "range"


class With(Branch):
    keyword = "with"


@dataclass(slots=True, eq=False)
class Break(Node):
    line: int

    def __str__(self) -> str:
        return "{{break}}"


@dataclass(slots=True, eq=False)
class Continue(Node):
    line: int

    def __str__(self) -> str:
        return "{{continue}}"


@dataclass(slots=True, eq=False)
class Call(Node):
    """`{{template "name" pipeline}}`."""

    line: int
    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        argument = f" {self.pipe}" if self.pipe is not None else ""
        return f"{{{{template {quote(self.name)}{argument}}}}}"


@dataclass(slots=True, eq=False)
class _End(Node):
    def __str__(self) -> str:
        return "{{end}}"


@dataclass(slots=True, eq=False)
class _Else(Node):
    def __str__(self) -> str:
        return "{{else}}"


@dataclass(slots=True, eq=False)
class Tree:
    """One named template: its nodes, and the text and name of the template it was written in."""

    name: str
    parse_name: str
    text: str
    root: List | None = None

    def where(self, node: Node) -> str:
        """Go's place of a node: `name:line:column`, the column in bytes from 0."""
        tree = node.tree or self
        before = tree.text[: node.pos]
        column = len(to_bytes(before[before.rfind("\n") + 1 :]))
        return f"{tree.parse_name}:{before.count(chr(10)) + 1}:{column}"


def is_empty(node: Node | None) -> bool:
    """Whether a tree holds nothing but space."""
    match node:
        case None:
            return True
        case List(nodes=nodes):
            return all(map(is_empty, nodes))
        case Text(text=text):
            return not text.strip("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + _EN_SPACES)
    return False


_EN_SPACES = "".join(map(chr, range(0x2000, 0x200B)))


# ---------------------------------------------------------------------------------------------------------- parser


def parse_trees(name: str, text: str, functions: Collection[str]) -> dict[str, Tree]:
    """All templates that `text` defines, by name, itself under `name`; raises TemplateError.

    `functions` are the names that may be called.
    """
    text = clean(text) if not text.isascii() else text
    text = from_bytes(to_bytes(text)) if not text.isascii() else text
    trees: dict[str, Tree] = {}
    shared = _Shared(Lexer(text), trees, frozenset(functions))
    try:
        _Parser(shared, Tree(name, name, text)).parse_main()
    except RecursionError:
        raise TemplateError(f"template: {name}:{shared.lexer.line}: max expression depth exceeded") from None
    return trees


@dataclass(slots=True)
class _Shared:
    """What the parsers of a text and of the templates defined in it have in common."""

    lexer: Lexer
    trees: dict[str, Tree]
    functions: frozenset[str]
    depth: int = 0


class _Parser:
    """Recursive descent with up to three items of lookahead, for one tree."""

    def __init__(self, shared: _Shared, tree: Tree) -> None:
        self.shared = shared
        self.tree = tree
        self.items = [Item(Token.ERROR, 0, "", 0)] * 3
        self.ahead = 0
        self.variables = ["$"]
        self.action_line = 0
        self.range_depth = 0

    # --- lookahead

    def next(self) -> Item:
        if self.ahead > 0:
            self.ahead -= 1
        else:
            self.items[0] = self.shared.lexer.item()
        return self.items[self.ahead]

    def backup(self) -> None:
        self.ahead += 1

    def peek(self) -> Item:
        if self.ahead == 0:
            self.ahead = 1
            self.items[0] = self.shared.lexer.item()
        return self.items[self.ahead - 1]

    def next_solid(self) -> Item:
        """The next item that is not space."""
        item = self.next()
        while item.type is Token.SPACE:
            item = self.next()
        return item

    def peek_solid(self) -> Item:
        item = self.next_solid()
        self.backup()
        return item

    # --- errors

    def error(self, message: str) -> TemplateError:
        item = self.items[0]
        return TemplateError(f"template: {self.tree.parse_name}:{item.line}: {message}", item.line, item.pos)

    def unexpected(self, item: Item, context: str) -> TemplateError:
        if item.type is not Token.ERROR:
            return self.error(f"unexpected {item} in {context}")
        extra = ""
        if self.action_line not in (0, item.line):
            extra = f" in action started at {self.tree.parse_name}:{self.action_line}"
            if item.text.endswith(" action"):
                extra = extra.removeprefix(" in action")
        return self.error(f"{item}{extra}")

    def expect(self, type: Token, context: str) -> Item:
        item = self.next_solid()
        if item.type is not type:
            raise self.unexpected(item, context)
        return item

    def unquote(self, literal: str) -> str:
        try:
            return unquote(literal)
        except GoSyntaxError as error:
            raise self.error(str(error)) from None

    def enter(self) -> None:
        if self.shared.depth >= MAX_NESTING:
            raise self.error("max expression depth exceeded")
        self.shared.depth += 1

    def leave(self) -> None:
        self.shared.depth -= 1

    # --- templates

    def parse_main(self) -> None:
        root = List(self.peek().pos, self.tree)
        while self.peek().type is not Token.EOF:
            if self.peek().type is Token.LEFT_DELIM:
                delim = self.next()
                if self.next_solid().type is Token.DEFINE:
                    self.nested("definition").parse_definition()
                    continue
                self.items[1] = delim
                self.ahead = 2
            node = self.text_or_action()
            if isinstance(node, _End | _Else):
                raise self.error(f"unexpected {node}")
            root.nodes.append(node)
        self.tree.root = root
        self.add()

    def nested(self, name: str) -> _Parser:
        return _Parser(self.shared, Tree(name, self.tree.parse_name, self.tree.text))

    def add(self) -> None:
        known = self.shared.trees.get(self.tree.name)
        if known is None or is_empty(known.root):
            self.shared.trees[self.tree.name] = self.tree
        elif not is_empty(self.tree.root):
            raise self.error(f"template: multiple definition of template {quote(self.tree.name)}")

    def parse_definition(self) -> None:
        name = self.next_solid()
        if name.type not in (Token.STRING, Token.RAW_STRING):
            raise self.unexpected(name, "define clause")
        self.tree.name = self.unquote(name.text)
        self.expect(Token.RIGHT_DELIM, "define clause")
        self.parse_body("define clause")

    def parse_body(self, context: str) -> None:
        self.tree.root, end = self.item_list()
        if not isinstance(end, _End):
            raise self.error(f"unexpected {end} in {context}")
        self.add()

    def item_list(self) -> tuple[List, Node]:
        """The nodes up to `end` or `else`, and that."""
        found = List(self.peek_solid().pos, self.tree)
        while self.peek_solid().type is not Token.EOF:
            node = self.text_or_action()
            if isinstance(node, _End | _Else):
                return found, node
            found.nodes.append(node)
        raise self.error("unexpected EOF")

    def text_or_action(self) -> Node:
        item = self.next_solid()
        if item.type is Token.TEXT:
            return Text(item.pos, self.tree, item.text)
        if item.type is not Token.LEFT_DELIM:
            raise self.unexpected(item, "input")
        self.action_line = item.line
        node = self.action()
        self.action_line = 0
        return node

    def action(self) -> Node:
        item = self.next_solid()
        match item.type:
            case Token.BLOCK:
                return self.block()
            case Token.BREAK | Token.CONTINUE:
                return self.loop_control(item)
            case Token.ELSE:
                return self.else_control()
            case Token.END:
                return _End(self.expect(Token.RIGHT_DELIM, "end").pos, self.tree)
            case Token.IF:
                return self.control(If)
            case Token.RANGE:
                return self.control(Range)
            case Token.TEMPLATE:
                return self.template()
            case Token.WITH:
                return self.control(With)
        self.backup()
        item = self.peek()
        return Action(item.pos, self.tree, item.line, self.pipeline("command", Token.RIGHT_DELIM))

    def loop_control(self, item: Item) -> Node:
        word = f"{{{{{item.text}}}}}"
        following = self.next_solid()
        if following.type is not Token.RIGHT_DELIM:
            raise self.unexpected(following, word)
        if self.range_depth == 0:
            raise self.error(f"{word} outside {{{{range}}}}")
        return (Break if item.type is Token.BREAK else Continue)(item.pos, self.tree, item.line)

    def else_control(self) -> Node:
        item = self.peek_solid()
        if item.type not in (Token.IF, Token.WITH):
            item = self.expect(Token.RIGHT_DELIM, "else")
        return _Else(item.pos, self.tree)

    def control(self, kind: type[Branch]) -> Branch:
        self.enter()
        declared = len(self.variables)
        pipe = self.pipeline(kind.keyword, Token.RIGHT_DELIM)
        self.range_depth += kind is Range
        body, end = self.item_list()
        self.range_depth -= kind is Range
        otherwise: List | None = None
        if isinstance(end, _Else):
            chained = {If: Token.IF, With: Token.WITH}.get(kind)
            if chained is not None and self.peek().type is chained:
                self.next()
                otherwise = List(end.pos, self.tree, [self.control(kind)])
            else:
                otherwise, end = self.item_list()
                if not isinstance(end, _End):
                    raise self.error(f"expected end; found {end}")
        del self.variables[declared:]
        self.leave()
        return kind(pipe.pos, self.tree, pipe.line, pipe, body, otherwise)

    def block(self) -> Node:
        self.enter()
        item = self.next_solid()
        name = self.template_name(item, "block clause")
        pipe = self.pipeline("block clause", Token.RIGHT_DELIM)
        self.nested(name).parse_body("block clause")
        self.leave()
        return Call(item.pos, self.tree, item.line, name, pipe)

    def template(self) -> Node:
        item = self.next_solid()
        name = self.template_name(item, "template clause")
        pipe = None
        if self.next_solid().type is not Token.RIGHT_DELIM:
            self.backup()
            pipe = self.pipeline("template clause", Token.RIGHT_DELIM)
        return Call(item.pos, self.tree, item.line, name, pipe)

    def template_name(self, item: Item, context: str) -> str:
        if item.type not in (Token.STRING, Token.RAW_STRING):
            raise self.unexpected(item, context)
        return self.unquote(item.text)

    # --- pipelines

    def pipeline(self, context: str, end: Token) -> Pipe:
        item = self.peek_solid()
        pipe = Pipe(item.pos, self.tree, item.line)
        while self.declaration(pipe, context):
            pass
        while (item := self.next_solid()).type is not end:
            if item.type not in _OPERANDS:
                raise self.unexpected(item, context)
            self.backup()
            pipe.commands.append(self.command())
        self.check(pipe, context)
        return pipe

    def declaration(self, pipe: Pipe, context: str) -> bool:
        """Read one `$x :=`, `$x =` or `$x,`; true if another variable must follow."""
        variable = self.peek_solid()
        if variable.type is not Token.VARIABLE:
            return False
        self.next()
        after = self.peek()
        item = self.peek_solid()
        if item.type in (Token.ASSIGN, Token.DECLARE):
            pipe.assigns = item.type is Token.ASSIGN
            self.next_solid()
            self.declare(pipe, variable)
        elif item.type is Token.CHAR and item.text == ",":
            self.next_solid()
            self.declare(pipe, variable)
            if context != "range" or len(pipe.variables) >= 2:
                raise self.error(f"too many declarations in {context}")
            if self.peek_solid().type not in (Token.VARIABLE, Token.RIGHT_DELIM, Token.RIGHT_PAREN):
                raise self.error("range can only initialize variables")
            return True
        elif after.type is Token.SPACE:
            self.items[1], self.items[2] = after, variable
            self.ahead = 3
        else:
            self.items[1] = variable
            self.ahead = 2
        return False

    def declare(self, pipe: Pipe, variable: Item) -> None:
        pipe.variables.append(Variable(variable.pos, self.tree, variable.text.split(".")))
        self.variables.append(variable.text)

    def check(self, pipe: Pipe, context: str) -> None:
        if not pipe.commands:
            raise self.error(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.args[0], Bool | Dot | Nil | Number | String):
                raise self.error(f"non executable command in pipeline stage {stage}")

    def command(self) -> Command:
        command = Command(self.peek_solid().pos, self.tree)
        while True:
            self.peek_solid()
            operand = self.operand()
            if operand is not None:
                command.args.append(operand)
            item = self.next()
            if item.type is Token.SPACE:
                continue
            if item.type in (Token.RIGHT_DELIM, Token.RIGHT_PAREN):
                self.backup()
            elif item.type is not Token.PIPE:
                raise self.unexpected(item, "operand")
            break
        if not command.args:
            raise self.error("empty command")
        return command

    def operand(self) -> Node | None:
        node = self.term()
        if node is None or self.peek().type is not Token.FIELD:
            return node
        pos = self.peek().pos
        names = []
        while self.peek().type is Token.FIELD:
            names.append(self.next().text[1:])
        match node:
            case Field(names=first):
                return Field(pos, self.tree, first + names)
            case Variable(names=first):
                return Variable(pos, self.tree, first + names)
            case Bool() | String() | Number() | Nil() | Dot():
                raise self.error(f"unexpected . after term {quote(str(node))}")
        return Chain(pos, self.tree, node, names)

    def term(self) -> Node | None:
        item = self.next_solid()
        match item.type:
            case Token.IDENTIFIER:
                if item.text not in self.shared.functions:
                    raise self.error(f"function {quote(item.text)} not defined")
                return Identifier(item.pos, self.tree, item.text)
            case Token.DOT:
                return Dot(item.pos, self.tree)
            case Token.NIL:
                return Nil(item.pos, self.tree)
            case Token.VARIABLE:
                return self.use_variable(item)
            case Token.FIELD:
                return Field(item.pos, self.tree, [item.text[1:]])
            case Token.BOOL:
                return Bool(item.pos, self.tree, item.text == "true")
            case Token.CHAR_CONSTANT | Token.COMPLEX | Token.NUMBER:
                return self.number(item)
            case Token.LEFT_PAREN:
                self.enter()
                pipe = self.pipeline("parenthesized pipeline", Token.RIGHT_PAREN)
                self.leave()
                return pipe
            case Token.STRING | Token.RAW_STRING:
                return String(item.pos, self.tree, item.text, self.unquote(item.text))
        self.backup()
        return None

    def use_variable(self, item: Item) -> Variable:
        names = item.text.split(".")
        if names[0] not in self.variables:
            raise self.error(f"undefined variable {quote(names[0])}")
        return Variable(item.pos, self.tree, names)

    def number(self, item: Item) -> Number:
        node = Number(item.pos, self.tree, item.text)
        try:
            if item.type is Token.CHAR_CONSTANT:
                _set_char(node)
            elif item.type is Token.COMPLEX:
                _set_complex(node, _parse_complex(item.text))
            else:
                _set_number(node)
        except GoSyntaxError as error:
            raise self.error(str(error)) from None
        return node


_OPERANDS = frozenset({
    Token.BOOL, Token.CHAR_CONSTANT, Token.COMPLEX, Token.DOT, Token.FIELD, Token.IDENTIFIER, Token.NUMBER, Token.NIL,
    Token.RAW_STRING, Token.STRING, Token.VARIABLE, Token.LEFT_PAREN,
})  # fmt: skip


def _set_char(node: Number) -> None:
    code, is_byte, end = unquote_char(node.text, 1, "'")
    if node.text[end:] != "'":
        raise GoSyntaxError(f"malformed character constant: {node.text}")
    code = code if is_byte else rune(chr(code))
    node.as_int = node.as_uint = code
    node.as_float = float(code)


def _parse_complex(text: str) -> complex:
    cut = next(i for i in range(len(text) - 2, 0, -1) if text[i] in "+-" and text[i - 1] not in "eEpP")
    real, imaginary = parse_float(text[:cut]), parse_float(text[cut:-1])
    if real is None or imaginary is None:
        raise GoSyntaxError("syntax error scanning complex number")
    return complex(real, imaginary)


def _set_complex(node: Number, value: complex) -> None:
    node.as_complex = value
    if value.imag == 0:
        node.as_float = value.real
        _set_whole(node, value.real)


def _set_whole(node: Number, value: float) -> None:
    """Note the integers that a float equals."""
    if value.is_integer():
        if node.as_int is None and -(2.0**63) <= value < 2.0**63:
            node.as_int = int(value)
        if node.as_uint is None and 0 <= value < 2.0**64:
            node.as_uint = int(value)


def _set_number(node: Number) -> None:
    text = node.text
    if text.endswith("i") and (imaginary := parse_float(text[:-1])) is not None:
        _set_complex(node, complex(0.0, imaginary))
        return
    node.as_uint = parse_uint(text)
    node.as_int = parse_int(text)
    if node.as_int is not None:
        if node.as_int == 0:
            node.as_uint = 0
        node.as_float = float(node.as_int)
    elif node.as_uint is not None:
        node.as_float = float(node.as_uint)
    elif (value := parse_float(text)) is not None:
        if not any(c in ".eEpP" for c in text):
            raise GoSyntaxError(f"integer overflow: {quote(text)}")
        node.as_float = value
        _set_whole(node, value)
    else:
        raise GoSyntaxError(f"illegal number syntax: {quote(text)}")
