"""Which names a declared output matches."""

import subprocess

import pytest

from cortex.domain.patterns import OutputPattern, fits, packed_form, related

NAMES = [b"a", b"ab", b"b.log", b"\xc3\xa9", b"\xe9", b"a]", b"[ab]", b"x-y", b"!", b"\x80", b"a*"]
NAMES += ["äö".encode(), "ж".encode(), b"back\\slash", b"new\nline"]
PARTS = ["*", "?", "??", "[ab]*", "[!ab]*", "[a-c]?", "*.log", ".*", "[äé]", "[а-я]", "[!é]", "["]
PARTS += ["a[]]", "[^a]", "back\\slash*", "*\n*", "a[*]", "x[-]y", "é*"]


@pytest.mark.parametrize(
    ("part", "name", "matches"),
    [
        ("*", "anything", True),
        ("*", ".hidden", False),
        (".*", ".hidden", True),
        ("caf?.txt", "café.txt", True),
        ("[!a].txt", "a.txt", False),
        ("[!a].txt", "é.txt", True),
        ("[а-я]", "ж", True),
        ("[!é]", "è", True),
        ("[a-]", "-", True),
        ("x[", "x[", True),
        ("x[]]", "x]", True),
        ("a*c", "abbc", True),
        ("a*c", "abbd", False),
        ("A", "a", False),
    ],
)
def test_one_name(part: str, name: str, matches: bool) -> None:
    assert fits(name.encode(), part.encode()) is matches


def test_bytes_that_are_no_text() -> None:
    assert fits(b"caf\xe9.txt", b"caf?.txt")
    assert fits(b"caf\xe9.txt", b"*.txt")


def test_the_shell_finds_whatever_is_kept() -> None:
    """What a container's shell matches, by its form of a pattern, is never less."""
    wanted = [(name, part) for name in NAMES for part in PARTS if fits(name, part.encode())]
    strip = bytes(range(0x80, 0xC0))
    words = [
        word
        for n, p in wanted
        for word in (n.translate(None, strip), OutputPattern(p).shell_form())
    ]
    script = 'while [ $# -gt 0 ]; do case $1 in $2) ;; *) echo "$1: $2" ;; esac; shift 2; done'
    done = subprocess.run(
        ["sh", "-c", script, "x", *words], env={"LC_ALL": "C"}, capture_output=True, check=True
    )
    assert len(wanted) > 40
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("text", "literal", "parts"),
    [
        ("./a//b/", b"a/b", ()),
        ("/data/x", b"/data/x", ()),
        ("out/**", b"out/**", (b"out",)),
        ("**", b"**", (b"*",)),
        ("a/**/**/b", b"a/**/**/b", (b"a", b"**", b"b")),
        ("a/*.txt", b"a/*.txt", (b"a", b"*.txt")),
    ],
)
def test_a_declared_output(text: str, literal: bytes, parts: tuple[bytes, ...]) -> None:
    assert OutputPattern(text).literal == literal
    assert OutputPattern(text).parts == parts


def test_what_leads_out_is_not_packed() -> None:
    assert packed_form(("../x", "a", "/", "b/*")) == "a////b/*//b/*//"


@pytest.mark.parametrize(
    ("pattern", "path", "may"),
    [
        ("out", "out/a", True),
        ("out/a", "out", True),
        ("out", "other", False),
        ("out/*.txt", "out/a.txt", True),
        ("out/*.txt", "out/a.csv", False),
        ("**/x", "any/where/x", True),
        ("a[1].txt", "a[1].txt", True),
    ],
)
def test_what_may_be_among_them(pattern: str, path: str, may: bool) -> None:
    assert related(pattern, path) is may
