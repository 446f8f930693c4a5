//! Tokenizers: text to tokens and back.

use std::path::Path;

use ds_data::{TokenizerChoice, Vocabulary};

use crate::Check;
use crate::folder::Folder;

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    let folder = folder.clone();
    vec![Check::new("samples", move || samples(&folder.path("tokenizer.json"), &folder))]
}

fn samples(path: &Path, folder: &Folder) -> String {
    let golden = folder.json("golden.json");
    let vocabulary = Vocabulary::open(&TokenizerChoice::File(path.to_owned())).expect("a tokenizer");
    assert_eq!(u64::from(vocabulary.size()), golden["vocab_size"].as_u64().expect("vocab_size"));
    let samples = golden["samples"].as_array().expect("samples");
    for sample in samples {
        let text = sample["text"].as_str().expect("text");
        let ids: Vec<u32> = serde_json::from_value(sample["ids"].clone()).expect("ids");
        assert_eq!(vocabulary.encode(text).expect("tokens"), ids, "{text:?}");
        assert_eq!(vocabulary.decode(&ids).expect("text"), sample["decoded"].as_str().expect("decoded"), "{text:?}");
        for (&id, token) in ids.iter().zip(sample["tokens"].as_array().expect("tokens")) {
            assert_eq!(vocabulary.token(id).as_deref(), token.as_str(), "token {id} of {text:?}");
        }
    }
    assert!(!samples.is_empty(), "no samples");
    format!("{} samples, {} tokens known", samples.len(), vocabulary.size())
}
