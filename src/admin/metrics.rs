//! Metrics, as OpenMetrics text. Names and units follow its conventions; every name is in `docs/observability.md`.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Admin, Build, build, ready};
use crate::core::measure::{Counters, LATENCY_BOUNDS, Latency, SIZE_BOUNDS, Sizes};
use crate::core::time::Instant;
use crate::engine::Vitals;

/// OpenMetrics 1.0, "Content-Type".
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<'a> = &'a [(&'static str, &'a str)];

/// Everything, as text.
pub(super) fn text(admin: &Admin, vitals: Option<Vitals>, booked: Option<u64>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    admin.requests.register(&mut registry);
    let directory = admin.engine.directory();
    registry.register_collector(Box::new(Now {
        vitals,
        booked,
        started: admin.started,
        known: directory.known(),
        connected: directory.connected(),
        queued: admin.engine.queued(),
    }));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// What there is at the time of a scrape.
#[derive(Debug)]
struct Now {
    vitals: Option<Vitals>,
    /// Meetings that are booked and not over; `None` if the store could not be read.
    booked: Option<u64>,
    started: Instant,
    known: usize,
    connected: usize,
    queued: usize,
}

impl Collector for Now {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        let Build { version, zone_data, profile, .. } = build();
        let labels: Labels = &[("version", version), ("zone_data", zone_data), ("profile", profile)];
        out.gauges("quorate_build_info", "What runs, as labels; always 1", [(labels, 1)])?;
        let started = self.started.timestamp_millis() as f64 / 1e3;
        let help = "When the process started, since the beginning of 1970 UTC";
        out.seconds("process_start_time", help, started)?;
        let up = self.vitals.is_some();
        let ready = self.vitals.as_ref().is_some_and(|vitals| ready(vitals).is_ok());
        out.gauge("quorate_engine_up", "Whether the engine answers", usize::from(up))?;
        out.gauge("quorate_ready", "Whether requests can be carried out", usize::from(ready))?;
        out.gauge("quorate_engine_queue_depth", "Inputs that wait for the engine", self.queued)?;
        out.gauge("quorate_participants_known", "Participants that ever registered", self.known)?;
        out.gauge(
            "quorate_participants_connected",
            "Participants that an agent speaks for now",
            self.connected,
        )?;
        if let Some(booked) = self.booked {
            let booked = usize::try_from(booked).unwrap_or(usize::MAX);
            out.gauge("quorate_meetings_booked", "Meetings that are booked and not over yet", booked)?;
        }
        match &self.vitals {
            Some(vitals) => out.vitals(vitals),
            None => Ok(()),
        }
    }
}

/// As the registry writes what it is given.
fn sentence(help: &str) -> String {
    format!("{help}.")
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: usize) -> fmt::Result {
        self.0
            .encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?
            .encode_gauge(&(value as i64))
    }

    /// A gauge whose name ends in `_seconds`, which is added.
    fn seconds(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        self.0
            .encode_descriptor(name, &sentence(help), Some(&Unit::Seconds), MetricType::Gauge)?
            .encode_gauge(&seconds)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        each: impl IntoIterator<Item = (Labels<'l>, usize)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?;
        for (labels, value) in each {
            family.encode_family(&labels)?.encode_gauge(&(value as i64))?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut counter = self.0.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
        counter.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        each: impl Iterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
        for (what, count) in each {
            let labels = [(label, what)];
            let mut one = family.encode_family(&labels)?;
            one.encode_counter::<[(&str, &str); 0], u64, u64>(&count, None)?;
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut histogram = self.0.encode_descriptor(name, &sentence(help), unit, MetricType::Histogram)?;
        histogram.encode_histogram::<[(&str, &str); 0]>(sum, count, buckets, None)
    }

    fn latency(&mut self, name: &str, help: &str, latency: &Latency) -> fmt::Result {
        let bounds = LATENCY_BOUNDS.map(|micros| Duration::from_micros(micros).as_secs_f64());
        let buckets: Vec<_> = bounds.into_iter().chain([f64::INFINITY]).zip(latency.buckets()).collect();
        self.histogram(name, help, Some(&Unit::Seconds), latency.sum().as_secs_f64(), &buckets)
    }

    fn sizes(&mut self, name: &str, help: &str, sizes: &Sizes) -> fmt::Result {
        let bounds = SIZE_BOUNDS.map(|bound| bound as f64);
        let buckets: Vec<_> = bounds.into_iter().chain([f64::INFINITY]).zip(sizes.buckets()).collect();
        self.histogram(name, help, None, sizes.sum() as f64, &buckets)
    }

    fn vitals(&mut self, vitals: &Vitals) -> fmt::Result {
        let Vitals { counters, gauges, sessions, callers, store, overflows, in_flight: _ } = vitals;
        self.core(counters)?;
        if let Some(gauges) = gauges {
            let phases: Vec<_> = gauges.live.iter().map(|(phase, n)| ([("phase", *phase)], *n)).collect();
            let each = phases.iter().map(|(labels, n)| (&labels[..], *n));
            self.gauges("quorate_meetings_in_flight", "Requests that are worked on, by phase", each)?;
            self.gauge("quorate_holds_live", "Holds that wait for a decision", gauges.holds)?;
            let help = "Confirms and releases that no agent has acknowledged yet";
            self.gauge("quorate_deliveries_pending", help, gauges.undelivered)?;
        }
        self.gauge("quorate_sessions", "Open streams of agent hosts", *sessions)?;
        let help = "Streams that were ended because they read too slowly";
        self.counter("quorate_sessions_overflowed", help, *overflows)?;
        self.gauge("quorate_callers_waiting", "Callers that wait for a reply of the engine", *callers)?;
        let help = "Groups of operations that the store wrote, each with one sync";
        self.counter("quorate_store_commits", help, store.commits.count())?;
        let help = "Such groups that are not on disk, or of which that is not known";
        self.counter("quorate_store_commits_failed", help, store.failed_commits)?;
        let help = "How long the store has had what it was asked last; 0 if it owes no answer";
        self.seconds("quorate_store_outstanding", help, store.outstanding.as_secs_f64())?;
        let help = "From a group's leaving the engine to its being on disk";
        self.latency("quorate_store_commit_duration", help, &store.commits)?;
        let help = "Operations that shared a commit";
        self.sizes("quorate_store_commit_operations", help, &store.sizes)?;
        let help = "Failures of the store; after each, all is read anew from what it has";
        self.counter("quorate_store_failures", help, store.failures)
    }

    fn core(&mut self, counters: &Counters) -> fmt::Result {
        self.counter("quorate_rounds", "Rounds of availability queries begun", counters.rounds)?;
        let help = "From a query's leaving to the end of its round";
        self.latency("quorate_round_duration", help, &counters.round_time)?;
        let help = "What those who were asked for their availability said";
        self.counters("quorate_answers", help, "outcome", counters.answers.each())?;
        self.counter("quorate_holds_requested", "Holds asked for", counters.holds)?;
        let decisions = [("committed", counters.committed), ("aborted", counters.aborted)];
        self.counters("quorate_decisions", "Attempts decided", "outcome", decisions.into_iter())?;
        let help = "From the holds' leaving to the decision on disk, of attempts that were committed";
        self.latency("quorate_decision_duration", help, &counters.decision_time)?;
        let help = "Attempts that were aborted, by cause";
        self.counters("quorate_attempts_aborted", help, "cause", counters.aborts.each())?;
        let help = "Meetings that could not be booked or changed, by reason";
        self.counters("quorate_failures", help, "reason", counters.failures.each())?;
        for (name, help, value) in [
            ("quorate_pushes", "Holds taken away by a meeting of higher rank", counters.pushed),
            (
                "quorate_displacements",
                "Booked meetings that lost their slot to a higher priority",
                counters.displaced,
            ),
            ("quorate_stale_frames", "Messages that came too late or over an older stream", counters.stale),
            ("quorate_clipped_ranges", "Free ranges outside of what was asked", counters.clipped),
            ("quorate_journal_lineages", "Agents whose journal began a new life", counters.lineages),
            (
                "quorate_holds_expired",
                "Agents whose lease ran out and who asked what became of it",
                counters.resolved,
            ),
            ("quorate_alarms", "States that must not be; each is an error in the log", counters.alarms),
        ] {
            self.counter(name, help, value)?;
        }
        Ok(())
    }
}
