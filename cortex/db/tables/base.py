"""What all tables share: their base, the types of their columns, the time.

The tables were first drawn in one go (`migrations/versions/0001_first_schema.py`). `job_status`,
`provider_status`, `events` and `job_metrics` are range-partitioned by time; `cortex.db.partitions`
makes and drops the partitions.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    DateTime,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase

NOW = text("now()")
# The id of the writing transaction: with the snapshot's xmin it gives readers a gapless order.
CURRENT_TX = text("(pg_current_xact_id()::text)::bigint")
MONEY = Numeric(38, 18)


class Base(DeclarativeBase):
    type_annotation_map = {
        str: Text,
        datetime: DateTime(timezone=True),
        timedelta: Interval,
        dict[str, Any]: JSONB,
        dict[str, str]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
        Decimal: MONEY,
        bytes: LargeBinary,
        bool: Boolean,
        int: Integer,
    }
