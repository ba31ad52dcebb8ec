"""The table of what running jobs took of their machines."""

from datetime import datetime

from sqlalchemy import REAL, BigInteger, Double, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import Base


class JobMetricRow(Base):
    """One measurement of one attempt of a job.

    `cpu_seconds` and `memory_peak` are those since the attempt's start, so that the newest row
    sums up all before it. There is no foreign key: rows go by their age, a day at a time.
    """

    __tablename__ = "job_metrics"

    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    attempt: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(primary_key=True)
    cpu: Mapped[float | None] = mapped_column(REAL)
    cpu_seconds: Mapped[float | None] = mapped_column(Double)
    memory: Mapped[int | None] = mapped_column(BigInteger)
    memory_peak: Mapped[int | None] = mapped_column(BigInteger)
    network_received: Mapped[int | None] = mapped_column(BigInteger)
    network_sent: Mapped[int | None] = mapped_column(BigInteger)
    disk_read: Mapped[int | None] = mapped_column(BigInteger)
    disk_written: Mapped[int | None] = mapped_column(BigInteger)
    gpu: Mapped[float | None] = mapped_column(REAL)
    gpu_memory: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = ({"postgresql_partition_by": "RANGE (created_at)"},)
