"""The table of settings that are changed while Cortex runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class SettingsVersionRow(Base):
    """All that is set from one change on; the newest row holds."""

    __tablename__ = "settings_versions"

    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    values: Mapped[dict[str, Any]]
    comment: Mapped[str] = mapped_column(server_default="")
    changed_by: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)
