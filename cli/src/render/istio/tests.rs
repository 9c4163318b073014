//! What is rendered for Istio.
