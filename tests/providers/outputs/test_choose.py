"""What is kept, decided over a tree that is known as a whole."""

import pytest

from providers.outputs import Kind, Node, Tree, choose


def tree(files: list[bytes], links: dict[bytes, bytes] | None = None) -> Tree:
    made = Tree()
    for path in files:
        made.put(path, Node(Kind.FILE))
    for path, target in (links or {}).items():
        made.put(path, Node(Kind.LINK, target=target))
    return made


class TestSystemFolders:
    """`/etc` and its like, in a working folder that is the root."""

    @pytest.mark.parametrize("declared", ["/etc/passwd", "/etc/*", "/etc/"])
    def test_what_is_declared_from_the_root_is_kept(self, declared: str) -> None:
        choice = choose(tree([b"/etc/passwd", b"/bin/busybox"]), b"", [declared])
        assert (list(choice.kept), choice.unmatched) == ([b"etc/passwd"], [])

    @pytest.mark.parametrize("also", [[], ["/run/id"]])
    def test_no_link_leads_there(self, also: list[str]) -> None:
        files = tree([b"/etc/passwd", b"/run/id"], {b"/out/link": b"/etc/passwd"})
        choice = choose(files, b"", ["out/link", *also])
        assert list(choice.kept) == [name.strip("/").encode() for name in also]
        assert choice.left_out == {b"out/link": "is a link that leads out of the working folder"}
