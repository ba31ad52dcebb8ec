"""The payment API: allocations and bills."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from fastapi import APIRouter, Request, Response

from simulators.golem.core import REQUESTOR, Core
from simulators.golem.nodes import PLATFORM
from simulators.golem.replies import (
    DaemonRoute,
    Refused,
    json_body,
    limit,
    moment,
    problem,
    reply,
)
from simulators.golem.state import Allocation, Bill, short_id, stamp

_REASONS = ("UNSOLICITED_SERVICE", "BAD_SERVICE", "INCORRECT_AMOUNT")


def payment(core: Core) -> APIRouter:
    router = APIRouter(prefix="/payment-api/v1", route_class=DaemonRoute)
    _allocations(router, core)
    _bills(router, core, "debitNotes", core.notes, _note)
    _bills(router, core, "invoices", core.invoices, _invoice)
    _rejections(router, core)
    _rest(router, core)
    return router


def _allocations(router: APIRouter, core: Core) -> None:
    @router.post("/allocations")
    async def create(request: Request) -> Response:
        body = await json_body(request)
        amount = _amount(body, "totalAmount")
        platform = body.get("paymentPlatform") or "erc20-holesky-tglm"
        if platform != PLATFORM:
            return problem(
                "bad-payment-platform",
                400,
                detail="Payment platform doesn't parse",
                parseError=f"Validate network failed (2): Invalid network name: {platform}",
                requestBody=_asked(body),
                requestedPaymentPlatform=platform,
            )
        free = core.wallet - core.held()
        if amount > free:
            instance = "/payment-api/v1/allocations/validation-error/insufficient-account-funds"
            return problem(
                "validation-error",
                400,
                detail="Insufficient funds to create the allocation. Top up your account or "
                "release all existing allocations to unlock the funds via "
                "`yagna payment release-allocations`",
                instance=instance,
                address=REQUESTOR,
                availableFunds=f"{free:f}",
                paymentPlatform=platform,
                requestBody=_asked(body),
                requestedFunds=f"{amount:f}",
                reservedFunds=f"{core.held():f}",
            )
        made = Allocation(_uuid(), platform, amount, core.now(), moment(body.get("timeout")))
        core.allocations[made.id] = made
        core.keep(made)
        return reply(_shown(made), 201)

    @router.get("/allocations")
    async def listed() -> Response:
        _expire(core)
        return reply([_shown(allocation) for allocation in core.allocations.values()])

    @router.get("/allocations/{name}")
    async def read(name: str) -> Response:
        _expire(core)
        if name not in core.allocations:
            raise Refused(404, None)
        return reply(_shown(core.allocations[name]))

    @router.delete("/allocations/{name}")
    async def release(name: str) -> Response:
        if core.allocations.pop(name, None) is None:
            raise Refused(410, f"Allocation {name} has been already released")
        core.books.drop("allocation", name)
        return reply(None)

    @router.get("/demandDecorations")
    async def decorations() -> Response:
        prefix = "golem.com.payment"
        return reply(
            {
                "properties": [
                    {"key": f"{prefix}.platform.{PLATFORM}.address", "value": REQUESTOR},
                    {"key": f"{prefix}.protocol.version", "value": "3"},
                ],
                "constraints": [
                    f"({prefix}.platform.{PLATFORM}.address=*)",
                    f"({prefix}.protocol.version>1)",
                ],
            }
        )


def _bills(
    router: APIRouter,
    core: Core,
    name: str,
    book: dict[str, Bill],
    shown: Callable[[Bill], dict[str, Any]],
) -> None:
    single = name.removesuffix("s")

    @router.get(f"/{name}")
    async def listed(request: Request) -> Response:
        after = moment(request.query_params.get("afterTimestamp"))
        later = [bill for bill in book.values() if after is None or bill.timestamp > after]
        return reply([shown(bill) for bill in later[: limit(request, "maxItems", 100)]])

    @router.get(f"/{name}/{{bill_id}}")
    async def read(bill_id: str) -> Response:
        if bill_id not in book:
            raise Refused(404, None)
        return reply(shown(book[bill_id]))

    @router.post(f"/{name}/{{bill_id}}/accept")
    async def accept(request: Request, bill_id: str) -> Response:
        body = await json_body(request)
        if bill_id not in book:
            raise Refused(404, None)
        _accept(core, book[bill_id], body)
        return reply(None)

    @router.get(f"/{single}Events")
    async def events(request: Request) -> Response:
        session = request.query_params.get("appSessionId")
        kind = f"{single[0].upper()}{single[1:]}ReceivedEvent"
        return reply(
            [
                {
                    f"{single}Id": bill.id,
                    "eventDate": stamp(bill.timestamp),
                    "eventType": kind,
                }
                for bill in book.values()
                if session in (None, bill.agreement.session)
            ]
        )


def _accept(core: Core, bill: Bill, body: Any) -> None:
    """Only the increase over what was accepted before is charged, to the allocation named."""
    amount = _amount(body, "totalAmountAccepted")
    if bill.status in ("ACCEPTED", "SETTLED"):
        return
    if bill.status == "REJECTED":
        raise Refused(400, "Rejected document cannot be accepted")
    if amount != bill.amount:
        raise Refused(400, "Invalid amount accepted")
    allocation = core.allocations.get(str(body.get("allocationId")))
    if allocation is None:
        raise Refused(410, f"Allocation {body.get('allocationId')} not found")
    increase = max(Decimal(0), amount - core.promised(bill.agreement))
    left = allocation.total - allocation.spent
    if increase > left:
        raise Refused(400, f"Not enough funds. Allocated: {left:f} Needed: {increase:f}")
    allocation.spent += increase
    bill.status = "ACCEPTED"
    core.keep(bill, allocation)


def _rejections(router: APIRouter, core: Core) -> None:
    @router.post("/invoices/{bill_id}/reject")
    async def reject(request: Request, bill_id: str) -> Response:
        body = await json_body(request)
        bill = core.invoices.get(bill_id)
        if bill is None:
            raise Refused(404, None)
        if not isinstance(body, dict) or body.get("rejectionReason") not in _REASONS:
            text = "Json deserialize error: unknown variant of `rejectionReason`"
            raise Refused(400, text, plain=True)
        if bill.status != "RECEIVED":
            raise Refused(400, f"Invoice cannot be rejected: {bill.status}")
        bill.status = "REJECTED"
        core.keep(bill)
        return reply(None)

    @router.post("/debitNotes/{bill_id}/reject")
    async def not_implemented(bill_id: str) -> Response:
        raise Refused(501, None)


def _rest(router: APIRouter, core: Core) -> None:
    @router.get("/payments/status")
    async def status() -> Response:
        return reply(core.troubles)

    @router.get("/payments")
    async def payments() -> Response:
        return reply([])

    @router.get("/requestorAccounts")
    async def accounts() -> Response:
        driver, network, token = PLATFORM.split("-")
        return reply(
            [
                {
                    "platform": PLATFORM,
                    "address": REQUESTOR,
                    "driver": driver,
                    "network": network,
                    "token": token.upper(),
                    "send": True,
                    "receive": False,
                }
            ]
        )


def _asked(body: Any) -> dict[str, Any]:
    """The order, as the daemon repeats it in a refusal."""
    names = ("address", "deposit", "extendTimeout", "makeDeposit", "paymentPlatform")
    return {name: body.get(name) for name in (*names, "timeout", "totalAmount")}


def _expire(core: Core) -> None:
    """Allocations give themselves back at their time-out."""
    for allocation in list(core.allocations.values()):
        if allocation.timeout is not None and allocation.timeout < core.now():
            del core.allocations[allocation.id]
            core.books.drop("allocation", allocation.id)


def _shown(allocation: Allocation) -> dict[str, Any]:
    told = {
        "allocationId": allocation.id,
        "address": REQUESTOR,
        "paymentPlatform": allocation.platform,
        "totalAmount": f"{allocation.total:f}",
        "spentAmount": f"{allocation.spent:f}",
        "remainingAmount": f"{allocation.total - allocation.spent:f}",
        "timestamp": stamp(allocation.timestamp),
        "createdTs": stamp(allocation.timestamp),
        "updatedTs": stamp(allocation.timestamp),
        "makeDeposit": False,
    }
    if allocation.timeout is not None:
        told["timeout"] = stamp(allocation.timeout)
    return told


def _common(bill: Bill) -> dict[str, Any]:
    return {
        "issuerId": bill.agreement.node.id,
        "recipientId": REQUESTOR,
        "payeeAddr": bill.agreement.node.id,
        "payerAddr": REQUESTOR,
        "paymentPlatform": PLATFORM,
        "timestamp": stamp(bill.timestamp),
        "agreementId": bill.agreement.id,
        "status": bill.status,
    }


def _note(bill: Bill) -> dict[str, Any]:
    told = {
        "debitNoteId": bill.id,
        **_common(bill),
        "activityId": bill.activities[0],
        "totalAmountDue": f"{bill.amount:f}",
        "usageCounterVector": bill.usage,
    }
    return told | ({"previousDebitNoteId": bill.previous} if bill.previous else {})


def _invoice(bill: Bill) -> dict[str, Any]:
    told = {
        "invoiceId": bill.id,
        **_common(bill),
        "activityIds": bill.activities,
        "amount": f"{bill.amount:f}",
    }
    return told | ({"paymentDueDate": stamp(bill.due)} if bill.due else {})


def _amount(body: Any, name: str) -> Decimal:
    try:
        return Decimal(str(body[name]))
    except (KeyError, TypeError, InvalidOperation):
        raise Refused(400, f"Json deserialize error: missing field `{name}`") from None


def _uuid() -> str:
    text = short_id()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
