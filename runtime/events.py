"""Alert events: what is known of them as columns, their texts when somebody reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tickc.runtime.batch import FEW, Array, Column, Groups, Points, Rows, Segments, Text, Vocabulary
from tickc.runtime.gotemplate import Duration, Missing, Template, TemplateError, parse
from tickc.runtime.gotemplate.escapers import html_of
from tickc.runtime.gotemplate.gojson import json_string
from tickc.runtime.gotext import times_rfc3339nano
from tickc.runtime.kinds import Kind
from tickc.runtime.rowtext import (
    Writers,
    coded,
    each,
    encodable,
    in_json,
    joined,
    json_fields,
    json_object,
    json_tags,
    values,
)

OK, INFO, WARNING, CRITICAL = range(4)
LEVELS = ("OK", "INFO", "WARNING", "CRITICAL")
DEFAULT_ID = "{{ .Name }}:{{ .Group }}"
DEFAULT_MESSAGE = "{{ .ID }} is {{ .Level }}"
DEFAULT_DETAILS = "{{ json . }}"
SERVER = {"Hostname": "localhost", "ClusterID": "", "ServerID": ""}


def _harmless(names: str, maps: str) -> re.Pattern[str]:
    """Actions that cannot fail, whatever the record: nothing but names and members of maps."""
    return re.compile(rf'\{{\{{-? *(\.({names})|index +\.({maps}) +"[^"\\{{}}]*") *-?\}}\}}')


_HARMLESS = {
    "id": _harmless("Name|Group|TaskName", "Tags"),
    "message": _harmless("Name|Group|TaskName|ID|Level|Time|Duration", "Tags|Fields"),
}

_parsed = lru_cache(256)(parse)  # many alerts have the same templates, rendering does not change them


@lru_cache(256)
def can_fail(template: str, shape: str) -> bool:
    """Whether rendering a template of the shape (`id`, `message`) may end in an error."""
    return "{{" in _HARMLESS[shape].sub("", template)


def group_text(group_id: str) -> str:
    """`.Group`: the id, `nil` for the group without dimensions."""
    return group_id or "nil"


class IdError(Exception):
    """The id template fails on a row (the first one that is like it)."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(text)
        self.row = row


class Ids:
    """Codes of event ids; an id is rendered once for each combination of what its template reads."""

    def __init__(self, template: str, task: str) -> None:
        self.template = _parsed(template, "id", data_shape="id")
        self.task = task
        self.vocabulary = Vocabulary()
        self.name: str | None = None  # of all points so far, whose ids are then as different as their groups
        self.parted = template == DEFAULT_ID
        self.can_fail = can_fail(template, "id")
        columns = self.template.columns
        whole = columns is None or "Tags" in columns
        self.reads = None if whole else {c[5:] for c in columns or () if c.startswith("Tags.")}
        self._derive()

    def _derive(self) -> None:
        from tickc.runtime.nodes.group import Codes, Combinations, Lookup

        self._names = Codes()
        self._tags: dict[str, Codes] = {}
        self._combinations = Combinations()
        self._lookup = Lookup()

    def snapshot(self) -> Any:
        """The ids; the tables that lead to them are derived anew."""
        return [self.vocabulary, self.name, self.parted]

    def restore(self, saved: Any) -> None:
        self.vocabulary, self.name, self.parted = saved
        self._derive()

    def by_group(self, name: Text) -> bool:
        """Whether all points so far, with those of `name`, have an id for each group, and no two groups share one."""
        if self.parted:
            names = {self.name, *name.vocabulary.texts(name.used())} - {None}
            self.parted = len(names) < 2
            self.name = next(iter(names), None)
        return self.parted

    def apart(self) -> bool:
        """Whether each id is that of one combination of what the template reads, with a group among it."""
        names = self.template.columns
        return names is not None and "TaskName" not in names and len(self._combinations) == len(self.vocabulary)

    def encode(self, name: Text, group: Array, groups: Groups, tags: Mapping[str, Text] | None) -> Array:
        """i4[n] codes in `vocabulary`; group: i4[n]; tags: those of the points, None for batches (their group's)."""
        columns = [group, self._names.of(name)]
        absent = np.full(len(group), -1, np.int32)
        for tag in self._used(tags):
            columns.append(self._tags[tag].of(tags[tag]) if tags is not None and tag in tags else absent)

        def make(row: int) -> int:
            home = groups[int(group[row])]
            if tags is None:
                own: Mapping[str, str] = home.tags
            else:
                own = {k: v for k, text in tags.items() if (v := text.at(row)) is not None}
            record = {"Name": name.at(row) or "", "Group": group_text(home.id), "Tags": own}
            try:
                text = self.template.render({**record, "TaskName": self.task, "ServerInfo": SERVER})
            except TemplateError as error:
                raise IdError(row, str(error)) from error
            return self.vocabulary.code(text)

        combinations = self._combinations.encode(columns)
        if self.can_fail or not {*(self.template.columns or ("",))} <= {"Name", "Group", "TaskName"}:
            return self._lookup.groups(combinations, make)

        def make_all(rows: Array) -> Array:
            """`make` for the rows i8[m], where only names and groups are read."""
            known = {
                "Name": [text or "" for text in name.take(rows).tolist()],
                "Group": [group_text(id) for id in groups.ids(group[rows])],
                "TaskName": [self.task] * len(rows),
            }
            return self.vocabulary.encode(self.template.render_columns(known, len(rows)))

        return self._lookup.in_bulk(combinations, make_all)

    def _used(self, tags: Mapping[str, Text] | None) -> Sequence[str]:
        """The tags that tell ids apart. A tag that is new to a template that may read all of them makes new tables."""
        if tags is None:
            return ()
        fresh = [t for t in tags if t not in self._tags and (self.reads is None or t in self.reads)]
        if fresh:
            from tickc.runtime.nodes.group import Codes

            known = self._tags
            self._derive()
            self._tags = {**known, **{t: Codes() for t in fresh}}
        return list(self._tags)


class Texts:
    """How an alert words its events."""

    def __init__(self, task: str, message: str, details: str | None) -> None:
        """details: None is the default, the event as JSON."""
        self.task = task
        self.tasks: Sequence[str] = ()  # by group, where groups are of several tasks
        self.message = _parsed(message, "message", data_shape="message")
        self.details = _parsed(DEFAULT_DETAILS if details is None else details, "details", True, "details")
        self.plain_details = details if details is not None and "{{" not in details else None
        self.default_details = details is None
        self.message_can_fail = can_fail(message, "message")
        self.details_can_fail = details is not None and self.plain_details is None

    def task_names(self, groups: Sequence[int]) -> list[str]:
        """The name of the task of each event, which are of these groups."""
        return [self.tasks[g] for g in groups] if self.tasks else [self.task] * len(groups)


_NIL: object = object()  # a field that is there without a value
_TEMPLATE_VALUES: Writers = {
    Kind.FLOAT: lambda data: data.tolist(),
    Kind.INT: lambda data: data.tolist(),
    Kind.DURATION: lambda data: [Duration(v) for v in data.tolist()],
    Kind.BOOL: lambda data: data.tolist(),
    Kind.STRING: lambda data: data.tolist(),
    Kind.NIL: lambda n: [_NIL] * n,
    Kind.HOLE: lambda n: [Missing()] * n,
}


@dataclass(frozen=True)
class Events:
    """m events of one alert, in the order in which they were triggered.

    data: the points that triggered them, or the batches; point: m rows, whose fields are the events' (of a batch: its
    worst point); time: i8[m] ns; level, previous: i1[m], previous being the level before of the same id; duration:
    i8[m] ns; id: the events' ids.
    """

    data: Points | Segments
    point: Rows
    time: Array
    level: Array
    previous: Array
    duration: Array
    id: Text
    recoverable: bool
    texts: Texts

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def messages(self) -> list[str]:
        """The events' messages; raises TemplateError where the template fails."""
        names = self.texts.message.columns
        if len(self) <= FEW or names is None or not {*names} <= {"ID", "Level", "TaskName"}:
            return self._rendered(self.texts.message, {})
        _, first, which = np.unique(self.id.codes * np.int64(4) + self.level, return_index=True, return_inverse=True)
        distinct = self.take(first)._rendered(self.texts.message, {})
        return [distinct[i] for i in which.tolist()]

    @property
    def details(self) -> list[str]:
        """The events' details; raises TemplateError where the template fails."""
        return self.details_through(str)

    def details_through(self, write: Callable[[str], str]) -> list[str]:
        """`write` of each event's details. It escapes: write(a + b) is write(a) + write(b), and ASCII but
        for control characters and `"&'+<>\\` stays as it is."""
        if self.texts.plain_details is not None:
            return [write(self.texts.plain_details)] * len(self)
        if self.texts.default_details and encodable(self.point).all():
            return self._default_details(lambda text: write(html_of(text)))
        return each(self._details, write)

    @cached_property
    def _details(self) -> list[str]:
        return self._rendered(self.texts.details, {"Message": self.messages})

    def _default_details(self, write: Callable[[str], str]) -> list[str]:
        """`write` of the events' records as JSON, which is made part by part, as most are the same in many events."""
        string = in_json(write)
        groups, group = self.data.groups, self.data.group.tolist()
        names = {g: string(group_text(groups[g].id)) for g in set(group)}
        if isinstance(self.data, Points):
            tags = each(list(json_tags(self.data.rows)), write)
        else:
            own = {g: write(json_object(groups[g].tags)) for g in set(group)}
            tags = [own[g] for g in group]
        tasks = self.texts.task_names(group)
        heads = {task: write(f',"TaskName":{json_string(task)},"Group":') for task in set(tasks)}
        server = json.dumps(SERVER, separators=(",", ":"))
        return joined(
            [write('{"Name":'), each([name or "" for name in self._names.tolist()], string),
             [heads[task] for task in tasks], [names[g] for g in group],
             write(',"Tags":'), tags, write(f',"ServerInfo":{server},"ID":'),
             coded(self.id, string), write(',"Fields":'), json_fields(self.point, write),
             write(',"Level":"'), self.levels, write('","Time":"'), times_rfc3339nano(self.time),
             write('","Duration":'), self.duration.tolist(), write(',"Message":'),
             each(self.messages, string), write("}\n")],
            len(self),
        )  # fmt: skip

    def check(self) -> None:
        """Render what may fail; raises TemplateError."""
        if self.texts.message_can_fail:
            _ = self.messages
        if self.texts.details_can_fail:
            _ = self._details

    def _rendered(self, template: Template, more: Mapping[str, Sequence[str]]) -> list[str]:
        """A template's texts. more: values of the record that are known already, by name."""
        names = template.columns
        if names is not None:
            columns = {name: more.get(name) or self._column(name) for name in names}
            if all(column is not None for column in columns.values()):
                return template.render_columns({n: c for n, c in columns.items() if c is not None}, len(self))
        records = self._records()
        if more:
            records = ({**record, **dict(zip(more, late))} for record, late in zip(records, zip(*more.values())))
        return list(template.render_rows(records))

    @cached_property
    def levels(self) -> list[str]:
        """The names of the levels."""
        return [LEVELS[level] for level in self.level.tolist()]

    def take(self, which: Array) -> Events:
        """Some of the events (index array or mask)."""
        which = np.flatnonzero(which) if which.dtype == np.bool_ else which
        return Events(
            self.data.take(which),
            self.point.take(which),
            self.time[which],
            self.level[which],
            self.previous[which],
            self.duration[which],
            self.id.take(which),
            self.recoverable,
            self.texts,
        )

    @staticmethod
    def concat(parts: Sequence[Events]) -> Events:
        """All events of parts, of one alert on points."""
        return Events(
            Points.concat([part.data for part in parts if isinstance(part.data, Points)]),
            Rows.concat([part.point for part in parts]),
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.level for part in parts]),
            np.concatenate([part.previous for part in parts]),
            np.concatenate([part.duration for part in parts]),
            Text.concat([part.id for part in parts]),
            parts[0].recoverable,
            parts[0].texts,
        )

    def _column(self, name: str) -> Sequence[Any] | None:
        """The values of a name of the record, or of a member of a map (`Fields.x`, None where it is missing); None
        where only whole records tell."""
        table, _, key = name.partition(".")
        match table:
            case "ID":
                return self.id.tolist()
            case "Level":
                return self.levels
            case "Time":
                return self.time.tolist()
            case "Duration":
                return self.duration.tolist()
            case "TaskName":
                return self.texts.task_names(self.data.group.tolist())
            case "Name":
                return [name or "" for name in self._names.tolist()]
            case "Group":
                groups = self.data.groups
                texts = {g: group_text(groups[g].id) for g in np.unique(self.data.group).tolist()}
                return [texts[g] for g in self.data.group.tolist()]
            case "Tags" if key:
                return self._tag(key)
            case "Fields" if key and _usual(self.point.field(key)):
                return values(self.point.field(key), _TEMPLATE_VALUES)
        return None

    def _tag(self, name: str) -> list[str | None]:
        if isinstance(self.data, Segments):
            return [tags.get(name) for tags in self.tags]
        found = self.data.rows.tags.get(name)
        return [None] * len(self) if found is None else found.tolist()

    @property
    def _names(self) -> Text:
        return self.data.rows.name if isinstance(self.data, Points) else self.data.name

    @cached_property
    def tags(self) -> list[Mapping[str, str]]:
        """The tags of each event: all those of a point, the header's of a batch."""
        if isinstance(self.data, Segments):
            return [self.data.groups[g].tags for g in self.data.group.tolist()]
        names = list(self.data.rows.tags)
        columns = [text.tolist() for text in self.data.rows.tags.values()]
        if not columns:
            return [{}] * len(self)
        return [{k: v for k, v in zip(names, found) if v is not None} for found in zip(*columns)]

    def _records(self) -> Iterator[dict[str, Any]]:
        """What templates see of each event."""
        names = list(self.point.fields)
        columns = [values(c, _TEMPLATE_VALUES) for c in self.point.fields.values()]
        ids, groups, tasks = self.id.tolist(), self.data.groups, self.texts.task_names(self.data.group.tolist())
        times, durations, measurements = self.time.tolist(), self.duration.tolist(), self._names.tolist()
        for i, group in enumerate(self.data.group.tolist()):
            found = ((k, c[i]) for k, c in zip(names, columns))
            yield {
                "Name": measurements[i] or "",
                "TaskName": tasks[i],
                "Group": group_text(groups[group].id),
                "Tags": self.tags[i],
                "ServerInfo": SERVER,
                "ID": ids[i],
                "Fields": {k: None if v is _NIL else v for k, v in found if v is not None},
                "Level": LEVELS[self.level[i]],
                "Time": times[i],
                "Duration": Duration(durations[i]),
            }


def _usual(column: Column) -> bool:
    """Whether the column is free of nulls and holes."""
    if isinstance(column.kinds, Kind):
        return column.kinds not in (Kind.NIL, Kind.HOLE)
    return not np.isin(column.kinds, (Kind.NIL, Kind.HOLE)).any()
