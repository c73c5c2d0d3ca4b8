//! Files that are named on the command line.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::exit::{Exit, Failure};
use super::input::Format;

/// The text of a file, its format and its name; `-` is the standard input.
///
/// # Errors
/// [`Exit::Usage`] when the format is not known, [`Exit::BadInput`] when it cannot be read.
pub fn read(file: &Path, format: Option<Format>) -> Result<(String, Format, String), Failure> {
    let is_input = file == Path::new("-");
    let name = match is_input {
        true => "the standard input".to_owned(),
        false => file.display().to_string(),
    };
    let format = format.or_else(|| Format::of(file)).ok_or_else(|| {
        let text =
            format!("the format of {name} is not known; say it with --format csv, json or jsonl");
        Failure::new(Exit::Usage, text)
    })?;
    let text = match is_input {
        true => input(),
        false => fs::read_to_string(file),
    };
    let text = text
        .map_err(|error| Failure::new(Exit::BadInput, format!("{name} cannot be read: {error}")))?;
    Ok((text, format, name))
}

fn input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}
