//! What `quorate serve` and `quorate agent` take about logs and traces. `app::telemetry` does the work.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse;

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Logs and traces.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logs and traces")]
pub struct TelemetryArgs {
    /// How log lines look
    #[arg(long, value_name = "FORMAT", env = "QUORATE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Where to send traces: an OpenTelemetry collector that takes OTLP over gRPC, such as http://127.0.0.1:4317.
    /// Default: OTEL_EXPORTER_OTLP_ENDPOINT; without either nothing is sent
    #[arg(long, value_name = "URL", env = "QUORATE_OTLP_ENDPOINT", hide_env_values = true,
          value_parser = parse::Address::COLLECTOR)]
    pub otlp_endpoint: Option<String>,
    /// A file of headers for the collector, such as its key: "NAME: VALUE" a line. Never printed
    #[arg(long, value_name = "FILE", env = "QUORATE_OTLP_HEADERS_FILE")]
    pub otlp_headers_file: Option<PathBuf>,
}
