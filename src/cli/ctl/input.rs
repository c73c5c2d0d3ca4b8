//! Files of devices: every line is looked at before anything is done.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::exit::{Exit, Failure};
use crate::grpc::proto::gsdk::connect::SlaveDeviceInfo;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header line
    Csv,
    /// One JSON array of objects
    Json,
    /// One JSON object a line
    Jsonl,
}

impl Format {
    /// Guesses by the extension of the file.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" | "txt" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// A device that is to be kept connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDevice {
    pub id: u32,
    pub place: Place,
    pub ssl: bool,
}

/// Where a device listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub ip: Ipv4Addr,
    /// 0: the default port of devices.
    pub port: u16,
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, port) = match text.split_once(':') {
            None => (text, Some(0)),
            Some((ip, port)) => (ip, port.parse().ok().filter(|port| *port > 0)),
        };
        match (ip.parse(), port) {
            (Ok(ip), Some(port)) => Ok(Self { ip, port }),
            _ => Err(format!(
                "{text:?} is no address of a device; write an IPv4 address, with its port if it is not 51211: 192.0.2.7 or 192.0.2.7:51300 (host names are not taken)"
            )),
        }
    }
}

/// Reads a device ID.
///
/// # Errors
/// What would be right.
pub fn device_id(text: &str) -> Result<u32, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.ok_or_else(|| format!("{text:?} is no device ID; it must be a number from 1 to 4294967295"))
}

/// Where in a file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    Line(u64),
    /// The whole file is one document: entries are counted from 1.
    Entry(u64),
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Entry(number) => write!(f, "entry {number}"),
        }
    }
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    spot: Spot,
    text: String,
}

/// One record: its fields by name, all as text.
struct Record {
    spot: Spot,
    fields: Result<HashMap<String, String>, String>,
}

/// The devices of a file, all or none.
///
/// # Errors
/// [`Exit::BadInput`] naming the first line that is wrong, and how many more are. `name` is the
/// name of the file.
pub fn devices(text: &str, format: Format, name: &str) -> Result<Vec<NewDevice>, Failure> {
    read(text, format, name, device, |device| device.id)
}

/// The device IDs of a file of devices; the other fields are not looked at.
///
/// # Errors
/// As [`devices`].
pub fn ids(text: &str, format: Format, name: &str) -> Result<Vec<u32>, Failure> {
    read(text, format, name, id_of, |id| *id)
}

fn read<T>(
    text: &str,
    format: Format,
    name: &str,
    one: fn(&HashMap<String, String>) -> Result<T, String>,
    id: fn(&T) -> u32,
) -> Result<Vec<T>, Failure> {
    let mut found = Vec::new();
    let mut faults = Vec::new();
    let mut seen: HashMap<u32, Spot> = HashMap::new();
    let records = records(text, format).map_err(|fault| failure(name, &[fault]))?;
    for Record { spot, fields } in records {
        let read = fields.and_then(|fields| one(&fields)).and_then(|item| {
            match seen.insert(id(&item), spot) {
                Some(before) => Err(format!("device {} is in {before} already", id(&item))),
                None => Ok(item),
            }
        });
        match read {
            Ok(item) => found.push(item),
            Err(text) => faults.push(Fault { spot, text }),
        }
    }
    match faults.as_slice() {
        [] if found.is_empty() => {
            let text = format!("{name} has no devices in it");
            Err(Failure::new(Exit::BadInput, text))
        }
        [] => Ok(found),
        faults => Err(failure(name, faults)),
    }
}

fn failure(name: &str, faults: &[Fault]) -> Failure {
    let mut text = format!("{name}, ");
    if let Some(Fault { spot, text: what }) = faults.first() {
        text.push_str(&format!("{spot}: {what}; nothing was applied"));
    }
    match faults.len() {
        0 | 1 => {}
        2 => text.push_str(" (one more is wrong as well)"),
        faults => text.push_str(&format!(" ({} more are wrong as well)", faults - 1)),
    }
    Failure::new(Exit::BadInput, text)
}

fn device(fields: &HashMap<String, String>) -> Result<NewDevice, String> {
    const KNOWN: [&str; 4] = ["id", "address", "port", "ssl"];
    let mut unknown: Vec<&str> = fields.keys().map(String::as_str).collect();
    unknown.retain(|name| !KNOWN.contains(name));
    unknown.sort_unstable();
    if let Some(name) = unknown.first() {
        return Err(format!(
            "there is no field {name:?}; the fields are id, address, port and ssl"
        ));
    }
    let id = id_of(fields)?;
    let address = fields
        .get("address")
        .ok_or("the field address is missing")?;
    let mut place: Place = address.parse()?;
    if let Some(text) = fields.get("port").filter(|text| !text.is_empty()) {
        let port = text.parse().map_err(|_| {
            format!(
                "the port is {text:?}; it must be a number from 0 to 65535, where 0 means 51211"
            )
        })?;
        if place.port != 0 && port != 0 && place.port != port {
            return Err(format!(
                "the port is {port} and the address has another one, {}",
                place.port
            ));
        }
        place.port = place.port.max(port);
    }
    let ssl = match fields.get("ssl").map(String::as_str) {
        None | Some("" | "false" | "0" | "no") => false,
        Some("true" | "1" | "yes") => true,
        Some(text) => return Err(format!("ssl is {text:?}; it must be true or false")),
    };
    Ok(NewDevice { id, place, ssl })
}

fn id_of(fields: &HashMap<String, String>) -> Result<u32, String> {
    device_id(fields.get("id").ok_or("the field id is missing")?)
}

/// One device with those behind it, as `slaves get` prints it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slaves {
    id: u32,
    #[serde(default)]
    rs485: Vec<u32>,
    #[serde(default)]
    wiegand: Vec<u32>,
}

/// The devices behind devices, from a JSON array of objects with id, rs485 and wiegand.
///
/// # Errors
/// [`Exit::BadInput`] naming the line.
pub fn slaves(text: &str, name: &str) -> Result<Vec<SlaveDeviceInfo>, Failure> {
    let entries: Vec<Slaves> = serde_json::from_str(text).map_err(|error| {
        let text = format!(
            "{name}: {error}; an array of objects such as {{\"id\": 1001, \"rs485\": [2001], \"wiegand\": []}} is wanted; nothing was applied"
        );
        Failure::new(Exit::BadInput, text)
    })?;
    let infos = entries.into_iter().map(|entry| SlaveDeviceInfo {
        device_id: entry.id,
        rs485_slave_device_i_ds: entry.rs485,
        wiegand_slave_device_i_ds: entry.wiegand,
    });
    Ok(infos.collect())
}

fn records(text: &str, format: Format) -> Result<Vec<Record>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Csv => csv_records(text),
        Format::Json => json_records(text),
        Format::Jsonl => Ok(jsonl_records(text)),
    }
}

/// Lines of CSV. Without a header the only column is the ID.
fn csv_records(text: &str) -> Result<Vec<Record>, Fault> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut names: Option<Vec<String>> = None;
    let mut records = Vec::new();
    for (index, record) in reader.records().enumerate() {
        // A text has nothing that the reader could refuse, once it is UTF-8.
        let record = record.map_err(|error| Fault {
            spot: Spot::Line(index as u64 + 1),
            text: error.to_string(),
        })?;
        let spot = Spot::Line(
            record
                .position()
                .map_or(0, |position| line_of(text, position)),
        );
        let Some(names) = &names else {
            if record.len() == 1 && record[0].parse::<u64>().is_ok() {
                names = Some(vec!["id".to_owned()]);
                records.push(csv_record(spot, &["id".to_owned()], &record));
            } else {
                names = Some(header(spot, &record)?);
            }
            continue;
        };
        records.push(csv_record(spot, names, &record));
    }
    Ok(records)
}

/// The line on which a record stands: the reader's position is before the blank lines and comments
/// that it passes over.
fn line_of(text: &str, position: &csv::Position) -> u64 {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(start..).unwrap_or_default();
    let passed_over = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('#'));
    position.line() + passed_over.count() as u64
}

fn header(spot: Spot, record: &csv::StringRecord) -> Result<Vec<String>, Fault> {
    let names: Vec<String> = record.iter().map(str::to_lowercase).collect();
    if names.iter().any(|name| name == "id") {
        return Ok(names);
    }
    Err(Fault {
        spot,
        text: "a file of devices begins with a line that names its columns, for instance id,address,port,ssl".to_owned(),
    })
}

fn csv_record(spot: Spot, names: &[String], record: &csv::StringRecord) -> Record {
    let fields = if record.len() == names.len() {
        let fields = names.iter().cloned().zip(record.iter().map(str::to_owned));
        Ok(fields.collect())
    } else {
        Err(format!(
            "it has {} fields, and the first line names {}",
            record.len(),
            names.len()
        ))
    };
    Record { spot, fields }
}

fn json_records(text: &str) -> Result<Vec<Record>, Fault> {
    let document: Value = serde_json::from_str(text).map_err(|error| Fault {
        spot: Spot::Line(error.line() as u64),
        text: format!("this is no JSON: {error}"),
    })?;
    let Value::Array(entries) = document else {
        return Err(Fault {
            spot: Spot::Line(1),
            text: "the document must be an array of objects such as {\"id\": 1001, \"address\": \"192.0.2.7\"}"
                .to_owned(),
        });
    };
    let entries = entries.into_iter().zip(1..);
    Ok(entries
        .map(|(entry, number)| Record {
            spot: Spot::Entry(number),
            fields: json_fields(entry),
        })
        .collect())
}

fn jsonl_records(text: &str) -> Vec<Record> {
    let lines = text.lines().zip(1..);
    lines
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| Record {
            spot: Spot::Line(number),
            fields: serde_json::from_str(line)
                .map_err(|error| format!("this is no JSON object: {error}"))
                .and_then(json_fields),
        })
        .collect()
}

/// An object, or a bare number as the ID.
fn json_fields(value: Value) -> Result<HashMap<String, String>, String> {
    let object = match value {
        Value::Object(object) => object,
        Value::Number(id) => Map::from_iter([("id".to_owned(), Value::Number(id))]),
        _ => {
            return Err(
                "it must be an object such as {\"id\": 1001, \"address\": \"192.0.2.7\"}"
                    .to_owned(),
            );
        }
    };
    let texts = object.into_iter().map(|(name, value)| {
        let text = match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(format!(
                    "the field {name:?} must be a text, a number or true or false"
                ));
            }
        };
        Ok((name, text))
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(id: u32, ip: [u8; 4], port: u16, ssl: bool) -> NewDevice {
        let place = Place {
            ip: ip.into(),
            port,
        };
        NewDevice { id, place, ssl }
    }

    fn read(text: &str, format: Format) -> Result<Vec<NewDevice>, String> {
        devices(text, format, "f").map_err(|failure| {
            assert_eq!(failure.exit, Exit::BadInput);
            failure.text
        })
    }

    #[test]
    fn the_three_formats_say_the_same() {
        let wanted = vec![
            new(1001, [192, 0, 2, 7], 0, false),
            new(1002, [192, 0, 2, 8], 51300, true),
        ];
        let csv =
            "id,address,port,ssl\n1001,192.0.2.7,,\n\n# a word\n1002, 192.0.2.8 ,51300,true\n";
        assert_eq!(read(csv, Format::Csv), Ok(wanted.clone()));
        let short = "\u{feff}ID,Address,ssl\r\n1001,192.0.2.7,no\r\n1002,192.0.2.8:51300,yes\r\n";
        assert_eq!(read(short, Format::Csv), Ok(wanted.clone()));
        let json = r#"[{"id":1001,"address":"192.0.2.7"},{"id":"1002","address":"192.0.2.8","port":51300,"ssl":true}]"#;
        assert_eq!(read(json, Format::Json), Ok(wanted.clone()));
        let jsonl = "{\"id\":1001,\"address\":\"192.0.2.7\",\"port\":null}\n\n{\"id\":1002,\"address\":\"192.0.2.8:51300\",\"ssl\":true}\n";
        assert_eq!(read(jsonl, Format::Jsonl), Ok(wanted));
    }

    #[test]
    fn a_bad_line_is_named_and_nothing_applied() {
        let csv =
            |lines: &str| read(&format!("id,address,port,ssl\n{lines}"), Format::Csv).unwrap_err();
        for (lines, told) in [
            (
                "1,192.0.2.7,,\n0,192.0.2.7,,\n",
                "f, line 3: \"0\" is no device ID",
            ),
            (
                "1,door,,\n",
                "f, line 2: \"door\" is no address of a device",
            ),
            (
                "1,192.0.2.7:0,,\n",
                "f, line 2: \"192.0.2.7:0\" is no address",
            ),
            ("1,192.0.2.7,70000,\n", "f, line 2: the port is \"70000\""),
            (
                "1,192.0.2.7:5,6,\n",
                "f, line 2: the port is 6 and the address",
            ),
            ("1,192.0.2.7,,perhaps\n", "f, line 2: ssl is \"perhaps\""),
            (
                "1,192.0.2.7,\n",
                "f, line 2: it has 3 fields, and the first line names 4",
            ),
            (
                "\n1,192.0.2.7,,\r\n# a word\n\n1,192.0.2.8,,\n",
                "f, line 6: device 1 is in line 3 already",
            ),
            ("", "f has no devices in it"),
        ] {
            let text = csv(lines);
            assert!(text.starts_with(told), "{text}");
        }
        let text = csv("x,192.0.2.7,,\n1,192.0.2.7,,\ny,192.0.2.7,,\nz,192.0.2.7,,\n");
        assert!(
            text.ends_with("nothing was applied (2 more are wrong as well)"),
            "{text}"
        );
    }

    #[test]
    fn other_faults_are_named_too() {
        for (text, format, told) in [
            (
                "1001,192.0.2.7\n",
                Format::Csv,
                "line 1: a file of devices begins with",
            ),
            (
                "id,adress\n1,192.0.2.7\n",
                Format::Csv,
                "line 2: there is no field \"adress\"",
            ),
            (
                "id\n1\n",
                Format::Csv,
                "line 2: the field address is missing",
            ),
            ("{}", Format::Json, "line 1: the document must be an array"),
            ("[\n{\n]", Format::Json, "line 3: this is no JSON"),
            (
                "[{\"id\":1}]",
                Format::Json,
                "entry 1: the field address is missing",
            ),
            (
                "[{\"id\":[1]}]",
                Format::Json,
                "entry 1: the field \"id\" must be",
            ),
            ("[\"a\"]", Format::Json, "entry 1: it must be an object"),
            ("\nnull\n", Format::Jsonl, "line 2: it must be an object"),
            (
                "{\"id\":-1,\"address\":\"192.0.2.7\"}",
                Format::Jsonl,
                "line 1: \"-1\" is no device ID",
            ),
        ] {
            let error = read(text, format).unwrap_err();
            assert!(error.starts_with(&format!("f, {told}")), "{error}");
        }
    }

    #[test]
    fn ids_alone_are_enough_to_forget_devices() {
        for (text, format) in [
            ("1001\n1002\n", Format::Csv),
            (
                "id,address,status\n1001,192.0.2.7,x\n1002,192.0.2.8,y\n",
                Format::Csv,
            ),
            ("[1001, {\"id\": 1002}]", Format::Json),
            ("1001\n{\"id\": 1002, \"more\": 1}\n", Format::Jsonl),
        ] {
            assert_eq!(ids(text, format, "f"), Ok(vec![1001, 1002]), "{text}");
        }
        let failure = ids("1001\nx\n", Format::Csv, "f").unwrap_err();
        assert!(failure.text.starts_with("f, line 2: "), "{failure}");
    }

    #[test]
    fn slaves_are_read_as_they_are_printed() {
        let text = "[{\"id\":1001,\"rs485\":[2001,2002],\"wiegand\":[3001]},{\"id\":1002}]";
        let read = slaves(text, "f").unwrap();
        let printed = super::super::output::render(&read, super::super::output::Output::Json);
        assert_eq!(slaves(&printed, "f"), Ok(read));
        let failure = slaves("[\n{\"id\":1,\"rs_485\":[]}]", "f").unwrap_err();
        assert_eq!(failure.exit, Exit::BadInput);
        assert!(
            failure.text.contains("rs_485") && failure.text.contains("line 2"),
            "{failure}"
        );
    }

    #[test]
    fn the_format_is_guessed_by_the_extension() {
        for (name, format) in [
            ("a.csv", Some(Format::Csv)),
            ("a.JSON", Some(Format::Json)),
            ("a.jsonl", Some(Format::Jsonl)),
            ("a", None),
            ("-", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            for format in [Format::Csv, Format::Json, Format::Jsonl] {
                let _ = devices(&text, format, "f");
                let _ = ids(&text, format, "f");
            }
        }

        #[test]
        fn what_is_written_is_read(
            entries in prop::collection::btree_map(1_u32.., (any::<u32>(), any::<u16>(), any::<bool>()), 1..20)
        ) {
            let mut csv = "id,address,port,ssl\n".to_owned();
            let mut wanted = Vec::new();
            for (id, (ip, port, ssl)) in entries {
                let ip = Ipv4Addr::from(ip);
                csv.push_str(&format!("{id},{ip},{port},{ssl}\n"));
                wanted.push(NewDevice { id, place: Place { ip, port }, ssl });
            }
            // Cut anywhere it is either refused or a beginning of the whole.
            for end in 0..csv.len() {
                if let Ok(read) = devices(&csv[..end], Format::Csv, "f") {
                    prop_assert_eq!(read.len() - 1, wanted.iter().zip(&read).take_while(|(a, b)| a == b).count().min(read.len() - 1));
                }
            }
            prop_assert_eq!(devices(&csv, Format::Csv, "f"), Ok(wanted));
        }
    }
}
