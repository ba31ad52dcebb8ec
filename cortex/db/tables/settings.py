"""The table of settings that are changed while Cortex runs."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class SettingRow(Base):
    """Runtime settings, changed through API or dashboard."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
