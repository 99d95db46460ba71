"""Go's fmt for the values of a template: Sprint, Sprintln, Sprintf with every verb, flag and error form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tickc.runtime.gotext import quote

from .gotime import Duration, GoTime, Location
from .strconv import (
    MAX_RUNE,
    RUNE_ERROR,
    UINT64_MASK,
    can_backquote,
    format_float,
    is_print,
    quote_ascii,
    quote_rune,
    to_bytes,
)
from .values import (
    INVALID,
    JS,
    Bytes,
    Iface,
    Int,
    Kind,
    Maps,
    MapValue,
    Missing,
    Month,
    Struct,
    Uint8,
    Weekday,
    indirect,
    kind_of,
    members,
    time_internals,
    type_of,
)

MAX_SIZE = 1_000_000
"""Largest width or precision Go takes from a format."""


_ADDRESS = "0xc000000000"  # of all that has one


def sprint(args: Sequence[Any]) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    printer = _Printer()
    after_string = True
    for arg in args:
        is_string = isinstance(arg, str)
        if not is_string and not after_string:
            printer.write(" ")
        printer.argument(arg, "v")
        after_string = is_string
    return printer.text()


def sprintln(args: Sequence[Any]) -> str:
    """fmt.Sprintln: a space between all operands and a newline."""
    printer = _Printer()
    for index, arg in enumerate(args):
        if index:
            printer.write(" ")
        printer.argument(arg, "v")
    printer.write("\n")
    return printer.text()


def sprintf(format: str, args: Sequence[Any]) -> str:
    """fmt.Sprintf; None is a nil interface."""
    printer = _Printer()
    _Formatter(printer, format, args).run()
    return printer.text()


def text_of(value: Any) -> str:
    """What printing one value alone gives."""
    return value if type(value) is str else plain_text(value)


def plain_text(value: Any) -> str:
    """Go's %v of one value."""
    writer = _TEXTS.get(type(value))
    return sprint((value,)) if writer is None else writer(value)


def action_text(value: Any) -> str:
    """What an action prints; `values.INVALID` and nil are no value."""
    if value is None or value is INVALID:
        return "<no value>"
    return plain_text(indirect(value))


def float_text(value: float) -> str:
    """Go's %v of a float."""
    if 1e-4 <= value < 1e6 or -1e6 < value <= -1e-4:
        text = repr(value)
        return text[:-2] if text.endswith(".0") else text
    return format_float(value, "g", -1)


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


def _map_text(value: MapValue) -> str:
    items = value.items
    return f"map[{' '.join([f'{key}:{_element_text(items[key])}' for key in sorted(items)])}]"


def _element_text(value: Any) -> str:
    if type(value) is str:
        return value
    return "<nil>" if value is None else _ADDRESS if type(value) is Missing else plain_text(value)


_TEXTS: dict[type, Callable[[Any], str]] = {
    float: float_text, int: str, Int: int.__repr__, bool: _bool_text, Duration: str, GoTime: str, JS: str.__str__,
    Month: str, Weekday: str, MapValue: _map_text,
}  # fmt: skip


class _Printer:
    """Go's pp and fmt in one: flags of the current verb, and the text so far."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.write = self.parts.append
        self.erroring = False
        self.clear()

    def clear(self) -> None:
        self.minus = self.plus = self.sharp = self.space = self.zero = False
        self.plus_v = self.sharp_v = False
        self.width: int | None = None
        self.precision: int | None = None

    def text(self) -> str:
        return "".join(self.parts)

    # --- dispatch

    def argument(self, arg: Any, verb: str) -> None:
        """Print an operand that came as interface{}; None is nil."""
        if arg is None:
            if verb in "Tv":
                self.pad("<nil>")
            else:
                self.bad_verb(verb, None)
        elif verb == "T":
            self.string_s(type_of(arg).name)
        elif verb == "p":
            self.pointer(arg, "p")
        elif not self.by_method(arg, verb):
            self.value(arg, verb, 0)

    def by_method(self, arg: Any, verb: str) -> bool:
        """Print through String or GoString if Go would."""
        if self.erroring:
            return False
        if verb == "w":
            self.bad_verb(verb, arg)
            return True
        if self.sharp_v:
            if isinstance(arg, GoTime):
                self.string_s(arg.go_string())
                return True
            return False
        if verb in "vsxXq" and type_of(arg).stringer:
            self.string(str(arg), verb, arg)
            return True
        return False

    def value(self, value: Any, verb: str, depth: int) -> None:
        """Print by kind; `depth` is 0 at the operand itself."""
        if type(value) is Iface:
            if value.value is None:
                self.write("interface {}(nil)" if self.sharp_v else "<nil>")
            else:
                self.value(value.value, verb, depth + 1)
            return
        if depth > 0 and value is not INVALID and self.by_method(value, verb):
            return
        match kind_of(value):
            case Kind.INVALID:
                self.pointer(value, verb)
            case Kind.BOOL:
                if verb in "tv":
                    self.pad("true" if value else "false")
                else:
                    self.bad_verb(verb, value)
            case Kind.INT | Kind.UINT:
                self.integer(int(value), verb, value)
            case Kind.FLOAT:
                self.float_value(value, verb, value)
            case Kind.COMPLEX:
                self.complex_value(value, verb)
            case Kind.STRING:
                self.string(value, verb, value)
            case Kind.MAP:
                self.map_value(value, verb, depth)
            case Kind.STRUCT:
                self.struct_value(value, verb, depth)
            case Kind.SLICE if isinstance(value, Maps):
                self.list_value(value, verb, "[", " ", "]")
            case Kind.SLICE:
                self.bytes_value(value, verb)
            case Kind.POINTER:
                self.pointer(value, verb, depth)

    def bad_verb(self, verb: str, value: Any) -> None:
        """`%!verb(type=value)`."""
        self.erroring = True
        self.write(f"%!{verb}(")
        if value is None or value is INVALID:
            self.write("<nil>")
        else:
            self.write(type_of(value).name + "=")
            self.value(value, "v", 0)
        self.write(")")
        self.erroring = False

    # --- padding

    def pad(self, text: str) -> None:
        if not self.width or len(text) >= self.width:
            self.write(text)
        elif self.minus:
            self.write(text.ljust(self.width))
        else:
            self.write(text.rjust(self.width, "0" if self.zero else " "))

    def pad_plain(self, text: str) -> None:
        """Pad with spaces whatever the zero flag says."""
        zero, self.zero = self.zero, False
        self.pad(text)
        self.zero = zero

    # --- strings

    def string_s(self, text: str) -> None:
        self.pad(text if self.precision is None else text[: self.precision])

    def string(self, text: str, verb: str, value: Any) -> None:
        match verb:
            case "v" if self.sharp_v:
                self.quoted(text)
            case "v" | "s":
                self.string_s(text)
            case "x" | "X":
                self.hex_bytes(to_bytes(text), verb)
            case "q":
                self.quoted(text)
            case _:
                self.bad_verb(verb, value)

    def quoted(self, text: str) -> None:
        text = text if self.precision is None else text[: self.precision]
        if self.sharp and can_backquote(text):
            self.pad(f"`{text}`")
        else:
            self.pad(quote_ascii(text) if self.plus else quote(text))

    def hex_bytes(self, data: bytes, verb: str) -> None:
        if self.precision is not None:
            data = data[: self.precision]
        if not data:
            if self.width:
                self.write(("0" if self.zero and not self.minus else " ") * self.width)
            return
        prefix = "0x" if self.sharp else ""
        text = data.hex(" ").replace(" ", " " + prefix) if self.space else data.hex()
        self.pad((prefix + text).upper() if verb == "X" else prefix + text)

    def bytes_value(self, data: Bytes, verb: str) -> None:
        match verb:
            case "s":
                self.string_s(data.decode("utf-8", "surrogateescape"))
            case "x" | "X":
                self.hex_bytes(data, verb)
            case "q":
                self.quoted(data.decode("utf-8", "surrogateescape"))
            case _ if self.sharp_v:
                self.list_value(data, verb, "[]byte{", ", ", "}")
            case _:
                self.list_value(data, verb, "[", " ", "]")

    def list_value(self, data: Bytes | Maps, verb: str, start: str, between: str, end: str) -> None:
        self.write(start)
        for index, element in enumerate(members(data)):
            if index:
                self.write(between)
            self.value(element, verb, 1)
        self.write(end)

    # --- numbers

    def integer(self, number: int, verb: str, value: Any) -> None:
        match verb:
            case "v" if self.sharp_v and type_of(value).kind is Kind.UINT:
                self.hex_number(number, True)
            case "v" | "d":
                self.digits(number, f"{abs(number):d}", 10, verb)
            case "b":
                self.digits(number, f"{abs(number):b}", 2, verb)
            case "o" | "O":
                self.digits(number, f"{abs(number):o}", 8, verb)
            case "x":
                self.digits(number, f"{abs(number):x}", 16, verb)
            case "X":
                self.digits(number, f"{abs(number):X}", 16, verb)
            case "c":
                self.pad(_as_char(number))
            case "q":
                self.pad(quote_rune(ord(_as_char(number)), self.plus))
            case "U":
                self.unicode(number & UINT64_MASK)
            case _:
                self.bad_verb(verb, value)

    def hex_number(self, number: int, prefixed: bool) -> None:
        sharp, self.sharp = self.sharp, prefixed
        self.digits(number, f"{number:x}", 16, "v")
        self.sharp = sharp

    def digits(self, number: int, digits: str, base: int, verb: str) -> None:
        """Sign, prefix, zeros and padding around the digits of |number|."""
        least = 0
        if self.precision is not None:
            least = self.precision
            if least == 0 and number == 0:
                if self.width:
                    self.write(" " * self.width)
                return
        elif self.zero and not self.minus and self.width:
            least = self.width - (number < 0 or self.plus or self.space)
        digits = digits.rjust(least, "0")
        if self.sharp and base == 8:
            digits = digits if digits[0] == "0" else "0" + digits
        elif self.sharp and base != 10:
            digits = ("0b" if base == 2 else "0X" if verb == "X" else "0x") + digits
        if verb == "O":
            digits = "0o" + digits
        sign = "-" if number < 0 else "+" if self.plus else " " if self.space else ""
        self.pad_plain(sign + digits)

    def unicode(self, number: int) -> None:
        text = f"U+{number:0{max(4, self.precision or 0)}X}"
        if self.sharp and number <= MAX_RUNE and is_print(chr(number)):
            text += f" '{chr(number)}'"
        self.pad_plain(text)

    def float_value(self, number: float, verb: str, value: Any) -> None:
        match verb:
            case "v":
                self.float_digits(number, "g", -1)
            case "b" | "g" | "G" | "x" | "X":
                self.float_digits(number, verb, -1)
            case "f" | "e" | "E":
                self.float_digits(number, verb, 6)
            case "F":
                self.float_digits(number, "f", 6)
            case _:
                self.bad_verb(verb, value)

    def float_digits(self, number: float, verb: str, precision: int) -> None:
        precision = precision if self.precision is None else self.precision
        text = format_float(number, verb, precision)
        text = text if text[0] in "+-" else "+" + text
        if self.space and text[0] == "+" and not self.plus:
            text = " " + text[1:]
        if text[1] in "IN":
            self.pad_plain(text[1:] if text[1] == "N" and not self.space and not self.plus else text)
            return
        if self.sharp and verb != "b":
            text = _with_point(text, verb, precision)
        if not (self.plus or text[0] != "+"):
            self.pad(text[1:])
        elif self.zero and not self.minus and self.width and self.width > len(text):
            self.write(text[0] + text[1:].rjust(self.width - 1, "0"))
        else:
            self.pad(text)

    def complex_value(self, number: complex, verb: str) -> None:
        if verb not in "vbgGxXfFeE":
            self.bad_verb(verb, number)
            return
        plus = self.plus
        self.write("(")
        self.float_value(number.real, verb, number)
        self.plus = True
        self.float_value(number.imag, verb, number)
        self.write("i)")
        self.plus = plus

    # --- composites

    def map_value(self, value: MapValue, verb: str, depth: int) -> None:
        self.write(value.type.name + "{" if self.sharp_v else "map[")
        is_any = value.type.element is not None and value.type.element.kind is Kind.INTERFACE
        for index, key in enumerate(sorted(value.items)):
            if index:
                self.write(", " if self.sharp_v else " ")
            self.value(key, verb, depth + 1)
            self.write(":")
            self.value(Iface(value.items[key]) if is_any else value.items[key], verb, depth + 1)
        self.write("}" if self.sharp_v else "]")

    def struct_value(self, value: Any, verb: str, depth: int) -> None:
        self.write(type_of(value).name + "{" if self.sharp_v else "{")
        for index, (name, field) in enumerate(_fields(value)):
            if index:
                self.write(", " if self.sharp_v else " ")
            if self.plus_v or self.sharp_v:
                self.write(name + ":")
            if isinstance(value, GoTime):
                self.internal(field, verb)
            else:
                self.value(field, verb, depth + 1)
        self.write("}")

    def internal(self, field: Any, verb: str) -> None:
        """An unexported field: its methods are out of reach."""
        if isinstance(field, Location):
            self.pointer(field, verb, 1)
        else:
            self.value(field, verb, 1)

    def pointer(self, value: Any, verb: str, depth: int = 1) -> None:
        """A pointer; the only address known is nil, others print as the struct behind them or as `_ADDRESS`."""
        if value is not INVALID and kind_of(value) not in (Kind.POINTER, Kind.MAP, Kind.SLICE):
            self.bad_verb(verb, value)
            return
        if isinstance(value, Missing | Location) and depth == 0:
            self.write("&{}" if not self.sharp_v else f"&{type_of(value).name[1:]}{{}}")
            return
        address = 0 if value is INVALID else int(_ADDRESS, 16)
        match verb:
            case "v" if self.sharp_v:
                self.write("(*time.Location)(nil)" if not address else f"({type_of(value).name})({_ADDRESS})")
            case "v" if not address:
                self.pad("<nil>")
            case "v" | "p":
                self.hex_number(address, not self.sharp)
            case "b" | "o" | "d" | "x" | "X":
                self.integer(address, verb, Uint8(0))
            case _ if not address:
                self.write(f"%!{verb}(*time.Location=")
                self.pad("<nil>")
                self.write(")")
            case _:
                self.bad_verb(verb, value)


def _as_char(number: int) -> str:
    number = number if 0 <= number <= MAX_RUNE and not 0xD800 <= number < 0xE000 else RUNE_ERROR
    return chr(number)


def _with_point(text: str, verb: str, precision: int) -> str:
    """The # flag on a float: a decimal point always, and the zeros that %g dropped."""
    digits = (6 if precision == -1 else precision) if verb in "gGx" else 0
    marks = "pP" if verb in "xX" else "eEpP"
    cut = next((i for i, c in enumerate(text) if c in marks), len(text))
    number, tail = text[:cut], text[cut:]
    seen = False
    for char in number[1:]:
        if char != ".":
            seen = seen or char != "0"
            digits -= seen
    if "." not in number:
        digits -= number[1:] == "0"
        number += "."
    return number + "0" * max(0, digits) + tail


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, GoTime):
        yield from zip(("wall", "ext", "loc"), time_internals(value))
    else:
        assert isinstance(value, Struct)
        for name, _ in value.type.fields:
            yield name, value.field(name)


class _Formatter:
    """One run over a format: Go's doPrintf."""

    def __init__(self, printer: _Printer, format: str, args: Sequence[Any]) -> None:
        self.printer = printer
        self.format = format
        self.args = args
        self.at = 0
        self.arg = 0
        self.reordered = False
        self.good = True

    def run(self) -> None:
        format, printer = self.format, self.printer
        while self.at < len(format):
            percent = format.find("%", self.at)
            if percent < 0:
                printer.write(format[self.at :])
                break
            if percent > self.at:
                printer.write(format[self.at : percent])
            self.at = percent + 1
            self.good = True
            if not self.directive():
                printer.write("%!(NOVERB)")
                break
        if not self.reordered and self.arg < len(self.args):
            self.extra()

    def directive(self) -> bool:
        """Print one directive; false if the format ends before its verb."""
        format, printer = self.format, self.printer
        printer.clear()
        if self.flags():
            return True
        indexed = self.index()
        indexed = self.size(indexed)
        if not indexed:
            self.index()
        if self.at >= len(format):
            return False
        verb = format[self.at]
        self.at += 1
        if verb == "%":
            printer.write("%")
        elif not self.good:
            printer.write(f"%!{_shown(verb)}(BADINDEX)")
        elif self.arg >= len(self.args):
            printer.write(f"%!{_shown(verb)}(MISSING)")
        else:
            self.operand(verb)
        return True

    def operand(self, verb: str) -> None:
        printer = self.printer
        if verb in "vw":
            printer.sharp_v, printer.sharp = printer.sharp, False
            printer.plus_v, printer.plus = printer.plus, False
        printer.argument(self.args[self.arg], _shown(verb))
        self.arg += 1

    def flags(self) -> bool:
        """Read the flags; true if a plain verb followed them and was printed."""
        format, printer = self.format, self.printer
        while self.at < len(format):
            match char := format[self.at]:
                case "#":
                    printer.sharp = True
                case "0":
                    printer.zero = True
                case "+":
                    printer.plus = True
                case "-":
                    printer.minus = True
                case " ":
                    printer.space = True
                case _:
                    if "a" <= char <= "z" and self.arg < len(self.args):
                        self.at += 1
                        self.operand(char)
                        return True
                    return False
            self.at += 1
        return False

    def size(self, indexed: bool) -> bool:
        """Read width and precision; gives whether an argument index stands last."""
        format, printer = self.format, self.printer
        if format[self.at : self.at + 1] == "*":
            self.at += 1
            printer.width = self.star()
            if printer.width is None:
                printer.write("%!(BADWIDTH)")
            elif printer.width < 0:
                printer.width = -printer.width
                printer.minus, printer.zero = True, False
            indexed = False
        else:
            printer.width = self.number(len(format))
            self.good = self.good and not (indexed and printer.width is not None)
        if self.at + 1 < len(format) and format[self.at] == ".":
            self.at += 1
            self.good = self.good and not indexed
            indexed = self.precision(self.index())
        return indexed

    def precision(self, indexed: bool) -> bool:
        format, printer = self.format, self.printer
        if format[self.at : self.at + 1] != "*":
            printer.precision = self.number(len(format)) or 0
            return indexed
        self.at += 1
        printer.precision = self.star()
        if printer.precision is not None and printer.precision < 0:
            printer.precision = None
        if printer.precision is None:
            printer.write("%!(BADPREC)")
        return False

    def star(self) -> int | None:
        """The operand of a `*`, if it is an integer that is not too large."""
        if self.arg >= len(self.args):
            return None
        value = self.args[self.arg]
        self.arg += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_SIZE:
            return None
        return int(value)

    def number(self, end: int) -> int | None:
        """Decimal digits at `at`; one that is too large swallows the format, as in Go."""
        start, value = self.at, 0
        while self.at < end and "0" <= self.format[self.at] <= "9":
            if value > MAX_SIZE:
                self.at = end
                return None
            value = value * 10 + int(self.format[self.at])
            self.at += 1
        return value if self.at > start else None

    def index(self) -> bool:
        """Read `[n]`; gives whether one was there."""
        format = self.format
        if format[self.at : self.at + 1] != "[":
            return False
        self.reordered = True
        start = self.at
        close = format.find("]", start + 1)
        if len(format) - start < 3 or close < 0:
            self.at = start + 1
            self.good = False
            return False
        self.at = start + 1
        number = self.number(close)
        whole = number is not None and self.at == close
        self.at = close + 1
        if whole and number is not None and 1 <= number <= len(self.args):
            self.arg = number - 1
            return True
        self.good = False
        return whole

    def extra(self) -> None:
        printer = self.printer
        printer.clear()
        printer.write("%!(EXTRA ")
        for index, arg in enumerate(self.args[self.arg :]):
            if index:
                printer.write(", ")
            if arg is None:
                printer.write("<nil>")
            else:
                printer.write(type_of(arg).name + "=")
                printer.argument(arg, "v")
        printer.write(")")


def _shown(verb: str) -> str:
    """A verb as Go decodes it from bytes."""
    return "\ufffd" if "\udc80" <= verb <= "\udcff" else verb
