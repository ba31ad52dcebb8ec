"""Payloads in Temporal under the key ring."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from cortex.domain.errors import CortexError
from cortex.security.keyring import KeyRing
from cortex.temporal.codec import EncryptingCodec, data_converter
from cortex.temporal.contracts import CancelSignal
from tests.support.sandbox import RUNNER
from tests.workflows.fingerprints import path_name, read, recorded
from workflows.registry import WORKFLOWS

_FEW = ("completed", "failed_over", "gang_commit_failed", "retried")


def ring(*names: str) -> KeyRing:
    keys = [f"{name}:{base64.b64encode(name[:1].encode() * 32).decode()}" for name in names]
    return KeyRing.from_setting(SecretStr(",".join(keys)))


def clear() -> Payload:
    return Payload(metadata={"encoding": b"json/plain", "x": b"y"}, data=b'{"command": "hush"}')


class TestPayloads:
    async def test_all_of_it_is_hidden(self) -> None:
        codec = EncryptingCodec(ring("a"), encrypt=True)
        (one,), (two,) = await codec.encode([clear()]), await codec.encode([clear()])
        assert dict(one.metadata) == {
            "encoding": b"binary/encrypted",
            "encryption-key-id": b"a",
        }
        assert b"hush" not in one.SerializeToString()
        assert b"json" not in one.SerializeToString()
        assert one.data != two.data
        assert await codec.decode([one, two]) == [clear(), clear()]
        assert await codec.encode([one]) == [one]

    async def test_clear_ones_pass(self) -> None:
        for encrypt in (True, False):
            codec = EncryptingCodec(ring("a"), encrypt=encrypt)
            assert await codec.decode([clear()]) == [clear()]
        assert await EncryptingCodec(ring("a"), encrypt=False).encode([clear()]) == [clear()]

    async def test_older_keys_open_as_long_as_they_are_there(self) -> None:
        old = await EncryptingCodec(ring("a"), encrypt=True).encode([clear()])
        both = EncryptingCodec(ring("b", "a"), encrypt=True)
        assert await both.decode(old) == [clear()]
        (new,) = await both.encode([clear()])
        assert new.metadata["encryption-key-id"] == b"b"
        later = EncryptingCodec(ring("b"), encrypt=True)
        with pytest.raises(CortexError, match="encryption key `a` is not configured"):
            await later.decode(old)
        assert await later.decode_what_can_be([*old, new]) == [*old, clear()]

    async def test_what_was_changed_or_is_of_another_place(self) -> None:
        keys = ring("a")
        codec = EncryptingCodec(keys, encrypt=True)
        (sealed,) = await codec.encode([clear()])
        bad = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])
        elsewhere = keys.encrypt({"a": "b"}, "job_x")
        no_payload = keys.seal(b"\xff\xff\xff", "temporal")
        for data in (bad, elsewhere, no_payload, b"", b"\x05a"):
            with pytest.raises(CortexError):
                await codec.decode([Payload(metadata=sealed.metadata, data=data)])


class TestConverter:
    async def test_values_and_failures(self) -> None:
        converter = data_converter(ring("a"), encrypt=True)
        given = CancelSignal(reason="hush-1")
        payloads = await converter.encode([given])
        failure = Failure()
        await converter.encode_failure(_error(), failure)
        raw = payloads[0].SerializeToString() + failure.SerializeToString()
        assert b"hush" not in raw
        assert failure.application_failure_info.type == "Told"
        # As a process reads it that does not encrypt itself.
        reader = data_converter(ring("b", "a"), encrypt=False)
        assert await reader.decode(payloads, [CancelSignal]) == [given]
        error = await reader.decode_failure(failure)
        assert isinstance(error, ApplicationError)
        assert (error.message, list(error.details)) == ("hush-2", ["hush-3"])
        assert str(error.__cause__) == "ValueError: hush-4"

    async def test_failures_are_told_in_clear_unless_it_encrypts(self) -> None:
        failure = Failure()
        await data_converter(ring("a"), encrypt=False).encode_failure(_error(), failure)
        assert failure.message == "hush-2"

    def test_without_a_key(self) -> None:
        assert isinstance(data_converter(KeyRing({}), encrypt=False), DataConverter)
        assert data_converter(KeyRing({}), encrypt=False).payload_codec is None
        with pytest.raises(CortexError, match="`temporal.encrypt_payloads` needs"):
            data_converter(KeyRing({}), encrypt=True)

    @pytest.mark.parametrize(
        "path", [path for path in recorded() if path.stem in _FEW], ids=path_name
    )
    async def test_recorded_histories_replay(self, path: Path) -> None:
        replayer = Replayer(
            workflows=WORKFLOWS,
            data_converter=data_converter(ring("a"), encrypt=True),
            workflow_runner=RUNNER,
        )
        await replayer.replay_workflow(read(path))


def _error() -> ApplicationError:
    try:
        raise ApplicationError("hush-2", "hush-3", type="Told") from ValueError("hush-4")
    except ApplicationError as error:
        return error
