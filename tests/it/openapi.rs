//! Live answers held against the description of the HTTP API.

use std::path::Path;
use std::process::Command;

use crate::support::client::allow_all;
use crate::support::device::{self, Spec};
use crate::support::process::Process;
use crate::support::{needed, run};

#[test]
fn live_answers_fit_their_description() {
    let Some(python) = needed::python("jsonschema") else {
        return;
    };
    run(async {
        let gateway = Process::start("");
        allow_all(&mut gateway.client().await).await;
        let device = device::dial(Spec::keyed(1001, gateway.fleet_key()), gateway.aes);
        device.described().await;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(python)
            .arg(root.join("tests/python/openapi_fits.py"))
            .arg(format!("http://{}", gateway.http))
            .args(["~", "1001", "temperature", "relay"])
            .output()
            .expect("Python runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complained}");
    });
}
