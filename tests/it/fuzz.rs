//! The corpus of the fuzz targets, replayed: each file is an input that once reached something new.

use std::fs;
use std::path::Path;

#[path = "../fuzz/oracle.rs"]
mod oracle;

fn replay(target: &str, oracle: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let files = fs::read_dir(folder.join(target)).expect("a corpus");
    let inputs = files.map(|file| fs::read(file.expect("an entry").path()).expect("readable"));
    let inputs: Vec<Vec<u8>> = inputs.collect();
    assert!(inputs.len() > 100, "{} inputs of {target}", inputs.len());
    for input in &inputs {
        oracle(input);
        for cut in 0..input.len().min(256) {
            oracle(&input[..cut]);
        }
    }
}

#[test]
fn the_corpus_of_frames_holds() {
    replay("frame", oracle::frames);
}

#[test]
fn the_corpus_of_values_holds() {
    replay("pson", oracle::values);
}
