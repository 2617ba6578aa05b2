//! Physical forms of values, promotions, and what is refused.

use super::IcebergField as Field;
use super::*;
use fastdata_types::error::ErrorKind;

fn one(ty: PrimitiveType) -> Schema {
    schema(vec![Field::optional(1, "c", ty)])
}

fn read(leaf: &str, values: LeafValues, ty: PrimitiveType) -> Result<Vec<Option<Value>>> {
    let target = one(ty);
    reading(&target).column(&write_message(&format!("message m {{ required {leaf} = 1; }}"), vec![values.required()]))
}

/// Three rows: NULL, then the values of the file's type, under the type of the table.
fn promoted(from: PrimitiveType, values: [Value; 2], to: PrimitiveType) -> Result<Vec<Option<Value>>> {
    let rows = [vec![None], vec![Some(values[0].clone())], vec![Some(values[1].clone())]];
    reading(&one(to)).column(&write(&one(from), &rows))
}

fn decimal(unscaled: i128, precision: u8, scale: u8) -> Value {
    Value::Decimal { unscaled, precision, scale }
}

#[test]
fn promotions_of_the_specification_widen_every_value_and_keep_null() {
    use PrimitiveType as P;
    let some = |a: Value, b: Value| vec![None, Some(a), Some(b)];
    for (from, values, to, expected) in [
        (P::Int, [Value::Int(i32::MIN), Value::Int(7)], P::Long, [Value::Long(i64::from(i32::MIN)), Value::Long(7)]),
        (P::Float, [Value::Float(0.1), Value::Float(-0.0)], P::Double, [Value::Double(f64::from(0.1f32)), Value::Double(-0.0)]),
        (
            P::Decimal { precision: 9, scale: 2 },
            [decimal(-1, 9, 2), decimal(999_999_999, 9, 2)],
            P::Decimal { precision: 38, scale: 2 },
            [decimal(-1, 38, 2), decimal(999_999_999, 38, 2)],
        ),
        (
            P::Date,
            [Value::Date(-1), Value::Date(19_000)],
            P::Timestamp,
            [Value::Timestamp(-86_400_000_000), Value::Timestamp(19_000 * 86_400_000_000)],
        ),
        (
            P::Date,
            [Value::Date(-1), Value::Date(19_000)],
            P::TimestampNs,
            [Value::TimestampNs(-86_400_000_000_000), Value::TimestampNs(19_000 * 86_400_000_000_000)],
        ),
    ] {
        let name = format!("{from} -> {to}");
        let [a, b] = expected;
        assert_eq!(promoted(from, values, to).unwrap(), some(a, b), "{name}");
    }
}

#[test]
fn a_type_that_is_no_promotion_is_refused_with_both_types_and_the_column() {
    use PrimitiveType as P;
    let text = || Value::String("1".into());
    for (from, value, to) in [
        (P::String, text(), P::Int),
        (P::Long, Value::Long(1), P::Int),
        (P::Int, Value::Int(1), P::Double),
        (P::Int, Value::Int(1), P::Date),
        (P::Double, Value::Double(1.0), P::Float),
        (P::Int, Value::Int(1), P::String),
        (P::Binary, Value::Binary(vec![1]), P::Uuid),
        (P::String, text(), P::Uuid),
        (P::String, text(), P::Binary),
        (P::Fixed(4), Value::Fixed(vec![1; 4]), P::Fixed(5)),
        (P::Fixed(4), Value::Fixed(vec![1; 4]), P::Binary),
        (P::Date, Value::Date(1), P::Timestamptz),
        (P::Timestamp, Value::Timestamp(1), P::Date),
        (P::Long, Value::Long(1), P::Timestamp),
        (P::Decimal { precision: 9, scale: 2 }, decimal(1, 9, 2), P::Decimal { precision: 8, scale: 2 }),
        (P::Decimal { precision: 9, scale: 2 }, decimal(1, 9, 2), P::Decimal { precision: 12, scale: 3 }),
        (P::Boolean, Value::Boolean(true), P::Int),
    ] {
        let error = promoted(from.clone(), [value.clone(), value], to.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{from} -> {to}");
        let message = error.message();
        assert!(message.contains("'c'") && message.contains(&to.to_string()) && message.contains("f.parquet"), "{message}");
    }
}

#[test]
fn types_that_cannot_be_returned_are_refused_by_name() {
    for ty in [PrimitiveType::Variant, PrimitiveType::Geometry("geometry".into())] {
        let error = read("int32 c", LeafValues::Int32(vec![1]), ty).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("'c'"), "{error}");
    }
}

#[test]
fn unknown_is_null_whatever_the_file_holds_and_an_always_null_column_is_null_of_any_type() {
    assert_eq!(read("int32 c", LeafValues::Int32(vec![1, 2]), PrimitiveType::Unknown).unwrap(), [None, None]);
    let bytes = write_arrow(
        vec![Arc::new(
            arrow::datatypes::Field::new("c", DataType::Null, true)
                .with_metadata(HashMap::from([("PARQUET:field_id".to_owned(), "1".to_owned())])),
        )],
        vec![Arc::new(arrow::array::NullArray::new(2))],
    );
    for ty in [PrimitiveType::String, PrimitiveType::Long, PrimitiveType::Uuid] {
        assert_eq!(reading(&one(ty)).column(&bytes).unwrap(), [None, None]);
    }
    let required = schema(vec![Field::required(1, "c", PrimitiveType::Long)]);
    assert_eq!(reading(&required).column(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn integers_of_other_widths_widen_exactly_and_unsigned_ones_that_might_not_fit_are_refused() {
    use PrimitiveType as P;
    let ints = || LeafValues::Int32(vec![-1, 100]);
    assert_eq!(read("int32 c (INT_8)", ints(), P::Int).unwrap(), [int(-1), int(100)]);
    assert_eq!(read("int32 c (INT_16)", ints(), P::Long).unwrap(), [Some(Value::Long(-1)), Some(Value::Long(100))]);
    assert_eq!(read("int32 c (UINT_8)", LeafValues::Int32(vec![255]), P::Int).unwrap(), [int(255)]);
    assert_eq!(read("int32 c (UINT_16)", LeafValues::Int32(vec![65_535]), P::Int).unwrap(), [int(65_535)]);
    assert_eq!(read("int32 c (UINT_32)", ints(), P::Long).unwrap(), [Some(Value::Long(4_294_967_295)), Some(Value::Long(100))]);
    assert!(read("int32 c (UINT_32)", ints(), P::Int).is_err());
    assert!(read("int64 c (UINT_64)", LeafValues::Int64(vec![1]), P::Long).is_err());
}

#[test]
fn decimals_are_read_from_every_physical_form() {
    let ty = || PrimitiveType::Decimal { precision: 20, scale: 2 };
    let expected = [Some(decimal(-1, 20, 2)), Some(decimal(1234, 20, 2))];
    let two = |a: &[u8], b: &[u8]| vec![a.to_vec(), b.to_vec()];
    for (leaf, values) in [
        ("int32 c (DECIMAL(9,2))", LeafValues::Int32(vec![-1, 1234])),
        ("int64 c (DECIMAL(18,2))", LeafValues::Int64(vec![-1, 1234])),
        ("binary c (DECIMAL(20,2))", LeafValues::Bytes(two(&[0xff], &[0x04, 0xd2]))),
        ("fixed_len_byte_array(3) c (DECIMAL(5,2))", LeafValues::Fixed(two(&[0xff; 3], &[0, 0x04, 0xd2]))),
        ("fixed_len_byte_array(20) c (DECIMAL(20,2))", LeafValues::Fixed(two(&[0xff; 20], &[&[0u8; 18][..], &[0x04, 0xd2]].concat()))),
    ] {
        assert_eq!(read(leaf, values, ty()).unwrap(), expected, "{leaf}");
    }
    let huge = [vec![0x7f], vec![0; 19]].concat();
    let error = read("fixed_len_byte_array(20) c (DECIMAL(20,2))", LeafValues::Fixed(vec![huge]), ty()).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("'c'"), "{error}");
}

#[test]
fn times_and_timestamps_of_other_units_keep_their_instant_and_finer_digits_are_cut_towards_the_past() {
    use PrimitiveType as P;
    let stamp = |v| Some(Value::Timestamp(v));
    let stamptz = |v| Some(Value::Timestamptz(v));
    assert_eq!(
        read("int64 c (TIMESTAMP_MILLIS)", LeafValues::Int64(vec![-1, 2]), P::Timestamptz).unwrap(),
        [stamptz(-1000), stamptz(2000)]
    );
    assert_eq!(read("int64 c (TIMESTAMP_MILLIS)", LeafValues::Int64(vec![-1, 2]), P::Timestamp).unwrap(), [stamp(-1000), stamp(2000)]);
    assert_eq!(read("int64 c (TIMESTAMP(MICROS,false))", LeafValues::Int64(vec![-1]), P::Timestamptz).unwrap(), [stamptz(-1)]);
    assert_eq!(read("int64 c (TIMESTAMP(NANOS,true))", LeafValues::Int64(vec![-1, 1999]), P::Timestamp).unwrap(), [stamp(-1), stamp(1)]);
    assert_eq!(
        read("int64 c (TIMESTAMP(MICROS,true))", LeafValues::Int64(vec![-3]), P::TimestamptzNs).unwrap(),
        [Some(Value::TimestamptzNs(-3000))]
    );
    assert_eq!(
        read("int64 c (TIMESTAMP(NANOS,true))", LeafValues::Int64(vec![-3]), P::TimestampNs).unwrap(),
        [Some(Value::TimestampNs(-3))]
    );
    assert_eq!(read("int32 c (TIME_MILLIS)", LeafValues::Int32(vec![3]), P::Time).unwrap(), [Some(Value::Time(3000))]);
    assert_eq!(read("int64 c (TIME_MICROS)", LeafValues::Int64(vec![3]), P::Time).unwrap(), [Some(Value::Time(3))]);
    assert_eq!(read("int64 c (TIME(NANOS,true))", LeafValues::Int64(vec![3999]), P::Time).unwrap(), [Some(Value::Time(3))]);
}

#[test]
fn a_timestamp_that_leaves_64_bits_is_an_error_and_not_wrapped() {
    let far = || LeafValues::Int64(vec![i64::MAX / 10]);
    for (leaf, ty) in [("int64 c (TIMESTAMP_MILLIS)", PrimitiveType::Timestamp), ("int64 c (TIMESTAMP_MICROS)", PrimitiveType::TimestampNs)]
    {
        let error = read(leaf, far(), ty).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("'c'"), "{error}");
    }
    let error = read("int32 c (DATE)", LeafValues::Int32(vec![i32::MAX]), PrimitiveType::Timestamp).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn int96_is_read_in_microseconds_beyond_the_range_of_nanoseconds() {
    let int96 = |julian_day: u32, nanos: u64| {
        let mut value = Int96::new();
        value.set_data(nanos as u32, (nanos >> 32) as u32, julian_day);
        value
    };
    let values = || LeafValues::Int96(vec![int96(2_440_588, 1_999), int96(2_440_587, 86_399_999_999_999), int96(5_373_484, 0)]);
    let year_9999 = (5_373_484 - 2_440_588) * 86_400_000_000;
    let expected = |value: fn(i64) -> Value| [1, -1, year_9999].map(|micros| Some(value(micros)));
    assert_eq!(read("int96 c", values(), PrimitiveType::Timestamptz).unwrap(), expected(Value::Timestamptz));
    assert_eq!(read("int96 c", values(), PrimitiveType::Timestamp).unwrap(), expected(Value::Timestamp));
    assert!(read("int96 c", values(), PrimitiveType::TimestampNs).is_err());
}

#[test]
fn strings_without_annotation_are_checked_to_be_utf8_and_the_column_is_named() {
    for strings in [StringEncoding::Utf8, StringEncoding::Utf8View, StringEncoding::Dictionary] {
        for views in [true, false] {
            for annotation in ["", "(ENUM)", "(JSON)", "(UTF8)"] {
                let message = format!("message m {{ required binary c {annotation} = 1; }}");
                let target = one(PrimitiveType::String);
                let read = |values: &[&[u8]]| {
                    let reading = Reading { strings, views, ..reading(&target) };
                    reading.column(&write_message(&message, vec![bytes(values).required()]))
                };
                assert_eq!(
                    read(&[b"a", b"", "zw\u{f6}lf bytes and more".as_bytes()]).unwrap(),
                    [s("a"), s(""), s("zw\u{f6}lf bytes and more")]
                );
                for bad in [&b"\xff"[..], b"more than twelve bytes \xc3"] {
                    let error = read(&[b"ok", bad]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    assert!(annotation == "(UTF8)" || error.message().contains("'c'"), "{error}");
                }
            }
        }
    }
    assert!(read("binary c (BSON)", bytes(&[b"a"]), PrimitiveType::String).is_err());
}

#[test]
fn binary_fixed_and_uuid_keep_their_bytes() {
    let target = one(PrimitiveType::Binary);
    for views in [true, false] {
        let reading = Reading { views, ..reading(&target) };
        let bytes =
            write_message("message m { required binary c = 1; }", vec![bytes(&[b"\xff", b"", b"more than twelve \x00"]).required()]);
        let expected = [&b"\xff"[..], b"", b"more than twelve \x00"].map(|v| Some(Value::Binary(v.to_vec())));
        assert_eq!(reading.column(&bytes).unwrap(), expected);
    }
    let uuid = || LeafValues::Fixed(vec![vec![7; 16]]);
    assert_eq!(read("fixed_len_byte_array(16) c (UUID)", uuid(), PrimitiveType::Uuid).unwrap(), [Some(Value::Uuid([7; 16]))]);
    assert_eq!(read("fixed_len_byte_array(16) c", uuid(), PrimitiveType::Uuid).unwrap(), [Some(Value::Uuid([7; 16]))]);
    assert_eq!(read("fixed_len_byte_array(16) c", uuid(), PrimitiveType::Fixed(16)).unwrap(), [Some(Value::Fixed(vec![7; 16]))]);
    let twelve = LeafValues::Fixed(vec![vec![7; 12]]);
    assert!(read("fixed_len_byte_array(12) c", twelve, PrimitiveType::Uuid).is_err());
}

#[test]
fn equal_strings_share_one_dictionary_entry() {
    let (long_text, short) = ("a string of more than twelve bytes", "short");
    let target = one(PrimitiveType::String);
    let rows: Vec<Row> =
        [Some(long_text), Some(short), None, Some(long_text), Some(""), Some(short)].iter().map(|t| vec![t.and_then(s)]).collect();
    let reading = Reading { strings: StringEncoding::Dictionary, batch_rows: 10, ..reading(&target) };
    let batch = &reading.batches(&write(&target, &rows)).unwrap()[0];
    let dictionary = batch.column(0).as_dictionary::<Int32Type>();
    assert_eq!(dictionary.values().len(), 3);
    assert_eq!(reading.rows(&write(&target, &rows)).unwrap(), rows);
}

#[test]
fn constants_of_every_type_are_exactly_of_the_fields_type_and_promoted_where_they_are_older() {
    use PrimitiveType as P;
    let day = Value::Date(2);
    let cases = vec![
        (P::Boolean, Value::Boolean(true), None),
        (P::Int, Value::Int(1), None),
        (P::Long, Value::Int(1), Some(Value::Long(1))),
        (P::Float, Value::Float(0.5), None),
        (P::Double, Value::Float(0.5), Some(Value::Double(0.5))),
        (P::Decimal { precision: 20, scale: 2 }, decimal(5, 9, 2), Some(decimal(5, 20, 2))),
        (P::Date, Value::Date(3), None),
        (P::Time, Value::Time(3), None),
        (P::Timestamp, day.clone(), Some(Value::Timestamp(2 * 86_400_000_000))),
        (P::TimestampNs, day, Some(Value::TimestampNs(2 * 86_400_000_000_000))),
        (P::Timestamptz, Value::Timestamptz(3), None),
        (P::TimestamptzNs, Value::TimestamptzNs(3), None),
        (P::String, Value::String("a text longer than a view".into()), None),
        (P::Uuid, Value::Uuid([1; 16]), None),
        (P::Fixed(3), Value::Fixed(vec![1, 2, 3]), None),
        (P::Fixed(0), Value::Fixed(vec![]), None),
        (P::Binary, Value::Binary(vec![0xff, 0]), None),
    ];
    for (ty, value, expected) in cases {
        for strings in [StringEncoding::Utf8, StringEncoding::Utf8View, StringEncoding::Dictionary] {
            let field = Field::optional(1, "c", ty.clone());
            for value in [None, Some(&value)] {
                let array = constant_array(value, &field, strings, 5).unwrap();
                assert_eq!(array.data_type(), arrow_field(&field, strings).unwrap().data_type());
                let wanted = value.map(|value| expected.clone().unwrap_or_else(|| value.clone()));
                assert_eq!((0..5).map(|row| value_at(&array, row, &field.ty)).collect::<Vec<_>>(), vec![wanted; 5]);
                assert_eq!(constant_array(value, &field, strings, 0).unwrap().len(), 0);
            }
        }
    }
    let error = constant_array(Some(&Value::Long(1)), &Field::optional(1, "c", P::String), StringEncoding::Utf8, 1).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("'c'"), "{error}");
}

#[test]
fn a_constant_too_large_to_hold_is_refused_before_it_is_allocated() {
    for (ty, value) in [
        (PrimitiveType::Fixed(i32::MAX as u32), None),
        (PrimitiveType::String, Some(Value::String("x".repeat(1 << 20)))),
        (PrimitiveType::Binary, Some(Value::Binary(vec![0; 1 << 20]))),
    ] {
        let error = constant_array(value.as_ref(), &Field::optional(1, "c", ty), StringEncoding::Utf8, 65_536).unwrap_err();
        assert!(error.kind() == ErrorKind::LimitExceeded && error.message().contains("'c'"), "{error}");
    }
    let field = Field::optional(1, "c", PrimitiveType::String);
    let text = Value::String("x".repeat(1 << 20));
    assert_eq!(constant_array(Some(&text), &field, StringEncoding::Utf8View, 65_536).unwrap().len(), 65_536);
}
