//! The few shapes that a drawing is made of, as SVG text.

use std::fmt::Write as _;

use super::colour;

/// An SVG in the making.
pub(super) struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { body: String::new(), width, height }
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, fill: &str) {
        self.push(format_args!("<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' fill='{fill}'/>"));
    }

    pub(super) fn panel(&mut self, x: f64, y: f64, width: f64, height: f64) {
        self.push(format_args!(
            "<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' rx='6' fill='#ffffff' stroke='#d5dbe6'/>"
        ));
    }

    /// A box with a text in its middle, the long one where it fits, or else the short one.
    pub(super) fn labelled(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), long: &str, short: &str) {
        let (left, top) = (x - width / 2.0, y - height / 2.0);
        self.push(format_args!(
            "<rect x='{left:.1}' y='{top:.1}' width='{width:.1}' height='{height:.1}' rx='3' fill='{}' stroke='{}'><title>{}</title></rect>",
            colour::BOX,
            colour::EDGE,
            escaped(long)
        ));
        const SIZE: f64 = 10.0;
        if let Some(label) = [long, short].into_iter().find(|label| text_width(label, SIZE) <= width - 4.0) {
            self.text(x, y + 3.5, "middle", SIZE, label);
        }
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: &str, size: f64, text: &str) {
        let text = escaped(text);
        self.push(format_args!("<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' font-size='{size}'>{text}</text>"));
    }

    pub(super) fn line(
        &mut self,
        from: (f64, f64),
        to: (f64, f64),
        width: f64,
        stroke: &str,
        dashed: bool,
        title: &str,
    ) {
        let dash = if dashed { " stroke-dasharray='4 3'" } else { "" };
        let ((x1, y1), (x2, y2), title) = (from, to, escaped(title));
        self.push(format_args!(
            "<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' stroke='{stroke}' stroke-width='{width:.2}'{dash}>\
             <title>{title}</title></line>"
        ));
    }

    pub(super) fn finish(self) -> String {
        let Self { body, width, height } = self;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0} {height:.0}' width='{width:.0}' height='{height:.0}' \
             font-family='Helvetica, Arial, sans-serif' fill='#1f2733'>\n\
             <rect width='100%' height='100%' fill='#f6f8fb'/>\n{body}</svg>\n"
        )
    }

    fn push(&mut self, shape: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{shape}").expect("a string takes all text");
    }
}

/// Pixels, about: a letter is a little more than half as wide as it is high.
fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.58
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
