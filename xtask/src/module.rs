//! The sections of a WebAssembly module, as far as a build has to do with them: names of functions, sizes, and what may be
//! left out (core specification, section 5.5 and appendix 7.4.1).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// A module, taken apart.
pub(crate) struct Module<'a> {
    sections: Vec<Section<'a>>,
}

struct Section<'a> {
    id: u8,
    /// With its header.
    whole: &'a [u8],
    body: &'a [u8],
}

const HEADER: &[u8] = b"\0asm\x01\0\0\0";
const CUSTOM: u8 = 0;
const IMPORT: u8 = 2;
const CODE: u8 = 10;
const DATA: u8 = 11;

impl<'a> Module<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut rest = Reader(bytes.strip_prefix(HEADER).context("not a WebAssembly module")?);
        let mut sections = Vec::new();
        while !rest.0.is_empty() {
            let before = rest.0;
            let id = rest.byte()?;
            let length = rest.length()?;
            let body = rest.take(length)?;
            let whole = before.get(..before.len() - rest.0.len()).context("a section ends before it begins")?;
            sections.push(Section { id, whole, body });
        }
        Ok(Self { sections })
    }

    /// The module without custom sections: names, and what tools say of themselves. Nothing that runs is among them.
    pub(crate) fn stripped(&self) -> Vec<u8> {
        let kept = self.sections.iter().filter(|section| section.id != CUSTOM).map(|section| section.whole);
        std::iter::once(HEADER).chain(kept).collect::<Vec<_>>().concat()
    }

    /// Names of functions by their index, as people read them.
    pub(crate) fn names(&self) -> Result<BTreeMap<usize, String>> {
        let mut names = BTreeMap::new();
        for section in self.sections.iter().filter(|section| section.id == CUSTOM) {
            let mut body = Reader(section.body);
            if body.name()? != b"name" {
                continue;
            }
            while !body.0.is_empty() {
                let id = body.byte()?;
                let length = body.length()?;
                let mut part = Reader(body.take(length)?);
                if id != FUNCTION_NAMES {
                    continue;
                }
                for _ in 0..part.length()? {
                    let index = part.length()?;
                    let mangled = String::from_utf8_lossy(part.name()?).into_owned();
                    names.insert(index, format!("{:#}", rustc_demangle::demangle(&mangled)));
                }
            }
        }
        Ok(names)
    }

    /// What takes how many bytes: the functions of each crate, `data`, and `other sections`.
    pub(crate) fn sizes(&self) -> Result<BTreeMap<String, usize>> {
        let names = self.names()?;
        let mut sizes = BTreeMap::new();
        let mut index = self.imported_functions()?;
        for section in &self.sections {
            match section.id {
                CUSTOM => {}
                CODE => {
                    let mut body = Reader(section.body);
                    for _ in 0..body.length()? {
                        let length = body.length()?;
                        body.take(length)?;
                        let of = names.get(&index).map_or("without a name", |name| crate_of(name));
                        *sizes.entry(of.to_owned()).or_default() += length;
                        index += 1;
                    }
                }
                id => {
                    let of = if id == DATA { "data" } else { "other sections" };
                    *sizes.entry(of.to_owned()).or_default() += section.whole.len();
                }
            }
        }
        Ok(sizes)
    }

    /// Imported functions come first in the numbering. All imports of these modules are functions.
    fn imported_functions(&self) -> Result<usize> {
        let Some(section) = self.sections.iter().find(|section| section.id == IMPORT) else { return Ok(0) };
        let mut body = Reader(section.body);
        let count = body.length()?;
        for _ in 0..count {
            body.name()?;
            body.name()?;
            ensure!(body.byte()? == 0, "something other than a function is imported");
            body.length()?;
        }
        Ok(count)
    }
}

const FUNCTION_NAMES: u8 = 1;

/// The crate that a function is from: the first in its path. Code of generic functions counts for the crate they are
/// written in, not for the one that uses them.
fn crate_of(name: &str) -> &str {
    let Some(end) = name.find("::") else { return "without a crate" };
    let before = name.get(..end).unwrap_or_default();
    let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    match before.get(start..).unwrap_or_default() {
        "" => "without a crate",
        of => of,
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.0.split_first().context("the module ends too early")?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).context("the module ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// An unsigned number, LEB128.
    fn length(&mut self) -> Result<usize> {
        let mut number = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(usize::try_from(number)?);
            }
        }
        anyhow::bail!("a number is too long")
    }

    fn name(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One import, one function of two bytes, one byte of data, names of both functions.
    fn module() -> Vec<u8> {
        let names = b"\x04name\x01\x12\x02\x00\x04host\x01\x09one::func";
        [
            HEADER,
            b"\x01\x04\x01\x60\x00\x00",
            b"\x02\x0c\x01\x03env\x04host\x00\x00",
            b"\x03\x02\x01\x00",
            b"\x0a\x04\x01\x02\x00\x0b",
            b"\x0b\x07\x01\x00\x41\x00\x0b\x01x",
            &[0, u8::try_from(names.len()).unwrap()],
            names,
        ]
        .concat()
    }

    #[test]
    fn names_and_sizes_are_found_and_left_out() {
        let bytes = module();
        let module = Module::parse(&bytes).unwrap();
        assert_eq!(module.names().unwrap(), [(0, "host".to_owned()), (1, "one::func".to_owned())].into());
        let sizes = module.sizes().unwrap();
        assert_eq!(sizes, [("one".to_owned(), 2), ("data".to_owned(), 9), ("other sections".to_owned(), 24)].into());
        let stripped = module.stripped();
        assert!(bytes.starts_with(&stripped));
        assert!(Module::parse(&stripped).unwrap().names().unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let bytes = module();
        assert!(Module::parse(&bytes[..bytes.len() - 1]).is_err());
        assert!(Module::parse(b"text").is_err());
    }

    #[test]
    fn functions_belong_to_the_crate_they_are_written_in() {
        for (name, of) in [
            ("exeat_engine::policy::compile", "exeat_engine"),
            ("<&mut serde_json::de::Deserializer<R> as serde_core::de::Deserializer>::any", "serde_json"),
            ("<[alloc::string::String] as core::slice::Join>::join", "alloc"),
            ("main", "without a crate"),
        ] {
            assert_eq!(crate_of(name), of, "{name}");
        }
    }
}
