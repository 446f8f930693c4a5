//! A small SVG writer: shapes go onto a canvas in the order in which they are painted, and a finished canvas is a
//! picture that stands alone or inside a page.

use std::fmt::Write as _;

use super::style::STYLE;

/// A rectangle, in pixels of the canvas; y grows downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// To the right.
    pub width: f64,
    /// Downwards.
    pub height: f64,
}

impl Frame {
    /// The right edge.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// The lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// A picture under way.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// An empty one, so many pixels large.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// A box of a class of [`STYLE`]; `tip` is shown when one points at it.
    pub fn rect(&mut self, at: Frame, class: &str, tip: Option<&str>) {
        let Frame { x, y, width, height } = at;
        let (x, y, width, height) = (short(x), short(y), short(width.max(0.0)), short(height.max(0.0)));
        let shape = format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"");
        // Writing to a string cannot fail.
        let _ = match tip {
            Some(tip) => write!(self.body, "{shape}><title>{}</title></rect>", escape(tip)),
            None => write!(self.body, "{shape}/>"),
        };
    }

    /// Many boxes of one class as one shape: small, and nothing to point at.
    pub fn boxes(&mut self, all: &[Frame], class: &str) {
        let one = |at: &Frame| {
            let [x, y, width, height] = [at.x, at.y, at.width.max(0.0), at.height.max(0.0)].map(short);
            format!("M{x} {y}h{width}v{height}h-{width}z")
        };
        let shape: String = all.iter().map(one).collect();
        let _ = write!(self.body, "<path class=\"{class}\" d=\"{shape}\"/>");
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(short);
        let _ = write!(self.body, "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>");
    }

    /// A line through points.
    pub fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|&(x, y)| format!("{},{}", short(x), short(y))).collect();
        let _ = write!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }

    /// A dot.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, class: &str, tip: &str) {
        let [x, y, r] = [at.0, at.1, radius].map(short);
        let tip = escape(tip);
        let _ = write!(
            self.body,
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\"><title>{tip}</title></circle>"
        );
    }

    /// Words whose base line is at `y`; classes `mid` and `end` centre them at `x` or let them end there.
    pub fn text(&mut self, at: (f64, f64), class: &str, text: &str) {
        let [x, y] = [at.0, at.1].map(short);
        let _ = write!(self.body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text));
    }

    /// The picture; `about` tells in a sentence what it shows, for those who do not see it.
    pub fn finish(self, title: &str, about: &str) -> Picture {
        Picture { width: self.width, height: self.height, title: title.into(), about: about.into(), body: self.body }
    }
}

/// A finished picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// In pixels; pictures grow and shrink with the page.
    pub width: f64,
    /// In pixels.
    pub height: f64,
    /// What it is called.
    pub title: String,
    /// What it shows, in a sentence.
    pub about: String,
    body: String,
}

impl Picture {
    /// A file of its own, with its style.
    pub fn svg(&self) -> String {
        let (open, [width, height]) = (self.open(), [self.width, self.height].map(short));
        format!(
            "{open} width=\"{width}\" height=\"{height}\"><title>{}</title><desc>{}</desc><style>{STYLE}</style>\
             <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>{}</svg>\n",
            escape(&self.title),
            escape(&self.about),
            self.body
        )
    }

    /// For a page that has [`STYLE`].
    pub fn inline(&self) -> String {
        format!("{} role=\"img\" aria-label=\"{}\">{}</svg>", self.open(), escape(&self.about), self.body)
    }

    /// Several pictures under each other, as one.
    pub fn stacked(pictures: &[Self], title: &str) -> Self {
        let width = pictures.iter().map(|picture| picture.width).fold(0.0, f64::max);
        let mut body = String::new();
        let mut height = 0.0;
        for picture in pictures {
            let _ = write!(body, "<g transform=\"translate(0 {})\">{}</g>", short(height), picture.body);
            height += picture.height;
        }
        let about: Vec<&str> = pictures.iter().map(|picture| picture.about.as_str()).collect();
        Self { width, height, title: title.into(), about: about.join(" "), body }
    }

    fn open(&self) -> String {
        let [width, height] = [self.width, self.height].map(short);
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"picture\" viewBox=\"0 0 {width} {height}\"")
    }
}

/// Text as XML and HTML take it, within tags and within quotes. Characters that XML forbids become a mark.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' | '\r' => safe.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// At most two decimals: a hundredth of a pixel is never seen.
fn short(pixels: f64) -> String {
    assert!(pixels.is_finite(), "a shape has a place, not {pixels}");
    let text = format!("{pixels:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, -0.001, 1.0, 2.5, 3.456789, 100.0].map(short), ["0", "0", "1", "2.5", "3.46", "100"]);
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<b a=\"1\" c='2'>&\u{0}"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}");
    }
}
