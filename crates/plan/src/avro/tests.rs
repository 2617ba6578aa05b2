use crate::avro::codec::MAX_BLOCK;
use crate::manifest::{decode, decode_list};
use crate::testing::{EntrySpec, bytes, container, deflate, entry, long, manifest, manifest_list, manifest_schema};
use fastdata_types::ErrorKind;

fn block_of(entries: &[EntrySpec]) -> Vec<u8> {
    let mut block = Vec::new();
    entries.iter().for_each(|e| entry(&mut block, e));
    block
}

fn fails(file: &[u8], kind: ErrorKind) -> String {
    let error = decode("s3://b/m0.avro", file).expect_err("the file was read");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains("m0.avro"), "the error names no file: {error}");
    error.message().to_owned()
}

#[test]
fn every_codec_gives_the_same_entries() {
    let block = block_of(&[EntrySpec::data("a"), EntrySpec::data("b")]);
    let mut snappy = snap::raw::Encoder::new().compress_vec(&block).unwrap();
    snappy.extend(crc32fast::hash(&block).to_be_bytes());
    let zstandard = zstd::bulk::compress(&block, 3).unwrap();
    for (codec, compressed) in [("null", block.clone()), ("deflate", deflate(&block)), ("snappy", snappy), ("zstandard", zstandard)] {
        let file = container(
            &manifest_schema(&[]),
            codec,
            &[],
            &[(2, compressed.clone()), (0, if codec == "null" { vec![] } else { compressed.clone() })],
        );
        // An empty block of a compressed file still has content: the second block claims no records and holds two.
        match codec {
            "null" => assert_eq!(decode("m0.avro", &file).unwrap(), 2, "{codec}"),
            _ => drop(fails(&file, ErrorKind::Corrupt)),
        }
        let file = container(&manifest_schema(&[]), codec, &[], &[(2, compressed.clone()), (2, compressed)]);
        assert_eq!(decode("m0.avro", &file).unwrap(), 4, "{codec}");
    }
}

#[test]
fn another_writer_is_read_too() {
    let schema = apache_avro::Schema::parse_str(&manifest_schema(&[(1000, "p0", r#""string""#)])).unwrap();
    let mut writer = apache_avro::Writer::with_codec(&schema, Vec::new(), apache_avro::Codec::Deflate(Default::default()));
    let block = block_of(&[EntrySpec::data("s3://b/ä.parquet").partition(vec![Some(fastdata_types::Value::String("x".into()))])]);
    let value = apache_avro::from_avro_datum(&schema, &mut block.as_slice(), None).unwrap();
    for _ in 0..1000 {
        writer.append(value.clone()).unwrap();
    }
    assert_eq!(decode("m0.avro", &writer.into_inner().unwrap()).unwrap(), 1000);
}

#[test]
fn an_unknown_codec_and_an_encrypted_file_are_refused_by_name() {
    let file = container(&manifest_schema(&[]), "bzip2", &[], &[(1, block_of(&[EntrySpec::data("a")]))]);
    assert!(fails(&file, ErrorKind::Unsupported).contains("bzip2"));
    assert!(fails(b"AGS1\0\0\x10\0rest", ErrorKind::Unsupported).contains("encrypted"));
}

#[test]
fn a_bomb_ends_at_the_limit() {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..(MAX_BLOCK >> 20) + 1 {
        encoder.write_all(&zeros).unwrap();
    }
    let deflated = encoder.finish().unwrap();
    let zstandard = zstd::bulk::compress(&vec![0; MAX_BLOCK + 1], 1).unwrap();
    for (codec, bomb) in [("deflate", deflated), ("zstandard", zstandard)] {
        assert!(bomb.len() < 2 << 20);
        let file = container(&manifest_schema(&[]), codec, &[], &[(1, bomb)]);
        assert!(fails(&file, ErrorKind::LimitExceeded).contains("inflates"), "{codec}");
    }
    // A snappy length that cannot be true takes no memory at all.
    let mut lie = vec![0xff, 0xff, 0xff, 0x7f, 0, 0];
    lie.extend([0; 4]);
    fails(&container(&manifest_schema(&[]), "snappy", &[], &[(1, lie)]), ErrorKind::Corrupt);
}

#[test]
fn blocks_that_together_are_too_large_end_at_the_limit() {
    // Entries of one megabyte each, in blocks of 16: 33 of them are more than a file may hold.
    let large = EntrySpec { key_metadata: Some(vec![0; 1 << 20]), ..EntrySpec::data("a") };
    let block = zstd::bulk::compress(&block_of(&vec![large; 16]), 1).unwrap();
    let file = container(&manifest_schema(&[]), "zstandard", &[], &vec![(16, block); 33]);
    fails(&file, ErrorKind::LimitExceeded);
}

#[test]
fn a_cut_file_is_corrupt_wherever_it_is_cut() {
    let file = manifest(&[], &[EntrySpec::data("a"), EntrySpec::data("b")]);
    let block = block_of(&[EntrySpec::data("a"), EntrySpec::data("b")]);
    let header = container(&manifest_schema(&[]), "deflate", &[("partition-spec-id", "0")], &[]).len();
    assert!(file.len() > header && !block.is_empty());
    for length in (0..file.len()).filter(|length| *length != header) {
        assert!(decode("m0.avro", &file[..length]).is_err(), "{length} of {} bytes were read", file.len());
    }
}

#[test]
fn contradictions_in_a_block_are_corrupt() {
    let block = block_of(&[EntrySpec::data("a")]);
    let schema = manifest_schema(&[]);
    let of = |count: i64, block: Vec<u8>| container(&schema, "null", &[], &[(count, block)]);
    fails(&of(-1, block.clone()), ErrorKind::Corrupt);
    fails(&of(i64::MAX, block.clone()), ErrorKind::Corrupt);
    fails(&of(2, block.clone()), ErrorKind::Corrupt);
    fails(&of(1, [block.clone(), vec![0]].concat()), ErrorKind::Corrupt);
    let mut other_sync = of(1, block.clone());
    *other_sync.last_mut().unwrap() = 8;
    assert!(fails(&other_sync, ErrorKind::Corrupt).contains("sync"));
    let mut snappy = snap::raw::Encoder::new().compress_vec(&block).unwrap();
    snappy.extend([0; 4]);
    assert!(fails(&container(&schema, "snappy", &[], &[(1, snappy)]), ErrorKind::Corrupt).contains("CRC"));
}

/// Lengths, counts, union branches and integers that no writer writes.
#[test]
fn hostile_values_are_corrupt() {
    let file = |field: &str, value: &[u8]| {
        let schema = format!(
            r#"{{"type":"record","name":"manifest_entry","fields":[{{"name":"evil","type":{field}}},{{"name":"status","type":"int"}},{{"name":"data_file","type":
            {{"type":"record","name":"r2","fields":[{{"name":"file_path","type":"string"}},{{"name":"file_format","type":"string"}},
            {{"name":"record_count","type":"long"}},{{"name":"file_size_in_bytes","type":"long"}}]}}}}]}}"#
        );
        let mut block = value.to_vec();
        long(&mut block, 1);
        bytes(&mut block, b"path");
        bytes(&mut block, b"PARQUET");
        long(&mut block, 1);
        long(&mut block, 1);
        container(&schema, "null", &[], &[(1, block)])
    };
    let number = |v: i64| {
        let mut out = Vec::new();
        long(&mut out, v);
        out
    };
    assert_eq!(decode("m0.avro", &file(r#""string""#, &number(0))).unwrap(), 1);
    let evil: [(&str, Vec<u8>); 9] = [
        (r#""string""#, number(-1)),
        (r#""bytes""#, number(i64::MAX)),
        (r#""long""#, vec![0xff; 11]),
        (r#"["null","int"]"#, number(2)),
        (r#"["null","int"]"#, number(-1)),
        (r#"{"type":"array","items":"int"}"#, number(1 << 40)),
        (r#"{"type":"array","items":"int"}"#, [number(-1), number(-5)].concat()),
        (r#"{"type":"array","items":"int"}"#, [number(i64::MIN), number(1 << 50)].concat()),
        (r#"{"type":"map","values":"int"}"#, number(1 << 40)),
    ];
    for (field, value) in evil {
        fails(&file(field, &value), ErrorKind::Corrupt);
    }
    // A quintillion items of no bytes cost nothing.
    let empty = r#"{"type":"array","items":{"type":"record","name":"e","fields":[{"name":"n","type":"null"},{"name":"f","type":{"type":"fixed","name":"z","size":0}}]}}"#;
    assert_eq!(decode("m0.avro", &file(empty, &[number(1 << 60), number(0)].concat())).unwrap(), 1);
}

/// Stepped over, items of no bytes cost nothing; read one by one, they could be claimed again and again.
#[test]
fn items_that_take_no_bytes_are_never_read_one_by_one() {
    let replaced = |from: &str, to: &str| {
        let schema = manifest_schema(&[]).replacen(from, to, 1);
        assert_ne!(schema, manifest_schema(&[]), "{from}");
        schema
    };
    let nulls = replaced(r#""items":"long""#, r#""items":"null""#);
    let map = |value: &str| format!(r#"{{"name":"key","type":"int","field-id":119}},{{"name":"value","type":"{value}","field-id":120}}"#);
    let records = replaced(&map("long"), &map("null").replace(r#""type":"int""#, r#""type":"null""#));
    let offsets = EntrySpec { split_offsets: Some(vec![]), ..EntrySpec::data("a") };
    let counts = EntrySpec { value_counts: [(1, 0)].into(), ..EntrySpec::data("a") };
    for (schema, spec, written) in [(nulls, offsets, vec![2, 0]), (records, counts, vec![2, 2, 2, 0, 0])] {
        // The list as it was written, and in its place one whose item takes no bytes.
        let block = block_of(&[spec]);
        let found: Vec<usize> = (0..block.len()).filter(|at| block[*at..].starts_with(&written)).collect();
        let refused = found.iter().any(|at| {
            let evil = [&block[..*at], &[2, 2, 0], &block[*at + written.len()..]].concat();
            let error = decode("m0.avro", &container(&schema, "null", &[], &[(1, evil)])).err();
            error.is_some_and(|error| error.kind() == ErrorKind::Corrupt && error.message().contains("takes no bytes"))
        });
        assert!(refused, "{schema}");
    }
}

#[test]
fn a_partition_spec_of_any_length_in_the_header_is_refused() {
    let field = r#"{"source-id":1,"name":"","transform":"identity"}"#;
    let file = |fields: usize| {
        let spec = format!("[{}]", vec![field; fields].join(","));
        container(&manifest_schema(&[]), "null", &[("partition-spec", &spec)], &[(1, block_of(&[EntrySpec::data("a")]))])
    };
    assert_eq!(decode("m0.avro", &file(1000)).unwrap(), 1);
    assert!(fails(&file(100_000), ErrorKind::LimitExceeded).contains("partition spec"));
}

/// One byte of a list becomes a summary of sixty: what all of them take is bounded, and no manifest is lost by it.
#[test]
fn summaries_beyond_the_bound_are_not_kept() {
    let schema = r#"{"type":"record","name":"manifest_file","fields":[{"name":"manifest_path","type":"string","field-id":500},
        {"name":"partitions","field-id":507,"type":{"type":"array","items":{"type":"record","name":"r508","fields":[
            {"name":"contains_null","type":"boolean","field-id":509}]}}}]}"#;
    let mut block = Vec::new();
    for _ in 0..3000 {
        bytes(&mut block, b"m");
        long(&mut block, 1000);
        block.extend([0; 1000]);
        long(&mut block, 0);
    }
    let manifests = crate::manifest::list::read("l", &container(schema, "null", &[], &[(3000, block)])).unwrap();
    assert_eq!(manifests.len(), 3000);
    let kept = manifests.iter().filter(|m| m.partitions.is_some()).count();
    assert!(manifests[0].partitions.as_ref().is_some_and(|summaries| summaries.len() == 1000));
    let bytes = kept * 1000 * size_of::<crate::manifest::list::FieldSummary>();
    assert!((32 << 20..=64 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn schemas_that_explode_or_recurse_are_bounded() {
    // Forty records, each holding the one before twice: 2^40 values of no bytes, or of one byte each.
    let tower = |leaf: &str| {
        let mut fields =
            vec![format!(r#"{{"name":"f0","type":{{"type":"record","name":"R0","fields":[{{"name":"x","type":"{leaf}"}}]}}}}"#)];
        for level in 1..40 {
            let below = level - 1;
            fields.push(format!(
                r#"{{"name":"f{level}","type":{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":"R{below}"}},{{"name":"b","type":"R{below}"}}]}}}}"#
            ));
        }
        manifest_schema(&[]).replacen(r#""fields":["#, &format!(r#""fields":[{},"#, fields.join(",")), 1)
    };
    let block = block_of(&[EntrySpec::data("a")]);
    assert_eq!(decode("m0.avro", &container(&tower("null"), "null", &[], &[(1, block.clone())])).unwrap(), 1);
    fails(&container(&tower("boolean"), "null", &[], &[(1, block.clone())]), ErrorKind::Corrupt);

    let recursive = r#"{"name":"r","type":{"type":"record","name":"Loop","fields":[{"name":"next","type":["null","Loop"]}]}}"#;
    let schema = manifest_schema(&[]).replacen(r#""fields":["#, &format!(r#""fields":[{recursive},"#), 1);
    let deep: Vec<u8> = [vec![2; 10_000], vec![0], block.clone()].concat();
    assert!(fails(&container(&schema, "null", &[], &[(1, deep)]), ErrorKind::Corrupt).contains("deep"));
    let shallow: Vec<u8> = [vec![2; 5], vec![0], block.clone()].concat();
    assert_eq!(decode("m0.avro", &container(&schema, "null", &[], &[(1, shallow)])).unwrap(), 1);

    let endless = manifest_schema(&[]).replacen(
        r#""fields":["#,
        r#""fields":[{"name":"r","type":{"type":"record","name":"Self","fields":[{"name":"me","type":"Self"}]}},"#,
        1,
    );
    fails(&container(&endless, "null", &[], &[(1, block)]), ErrorKind::Corrupt);
    let nested = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(60_000), "}".repeat(60_000));
    fails(&container(&nested, "null", &[], &[]), ErrorKind::Corrupt);
    fails(&container(&format!("\"{}\"", "x".repeat(2 << 20)), "null", &[], &[]), ErrorKind::Corrupt);
}

#[test]
fn files_of_another_kind_are_refused() {
    fails(b"", ErrorKind::Corrupt);
    fails(b"PAR1 this is no Avro file", ErrorKind::Corrupt);
    fails(&manifest_list(&[]), ErrorKind::Corrupt);
    assert_eq!(decode_list("l", &manifest(&[], &[])).unwrap_err().kind(), ErrorKind::Corrupt);
    let wrong_type = manifest_schema(&[]).replace(r#"{"name":"record_count","type":"long""#, r#"{"name":"record_count","type":"string""#);
    fails(&container(&wrong_type, "null", &[], &[]), ErrorKind::Corrupt);
    assert!(fails(&manifest(&[], &[EntrySpec { status: 3, ..EntrySpec::data("a") }]), ErrorKind::Corrupt).contains("status"));
}

/// Any single damaged byte gives an answer or an error, never a panic or a hang.
#[test]
fn no_damaged_byte_panics() {
    let entries = [EntrySpec { split_offsets: Some(vec![4, 400]), ..EntrySpec::data("a") }, EntrySpec::equality("b", &[1, 2])];
    let file = container(&manifest_schema(&[]), "null", &[("partition-spec", "[]")], &[(2, block_of(&entries))]);
    for at in 0..file.len() {
        for damage in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] = damage;
            let _ = decode("m0.avro", &damaged);
        }
    }
}
