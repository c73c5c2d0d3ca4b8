//! Text that comes from a device is data: nothing in it moves the cursor or colours the terminal.

use std::borrow::Cow;

/// A text with every character that a terminal would act on, or that cannot be seen, written as an
/// escape: `\n`, `\u{1b}`, `\u{202e}`. A backslash is doubled, so that what is shown is unambiguous.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_plain(letter) {
            escaped.push(letter);
        } else {
            escaped.extend(letter.escape_debug());
        }
    }
    Cow::Owned(escaped)
}

/// Whether the standard library takes the character for printable; quotes need no escape here.
fn is_plain(letter: char) -> bool {
    matches!(letter, '"' | '\'') || letter.escape_debug().len() == 1
}

/// The same for a JSON text: what JSON itself leaves alone and a terminal would act on. Such a
/// character can only stand inside a string, where `\u` is its escape.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for letter in json.chars() {
        if matches!(letter, '\n') || letter == '\\' || is_plain(letter) {
            escaped.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        for (text, shown) in [
            ("door 7, \"north\" it's", "door 7, \"north\" it's"),
            ("Tür Süd 北门", "Tür Süd 北门"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("abc\u{202e}cba", "abc\\u{202e}cba"),
            ("\u{7f}\u{200b}\u{feff}", "\\u{7f}\\u{200b}\\u{feff}"),
            ("\\u{1b}", "\\\\u{1b}"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_escaped_controls(text: String) {
            let shown = escape(&text);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(shown.is_ascii() || !text.is_ascii(), true);
        }

        #[test]
        fn different_texts_are_shown_differently(one: String, other: String) {
            prop_assert_eq!(one == other, escape(&one) == escape(&other));
        }

        #[test]
        fn json_says_the_same_and_controls_nothing(text: String) {
            let json = escape_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!json.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
