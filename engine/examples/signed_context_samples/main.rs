//! Writes the numbered samples of `examples/signed-context/`: `cargo run -p exeat-engine --example signed_context_samples`.
//!
//! Signers and verifiers in other languages check themselves against them. A test fails while they are not current.

mod format;
mod samples;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/signed-context");
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            std::fs::remove_file(path)?;
        }
    }
    for sample in samples::all()? {
        std::fs::write(folder.join(sample.file_name()), sample.to_text()?)?;
    }
    Ok(())
}
