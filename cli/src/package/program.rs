//! The command line itself as an image: one file, and what a C library looks for. For the containers of `exeat render kubernetes`.

use super::about::About;
use super::blob::Blob;
use super::image::{Form, Package, append_as};
use super::sbom::Sbom;
use anyhow::{Context as _, bail, ensure};
use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use oci_spec::image::{Arch, ConfigBuilder, ImageConfigurationBuilder};
use std::collections::HashMap;

/// Where it is in the image, which is also its entrypoint.
pub const PLACE: &str = "usr/local/bin/exeat";

/// The user of containers that name none: nobody's, and not root.
pub const USER: &str = "65532:65532";

/// What a C library asks the file system for, and users where a name is shown.
const FILES: [(&str, &str); 3] = [
    ("etc/group", "root:x:0:\nexeat:x:65532:\n"),
    // Without it names would be asked of DNS before /etc/hosts, where clusters put them.
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/passwd", "root:x:0:0:root:/:/nologin\nexeat:x:65532:65532:exeat:/:/nologin\n"),
];

/// Folders, each after that in which it is.
const FOLDERS: [&str; 4] = ["etc/", "usr/", "usr/local/", "usr/local/bin/"];

/// An executable file that runs where there is nothing else. Made only by [`Program::own`] and [`Program::check`].
#[derive(Debug)]
pub struct Program {
    blob: Blob,
    machine: Arch,
}

impl Program {
    /// The program that runs.
    ///
    /// # Errors
    /// A debug build, and what [`Program::check`] refuses.
    pub fn own() -> anyhow::Result<Self> {
        ensure!(
            !cfg!(debug_assertions),
            "--cli packs the program that runs, and this is a debug build: large and slow. `cargo xtask image` builds and packs one \
             that is neither"
        );
        let file = std::env::current_exe().context("cannot find the program that runs")?;
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::check(bytes).with_context(|| format!("--cli packs the program that runs, {}", file.display()))
    }

    /// Takes bytes that are such a file.
    ///
    /// # Errors
    /// What is no ELF file for a processor that is known here, or needs a loader and libraries, which are not in the image.
    pub fn check(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let parsed = || -> object::Result<_> {
            let header = FileHeader64::<Endianness>::parse(bytes.as_slice())?;
            let endian = header.endian()?;
            let mut interpreter = None;
            for segment in header.program_headers(endian, bytes.as_slice())? {
                interpreter = segment.interpreter(endian, bytes.as_slice())?.or(interpreter);
            }
            let sections = header.sections(endian, bytes.as_slice())?;
            let debug = sections.iter().any(|section| sections.section_name(endian, section) == Ok(b".debug_info"));
            Ok((header.e_machine(endian), interpreter.map(<[u8]>::to_vec), debug))
        };
        let (machine, interpreter, debug) =
            parsed().map_err(|error| anyhow::anyhow!("not a program for 64-bit Linux: {error}"))?;
        if let Some(interpreter) = interpreter {
            bail!(
                "linked dynamically: it wants {}, and the image has neither that nor libraries. `cargo xtask image` builds and packs \
                 one that stands alone",
                String::from_utf8_lossy(&interpreter).escape_debug()
            );
        }
        ensure!(
            !debug,
            "it carries debug information, several times its own size; strip it, or use `cargo xtask image`"
        );
        let machine = match machine {
            EM_X86_64 => Arch::Amd64,
            EM_AARCH64 => Arch::ARM64,
            other => bail!("for a processor that images have no name for here (ELF machine {other})"),
        };
        Ok(Self { blob: Blob::new(bytes), machine })
    }

    /// Its bytes and their digest.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }
}

impl Package {
    /// An image of a program, and its bill of materials.
    ///
    /// # Errors
    /// None that can happen with what was checked.
    pub fn of_program(program: &Program, about: &About, sbom: Option<&Sbom>) -> anyhow::Result<Self> {
        let mut made = Self { tag: about.tag(), manifests: Vec::new(), blobs: Vec::new() };
        let annotations: HashMap<String, String> = about.annotations().collect();
        let process = ConfigBuilder::default()
            .user(USER)
            .env(vec!["PATH=/usr/local/bin".to_owned()])
            .entrypoint(vec![format!("/{PLACE}")])
            .working_dir("/")
            .labels(annotations.clone())
            .build()?;
        let config = ImageConfigurationBuilder::default().architecture(program.machine.clone()).config(process);
        let image = made.image_of(layer(program, about.seconds())?, config, annotations, about)?;
        let subject = image.blob.manifest_descriptor()?;
        made.manifests.push(image);
        if let Some(sbom) = sbom {
            let manifest = made.sbom(Form::ImageSbom, subject, sbom, about)?;
            made.manifests.push(manifest);
        }
        Ok(made)
    }
}

/// A tar of all there is in the image.
fn layer(program: &Program, seconds: u64) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for folder in FOLDERS {
        append_as(&mut tar, folder, &[], seconds, tar::EntryType::Directory, 0o755)?;
    }
    for (name, text) in FILES {
        append_as(&mut tar, name, text.as_bytes(), seconds, tar::EntryType::Regular, 0o644)?;
    }
    append_as(&mut tar, PLACE, program.blob().bytes(), seconds, tar::EntryType::Regular, 0o755)?;
    tar.into_inner().context("cannot write the layer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_run_alone_is_refused() {
        let of = |bytes: &[u8]| format!("{:#}", Program::check(bytes.to_vec()).unwrap_err());
        for (bytes, words) in [
            (b"".as_slice(), "not a program for 64-bit Linux"),
            (b"#!/bin/sh\n", "not a program for 64-bit Linux"),
            (b"\x7fELF", "not a program for 64-bit Linux"),
        ] {
            assert!(of(bytes).contains(words), "{}", of(bytes));
        }
        // This test is linked as programs are by default.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let said = of(&own);
        assert!(said.contains("linked dynamically") && said.contains("cargo xtask image"), "{said}");
        // Broken off anywhere, it is an error and no more.
        for length in (0..own.len().min(4096)).step_by(7) {
            assert!(Program::check(own[..length].to_vec()).is_err());
        }
        assert!(format!("{:#}", Program::own().unwrap_err()).contains("debug build"));
    }
}
