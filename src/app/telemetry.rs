//! Logs, to standard error so that standard output stays for results; and traces, to a collector.

use std::io::{IsTerminal, Write as _};

use chrono::SecondsFormat;
use tracing_subscriber::EnvFilter;

use super::AppError;
use super::otlp::{Traces, TracesError};
use crate::cli::telemetry::{LogFormat, TelemetryArgs};
use crate::engine::Clock;
use crate::engine::spans::Spans;

/// Starts logging as text, with a filter such as `info` or `quorate=debug,h2=warn`. A second call changes nothing.
///
/// # Errors
/// The filter can't be read.
pub fn init(filter: &str) -> Result<(), AppError> {
    init_as(filter, LogFormat::Text)
}

fn init_as(filter: &str, format: LogFormat) -> Result<(), AppError> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| AppError::LogFilter { filter: filter.into(), reason: error.to_string() })?;
    // A file or a collector of logs has no use for colours (<https://no-color.org>).
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let lines =
        tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(colours);
    // It would say so on standard error too, and panic.
    let lines = lines.log_internal_errors(false);
    // Fails only if logging was started before: by a test, or by a program that has us as its library.
    match format {
        LogFormat::Text => lines.try_init().ok(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init().ok()
        }
    };
    Ok(())
}

/// Logs and traces of one program, until it ends.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<Traces>,
    says: Says,
}

/// Tells on standard output what a program does, a line each: as text, or as JSON where the log is JSON. Nothing depends on
/// anybody's reading it: what can't be written there goes to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Says(LogFormat);

impl Says {
    /// Says `text`; as JSON, with these fields beside it.
    pub fn line(self, text: &str, fields: &[(&str, &str)]) {
        let line = match self.0 {
            LogFormat::Text => text.to_owned(),
            LogFormat::Json => {
                let timestamp = Clock::start().now().wall.to_rfc3339_opts(SecondsFormat::Micros, true);
                let mut line =
                    serde_json::json!({ "timestamp": timestamp, "level": "INFO", "message": text });
                fields.iter().for_each(|(key, value)| line[*key] = (*value).into());
                line.to_string()
            }
        };
        if let Err(error) = writeln!(std::io::stdout().lock(), "{line}") {
            tracing::warn!(%error, "standard output can't be written, which was to say: {text}");
        }
    }
}

impl Telemetry {
    /// Starts logging, and sending traces if the arguments or the environment say where to. `service` is the name by which
    /// traces know the program, unless OTEL_SERVICE_NAME has another.
    ///
    /// # Errors
    /// The filter, the collector's address or the file of headers can't be read. A collector that is not there is no error.
    pub fn start(filter: &str, args: &TelemetryArgs, service: &'static str) -> Result<Self, AppError> {
        init_as(filter, args.log_format)?;
        let given = args.otlp_endpoint.clone();
        let asked = given.is_some();
        let endpoint = given.or_else(|| std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok());
        let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty());
        let traces = match endpoint {
            Some(endpoint) => {
                let service = service_name(std::env::var("OTEL_SERVICE_NAME").ok(), service);
                match Traces::start(&endpoint, args.otlp_headers_file.as_deref(), service) {
                    // Set for all programs of a machine or a cluster, and not for this one.
                    Err(error @ TracesError::BadUrl { .. }) if !asked => {
                        tracing::warn!(%error, "OTEL_EXPORTER_OTLP_ENDPOINT can't be used: no traces are sent");
                        None
                    }
                    traces => Some(traces?),
                }
            }
            None => None,
        };
        Ok(Self { traces, says: Says(args.log_format) })
    }

    /// Who says what the program does.
    pub fn says(&self) -> Says {
        self.says
    }

    /// Where spans go, if anywhere.
    pub fn spans(&self) -> Option<Spans> {
        self.traces.as_ref().map(Traces::spans)
    }

    /// Sends what is left, for a short time at most.
    pub async fn stop(self) {
        if let Some(traces) = self.traces {
            traces.stop().await;
        }
    }
}

/// An empty variable is as good as none (OpenTelemetry, "Environment Variable Specification").
fn service_name(said: Option<String>, otherwise: &str) -> String {
    said.filter(|name| !name.is_empty()).unwrap_or_else(|| otherwise.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_service() {
        assert_eq!(service_name(Some("quorate-agent-alice".into()), "quorate-agent"), "quorate-agent-alice");
        assert_eq!(service_name(Some(String::new()), "quorate"), "quorate");
        assert_eq!(service_name(None, "quorate"), "quorate");
    }
}
