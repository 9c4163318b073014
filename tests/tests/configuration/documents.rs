//! Documents as people write them, edited, and the plugin configuration that they stand for, accepted by nobody.

use crate::cases::Edit;
use exeat_cli::policy::folder::policy_files;
use exeat_cli::policy::merge::merge;
use exeat_cli::policy::yaml::Source;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_engine::policy::node::Node;
use serde_json::Value;
use std::path::PathBuf;

/// A document of this gateway.
pub(crate) fn path(gateway: &Gateway, file: &str) -> PathBuf {
    gateway.file(file)
}

/// Edits a document; gives its text before and after.
pub(crate) fn edit(gateway: &Gateway, edit: &Edit) -> (String, String) {
    let path = path(gateway, edit.file);
    let before = std::fs::read_to_string(&path).unwrap();
    let after = before.replacen(edit.from, edit.to, 1);
    assert_ne!(before, after, "{}: nothing to edit", edit.name);
    std::fs::write(&path, &after).unwrap();
    (before, after)
}

/// What the documents say, as the filter reads it.
pub(crate) fn plugin(gateway: &Gateway) -> String {
    let sources: Vec<Source> =
        policy_files(&gateway.policy()).unwrap().iter().map(|file| Source::read(file).unwrap()).collect();
    let own = Source::read(&gateway.document()).unwrap();
    let document = Node::Map(vec![
        ("role".to_owned(), Node::Text("filter".to_owned())),
        ("gateway".to_owned(), own.node.get("gateway").unwrap().clone()),
        ("policy".to_owned(), merge(&sources).unwrap().policy),
    ]);
    serde_json::to_string_pretty(&document).unwrap()
}

/// Puts a plugin configuration into a rendered listener, or bootstrap with one.
pub(crate) fn with_plugin(mut rendered: Value, plugin: &str) -> String {
    let place = rendered.pointer_mut("/static_resources/listeners/0").is_some();
    let listener = if place { "/static_resources/listeners/0" } else { "/resources/0" };
    let pointer = format!(
        "{listener}/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value"
    );
    *rendered.pointer_mut(&pointer).unwrap() = plugin.into();
    rendered.to_string()
}
