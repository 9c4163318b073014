//! `cargo xtask`: the one entry to everything that is more than a single cargo call. Each command finds out by itself what
//! this machine lacks, says what it does about it and how long that usually takes, and is quick when nothing is left to do.

mod bench;
mod checks;
mod demo;
mod fuzz;
mod image;
mod load;
mod module;
mod process;
mod registry;
mod runtimes;
mod sbom;
mod setup;
mod size;
mod stages;
mod test;
mod toolchain;
mod updates;
mod wasm;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const USAGE: &str = "\
cargo xtask <command>

  setup                            get what the other commands need: a way to wasm32, Envoy, cargo-deny,
                                   what the examples in Python and Node import, a registry
  wasm                             build the filter into target/exeat.wasm, fails when it is too large; and
                                   what it is made of into target/exeat.cdx.json (CycloneDX)
  wasm --note-size                 note what takes how many bytes, for later builds to be compared with
  wasm --check-reproducible        build it here and from a copy elsewhere, and compare the bytes (minutes)
  image                            build the command line so that it stands alone, and the image of it into
                                   target/image (OCI image layout), with a bill of materials
  test [--advisories] [-- ARGS]    checks, module, every test on the real Envoy; ARGS go to the test runner
  demo [--keep]                    run the demo on the real Envoy; --keep leaves it running to look around
  bench [--quick]                  Exeat beside other filters on the real Envoy, its parts in V8, updates; writes
                                   docs/bench and the tables of docs/performance.md. --quick: only the first, writes nothing
  bench --check [--quick]          only that Exeat beside other filters costs what it may; writes nothing
  bench --memory [--quick]         memory of worker VMs and of Envoy, over 1,000,000 requests; writes likewise
  bench --stages                   only the parts of a decision in V8; writes nothing
  bench --arms=ID,...              only these of those side by side; with EXEAT_WASM_BESIDE=<file>, with another
                                   module as well; writes nothing
  load                             1,000 requests a second by signer and Envoy, and what they cost
  updates                          1,000 new policies in a row under load, and how long each takes
  fuzz [TARGET...] [--seconds N]   libFuzzer on the targets of fuzz/, one after the other, 60 s each unless said
  ci-checks [--advisories]         only the checks: format, lints, licences and sources of dependencies

  --advisories                     ask the RustSec database too (needs the network)
  EXEAT_ENVOY=<path>               use this Envoy instead of the one that setup installs";

/// What the command line asked for. Made only by [`parse`].
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Setup,
    Wasm(WasmTask),
    Image,
    Test { advisories: bool, runner_args: Vec<String> },
    Demo { keep: bool },
    Bench(bench::Options),
    Load,
    Updates,
    Fuzz(fuzz::Options),
    CiChecks { advisories: bool },
}

/// What is done with the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WasmTask {
    Build,
    NoteSize,
    CheckReproducible,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let command = match parse(&args) {
        Ok(command) => command,
        Err(complaint) => {
            eprintln!("{complaint}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    if command == Command::Help {
        println!("{USAGE}");
        return Ok(());
    }
    let workspace = Workspace::locate()?;
    match command {
        Command::Help => Ok(()),
        Command::Setup => setup::everything(&workspace),
        Command::Wasm(task) => {
            let toolchain = setup::wasm_toolchain(&workspace)?;
            match task {
                WasmTask::Build => wasm::build(&workspace, &toolchain).map(drop),
                WasmTask::NoteSize => wasm::note_size(&workspace, &toolchain),
                WasmTask::CheckReproducible => wasm::check_reproducible(&workspace, &toolchain),
            }
        }
        Command::Image => image::build(&workspace).map(drop),
        Command::Test { advisories, runner_args } => test::run_all(&workspace, advisories, &runner_args),
        Command::Demo { keep } => demo::play(&workspace, keep),
        Command::Bench(options) => bench::measure(&workspace, options),
        Command::Load => load::measure(&workspace),
        Command::Updates => updates::measure(&workspace),
        Command::Fuzz(options) => fuzz::fuzz(&workspace, &options),
        Command::CiChecks { advisories } => checks::run_alone(&workspace, advisories),
    }
}

fn parse(args: &[String]) -> Result<Command, String> {
    let Some((name, rest)) = args.split_first() else { return Err("a command is missing".to_owned()) };
    if name == "fuzz" {
        return fuzz::Options::parse(rest).map(Command::Fuzz);
    }
    let (flags, runner_args) = match rest.iter().position(|arg| arg == "--") {
        Some(at) => rest.split_at(at),
        None => (rest, [].as_slice()),
    };
    let allowed: &[&str] = match name.as_str() {
        "test" | "ci-checks" => &["--advisories"],
        "demo" => &["--keep"],
        "bench" => &["--check", "--quick", "--memory", "--stages"],
        "wasm" => &["--note-size", "--check-reproducible"],
        _ => &[],
    };
    let arms = flags.iter().filter(|_| name == "bench").find_map(|flag| flag.strip_prefix("--arms="));
    let is_known = |flag: &str| allowed.contains(&flag) || (arms.is_some() && flag.starts_with("--arms="));
    if let Some(unknown) = flags.iter().find(|flag| !is_known(flag)) {
        return Err(format!("`{name}` does not know `{unknown}`"));
    }
    if !runner_args.is_empty() && name != "test" {
        return Err(format!("`{name}` takes nothing after `--`"));
    }
    let given = |flag: &str| flags.iter().any(|arg| arg == flag);
    match name.as_str() {
        "help" | "--help" | "-h" => Ok(Command::Help),
        "setup" => Ok(Command::Setup),
        "wasm" => match flags {
            [] => Ok(Command::Wasm(WasmTask::Build)),
            [flag] if flag == "--note-size" => Ok(Command::Wasm(WasmTask::NoteSize)),
            [flag] if flag == "--check-reproducible" => Ok(Command::Wasm(WasmTask::CheckReproducible)),
            _ => Err("`wasm` takes one of its flags at a time".to_owned()),
        },
        "image" => Ok(Command::Image),
        "test" => Ok(Command::Test {
            advisories: given("--advisories"),
            runner_args: runner_args.iter().skip(1).cloned().collect(),
        }),
        "demo" => Ok(Command::Demo { keep: given("--keep") }),
        "bench" if given("--memory") && given("--check") => Err("`--check` is not of memory".to_owned()),
        "bench" if (given("--stages") || arms.is_some()) && flags.len() > 1 => {
            Err("`--stages` and `--arms=` stand alone".to_owned())
        }
        "bench" => Ok(Command::Bench(bench::Options {
            check: given("--check"),
            quick: given("--quick"),
            memory: given("--memory"),
            stages: given("--stages"),
            arms: arms.map(str::to_owned),
        })),
        "load" => Ok(Command::Load),
        "updates" => Ok(Command::Updates),
        "ci-checks" => Ok(Command::CiChecks { advisories: given("--advisories") }),
        unknown => Err(format!("there is no command `{unknown}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn commands_and_their_flags() {
        assert_eq!(parsed("setup"), Ok(Command::Setup));
        assert_eq!(parsed("bench"), Ok(Command::Bench(bench::Options::default())));
        let check = bench::Options { check: true, quick: true, ..bench::Options::default() };
        assert_eq!(parsed("bench --quick --check"), Ok(Command::Bench(check)));
        let arms = bench::Options { arms: Some("exeat,jwt".to_owned()), ..bench::Options::default() };
        assert_eq!(parsed("bench --arms=exeat,jwt"), Ok(Command::Bench(arms)));
        assert_eq!(parsed("wasm"), Ok(Command::Wasm(WasmTask::Build)));
        assert_eq!(parsed("wasm --check-reproducible"), Ok(Command::Wasm(WasmTask::CheckReproducible)));
        assert_eq!(parsed("image"), Ok(Command::Image));
        assert_eq!(parsed("load"), Ok(Command::Load));
        assert_eq!(parsed("updates"), Ok(Command::Updates));
        let fuzz = fuzz::Options { targets: vec!["token".to_owned()], seconds: 9 };
        assert_eq!(parsed("fuzz token --seconds 9"), Ok(Command::Fuzz(fuzz)));
        assert_eq!(parsed("demo --keep"), Ok(Command::Demo { keep: true }));
        assert_eq!(parsed("ci-checks"), Ok(Command::CiChecks { advisories: false }));
        assert_eq!(
            parsed("test --advisories -- -p exeat-engine"),
            Ok(Command::Test { advisories: true, runner_args: vec!["-p".to_owned(), "exeat-engine".to_owned()] })
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "",
            "tset",
            "wasm --keep",
            "wasm --note-size --check-reproducible",
            "test --keep",
            "demo --keep extra",
            "setup -- x",
            "image --push",
            "bench --memory --check",
            "bench --stages --quick",
            "bench --arms=exeat --quick",
            "load --arms=exeat",
            "test -p exeat-engine",
            "fuzz --seconds",
        ] {
            assert!(parsed(line).is_err(), "`{line}` was accepted");
        }
    }
}
