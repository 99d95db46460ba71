"""Run equal pipelines once.

    var a = stream|from().measurement('cpu')|window()…|mean('v')       both windows are one operator,
    var b = stream|from().measurement('cpu')|window()…|max('v')   ->   read by mean and by max

Right because an operator's output is a function of its settings and its input, state included. Operators that the
outside sees (sinks, alerts, logs) are never shared, as each shows its own results.
"""

from __future__ import annotations

from tickc.compiler.ir import Op, Plan


def share_pipelines(plan: Plan) -> Plan:
    """The plan in which no two operators without effects or chance have equal settings and the same inputs."""
    known: dict[tuple[object, ...], Op] = {}
    new: dict[int, Op] = {}
    ops: list[Op] = []
    for op in plan:
        current = op.with_inputs(*(new[id(i)] for i in op.inputs))
        settings = {k: repr(v) for k, v in current.settings().items() if k != "name"}
        key = (type(current), tuple(sorted(settings.items())), tuple(id(i) for i in current.inputs))
        if not op.effects and not op.random and op.inputs and key in known:
            new[id(op)] = known[key]
            continue
        known[key] = new[id(op)] = current
        ops.append(current)
    return plan if len(ops) == len(plan.ops) else Plan(tuple(ops))
