//! The command line of every command.

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Debug, Parser)]
#[command(name = "gatehouse")]
struct Program {
    #[command(flatten)]
    ctl: Ctl,
}

fn parse(line: &str) -> Result<Ctl, String> {
    let words = std::iter::once("gatehouse").chain(line.split_whitespace());
    let program = Program::try_parse_from(words);
    program
        .map(|program| program.ctl)
        .map_err(|error| error.to_string())
}

#[test]
fn the_commands_are_well_formed() {
    Program::command().debug_assert();
}

#[test]
fn every_command_is_read() {
    for line in [
        "list",
        "list --connect-api --output csv",
        "get 1001 --output json",
        "watch",
        "watch --after 7 --count 1",
        "watch --snapshot --output jsonl",
        "top",
        "top --by slow --limit 5 --window 2m --output csv",
        "top --peers --watch --every 500ms",
        "connect 192.0.2.7:51300 --ssl",
        "add 1001 192.0.2.7 --wait 30s",
        "add --file devices.csv --wait 2m --progress",
        "add --file - --format jsonl",
        "delete 1001 1002",
        "delete --file devices.csv",
        "disconnect 1001",
        "disconnect --all",
        "retry 1001 1002",
        "filter get",
        "filter set --device 1001 --device 1002 --from 192.0.2.0/24",
        "filter set --from 192.0.2.0 --subnet 255.255.255.0",
        "filter add 1001",
        "filter remove 1001 1002",
        "filter allow-all",
        "filter deny-all",
        "pending list",
        "pending approve 1001 --enrol",
        "pending approve --all",
        "pending refuse 1001 --for 30d",
        "pending unproven",
        "pending refused",
        "search --timeout 5s",
        "mode device-to-server 1001 1002",
        "ssl enable 1001",
        "ssl disable 1001 1002",
        "ip get 1001 --output json",
        "ip set 1001 --ip 192.0.2.7 --subnet-mask 255.255.255.0 --gateway 192.0.2.1",
        "ip set 1001 1002 --dhcp --mode device-to-server --server gate.example",
        "ip set 1001 --no-dns --mtu 1500 --baseband 100",
        "slaves get",
        "slaves set 1001 --rs485 2001,2002 --wiegand 3001",
        "slaves set --file -",
        "identity add 1001 --accept",
        "identity add door --owner alice --kind link-key",
        "identity list",
        "identity remove 1001 1002 --kind credential",
        "identity rotate 1001 --grace 2d",
        "identity enrol 1001",
        "token create ci --role operator --expires 90d",
        "token list",
        "token revoke ci",
        "whoami",
        "audit --after 12",
        "certs link-key --dir keys --device 7",
        "certs --help",
        "--address gateway.example:4000 --ca ca.crt --token abc list",
        "list --profile office --timeout 5s",
        "list --data-dir data",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for line in [
        "",
        "get",
        "get 0",
        "get door",
        "watch --after 0",
        "watch --after 7 --snapshot",
        "connect door.example",
        "add 1001",
        "add",
        "add 1001 192.0.2.7 --file f",
        "add --file f --ssl",
        "delete",
        "delete 1 --file f",
        "disconnect",
        "disconnect 1 --all",
        "filter set",
        "filter set --subnet 255.0.0.0",
        "filter add",
        "pending approve",
        "pending approve 1 --all",
        "pending refuse 1 --for ever",
        "pending refuse 1 --for 0s",
        "mode sideways 1",
        "mode device-to-server",
        "ip get",
        "ip get 1 2",
        "ip set 1001",
        "ip set --dhcp",
        "ip set 1001 --dhcp --ip 192.0.2.7",
        "ip set 1001 --gateway 192.0.2.1",
        "ip set 1001 --ip door",
        "ip set 1001 --port 0",
        "ip set 1001 --mtu 1077",
        "ip set 1001 --no-dns --dns-server 192.0.2.53",
        "slaves set",
        "token create ci",
        "token create ci --role king",
        "token create ci --role viewer --expires 0s",
        "identity rotate 1 --grace 0s",
        "log-level debug --for 0s",
        "list --output xml",
        "list --profile a --data-dir b",
        "list --token a --token-file b",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn a_token_of_the_command_line_is_in_no_debug_text() {
    let ctl = parse("--token my-secret-word list").unwrap();
    assert!(!format!("{ctl:?}").contains("my-secret-word"));
}

#[test]
fn every_command_has_help_with_an_example() {
    let mut commands = vec![Program::command()];
    while let Some(mut command) = commands.pop() {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{}:\n{help}", command.get_name());
        let inner = command.get_subcommands();
        commands.extend(inner.filter(|inner| inner.get_name() != "help").cloned());
    }
}
