//! A VM that dies in the middle of its work. Nothing an agent sends may make the module trap, so a copy of it is given one
//! reason to: a request with a certain number of header fields.

use crate::scene::{LIMIT, Scene, count, of};
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, Edit};
use exeat_e2e::scenario::updating::CODE;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client::{Connection, Response};
use exeat_e2e::stage::front::Manner;
use std::ops::Range;
use std::path::PathBuf;
use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, FunctionSection, Module, RawSection};
use wasmparser::{Parser, Payload, TypeRef};

/// So many fields make it trap.
const FATAL: Range<i32> = 70..90;
const CALLBACK: &str = "proxy_on_request_headers";

/// The module, with a function in front of the callback that traps or passes on to it.
fn fragile(module: &[u8]) -> Vec<u8> {
    let (mut built, mut code, mut types) = (Module::new(), CodeSection::new(), Vec::new());
    let (mut imported, mut original) = (0_u32, None);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        match &payload {
            Payload::FunctionSection(section) => {
                types = section.clone().into_iter().map(Result::unwrap).collect();
                // The callback's own type is known once exports are read; it stands in for them.
                let exports = exports(module);
                original = Some(exports);
                let mut functions = FunctionSection::new();
                types.iter().for_each(|of_type| _ = functions.function(*of_type));
                functions.function(types[usize::try_from(exports - imported).unwrap()]);
                built.section(&functions);
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                let new = imported + u32::try_from(types.len()).unwrap();
                for export in section.clone() {
                    let export = export.unwrap();
                    let index = if export.name == CALLBACK { new } else { export.index };
                    exports.export(export.name, ExportKind::from(export.kind), index);
                }
                built.section(&exports);
            }
            Payload::CodeSectionStart { .. } => {}
            Payload::CodeSectionEntry(body) => {
                code.raw(&module[body.range()]);
                if code.len() == u32::try_from(types.len()).unwrap() {
                    code.function(&gate(original.unwrap()));
                    built.section(&code);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    imported += u32::from(matches!(import.unwrap().ty, TypeRef::Func(_)));
                }
                copy(&mut built, &payload, module);
            }
            _ => copy(&mut built, &payload, module),
        }
    }
    built.finish()
}

fn copy(built: &mut Module, payload: &Payload<'_>, module: &[u8]) {
    if let Some((id, range)) = payload.as_section() {
        built.section(&RawSection { id, data: &module[range] });
    }
}

/// Index of the callback.
fn exports(module: &[u8]) -> u32 {
    let sections = Parser::new(0).parse_all(module).map(Result::unwrap);
    let found = sections.filter_map(|payload| match payload {
        Payload::ExportSection(section) => {
            section.into_iter().map(Result::unwrap).find(|export| export.name == CALLBACK)
        }
        _ => None,
    });
    found.map(|export| export.index).next().unwrap()
}

/// `(context, fields, end) -> action`.
fn gate(original: u32) -> Function {
    let mut function = Function::new([]);
    let mut body = function.instructions();
    for (bound, last) in [(FATAL.start, false), (FATAL.end, true)] {
        body.local_get(1).i32_const(bound);
        if last {
            body.i32_lt_s()
        } else {
            body.i32_ge_s()
        };
    }
    body.i32_and().if_(wasm_encoder::BlockType::Empty).unreachable().end();
    body.local_get(0).local_get(1).local_get(2).call(original).end();
    function
}

/// Which of them is fragile.
#[derive(Clone, Copy, Debug)]
enum Fragile {
    /// The one module of filter and guards, who share a VM.
    Both,
    /// The filter's; guards have another, and VMs of their own.
    Filter,
}

fn start(which: Fragile, changes: &[(&str, &str)], workers: u32) -> (Scene, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("fragile.wasm");
    std::fs::write(&path, fragile(&std::fs::read(artefacts::module().unwrap()).unwrap())).unwrap();
    let around = match which {
        Fragile::Both => Around { module: Some(path), ..Around::default() },
        Fragile::Filter => {
            let edit = Edit::new(move |listener| *listener.pointer_mut(CODE).unwrap() = path.to_str().unwrap().into());
            Around { listener: Some(edit), ..Around::default() }
        }
    };
    (Scene::start_amid(changes, workers, around), folder)
}

/// Makes the VM trap that this connection is served by.
fn trap(scene: &Scene) {
    let request = plain::get(&scene.real, &scene.path()).unwrap();
    let request = (0..FATAL.start).fold(request, |request, n| request.header(format!("x-{n}"), "1"));
    let answer = Connection::open(scene.real.listener).unwrap().send(&request).unwrap();
    assert_eq!((answer.status, answer.header("exeat-decision")), (503, None));
    scene.real.envoy.wait_for_log("proxy_on_request_headers failed", LIMIT).unwrap();
}

/// Sends until requests pass again: the VM is built anew a second later.
fn until_it_is_well(scene: &Scene) -> Vec<Response> {
    let mut answers = Vec::new();
    scene
        .real
        .envoy
        .process()
        .wait_until("a VM that was built again", LIMIT, || {
            let answer = scene.send()?;
            let passed = answer.status == 200;
            assert!(passed || answer.status == 503, "{}", answer.text());
            answers.extend(answer.header("exeat-decision").is_some().then_some(answer));
            passed.then_some(())
        })
        .unwrap();
    answers
}

#[test]
fn with_write_ahead_a_dead_vm_has_let_nothing_go_unrecorded() {
    [Fragile::Both, Fragile::Filter].into_iter().for_each(nothing_goes_unrecorded);
}

fn nothing_goes_unrecorded(which: Fragile) {
    let (scene, _folder) = start(which, &[("delivery: async", "delivery: write-ahead")], 1);
    let mut answers = scene.send_at_once(6);
    assert_eq!(count(&answers, 200), 6);
    for _ in 0..2 {
        // Completions are in the queue that dies.
        trap(&scene);
        answers.extend(until_it_is_well(&scene));
        answers.extend(scene.send_at_once(4));
    }
    // What docs/monitoring alarms on.
    scene.real.envoy.wait_for_stat("wasm.exeat.vm_reload_success", 2, LIMIT).unwrap();
    assert_eq!((scene.unstored(), scene.reached().len()), (0, count(&answers, 200)));
    // Each VM had a log of its own.
    let logs = |records: &[serde_json::Value]| of(records, "genesis").len() >= 4;
    scene.real.wait_for_records_within(LIMIT, "the logs of the VMs", logs).unwrap();
    assert_eq!(scene.unstored(), 0);
}

#[test]
fn what_dies_with_a_vm_is_missed_by_the_others() {
    let (scene, _folder) = start(Fragile::Both, &[], 2);
    let answers = scene.send_at_once(12);
    scene.settled(&answers);
    scene.real.verify_settled(LIMIT).unwrap();
    scene.front.set(Manner::Hang);
    // Into both workers, as often as it takes.
    assert_eq!(count(&scene.send_at_once(24), 200), 24);
    trap(&scene);
    scene.front.set(Manner::Pass);
    until_it_is_well(&scene);
    let missing = || {
        let error = scene.real.verify().err()?.to_string();
        (error.contains("a checkpoint of egress-demo/") && error.contains("the rest is missing")).then_some(error)
    };
    // The next checkpoint of any other VM, in half a minute at most, knows how far the dead one had come. It does not come to
    // an end by itself, as what is only late would.
    let found = scene.real.envoy.process().wait_until("a finding", LIMIT, missing).unwrap();
    assert!(found.contains("knows"), "{found}");
}
