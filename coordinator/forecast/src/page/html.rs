//! A page as text.

use super::style::PAGE_STYLE;
use super::{Block, Fact, Page, Section, Table, Tone};
use crate::picture::{STYLE, escape};

/// Cells longer than this may break into lines.
const LONG: usize = 84;

/// The page, whole: one file, nothing beside it.
pub fn html(page: &Page) -> String {
    let (title, subtitle) = (escape(&page.title), escape(&page.subtitle));
    let facts: String = page.facts.iter().map(fact).collect();
    let sections: String = page.sections.iter().map(section).collect();
    let tone = match page.verdict.tone {
        Tone::Good => " good",
        Tone::Bad => " bad",
        Tone::Plain => "",
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>{PAGE_STYLE}\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"subtitle\">{subtitle}</p>\n\
         <p class=\"verdict{tone}\">{}</p>\n<dl class=\"facts\">\n{facts}</dl>\n{sections}\
         <footer>Made by dsctl. Everything in this page is a prediction unless it says that it was measured.</footer>\n\
         </main>\n</body>\n</html>\n",
        escape(&page.verdict.text)
    )
}

fn fact(fact: &Fact) -> String {
    let [name, value, note] = [&fact.name, &fact.value, &fact.note].map(|text| escape(text));
    format!(
        "<div class=\"fact\"><dt>{name}</dt><dd><div class=\"value\">{value}</div><div class=\"note\">{note}</div></dd></div>\n"
    )
}

fn section(section: &Section) -> String {
    let parts: String = section.parts.iter().map(block).collect();
    format!("<section>\n<h2>{}</h2>\n{parts}</section>\n", escape(&section.title))
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(text) => format!("<p>{}</p>\n", escape(text)),
        Block::Picture(picture) => format!("<figure>{}</figure>\n", picture.inline()),
        Block::Table(of) => table(of),
        Block::Code(text) => format!("<pre>{}</pre>\n", escape(text)),
        Block::List(points) => {
            let points: String = points.iter().map(|point| format!("<li>{}</li>\n", escape(point))).collect();
            format!("<ul>\n{points}</ul>\n")
        }
    }
}

fn table(table: &Table) -> String {
    // Columns of numbers stand on the right, their heads too.
    let is_number = |column: usize| {
        let mut cells = table.rows.iter().filter_map(|row| row.get(column)).filter(|cell| *cell != "-").peekable();
        cells.peek().is_some() && cells.all(|cell| starts_as_number(cell))
    };
    let numbers: Vec<bool> = (0..table.head.len()).map(is_number).collect();
    let class = |column: usize, cell: &str| match (numbers.get(column), cell.chars().count() > LONG) {
        (Some(true), _) => " class=\"number\"",
        (_, true) => " class=\"long\"",
        _ => "",
    };
    let head: String = table
        .head
        .iter()
        .enumerate()
        .map(|(i, name)| format!("<th scope=\"col\"{}>{}</th>", class(i, ""), escape(name)))
        .collect();
    let row = |(index, cells): (usize, &Vec<String>)| {
        let marked = if table.marked == Some(index) { " class=\"marked\"" } else { "" };
        let cell = |(i, cell): (usize, &String)| format!("<td{}>{}</td>", class(i, cell), escape(cell));
        let cells: String = cells.iter().enumerate().map(cell).collect();
        format!("<tr{marked}>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().enumerate().map(row).collect();
    format!("<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n")
}

fn starts_as_number(cell: &str) -> bool {
    cell.trim_start_matches(['-', '+', '<', '≥', '~']).starts_with(|c: char| c.is_ascii_digit())
}
