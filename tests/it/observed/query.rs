//! What is asked of Prometheus, and how Grafana would ask it.

/// One expression.
pub struct Query {
    /// Who asks: `dashboard / panel / target` or the name of a rule.
    pub place: String,
    pub expression: String,
    /// It may give nothing where nothing is wrong: an alert, or what marks an event.
    pub is_watch: bool,
}

impl Query {
    /// With the variables of Grafana replaced, for all gateways.
    pub fn substituted(&self, rate_interval: &str) -> String {
        let all = self.expression.replace("$instance", ".+");
        let text = all.replace("$__rate_interval", rate_interval);
        assert!(!text.contains('$'), "{}: {text}", self.place);
        text
    }

    /// As it is asked to see whether it can give something.
    pub fn asked(&self, rate_interval: &str) -> String {
        match self.is_watch {
            true => self.compared().substituted(rate_interval),
            false => self.substituted(rate_interval),
        }
    }

    /// With each comparison that decides whether there is an answer turned into one that answers
    /// 0 or 1: what it compares is there or is not, whether or not it holds.
    fn compared(&self) -> Self {
        let mut text = String::new();
        let (mut depth, mut is_quoted) = (0_i32, false);
        let mut rest = self.expression.chars().peekable();
        while let Some(char) = rest.next() {
            text.push(char);
            match char {
                '"' => is_quoted = !is_quoted,
                _ if is_quoted => {}
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' => depth -= 1,
                '<' | '>' | '=' | '!' if depth == 0 => {
                    text.extend(rest.next_if_eq(&'='));
                    text.push_str(" bool");
                }
                _ => {}
            }
        }
        let place = self.place.clone();
        Self {
            place,
            expression: text,
            is_watch: self.is_watch,
        }
    }

    /// What stands between braces, and names of metrics that have none.
    pub fn selectors(&self) -> Vec<&str> {
        let mut selectors = Vec::new();
        for (at, name) in names(&self.expression) {
            if is_metric(name) {
                let rest = &self.expression[at + name.len()..];
                let inside = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split('}').next());
                selectors.push(inside.unwrap_or(name));
            }
        }
        selectors
    }

    /// The metrics that it names.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        let names = names(&self.expression).into_iter();
        names.map(|(_, name)| name).filter(|name| is_metric(name))
    }
}

fn is_metric(name: &str) -> bool {
    let begins = ["gatehouse_", "process_", "instance:", "job:"];
    begins.iter().any(|begin| name.starts_with(begin)) || matches!(name, "up" | "ALERTS")
}

/// The words of an expression that are not quoted, and where they stand.
fn names(expression: &str) -> Vec<(usize, &str)> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let mut names = Vec::new();
    let (mut begin, mut is_quoted) = (None, false);
    for (at, char) in expression.char_indices().chain([(expression.len(), ' ')]) {
        is_quoted ^= char == '"';
        match begin {
            None if is_part(char) && !is_quoted => begin = Some(at),
            Some(from) if !is_part(char) => {
                names.push((from, &expression[from..at]));
                begin = None;
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(expression: &str) -> Query {
        Query {
            place: String::new(),
            expression: expression.to_owned(),
            is_watch: false,
        }
    }

    #[test]
    fn outer_comparisons_answer_always() {
        for (asked, compared) in [
            ("up == 0", "up == bool 0"),
            (
                "a{b=~\"x>\"} / (c > 0) >= 1",
                "a{b=~\"x>\"} / (c > 0) >= bool 1",
            ),
            ("a < 1 and b != 2", "a < bool 1 and b != bool 2"),
        ] {
            assert_eq!(query(asked).compared().expression, compared);
        }
    }

    #[test]
    fn metrics_and_their_selectors_are_found() {
        let query = query("rate(gatehouse_a_total{b=\"gatehouse_x\"}[5m]) / on (job) up");
        let metrics: Vec<_> = query.metrics().collect();
        assert_eq!(metrics, ["gatehouse_a_total", "up"]);
        assert_eq!(query.selectors(), ["b=\"gatehouse_x\"", "up"]);
    }
}
