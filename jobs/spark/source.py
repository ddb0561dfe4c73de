"""The Spark data source ``embedshift``: token ranges of two tables in, what differs out, and back into the target."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceWriter
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from jobs.spark.reader import RangeReader
from jobs.spark.transfer import Transfer
from jobs.spark.writer import RangeWriter

#: The option that holds the transfer as JSON.
OPTION = "transfer"


class EmbedshiftSource(DataSource):
    """``spark.read.format("embedshift").option("transfer", …)`` and the same for writing."""

    @classmethod
    def name(cls) -> str:
        """The name of the format."""
        return "embedshift"

    def schema(self) -> StructType:
        """The rows on their way, in Spark's types."""
        return spark_schema(Transfer.from_json(self.options[OPTION]).layout.schema())

    def reader(self, schema: StructType) -> DataSourceReader:
        """A reader of the ranges that the catalog has as planned."""
        return RangeReader(self.options[OPTION])

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceWriter:
        """A writer into the transfer's target. It never overwrites a table."""
        return RangeWriter(self.options[OPTION])


def spark_schema(schema: pa.Schema) -> StructType:
    """The Spark types of an Arrow schema."""
    return from_arrow_schema(schema)
