//! The sensors and switches of a simulated device.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::codec::pson::Value;
use crate::time::Instant;

/// The longest text that the display takes, in bytes.
const DISPLAY_MAX: usize = 256;

/// A name and values that are markup and what moves a terminal, for tests of whoever shows them.
pub const HOSTILE_NAME: &str = "<img src=x onerror=alert(1)>\u{1b}[31m";
pub const HOSTILE_TEXT: &str =
    "</script><script>alert('1')</script>\u{1b}]0;owned\u{7}\u{202e}&amp;";

/// One swing of the temperature, and one of the humidity.
const SWING: Duration = Duration::from_secs(120);
const HUMIDITY_SWING: Duration = Duration::from_secs(300);

/// Where its switches stand, and how often its buttons were pressed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    pub relay: bool,
    /// What is added up.
    pub summands: [f64; 2],
    pub display: Box<str>,
    pub beeps: u64,
    pub reboots: u64,
}

impl Panel {
    /// # Errors
    /// What the input should be.
    pub fn switch_relay(&mut self, input: &Value) -> Result<(), String> {
        match input.get("on") {
            Some(Value::Bool(on)) => self.relay = *on,
            _ => return Err("on is true or false".to_owned()),
        }
        Ok(())
    }

    /// # Errors
    /// What the input should be.
    pub fn add_up(&mut self, input: &Value) -> Result<(), String> {
        let Value::Map(_) = input else {
            return Err("the input is a map of a and b".to_owned());
        };
        let summand = |name: &str| match input.get(name) {
            None => Ok(0.0),
            Some(value) => number(value).ok_or_else(|| format!("{name} is a number")),
        };
        self.summands = [summand("a")?, summand("b")?];
        Ok(())
    }

    /// # Errors
    /// What the input should be.
    pub fn show(&mut self, input: &Value) -> Result<(), String> {
        match input {
            Value::String(text) if text.len() <= DISPLAY_MAX => self.display = text.as_str().into(),
            _ => {
                return Err(format!(
                    "the input is a text of {DISPLAY_MAX} bytes at most"
                ));
            }
        }
        Ok(())
    }

    pub fn relay(&self) -> Value {
        Value::map([("on", self.relay)])
    }

    pub fn summands(&self) -> Value {
        let [a, b] = self.summands.map(value);
        Value::map([("a", a), ("b", b)])
    }

    pub fn sum(&self) -> Value {
        let [a, b] = self.summands;
        Value::map([("result", value(a + b))])
    }
}

/// Degrees, in the steps of 1/16 that such sensors have: they survive every encoding.
pub fn temperature(seed: u64, now: Instant) -> Value {
    let celsius = (wave(seed, now, SWING) * 3.0 + 21.5) * 16.0;
    Value::map([("celsius", value(celsius.round() / 16.0))])
}

/// Percent, in steps of a half.
pub fn humidity(seed: u64, now: Instant) -> Value {
    let percent = (wave(seed, now, HUMIDITY_SWING) * 10.0 + 45.0) * 2.0;
    value(percent.round() / 2.0)
}

/// Whole seconds.
pub fn counter(now: Instant) -> Value {
    Value::Unsigned(now.as_micros() / 1_000_000)
}

pub fn hostile() -> Value {
    Value::map([(HOSTILE_NAME, HOSTILE_TEXT)])
}

/// From -1 to 1; each device is at another point of its swing.
fn wave(seed: u64, now: Instant, swing: Duration) -> f64 {
    let swing = swing.as_micros() as u64;
    // A swing in microseconds is exact in a float.
    let at = now.as_micros().wrapping_add(seed.wrapping_mul(7_919_000)) % swing;
    (at as f64 / swing as f64 * TAU).sin()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Unsigned(number) => Some(*number as f64),
        Value::Negative(number) => Some(*number as f64),
        Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
        _ => None,
    }
}

/// A whole number as the integer that it is sent as.
fn value(number: f64) -> Value {
    // 2^53: up to here every integer is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        Value::from(number as i64)
    } else {
        Value::Float(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensors_move_and_are_the_same_for_the_same_seed_and_time() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        for sensor in [temperature, humidity] {
            assert_eq!(sensor(7, at(10)), sensor(7, at(10)));
            let seen: Vec<Value> = (0..600).map(|second| sensor(7, at(second))).collect();
            let other: Vec<Value> = (0..600).map(|second| sensor(8, at(second))).collect();
            assert_ne!(seen, other);
            let changes = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(changes > 100, "{changes}");
        }
        for second in 0..600 {
            let temperature = temperature(7, at(second));
            let celsius = number(temperature.get("celsius").unwrap()).unwrap();
            assert!((18.5..=24.5).contains(&celsius), "{celsius}");
        }
        assert_eq!(counter(at(5)), Value::Unsigned(5));
    }

    #[test]
    fn numbers_of_every_kind_are_added_up() {
        let mut panel = Panel::default();
        for (a, b, result) in [
            (Value::from(2_u32), Value::from(40_u32), Value::from(42_u32)),
            (Value::from(-5_i64), Value::Float(0.5), Value::Float(-4.5)),
            (Value::Float(1.5), Value::Float(1.5), Value::from(3_u32)),
        ] {
            panel.add_up(&Value::map([("a", a), ("b", b)])).unwrap();
            assert_eq!(panel.sum(), Value::map([("result", result)]));
        }
        let before = panel.clone();
        assert!(panel.add_up(&Value::map([("a", "one")])).is_err());
        assert!(panel.add_up(&Value::Null).is_err());
        assert_eq!(panel, before);
    }
}
