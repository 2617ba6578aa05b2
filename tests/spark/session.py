"""One session of Spark with Iceberg for all histories, and its tables as Python sees them.

Contract: tables are in a Hadoop catalog below a folder, `lake.db.NAME`, so that fastdata reads them by their path; the catalog keeps no
table in memory. Everything is small: no UI, one partition of a shuffle, plans that are interpreted and not compiled, because a history is
some hundred queries of some ten rows.
"""

import gzip
import json
import os
import subprocess
from pathlib import Path

from pyspark.sql import SparkSession

HERE = Path(__file__).parent


def start(folder, jars):
    """The session; `jars` are the files of Iceberg's runtime for Spark."""
    classes = Path(folder, "classes")
    runtime = os.pathsep.join([*jars, str(Path(os.environ["SPARK_HOME"], "jars", "*"))])
    subprocess.run(["javac", "-nowarn", "-XDsuppressNotes", "-d", str(classes), "-cp", runtime, *map(str, HERE.glob("*.java"))], check=True)
    settings = {
        "spark.driver.extraClassPath": os.pathsep.join([str(classes), *jars]),
        "spark.driver.extraJavaOptions": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile={log_settings(folder)}",
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(Path(folder, "scratch")),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
        "spark.sql.catalog.lake.warehouse": str(Path(folder, "lake")),
        "spark.sql.catalog.lake.cache-enabled": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.caseSensitive": "true",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        # With its cache of delete files Spark reads rows, now and then, that a second read knows to be deleted.
        "spark.sql.iceberg.executor-cache.enabled": "false",
        # The vectorized reader fails on decimals with a default.
        "spark.sql.iceberg.vectorization.enabled": "false",
        "spark.sql.warehouse.dir": str(Path(folder, "unused")),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    builder = SparkSession.builder.master("local[2]").appName("histories")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sql("CREATE NAMESPACE IF NOT EXISTS lake.db")
    return session


def log_settings(folder):
    """Errors go to a file: tasks that fail because a history asks for the impossible are no news."""
    path = Path(folder, "log4j2.properties")
    path.write_text(
        "rootLogger.level = error\nrootLogger.appenderRef.file.ref = file\nappender.file.type = File\nappender.file.name = file\n"
        f"appender.file.fileName = {Path(folder, 'spark.log')}\nappender.file.layout.type = PatternLayout\n"
        "appender.file.layout.pattern = %d %p %c: %m%n%ex{5}\n"
    )
    return path


def metadata(table):
    """The current metadata of a table in a folder of a Hadoop catalog."""
    folder = Path(table, "metadata")
    version = int(Path(folder, "version-hint.text").read_text())
    plain = folder / f"v{version}.metadata.json"
    return json.loads(plain.read_text() if plain.exists() else gzip.decompress((folder / f"v{version}.gz.metadata.json").read_bytes()))


def field_ids(found):
    """The ids of the current schema's columns, those in structs too, by their paths."""
    schema = next((one for one in found.get("schemas", []) if one["schema-id"] == found["current-schema-id"]), found.get("schema"))

    def of(fields, above):
        for one in fields:
            path = (*above, one["name"])
            yield path, one["id"]
            if isinstance(one["type"], dict) and one["type"]["type"] == "struct":
                yield from of(one["type"]["fields"], path)

    return dict(of(schema["fields"], ()))


def snapshots(found):
    """The snapshots of all branches, oldest first."""
    return sorted(found.get("snapshots", []), key=lambda one: (one.get("sequence-number", 0), one["timestamp-ms"]))


def ancestors(found):
    """The ids of the current snapshot and those before it, oldest first."""
    parents = {one["snapshot-id"]: one.get("parent-snapshot-id") for one in found.get("snapshots", [])}
    at, line = found.get("current-snapshot-id"), []
    while at in parents:
        line.append(at)
        at = parents[at]
    return line[::-1]
