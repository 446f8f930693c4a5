//! The bridge to Hugging Face's folders, from outside.

mod folder;
mod round_trip;
