/*
 * Changes of tables that SQL has no words for: deletes by equality and columns with a default.
 *
 * Contract: both take a table and JSON. Values are as in GenericTables.java. Each change is one commit. The class is called from the
 * tests' session of Spark; it needs Iceberg's runtime for Spark and nothing else.
 */
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.FileScanTask;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.StructLike;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.GenericAppenderFactory;
import org.apache.iceberg.data.GenericRecord;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.deletes.EqualityDeleteWriter;
import org.apache.iceberg.encryption.EncryptedOutputFile;
import org.apache.iceberg.expressions.Expressions;
import org.apache.iceberg.expressions.Literal;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.OutputFileFactory;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.JsonNode;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.TypeUtil;
import org.apache.iceberg.types.Types;

public final class TableChanges {
    private static final ObjectMapper JSON = new ObjectMapper();

    private TableChanges() {}

    /**
     * Writes a file of equality deletes and commits it. {"columns": [dotted name...], "rows": [[value...]...], "scope": n}: the deletes are for the
     * n-th of the table's partitions in the order of their texts, with its partition spec; an unpartitioned one is global. Returns the number of rows.
     */
    public static int deleteEqual(Table table, String script) throws IOException {
        JsonNode json = JSON.readTree(script);
        Schema schema = table.schema();
        List<Integer> ids = new ArrayList<>();
        for (JsonNode column : json.get("columns")) {
            ids.add(schema.findField(column.asText()).fieldId());
        }
        Schema keys = TypeUtil.select(schema, new HashSet<>(ids));
        FileScanTask scope = scope(table, json.get("scope").asInt());
        PartitionSpec spec = scope == null ? table.spec() : scope.spec();
        StructLike partition = scope == null || spec.isUnpartitioned() ? null : scope.file().partition();
        if (partition == null && !spec.isUnpartitioned()) {
            return 0;
        }
        int[] fieldIds = ids.stream().mapToInt(Integer::intValue).toArray();
        GenericAppenderFactory factory = new GenericAppenderFactory(table, schema, spec, Map.of(), fieldIds, keys, null);
        OutputFileFactory files = OutputFileFactory.builderFor(table, 0, System.nanoTime()).format(FileFormat.PARQUET).build();
        EqualityDeleteWriter<Record> writer =
                factory.newEqDeleteWriter(output(files, spec, partition), FileFormat.PARQUET, partition);
        int rows = 0;
        try (writer) {
            for (JsonNode row : json.get("rows")) {
                Record key = GenericRecord.create(keys);
                for (int i = 0; i < ids.size(); i++) {
                    put(key, keys.asStruct(), ids.get(i), row.get(i));
                }
                writer.write(key);
                rows++;
            }
        }
        table.newRowDelta().addDeletes(writer.toDeleteFile()).commit();
        return rows;
    }

    private static EncryptedOutputFile output(OutputFileFactory files, PartitionSpec spec, StructLike partition) {
        return partition == null ? files.newOutputFile() : files.newOutputFile(spec, partition);
    }

    /** A live file of the n-th partition; null where the table has no file. */
    private static FileScanTask scope(Table table, int n) throws IOException {
        Map<String, FileScanTask> partitions = new TreeMap<>(Comparator.naturalOrder());
        try (CloseableIterable<FileScanTask> tasks = table.newScan().planFiles()) {
            for (FileScanTask task : tasks) {
                String path = task.spec().isUnpartitioned() ? "" : task.spec().partitionToPath(task.file().partition());
                partitions.putIfAbsent(task.spec().specId() + " " + path, task);
            }
        }
        return partitions.isEmpty() ? null : new ArrayList<>(partitions.values()).get(n % partitions.size());
    }

    /** Puts the value of the field with this id where it belongs, making the structs around it. */
    private static void put(Record record, Types.StructType type, int id, JsonNode value) {
        for (Types.NestedField field : type.fields()) {
            if (field.fieldId() == id) {
                record.setField(field.name(), GenericTables.value(field.type(), value));
            } else if (field.type().isStructType() && new Schema(field.type().asStructType().fields()).findField(id) != null) {
                Types.StructType below = field.type().asStructType();
                Record inner = (Record) record.getField(field.name());
                if (inner == null) {
                    inner = GenericRecord.create(below);
                    record.setField(field.name(), inner);
                }
                put(inner, below, id, value);
            }
        }
    }

    /** Adds an optional column with a default, of rows before and of those to come. {"parent": dotted name or null, "name", "type", "default", "place"}. */
    public static void addColumn(Table table, String script) throws IOException {
        JsonNode json = JSON.readTree(script);
        Type.PrimitiveType type = Types.fromPrimitiveString(json.get("type").asText());
        String parent = json.get("parent").isNull() ? null : json.get("parent").asText();
        String name = json.get("name").asText();
        Literal<?> value = literal(type, GenericTables.internal(type, json.get("default")));
        var update = table.updateSchema().addColumn(parent, name, type, null, value);
        String full = parent == null ? name : parent + "." + name;
        JsonNode place = json.get("place");
        if (place.isTextual()) {
            update = update.moveFirst(full);
        } else if (place.isObject()) {
            String after = place.get("after").asText();
            update = update.moveAfter(full, parent == null ? after : parent + "." + after);
        }
        update.commit();
    }

    private static Literal<?> literal(Type type, Object value) {
        Literal<?> plain;
        if (value instanceof Boolean) {
            plain = Expressions.lit((Boolean) value);
        } else if (value instanceof Integer) {
            plain = Expressions.lit((Integer) value);
        } else if (value instanceof Long) {
            plain = Expressions.lit((Long) value);
        } else if (value instanceof Float) {
            plain = Expressions.lit((Float) value);
        } else if (value instanceof Double) {
            plain = Expressions.lit((Double) value);
        } else {
            plain = Expressions.lit(value);
        }
        return plain.to(type);
    }
}
