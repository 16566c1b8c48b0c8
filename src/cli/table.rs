//! Tables for a terminal, without colours.

use comfy_table::{ContentArrangement, Table, TableComponent, presets};

/// Longest text in a cell, in characters; what follows is cut and marked with an ellipsis.
const CELL_CHARS: usize = 72;

/// Text from elsewhere, fit for a terminal: control characters, which could steer it, are replaced, and so are the
/// invisible ones that turn the direction of the text around.
pub fn clean(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// [`clean`] text, cut to fit a cell.
pub fn cell(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(CELL_CHARS) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text,
    }
}

/// A table under a line of heads, each line indented by two. Columns without any content are left out.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let filled = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty()));
    let columns: Vec<usize> = (0..heads.len()).filter(|column| filled(*column)).collect();
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns.iter().map(|column| heads[*column]));
    for row in rows {
        table.add_row(columns.iter().map(|column| cell(row.get(*column).map_or("", String::as_str))));
    }
    table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let text =
            table(&["WHO", "NOTE", "STATUS"], &rows(&[&["alice", "", "attends"], &["bo", "", "busy"]]));
        let expected = "  WHO     STATUS\n ─────────────────\n  alice   attends\n  bo      busy\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        let text = table(&["A"], &rows(&[&["x\ny"]]));
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn long_cells_are_cut() {
        let text = cell(&"ä".repeat(500));
        assert_eq!(text.chars().count(), CELL_CHARS + 1);
        assert!(text.ends_with('…'));
        assert_eq!(cell("short"), "short");
    }
}
