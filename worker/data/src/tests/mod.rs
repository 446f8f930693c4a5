//! From text on disk to windows, as callers see it.

mod at_once;
mod corpus;
mod encoding;
mod place;
mod refusals;
mod stream;
mod text;
mod tokens;
mod trigrams;
mod windows;
