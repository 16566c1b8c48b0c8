//! The component tree of a calendar file: only what free/busy needs, each with its line.

use super::CalendarError;
use super::lines::{Line, Lines, NotContent, Params};
use super::value::excerpt;

/// Components may nest this deep; the deepest real nesting is 3 (VALARM, observances).
pub(super) const MAX_DEPTH: usize = 16;

/// A file with more components than this is refused.
pub(super) const MAX_COMPONENTS: usize = 500_000;
/// A file with more properties that count than this is refused.
pub(super) const MAX_PROPERTIES: usize = 2_000_000;

/// Properties that are kept. All others are skipped unread.
pub(super) const KEPT: [&str; 22] = [
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXDATE",
    "EXRULE",
    "RECURRENCE-ID",
    "UID",
    "STATUS",
    "TRANSP",
    "SEQUENCE",
    "FREEBUSY",
    BUSY_STATUS,
    "TZID",
    "TZOFFSETFROM",
    "TZOFFSETTO",
    "X-LIC-LOCATION",
    "X-WR-TIMEZONE",
    "X-WR-CALNAME",
    "BUSYTYPE",
    "PRIORITY",
];

/// Outlook's and Exchange's own word for TRANSP and STATUS.
pub(super) const BUSY_STATUS: &str = "X-MICROSOFT-CDO-BUSYSTATUS";
/// Kept of events only if somebody's answers are asked for; one that can't be read is nobody's.
pub(super) const ATTENDEE: &str = "ATTENDEE";

/// Components whose properties are kept: nobody reads an alarm here, so nobody minds its faults.
const READ: [&str; 8] =
    ["VCALENDAR", "VEVENT", "VFREEBUSY", "VTIMEZONE", "STANDARD", "DAYLIGHT", "VAVAILABILITY", "AVAILABLE"];

/// Whether a component is called so.
pub(super) fn is_component(name: &str) -> bool {
    READ.into_iter().chain(["VALARM", "VTODO", "VJOURNAL"]).any(|known| known.eq_ignore_ascii_case(name))
}

/// `BEGIN:name … END:name`.
#[derive(Debug)]
pub(super) struct Component {
    name: String,
    /// Line of its BEGIN.
    pub line: usize,
    properties: Vec<Property>,
    pub children: Vec<Component>,
    /// What makes it unreadable: the first fault in its text.
    pub fault: Option<(usize, String)>,
    /// A BEGIN or END in it can't be read: what is in it may be another one's.
    pub torn: bool,
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

    /// What to call it.
    pub fn word(&self) -> &'static str {
        if self.is("VAVAILABILITY") || self.is("AVAILABLE") { "availability" } else { "event" }
    }

    /// The first property `name`, if there is one.
    pub fn first(&self, name: &str) -> Option<&Property> {
        self.all(name).next()
    }

    /// All properties `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |property| property.name == name)
    }

    /// Components that never hold each other.
    fn is_item(&self) -> bool {
        ["VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VTIMEZONE", "VAVAILABILITY"]
            .iter()
            .any(|item| self.is(item))
    }

    fn begun(name: String, line: usize) -> Self {
        Self { name, line, properties: Vec::new(), children: Vec::new(), fault: None, torn: false }
    }

    /// Takes note of a line that can't be read though it begins like one that counts.
    fn break_by(&mut self, line: &Line<'_>, text: &str) -> Result<(), String> {
        let edge = line.is("BEGIN") || line.is("END");
        let reason = format!("unreadable line '{}'", excerpt(text));
        // The calendar's own properties say in which zone everything is to be read.
        if self.is("VCALENDAR") && (edge || line.is("X-WR-TIMEZONE")) {
            return Err(reason);
        }
        if edge || READ.iter().any(|name| self.is(name)) {
            self.torn |= edge;
            self.spoil(line.number, reason);
        }
        Ok(())
    }

    fn spoil(&mut self, line: usize, reason: String) {
        self.fault.get_or_insert((line, reason));
    }

    /// Writes down all that was read of it, but for its lines: the same text means the same.
    pub fn write(&self, into: &mut String) {
        for part in
            [self.name.as_str()].into_iter().chain(self.fault.iter().map(|(_, reason)| reason.as_str()))
        {
            into.extend([part, "\n"]);
        }
        for property in &self.properties {
            into.push_str(property.name);
            for (name, value) in &property.params {
                into.extend([";", name.as_str(), "=", value.as_str()]);
            }
            into.extend([":", property.value.as_str(), "\n"]);
        }
        self.children.iter().for_each(|child| child.write(into));
        into.push_str("END\n");
    }

    /// All components below this one, at any depth, in order.
    pub fn descendants<'a>(&'a self, into: &mut Vec<&'a Component>) {
        for child in &self.children {
            into.push(child);
            child.descendants(into);
        }
    }
}

/// What is open while a file is read, from the outside to the inside.
struct Open(Vec<Component>);

impl Open {
    /// Closes the innermost component.
    fn close(&mut self, done: &mut Vec<Component>) {
        if let Some(closed) = self.0.pop() {
            self.0.last_mut().map_or(done, |parent| &mut parent.children).push(closed);
        }
    }

    /// Closes the innermost component though its END is missing: what belongs to it, and what to the one around it, is
    /// anybody's guess.
    fn close_unended(&mut self, done: &mut Vec<Component>) {
        if let Some(inner) = self.0.last_mut() {
            let (line, reason) = (inner.line, format!("BEGIN:{} without its END", excerpt(&inner.name)));
            inner.spoil(line, reason.clone());
            let is_item = inner.is_item();
            self.close(done);
            if let Some(outer) = self.0.last_mut().filter(|outer| !is_item && !outer.is("VCALENDAR")) {
                outer.spoil(line, reason);
            }
        }
    }
}

/// Reads the VCALENDARs of `text`, with ATTENDEEs if they are wanted. A file may hold several, but nothing outside of
/// them. A component whose END is missing is closed where the next one of its kind begins, or the one around it ends,
/// and is marked: its faults are not those of its neighbours.
pub(super) fn read(file: &str, text: &str, attendees: bool) -> Result<Vec<Component>, CalendarError> {
    let error = |line, reason: String| CalendarError::new(file, line, reason);
    let mut done = Vec::new();
    let mut open = Open(Vec::new());
    let (mut components, mut kept_properties) = (0, 0);
    for line in Lines::new(text) {
        let line = line.map_err(|NotContent(at)| match done.is_empty() && open.0.is_empty() {
            true => error(at, "not an iCalendar file: no BEGIN:VCALENDAR".to_owned()),
            false => error(at, "not a content line".to_owned()),
        })?;
        if let (Some(text), Some(component)) = (line.broken(), open.0.last_mut()) {
            component.break_by(&line, text).map_err(|reason| error(line.number, reason))?;
        } else if line.is("BEGIN") {
            let name = component_name(&line).map_err(|e| error(line.number, e))?;
            if open.0.is_empty() && !name.eq_ignore_ascii_case("VCALENDAR") {
                let reason = format!("BEGIN:{} outside of a VCALENDAR", excerpt(&name));
                return Err(error(line.number, reason));
            }
            let component = Component::begun(name, line.number);
            if component.is_item()
                && let Some(unended) = open.0.iter().position(Component::is_item)
            {
                while open.0.len() > unended {
                    open.close_unended(&mut done);
                }
            }
            if open.0.len() == MAX_DEPTH {
                return Err(error(line.number, format!("components nest deeper than {MAX_DEPTH}")));
            }
            components += 1;
            if components > MAX_COMPONENTS {
                return Err(error(line.number, format!("more than {MAX_COMPONENTS} components")));
            }
            open.0.push(component);
        } else if line.is("END") {
            let name = component_name(&line).map_err(|e| error(line.number, e))?;
            // `END:VCALENDARD` has been seen; a name with something after it still ends it.
            let ends = |component: &Component| {
                name.get(..component.name.len()).is_some_and(|start| component.is(start))
            };
            let Some(ended) = open.0.iter().rposition(ends) else {
                let reason = format!("END:{} without its BEGIN", excerpt(&name));
                return Err(error(line.number, reason));
            };
            while open.0.len() > ended + 1 {
                open.close_unended(&mut done);
            }
            open.close(&mut done);
        } else if let Some(component) = open.0.last_mut() {
            let read = READ.iter().any(|name| component.is(name));
            if let Some(kept) = KEPT.iter().find(|kept| read && line.is(kept)) {
                kept_properties += 1;
                match line.split() {
                    Ok((params, value)) => {
                        let value = value.to_owned();
                        component.properties.push(Property { name: kept, line: line.number, params, value });
                    }
                    // The calendar's own properties say in which zone everything is to be read.
                    Err(reason) if component.is("VCALENDAR") => return Err(error(line.number, reason)),
                    Err(reason) => component.spoil(line.number, reason),
                }
            } else if attendees
                && component.is("VEVENT")
                && line.is(ATTENDEE)
                && let Ok((params, value)) = line.split()
            {
                kept_properties += 1;
                let value = value.to_owned();
                component.properties.push(Property { name: ATTENDEE, line: line.number, params, value });
            }
            if kept_properties > MAX_PROPERTIES {
                return Err(error(line.number, format!("more than {MAX_PROPERTIES} properties that count")));
            }
        } else {
            return Err(error(line.number, "content outside of a VCALENDAR".to_owned()));
        }
    }
    match open.0.last() {
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
