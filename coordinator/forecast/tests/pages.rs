//! Laws of pages: well-formed, self-contained, and no text of a user becomes markup.

use ds_forecast::page::{Block, Fact, Page, Section, Table, Tone, Verdict, html};
use ds_forecast::picture::{Bars, Row, Unit, bars};

const EVIL: &str = "<script src=\"http://evil\">'&\u{1}</script>";

/// A page that has the text everywhere.
fn page(text: &str) -> Page {
    let picture = bars(&Bars {
        title: text.to_owned(),
        rows_are: text.to_owned(),
        parts: vec![text.to_owned()],
        rows: vec![Row { name: text.to_owned(), values: vec![1.0] }],
        limit: Some((2.0, text.to_owned())),
        unit: Unit::Bytes,
    });
    let mut table = Table::new(&[text, "n"], vec![vec![text.to_owned(), "12.5%".to_owned()]; 2]);
    table.marked = Some(1);
    let parts = vec![
        Block::Text(text.to_owned()),
        Block::Picture(picture),
        Block::Table(table),
        Block::Code(text.to_owned()),
        Block::List(vec![text.to_owned()]),
    ];
    Page {
        title: text.to_owned(),
        subtitle: text.to_owned(),
        verdict: Verdict { tone: Tone::Bad, text: text.to_owned() },
        facts: vec![Fact { name: text.to_owned(), value: text.to_owned(), note: text.to_owned() }],
        sections: vec![Section { title: text.to_owned(), parts }],
    }
}

#[test]
fn a_page_is_well_formed_whatever_it_is_given() {
    for text in ["plain", "", EVIL, "日本 ∞ \"q\" 'a'", "]]> --> &amp;"] {
        let text = html(&page(text));
        let body = text.strip_prefix("<!DOCTYPE html>\n").unwrap();
        roxmltree::Document::parse(body).unwrap_or_else(|error| panic!("{error}\n{body}"));
    }
}

#[test]
fn no_text_of_a_user_becomes_markup_and_all_of_it_is_shown() {
    let text = html(&page(EVIL));
    let body = text.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let tree = roxmltree::Document::parse(body).unwrap();
    assert!(tree.descendants().all(|node| node.tag_name().name() != "script"));
    let shown = EVIL.replace('\u{1}', "\u{fffd}");
    let times = tree.descendants().filter(|node| node.is_text() && node.text() == Some(&shown)).count();
    assert!(times >= 12, "{times}");
}

#[test]
fn a_page_asks_nothing_of_the_network() {
    let text = html(&page("plain")).replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "//", "url(", "href", "src=", "@import", "<script", "<link", "<iframe", "<img"] {
        assert!(!text.contains(outside), "{outside}");
    }
}

#[test]
fn columns_of_numbers_stand_on_the_right_and_one_row_stands_out() {
    let text = html(&page("plain"));
    assert_eq!(text.matches("<td class=\"number\">12.5%</td>").count(), 2);
    assert_eq!(text.matches("<th scope=\"col\" class=\"number\">n</th>").count(), 1);
    assert_eq!(text.matches("<tr class=\"marked\">").count(), 1);
}
