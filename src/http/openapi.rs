//! The description of the HTTP API: OpenAPI 3.1, written by hand, held against the rules by a test.

use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::CONTENT_TYPE;

use crate::http::routes::Routes;

/// The description.
pub const DESCRIPTION: &str = include_str!("openapi.json");

/// Adds the route of this file.
pub fn routes(routes: Routes) -> Routes {
    routes.on(Method::GET, "/v3/openapi.json", description)
}

async fn description() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value as Json;

    use super::*;
    use crate::http::rules::RULES;

    /// Described without a rule of its own: one row of the rules is two things to a reader.
    const APART: [(&str, &str); 1] = [(
        "GET",
        "/v3/users/{user}/devices/{device}/resources/{resource}/api",
    )];

    fn description() -> Json {
        serde_json::from_str(DESCRIPTION).expect("JSON")
    }

    fn operations(description: &Json) -> Vec<(String, String, &Json)> {
        let paths = description["paths"].as_object().expect("paths");
        let mut operations = Vec::new();
        for (path, item) in paths {
            for (key, operation) in item.as_object().expect("an object") {
                if !["parameters", "summary", "description"].contains(&key.as_str()) {
                    operations.push((key.to_uppercase(), path.clone(), operation));
                }
            }
        }
        operations
    }

    #[test]
    fn it_describes_what_the_rules_let_through_and_nothing_else() {
        let description = description();
        let described: BTreeSet<_> = operations(&description)
            .into_iter()
            .map(|(method, path, _)| (method, path))
            .collect();
        let rules: BTreeSet<_> = RULES
            .iter()
            .map(|rule| (rule.method.to_owned(), rule.path.replace("{*", "{")))
            .collect();
        let missing: Vec<_> = rules.difference(&described).collect();
        let more: Vec<_> = described
            .difference(&rules)
            .filter(|(method, path)| !APART.contains(&(method.as_str(), path.as_str())))
            .collect();
        assert!(
            missing.is_empty() && more.is_empty(),
            "missing {missing:?}, more {more:?}"
        );
    }

    #[test]
    fn the_roles_are_those_of_the_rules() {
        let description = description();
        for (method, path, operation) in operations(&description) {
            let rule = RULES
                .iter()
                .find(|rule| rule.method == method && rule.path.replace("{*", "{") == path);
            let Some(rule) = rule else { continue };
            let role = operation["x-role"].as_str();
            assert_eq!(
                role,
                rule.needs.map(|role| role.as_str()),
                "{method} {path}"
            );
            let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(is_open, rule.needs.is_none(), "{method} {path}");
        }
    }

    #[test]
    fn every_parameter_of_a_path_is_described() {
        let description = description();
        let paths = description["paths"].as_object().expect("paths");
        for (path, item) in paths {
            let wanted = path
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next());
            let given = item["parameters"].as_array().into_iter().flatten();
            let given: Vec<_> = given.map(|one| resolved(&description, one)).collect();
            let given: BTreeSet<_> = given
                .iter()
                .filter(|one| one["in"] == "path")
                .filter_map(|one| one["name"].as_str())
                .collect();
            assert_eq!(wanted.collect::<BTreeSet<_>>(), given, "{path}");
        }
    }

    fn resolved<'a>(description: &'a Json, value: &'a Json) -> &'a Json {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("within the file");
                description.pointer(pointer).expect("resolves")
            }
            None => value,
        }
    }

    fn each(value: &Json, look: &mut impl FnMut(&str)) {
        match value {
            Json::Object(pairs) => {
                if let Some(Json::String(reference)) = pairs.get("$ref") {
                    look(reference);
                }
                pairs.values().for_each(|inner| each(inner, look));
            }
            Json::Array(values) => values.iter().for_each(|inner| each(inner, look)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_resolves_and_every_component_is_used() {
        let description = description();
        let mut referred = BTreeSet::new();
        each(&description, &mut |reference| {
            let pointer = reference.strip_prefix('#').expect("within the file");
            assert!(description.pointer(pointer).is_some(), "{reference}");
            referred.insert(reference.to_owned());
        });
        for (kind, components) in description["components"].as_object().expect("components") {
            if kind == "securitySchemes" {
                continue;
            }
            for name in components.as_object().expect("an object").keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(referred.contains(&reference), "{reference} is used nowhere");
            }
        }
    }

    #[test]
    fn the_version_is_the_gateways() {
        let description = description();
        assert_eq!(description["openapi"], "3.1.0");
        assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
