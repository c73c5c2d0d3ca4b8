//! Rows as a table, as JSON, as lines of JSON, or as CSV.

use clap::ValueEnum;
use unicode_width::UnicodeWidthStr;

use super::escape::{escape, escape_json};
use super::row::{AsJson, Field, Row};

/// Between two columns of a table.
const GAP: &str = "  ";

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people; the most important fields
    #[default]
    Table,
    /// One JSON document with every field
    Json,
    /// One JSON object a line with every field
    Jsonl,
    /// Comma-separated values with a header line and every field
    Csv,
}

/// All rows at once.
pub fn render<R: Row>(rows: &[R], output: Output) -> String {
    match output {
        Output::Table => table(rows),
        Output::Json => {
            let rows: Vec<_> = rows.iter().map(AsJson).collect();
            escape_json(&json(&rows, true)) + "\n"
        }
        Output::Jsonl => rows.iter().map(json_line).collect(),
        Output::Csv => {
            let rows = rows.iter().map(|row| csv_line(&cells(row)));
            header_line::<R>() + &rows.collect::<String>()
        }
    }
}

/// A single thing: in a table one line a field, in JSON one object.
pub fn render_one<R: Row>(row: &R, output: Output) -> String {
    match output {
        Output::Table => sheet(row),
        Output::Json => escape_json(&json(&AsJson(row), true)) + "\n",
        Output::Jsonl => json_line(row),
        Output::Csv => header_line::<R>() + &csv_line(&cells(row)),
    }
}

/// Rows that come one after the other, and nobody knows how many.
#[derive(Debug)]
pub struct Flow {
    output: Output,
    rows: u64,
}

impl Flow {
    pub const fn new(output: Output) -> Self {
        Self { output, rows: 0 }
    }

    /// What stands before the first row.
    pub fn begin<R: Row>(&self) -> String {
        match self.output {
            Output::Table => {
                let names = shown::<R>().map(|field| (field.name.to_uppercase(), field.width));
                line(names)
            }
            Output::Json => "[".to_owned(),
            Output::Jsonl => String::new(),
            Output::Csv => header_line::<R>(),
        }
    }

    pub fn row<R: Row>(&mut self, row: &R) -> String {
        self.rows += 1;
        match self.output {
            Output::Table => {
                let cells = shown::<R>().map(|field| (cell(row, field), field.width));
                line(cells)
            }
            Output::Json => {
                let comma = if self.rows > 1 { "," } else { "" };
                format!("{comma}\n{}", json_line(row).trim_end())
            }
            Output::Jsonl => json_line(row),
            Output::Csv => csv_line(&cells(row)),
        }
    }

    /// What stands after the last row.
    pub fn end(&self) -> &'static str {
        match self.output {
            Output::Json => "\n]\n",
            _ => "",
        }
    }
}

fn shown<R: Row>() -> impl Iterator<Item = &'static Field<R>> {
    R::FIELDS.iter().filter(|field| field.width > 0)
}

fn cell<R>(row: &R, field: &Field<R>) -> String {
    escape(&(field.read)(row).text()).into_owned()
}

fn cells<R: Row>(row: &R) -> Vec<String> {
    R::FIELDS.iter().map(|field| cell(row, field)).collect()
}

fn table<R: Row>(rows: &[R]) -> String {
    let mut lines: Vec<Vec<String>> = vec![
        shown::<R>()
            .map(|field| field.name.to_uppercase())
            .collect(),
    ];
    lines.extend(
        rows.iter()
            .map(|row| shown::<R>().map(|field| cell(row, field)).collect()),
    );
    let width_of = |column: usize| {
        let widths = lines.iter().map(|line| line[column].width());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width_of).collect();
    let lines = lines
        .into_iter()
        .map(|cells| line(cells.into_iter().zip(widths.iter().copied())));
    lines.collect()
}

/// One field a line.
fn sheet<R: Row>(row: &R) -> String {
    let widths = R::FIELDS.iter().map(|field| field.name.width());
    let width = widths.max().unwrap_or(0);
    let lines = R::FIELDS
        .iter()
        .map(|field| line([(field.name.to_owned(), width), (cell(row, field), 0)].into_iter()));
    lines.collect()
}

/// Cells with their widths; a wider cell pushes those after it.
fn line(cells: impl Iterator<Item = (String, usize)>) -> String {
    let mut line = String::new();
    for (cell, width) in cells {
        let padding = width.saturating_sub(cell.width());
        line.push_str(&cell);
        line.push_str(&" ".repeat(padding));
        line.push_str(GAP);
    }
    line.truncate(line.trim_end_matches(' ').len());
    line + "\n"
}

fn json(value: &impl serde::Serialize, pretty: bool) -> String {
    let text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    // Texts, numbers, lists and maps with text keys: there is nothing that JSON could refuse.
    text.unwrap_or_default()
}

fn json_line<R: Row>(row: &R) -> String {
    escape_json(&json(&AsJson(row), false)) + "\n"
}

fn header_line<R: Row>() -> String {
    let names: Vec<&str> = R::FIELDS.iter().map(|field| field.name).collect();
    csv_line(&names)
}

fn csv_line<T: AsRef<[u8]>>(cells: &[T]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // A vector in memory takes every record.
    let written = writer.write_record(cells).is_ok();
    let bytes = writer.into_inner().unwrap_or_default();
    debug_assert!(written);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::row::Value;
    use super::*;

    struct Door {
        id: u32,
        name: &'static str,
        seen: u64,
        ids: Vec<u32>,
    }

    impl Row for Door {
        const FIELDS: &'static [Field<Self>] = &[
            Field::shown("id", 5, |door| door.id.into()),
            Field::shown("name", 8, |door| door.name.into()),
            Field::detail("last_seen", |door| Value::time_or_absent(door.seen)),
            Field::shown("slaves", 6, |door| Value::Ids(door.ids.clone())),
        ];
    }

    fn doors() -> [Door; 2] {
        [
            Door {
                id: 7,
                name: "front, \"north\"",
                seen: 1_700_000_000_007,
                ids: vec![8, 9],
            },
            Door {
                id: 1001,
                name: "\x1b[2J",
                seen: 0,
                ids: vec![],
            },
        ]
    }

    #[test]
    fn a_table_has_the_main_fields_and_no_terminal_escape() {
        assert_eq!(
            render(&doors(), Output::Table),
            "ID    NAME            SLAVES\n\
             7     front, \"north\"  8 9\n\
             1001  \\u{1b}[2J\n"
        );
        assert_eq!(render::<Door>(&[], Output::Table), "ID  NAME  SLAVES\n");
    }

    #[test]
    fn one_row_is_a_sheet_of_every_field() {
        assert_eq!(
            render_one(&doors()[0], Output::Table),
            "id         7\n\
             name       front, \"north\"\n\
             last_seen  2023-11-14T22:13:20.007Z\n\
             slaves     8 9\n"
        );
    }

    #[test]
    fn json_has_every_field_in_its_order() {
        let lines = "{\"id\":7,\"name\":\"front, \\\"north\\\"\",\"last_seen\":\"2023-11-14T22:13:20.007Z\",\"slaves\":[8,9]}\n\
             {\"id\":1001,\"name\":\"\\u001b[2J\",\"last_seen\":null,\"slaves\":[]}\n";
        assert_eq!(render(&doors(), Output::Jsonl), lines);
        let document = render(&doors(), Output::Json);
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document[1]["name"], "\x1b[2J");
        assert_eq!(render::<Door>(&[], Output::Json), "[]\n");
        let one: serde_json::Value =
            serde_json::from_str(&render_one(&doors()[0], Output::Json)).unwrap();
        assert_eq!(one["slaves"], serde_json::json!([8, 9]));
    }

    #[test]
    fn csv_is_quoted_where_it_must_be() {
        assert_eq!(
            render(&doors(), Output::Csv),
            "id,name,last_seen,slaves\n\
             7,\"front, \"\"north\"\"\",2023-11-14T22:13:20.007Z,8 9\n\
             1001,\\u{1b}[2J,,\n"
        );
    }

    #[test]
    fn a_flow_is_whole_in_each_output() {
        for (output, whole) in [
            (
                Output::Table,
                "ID     NAME      SLAVES\n7      front, \"north\"  8 9\n1001   \\u{1b}[2J\n",
            ),
            (
                Output::Csv,
                "id,name,last_seen,slaves\n7,\"front, \"\"north\"\"\",2023-11-14T22:13:20.007Z,8 9\n1001,\\u{1b}[2J,,\n",
            ),
        ] {
            assert_eq!(flow(output), whole);
        }
        assert_eq!(flow(Output::Jsonl), render(&doors(), Output::Jsonl));
        let parsed: serde_json::Value = serde_json::from_str(&flow(Output::Json)).unwrap();
        assert_eq!(parsed.as_array().unwrap().len(), 2);
        let flow = Flow::new(Output::Json);
        let empty = flow.begin::<Door>() + flow.end();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&empty).unwrap(),
            serde_json::json!([])
        );
    }

    fn flow(output: Output) -> String {
        let mut flow = Flow::new(output);
        let mut text = flow.begin::<Door>();
        for door in &doors() {
            text += &flow.row(door);
        }
        text + flow.end()
    }
}
