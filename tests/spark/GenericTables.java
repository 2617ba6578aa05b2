/*
 * Writes and reads tables with Iceberg's generic data module, for types that Spark has not: uuid, fixed, time and timestamps in
 * nanoseconds.
 *
 * Contract: values come in the JSON serialization of single values of the Iceberg specification, but a struct by names and floats as text.
 * Rows that are read are JSON arrays of what the tests' compare.py takes for cells: dates, times and timestamps as numbers, floats and
 * decimals as text, bytes and uuids as hexadecimal, structs as arrays. Tables have no lists and no maps.
 */
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.PartitionKey;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.SchemaParser;
import org.apache.iceberg.SingleValueParser;
import org.apache.iceberg.StructLike;
import org.apache.iceberg.Table;
import org.apache.iceberg.UpdatePartitionSpec;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.GenericAppenderFactory;
import org.apache.iceberg.data.GenericRecord;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.InternalRecordWrapper;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.encryption.EncryptedOutputFile;
import org.apache.iceberg.expressions.Expressions;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.DataWriter;
import org.apache.iceberg.io.OutputFileFactory;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.JsonNode;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;
import org.apache.iceberg.util.DateTimeUtil;

public final class GenericTables {
    private static final ObjectMapper JSON = new ObjectMapper();

    private GenericTables() {}

    public static void create(Catalog catalog, String namespace, String name, String schema, int version) {
        Map<String, String> properties = Map.of("format-version", String.valueOf(version));
        catalog.createTable(TableIdentifier.of(namespace, name), SchemaParser.fromJson(schema), PartitionSpec.unpartitioned(), properties);
    }

    /** Adds or drops a partition term: the name of a transform, a column and the transform's number. */
    public static void changeTerm(Table table, boolean add, String transform, String column, int size) {
        UpdatePartitionSpec update = table.updateSpec();
        var term = switch (transform) {
            case "identity" -> Expressions.ref(column);
            case "bucket" -> Expressions.bucket(column, size);
            case "truncate" -> Expressions.truncate(column, size);
            case "year" -> Expressions.year(column);
            case "month" -> Expressions.month(column);
            case "day" -> Expressions.day(column);
            default -> Expressions.hour(column);
        };
        (add ? update.addField(term) : update.removeField(term)).commit();
    }

    public static void dropColumn(Table table, String column) {
        table.updateSchema().deleteColumn(column).commit();
    }

    public static void renameColumn(Table table, String column, String name) {
        table.updateSchema().renameColumn(column, name).commit();
    }

    public static void promote(Table table, String column, String type) {
        table.updateSchema().updateColumn(column, Types.fromPrimitiveString(type)).commit();
    }

    public static void addColumn(Table table, String parent, String name, String type) {
        table.updateSchema().addColumn(parent, name, Types.fromPrimitiveString(type)).commit();
    }

    /** Appends rows, one file for each partition. */
    public static void append(Table table, String script) throws IOException {
        Schema schema = table.schema();
        PartitionSpec spec = table.spec();
        InternalRecordWrapper internal = new InternalRecordWrapper(schema.asStruct());
        Map<StructLike, List<Record>> partitions = new LinkedHashMap<>();
        for (JsonNode row : JSON.readTree(script)) {
            Record record = (Record) value(schema.asStruct(), row);
            PartitionKey key = new PartitionKey(spec, schema);
            key.partition(internal.wrap(record));
            partitions.computeIfAbsent(key, none -> new ArrayList<>()).add(record);
        }
        GenericAppenderFactory factory = new GenericAppenderFactory(table, schema, spec, Map.of(), null, null, null);
        OutputFileFactory files = OutputFileFactory.builderFor(table, 0, System.nanoTime()).format(FileFormat.PARQUET).build();
        AppendFiles append = table.newAppend();
        for (Map.Entry<StructLike, List<Record>> partition : partitions.entrySet()) {
            StructLike key = spec.isUnpartitioned() ? null : partition.getKey();
            EncryptedOutputFile file = key == null ? files.newOutputFile() : files.newOutputFile(spec, key);
            DataWriter<Record> writer = factory.newDataWriter(file, FileFormat.PARQUET, key);
            try (writer) {
                partition.getValue().forEach(writer::write);
            }
            append.appendFile(writer.toDataFile());
        }
        append.commit();
    }

    /** The rows of a snapshot, in the schema that goes with it; of the current table where the id is -1. */
    public static String rows(Table table, long snapshot) throws IOException {
        IcebergGenerics.ScanBuilder scan = IcebergGenerics.read(table);
        Schema schema = snapshot == -1 ? table.schema() : table.schemas().get(table.snapshot(snapshot).schemaId());
        List<Object> rows = new ArrayList<>();
        try (CloseableIterable<Record> records = (snapshot == -1 ? scan : scan.useSnapshot(snapshot)).build()) {
            for (Record record : records) {
                rows.add(cell(schema.asStruct(), record));
            }
        }
        return JSON.writeValueAsString(rows);
    }

    /** A value as the generic module takes it. */
    static Object value(Type type, JsonNode json) {
        if (json == null || json.isNull()) {
            return null;
        }
        if (type.isStructType()) {
            Record record = GenericRecord.create(type.asStructType());
            type.asStructType().fields().forEach(field -> record.setField(field.name(), value(field.type(), json.get(field.name()))));
            return record;
        }
        Object value = internal(type, json);
        return switch (type.typeId()) {
            case DATE -> DateTimeUtil.dateFromDays((Integer) value);
            case TIME -> DateTimeUtil.timeFromMicros((Long) value);
            case TIMESTAMP, TIMESTAMP_NANO -> timestamp(type, (Long) value);
            case FIXED -> ((ByteBuffer) value).array();
            default -> value;
        };
    }

    private static Object timestamp(Type type, long ticks) {
        if (type.typeId() == Type.TypeID.TIMESTAMP) {
            return zoned(type) ? DateTimeUtil.timestamptzFromMicros(ticks) : DateTimeUtil.timestampFromMicros(ticks);
        }
        return zoned(type) ? DateTimeUtil.timestamptzFromNanos(ticks) : DateTimeUtil.timestampFromNanos(ticks);
    }

    private static long ticks(Type type, Object value) {
        boolean micros = type.typeId() == Type.TypeID.TIMESTAMP;
        if (value instanceof OffsetDateTime at) {
            return micros ? DateTimeUtil.microsFromTimestamptz(at) : DateTimeUtil.nanosFromTimestamptz(at);
        }
        LocalDateTime at = (LocalDateTime) value;
        return micros ? DateTimeUtil.microsFromTimestamp(at) : DateTimeUtil.nanosFromTimestamp(at);
    }

    /** A value as metadata has it. Floats may be text: JSON has no NaN. */
    static Object internal(Type type, JsonNode json) {
        return switch (type.typeId()) {
            case FLOAT -> Float.parseFloat(json.asText());
            case DOUBLE -> Double.parseDouble(json.asText());
            default -> SingleValueParser.fromJson(type, json);
        };
    }

    private static boolean zoned(Type type) {
        return type.equals(Types.TimestampType.withZone()) || type.equals(Types.TimestampNanoType.withZone());
    }

    private static Object cell(Type type, Object value) {
        if (value == null) {
            return null;
        }
        if (type.isStructType()) {
            List<Object> cells = new ArrayList<>();
            type.asStructType().fields().forEach(field -> cells.add(cell(field.type(), ((Record) value).getField(field.name()))));
            return cells;
        }
        return switch (type.typeId()) {
            case DATE -> DateTimeUtil.daysFromDate((LocalDate) value);
            case TIME -> DateTimeUtil.microsFromTime((LocalTime) value);
            case TIMESTAMP, TIMESTAMP_NANO -> ticks(type, value);
            case FLOAT, DOUBLE -> Double.toString(((Number) value).doubleValue());
            case DECIMAL -> ((java.math.BigDecimal) value).toPlainString();
            case UUID -> ((UUID) value).toString().replace("-", "");
            // A constant of an identity partition comes as a buffer.
            case FIXED, BINARY -> hex(value instanceof byte[] ? ByteBuffer.wrap((byte[]) value) : (ByteBuffer) value);
            default -> value;
        };
    }

    private static String hex(ByteBuffer bytes) {
        StringBuilder text = new StringBuilder();
        for (int i = bytes.position(); i < bytes.limit(); i++) {
            text.append(String.format("%02x", bytes.get(i)));
        }
        return text.toString();
    }
}
