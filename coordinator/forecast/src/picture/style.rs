//! The look of every picture: one style sheet, light and dark. The hues are Okabe and Ito's (2008), which people with
//! any colour vision tell apart; within a hue, shades say which microbatch.

/// Shades of one hue, from light to dark.
pub(super) const N_SHADES: usize = 5;

/// Categories that have a colour of their own; further ones begin again.
pub(super) const N_COLOURS: usize = 12;

/// The class that fills a category.
pub(super) fn colour(category: usize) -> String {
    format!("k{}", category % N_COLOURS)
}

/// Style of pictures, alone and in pages.
pub const STYLE: &str = "\
.picture{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\
.ground{fill:#fff}text{fill:#1f2328}.head{font-size:15px;font-weight:600}.soft{fill:#59636e}.small{font-size:11px}\
.mid{text-anchor:middle}.end{text-anchor:end}.bold{font-weight:600}\
.grid{stroke:#d9dee3;stroke-width:1}.edge{stroke:#8c959f;stroke-width:1}\
.idle{fill:#eceff2}.limit{stroke:#cf222e;stroke-width:2;stroke-dasharray:6 4}.over{fill:#cf222e}text.over{fill:#cf222e;font-weight:600}\
.see-through{pointer-events:none}.on{font-size:10px;pointer-events:none}.on.l{fill:#101418}.on.d{fill:#fff}\
.f0{fill:#b0d3f0}.f1{fill:#8abde8}.f2{fill:#62a5de}.f3{fill:#2f7fc3}.f4{fill:#1a5c98}\
.b0{fill:#fac998}.b1{fill:#f6b06e}.b2{fill:#ef9646}.b3{fill:#d8701b}.b4{fill:#a9530c}\
.i0{fill:#f3df94}.i1{fill:#edd06a}.i2{fill:#e2bf45}.i3{fill:#bf9a1c}.i4{fill:#8d7010}\
.w0{fill:#aeddc8}.w1{fill:#84cbac}.w2{fill:#57b48b}.w3{fill:#27916a}.w4{fill:#0f6b4b}\
.k0{fill:#5b9bd5}.k1{fill:#f0b040}.k2{fill:#45b596}.k3{fill:#dd9bc0}.k4{fill:#8accf0}.k5{fill:#e8845a}.k6{fill:#a99ae0}\
.k7{fill:#c2bc4d}.k8{fill:#a3adb6}.k9{fill:#b58a6c}.k10{fill:#6d8f3f}.k11{fill:#d4d06a}\
.s0{stroke:#5b9bd5}.s1{stroke:#f0b040}.s2{stroke:#45b596}.s3{stroke:#dd9bc0}.s4{stroke:#8accf0}.s5{stroke:#e8845a}.s6{stroke:#a99ae0}\
.s7{stroke:#c2bc4d}.s8{stroke:#a3adb6}.s9{stroke:#b58a6c}.s10{stroke:#6d8f3f}.s11{stroke:#d4d06a}.curve{fill:none;stroke-width:2}\
.h0{fill:#eef3f7}.h1{fill:#d3e3ef}.h2{fill:#b5d0e6}.h3{fill:#94bbdb}.h4{fill:#74a5cf}.h5{fill:#558dc0}.h6{fill:#3a74ab}.h7{fill:#255b90}.h8{fill:#164372}.h9{fill:#cf222e}\
.down{fill:none;stroke:#cf222e;stroke-width:1.5}\
@media (prefers-color-scheme:dark){.ground{fill:#0d1117}text{fill:#e6edf3}.soft{fill:#9198a1}.grid{stroke:#2b323b}.edge{stroke:#6e7781}\
.idle{fill:#1c232c}.limit{stroke:#ff7b72}.over{fill:#ff7b72}text.over{fill:#ff7b72}.h0{fill:#18212b}.h1{fill:#1c3146}.h2{fill:#1f4263}.h3{fill:#235480}\
.h4{fill:#2b689c}.h5{fill:#3c7fb5}.h6{fill:#5798cb}.h7{fill:#7eb3dd}.h8{fill:#abd0ee}.h9{fill:#ff7b72}.down{stroke:#ff7b72}}";

/// How wide words are, in pixels, by the usual widths of letters: good enough to decide whether they fit.
pub fn text_width(text: &str, font_size: f64) -> f64 {
    let letter = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')' => 0.29,
        'r' | '-' | '/' => 0.36,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.86,
        'A'..='Z' => 0.68,
        _ => 0.56,
    };
    text.chars().map(letter).sum::<f64>() * font_size
}
