//! What a configuration names and does not hold: it comes from the environment, which is the same for every VM of the plugin.

use crate::wasi;
use exeat_engine::evidence::key::GatewayKey;
use exeat_engine::policy::Gateway;

/// Key, and what the collector asks for.
pub(crate) struct Secrets {
    pub(crate) key: GatewayKey,
    pub(crate) token: Option<String>,
}

impl Secrets {
    pub(crate) fn load(gateway: &Gateway) -> Result<Self, String> {
        let key = gateway.key_env();
        let text = variable("/gateway/key/env", key)?;
        let key = GatewayKey::parse(&text).map_err(|error| {
            format!(
                "gateway: /gateway/key/env: {key} does not hold a key: {error}; `exeat key new` makes one, its base64 \
                 goes into the variable"
            )
        })?;
        let token = gateway.collector().token_env.as_deref().map(|name| token("/gateway/collector/token/env", name));
        Ok(Self { key, token: token.transpose()? })
    }
}

fn variable(place: &str, name: &str) -> Result<String, String> {
    wasi::variable(name).ok_or_else(|| {
        format!(
            "gateway: {place}: the environment variable {name} is not set in the VM; set it for the gateway process and \
             name it under vm_config.environment_variables.host_env_keys, which a VM reads when it starts"
        )
    })
}

/// As `exeat collect --token` reads it.
fn token(place: &str, name: &str) -> Result<String, String> {
    let text = variable(place, name)?;
    let token = text.trim();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("gateway: {place}: {name} does not hold 16 or more visible ASCII characters"));
    }
    Ok(token.to_owned())
}
