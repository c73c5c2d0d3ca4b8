//! The package on a machine of its own, from its first boot to its purge: systemd itself starts,
//! watches, reloads, restarts and stops the service, by the units as they are shipped.

use std::fs;

use super::machine::{Machine, bootable};
use crate::support::needed;

const CONFIG: &str = "/etc/gatehouse/gateway.toml";
const DATA: &str = "/var/lib/gatehouse";
const SOCKETS: &str =
    "gatehouse.socket gatehouse-tls.socket gatehouse-grpc.socket gatehouse-http.socket";
/// Where a drop-in of this test lies.
const DROP_IN: &str = "/run/systemd/system/gatehouse.service.d/test.conf";
/// The exposure that the running service may have, in tenths.
const EXPOSURE_MAX: &str = "20";

/// Connects to every port of the gateway, again and again.
const KNOCKS: &str = "while sleep 0.5; do
    for port in 51212 51213 4000 4080; do
        (exec 3<> /dev/tcp/127.0.0.1/$port) && echo open || echo closed
    done
done
";
const KNOCK: &str = "/root/knock";

const SIMULATE: &str = "gatehouse simulate --data-dir /var/lib/gatehouse --format json";

/// What `systemctl status` says once all devices of this test are there: five that dial the
/// gateway, one that it dials.
const ALL: &str = "ready: 6 sessions, 6 devices listed";

#[test]
fn systemd_runs_the_package_from_its_first_boot_to_its_purge() {
    let Some(package) = needed::package() else {
        return;
    };
    let Some(root) = bootable() else {
        return;
    };
    // As images are made: no systemd runs yet. The package stays there, for later.
    root.install(&package);
    fs::write(root.path(KNOCK), KNOCKS).expect("written");
    let mut machine = Machine::boot(root);
    it_is_up_after_the_boot(&mut machine);
    devices_come(&mut machine);
    it_reloads(&mut machine);
    it_is_started_again_when_it_hangs_and_when_it_dies(&mut machine);
    a_configuration_at_fault_is_named_and_not_tried_again(&mut machine);
    with_sockets_nobody_finds_a_closed_port(&mut machine);
    it_is_removed_and_purged(&mut machine);
    it_is_installed_while_the_machine_runs(&mut machine);
    let console = machine.power_off();
    let stopped = "gatehouse.service: Deactivated successfully";
    assert!(console.contains(stopped), "{console}");
}

/// A property of the service, as systemd has it.
fn property(machine: &mut Machine, name: &str) -> String {
    machine.run(&format!("systemctl show -P {name} gatehouse.service"))
}

/// What the service has logged since this was asked last.
fn logged(machine: &mut Machine) -> String {
    machine.run("journalctl --quiet --output=cat --unit=gatehouse --cursor-file=/run/read")
}

/// Waits until the service has logged this, since what was asked for last.
fn until_logged(machine: &mut Machine, words: &str) {
    machine.until(&format!(
        "journalctl --quiet --output=cat --unit=gatehouse --after-cursor=\"$(cat /run/read)\" \
         | grep --quiet --fixed-strings '{words}'"
    ));
}

/// Waits until `systemctl status` says this.
fn until_status(machine: &mut Machine, words: &str) {
    machine.until(&format!(
        "systemctl show -P StatusText gatehouse | tee /dev/stderr | grep -x --quiet '{words}'"
    ));
}

fn until_all_are_there(machine: &mut Machine) {
    until_status(machine, ALL);
}

fn ctl(machine: &mut Machine, command: &str) -> String {
    machine.run(&format!("gatehouse ctl --data-dir {DATA} {command}"))
}

fn it_is_up_after_the_boot(machine: &mut Machine) {
    machine.run("systemctl is-system-running --wait");
    for (name, due) in [
        ("ActiveState", "active"),
        ("Type", "notify"),
        ("User", "gatehouse"),
        ("NRestarts", "0"),
    ] {
        assert_eq!(property(machine, name), due, "{name}");
    }
    until_status(machine, "ready: 0 sessions, 0 devices listed");
    let pid = property(machine, "MainPID");
    let user = machine.run(&format!("stat --format=%U:%G /proc/{pid}"));
    assert_eq!(user, "gatehouse:gatehouse");
    let ready = machine.run("curl --silent --fail http://127.0.0.1:4080/readyz");
    assert!(ready.contains("\"ready\":true"), "{ready}");
    let status = machine.run("systemctl status --no-pager gatehouse");
    assert!(status.contains("Status: \"ready: 0 sessions"), "{status}");
    let log = logged(machine);
    assert!(log.contains("gateway started"), "{log}");
    nothing_was_denied(&log);
    let exposure = format!(
        "systemd-analyze security --no-pager --threshold={EXPOSURE_MAX} gatehouse.service | tail -n 1"
    );
    println!("{}", machine.run(&format!("set -o pipefail; {exposure}")));
    assert_eq!(ctl(machine, "list --output jsonl"), "");
}

fn nothing_was_denied(log: &str) {
    for word in ["WARN", "ERROR", "not permitted", "denied", "Read-only"] {
        assert!(!log.contains(word), "{log}");
    }
}

/// Five devices that dial the gateway, as a unit of this name.
fn dial(machine: &mut Machine, unit: &str) {
    machine.run(&format!(
        "systemd-run --quiet --unit={unit} {SIMULATE} --dial 127.0.0.1:51212 --count 5 \
         --redial 100ms"
    ));
}

fn devices_come(machine: &mut Machine) {
    ctl(machine, "filter allow-all");
    dial(machine, "dialling");
    machine.run(&format!(
        "systemd-run --quiet --unit=dialled {SIMULATE} --listen 127.0.0.1 --port 51300 --count 1 \
         --first-id 2001"
    ));
    ctl(machine, "add 2001 127.0.0.1:51300");
    until_all_are_there(machine);
    // Nothing of the gateway lies anywhere else.
    let elsewhere = machine.run(&format!(
        "find / /run /tmp /dev/shm -xdev -user gatehouse -not -path '{DATA}*'"
    ));
    assert_eq!(elsewhere, "");
    let own = machine
        .run("find /tmp/systemd-private-*gatehouse* /var/tmp/systemd-private-*gatehouse* -type f");
    assert_eq!(own, "");
}

fn it_reloads(machine: &mut Machine) {
    logged(machine);
    machine.run(&format!("echo 'log.level = \"debug\"' >> {CONFIG}"));
    until_logged(machine, "applied=\"log.level\"");
    assert!(ctl(machine, "log-level").contains("debug"));
    // The same once more, when nobody has changed anything; systemd tells what it hears.
    logged(machine);
    machine.run("systemctl log-level debug && systemctl reload gatehouse");
    until_logged(
        machine,
        "certificates, revocations and keys were read again",
    );
    let heard = "journalctl --quiet --output=cat _PID=1 | grep --fixed-strings";
    for word in [
        "RELOADING=1",
        "Changed running -> reload",
        "READY=1",
        "Changed reload -> running",
    ] {
        machine.until(&format!(
            "{heard} 'gatehouse.service: ' | grep --quiet -e '{word}'"
        ));
    }
    machine.run("systemctl log-level info");
    assert_eq!(property(machine, "ActiveState"), "active");

    // A file at fault changes nothing.
    machine.run(&format!("echo 'drain.pace = 0' >> {CONFIG}"));
    until_logged(machine, "the settings stay as they were");
    logged(machine);
    machine.run("systemctl reload gatehouse");
    until_logged(machine, "the settings stay as they were");
    assert_eq!(property(machine, "ActiveState"), "active");
    assert!(ctl(machine, "log-level").contains("debug"));
    until_all_are_there(machine);
    let restore = format!("sed --in-place -e '/^drain.pace/d' -e '/^log.level/d' {CONFIG}");
    machine.run(&restore);
    until_logged(machine, "applied=\"log.level\"");
}

fn it_is_started_again_when_it_hangs_and_when_it_dies(machine: &mut Machine) {
    // Only so that nobody has to wait for long.
    machine.run(&format!("mkdir -p $(dirname {DROP_IN})"));
    machine.run(&format!(
        "printf '[Service]\\nWatchdogSec=20s\\n' > {DROP_IN}"
    ));
    machine.run("systemctl daemon-reload && systemctl restart gatehouse");
    until_all_are_there(machine);
    assert_eq!(property(machine, "NRestarts"), "0");
    machine.run("systemctl kill --kill-whom=main --signal=STOP gatehouse");
    machine.until("[ $(systemctl show -P NRestarts gatehouse) = 1 ]");
    machine
        .run("journalctl --quiet --output=cat _PID=1 | grep 'gatehouse.service: Watchdog timeout'");
    until_all_are_there(machine);
    machine.run("systemctl kill --kill-whom=main --signal=KILL gatehouse");
    machine.until("[ $(systemctl show -P NRestarts gatehouse) = 2 ]");
    until_all_are_there(machine);
    machine.run(&format!("rm {DROP_IN} && systemctl daemon-reload"));
}

fn a_configuration_at_fault_is_named_and_not_tried_again(machine: &mut Machine) {
    machine.run(&format!(
        "cp {CONFIG} /root/ && echo 'drain.pace = 0' >> {CONFIG}"
    ));
    let (code, said) = machine.ask("systemctl restart gatehouse");
    assert_ne!(code, 0, "{said}");
    let (_, status) = machine.ask("systemctl status --no-pager --full gatehouse");
    assert!(status.contains("drain.pace = 0 cannot stand"), "{status}");
    assert!(status.contains("status=78/CONFIG"), "{status}");
    assert_eq!(property(machine, "ActiveState"), "failed");
    assert_eq!(property(machine, "NRestarts"), "0");
    // Nobody has to wait, or to reset anything, once it is mended.
    machine.run(&format!(
        "cp /root/gateway.toml {CONFIG} && systemctl start gatehouse"
    ));
    until_all_are_there(machine);
}

fn with_sockets_nobody_finds_a_closed_port(machine: &mut Machine) {
    stopped_in_order(machine);
    // So often as here nobody starts it within five minutes, but when it fails.
    machine.run("systemctl reset-failed");
    // All sockets at once: the first device that finds one open starts the gateway.
    machine.run(&format!("systemctl enable --quiet {SOCKETS}"));
    machine.run("systemctl start sockets.target gatehouse.service");
    let log = logged(machine);
    let taken = "takes over a socket of the service manager";
    assert_eq!(log.matches(taken).count(), 4, "{log}");
    until_all_are_there(machine);
    // These never see the gateway without its sockets.
    machine.run("systemctl stop dialling");
    dial(machine, "waiting");
    machine.run(&format!("systemd-run --quiet --unit=knocking bash {KNOCK}"));
    until_all_are_there(machine);
    let first = property(machine, "InvocationID");
    machine.run("systemctl restart gatehouse");
    until_all_are_there(machine);
    let second = property(machine, "InvocationID");
    assert_ne!(second, first);
    // An upgrade is a restart too, once the new files are there.
    machine.run("dpkg --install /package.deb");
    until_all_are_there(machine);
    assert_ne!(property(machine, "InvocationID"), second);
    machine.run("systemctl stop knocking");
    let knocks = machine.run("journalctl --quiet --output=cat --unit=knocking");
    assert!(knocks.lines().any(|line| line == "open"), "{knocks}");
    assert!(!knocks.contains("closed"), "{knocks}");
    let met = machine.run("journalctl --quiet --output=cat --unit=waiting");
    assert!(met.contains("admitted"), "{met}");
    assert!(!met.contains("unreachable"), "{met}");
}

/// Stops the service while its devices are connected.
fn stopped_in_order(machine: &mut Machine) {
    logged(machine);
    machine.run("systemctl stop gatehouse.service");
    for (name, due) in [
        ("ActiveState", "inactive"),
        ("Result", "success"),
        ("ExecMainStatus", "0"),
    ] {
        assert_eq!(property(machine, name), due, "{name}");
    }
    let log = logged(machine);
    assert!(log.contains("sessions are drained"), "{log}");
    let deactivated = "gatehouse.service: Deactivated successfully";
    assert!(log.contains(deactivated), "{log}");
    assert!(!log.contains("are cut"), "{log}");
}

fn it_is_removed_and_purged(machine: &mut Machine) {
    // Its devices dial on and on meanwhile.
    machine.run("dpkg --remove gatehouse");
    for unit in ["gatehouse.service"].into_iter().chain(SOCKETS.split(' ')) {
        let (_, state) = machine.ask(&format!("systemctl is-active {unit}"));
        assert_eq!(state, "inactive", "{unit}");
    }
    let (code, _) = machine.ask("exec 3<> /dev/tcp/127.0.0.1/51212");
    assert_ne!(code, 0, "nobody listens any more");
    machine.run(&format!("test -s {DATA}/certs/ca.crt -a -s {CONFIG}"));
    machine.run("systemctl stop waiting dialled");
    machine.run("dpkg --purge gatehouse");
    let left = machine.run(
        "find / -xdev -name '*gatehouse*' -not -path '/var/lib/dpkg/*' -not -path '/var/log/*'",
    );
    assert_eq!(left, "");
    let (_, units) = machine.ask(
        "systemctl list-units --all --no-legend 'gatehouse*'; \
         systemctl list-unit-files --no-legend 'gatehouse*'",
    );
    assert_eq!(units, "");
    assert_eq!(machine.run("systemctl --failed --no-legend"), "");
}

fn it_is_installed_while_the_machine_runs(machine: &mut Machine) {
    machine.run("dpkg --install /package.deb");
    assert_eq!(property(machine, "ActiveState"), "active");
    assert!(ctl(machine, "whoami").contains("admin"));
    // Whoever is refused a system call may go on without it; now he would not.
    machine.run(&format!("mkdir -p $(dirname {DROP_IN})"));
    machine.run(&format!(
        "printf '[Service]\\nSystemCallErrorNumber=kill\\n' > {DROP_IN}"
    ));
    machine.run("systemctl daemon-reload && systemctl restart gatehouse");
    logged(machine);
    devices_come(machine);
    nothing_was_denied(&logged(machine));
    stopped_in_order(machine);
    machine.run("systemctl start gatehouse");
    until_all_are_there(machine);
}
