//! What is rendered for Kubernetes.
