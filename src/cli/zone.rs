//! The asker's time zone: the one that was named, or the system's, out of the bundled IANA database.

use std::env;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A zone of the IANA database, with its name.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its rules.
    pub rules: TimeZone,
    /// Its name, spelled as in the database.
    pub name: String,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { rules: TimeZone::UTC, name: "UTC".to_owned() }
    }

    /// The zone with this IANA name, in any case of letters.
    ///
    /// # Errors
    /// A sentence that says that there is no such zone.
    pub fn named(name: &str) -> Result<Self, String> {
        let unknown = || format!("'{name}' is no IANA time zone; names look like Europe/Berlin or UTC");
        let rules = TimeZone::get(name).map_err(|_| unknown())?;
        let spelled = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { rules, name: spelled })
    }

    /// The wall clock of this zone at an instant, as words: `Tue 2026-12-01 10:00`. Seconds are shown only
    /// if there are any, the offset only if the wall clock shows this time twice.
    pub fn show(&self, at: Timestamp) -> String {
        let local = at.to_zoned(self.rules.clone());
        format!("{} {}", local.strftime("%a %Y-%m-%d"), self.show_clock(at))
    }

    /// A range on the wall clock of this zone: `Tue 2026-12-01 10:00–10:30`. The date is repeated only if the
    /// range ends on another day.
    pub fn show_range(&self, start: Timestamp, end: Timestamp) -> String {
        let days = [start, end].map(|at| at.to_zoned(self.rules.clone()).date());
        let end = if days[0] == days[1] { self.show_clock(end) } else { format!(" {}", self.show(end)) };
        let dash = if days[0] == days[1] { "–" } else { " –" };
        format!("{}{dash}{end}", self.show(start))
    }

    fn show_clock(&self, at: Timestamp) -> String {
        let local = at.to_zoned(self.rules.clone());
        let format = if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
        let twice = self.rules.to_ambiguous_timestamp(local.datetime()).is_ambiguous();
        let offset = if twice { local.strftime("%:z").to_string() } else { String::new() };
        format!("{}{offset}", local.strftime(format))
    }
}

/// Checks an IANA name and spells it as the database does.
///
/// # Errors
/// As [`Zone::named`].
pub fn iana_name(name: &str) -> Result<String, String> {
    Zone::named(name).map(|zone| zone.name)
}

/// The zone in which a person reads and writes times.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The zone.
    pub zone: Zone,
    /// Whether somebody chose it (an option, or the system's setting), so that a request may name it too.
    pub chosen: bool,
    /// What the person should know about the choice.
    pub note: Option<String>,
}

/// What a system says about its zone.
#[derive(Clone, Debug, Default)]
pub struct SystemHints {
    /// The variable TZ.
    pub variable: Option<String>,
    /// Where /etc/localtime points to.
    pub localtime: Option<String>,
    /// What /etc/timezone holds.
    pub timezone_file: Option<String>,
}

impl SystemHints {
    /// Reads them. What can't be read is absent.
    pub fn read() -> Self {
        let link = fs::read_link(Path::new("/etc/localtime")).ok();
        Self {
            variable: env::var("TZ").ok(),
            localtime: link.map(|path| path.to_string_lossy().into_owned()),
            timezone_file: fs::read_to_string("/etc/timezone").ok(),
        }
    }
}

/// The asker's zone: the option if there is one (checked before), else what the system says, else UTC.
///
/// # Errors
/// As [`Zone::named`], for the option.
pub fn asker(option: Option<&str>, system: &SystemHints) -> Result<Asker, String> {
    if let Some(name) = option {
        return Ok(Asker { zone: Zone::named(name)?, chosen: true, note: None });
    }
    let mut note = None;
    let variable = system.variable.as_deref().map(|v| v.strip_prefix(':').unwrap_or(v));
    if variable == Some("") {
        // POSIX: an empty TZ is UTC.
        return Ok(Asker { zone: Zone::utc(), chosen: true, note });
    }
    let hints = [variable, system.localtime.as_deref(), system.timezone_file.as_deref()];
    for hint in hints.into_iter().flatten() {
        let hint = hint.trim();
        let name = hint.rsplit_once("zoneinfo/").map_or(hint, |(_, name)| name);
        let name = name.strip_prefix("posix/").or(name.strip_prefix("right/")).unwrap_or(name);
        match Zone::named(name) {
            Ok(zone) => return Ok(Asker { zone, chosen: true, note }),
            Err(_) => {
                note.get_or_insert_with(|| {
                    format!("the system's time zone '{hint}' has no IANA name; --time-zone can name one")
                });
            }
        }
    }
    Ok(Asker { zone: Zone::utc(), chosen: false, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_found_in_any_case_and_others_refused() {
        assert_eq!(Zone::named("europe/berlin").unwrap().name, "Europe/Berlin");
        assert!(Zone::named("Mars/Olympus").unwrap_err().contains("'Mars/Olympus' is no IANA time zone"));
        assert_eq!(iana_name("utc").unwrap(), "UTC");
    }

    #[test]
    fn ranges_repeat_the_date_only_when_it_changes() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let show = |a, b| zone.show_range(at(a), at(b));
        assert_eq!(show("2026-12-01T09:00:00Z", "2026-12-01T09:30:00Z"), "Tue 2026-12-01 10:00–10:30");
        assert_eq!(
            show("2026-12-01T22:00:00Z", "2026-12-02T00:00:30Z"),
            "Tue 2026-12-01 23:00 – Wed 2026-12-02 01:00:30"
        );
    }

    #[test]
    fn an_hour_that_comes_twice_shows_its_offset() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(zone.show(at("2026-10-25T00:30:00Z")), "Sun 2026-10-25 02:30+02:00");
        assert_eq!(zone.show(at("2026-10-25T01:30:00Z")), "Sun 2026-10-25 02:30+01:00");
        assert_eq!(zone.show(at("2026-10-25T02:30:00Z")), "Sun 2026-10-25 03:30");
    }

    #[test]
    fn the_option_wins_over_the_variable_over_the_link_over_the_file() {
        let mut system = SystemHints {
            variable: Some(":America/New_York".to_owned()),
            localtime: Some("../usr/share/zoneinfo/Asia/Tokyo".to_owned()),
            timezone_file: Some("Europe/Berlin\n".to_owned()),
        };
        let name = |option, system: &SystemHints| asker(option, system).unwrap().zone.name;
        assert_eq!(name(Some("Asia/Kolkata"), &system), "Asia/Kolkata");
        assert_eq!(name(None, &system), "America/New_York");
        system.variable = None;
        assert_eq!(name(None, &system), "Asia/Tokyo");
        system.localtime = None;
        assert_eq!(name(None, &system), "Europe/Berlin");
        system.timezone_file = None;
        let none = asker(None, &system).unwrap();
        assert_eq!((none.zone.name.as_str(), none.chosen, none.note), ("UTC", false, None));
    }

    #[test]
    fn a_zone_without_a_name_is_passed_over_with_a_note() {
        let system = SystemHints {
            variable: Some("CET-1CEST".to_owned()),
            localtime: Some("/usr/share/zoneinfo/Europe/Vienna".to_owned()),
            timezone_file: None,
        };
        let found = asker(None, &system).unwrap();
        assert_eq!(found.zone.name, "Europe/Vienna");
        assert!(found.note.unwrap().contains("'CET-1CEST'"));
    }
}
