"""Documents as people write them, and as nobody should: for the fuzz of the file reader."""

import json
import string
from functools import cache

from hypothesis import strategies as st

from cli.errors import BadInput
from cli.specfile import parse


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TEXTS = st.one_of(
    st.sampled_from(
        [
            "a",
            "",
            "x" * 70,
            "true",
            "3.10",
            "ä€😀",
            "a b",
            "a: b",
            "a #b",
            "{x}",
            "{index}",
            "0",
            "-",
        ]
    ),
    st.text(max_size=12),
    st.text(alphabet=string.printable, max_size=20),
)
# Raw, as they stand in a file.
PLAIN = st.one_of(
    st.sampled_from(
        _words(
            r"""
            NO no yes on off true True TRUE false ~ null Null 3.10 0644 0o17 0x1F 010 00 -0 +1 1_000
            1_0 12:30 1:30 1:30:00 1h30m 90s .5 5. 1e3 1e999 1e-999 .inf -.inf .nan NaN Infinity
            2026-01-01 16gi 4GB 512Mb 4g 512m 1K 0.5 64Mi 2G 250m 0.50USD 1 0 2 -1 1.0
            99999999999999999999 #fff @x `x %x *a *b *x &a &a,1 !x !!str !!int
            !!python/object:os.system ! | > - ? : , [ ] { } << x-a a[b [x] a.b env.A $HOME ${x} {x}
            {{x}} \ "a" 'a' "\ud800" "\0" "\x00" "a 'a
            """
        )
    ),
    st.sampled_from(
        ["0.50 USD", "1 30m", "!!str 5", "!!int 5", "!!int x", "&a b", "&b {c: d}", "a # b"]
    ),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False).map(repr),
    TEXTS.map(json.dumps),
    st.text(alphabet="abc01:.-_#&*!|>'\"%@`{}[], \t\n\r\u2028\x85\ufeff", max_size=8),
)
FIELDS = _words(
    """
    version name kind image command args render workdir env secret_env read_only_root resources
    ports volumes duration auto_extend retries placement budget outputs inputs labels
    """
)
GROUP_FIELDS = _words(
    """
    version name policy prepare_timeout commit_failure on_lost fail_fast concurrency labels
    defaults jobs
    """
)
JOB_FIELDS = (*FIELDS, "after", "count", "matrix", "concurrency", "fail_fast")
INNER = _words(
    """
    cpu memory storage gpu pids model vendor count port protocol public path size persistent
    providers strategy weights max_price regions failover timeout on_failure on_lost backoff
    max_backoff by up_to amount currency from to scene frames engine samples resolution width
    height cost
    """
)
ODD_KEYS = ["<<", "x-a", "x-b", "1", "NO", "true", "~", "a[b", "[x]", "a.b", "", "A", "B", "'<<'"]


@cache
def _keys(known: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from(known), st.sampled_from(known), st.sampled_from(ODD_KEYS), PLAIN
    )


@cache
def _flow(known: tuple[str, ...]) -> st.SearchStrategy[str]:
    """A value in flow style."""
    return st.recursive(
        PLAIN,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
            st.lists(st.tuples(_keys(known), inner), max_size=4).map(
                lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
            ),
        ),
        max_leaves=8,
    )


# What these fields look like when they are right, or nearly.
LIKELY = {
    "version": ["1", "2"],
    "name": ["a", "b", "2024", "a-{index}", "NO"],
    "kind": ["batch", "service"],
    "image": ["busybox:1.36", "1.10", "~"],
    "command": [
        "[a]",
        "[sleep, 010, yes]",
        "[a, 3.10, {b: c}]",
        "a",
        "&c [a, *c]",
        "[echo, '{x}']",
    ],
    "args": ["[1, 2.50, true, '{index}']", "[]"],
    "env": [
        "{A: NO, PY: 3.10, M: 0644}",
        "&e {A: 1}",
        "{<<: *e, B: no}",
        "{<<: [*e, {A: 2, C: 3}]}",
        "{A: 1, A: 2}",
        "{discovery.type: x}",
        "{A: null}",
        "{A: [1]}",
        "{NO: x, 123: y}",
        "*e",
    ],
    "secret_env": ["{TOKEN: 0042}", "{TOKEN: hunter2: x}", "{A: *e}", "{PIN: !x y}"],
    "resources": [
        "{cpu: 1_0}",
        "{cpu: 0.10, memory: 16gi, storage: 4GB, pids: 0o100}",
        "{memory: 512m}",
        "{gpu: {model: 4090, count: 1}}",
        "{pids: 010, '[x]': y}",
    ],
    "ports": ["[{port: 80}]", "[{port: 0x50, name: 1.0}]", "[{port: 80}, {port: 80}]"],
    "volumes": ["[{name: v, path: /v, size: 1gb}]"],
    "duration": ["1:30", "1:30:00", "90", "1h 30m", "1e3", "010"],
    "retries": ["2", "010", "{on_lost: 1, backoff: 1:30}", "1.0", "true"],
    "placement": [
        "{providers: [1.0, a], weights: {cost: 0.50}, max_price: 1 USD}",
        "{timeout: 1:30}",
    ],
    "budget": [
        "0.50 USD",
        "5",
        "{amount: 0.10, currency: USD}",
        "{amount: 1e-999999999, currency: USD}",
    ],
    "outputs": ["[out, 1.10, no]", "['../x']"],
    "labels": ["{2024: q3, py: 3.10}", "{a b: c}", "{a: '{count}'}"],
    "render": ["{scene: /a.blend, frames: 1-3}", "{scene: 'https://h/a.blend', frames: 1}"],
    "inputs": ["[{from: b, to: in}]"],
    "after": ["[a]", "a", "['a[{index}]']"],
    "count": ["2", "1_0", "010", "0"],
    "matrix": ["{py: [3.1, 3.10], ok: [no, yes]}", "{a: []}", "{a: [1, 1]}", "{index: [1]}"],
    "policy": ["all_or_nothing", "best_effort"],
    "concurrency": ["1", "0"],
    "defaults": ["{env: {A: 010}}", "{name: x}", "{x-y: z, resources: {memory: 1gb}}"],
}


@cache
def _value(field: str, known: tuple[str, ...]) -> st.SearchStrategy[str]:
    likely = st.sampled_from(LIKELY.get(field, ["x"]))
    return st.one_of(likely, likely, likely, _flow((*known, *INNER, "A")))


@cache
def _right(field: str) -> tuple[str, ...]:
    """Those of its likely values that make a job with a command, and nothing else, be taken."""
    if field in ("count", "matrix"):  # of a group's jobs
        return tuple(LIKELY[field][:1])
    others = "" if field in ("command", "render") else "command: [a]\n"
    return tuple(value for value in LIKELY.get(field, []) if _taken(f"{others}{field}: {value}\n"))


def _taken(text: str) -> bool:
    try:
        return all(document.spec() for document in parse(text, "f.yaml"))
    except BadInput:
        return False


@st.composite
def _right_pairs(draw: st.DrawFn, known: tuple[str, ...]) -> list[tuple[str, str]]:
    """Fields that are right each by itself: most of them are right together."""
    usable = [name for name in known if _right(name) and name not in ("command", "render")]
    names = draw(st.lists(st.sampled_from(usable), max_size=6, unique=True))
    pairs = [(name, draw(st.sampled_from(_right(name)))) for name in names]
    return [("command", draw(st.sampled_from(_right("command")))), *pairs]


@st.composite
def _pairs(draw: st.DrawFn, known: tuple[str, ...]) -> list[tuple[str, str]]:
    """Fields with their values in flow style; `command: [a]` among them most of the time."""
    if draw(st.booleans()):
        return draw(_right_pairs(known))
    names = draw(st.lists(_keys(known), max_size=5, unique=draw(st.booleans())))
    pairs = [(name, draw(_value(name, known))) for name in names]
    if draw(st.integers(0, 9)) and "command" not in names and "render" not in names:
        pairs.insert(draw(st.integers(0, len(pairs))), ("command", "[a]"))
    return pairs


def _block(pairs: list[tuple[str, str]], indent: str = "") -> str:
    return "".join(f"{indent}{key}: {value}\n" for key, value in pairs)


@st.composite
def jobs(draw: st.DrawFn) -> str:
    """The text of a job file in YAML."""
    text = _block(draw(_pairs(FIELDS)))
    if draw(st.integers(0, 4)) == 0:
        text = f"x-a: {draw(_flow(INNER))}\nx-e: &e {{A: 1, Z: 010}}\n{text}"
    if draw(st.integers(0, 9)) == 0:
        text += f"---\n{_block(draw(_pairs(FIELDS)))}"
    return draw(_spoilt(text))


@st.composite
def groups(draw: st.DrawFn) -> str:
    """The text of a group file in YAML."""
    right = draw(st.booleans())  # a group is taken only if all of it is right
    one = _right_pairs((*FIELDS, "count", "matrix")) if right else _pairs(JOB_FIELDS)
    members = draw(st.lists(one, min_size=int(right), max_size=3))
    fields = [] if right else draw(_pairs(GROUP_FIELDS))
    text = _block([pair for pair in fields if pair[0] not in ("jobs", "command")])
    lines = "x-e: &e {A: 1}\njobs:\n"
    for number, pairs in enumerate(members):
        named = [(key, value) for key, value in pairs if key != "name"]
        odd = [] if right else ["n0", "2024", f"n{number}-{{index}}"]
        named.insert(0, ("name", draw(st.sampled_from([f"n{number}", *odd]))))
        body = _block(named, "  ")
        lines += f"- {body[2:]}"
    return draw(_spoilt(lines + text))


@st.composite
def _spoilt(draw: st.DrawFn, text: str) -> str:
    """The text, now and then with a piece cut out or put in.

    Not within `secret_env`: what stands under another key is no secret that the reader could know.
    """
    if draw(st.integers(0, 3)):
        return text
    at = draw(st.integers(0, len(text)))
    if draw(st.booleans()):
        other = text[:at] + text[at + draw(st.integers(1, 5)) :]
    else:
        other = text[:at] + draw(PLAIN) + text[at:]
    return text if other.count("secret_env") < text.count("secret_env") else other


_NUMBERS = st.sampled_from(
    ["1", "3.10", "1e3", "-0", "1e999", "1e-999999999", "9" * 400, "0.10", "2", "5.0"]
)
_SCALARS = st.one_of(
    TEXTS.map(json.dumps),
    st.sampled_from(
        ["true", "false", "null", '"\\ud800"', '"\\u0000"', '"1:30"', '"16gi"', '"1_0"', "NaN"]
    ),
    _NUMBERS,
)


@cache
def _json(known: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.recursive(
        _SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
            st.lists(
                st.tuples(
                    st.sampled_from([*known, *INNER, "A", "A", "<<", "x-a", "a[b", "1"]), inner
                ),
                max_size=4,
            ).map(lambda pairs: "{" + ", ".join(f"{json.dumps(k)}: {v}" for k, v in pairs) + "}"),
        ),
        max_leaves=8,
    )


_LIKELY_JSON = {
    "env": ['{"A": 3.10, "B": true, "C": "x"}', '{"A": 1, "A": 2}', '{"a.b": 1e3}', '{"A": null}'],
    "command": ['["a"]', '["a", 1.10, false]', '["a", null]'],
    "labels": ['{"y": 2024}', '{"<<": "a"}'],
    "resources": ['{"cpu": 0.10, "memory": "16gi"}', '{"memory": 512000000.0, "pids": 5.0}'],
    "budget": ['"0.50 USD"', '{"amount": 0.10, "currency": "USD"}', "5"],
    "duration": ["90", '"1:30"', "1.5", "1e3"],
    "name": ['"a"', "5"],
    "retries": ["2", "2.0", '{"on_lost": 1}'],
}


@st.composite
def json_jobs(draw: st.DrawFn) -> str:
    """The text of a job file in JSON, with keys that stand twice now and then."""
    likely = draw(st.booleans())
    known = list(_LIKELY_JSON) if likely else [*FIELDS, "x-a", "<<"]
    names = draw(st.lists(st.sampled_from(known), max_size=5, unique=likely))
    pairs = []
    for name in names:
        value = st.sampled_from(_LIKELY_JSON.get(name, ["1"]))
        pairs.append((name, draw(value if likely else st.one_of(value, _json(FIELDS)))))
    if "command" not in names and draw(st.integers(0, 9)):
        pairs.append(("command", '["a"]'))
    space = draw(st.sampled_from(["", " ", "\n", "\n\t", "\r\n  "]))
    inside = f",{space}".join(f"{json.dumps(key)}: {value}" for key, value in pairs)
    return draw(_spoilt(f"{space}{{{space}{inside}{space}}}"))


ANYTHING = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="abce01:.-_#&*!|>'\"%@{}[],? \t\n\r", max_size=80),
    st.lists(
        st.one_of(PLAIN, st.sampled_from(["\n", "\n  ", ": ", "- ", ", ", "---\n"])), max_size=20
    ).map("".join),
)
