//! Which environment a policy is compiled for: what `--env` says, else what the gateway says of itself.

use super::diagnostic::Diagnostic;
use super::load::Written;
use exeat_engine::policy::environment::environments;
use exeat_engine::policy::error::did_you_mean;

/// The environment, where the policy has any.
///
/// A policy that has some is always compiled for one of them: what it says without its overlays may be meant for none.
pub(super) fn choose(written: &Written, asked: Option<&str>) -> Result<Option<String>, Diagnostic> {
    let (known, of_gateway) = (environments(written.policy()), written.environment_of_gateway());
    if let (Some(asked), Some((own, place))) = (asked, &of_gateway)
        && asked != *own
    {
        let message = format!(
            "this gateway is of the environment {own:?}, and --env says {asked:?}; leave --env out, or name a gateway of {asked:?}"
        );
        return Err(Diagnostic::new(place.clone(), "/environment", message).of_gateway());
    }
    let refuse = |message: String| Err(Diagnostic::new(written.folder.clone(), "", message));
    match (asked, of_gateway) {
        (Some(asked), _) if known.is_empty() => {
            refuse(format!("the policy has no environments; leave --env out, or add `environments: {{{asked}: {{}}}}`"))
        }
        // Without environments it is a name for records.
        _ if known.is_empty() => Ok(None),
        (None, None) => refuse(format!(
            "the policy has the environments {}, and nothing says which; give --env, or write environment into the gateway document",
            known.join(", ")
        )),
        (Some(asked), _) if !known.contains(&asked) => refuse(unknown(asked, &known)),
        (Some(asked), _) => Ok(Some(asked.to_owned())),
        (None, Some((own, _))) => check_gateway(written).map_or_else(|| Ok(Some(own.to_owned())), Err),
    }
}

/// What is wrong with the environment that the gateway names.
pub(super) fn check_gateway(written: &Written) -> Option<Diagnostic> {
    let (own, place) = written.environment_of_gateway()?;
    let known = environments(written.policy());
    let wrong = !known.contains(&own);
    wrong.then(|| Diagnostic::new(place, "/environment", unknown(own, &known)).of_gateway())
}

fn unknown(name: &str, known: &[&str]) -> String {
    let remedy = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
        format!("name one of {}, or add `{name}: {{}}` to the environments of the policy", known.join(", "))
    });
    format!("no environment {name:?}; {remedy}")
}

#[cfg(test)]
mod tests;
