//! Hosts by one aho-corasick automaton, paths by segments.

/// A host as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern;

/// All hosts of a policy.
#[derive(Clone, Debug)]
pub struct HostMatcher;

/// A path as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern;
