//! A policy of any size, out of a seed: to see what one of forty teams looks like, and to measure a gateway before one's own
//! policy has grown. The same shape gives the same bytes, on every machine and in every version that does not say otherwise.
//!
//! Everything that the language has occurs in it, and much overlaps: hosts with wildcards around them, rules that differ in a
//! condition, profiles, categories. `policies/forty-teams` is its output, which a test holds to it.

mod platform;
mod random;
mod team;
mod text;
mod words;

use crate::files::{make_folder, write_whole};
use anyhow::{Context, bail};
pub use platform::signing_seed;
use random::Random;
use std::path::Path;

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Teams, each with a file of its own. At least one.
    pub teams: usize,
    /// Agents, over all teams. Each team has at least one.
    pub agents: usize,
    /// Rules that agents have of their own, those of profiles and ceilings not counted. Each agent has at least one.
    pub rules: usize,
    /// What the rest comes from.
    pub seed: u64,
}

impl Shape {
    /// Of `policies/forty-teams`.
    pub const FORTY_TEAMS: Self = Self { teams: 40, agents: 300, rules: 2_000, seed: 1 };
}

/// The files of a policy and of its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Path, with `/`, and text: `gateway.yaml`, and the folder `policy`.
    pub files: Vec<(String, String)>,
}

/// Makes a policy.
pub fn generate(shape: Shape) -> Generated {
    let mut random = Random::new(shape.seed);
    let teams: Vec<String> = (0..shape.teams.max(1)).map(words::team).collect();
    let agents = random.shares(shape.agents.max(teams.len()), teams.len());
    let rules = random.shares(shape.rules.max(agents.iter().sum()), agents.iter().sum());
    let mut rules = rules.into_iter();
    let mut files = vec![("gateway.yaml".to_owned(), platform::gateway())];
    files.extend(platform::files(shape, &teams, &mut random));
    for (index, (team, agents)) in teams.iter().zip(agents).enumerate() {
        let rules: Vec<usize> = rules.by_ref().take(agents).collect();
        // Of its own randomness: a team's file stays as it is when another team gets more agents.
        let mut random = Random::new(shape.seed ^ u64::try_from(index).unwrap_or(0).wrapping_add(1).rotate_left(32));
        let text = team::file(team, &team::Surroundings { teams: &teams, index }, &rules, &mut random);
        files.push((format!("policy/teams/{team}.yaml"), text));
    }
    Generated { files }
}

impl Generated {
    /// Writes all files below a folder, which must be empty or absent: what is left of another policy would merge with it.
    ///
    /// # Errors
    /// A folder that has something in it, and what cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let taken = match std::fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
        };
        if taken {
            bail!("{} is not empty; name a folder that is, or that is not there yet", folder.display());
        }
        for (name, text) in &self.files {
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(folder);
            make_folder(parent)?;
            write_whole(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
