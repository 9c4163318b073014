//! Configurations of the plugin: an error has words and one line, and a large one means what a small one does.
#![no_main]

use exeat_engine::policy::{Configuration, PluginConfiguration};
use libfuzzer_sys::fuzz_target;

/// From so many bytes on a configuration is read piece by piece.
const LARGE: usize = 256 * 1024;

fuzz_target!(|data: &[u8]| {
    let whole = Configuration::examine(data);
    let errors: Vec<String> = match &whole {
        Ok(configuration) => {
            let digest = configuration.policy().digest();
            assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
            Vec::new()
        }
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    for error in &errors {
        assert!(error.contains("; "), "no remedy: {error}");
        assert!(!error.chars().any(char::is_control), "more than a line: {error:?}");
    }
    assert_eq!(whole.is_err(), !errors.is_empty());
    assert!(PluginConfiguration::accept(data).is_ok() || whole.is_err());
    // Space at the end means nothing to JSON, and makes it large.
    let large = [data, " ".repeat(LARGE.saturating_sub(data.len())).as_bytes()].concat();
    match (whole, Configuration::examine(&large)) {
        (Ok(whole), Ok(large)) => {
            assert_eq!(whole.policy().digest(), large.policy().digest());
            assert_eq!(whole.policy().rules(), large.policy().rules());
            assert_eq!(whole.policy().largest_body(), large.policy().largest_body());
            assert_eq!(whole.policy().destinations(), large.policy().destinations());
        }
        (Err(_), Err(_)) => {}
        (whole, large) => panic!("whole: {:?}, large: {:?}", whole.err(), large.err()),
    }
});
