//! States that must not be, as the engine logs them.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

#[derive(Clone, Default)]
struct Alarms(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Line {
    is_alarm: bool,
    words: String,
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.is_alarm |= value && field.name() == "alarm";
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.words = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Alarms {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.is_alarm {
            self.0.lock().unwrap().push(line.words);
        }
    }
}

/// What `run` comes to on this thread, and the alarms that it raises.
pub fn heard<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    let alarms = Alarms::default();
    let subscriber = tracing_subscriber::registry().with(alarms.clone());
    let came_to = tracing::subscriber::with_default(subscriber, run);
    let heard = std::mem::take(&mut *alarms.0.lock().unwrap());
    (came_to, heard)
}

#[test]
fn an_alarm_is_heard() {
    let ((), heard) = heard(|| {
        tracing::error!("no alarm");
        tracing::error!(alarm = true, "an alarm");
    });
    assert_eq!(heard, ["an alarm"]);
}
