"""Events to a topic exchange of RabbitMQ: each is confirmed by the broker before the next is sent.

While the broker cannot take any, the events wait in the database; none is skipped. After a crash
the last ones come again, with the same `message_id`.
"""

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import AmqpDsn, Field, SecretStr, TypeAdapter, field_validator

from cortex.domain.events import Event
from cortex.plugins.contract import Away, Plugin, PluginConfig
from cortex.services.views import event_view

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection, AbstractExchange

# A broker that takes nothing for lack of memory or disk holds its confirmation back: that is an
# outage, no fault of the event. Connecting, after a restart, takes some seconds.
_PATIENCE: Final = 10.0
_LIMIT: Final = timedelta(seconds=30)
_HEARTBEAT: Final = 10
_URL: Final = TypeAdapter(AmqpDsn)


class RabbitMQConfig(PluginConfig):
    """`[plugins.rabbitmq]`."""

    url: SecretStr = Field(description="`amqps://user:password@host/vhost`; `amqp://` without TLS.")
    exchange: str = Field(default="cortex.events", min_length=1, max_length=127)
    declare: bool = Field(
        default=True,
        description="Make the exchange (topic, durable) if it is not there; else it must be.",
    )
    queue: str = Field(
        default="",
        max_length=127,
        description="A quorum queue to make, bound to all events; empty: queues are others' work.",
    )
    mandatory: bool = Field(
        default=True,
        description="An event that no queue takes waits until one does; else the broker drops it.",
    )

    @field_validator("url")
    @classmethod
    def _is_amqp(cls, url: SecretStr) -> SecretStr:
        try:
            _URL.validate_python(url.get_secret_value())
        except ValueError:  # its words would show the password
            raise ValueError("must be an amqp:// or amqps:// URL") from None
        return url


def routing_key(event: Event) -> str:
    """The event's type, and behind it the state or status that it tells of, if it does.

    Such as `job.state.changed.completed`, `provider.status.changed.offline`, `charge.booked`.
    """
    told = event.data.get("state", event.data.get("status"))
    return f"{event.type.value}.{told}" if isinstance(told, str) and told else event.type.value


class RabbitMQ(Plugin[RabbitMQConfig]):
    """Publishes every event, as CloudEvents in JSON (the structured mode of its AMQP binding)."""

    Config: ClassVar[type[PluginConfig]] = RabbitMQConfig
    timeout: ClassVar[timedelta | None] = _LIMIT

    def __init__(self, config: RabbitMQConfig) -> None:
        super().__init__(config)
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def on_event(self, event: Event) -> None:
        """Publish it and wait until the broker has it.

        Raises:
            Away: the broker cannot be reached, takes nothing, or no queue takes the event.
        """
        import aio_pika  # takes some MiB, and few have a broker
        from aio_pika.exceptions import PublishError

        message = aio_pika.Message(
            event_view(event).model_dump_json().encode(),
            content_type="application/cloudevents+json; charset=utf-8",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=event.id,
            timestamp=event.time,
            type=event.type.value,
            app_id="cortex",
        )
        key = routing_key(event)
        try:
            async with asyncio.timeout(_PATIENCE):
                exchange = self._exchange or await self._opened()
                await exchange.publish(message, key, mandatory=self.config.mandatory)
        except PublishError:
            raise Away(
                f"no queue takes `{key}`: bind one to the exchange `{self.config.exchange}`, "
                "or set `mandatory = false`"
            ) from None
        except TimeoutError:
            await self.aclose()
            raise Away(f"the broker has not confirmed within {_PATIENCE:g} s") from None
        except Exception as error:  # the library's are of many kinds; none is the event's fault
            await self.aclose()
            raise Away(f"the broker refuses or is away: {_words(error)}") from None
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Hang up; the next event connects again."""
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await connection.close()

    async def _opened(self) -> "AbstractExchange":
        import aio_pika

        await self.aclose()
        self._connection = await aio_pika.connect(
            self.config.url.get_secret_value(),
            client_properties={"connection_name": "cortex"},
            heartbeat=_HEARTBEAT,
        )
        # Without `on_return_raises` a message that no queue takes would count as published.
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        name = self.config.exchange
        if self.config.declare:
            exchange = await channel.declare_exchange(
                name, aio_pika.ExchangeType.TOPIC, durable=True
            )
        else:
            exchange = await channel.get_exchange(name, ensure=True)
        if self.config.queue:
            queue = await channel.declare_queue(
                self.config.queue, durable=True, arguments={"x-queue-type": "quorum"}
            )
            await queue.bind(exchange, "#")
        self._exchange = exchange
        return exchange


def _words(error: Exception) -> str:
    """What the broker or the system says; the URL, which holds the password, is not in it."""
    return " ".join(str(error).split()) or type(error).__name__
