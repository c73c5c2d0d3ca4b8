//! Completions, in a real shell.

use std::process::Command;

use crate::support::needed;
use crate::support::process::gatehouse;

/// What bash offers after these words, of which the last is not finished.
fn offered(bash: &str, words: &[&str]) -> Vec<String> {
    let script = gatehouse(&["completions", "bash"]);
    assert!(script.status.success(), "{script:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gatehouse");
    std::fs::write(&file, script.stdout).expect("written");
    // As bash itself does at a tab: the function that is registered, with the words before it.
    let ask = r#"
        source "$1"; shift
        read -r -a registered <<< "$(complete -p gatehouse)"
        for ((at = 0; at < ${#registered[@]}; at++)); do
            [ "${registered[at]}" = -F ] && function=${registered[at + 1]}
        done
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        "$function" gatehouse "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new(bash)
        .args(["--norc", "-c", ask, "bash"])
        .arg(&file)
        .args(words)
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let Some(bash) = needed::program("bash", &["--version"], "bash") else {
        return;
    };
    assert_eq!(offered(&bash, &["gatehouse", "gate"]), ["gateway"]);
    assert_eq!(offered(&bash, &["gatehouse", "ctl", "fil"]), ["filter"]);
    let filters = offered(&bash, &["gatehouse", "ctl", "filter", "a"]);
    assert_eq!(filters, ["add", "allow-all"]);
    let options = offered(&bash, &["gatehouse", "gateway", "--c"]);
    assert_eq!(options, ["--config"]);
    let forms = offered(&bash, &["gatehouse", "ctl", "--output", "json"]);
    assert_eq!(forms, ["json", "jsonl"]);
    let shells = offered(&bash, &["gatehouse", "completions", ""]);
    assert!(shells.contains(&"zsh".to_owned()), "{shells:?}");
}

#[test]
fn every_shell_has_completions_and_another_is_refused() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = gatehouse(&["completions", shell]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("identity"),
            "{shell}: {text}"
        );
    }
    let output = gatehouse(&["completions", "command.com"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("zsh"), "{said}");
}
