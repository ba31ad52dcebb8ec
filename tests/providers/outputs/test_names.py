"""Printable names of result files."""

from providers.outputs.names import distinct, printable


def test_what_can_be_read_stays_as_it_is() -> None:
    for name in ("a b", "ümläut", "%#?&+", "back\\slash", "👩\u200d💻", "-rf", " ", "a\u00a0b"):
        assert printable(name.encode()) == name


def test_what_cannot_be_read_is_written_out() -> None:
    assert printable(b"caf\xe9") == "caf%E9"
    assert printable(b"new\nline\x1b[31m\x7f") == "new%0Aline%1B[31m%7F"
    assert printable("tx\u202eexe".encode()) == "tx%E2%80%AEexe"
    assert printable("a\u2028b\u0085".encode()) == "a%E2%80%A8b%C2%85"


def test_no_two_are_the_same() -> None:
    names = [b"caf%E9.txt", b"caf\xe9.txt", b"caf\xe8.txt", b"caf%E9~2.txt", b"\xff", b"%FF"]
    unique = distinct(names)
    assert unique == {
        b"caf%E9.txt": "caf%E9.txt",
        b"caf%E9~2.txt": "caf%E9~2.txt",
        b"caf\xe9.txt": "caf%E9~3.txt",
        b"caf\xe8.txt": "caf%E8.txt",
        b"%FF": "%FF",
        b"\xff": "%FF~2",
    }
    assert distinct(reversed(names)) == unique


def test_none_is_longer_than_a_name_can_be() -> None:
    names = [b"\xe9" * 255, b"\xe9" * 254 + b"\xe8", "ü".encode() * 127]
    unique = distinct(names)
    assert len(set(unique.values())) == 3
    assert all(len(form.encode()) <= 255 for form in unique.values())
    assert unique[names[2]] == "ü" * 127
