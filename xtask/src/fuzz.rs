//! `cargo xtask fuzz`: libFuzzer on every target of fuzz/, one after the other, each with seeds that are made of what the repository
//! has anyway. What one run found interesting the next begins with (fuzz/corpus).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{probe, run, say};
use crate::setup;
use crate::workspace::Workspace;

/// Seconds for each target, unless said.
const SECONDS: u64 = 60;

/// Beyond it a target counts as one that takes too much memory, in MiB.
const MEMORY: &str = "-rss_limit_mb=4096";

/// An input on which a target takes so many seconds is a find.
const SLOW: &str = "-timeout=25";

/// What the command line asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// These targets; none: all.
    pub(crate) targets: Vec<String>,
    /// Seconds for each.
    pub(crate) seconds: u64,
}

impl Options {
    /// Reads `[TARGET...] [--seconds N]`.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let (mut options, mut rest) = (Self { targets: Vec::new(), seconds: SECONDS }, args.iter());
        while let Some(arg) = rest.next() {
            if arg == "--seconds" {
                let seconds = rest.next().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
                options.seconds = seconds.ok_or("`--seconds` takes a number, 1 or more")?;
            } else if arg.starts_with('-') {
                return Err(format!("`fuzz` does not know `{arg}`"));
            } else {
                options.targets.push(arg.clone());
            }
        }
        Ok(options)
    }
}

/// Fuzzes. An error at the end where any target failed, after all had their time.
pub(crate) fn fuzz(workspace: &Workspace, options: &Options) -> Result<()> {
    let place = Place { folder: workspace.root().join("fuzz"), workspace };
    let targets = place.choose(&options.targets)?;
    let cargo_fuzz = setup::cargo_fuzz(workspace)?;
    place.make_seeds()?;
    let binaries = place.build(&cargo_fuzz)?;
    let minutes = (targets.len() as u64).saturating_mul(options.seconds).div_ceil(60);
    say(&format!("{} targets, {} s each: about {minutes} min", targets.len(), options.seconds));
    let mut failed = Vec::new();
    for target in &targets {
        let found = place.run(&binaries.join(target), target, options.seconds)?;
        println!("{}", found.line);
        failed.extend((!found.passed).then_some(target.as_str()));
    }
    if !failed.is_empty() {
        bail!("fuzzing found something in {}", failed.join(", "));
    }
    Ok(())
}

/// fuzz/, a workspace of its own.
struct Place<'w> {
    folder: PathBuf,
    workspace: &'w Workspace,
}

/// What came of one target.
struct Found {
    passed: bool,
    line: String,
}

impl Place<'_> {
    /// The targets that were asked for, or all.
    fn choose(&self, asked: &[String]) -> Result<Vec<String>> {
        let folder = self.folder.join("fuzz_targets");
        let files = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let mut known: Vec<String> = files.flatten().filter_map(|file| stem(file.path())).collect();
        known.sort();
        if let Some(unknown) = asked.iter().find(|target| !known.contains(target)) {
            bail!("there is no target `{unknown}`; there are {}", known.join(", "));
        }
        Ok(if asked.is_empty() { known } else { asked.to_vec() })
    }

    fn make_seeds(&self) -> Result<()> {
        let mut seeds = self.workspace.cargo();
        seeds.current_dir(&self.folder).args(["run", "--quiet", "--locked", "--example", "seeds", "--"]);
        run("seeds (first time about 5 min)", seeds.arg(self.workspace.root()).arg(self.folder.join("seeds")))
    }

    /// Builds all targets; the folder with them. Without a sanitizer: they look for bytes that the product's own code gets wrong,
    /// which has no unsafe code, and so get to see several times as many. What they use that is written in C is fuzzed elsewhere.
    fn build(&self, cargo_fuzz: &Path) -> Result<PathBuf> {
        let mut build = self.workspace.command(cargo_fuzz);
        build.args(["fuzz", "build", "--sanitizer", "none", "--fuzz-dir"]).arg(&self.folder);
        run("targets (first time about 10 min)", &mut build)?;
        let host = probe(self.workspace.command("rustc").args(["--print", "host-tuple"]));
        let host = host.context("rustc does not say what it builds for")?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.folder.join("target"), PathBuf::from);
        Ok(target.join(host).join("release"))
    }

    fn run(&self, binary: &Path, target: &str, seconds: u64) -> Result<Found> {
        let [corpus, seeds, artifacts, logs] =
            ["corpus", "seeds", "artifacts", "logs"].map(|name| self.folder.join(name).join(target));
        for folder in [&corpus, &seeds, &artifacts, &logs] {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let log = logs.join("log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        say(&format!("{target}: {seconds} s"));
        let mut fuzzer = self.workspace.command(binary);
        fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
        fuzzer.args([MEMORY, SLOW, "-print_final_stats=1", &format!("-max_total_time={seconds}")]);
        let dictionary = self.folder.join("dictionaries").join(format!("{target}.dict"));
        if dictionary.exists() {
            fuzzer.arg(format!("-dict={}", dictionary.display()));
        }
        fuzzer.args([&corpus, &seeds]).stdout(file.try_clone()?).stderr(file);
        let begun = Instant::now();
        let status = fuzzer.status().with_context(|| format!("cannot start {}", binary.display()))?;
        let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        let summary = Summary::read(&text);
        let line = match status.success() {
            true => format!("{target}: {}", summary.line(begun.elapsed())),
            false => {
                let what = summary.what.unwrap_or_else(|| status.to_string());
                let again = summary.artifact.map(|input| format!("{} {input}", binary.display()));
                let again = again.unwrap_or_else(|| "no input was kept".to_owned());
                format!("{target}: FAILED: {what}\n  again: {again}\n  log:   {}", log.display())
            }
        };
        Ok(Found { passed: status.success(), line })
    }
}

/// What libFuzzer said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    runs: u64,
    coverage: u64,
    corpus: String,
    /// The input on which it failed.
    artifact: Option<String>,
    what: Option<String>,
}

impl Summary {
    fn read(log: &str) -> Self {
        let mut summary = Self::default();
        let mut lines = log.lines();
        while let Some(line) = lines.next() {
            let after = |key: &str| line.split_once(key).and_then(|(_, rest)| rest.split_whitespace().next());
            if let Some(coverage) = after(" cov: ").and_then(|number| number.parse().ok()) {
                summary.coverage = coverage;
                summary.corpus = after(" corp: ").unwrap_or_default().to_owned();
            }
            if let Some(runs) = after("stat::number_of_executed_units:").and_then(|number| number.parse().ok()) {
                summary.runs = runs;
            }
            if let Some((_, file)) = line.split_once("Test unit written to ") {
                summary.artifact = Some(file.to_owned());
            }
            // The message stands in the line after the place.
            if summary.what.is_none() && line.starts_with("thread ") && line.contains(" panicked at ") {
                let place = line.split_once(" panicked at ").map_or(line, |(_, place)| place);
                summary.what = Some(format!("{place} {}", lines.next().unwrap_or_default()));
            } else if summary.what.is_none()
                && let Some((_, what)) = line.split_once("ERROR: libFuzzer: ")
            {
                summary.what = Some(what.to_owned());
            }
        }
        summary
    }

    fn line(&self, took: Duration) -> String {
        let rate = self.runs / took.as_secs().max(1);
        let Self { runs, coverage, corpus, .. } = self;
        format!("nothing found in {runs} runs ({rate}/s); coverage {coverage}, corpus {corpus}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn targets_and_time() {
        let options =
            |targets: &[&str], seconds| Options { targets: targets.iter().map(|t| (*t).into()).collect(), seconds };
        assert_eq!(parsed(""), Ok(options(&[], SECONDS)));
        assert_eq!(parsed("token --seconds 5 ledger"), Ok(options(&["token", "ledger"], 5)));
        for wrong in ["--seconds", "--seconds x", "--seconds 0", "--fast"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_fuzzer_says_at_its_end() {
        let log = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 27Mb\n\
                   #9\tDONE   cov: 345 ft: 900 corp: 67/8Kb lim: 97 exec/s: 4 rss: 43Mb\n\
                   stat::number_of_executed_units: 1200\n";
        let summary = Summary::read(log);
        assert_eq!(
            summary.line(Duration::from_secs(60)),
            "nothing found in 1200 runs (20/s); coverage 345, corpus 67/8Kb"
        );
        let log = "thread '<unnamed>' (7) panicked at src/a.rs:1:2:\nit is wrong\nstack backtrace:\n\
                   ==7== ERROR: libFuzzer: deadly signal\n\
                   artifact_prefix='x/'; Test unit written to /f/crash-1\n";
        let summary = Summary::read(log);
        assert_eq!(summary.what.as_deref(), Some("src/a.rs:1:2: it is wrong"));
        assert_eq!(summary.artifact.as_deref(), Some("/f/crash-1"));
        let log = "==7== ERROR: libFuzzer: out-of-memory (used: 4097Mb; limit: 4096Mb)\n";
        assert_eq!(Summary::read(log).what.as_deref(), Some("out-of-memory (used: 4097Mb; limit: 4096Mb)"));
    }
}
