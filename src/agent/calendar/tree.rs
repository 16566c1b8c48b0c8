//! The component tree of a calendar file: only what free/busy needs, each with its line.

use super::CalendarError;
use super::lines::{Line, Lines, NotContent, Params};
use super::value::excerpt;

/// Components may nest this deep; the deepest real nesting is 3 (VALARM, observances).
pub(super) const MAX_DEPTH: usize = 16;

/// Properties that are kept. All others are skipped unread.
const KEPT: [&str; 18] = [
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXDATE",
    "RECURRENCE-ID",
    "UID",
    "STATUS",
    "TRANSP",
    "SEQUENCE",
    "FREEBUSY",
    "TZID",
    "TZOFFSETFROM",
    "TZOFFSETTO",
    "X-LIC-LOCATION",
    "X-WR-TIMEZONE",
    "X-WR-CALNAME",
];

/// Components whose properties are kept: nobody reads an alarm here, so nobody minds its faults.
const READ: [&str; 6] = ["VCALENDAR", "VEVENT", "VFREEBUSY", "VTIMEZONE", "STANDARD", "DAYLIGHT"];

/// `BEGIN:name … END:name`.
#[derive(Debug)]
pub(super) struct Component {
    name: String,
    /// Line of its BEGIN.
    pub line: usize,
    properties: Vec<Property>,
    pub children: Vec<Component>,
}

/// One kept property.
#[derive(Debug)]
pub(super) struct Property {
    name: &'static str,
    pub line: usize,
    params: Params,
    pub value: String,
}

impl Property {
    /// The value of parameter `name` (upper case).
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The values of a list, without empty ones.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.value.split(',').map(str::trim).filter(|value| !value.is_empty())
    }
}

impl Component {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The first property `name`, if there is one.
    pub fn first(&self, name: &str) -> Option<&Property> {
        self.all(name).next()
    }

    /// All properties `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |property| property.name == name)
    }

    /// All components below this one, at any depth, in order.
    pub fn descendants<'a>(&'a self, into: &mut Vec<&'a Component>) {
        for child in &self.children {
            into.push(child);
            child.descendants(into);
        }
    }
}

/// Reads the VCALENDARs of `text`. A file may hold several, but nothing outside of them.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<Component>, CalendarError> {
    let error = |line, reason: String| CalendarError::new(file, line, reason);
    let mut done = Vec::new();
    let mut open: Vec<Component> = Vec::new();
    for line in Lines::new(text) {
        let line = line.map_err(|NotContent(at)| match done.is_empty() && open.is_empty() {
            true => error(at, "not an iCalendar file: no BEGIN:VCALENDAR".to_owned()),
            false => error(at, "not a content line".to_owned()),
        })?;
        if line.is("BEGIN") {
            let name = component_name(&line).map_err(|e| error(line.number, e))?;
            if open.is_empty() && !name.eq_ignore_ascii_case("VCALENDAR") {
                let reason = format!("BEGIN:{} outside of a VCALENDAR", excerpt(&name));
                return Err(error(line.number, reason));
            }
            if open.len() == MAX_DEPTH {
                return Err(error(line.number, format!("components nest deeper than {MAX_DEPTH}")));
            }
            let (properties, children) = (Vec::new(), Vec::new());
            open.push(Component { name, line: line.number, properties, children });
        } else if line.is("END") {
            let name = component_name(&line).map_err(|e| error(line.number, e))?;
            // `END:VCALENDARD` has been seen; a name with something after it still ends it.
            let ends = |component: &Component| {
                name.get(..component.name.len()).is_some_and(|start| component.is(start))
            };
            let closed = open.pop().filter(ends);
            let reason = || format!("END:{} without its BEGIN", excerpt(&name));
            let closed = closed.ok_or_else(|| error(line.number, reason()))?;
            open.last_mut().map_or(&mut done, |parent| &mut parent.children).push(closed);
        } else if let Some(component) = open.last_mut() {
            let read = READ.iter().any(|name| component.is(name));
            if let Some(kept) = KEPT.iter().find(|kept| read && line.is(kept)) {
                let (params, value) = line.split().map_err(|e| error(line.number, e))?;
                let value = value.to_owned();
                component.properties.push(Property { name: kept, line: line.number, params, value });
            }
        } else {
            return Err(error(line.number, "content outside of a VCALENDAR".to_owned()));
        }
    }
    match open.last() {
        Some(component) => {
            let name = excerpt(&component.name);
            let reason = format!("BEGIN:{name} without its END: the file is cut short");
            Err(error(component.line, reason))
        }
        None if done.is_empty() => Err(error(1, "not an iCalendar file: no BEGIN:VCALENDAR".to_owned())),
        None => Ok(done),
    }
}

fn component_name(line: &Line<'_>) -> Result<String, String> {
    let (_, value) = line.split()?;
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err("component without a readable name".to_owned());
    }
    Ok(value.to_owned())
}
