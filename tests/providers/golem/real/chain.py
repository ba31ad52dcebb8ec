"""A chain that nobody mines: enough JSON-RPC for a wallet to look full or empty."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import orjson

CHAIN_ID = 560048
_WORD = 64


class FakeChain:
    """Answers a yagna daemon as an Ethereum node would, on a free loopback port."""

    def __init__(self, glm: int = 1000) -> None:
        self.wei = glm * 10**18
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str) -> Any:
        if method == "eth_chainId":
            return hex(CHAIN_ID)
        if method == "net_version":
            return str(CHAIN_ID)
        if method == "eth_blockNumber":
            return hex(1000)
        if method in {"eth_getBlockByNumber", "eth_getBlockByHash"}:
            return _block()
        if method == "eth_getBalance":
            return hex(self.wei)
        if method == "eth_call":
            return f"0x{self.wei:0{_WORD}x}"
        if method in {"eth_getTransactionCount", "eth_gasPrice", "eth_estimateGas"}:
            return hex(1)
        return None

    def _handler(chain) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
                many = asked if isinstance(asked, list) else [asked]
                answers = [
                    {"jsonrpc": "2.0", "id": call["id"], "result": chain.answer(call["method"])}
                    for call in many
                ]
                body = orjson.dumps(answers if isinstance(asked, list) else answers[0])
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the tests' output clean."""

        return Handler


def _block() -> dict[str, Any]:
    empty = f"0x{0:0{_WORD}x}"
    return {
        "number": hex(1000),
        "hash": empty,
        "parentHash": empty,
        "sha3Uncles": empty,
        "miner": "0x" + "0" * 40,
        "stateRoot": empty,
        "transactionsRoot": empty,
        "receiptsRoot": empty,
        "logsBloom": "0x" + "0" * 512,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "gasLimit": "0x1c9c380",
        "gasUsed": "0x0",
        "baseFeePerGas": "0x7",
        "timestamp": hex(int(time.time())),
        "extraData": "0x",
        "size": "0x200",
        "uncles": [],
        "transactions": [],
        "nonce": "0x0000000000000000",
        "mixHash": empty,
    }
