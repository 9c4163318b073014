//! A clearance, and what came of it, as bytes: for a guard that stands in another VM than the filter that decided.
//!
//! | layout 1 | |
//! |---|---|
//! | number | one byte where it says so, else 4, little-endian |
//! | text, bytes | length, then so many bytes; text is UTF-8 |
//! | list | number of members, then each |
//! | what may be absent | a byte, 0 or 1, and with 1 the value |
//! | address | a byte, 4 or 6, then 4 or 16 bytes; a range has the length of its prefix (a byte) behind it |
//!
//! INVARIANT: each value has one form, and what is read is read to its end: bytes that are taken are those that would be written
//! for what they were taken for.

use super::guard::{Clearance, Terms, Told};
use crate::destination::{AddressClass, Cidr, Exit, Pass};
use crate::evidence::record::{Binding, GuardVerdict, PolicyReference};
use crate::policy::{MaskMember, ValueMask};
use crate::request::Bytes;
use std::net::IpAddr;

/// Number of the layout. A guard that does not know it lets nothing out.
pub const LAYOUT: u8 = 1;

/// Bytes at most. A request has at most 60 KiB of path; what the policy names of addresses may be long.
const MOST: usize = 256 * 1024;

const BINDINGS: [(u8, Binding); 3] = [(0, Binding::Request), (1, Binding::Session), (2, Binding::Tunnel)];

impl Clearance {
    /// What a guard elsewhere needs of it; `None` where that is too much.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let Pass { exit, method, authority, path, port, literal, addresses, metadata } = &self.pass;
        let Told { policy, destination, kind, category, mask } = self.terms.told();
        let mut to = Writer(vec![LAYOUT]);
        to.bytes(self.decision.as_bytes());
        to.bytes(exit.word().as_bytes());
        to.bytes(method.as_bytes());
        to.bytes(authority.as_bytes());
        to.option(path.as_deref(), Writer::bytes);
        to.number(usize::from(*port));
        to.option(literal.as_ref(), |to, address| to.address(*address));
        to.list(addresses, |to, ranges| to.list(ranges, |to, range| to.range(range)));
        to.byte(u8::from(*metadata));
        to.byte(BINDINGS.iter().find(|(_, binding)| *binding == self.binding).map_or(u8::MAX, |(code, _)| *code));
        to.bytes(self.agent.as_bytes());
        to.bytes(self.session.as_bytes());
        to.text(self.tenant.as_deref());
        to.bytes(policy.revision.as_bytes());
        to.bytes(policy.digest.as_bytes());
        to.text(policy.change.as_deref());
        for text in [&destination, &kind, &category] {
            to.text(text.as_deref());
        }
        for members in [mask.dropped(), mask.hashed()] {
            to.list(members, |to, member| to.bytes(member.word().as_bytes()));
        }
        Some(to.0).filter(|bytes| bytes.len() <= MOST)
    }

    /// What was told; `None` for everything that [`Clearance::to_bytes`] does not give.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(Some(bytes).filter(|bytes| bytes.len() <= MOST)?);
        if from.byte()? != LAYOUT {
            return None;
        }
        let decision = from.string()?;
        let pass = Pass {
            exit: Exit::from_word(from.str()?)?,
            method: from.string()?,
            authority: from.string()?,
            path: from.option(|from| from.bytes().map(Bytes::copy_from_slice))?,
            port: u16::try_from(from.number()?).ok()?,
            literal: from.option(Reader::address)?,
            addresses: from.list(|from| from.list(Reader::range).map(Into::into))?,
            metadata: from.flag()?,
        };
        let code = from.byte()?;
        let (_, binding) = BINDINGS.into_iter().find(|(known, _)| *known == code)?;
        let (agent, session, tenant) = (from.string()?, from.string()?, from.option(Reader::string)?);
        let policy =
            PolicyReference { revision: from.string()?, digest: from.string()?, change: from.option(Reader::string)? };
        let told = Told {
            policy,
            destination: from.option(Reader::string)?,
            kind: from.option(Reader::string)?,
            category: from.option(Reader::string)?,
            mask: ValueMask::of(from.list(Reader::member)?, from.list(Reader::member)?)?,
        };
        let terms = Terms::Told(Box::new(told));
        let clearance = Self { pass, decision, host: None, credentials: None, terms, binding, agent, session, tenant };
        from.0.is_empty().then_some(clearance)
    }
}

impl GuardVerdict {
    /// For the filter, where that stands elsewhere.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer(vec![LAYOUT]);
        match self {
            Self::Passed { address, class } => {
                to.byte(0);
                to.bytes(address.as_bytes());
                to.bytes(class.code().as_bytes());
            }
            Self::Refused { decision } => {
                to.byte(1);
                to.bytes(decision.as_bytes());
            }
        }
        to.0
    }

    /// `None` for everything that [`GuardVerdict::to_bytes`] does not give.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        if from.byte()? != LAYOUT {
            return None;
        }
        let verdict = match from.byte()? {
            0 => {
                let (address, code) = (from.string()?, from.str()?);
                Self::Passed { address, class: AddressClass::ALL.iter().copied().find(|class| class.code() == code)? }
            }
            1 => Self::Refused { decision: from.string()? },
            _ => return None,
        };
        from.0.is_empty().then_some(verdict)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: usize) {
        // INVARIANT: what is longer than `MOST` is not handed over.
        self.0.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn option<T: ?Sized>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.option(text, |to, text| to.bytes(text.as_bytes()));
    }

    fn list<T>(&mut self, list: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(list.len());
        list.iter().for_each(|member| write(self, member));
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                self.byte(4);
                self.0.extend_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                self.byte(6);
                self.0.extend_from_slice(&v6.octets());
            }
        }
    }

    fn range(&mut self, range: &Cidr) {
        self.address(range.network());
        self.byte(range.prefix());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn string(&mut self) -> Option<String> {
        self.str().map(str::to_owned)
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    /// Each member takes a byte at least, so that a number too large ends with the bytes.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.byte()? {
            4 => self.array::<4>().map(IpAddr::from),
            6 => self.array::<16>().map(IpAddr::from),
            _ => None,
        }
    }

    fn range(&mut self) -> Option<Cidr> {
        let network = self.address()?;
        Cidr::new(network, self.byte()?).ok()
    }

    fn member(&mut self) -> Option<MaskMember> {
        let word = self.str()?;
        MaskMember::ALL.into_iter().find(|member| member.word() == word)
    }
}

#[cfg(test)]
mod tests;
