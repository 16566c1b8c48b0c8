//! A week as a grid of days and half hours, 77 columns wide. Pure.
//!
//! A cell stands for half an hour on a day's wall clock, which is not always half an hour of time: where the clocks go
//! forward it is nothing, where they go back it comes twice, and then there are two rows for it.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::table::clean;
use super::days::{Day, Week};

/// Columns of a day.
const WIDTH: usize = 9;
/// Minutes of a row.
const ROW: u16 = 30;
/// What stands where the clock shows no such time.
const SKIPPED: &str = "/////////";

/// Something that takes time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
    /// What to call it.
    pub label: String,
}

/// A row: a half hour of the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    /// Its first minute of the day.
    minute: u16,
    /// 0, or 1 for the second time that the clock shows it.
    pass: usize,
}

/// Draws the week from the first to the last minute of a day in `hours`, or further if something booked lies outside.
/// Own events are not drawn outside of that: [`undrawn`] counts them. Returns the lines, and what explains them.
pub fn draw(week: &Week, booked: &[Item], own: &[Item], hours: (u16, u16)) -> String {
    let mut text = head(week);
    let rows = rows(week, booked, hours);
    let mut skipped = false;
    for (at, row) in rows.iter().enumerate() {
        let mark = if row.pass > 0 { '\'' } else { ' ' };
        let whole = at == 0 || row.minute.is_multiple_of(60) || row.pass > 0;
        let label = format!("{:02}:{:02}{mark}", row.minute / 60, row.minute % 60);
        text.push_str(if whole { label.as_str() } else { "      " });
        for day in &week.days {
            let Some(range) = instants(week, day.date, *row) else {
                skipped = true;
                text.push('│');
                text.push_str(SKIPPED);
                continue;
            };
            text.push('│');
            text.push_str(&cell(range, booked, own));
        }
        text.push_str("│\n");
    }
    let again = rows.iter().any(|row| row.pass > 0);
    let legend = [
        (!booked.is_empty(), "▌ booked by quorate"),
        (!own.is_empty(), "░ own events"),
        (skipped, "/ a time that the clocks skip"),
        (again, "' the second time that the clocks show it"),
    ];
    let shown: Vec<_> = legend.iter().filter(|(shown, _)| *shown).map(|(_, words)| *words).collect();
    if !shown.is_empty() {
        text.push_str(&format!("{}\n", shown.join("   ")));
    }
    text
}

/// How many of the own events [`draw`] has no row for.
pub fn undrawn(week: &Week, booked: &[Item], own: &[Item], hours: (u16, u16)) -> usize {
    let rows = rows(week, booked, hours);
    let drawn = |item: &Item| {
        let on =
            |row: &Row, day: &Day| instants(week, day.date, *row).is_some_and(|range| overlaps(item, range));
        rows.iter().any(|row| week.days.iter().any(|day| on(row, day)))
    };
    own.iter().filter(|item| !drawn(item)).count()
}

fn head(week: &Week) -> String {
    let day = |day: &Day| {
        // The sentences beneath say why.
        let mark = if day.minutes() == 24 * 60 { "" } else { "*" };
        format!("│{:<WIDTH$}", format!(" {}{mark}", day.date.strftime("%a %d")))
    };
    let heads: String = week.days.iter().map(day).collect();
    let line = format!("──────{}┤\n", "┼─────────".repeat(7));
    format!("      {heads}│\n{line}")
}

/// The rows that are needed, in the order in which time passes.
fn rows(week: &Week, booked: &[Item], (mut first, mut last): (u16, u16)) -> Vec<Row> {
    let all: Vec<u16> = (0..24 * 60).step_by(ROW.into()).collect();
    // Only what is booked, the people's own events may fill all of the night.
    for minute in &all {
        let taken = |day: &Day| {
            [0, 1].into_iter().any(|pass| {
                let range = instants(week, day.date, Row { minute: *minute, pass });
                range.is_some_and(|range| booked.iter().any(|item| overlaps(item, range)))
            })
        };
        if week.days.iter().any(taken) {
            (first, last) = (first.min(*minute), last.max(minute + ROW));
        }
    }
    let twice =
        |minute: u16| week.days.iter().any(|day| instants(week, day.date, Row { minute, pass: 1 }).is_some());
    let mut rows = Vec::new();
    let mut again = Vec::new();
    for minute in all.into_iter().filter(|minute| minute + ROW > first && *minute < last) {
        if twice(minute) {
            again.push(Row { minute, pass: 1 });
        } else {
            // The times that come twice are over: now they come again.
            rows.append(&mut again);
        }
        rows.push(Row { minute, pass: 0 });
    }
    rows.append(&mut again);
    rows
}

/// When the wall clock shows a row's half hour on a date, for the first or the second time. None if it does not.
fn instants(week: &Week, date: Date, row: Row) -> Option<(Timestamp, Timestamp)> {
    let wall = date.at((row.minute / 60) as i8, (row.minute % 60) as i8, 0, 0);
    let mut shown = week.stretches.iter().filter_map(|stretch| {
        let start = stretch.offset.to_timestamp(wall).ok()?;
        let end = start.checked_add(i64::from(ROW).minutes()).ok()?;
        let (start, end) = (start.max(stretch.start), end.min(stretch.end));
        (start < end).then_some((start, end))
    });
    shown.nth(row.pass)
}

fn overlaps(item: &Item, (start, end): (Timestamp, Timestamp)) -> bool {
    item.start < end && start < item.end
}

/// What a cell shows: what is booked, with its title where it begins; else the own events.
fn cell(range: (Timestamp, Timestamp), booked: &[Item], own: &[Item]) -> String {
    let here: Vec<_> = booked.iter().filter(|item| overlaps(item, range)).collect();
    if !here.is_empty() {
        let begins = here.iter().find(|item| range.0 <= item.start);
        let label = begins.map_or("", |item| item.label.as_str());
        let more = if here.len() > 1 { format!("+{}", here.len() - 1) } else { String::new() };
        let room = WIDTH - 1 - more.len();
        return format!("▌{}{more}", fit(&clean(label), room));
    }
    let mut names: Vec<&str> =
        own.iter().filter(|item| overlaps(item, range)).map(|item| item.label.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => " ".repeat(WIDTH),
        [""] => "░".repeat(WIDTH),
        names => format!("░{}", fit(&clean(&names.join(",")), WIDTH - 1)),
    }
}

/// A text in exactly so many columns; what does not fit is cut and marked.
fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return format!("{text}{}", " ".repeat(columns - text.width()));
    }
    let mut cut = String::new();
    let mut width = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if width + wide >= columns {
            break;
        }
        cut.push(c);
        width += wide;
    }
    format!("{cut}…{}", " ".repeat(columns - width - 1))
}

#[cfg(test)]
mod tests {
    use super::super::super::zone::Zone;
    use super::*;

    fn week(zone: &str, date: &str) -> Week {
        Week::of(date.parse().unwrap(), &Zone::named(zone).unwrap()).unwrap()
    }

    fn item(start: &str, end: &str, label: &str) -> Item {
        Item { start: start.parse().unwrap(), end: end.parse().unwrap(), label: label.to_owned() }
    }

    /// A day's column without the head, row by row, with the row's label.
    fn column(text: &str, day: usize) -> Vec<(String, String)> {
        let line = |line: &str| {
            let mut cells = line.split('│');
            let label = cells.next().unwrap().trim().to_owned();
            (label, cells.nth(day).unwrap_or_default().to_owned())
        };
        text.lines().skip(2).filter(|line| line.contains('│')).map(line).collect()
    }

    #[test]
    fn a_common_week_fits_80_columns() {
        let week = week("Europe/Berlin", "2026-12-01");
        let booked = [
            item("2026-12-01T09:00:00Z", "2026-12-01T10:00:00Z", "Design review"),
            item("2026-12-01T09:30:00Z", "2026-12-01T10:00:00Z", "設計レビュー"),
            item("2026-12-04T15:45:00Z", "2026-12-04T16:00:00Z", "Bye"),
        ];
        let own = [
            item("2026-12-02T08:00:00Z", "2026-12-02T09:00:00Z", ""),
            item("2026-12-03T08:00:00Z", "2026-12-03T08:30:00Z", "bob"),
            item("2026-12-03T08:00:00Z", "2026-12-03T08:30:00Z", "alice"),
        ];
        let text = draw(&week, &booked, &own, (9 * 60, 11 * 60));
        let expected = "      │ Mon 30  │ Tue 01  │ Wed 02  │ Thu 03  │ Fri 04  │ Sat 05  │ Sun 06  │
──────┼─────────┼─────────┼─────────┼─────────┼─────────┼─────────┼─────────┤
09:00 │         │         │░░░░░░░░░│░alice,b…│         │         │         │
      │         │         │░░░░░░░░░│         │         │         │         │
10:00 │         │▌Design …│         │         │         │         │         │
      │         │▌設計… +1│         │         │         │         │         │
11:00 │         │         │         │         │         │         │         │
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.lines().all(|line| line.width() <= 77), "{text}");
        assert!(text.ends_with("│\n▌ booked by quorate   ░ own events\n"), "{text}");
        // A meeting outside the hours widens them.
        let fridays = column(&text, 4);
        assert_eq!(fridays.last().unwrap(), &(String::new(), "▌Bye     ".to_owned()));
        assert_eq!(fridays.len(), 16, "09:00 to 17:00");
    }

    #[test]
    fn an_hour_that_is_skipped_is_no_free_hour() {
        let week = week("Europe/Berlin", "2026-03-29");
        // From 01:30 to 03:30 on the wall clock: one hour.
        let booked = [item("2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "Night")];
        let text = draw(&week, &booked, &[], (60, 240));
        let cells = column(&text, 6);
        let expected =
            [("01:00", " "), ("", "▌Night"), ("02:00", SKIPPED), ("", SKIPPED), ("03:00", "▌"), ("", " ")];
        for (at, (label, cell)) in expected.into_iter().enumerate() {
            assert_eq!((cells[at].0.as_str(), cells[at].1.trim_end()), (label, cell.trim_end()), "{text}");
        }
        assert!(column(&text, 5).iter().all(|(_, cell)| cell != SKIPPED));
        assert!(text.contains(" Sun 29*") && text.contains("/ a time that the clocks skip"), "{text}");
    }

    #[test]
    fn an_hour_that_comes_twice_has_two_rows_in_the_order_of_time() {
        let week = week("Europe/Berlin", "2026-10-25");
        // The second 02:30 to 03:00.
        let booked = [item("2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z", "Late")];
        let text = draw(&week, &booked, &[], (60, 240));
        let cells = column(&text, 6);
        let labels: Vec<_> = cells.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["01:00", "", "02:00", "", "02:00'", "02:30'", "03:00", ""]);
        let taken: Vec<_> = cells.iter().map(|(_, cell)| cell.starts_with('▌')).collect();
        assert_eq!(taken, [false, false, false, false, false, true, false, false]);
        // On other days there is no second time.
        assert!(column(&text, 5)[4..6].iter().all(|(_, cell)| cell == SKIPPED));
    }

    #[test]
    fn half_hours_that_change_and_days_that_there_are_not() {
        // Clocks go back by half an hour at 02:00: only 01:30 comes twice.
        let text = draw(&week("Australia/Lord_Howe", "2026-04-05"), &[], &[], (60, 150));
        let labels: Vec<_> = column(&text, 6).into_iter().map(|(label, _)| label).collect();
        assert_eq!(labels, ["01:00", "", "01:30'", "02:00"]);
        let text = draw(&week("Pacific/Apia", "2011-12-30"), &[], &[], (480, 1020));
        assert_eq!(column(&text, 4).len(), 18);
        assert!(column(&text, 4).iter().all(|(_, cell)| cell == SKIPPED), "{text}");
        assert!(column(&text, 3).iter().chain(&column(&text, 5)).all(|(_, cell)| cell.trim().is_empty()));
        // Over midnight: 23:00 comes twice on the Saturday, which ends after the Sunday's clock was put back.
        let week = week("America/Sao_Paulo", "2018-02-17");
        let booked = [item("2018-02-18T02:00:00Z", "2018-02-18T02:30:00Z", "Again")];
        let text = draw(&week, &booked, &[], (1380, 1440));
        let cells = column(&text, 5);
        let labels: Vec<_> = cells.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["23:00", "", "23:00'", "23:30'"]);
        assert!(cells[2].1.starts_with("▌Again") && cells[0].1.trim().is_empty(), "{text}");
    }

    #[test]
    fn texts_are_cut_to_their_columns() {
        for (text, expected) in [
            ("abc", "abc  "),
            ("abcde", "abcde"),
            ("abcdef", "abcd…"),
            ("設計図だ", "設計…"),
            ("設計x", "設計x"),
        ] {
            assert_eq!(fit(text, 5), expected);
            assert_eq!(fit(text, 5).width(), 5);
        }
        // A wide letter that fits only in half leaves a gap.
        assert_eq!((fit("設計図", 4).as_str(), fit("設計図", 4).width()), ("設… ", 4));
    }
}
